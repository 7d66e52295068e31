"""fake_worker - a worker whose descriptor is given and whose methods behave by their name; for what no good handler does.

fake_worker.py ENDPOINT DESCRIPTOR_JSON [CAPACITY]"""
import json
import os
import pathlib
import signal
import sys

import msgpack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import worker as plain  # noqa: E402


class Answer:
    """A result with meta; `raw`: bytes that go out in the place of the encoded body."""

    def __init__(self, body=None, meta=None, raw=None):
        self.body, self.meta, self.raw = body, meta or {}, raw


class Worker(plain.Worker):
    def _answer(self, kind, id, status, body, meta=None):
        if isinstance(body, Answer):
            encoded = body.raw if body.raw is not None else msgpack.packb(body.body)
            self.socket.send(plain.encode(kind, id, bytes([status]), self._load(), msgpack.packb(body.meta), encoded))
        else:
            super()._answer(kind, id, status, body, meta)


def created(body, request):
    return Answer(body, {"http.status": "201", "http.location": "/v1/things/7", "handler_us": "1500", "wait_us": "20"})


def strange(body, request):
    return Answer(body, {"http.status": "302", "http.location": "/x\r\nSet-Cookie: a=b", "x": "\r\n\r\n"})


def empty(body, request):
    return Answer(None, {"http.status": "204"})


def garbage(body, request):
    return Answer(raw=b"\xc1")


def intkeys(body, request):
    return Answer(raw=b"\x81\x01\x02")


def nan(body, request):
    return float("nan")


def binary(body, request):
    return {"bin": b"\x00\xff\xfe", "at": msgpack.Timestamp(1700000000, 500000000), "u": 2 ** 64 - 1}


def exhausted(body, request):
    raise plain.Fail(8, "you may do this once a day")


def silent(body, request):
    while True:
        yield None


def gate(body, request):
    """Waits until the file `path` exists."""
    while not os.path.exists(body["path"]):
        yield None


def flood(body, request):
    for n in range(body.get("count", 1000)):
        yield {"n": n, "pad": "x" * body.get("pad", 10000)}
        if request.cancelled:
            raise plain.Fail(1, "cancelled")


def events(body, request):
    """Named and numbered parts, from behind the one that the caller heard last."""
    last = request.meta.get("last-event-id", "0")
    for n in range(body["count"] + 1 if last == "end" else int(last) + 1, body["count"] + 1):
        yield Answer({"n": n}, {"event.name": "tick", "event.id": str(n)})
    return Answer({"count": body["count"]}, {"event.id": "end"})


def oddities(body, request):
    """Names and ids that would break the form."""
    for name in ("a\nevent: forged", "", "x" * 257, "nul\0", "cr\r"):
        yield Answer({}, {"event.name": name, "event.id": name})
    yield Answer({}, {"event.name": "gr\u00fc\u00df", "event.id": "x" * 256})


LATER = []  # what `get` will say


def enqueue(body, request):
    """As the service jobs would, if it did what the call's input says: `answer` with `meta`, or `fail`, each of `fails`
    the first times; `later`: what `get` says then.  The job's input is what it was asked for."""
    script = body["input"]
    for fail in script.get("fails", []):
        if fail not in FAILED:
            FAILED.append(fail)
            raise plain.Fail(*fail)
    if "fail" in script:
        raise plain.Fail(*script["fail"])
    LATER[:] = script.get("later", [])
    job = script["answer"]
    return Answer(dict(job, input=dict(body, meta=request.meta)) if isinstance(job, dict) else job, script.get("meta"))


FAILED = []


def get(body, request):
    """The next of `later`: an answer, with `asked` as its progress; a list: Fail.  Then waits for the caller to leave, if
    he wants to wait."""
    said = LATER.pop(0) if LATER else 0
    if "wait" not in body:
        return Answer(body, {"http.status": "201"})
    if isinstance(said, list):
        raise plain.Fail(*said)
    while said == 0 and not request.cancelled:
        yield None
    if said == 0:
        raise plain.Fail(1, "cancelled")
    return Answer(dict(said, progress={"asked": body}), {"result.http.status": "201"})


def who(body, request):
    return {"version": worker.descriptor["version"], "pid": os.getpid(), "input": body, "meta": request.meta}


if __name__ == "__main__":
    descriptor = json.loads(sys.argv[2])
    methods = {f.__name__: f for f in (created, strange, empty, garbage, intkeys, nan, binary, exhausted, silent, gate, flood,
                                       events, oddities, enqueue, get, who, plain.echo, plain.info, plain.fail, plain.count, plain.wait, plain.die)}
    names = [method["name"] for method in descriptor.get("methods", [])]
    worker = Worker(sys.argv[1], descriptor["name"], {name: methods.get(name, who) for name in names},
                    capacity=int(sys.argv[3]) if len(sys.argv) > 3 else 8)
    worker.descriptor.update(descriptor)
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "stopping", True))
    worker.run()
