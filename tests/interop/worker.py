"""worker - a WEFT/1 worker from proto/SPEC.md alone: one broker, one thread, only zmq and msgpack.

A method is a function of (body, request), or a generator: what it yields goes out as PARTIAL, None only gives the loop
a turn; what it returns is the result.  The loop resumes all running generators in turn."""
import inspect
import os
import random
import signal
import sys
import time

import msgpack
import zmq

REQUEST, REPLY, PARTIAL, CANCEL, READY, PING, PONG, DRAIN, BYE, WHO = range(1, 11)
PING_S, SILENCE_S, BACK_OFF_S, BACK_OFF_MAX_S = 1.0, 4.0, 0.1, 3.0


class Fail(Exception):
    """Raised by a method: becomes a REPLY of this status."""

    def __init__(self, status, message, executed="maybe", hop="handler", details=None):
        super().__init__(message)
        self.status = status
        self.body = {"message": message, "executed": executed, "hop": hop}
        if details is not None:
            self.body["details"] = details


class Request:
    def __init__(self, id, method, ttl_ms, meta):
        self.id, self.method, self.meta = id, method, meta
        self.expires = time.monotonic() + ttl_ms / 1000
        self.cancelled = False


def once(function):
    """A generator that yields nothing and returns what the function does."""
    def generator(body, request):
        yield None
        return function(body, request)
    return generator


def encode(kind, id, *parts):
    return bytes([0x93 + len(parts), 1, kind, 0xc4, 8]) + id + b"".join(parts)


class Worker:
    def __init__(self, endpoint, name, methods, version="1.0.0", capacity=8, idempotent=()):
        self.endpoint, self.name, self.methods, self.capacity = endpoint, name, methods, capacity
        self.descriptor = {"name": name, "version": version, "instance": os.urandom(8).hex(), "methods": [
            {"name": method, "streaming": inspect.isgeneratorfunction(function), "idempotent": method in idempotent}
            for method, function in methods.items()]}
        self.socket, self.running, self.stopping = None, {}, False
        self.ready_id = self.drain_id = None
        self.registered = self.drained = False
        self.epoch, self.whos, self.losses = 0, 0, 0
        self.back_off = BACK_OFF_S

    def _connect(self):
        if self.socket:
            self.socket.close(0)
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        self.socket.setsockopt(zmq.MAXMSGSIZE, 2 * 1024 * 1024)
        self.socket.connect(self.endpoint)
        self.running.clear()  # their broker is gone: nobody waits for them
        self.heard = self.turned = time.monotonic()
        self.ping_due = 0.0
        self._register()

    def _register(self):
        self.registered, self.ready_id = False, os.urandom(8)
        self.socket.send(encode(READY, self.ready_id, msgpack.packb(self.descriptor), msgpack.packb(self.capacity)))

    def _load(self):
        return b"\xce" + len(self.running).to_bytes(4, "big")  # five bytes wide: the broker patches it

    def _answer(self, kind, id, status, body, meta=None):
        self.socket.send(encode(kind, id, bytes([status]), self._load(), msgpack.packb(meta or {}), msgpack.packb(body)))

    def _begin(self, id, service, method, ttl_ms, priority, meta, body):
        request = Request(id, method, ttl_ms, meta)
        if service != self.name or method not in self.methods:
            return self._answer(REPLY, id, 12, Fail(12, "no such method", "no", "worker").body)
        made = self.methods[method]
        run = made if inspect.isgeneratorfunction(made) else once(made)
        self.running[id] = (request, run(body, request))

    def _step(self):
        """Resumes each running request once; a PARTIAL or the REPLY may go out."""
        for id, (request, generator) in list(self.running.items()):
            try:
                if time.monotonic() > request.expires:
                    raise Fail(4, "the deadline passed")
                value = next(generator)
                if value is not None:
                    self._answer(PARTIAL, id, 0, value)
            except StopIteration as end:
                del self.running[id]
                self._answer(REPLY, id, 0, end.value)
            except Fail as fail:
                del self.running[id]
                self._answer(REPLY, id, fail.status, fail.body)

    def _take(self, frame):
        message = msgpack.unpackb(frame)
        kind, id, rest = message[1], message[2], message[3:]
        if kind == REQUEST:
            self._begin(id, *rest[:6])
        elif kind == CANCEL and id in self.running:
            self.running[id][0].cancelled = True
        elif kind == PING:
            self.socket.send(encode(PONG, id, b"\x00"))
        elif kind == PONG:
            self.epoch = rest[0]
        elif kind == WHO:
            self.whos += 1
            self.running.clear()
            self._register()
        elif kind == REPLY and id == self.ready_id:
            if rest[0] != 0:
                sys.exit("registration refused: %s" % rest[3])
            self.registered, self.back_off = True, BACK_OFF_S
        elif kind == REPLY and id == self.drain_id:
            self.drained = True
        elif kind == BYE:
            self.heard = 0.0

    def run(self):
        self._connect()
        while not (self.drained and not self.running):
            now = time.monotonic()
            if now - self.turned > SILENCE_S / 2 and self.heard > 0:
                self.heard = now  # this process was stopped: that is no silence
            self.turned = now
            if now - self.heard > SILENCE_S:
                if self.stopping:
                    break  # lost while draining: nobody waits for anything here
                self.losses += 1
                time.sleep(random.uniform(0, self.back_off))
                self.back_off = min(2 * self.back_off, BACK_OFF_MAX_S)
                self._connect()
            if now >= self.ping_due:
                self.socket.send(encode(PING, os.urandom(8), self._load()))
                self.ping_due = now + PING_S * random.uniform(0.8, 1.2)
            if self.stopping and self.drain_id is None:
                self.drain_id = os.urandom(8)
                self.socket.send(encode(DRAIN, self.drain_id))
            if self.socket.poll(5 if self.running else 50):
                self.heard = time.monotonic()
                self._take(self.socket.recv())
            self._step()
        self.socket.send(encode(BYE, os.urandom(8)))
        self.socket.close()


# ---- the service `py`, to be called by the tests ----

def echo(body, request):
    return body


def info(body, request):
    return {"pid": os.getpid(), "meta": request.meta, "left_ms": int(1000 * (request.expires - time.monotonic()))}


def fail(body, request):
    raise Fail(body["status"], body["message"], details=body.get("details"))


def count(body, request):
    for n in range(body["count"]):
        yield {"n": n}
    return {"count": body["count"]}


cancelled = 0


def wait(body, request):
    """Yields nothing until cancelled or the time is up."""
    global cancelled
    end = time.monotonic() + body["ms"] / 1000
    while time.monotonic() < end:
        if request.cancelled:
            cancelled += 1
            raise Fail(1, "cancelled")
        yield None
    return {"waited": body["ms"]}


def stats(body, request):
    return {"cancelled": cancelled, "whos": worker.whos, "losses": worker.losses}


def die(body, request):
    os._exit(9)


if __name__ == "__main__":  # worker.py tcp://127.0.0.1:7311 [VERSION]
    worker = Worker(sys.argv[1], "py", {f.__name__: f for f in (echo, info, fail, count, wait, stats, die)},
                    version=sys.argv[2] if len(sys.argv) > 2 else "1.0.0", idempotent=("echo", "wait"))
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "stopping", True))
    worker.run()
