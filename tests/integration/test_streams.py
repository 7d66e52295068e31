"""test_streams - SSE and NDJSON, callers that hang up, readers that are slow"""
import json
import socket
import time
import unittest

from mesh import MeshTest, PATIENCE, eventually


class Streams(MeshTest):
    def setUp(self):
        super().setUp()
        self.echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")

    def open(self, path, body, accept, **headers):
        """A stream as an open socket file; the caller closes the socket."""
        raw = socket.create_connection(("127.0.0.1", self.mesh.http_port), timeout=30 * PATIENCE)
        self.addCleanup(raw.close)
        text = json.dumps(body)
        head = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: %s\r\nContent-Length: %d\r\n" % (
            path, accept, len(text))
        for name, value in headers.items():
            head += "%s: %s\r\n" % (name.replace("_", "-"), value)
        raw.sendall((head + "\r\n" + text).encode())
        return raw

    # ---- forms ----

    def test_sse(self):
        reply = self.mesh.call("echo", "stream", {"count": 3}, Accept="text/event-stream")
        self.assertEqual((reply.status, reply.headers["Content-Type"].split(";")[0]), (200, "text/event-stream"))
        events = [block for block in reply.body.decode().split("\n\n") if block and not block.startswith(":")]
        self.assertEqual([json.loads(block.split("data: ")[1]) for block in events],
                         [{"n": 0}, {"n": 1}, {"n": 2}, {"count": 3}])
        self.assertIn("event: done", events[-1])

    def test_ndjson(self):
        reply = self.mesh.call("echo", "stream", {"count": 1000}, Accept="application/x-ndjson")
        self.assertEqual((reply.status, reply.headers["Content-Type"].split(";")[0]), (200, "application/x-ndjson"))
        lines = [json.loads(line) for line in reply.body.decode().splitlines()]
        self.assertEqual(lines, [{"n": n} for n in range(1000)] + [{"count": 1000}])

    def test_error_before_the_first_part_is_a_problem(self):
        reply = self.mesh.call("echo", "stream", {"count": "many"}, Accept="text/event-stream")
        self.problem(reply, 422)
        self.problem(self.mesh.call("echo", "stream", {"count": 1}, Accept="text/html"), 406)

    def test_error_within_the_stream_is_its_last_event(self):
        def begun():  # before its time was over
            reply = self.mesh.call("echo", "stream", {"count": 100, "interval_ms": 100}, Accept="text/event-stream",
                                   **{"X-Request-Timeout-Ms": "450"})
            return reply.status == 200 and reply
        reply = eventually(begun, what="the first part comes in time")
        last = [block for block in reply.body.decode().split("\n\n") if block][-1]
        self.assertTrue(last.startswith("event: error\ndata: "), last)
        self.assertEqual(json.loads(last.split("data: ")[1])["code"], "DEADLINE_EXCEEDED")

    def test_parts_come_when_they_are_sent(self):
        raw = self.open("/v1/call/echo/stream", {"count": 2, "interval_ms": 60000}, "text/event-stream",
                        X_Request_Timeout_Ms=120000)
        seen = b""
        while b'{"n":0}' not in seen:
            part = raw.recv(4096)
            self.assertTrue(part, seen)
            seen += part

    # ---- names and ids of events ----

    @staticmethod
    def events(reply):
        """Each event as its lines by field; what is no field stays under the whole line."""
        found = []
        for block in reply.body.decode().split("\n\n"):
            if block and not block.startswith(":"):
                found.append({line.partition(": ")[0]: line.partition(": ")[2] for line in block.split("\n")})
        return found

    def test_events_have_names_and_ids_and_a_stream_resumes(self):
        self.mesh.fake("fake", {"name": "events", "streaming": True, "http": ["GET /v1/fake/events"], "input": {
            "type": "object", "properties": {"count": {"type": "integer"}}}})
        sse = {"Accept": "text/event-stream"}
        done = {"event": "done", "id": "end", "data": '{"count":3}'}
        ticks = [{"event": "tick", "id": str(n), "data": '{"n":%d}' % n} for n in (1, 2, 3)]
        self.assertEqual(self.events(self.mesh.http("GET", "/v1/fake/events?count=3", headers=sse)), ticks + [done])
        for last, rest in (("2", ticks[2:]), ("3", []), ("", ticks)):
            again = self.mesh.http("GET", "/v1/fake/events?count=3", headers=dict(sse, **{"Last-Event-ID": last}))
            self.assertEqual(self.events(again), rest + [done])
        # An EventSource comes back behind the end as well: 204 tells it to stay away.
        over = self.mesh.http("GET", "/v1/fake/events?count=3", headers=dict(sse, **{"Last-Event-ID": "end"}))
        self.assertEqual((over.status, over.body), (204, b""))
        lines = self.mesh.http("GET", "/v1/fake/events?count=3", headers={"Accept": "application/x-ndjson"})
        self.assertEqual([json.loads(line) for line in lines.body.decode().splitlines()],
                         [{"n": 1}, {"n": 2}, {"n": 3}, {"count": 3}])

    def test_names_that_would_break_the_form_are_left_out(self):
        self.mesh.fake("fake", {"name": "oddities", "streaming": True})
        found = self.events(self.mesh.call("fake", "oddities", {}, Accept="text/event-stream"))
        self.assertEqual(found, [{"data": "{}"}] * 5 + [{"event": "gr\u00fc\u00df", "id": "x" * 256, "data": "{}"},
                                                         {"event": "done", "data": "null"}])

    def test_a_last_event_id_is_checked(self):
        for bad in ("x" * 257, "\xff"):
            reply = self.mesh.call("echo", "stream", {"count": 1}, Accept="text/event-stream", **{"Last-Event-ID": bad})
            self.problem(reply, 400, "INVALID_ARGUMENT", "last-event-id")
        self.assertEqual(self.mesh.call("echo", "echo", {}, **{"Last-Event-ID": "7"}).status, 200)

    # ---- callers that leave ----

    def test_hanging_up_cancels_a_call(self):
        raw = self.open("/v1/call/echo/delay", {"ms": 600000}, "*/*", X_Request_Timeout_Ms=900000)
        eventually(lambda: self.mesh.outstanding("echo") == 1, what="echo holds it")
        raw.close()
        eventually(lambda: self.mesh.outstanding("echo") == 0, what="echo was told")

    def test_hanging_up_cancels_a_stream(self):
        raw = self.open("/v1/call/echo/stream", {"count": 1000000, "interval_ms": 50}, "text/event-stream",
                        X_Request_Timeout_Ms=900000)
        raw.recv(100)
        eventually(lambda: self.mesh.outstanding("echo") == 1, what="echo holds it")
        raw.close()
        eventually(lambda: self.mesh.outstanding("echo") == 0, what="echo was told")

    def test_gateway_that_dies_cancels_its_calls(self):
        self.open("/v1/call/echo/delay", {"ms": 600000}, "*/*", X_Request_Timeout_Ms=900000)
        eventually(lambda: self.mesh.outstanding("echo") == 1, what="echo holds it")
        self.gateway.kill()
        eventually(lambda: self.mesh.outstanding("echo") == 0, what="its requests were cancelled")

    # ---- slow ones ----

    def test_slow_reader_ends_its_stream_and_hurts_nobody(self):
        self.mesh.fake("fake", {"name": "flood", "streaming": True})
        raw = self.open("/v1/call/fake/flood", {"count": 20000, "pad": 20000}, "application/x-ndjson",
                        X_Request_Timeout_Ms=600000)
        raw.recv(10)  # then reads no more: 400 MB would follow

        def worst():
            begun = time.monotonic()
            self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)
            return time.monotonic() - begun
        eventually(lambda: worst() < 1 and self.mesh.outstanding("fake") == 0, timeout=60, what="the stream was ended")
        self.assertTrue(self.gateway.alive())

    def test_slowloris_is_cut_off(self):
        raw = socket.create_connection(("127.0.0.1", self.mesh.http_port), timeout=60 * PATIENCE)
        self.addCleanup(raw.close)
        raw.sendall(b"POST /v1/call/echo/echo HTTP/1.1\r\nHost: x\r\n")
        begun = time.monotonic()
        raw.settimeout(0.2)
        answer = None
        while answer is None:  # a header byte now and then must not keep it open for ever
            self.assertLess(time.monotonic() - begun, 60 * PATIENCE, "still open")
            try:
                raw.sendall(b"X")
                answer = raw.recv(1000)
            except socket.timeout:
                continue
            except OSError:
                answer = b""
        self.assertIn(answer[:12], (b"", b"HTTP/1.1 400", b"HTTP/1.1 408"))
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)

    def test_slow_body_is_408(self):
        raw = socket.create_connection(("127.0.0.1", self.mesh.http_port), timeout=60 * PATIENCE)
        self.addCleanup(raw.close)
        raw.sendall(b"POST /v1/call/echo/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 1000\r\n\r\n{")
        answer = raw.recv(1000)  # the gateway gives up first: WEFT_BODY_TIMEOUT_MS
        self.assertTrue(answer.startswith(b"HTTP/1.1 408"), answer)


if __name__ == "__main__":
    unittest.main()
