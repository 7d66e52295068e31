"""client - a WEFT/1 client from proto/SPEC.md alone: one broker, one thread, only zmq and msgpack."""
import os
import random
import sys
import time

import msgpack
import zmq

REQUEST, REPLY, PARTIAL, CANCEL, READY, PING, PONG, DRAIN, BYE, WHO = range(1, 11)
PING_S, SILENCE_S = 1.0, 4.0


class WeftError(Exception):
    """A REPLY that is not OK."""

    def __init__(self, status, body):
        body = body if isinstance(body, dict) else {}
        super().__init__("status %d: %s" % (status, body.get("message", "")))
        self.status, self.executed = status, body.get("executed", "maybe")
        self.hop, self.details = body.get("hop"), body.get("details")


class Lost(Exception):
    """The broker has been silent for too long, or said BYE."""


def encode(kind, id, *elements):
    """[1, kind, id, ...]; an element given as bytes is encoded already."""
    parts = [element if isinstance(element, bytes) else msgpack.packb(element) for element in elements]
    return bytes([0x93 + len(parts), 1, kind, 0xc4, 8]) + id + b"".join(parts)


def uint32(number):
    """Five bytes wide, so that a broker can patch it in place."""
    return b"\xce" + number.to_bytes(4, "big")


class Client:
    def __init__(self, endpoint, context=None):
        self.socket = (context or zmq.Context.instance()).socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        self.socket.setsockopt(zmq.MAXMSGSIZE, 2 * 1024 * 1024)
        self.socket.connect(endpoint)
        self.heard = self.turned = time.monotonic()
        self.ping_due = 0.0
        self.waiting = {}  # id -> REPLYs and PARTIALs that came while another call was waited for
        self.draining = False
        self.late = 0

    def close(self):
        self.socket.send(encode(BYE, os.urandom(8)))
        self.socket.close()

    def submit(self, service, method, body=None, timeout_ms=30000, meta=None, priority=1):
        """Sends a REQUEST; its id is what receive and cancel want."""
        id = os.urandom(8)
        self.waiting[id] = []
        self.socket.send(encode(REQUEST, id, service, method, uint32(timeout_ms), priority, meta or {},
                                msgpack.packb(body)))
        return id

    def cancel(self, id):
        self.socket.send(encode(CANCEL, id))

    def _take(self, message):
        kind, id = message[1], message[2]
        if kind in (REPLY, PARTIAL):
            if id in self.waiting:
                self.waiting[id].append(message)
            else:
                self.late += 1
        elif kind == PING:
            self.socket.send(encode(PONG, id, 0))
        elif kind == DRAIN:
            self.draining = True
        elif kind == BYE:
            raise Lost("the broker said BYE")

    def turn(self, timeout_s):
        """Heartbeat, then reads what is there or comes within the time."""
        now = time.monotonic()
        if now - self.turned > SILENCE_S / 2:
            self.heard = now  # nobody listened: that is no silence
        self.turned = now
        if now >= self.ping_due:
            self.socket.send(encode(PING, os.urandom(8), 0))
            self.ping_due = now + PING_S * random.uniform(0.8, 1.2)
        if now - self.heard > SILENCE_S:
            raise Lost("the broker is silent")
        if self.socket.poll(int(1000 * max(0.0, min(timeout_s, self.ping_due - now)))):
            self.heard = time.monotonic()
            self._take(msgpack.unpackb(self.socket.recv()))

    def receive(self, id, timeout_s):
        """The next PARTIAL or the REPLY of a call, as it came; None when the time is up."""
        end = time.monotonic() + timeout_s
        while not self.waiting[id]:
            if time.monotonic() >= end:
                return None
            self.turn(end - time.monotonic())
        message = self.waiting[id].pop(0)
        if message[1] == REPLY:
            del self.waiting[id]
        return message

    def stream(self, service, method, body=None, timeout_ms=30000, **more):
        """Yields the body of each PARTIAL and then of the REPLY; raises WeftError for one that is not OK."""
        id = self.submit(service, method, body, timeout_ms, **more)
        message = [None, None]
        while message[1] != REPLY:
            message = self.receive(id, timeout_ms / 1000)
            if message is None:  # the client owns its deadline
                del self.waiting[id]
                self.cancel(id)
                raise WeftError(4, {"message": "no reply in time", "executed": "maybe", "hop": "client"})
            if message[3] != 0:
                raise WeftError(message[3], message[6])
            yield message[6]

    def call(self, service, method, body=None, timeout_ms=30000, **more):
        return list(self.stream(service, method, body, timeout_ms, **more))[-1]


if __name__ == "__main__":  # client.py tcp://127.0.0.1:7310 SERVICE METHOD JSON
    import json
    print(json.dumps(Client(sys.argv[1]).call(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))))
