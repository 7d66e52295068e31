"""test_memory - what floods and peers that do not read cost broker and gateway, and whether it is given back

Resident memory before, at its peak and after is printed.  MEMORY_SCALE multiplies the load: tests/bench/memory is this
test with more of it.  Sanitizers keep what was freed, so under them only the answers are looked at."""
import json
import os
import random
import socket
import sys
import threading
import time
import unittest

import msgpack
import zmq

from mesh import PATIENCE, ROOT, MeshTest, eventually

sys.path.insert(0, str(ROOT / "tests/interop"))
from client import Client, encode, uint32, PING, PONG, REPLY, REQUEST  # noqa: E402

SCALE = float(os.environ.get("MEMORY_SCALE", "1"))
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024
SANITIZED = PATIENCE > 1


def resident(process):
    with open("/proc/%d/statm" % process.pid, encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE


class Peak:
    """Samples the resident memory of processes until it is stopped."""

    def __init__(self, **processes):
        self.processes = processes
        self.before = {name: resident(process) for name, process in processes.items()}
        self.peak, self.after = dict(self.before), {}
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            self.look()
            time.sleep(0.02)

    def look(self):
        for name, process in self.processes.items():
            self.after[name] = resident(process)
            self.peak[name] = max(self.peak[name], self.after[name])

    def grown(self, name):
        return self.peak[name] - self.before[name]

    def left(self, name):
        self.look()
        return self.after[name] - self.before[name]

    def stop(self, what):
        self.stopping = True
        self.thread.join()
        self.look()
        for name in self.processes:
            print("    %s: %s MiB before %.1f, at its peak %.1f, after %.1f" % (
                what, name, self.before[name] / MIB, self.peak[name] / MIB, self.after[name] / MIB), flush=True)


class Memory(MeshTest):
    def bounded(self, peak, name, most):
        if not SANITIZED:
            self.assertLess(peak.grown(name), most, "%s grew too much" % name)

    def given_back(self, peak, name, most=12 * MIB):
        """Within seconds, close to what it was."""
        if not SANITIZED:
            eventually(lambda: peak.left(name) < most, timeout=20, what="%s gives its memory back" % name)

    def warm_up(self):
        """What is used once and kept: buffers, threads, tables."""
        self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        for _ in range(200):
            self.mesh.call("echo", "echo", {"pad": "x" * 1000})

    def test_flood_for_a_slow_worker(self):
        self.warm_up()
        self.mesh.fake("slow", "wait", capacity=1)
        peak = Peak(broker=self.broker)
        counts, lock = {}, threading.Lock()

        def flood(number):
            mine, rng, context = {}, random.Random(number), zmq.Context(1)
            asking = Client(self.mesh.front, context)
            sent = answered = 0
            count = int(500 * SCALE)
            end = time.monotonic() + 120 * PATIENCE
            while answered < count and time.monotonic() < end:
                if sent < count:
                    body = msgpack.packb({"ms": 20, "pad": "x" * rng.randint(8192, 32768)})
                    asking.socket.send(encode(REQUEST, os.urandom(8), "slow", "wait", uint32(int(6000 * PATIENCE)), 1, {}, body))
                    sent += 1
                while asking.socket.poll(0 if sent < count else 200):
                    message = msgpack.unpackb(asking.socket.recv())
                    if message[1] == REPLY:
                        answered += 1
                        mine[message[3]] = mine.get(message[3], 0) + 1
                    elif message[1] == PING:
                        asking.socket.send(encode(PONG, message[2], b"\x00"))
            asking.close()
            context.term()
            with lock:
                for status, n in mine.items():
                    counts[status] = counts.get(status, 0) + n

        threads = [threading.Thread(target=flood, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("    flood: answers by status: %r" % counts)
        self.assertEqual(sum(counts.values()), 20 * int(500 * SCALE))  # each was answered
        self.bounded(peak, "broker", 64 * MIB + 48 * MIB)  # WEFT_QUEUE_BYTES, and what is on the way
        self.given_back(peak, "broker")
        peak.stop("flood")

    def test_client_that_does_not_read(self):
        self.warm_up()
        peak = Peak(broker=self.broker)
        context = zmq.Context(1)
        deaf = context.socket(zmq.DEALER)
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.RCVBUF, 65536)
        deaf.connect(self.mesh.front)
        body = msgpack.packb({"bytes": 100000})
        for _ in range(int(4000 * SCALE)):
            deaf.send(encode(REQUEST, os.urandom(8), "echo", "big", uint32(int(20000 * PATIENCE)), 1, {}, body))
        eventually(lambda: self.mesh.outstanding("echo") == 0 and self.mesh.service("echo").get("queued") == 0,
                   timeout=60, what="all were done or given up")
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)
        self.bounded(peak, "broker", 64 * MIB + 48 * MIB)  # WEFT_PIPE_BYTES, and what is on the way
        self.given_back(peak, "broker")  # though it still lives: it was cut off
        deaf.close()
        context.term()
        peak.stop("a client that does not read")

    def test_streams_that_are_not_read(self):
        self.warm_up()
        self.mesh.fake("fake", {"name": "flood", "streaming": True}, capacity=64)
        peak = Peak(broker=self.broker, gateway=self.gateway)
        text = json.dumps({"count": int(400 * SCALE), "pad": 100000})
        head = ("POST /v1/call/fake/flood HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                "Accept: text/event-stream\r\nX-Request-Timeout-Ms: 600000\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        readers = []
        for _ in range(8):
            raw = socket.create_connection(("127.0.0.1", self.mesh.http_port), timeout=30 * PATIENCE)
            self.addCleanup(raw.close)
            raw.sendall(head.encode())
            raw.recv(10)  # then no more
            readers.append(raw)
        eventually(lambda: self.mesh.outstanding("fake") == 0, timeout=60, what="the streams were ended")
        # Each may hold 4 MiB unread and one write of 64 KiB; its part on the way through the broker comes on top.
        self.bounded(peak, "gateway", len(readers) * 5 * MIB + 64 * MIB)
        self.bounded(peak, "broker", 64 * MIB + 48 * MIB)
        self.given_back(peak, "gateway", 16 * MIB)
        self.given_back(peak, "broker")
        peak.stop("streams that are not read")


if __name__ == "__main__":
    unittest.main()
