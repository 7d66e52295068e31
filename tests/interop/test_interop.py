"""test_interop - the real broker, weft-echo and CLI against a client and a worker that know only SPEC.md."""
import json
import os
import pathlib
import sys
import time
import unittest

import msgpack
import zmq

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
from client import (BYE, CANCEL, DRAIN, PARTIAL, PING, PONG, READY, REPLY, REQUEST, WHO, Client, Lost, WeftError, encode,  # noqa: E402
                    uint32)
from mesh import PATIENCE, MeshTest, eventually  # noqa: E402

OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 0, 1, 3, 4, 5, 12, 14


class Interop(MeshTest):
    PROGRAMS = ("broker",)

    def setUp(self):
        super().setUp()
        self.client = Client(self.mesh.front)
        self.addCleanup(lambda: self.client.socket.close(0))

    def worker(self, *arguments):
        process = self.mesh.spawn("py", ["/usr/bin/python3", str(HERE / "worker.py"), self.mesh.back, *arguments])
        self.await_service("py")
        return process

    def await_service(self, name, method="echo"):
        eventually(lambda: self.try_call(name, method), what="%s answers" % name)

    def try_call(self, service, method):
        try:
            self.client.call(service, method, {})
            return True
        except WeftError as error:
            if error.status != UNAVAILABLE:
                raise
            return False

    def raw(self, kind=zmq.DEALER, front=True):
        socket = zmq.Context.instance().socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, int(30000 * PATIENCE))
        socket.connect(self.mesh.front if front else self.mesh.back)
        self.addCleanup(socket.close)
        return socket

    def reply_to(self, socket, frame):
        """What comes next but for PINGs, which are answered."""
        socket.send(frame)
        message = msgpack.unpackb(socket.recv())
        while message[1] == PING:
            socket.send(encode(PONG, message[2], 0))
            message = msgpack.unpackb(socket.recv())
        return message

    def assert_error(self, caught, status, executed=None):
        self.assertEqual(caught.exception.status, status)
        if executed:
            self.assertEqual(caught.exception.executed, executed)

    # ---- Python client, Python worker ----

    def test_call_goes_through_unchanged(self):
        self.worker()
        for body in (None, True, 0, -1, 2 ** 64 - 1, -2 ** 63, 1.5, "", "\u20ac\U0001d11e\0", b"\0\xff", [], {},
                     {"a": [1, {"b": None}], "c": msgpack.Timestamp(1, 2)}, "x" * 1000000):
            self.assertEqual(self.client.call("py", "echo", body), body)

    def test_worker_sees_meta_and_what_is_left_of_the_ttl(self):
        self.worker()
        info = self.client.call("py", "info", timeout_ms=4000, meta={"tenant": "acme", "x": ""})
        self.assertEqual(info["meta"], {"tenant": "acme", "x": ""})
        self.assertGreater(info["left_ms"], 0)
        self.assertLessEqual(info["left_ms"], 4000)

    def test_error_keeps_status_message_and_details(self):
        self.worker()
        with self.assertRaises(WeftError) as caught:
            self.client.call("py", "fail", {"status": NOT_FOUND, "message": "no note 7", "details": {"k": [1]}})
        self.assert_error(caught, NOT_FOUND, "maybe")
        self.assertEqual((caught.exception.hop, caught.exception.details), ("handler", {"k": [1]}))
        self.assertIn("no note 7", str(caught.exception))

    def test_stream_keeps_its_order(self):
        self.worker()
        self.assertEqual(list(self.client.stream("py", "count", {"count": 200})),
                         [{"n": n} for n in range(200)] + [{"count": 200}])

    def test_requests_of_one_client_run_at_once(self):
        self.worker()
        calls = [self.client.submit("py", "wait", {"ms": 200}) for _ in range(8)]
        calls += [self.client.submit("py", "echo", n) for n in range(50)]
        for id in calls:
            self.assertEqual(self.client.receive(id, 30 * PATIENCE)[3], OK)

    def test_cancel_reaches_the_worker(self):
        self.worker()
        id = self.client.submit("py", "wait", {"ms": 60000}, 70000)
        eventually(lambda: self.held(1), what="the worker holds it")
        self.client.cancel(id)
        message = self.client.receive(id, 30 * PATIENCE)
        self.assertEqual(message[3], CANCELLED)
        eventually(lambda: self.client.call("py", "stats")["cancelled"] == 1, what="the worker saw it")
        self.client.cancel(id)  # once more: ignored
        self.assertEqual(self.client.call("py", "echo", 1), 1)

    def held(self, count):
        """True when the broker has handed out that many requests to `py`."""
        return self.service("py")["outstanding"] == count

    def test_deadline_passes_at_the_worker(self):
        self.worker()
        id = self.client.submit("py", "wait", {"ms": 60000}, 300)
        message = self.client.receive(id, 30 * PATIENCE)
        self.assertEqual((message[3], message[6]["executed"]), (DEADLINE_EXCEEDED, "maybe"))
        eventually(lambda: self.client.call("py", "echo", 1) == 1, what="the worker is free again")

    def test_errors_of_the_broker(self):
        with self.assertRaises(WeftError) as caught:
            self.client.call("nobody", "echo")
        self.assert_error(caught, UNAVAILABLE, "no")
        self.worker()
        with self.assertRaises(WeftError) as caught:
            self.client.call("py", "nothing")
        self.assert_error(caught, UNIMPLEMENTED, "no")

    def test_worker_that_dies_with_a_request(self):
        worker = self.worker()
        with self.assertRaises(WeftError) as caught:
            self.client.call("py", "die", timeout_ms=20000)
        self.assert_error(caught, UNAVAILABLE, "maybe")
        worker.wait()

    def test_idempotent_request_of_a_killed_worker_goes_to_another(self):
        first = self.worker()
        id = self.client.submit("py", "wait", {"ms": 1500}, 20000)
        eventually(lambda: self.held(1), what="the first holds it")
        self.mesh.spawn("py", ["/usr/bin/python3", str(HERE / "worker.py"), self.mesh.back])
        eventually(lambda: self.workers_of("py") == 2, what="the second is registered")
        first.kill()
        message = self.client.receive(id, 30 * PATIENCE)
        self.assertEqual((message[3], message[6]), (OK, {"waited": 1500}))

    def service(self, name):
        """What the broker says about a service; None when it knows none of that name."""
        services = self.client.call("weft.broker", "services")["services"]
        return next((service for service in services if service["name"] == name), None)

    def workers_of(self, name):
        known = self.service(name)
        return known["workers"] if known else 0

    def test_drain_finishes_what_is_held(self):
        worker = self.worker()
        id = self.client.submit("py", "wait", {"ms": 500}, 20000)
        eventually(lambda: self.held(1), what="the worker holds it")
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.client.receive(id, 30 * PATIENCE)[3], OK)
        with self.assertRaises(WeftError) as caught:  # known, but nobody is left: after the grace
            self.client.call("py", "echo")
        self.assert_error(caught, UNAVAILABLE, "no")

    def test_heartbeats_keep_an_idle_worker_and_a_silent_one_is_lost(self):
        worker = self.worker()
        end = time.monotonic() + 5
        while time.monotonic() < end:  # longer than the 4 s after which silence is death
            self.client.turn(0.2)
        self.assertEqual(self.client.call("py", "echo", 1), 1)
        worker.signal(19)  # SIGSTOP: the connection stays up
        eventually(lambda: self.workers_of("py") == 0, what="the silent worker is lost")
        worker.signal(18)
        self.await_service("py")  # it hears WHO, or reconnects, and registers anew
        stats = self.client.call("py", "stats")
        self.assertGreaterEqual(stats["whos"] + stats["losses"], 1)

    def test_broker_that_restarts_is_told_again(self):
        worker = self.worker()
        stats = {"whos": 0}
        for _ in range(5):  # where the broker was away for so long that the worker gave it up, it proves nothing
            losses = stats.get("losses", 0)
            self.broker.kill()
            self.broker = self.mesh.start("broker")
            self.client.socket.close(0)
            self.client = Client(self.mesh.front)
            self.await_service("py")
            self.assertTrue(worker.alive())
            stats = self.client.call("py", "stats")
            if stats["losses"] == losses:
                break
        self.assertGreaterEqual(stats["whos"], 1)  # libzmq reconnected: only WHO told it

    def test_broker_that_leaves_says_so(self):
        self.client.call("weft.broker", "stats")
        self.assertEqual(self.broker.stop(), 0)
        with self.assertRaises(Lost):
            eventually(lambda: self.client.turn(0.1))
        self.assertTrue(self.client.draining)

    def test_watch_shows_services_come_and_go(self):
        id = self.client.submit("weft.broker", "watch", None, 60000)

        def event():
            message = self.client.receive(id, 30 * PATIENCE)
            self.assertIsNotNone(message, "no event in time")
            self.assertEqual(message[1], PARTIAL)
            return message[6]
        seen = event()
        while seen["event"] != "synced":
            seen = event()
        self.assertGreater(seen["epoch"], 0)
        worker = self.mesh.spawn("py", ["/usr/bin/python3", str(HERE / "worker.py"), self.mesh.back])
        while not (seen["event"] == "service" and seen["name"] == "py" and seen["workers"] == 1):
            seen = event()
        self.assertEqual((seen["version"], seen["capacity"], seen["conflict"]), ("1.0.0", 8, False))
        self.assertEqual(seen["descriptor"]["name"], "py")
        worker.kill()
        while seen["event"] != "gone":
            seen = event()
        self.assertEqual(seen["name"], "py")

    def register(self, name, capacity=1, methods=("m",), socket=None):
        """Registers a service on a raw socket, as a worker that does nothing by itself; returns socket and REPLY."""
        socket = socket or self.raw(front=False)
        descriptor = {"name": name, "version": "1.0.0", "instance": "raw", "methods": [{"name": one} for one in methods]}
        reply = self.reply_to(socket, encode(READY, os.urandom(8), descriptor, capacity))
        return socket, reply

    def handed(self, socket):
        """The next REQUEST that the raw worker gets; its heartbeat is looked after."""
        while True:
            message = msgpack.unpackb(socket.recv())
            if message[1] == PING:
                socket.send(encode(PONG, message[2], 0))
            elif message[1] == REQUEST:
                return message

    def answer(self, socket, message, body=None, kind=REPLY, load=b"\x00"):
        socket.send(encode(kind, message[2], b"\x00", load, {}, msgpack.packb(body)))

    def test_request_reaches_the_worker_with_another_id_and_less_ttl(self):
        socket, ready = self.register("raw")
        self.assertEqual(ready[3:], [OK, 0, {}, None])
        id = self.client.submit("raw", "m", {"a": 1}, 5000, meta={"k": "v"}, priority=2)
        got = self.handed(socket)
        self.assertNotEqual(got[2], id)
        self.assertEqual((got[3:5], got[6:]), (["raw", "m"], [2, {"k": "v"}, {"a": 1}]))
        self.assertTrue(0 < got[5] <= 5000)
        self.answer(socket, got, "part", PARTIAL, uint32(7))
        self.answer(socket, got, "done", REPLY, uint32(7))
        self.answer(socket, got, "late")  # its id means nothing any more
        part, reply = self.client.receive(id, 30 * PATIENCE), self.client.receive(id, 30 * PATIENCE)
        self.assertEqual((part[1], part[2], part[6]), (PARTIAL, id, "part"))
        self.assertEqual((reply[1], reply[2], reply[6]), (REPLY, id, "done"))
        counters = self.client.call("weft.broker", "stats")["counters"]
        self.assertEqual(sum(value for name, value in counters.items() if "late" in name), 1, counters)
        self.assertEqual(self.client.late, 0)

    def test_load_of_a_reply_becomes_the_time_in_the_queue(self):
        socket, _ = self.register("raw", capacity=1)
        first = self.client.submit("raw", "m", timeout_ms=20000)
        second = self.client.submit("raw", "m", timeout_ms=20000)
        got = self.handed(socket)
        eventually(lambda: self.service("raw")["queued"] == 1, what="the second waits")
        waited = time.monotonic() + 0.5
        while time.monotonic() < waited:
            self.client.turn(0.01)
        self.answer(socket, got, load=uint32(1))
        got = self.handed(socket)
        self.assertLessEqual(got[5], 19500)
        self.answer(socket, got, load=uint32(1))
        self.assertLess(self.client.receive(first, 20 * PATIENCE)[4], 500000)
        self.assertGreaterEqual(self.client.receive(second, 20 * PATIENCE)[4], 500000)
        third = self.client.submit("raw", "m")
        self.answer(socket, self.handed(socket), load=b"\x05")  # too narrow to be patched: 0 is not known
        self.assertEqual(self.client.receive(third, 30 * PATIENCE)[4], 0)

    def test_capacity_bounds_what_is_handed_out_and_0_takes_the_service_out(self):
        socket, _ = self.register("raw", capacity=2)
        calls = [self.client.submit("raw", "m", n) for n in range(4)]
        held = [self.handed(socket), self.handed(socket)]
        eventually(lambda: (self.service("raw")["outstanding"], self.service("raw")["queued"]) == (2, 2), what="two wait")
        self.register("raw", capacity=0, socket=socket)
        for message in held:
            self.answer(socket, message)
        for id in calls[:2]:
            self.assertEqual(self.client.receive(id, 30 * PATIENCE)[3], OK)
        for id in calls[2:]:  # nobody is left to take them, after the grace
            reply = self.client.receive(id, 30 * PATIENCE)
            self.assertEqual((reply[3], reply[6]["executed"]), (UNAVAILABLE, "no"))

    def test_id_that_is_in_flight_already_is_dropped(self):
        socket, _ = self.register("raw", capacity=8)
        id = self.client.submit("raw", "m", 1)
        self.client.socket.send(encode(REQUEST, id, "raw", "m", uint32(5000), 1, {}, msgpack.packb(2)))
        self.answer(socket, self.handed(socket), "one")
        self.assertEqual(self.client.receive(id, 30 * PATIENCE)[6], "one")
        counters = self.client.call("weft.broker", "stats")["counters"]
        self.assertEqual(sum(value for name, value in counters.items() if "duplicate" in name), 1, counters)

    def test_priorities_go_first(self):
        socket, _ = self.register("raw", capacity=1)
        ids = {self.client.submit("raw", "m", n, 20000, priority=n): n for n in (1, 3, 2, 0)}
        eventually(lambda: self.service("raw")["queued"] == 3, what="all are there")
        order = []
        for _ in ids:
            got = self.handed(socket)
            order.append(got[8])
            self.answer(socket, got)
        self.assertEqual(order, [1, 0, 2, 3])  # the first found the worker free

    def test_client_that_says_bye_cancels_its_requests(self):
        socket, _ = self.register("raw")
        other = Client(self.mesh.front)
        other.submit("raw", "m")
        got = self.handed(socket)
        other.close()
        message = msgpack.unpackb(socket.recv())
        while message[1] == PING:
            socket.send(encode(PONG, message[2], 0))
            message = msgpack.unpackb(socket.recv())
        self.assertEqual(message[1:3], [CANCEL, got[2]])

    def test_drain_is_answered_behind_the_last_request_and_is_for_good(self):
        socket, _ = self.register("raw", capacity=4)
        id = self.client.submit("raw", "m")
        got = self.handed(socket)
        drain = os.urandom(8)
        reply = self.reply_to(socket, encode(DRAIN, drain))
        self.assertEqual(reply[1:4], [REPLY, drain, OK])
        self.answer(socket, got, "done")
        self.assertEqual(self.client.receive(id, 30 * PATIENCE)[6], "done")
        _, refused = self.register("raw", socket=socket)
        self.assertEqual(refused[3], 9)  # FAILED_PRECONDITION

    def test_broker_drains_on_call(self):
        self.client.call("weft.broker", "drain")
        self.assertEqual(self.broker.wait(), 0)

    # ---- with the C programs ----

    def test_client_to_weft_echo(self):
        self.mesh.start("echo")
        body = {"a": [1, 2.5, "x", None, b"\0\1"]}
        self.assertEqual(self.client.call("echo", "echo", body), body)
        self.assertEqual(list(self.client.stream("echo", "stream", {"count": 3})),
                         [{"n": 0}, {"n": 1}, {"n": 2}, {"count": 3}])
        with self.assertRaises(WeftError) as caught:
            self.client.call("echo", "fail", {"code": "NOT_FOUND", "message": "no"})
        self.assert_error(caught, NOT_FOUND)
        with self.assertRaises(WeftError) as caught:  # breaks the method's schema
            self.client.call("echo", "delay", {"ms": "soon"})
        self.assert_error(caught, INVALID_ARGUMENT, "no")
        self.assertTrue(caught.exception.details["errors"][0]["pointer"].endswith("/ms"))
        id = self.client.submit("echo", "delay", {"ms": 60000}, 70000)
        self.client.cancel(id)
        self.assertEqual(self.client.receive(id, 30 * PATIENCE)[3], CANCELLED)

    def test_echo_answers_a_body_that_is_no_value(self):
        self.mesh.start("echo")
        socket = self.raw()
        for body in (b"\xc1", b"\x81\x01\x02", b"\xa1\xff", b"\xdd\xff\xff\xff\xff", b"\x91" * 33 + b"\xc0", b"\xc0\xc0"):
            reply = self.reply_to(socket, encode(REQUEST, os.urandom(8), "echo", "echo", uint32(5000), 1, {}, body))
            self.assertEqual((reply[3], reply[6]["executed"]), (INVALID_ARGUMENT, "no"))

    def test_weft_calls_the_python_worker(self):
        self.worker()
        done = self.mesh.weft("call", "py.echo", '{"a":[1,2.5,"\u20ac"]}', "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, {"a": [1, 2.5, "\u20ac"]}), done.stderr)
        done = self.mesh.weft("call", "py.count", '{"count":3}', "--stream", "--output", "json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(lines, [{"n": 0}, {"n": 1}, {"n": 2}, {"count": 3}], done.stderr)
        done = self.mesh.weft("call", "py.fail", '{"status":5,"message":"no note 7"}')
        self.assertEqual(done.returncode, 3)
        self.assertIn("no note 7", done.stdout + done.stderr)
        done = self.mesh.weft("services")
        self.assertEqual(done.returncode, 0)
        self.assertIn("py", done.stdout)

    # ---- peers of other kinds ----

    def test_req_socket_gets_its_delimiter_back(self):
        self.worker()
        socket = self.raw(zmq.REQ)
        for n in range(3):
            id = os.urandom(8)
            reply = self.reply_to(socket, encode(REQUEST, id, "py", "echo", uint32(5000), 1, {}, msgpack.packb(n)))
            self.assertEqual((reply[1], reply[2], reply[3], reply[6]), (REPLY, id, OK, n))

    def test_messages_that_are_answered_with_a_rule(self):
        socket = self.raw()
        vectors = json.loads((HERE.parents[1] / "proto/vectors/messages.json").read_text())["invalid"]
        answered = 0
        for vector in vectors:
            if not vector["answer"] or vector["kind"] == READY:
                continue
            with self.subTest(vector["name"]):
                reply = self.reply_to(socket, bytes.fromhex(vector["hex"]))
                self.assertEqual((reply[0], reply[1], reply[2].hex()), (1, REPLY, vector["id"]))
                self.assertEqual(reply[3], {"INVALID_ARGUMENT": INVALID_ARGUMENT, "UNIMPLEMENTED": UNIMPLEMENTED}[vector["answer"]])
                self.assertEqual(reply[6]["executed"], "no")
                if vector["answer"] == "INVALID_ARGUMENT":
                    self.assertIn(vector["rule"], reply[6]["message"])
                answered += 1
        self.assertGreater(answered, 50)

    def test_registrations_that_are_answered_with_a_rule(self):
        socket = self.raw(front=False)
        descriptors = json.loads((HERE.parents[1] / "proto/vectors/descriptors.json").read_text())["descriptors"]
        for vector in descriptors:
            encoded = bytes.fromhex(vector["hex"])
            if vector["valid"] or encoded[:1] < b"\x80" or b"\x8f" < encoded[:1] or "cut" in vector["name"] or "behind" in vector["name"]:
                continue  # the last are messages that are malformed as such
            with self.subTest(vector["name"]):
                id = os.urandom(8)
                reply = self.reply_to(socket, encode(READY, id, encoded, b"\x01"))
                while reply[1] != REPLY:
                    reply = msgpack.unpackb(socket.recv())
                self.assertEqual((reply[2], reply[3]), (id, INVALID_ARGUMENT))
                self.assertIn(vector["rule"], reply[6]["message"])
        self.assertIsNone(self.service("notes"))

    def test_garbage_is_dropped_and_harms_nobody(self):
        self.worker()
        vectors = json.loads((HERE.parents[1] / "proto/vectors/messages.json").read_text())["invalid"]
        sockets = [self.raw(), self.raw(front=False)]
        for socket in sockets:
            for vector in vectors:
                socket.send(bytes.fromhex(vector["hex"]))
            socket.send_multipart([b"a", b"b"])
            socket.send_multipart([b"", b"", encode(CANCEL, bytes(8))])
            socket.send_multipart([b"", encode(BYE, bytes(8)), b""])
            socket.send(encode(REPLY, bytes(8), b"\0", uint32(0), b"\x80", b"\xc0"))  # forged: nothing is in flight
            socket.send(encode(WHO, bytes(8), b"\x01"))
        # What is sent behind it is served, on the same connection too.
        reply = self.reply_to_ping(sockets[0])
        self.assertEqual(reply[1], PONG)
        self.assertEqual(self.client.call("py", "echo", 1), 1)
        self.assertTrue(self.broker.alive())

    def reply_to_ping(self, socket):
        """The broker's PONG, behind all answers to what was sent before."""
        id = os.urandom(8)
        socket.send(encode(PING, id, 0))
        while True:
            reply = msgpack.unpackb(socket.recv())
            if reply[1] == PONG and reply[2] == id:
                return reply

    def test_replies_of_a_stranger_reach_nobody(self):
        self.worker()
        id = self.client.submit("py", "wait", {"ms": 1000}, 20000)
        eventually(lambda: self.held(1), what="the worker holds it")
        forger = self.raw(front=False)
        for slot in range(256):
            for generation in (0, 1, 2 ** 32 - 1):
                forged = generation.to_bytes(4, "big") + slot.to_bytes(4, "big")
                forger.send(encode(REPLY, forged, b"\0", uint32(0), b"\x80", msgpack.packb("forged")))
        forger.send(encode(REPLY, id, b"\0", uint32(0), b"\x80", msgpack.packb("forged")))
        self.assertEqual(self.client.receive(id, 30 * PATIENCE)[6], {"waited": 1000})

    def test_epoch_is_the_same_for_all_and_new_after_a_restart(self):
        epochs = {self.reply_to_ping(self.raw())[3] for _ in range(2)}
        stranger = self.reply_to(self.raw(front=False), encode(PING, os.urandom(8), 0))
        self.assertEqual(stranger[1], WHO)  # a worker that is not registered is asked to be
        epochs.add(stranger[3])
        self.assertEqual(len(epochs), 1)
        self.assertNotIn(0, epochs)
        self.broker.kill()
        self.broker = self.mesh.start("broker")
        self.assertNotIn(self.reply_to_ping(self.raw())[3], epochs)


if __name__ == "__main__":
    unittest.main()
