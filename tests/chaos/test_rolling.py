"""test_rolling - every component replaced, killed and stopped under load: what fails, and what must not

Constant load through two gateways and through weft's C client (rolling_load) on the service `rolling` (rolling_handler), and
jobs of it; three brokers, two gateways, four handlers, two replicas of weft-jobs.  Three phases, each component in turn and
then some at random:

  roll   the replacement is started and ready, then the old one gets SIGTERM (a broker's comes afterwards, at the same
         address): no request may fail, and each process must end with 0
  kill   SIGKILL: what was not idempotent and in flight there may end as UNAVAILABLE, executed "maybe"; connections of a
         killed gateway break; all else succeeds
  stop   SIGSTOP for longer than a heartbeat's patience, SIGCONT: the same, and the process comes back by itself

HTTP clients do as behind a Service: they connect to gateways that are ready, keep connections, and leave when told to.  The
handlers write down what they execute, and every answer is held against that.

    test_rolling.py [--seed N] [--random N] [--full] [--only PHASE,...] [--keep]

The seed is printed; it fixes what is done to whom and when.  It also comes from WEFT_CHAOS_SEED."""
import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/integration"), str(ROOT / "tests/interop")]
from mesh import PATIENCE, Database, Mesh, eventually, free_port, program  # noqa: E402

import client as plain  # noqa: E402

COUNTS = {"broker": 3, "handler": 4, "gateway": 2, "jobs": 2}
SHORT_CALLERS, LONG_CALLERS = 16, 8  # of rolling_load
HTTP_CALLERS = 8  # half of them with calls of LONG_MS
LONG_MS = 200
TIMEOUT_MS = 20000
STOP_S = 5.5  # the silence limit is 4 s
LAME_MS = 1000  # until the clients of a gateway know that it leaves
JOB_NUMBERS = 10**15
Outcome = collections.namedtuple("Outcome", "at way method number code executed hop attempts ms text gateway")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("WEFT_CHAOS_SEED", "0")) or
                        int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--random", type=int, help="random events of each phase, behind those in turn")
    parser.add_argument("--full", action="store_true", help="each replica of each component, and many at random")
    parser.add_argument("--only", default="roll,kill,stop", help="these phases")
    parser.add_argument("--crowd", type=int, default=0, help="so many workers more, of a service that nobody "
                        "calls, at the first broker; how they come back to it after a kill is printed")
    parser.add_argument("--brokers", type=int, default=COUNTS["broker"])
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("-v", action="store_true", help="ignored: as ctest calls it")
    return parser.parse_args()


BEGUN = time.monotonic()


def say(text):
    print("%7.1f  %s" % (time.monotonic() - BEGUN, text), flush=True)


class Results:
    """What became of each call, and what of it is a fault: judged against the event under way."""

    def __init__(self):
        self.lock = threading.Lock()
        self.phase, self.event = "calm", None
        self.counts = collections.defaultdict(collections.Counter)  # phase -> cause
        self.slowest = collections.Counter()
        self.faults, self.answered, self.refused = [], set(), set()

    def add(self, outcome):
        with self.lock:
            counts = self.counts[self.phase]
            counts["requests"] += 1
            self.slowest[self.phase] = max(self.slowest[self.phase], outcome.ms)
            if outcome.code == "OK":
                if outcome.method == "put":
                    self.answered.add(outcome.number)
                return
            counts["failed: %s, executed %s, hop %s, %s" % (outcome.code, outcome.executed, outcome.hop, outcome.text)] += 1
            if outcome.executed == "no" and outcome.method == "put":
                self.refused.add(outcome.number)
            why = self.event.forbids(outcome) if self.event else "nothing happened"
            if why and len(self.faults) < 20:
                self.faults.append("%s while %s: %s" % (why, self.event or self.phase, outcome))


class Event:
    """Something that is done to one process, and which failures it explains."""

    def __init__(self, phase, kind, member):
        self.phase, self.kind, self.member = phase, kind, member
        self.allowed = 0

    def __str__(self):
        return "%s %s" % (self.phase, self.member.name)

    def forbids(self, outcome):
        """Why this failure may not be, or None.  Each caller has one call in flight, so it can lose one."""
        if self.phase == "roll":
            return "a failure"
        if self.kind == "gateway":
            return None if outcome.gateway is self.member else "a failure elsewhere"
        if outcome.way == "job":
            return None if outcome.executed == "maybe" else 'executed "%s"' % outcome.executed
        if self.kind == "jobs":
            return "a failure elsewhere"
        if COUNTS["broker"] == 1 and outcome.text == "no broker is reachable":
            return None  # the gateway waits a second for one
        if outcome.method != "put":
            return "an idempotent call failed"
        if outcome.code != "UNAVAILABLE" or outcome.executed != "maybe":
            return "not explained as it was"
        self.allowed += 1
        if self.allowed > SHORT_CALLERS + LONG_CALLERS + HTTP_CALLERS:
            return "more than was in flight"
        return None


