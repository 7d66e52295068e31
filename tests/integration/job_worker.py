"""job_worker - a worker for the tests of the queue: what its methods do is said by their input, what happened to them
stands in a file, a line of JSON for each event.

job_worker.py ENDPOINT DESCRIPTOR_JSON EVENTS_FILE [CAPACITY]"""
import json
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import worker as plain  # noqa: E402
from worker import Fail  # noqa: E402


def event(what, request, **more):
    meta = request.meta
    line = {"event": what, "method": request.method, "job": meta.get("job.id"), "pid": os.getpid(), "at": time.monotonic(),
            "attempt": int(meta.get("job.attempt", 0)), "fence": int(meta.get("job.fence", 0)), **more}
    os.write(EVENTS, (json.dumps(line) + "\n").encode())


def attempt(request):
    return int(request.meta.get("job.attempt", 1))


def watched(function):
    """A method as a generator that writes down its beginning and its end."""
    def generator(body, request):
        event("start", request, input=body, meta=request.meta)
        try:
            result = yield from function(body or {}, request)
        except Fail as fail:
            event("cancelled" if fail.status == 1 else "failed", request, status=fail.status)
            raise
        event("end", request)
        return result
    generator.__name__ = function.__name__
    return generator


def until(condition, request):
    while not condition():
        if request.cancelled:
            raise Fail(1, "cancelled")
        yield None


@watched
def ok(body, request):
    """Gives its input back."""
    yield None
    return body


@watched
def fail(body, request):
    """Fails with `status` in the first `times` attempts, which are all where it is not given, unless `path` exists."""
    yield None
    if attempt(request) <= body.get("times", 1 << 30) and not os.path.exists(body.get("path", "")):
        raise Fail(body["status"], body.get("message", "no"), details=body.get("details"))
    return {"attempt": attempt(request)}


@watched
def wait(body, request):
    """Takes `ms`; ends early when it is cancelled."""
    end = time.monotonic() + body["ms"] / 1000
    yield from until(lambda: time.monotonic() >= end, request)
    return {"waited": body["ms"]}


@watched
def gate(body, request):
    """Waits until the file `path` exists."""
    yield from until(lambda: os.path.exists(body["path"]), request)
    return {"pid": os.getpid()}


@watched
def stubborn(body, request):
    """As gate, but heeds neither cancel nor deadline: its reply may come when nobody wants it any more."""
    request.expires = time.monotonic() + 3600
    while not os.path.exists(body["path"]):
        yield None
    return {"attempt": attempt(request)}


@watched
def die(body, request):
    """Kills its process in the first `times` attempts."""
    yield None
    if attempt(request) <= body.get("times", 1 << 30):
        os._exit(9)
    return {"attempt": attempt(request)}


@watched
def steps(body, request):
    """A PARTIAL for each number; before the next one it waits for the file `path`.N."""
    for n in range(body["count"]):
        yield {"done": n, "of": body["count"]}
        yield from until(lambda: os.path.exists("%s.%d" % (body["path"], n)), request)  # noqa: B023
    return {"done": body["count"]}


@watched
def big(body, request):
    yield None
    return "x" * body["bytes"]


@watched
def mute(body, request):
    """Does not answer while the worker lives, and keeps its deadline from being noticed here."""
    request.expires = time.monotonic() + 3600
    while not worker.stopping:
        yield None


class Worker(plain.Worker):
    """Says when the broker has accepted it: by the file EVENTS_FILE.PID."""

    def _take(self, frame):
        super()._take(frame)
        if self.registered and not self.told:
            self.told = True
            pathlib.Path("%s.%d" % (sys.argv[3], os.getpid())).touch()

    told = False


METHODS = {f.__name__: f for f in (ok, fail, wait, gate, stubborn, die, steps, big, mute)}

if __name__ == "__main__":
    descriptor = json.loads(sys.argv[2])
    EVENTS = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    worker = Worker(sys.argv[1], descriptor["name"],
                    {one["name"]: METHODS[one.get("does", one["name"])] for one in descriptor["methods"]},
                    capacity=int(sys.argv[4]) if len(sys.argv) > 4 else 8)
    worker.descriptor.update(descriptor)
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "stopping", True))
    worker.run()
