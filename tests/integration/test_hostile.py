"""test_hostile - input that no good peer sends, by TCP, ZMTP, WEFT/1 and HTTP: it costs its sender, nobody else"""
import json
import os
import random
import socket
import struct
import unittest

import msgpack
import zmq

from mesh import PATIENCE, ROOT, MeshTest, eventually, free_port

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31)  # ZMTP 3.1, as a client


def frame(kind, *parts, id=None):
    return bytes([0x93 + len(parts), 1, kind, 0xc4, 8]) + (id or os.urandom(8)) + b"".join(parts)


class Hostile(MeshTest):
    SHARED = True

    def begin(self):
        super().begin(self)
        self.echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo").status == 200, what="echo answers")

    def tearDown(self):
        self.assertEqual(self.mesh.call("echo", "echo", {"still": "here"}).json, {"still": "here"})
        for process in (self.broker, self.gateway, self.echo):
            self.assertTrue(process.alive())
        super().tearDown()

    def tcp(self, address, timeout=30):
        port = int(str(address).rsplit(":", 1)[1])
        raw = socket.create_connection(("127.0.0.1", port), timeout=timeout * PATIENCE)
        self.addCleanup(raw.close)
        return raw

    def dealer(self, address):
        dealer = zmq.Context.instance().socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.RCVTIMEO, int(10000 * PATIENCE))
        dealer.connect(address)
        self.addCleanup(dealer.close)
        return dealer

    def memory(self, process):
        """Resident, in bytes."""
        with open("/proc/%d/statm" % process.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    # ---- TCP and ZMTP ----

    def test_bytes_that_are_no_zmtp(self):
        rng = random.Random(1)
        for address in (self.mesh.front, self.mesh.back):
            for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, rng.randbytes(1000), b"\xff", GREETING[:20], b""):
                raw = self.tcp(address)
                raw.sendall(data)
                raw.close()

    def test_zmtp_that_is_malformed(self):
        for tail in (b"\x04" + b"\xff" * 300, b"\x06" + struct.pack(">Q", 2 ** 63), b"\x04\x05\x05READY" * 100,
                     b"\x00\x00" * 1000, b"\x02" + struct.pack(">Q", 2 ** 62) + b"x"):
            raw = self.tcp(self.mesh.front)
            raw.sendall(GREETING + tail)
            raw.settimeout(0.2)
            try:
                while raw.recv(1000):
                    pass
            except OSError:
                pass

    def test_frame_over_the_limit_ends_that_connection_only(self):
        other = self.dealer(self.mesh.front)
        large = self.dealer(self.mesh.front)
        large.send(frame(1, b"x" * (3 * 1024 * 1024)))
        other.send(frame(6, b"\x00"))
        self.assertEqual(msgpack.unpackb(other.recv())[1], 7)

    def test_many_connections_that_say_nothing(self):
        held = [self.tcp(self.mesh.front) for _ in range(200)]
        other = self.dealer(self.mesh.front)
        other.send(frame(6, b"\x00"))
        self.assertEqual(msgpack.unpackb(other.recv())[1], 7)
        for raw in held:
            raw.close()

    # ---- WEFT/1 ----

    def test_all_invalid_vectors_on_both_sides(self):
        vectors = json.loads((ROOT / "proto/vectors/messages.json").read_text())
        before = self.memory(self.broker)
        for address in (self.mesh.front, self.mesh.back):
            dealer = self.dealer(address)
            for vector in vectors["invalid"] + vectors["bad_values"]:
                dealer.send(bytes.fromhex(vector["hex"]))
            dealer.send(frame(6, b"\x00", id=b"the last"))
            kinds = []
            while True:
                message = msgpack.unpackb(dealer.recv())
                kinds.append(message[1])
                if message[1] in (7, 10) and (message[2] == b"the last" or message[1] == 10):
                    break
            self.assertLessEqual(set(kinds), {2, 6, 7, 10})
        self.assertLess(self.memory(self.broker) - before, 64 * 1024 * 1024)

    def test_valid_vectors_in_the_wrong_direction(self):
        vectors = json.loads((ROOT / "proto/vectors/messages.json").read_text())["valid"]
        for address in (self.mesh.front, self.mesh.back):
            dealer = self.dealer(address)
            for vector in vectors:
                if vector["kind"] not in ("READY", "BYE", "DRAIN") and vector.get("service") != "echo":
                    dealer.send(bytes.fromhex(vector["hex"]))

    def test_mutated_messages(self):
        rng = random.Random(2)
        vectors = json.loads((ROOT / "proto/vectors/messages.json").read_text())["valid"]
        frames = [bytes.fromhex(vector["hex"]) for vector in vectors]
        for address in (self.mesh.front, self.mesh.back):
            dealer = self.dealer(address)
            for _ in range(3000):
                data = bytearray(rng.choice(frames))
                for _ in range(rng.randint(1, 4)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                dealer.send(bytes(data[:rng.randint(1, len(data))]) if rng.random() < 0.2 else bytes(data))
                while dealer.poll(0):
                    dealer.recv()

    def test_registrations_by_the_hundred(self):
        dealer = self.dealer(self.mesh.back)
        for n in range(500):
            descriptor = {"name": "junk-%d" % n, "version": "1.0.0", "instance": "x", "methods": [{"name": "m"}]}
            dealer.send(frame(5, msgpack.packb(descriptor), b"\x01"))
        statuses = set()
        for _ in range(500):
            message = msgpack.unpackb(dealer.recv())
            if message[1] == 2:
                statuses.add(message[3])
        self.assertLessEqual(statuses, {0, 8})
        dealer.send(frame(9))

    def test_descriptors_that_try_the_gateway(self):
        dealer = self.dealer(self.mesh.back)
        deep = {"type": "object"}
        for _ in range(25):
            deep = {"not": deep}
        for n, schema in enumerate((deep, {"$ref": "#"}, {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
                                    {"items": {"pattern": "(a+)+$"}}, {"pattern": "("}, {"$ref": "http://127.0.0.1/x"},
                                    {"type": 7}, {"enum": []}, {"minLength": -1}, {"allOf": [{}] * 1000}, False)):
            descriptor = {"name": "trial-%d" % n, "version": "1.0.0", "instance": "x",
                          "methods": [{"name": "m", "input": schema}]}
            dealer.send(frame(5, msgpack.packb(descriptor), b"\x01"))
            message = [1, 1]
            while message[1] != 2:  # calls of the last trial, and their cancellation, may come first
                message = msgpack.unpackb(dealer.recv())
            if message[3] == 0:
                eventually(lambda n=n: self.mesh.http("GET", "/v1/services/trial-%d" % n).status == 200, what="known")
                reply = self.mesh.call("trial-%d" % n, "m", ["a" * 5000 + "!"], **{"X-Request-Timeout-Ms": "300"})
                self.assertIn(reply.status, (422, 501, 504, 503))
        dealer.send(frame(9))

    def test_flood_of_one_client_leaves_others_alone(self):
        flooder = self.dealer(self.mesh.front)
        request = frame(1, b"\xa4echo", b"\xa5delay", b"\xce\x00\x00\x03\xe8", b"\x01", b"\x80", b"\x81\xa2ms\x01")
        for n in range(5000):
            flooder.send(request[:5] + n.to_bytes(8, "big") + request[13:], zmq.DONTWAIT if n % 100 else 0)
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)
        flooder.send(frame(9))

    # ---- HTTP ----

    def raw_http(self, data, port=None, finish=True):
        raw = self.tcp("x:%d" % (port or self.mesh.http_port))
        try:
            raw.sendall(data)
            if finish:
                raw.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has answered and closed already
        answer = b""
        while True:
            try:
                part = raw.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part:
                return answer
            answer += part

    def test_heads_that_two_readers_read_differently(self):
        head = b"POST /v1/call/echo/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for tail in (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"Content-Length: 2junk\r\n\r\n{}", b"Content-Length: +2\r\n\r\n{}", b"Content-Length : 2\r\n\r\n{}",
                     b"Content-Length: -1\r\n\r\n", b"Content-Length: 99999999999999999999\r\n\r\n{}",
                     b"Transfer-Encoding: chunked, identity\r\n\r\n{}", b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
                     b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"):
            with self.subTest(tail):
                answer = self.raw_http(head + tail)
                self.assertRegex(answer[:12], rb"^HTTP/1.1 (4\d\d|501)", answer)
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
                self.assertIn(b"application/problem+json", answer)

    def test_request_lines_that_are_none(self):
        for line in (b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"BREW /v1 HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET  /v1 HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 50 + b"\r\n\r\n",
                     b"GET /v1 HTTP/1.1\r\n\r\n", os.urandom(300) + b"\r\n\r\n"):
            with self.subTest(line):
                answer = self.raw_http(line)
                if answer:
                    self.assertRegex(answer[:12], rb"^HTTP/1.1 (4\d\d|5\d\d)", answer)

    def test_heads_that_are_too_large(self):
        many = b"".join(b"X-%d: y\r\n" % n for n in range(100))
        self.assertIn(b" 431 ", self.raw_http(b"GET /v1/services HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")[:20])
        long = b"GET /v1/services HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40000 + b"\r\n\r\n"
        self.assertIn(self.raw_http(long)[:12], (b"HTTP/1.1 431", b"HTTP/1.1 400", b""))  # a reset may overtake the answer

    def test_body_that_is_announced_and_never_ends_within_limits(self):
        raw = self.tcp("x:%d" % self.mesh.http_port)
        raw.sendall(b"POST /v1/call/echo/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(100):
                raw.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except OSError:
            pass  # cut off: as it should be
        self.assertIn(b" 413 ", raw.recv(200)[:20])

    def test_json_bombs(self):
        for body in (b"[" * 1000000, b'{"a":' * 100000, b"[" + b"1," * 400000 + b"1]", b'"' + b"\\u0041" * 150000 + b'"',
                     b"1" * 1000000, b"1e" + b"9" * 100000):
            reply = self.mesh.http("POST", "/v1/call/echo/echo", body, {"Content-Type": "application/json"})
            self.assertIn(reply.status, (200, 400, 413))

    def test_connections_beyond_the_limit_get_a_clear_503(self):
        limit, port = 32, free_port()
        small = self.mesh.start("gateway", WEFT_HTTP="127.0.0.1:%d" % port, WEFT_HTTP_THREADS=str(limit))
        mute = self.mesh.fake("mute", "silent", capacity=limit)
        eventually(lambda: self.raw_http(b"GET /v1/services/mute HTTP/1.0\r\n\r\n", port)[9:12] == b"200", what="it is known")
        busy = [self.tcp("x:%d" % port) for _ in range(limit)]
        for raw in busy:  # busy: an idle one would be closed to make room
            raw.sendall(b"POST /v1/call/mute/silent HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"X-Request-Timeout-Ms: 600000\r\nContent-Length: 2\r\n\r\n{}")
        eventually(lambda: small.metric("weft_gateway_in_flight") == limit, 30, "all threads are busy")
        for request in (b"GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/serv", b""):
            with self.subTest(request):
                answer = self.raw_http(request, port, finish=False)
                self.assertEqual(answer[:12], b"HTTP/1.1 503")
                self.assertIn(b"\r\nRetry-After: ", answer)
                self.assertIn(b"application/problem+json", answer)
        self.assertEqual(small.metric("weft_gateway_in_flight"), limit)
        busy[0].close()
        eventually(lambda: self.raw_http(b"GET /healthz HTTP/1.0\r\n\r\n", port)[9:12] == b"200", what="there is room again")
        for raw in busy:
            raw.close()
        mute.kill()  # it ends nothing, not even for SIGTERM
        self.assertEqual(small.stop(), 0)

    def test_idle_connections_beyond_the_limit_make_room(self):
        held = [self.tcp("x:%d" % self.mesh.http_port) for _ in range(700)]  # WEFT_HTTP_THREADS is 512 by default
        eventually(lambda: self.mesh.http("GET", "/v1/services").status == 200, what="served beside them")
        for raw in held:
            raw.close()
        eventually(lambda: self.mesh.http("GET", "/healthz").status == 200, what="served again")


if __name__ == "__main__":
    unittest.main()