class Member:
    """One replica: its process, and how it is started."""

    def __init__(self, kind, number, start):
        self.kind, self.number, self.start = kind, number, start
        self.generation = 0
        self.process = start(self)

    @property
    def name(self):
        return "%s %d.%d" % (self.kind, self.number, self.generation)

    def successor(self):
        other = Member.__new__(Member)
        other.kind, other.number, other.start, other.generation = self.kind, self.number, self.start, self.generation + 1
        other.process = self.start(other)
        return other


class HttpCaller(threading.Thread):
    def __init__(self, test, index, ms, job=False):
        super().__init__(daemon=True)
        self.test, self.ms, self.job = test, ms, job
        self.random = random.Random(index)
        self.number = 10**12 * (index + 1) if not job else JOB_NUMBERS
        self.connection = self.gateway = None

    def connect(self):
        """To a ready gateway.  One that does not listen any more costs nothing: nothing was sent."""
        while not self.test.over:
            ready = list(self.test.ready)
            if ready:
                gateway = self.random.choice(ready)
                connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=TIMEOUT_MS / 1000 * PATIENCE)
                try:
                    connection.connect()
                    self.connection, self.gateway = connection, gateway
                    return True
                except OSError:
                    connection.close()
            time.sleep(0.02)
        return False

    def run(self):
        turn = 0
        while not self.test.over:
            if not self.connection and not self.connect():
                return
            turn += 1
            self.number += 1
            self.call("put" if self.job or turn % 2 else "get")
            time.sleep(0.1 if self.job else 0.015)

    def call(self, method):
        begun = time.monotonic()
        headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": str(TIMEOUT_MS)}
        if self.job:
            headers.update({"Prefer": "respond-async", "Idempotency-Key": "n%d" % self.number})
        gateway = self.gateway
        try:
            self.connection.request("POST", "/v1/call/rolling/" + method, json.dumps({"number": self.number, "ms": self.ms}),
                                    headers)
            reply = self.connection.getresponse()
            text = reply.read()
            body = json.loads(text)
            code, executed, hop, why = "OK", "", "", ""
            if reply.status >= 400:
                code, executed, hop, why = body["code"], body["executed"], body["hop"], body["detail"]
            elif self.job:
                self.test.jobs[self.number] = int(body["id"])
            elif body != self.number:
                code, why = "MIXED_UP", repr(body)
            if reply.headers.get("Connection", "").lower() == "close":
                self.leave()
        except (OSError, http.client.HTTPException, ValueError) as error:
            code, executed, hop, why = "BROKEN", "maybe", "http", type(error).__name__
            self.leave()
        self.test.results.add(Outcome(time.monotonic(), "job" if self.job else "http", method, self.number, code, executed,
                                      hop, 1, int(1000 * (time.monotonic() - begun)), why, gateway))

    def leave(self):
        self.connection.close()
        self.connection = None


class Rolling:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.results = Results()
        self.ready, self.jobs, self.over, self.arriving = [], {}, False, None
        self.members = collections.defaultdict(list)
        self.load = self.crowd = None

    # ---- the mesh ----

    def build(self):
        self.mesh = Mesh()
        if self.args.keep:
            os.environ["MESH_KEEP"] = "1"
            say("logs are in %s" % self.mesh.folder)
        self.database = Database()
        self.journal = self.mesh.folder / "journal"
        ends = [("tcp://127.0.0.1:%d" % free_port(), "tcp://127.0.0.1:%d" % free_port()) for _ in range(COUNTS["broker"])]
        self.fronts, self.backs = [front for front, _ in ends], [back for _, back in ends]
        everywhere = {"WEFT_BROKERS": ",".join(self.fronts), "WEFT_WORKER_BROKERS": ",".join(back for _, back in ends),
                      "WEFT_DATABASE_URL": self.database.url, "WEFT_ROLLING_JOURNAL": str(self.journal),
                      "WEFT_DRAIN_MS": "25000"}

        def broker(member):
            front, back = ends[member.number]
            return self.mesh.start("broker", ready=False, WEFT_FRONTEND=front, WEFT_BACKEND=back, WEFT_DRAIN_MS="25000")

        def gateway(member):
            member.port = free_port()
            return self.mesh.start("gateway", ready=False, WEFT_BROKERS=everywhere["WEFT_BROKERS"],
                                   WEFT_HTTP="127.0.0.1:%d" % member.port, WEFT_LAME_MS=str(LAME_MS),
                                   WEFT_DRAIN_MS="25000", WEFT_ACCESS_LOG="false")
        starts = {"broker": broker, "gateway": gateway,
                  "handler": lambda member: self.mesh.start("rolling", ready=False, **everywhere),
                  "jobs": lambda member: self.mesh.start("jobs", ready=False, **everywhere)}
        for kind, count in COUNTS.items():
            self.members[kind] = [Member(kind, number, starts[kind]) for number in range(count)]
        for member in self.everybody():
            member.process.wait_ready(30)
        eventually(self.settled, 30, "all handlers are known everywhere")
        threading.Thread(target=self.follow, daemon=True).start()
        eventually(lambda: len(self.ready) == COUNTS["gateway"], 30, "the gateways are ready")

    def everybody(self):
        return [member for members in self.members.values() for member in members]

    def follow(self):
        """What the endpoints of a Service are made of: the gateways that say that they are ready."""
        while not self.over:
            arriving = [self.arriving] if self.arriving else []
            self.ready = [one for one in self.members["gateway"] + arriving if one.process.ready_now()]
            time.sleep(0.05)

    def settled(self):
        """Every broker that runs has all the handlers that run, and no others."""
        running = sum(member.process.alive() for member in self.members["handler"])
        for front in self.fronts:
            asking = plain.Client(front)
            try:
                services = asking.call("weft.broker", "services", timeout_ms=3000)["services"]
            except (plain.WeftError, plain.Lost):
                return False
            finally:
                asking.close()
            if [one["workers"] for one in services if one["name"] == "rolling"] != [running]:
                return False
        return True

    # ---- load ----

    def begin_load(self):
        log = open(self.mesh.folder / "load.log", "wb")
        env = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "MESH_"))}
        self.load = subprocess.Popen([program("load"), ",".join(self.fronts), str(SHORT_CALLERS), str(LONG_CALLERS)],
                                     env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.threads = [threading.Thread(target=self.read_load, daemon=True)]
        self.threads += [HttpCaller(self, index, LONG_MS if index % 2 else 0) for index in range(HTTP_CALLERS)]
        self.threads.append(HttpCaller(self, HTTP_CALLERS, 20, job=True))
        for thread in self.threads:
            thread.start()

    def read_load(self):
        for line in self.load.stdout:
            method, number, code, executed, hop, attempts, ms, text = line.rstrip("\n").split(" ", 7)
            self.results.add(Outcome(time.monotonic(), "rpc", method, int(number), code, executed, hop, int(attempts),
                                     int(ms), text, None))

    def end_load(self):
        self.over = True
        self.load.stdin.close()
        for thread in self.threads:
            thread.join(2 * TIMEOUT_MS / 1000 * PATIENCE)
            if thread.is_alive():
                self.results.faults.append("a caller did not come to an end: %s" % thread)
        code = self.load.wait(10)
        if code != 0:
            self.results.faults.append("rolling_load ended with %d" % code)

    # ---- a crowd of workers ----

    def begin_crowd(self):
        self.registered = []  # s
        if not self.args.crowd:
            return
        log = open(self.mesh.folder / "crowd.log", "wb")
        self.crowd = subprocess.Popen([program("crowd"), self.backs[0], str(self.args.crowd)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=log, text=True)
        threading.Thread(target=self.read_crowd, daemon=True).start()
        eventually(lambda: len(self.registered) >= self.args.crowd, 60, "the crowd is there")

    def read_crowd(self):
        for line in self.crowd.stdout:
            self.registered.append(int(line) / 1000)

    def crowd_is_back(self, since):
        """Prints how those that lost a broker came back to the one that listens since then."""
        if not self.args.crowd:
            return
        eventually(lambda: sum(at >= since for at in self.registered) >= self.args.crowd, 30, "the crowd is back")
        late = sorted(at - since for at in self.registered if at >= since)
        slots = collections.Counter(int(10 * one) for one in late)
        say("    %d workers are back: half after %.2f s, the last after %.2f s; most in a tenth of a second: %d" %
            (len(late), late[len(late) // 2], late[-1], max(slots.values())))

    # ---- what is done ----

    def replace(self, member, other):
        members = self.members[member.kind]
        members[members.index(member)] = other

    def roll(self, member):
        if member.kind == "broker":  # its address is its name: as in a StatefulSet
            self.leave(member)
            other = member.successor()
            other.process.wait_ready(30)
        else:
            other = member.successor()
            self.arriving = other if member.kind == "gateway" else None
            other.process.wait_ready(30)
            if member.kind == "gateway":
                eventually(lambda: other in self.ready, 10, "%s is in the Service" % other.name)
            self.leave(member)
        self.replace(member, other)
        self.arriving = None

    def leave(self, member):
        begun = time.monotonic()
        member.process.signal(signal.SIGTERM)
        code = member.process.wait(40)
        self.took[member.kind] = max(self.took[member.kind], time.monotonic() - begun)
        if code != 0:
            self.results.faults.append("%s ended with %d:\n%s" % (member.name, code, member.process.text()[-2000:]))

    def kill(self, member):
        member.process.kill()
        # Of a broker long enough for all others to be at their longest pause between two attempts to connect: who comes
        # back to it first, callers or handlers, is then a matter of luck.
        time.sleep(self.random.uniform(2.5, 4.0) if member.kind == "broker" else self.random.uniform(0.2, 1.0))
        begun = time.monotonic()
        other = member.successor()
        self.replace(member, other)
        other.process.wait_ready(30)
        if member.kind == "broker" and member.number == 0:
            self.crowd_is_back(begun)

    def stop(self, member):
        member.process.signal(signal.SIGSTOP)
        time.sleep(STOP_S + self.random.uniform(0, 1))
        member.process.signal(signal.SIGCONT)
        member.process.wait_ready(30)
        begun = time.monotonic()
        eventually(self.settled, 10, "%s is back by itself" % member.name)
        self.took[member.kind] = max(self.took[member.kind], time.monotonic() - begun)

    def happen(self, phase, member):
        event = Event(phase, member.kind, member)
        with self.results.lock:
            self.results.event = event
        say(str(event))
        getattr(self, phase)(member)
        eventually(self.settled, 20, "all is well after %s" % event)
        time.sleep(0.3)  # what the event has to answer for is over: nothing is waited for here
        return event

    def run_phase(self, phase):
        self.took = collections.Counter()
        with self.results.lock:
            self.results.phase = phase
        for kind in ("handler", "broker", "gateway", "jobs"):
            every = self.args.full or phase == "roll"
            for index in range(COUNTS[kind] if every else 1):
                self.happen(phase, self.members[kind][index])
        count = self.args.random if self.args.random is not None else 60 if self.args.full else {"roll": 6, "kill": 6,
                                                                                                "stop": 0}[phase]
        for _ in range(count):
            self.happen(phase, self.random.choice(self.everybody()))
        with self.results.lock:
            self.results.event, self.results.phase = None, "calm"
        say("%s took at most: %s" % (phase, ", ".join("%s %.1f s" % one for one in self.took.items())))

    # ---- what came of it ----

    def check_journal(self):
        written = collections.Counter(int(line) for line in self.journal.read_text().split())
        twice = [number for number, count in written.items() if count > 1 and number < JOB_NUMBERS]
        if twice:
            self.results.faults.append("%d numbers were put twice: %r" % (len(twice), twice[:5]))
        missing = [number for number in self.results.answered if number < JOB_NUMBERS and number not in written]
        if missing:
            self.results.faults.append("%d numbers were answered and not put: %r" % (len(missing), missing[:5]))
        lied = [number for number in self.results.refused if number in written]
        if lied:
            self.results.faults.append('%d numbers were put, and executed was "no": %r' % (len(lied), lied[:5]))
        again = sum(count > 1 for number, count in written.items() if number >= JOB_NUMBERS)
        undone = [number for number in self.jobs if number not in written]
        if undone:
            self.results.faults.append("%d jobs did not run: %r" % (len(undone), undone[:5]))
        say("%d numbers were put; %d jobs, %d of them made more than once" % (len(written), len(self.jobs), again))

    def jobs_done(self):
        rows = self.database.sql("SELECT count(*) FROM weft_job")
        return rows[0][0] == 0

    def report(self):
        for phase, counts in self.results.counts.items():
            failed = sum(count for cause, count in counts.items() if cause != "requests")
            say("%-5s %6d requests, %d failed, the slowest took %d ms" % (phase, counts["requests"], failed,
                                                                        self.results.slowest[phase]))
            for cause, count in sorted(counts.items()):
                if cause != "requests":
                    print("           %5d %s" % (count, cause))

    def run(self):
        self.begin_crowd()
        self.begin_load()
        time.sleep(1)
        for phase in self.args.only.split(","):
            self.run_phase(phase)
        self.end_load()
        eventually(self.jobs_done, 60, "all jobs are done")
        self.check_journal()


def main():
    args = parse()
    COUNTS["broker"] = args.brokers
    say("seed %d: test_rolling.py --seed %d" % (args.seed, args.seed))
    test = Rolling(args)
    faults = test.results.faults
    test.build()
    try:
        test.run()
    except Exception as error:  # the figures are worth having all the same
        faults.append("%s: %s" % (type(error).__name__, error))
    finally:
        test.over = True
        test.report()
        try:
            test.mesh.close(quiet=bool(faults))
        except AssertionError as error:
            faults.append(str(error))
        for helper in (test.load, test.crowd):
            if helper:
                helper.kill()
                helper.wait()
        test.database.close()
    for fault in faults:
        print("FAULT: %s" % fault)
    say("seed %d: %s" % (args.seed, "%d faults" % len(faults) if faults else "nothing was lost"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
