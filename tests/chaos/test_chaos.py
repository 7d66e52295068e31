"""test_chaos - 5,000 jobs, one row each, while everything around them is killed, stopped and resumed

Each job writes one row in the transaction that completes it.  Meanwhile handlers, replicas of weft-jobs and brokers get
kill -9 or SIGSTOP, the database is restarted as in a crash, all at random.  Every job whose enqueue was answered must end as
succeeded with exactly one row.  An enqueue whose outcome is unknown is repeated under its idempotency key.

    test_chaos.py [--seed N] [--jobs N] [--seconds N] [--database 0|1|2] [--keep]

The seed is printed; it fixes what is done to whom and when, not how the processes take it.  It also comes from
WEFT_CHAOS_SEED."""
import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/integration"), str(ROOT / "tests/interop")]
import msgpack  # noqa: E402
from mesh import PATIENCE, Database, Mesh, eventually, free_port  # noqa: E402

import client as plain  # noqa: E402

BROKERS, REPLICAS, HANDLERS = 2, 3, 3
WINDOW = 64  # enqueues that each enqueuer has on the way
HTTP_CALLERS = 6
TTL_S = 15  # of an enqueue
STATES = ("queued", "running", "scheduled", "held", "succeeded", "failed", "cancelled")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("WEFT_CHAOS_SEED", "0")) or
                        int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of chaos; then everything is let run")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds for the jobs to end once all runs again")
    parser.add_argument("--database", type=int, help="restarts of the database; else by the seed")
    parser.add_argument("--calm", action="store_true", help="no chaos: to see what the machine does without")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("-v", action="store_true", help="ignored: as ctest calls it")
    return parser.parse_args()


def say(text):
    print("%7.1f  %s" % (time.monotonic() - BEGUN, text), flush=True)


BEGUN = time.monotonic()


class Slot:
    """A process that is started anew whenever it was killed."""

    def __init__(self, name, start):
        self.name, self.start = name, start
        self.process, self.due, self.stopped_until = None, 0.0, 0.0
        self.begin()

    def begin(self):
        self.process = self.start()

    def kill(self, back_at):
        self.process.kill()
        self.due, self.stopped_until = back_at, 0.0

    def stop(self, until):
        self.process.signal(signal.SIGSTOP)
        self.stopped_until = until

    def resume(self):
        if self.stopped_until:
            self.process.signal(signal.SIGCONT)
            self.stopped_until = 0.0

    def turn(self, now):
        """Ends what was begun and is due.  A process that ended by itself is left: Mesh.close complains."""
        if self.stopped_until and now >= self.stopped_until:
            self.resume()
        if self.process.expected == "killed" and now >= self.due:
            self.begin()

    def calm(self):
        self.resume()
        if self.process.expected == "killed":
            self.begin()


class Enqueuer(threading.Thread):
    """Enqueues numbers over one broker until every one has its job; what was not answered is asked again."""

    def __init__(self, test, front):
        super().__init__(daemon=True)
        self.test, self.front = test, front
        self.repeated = 0

    def run(self):
        while self.test.missing():
            asking = plain.Client(self.front)
            on_the_way = {}
            try:
                self._enqueue(asking, on_the_way)
            except plain.Lost:
                pass
            finally:
                self.repeated += len(on_the_way)
                self.test.give_back(number for number, _ in on_the_way.values())
                asking.socket.close(0)

    def _enqueue(self, asking, on_the_way):
        while self.test.missing():
            while len(on_the_way) < WINDOW:
                number = self.test.take()
                if number is None:
                    break
                id = asking.submit("jobs", "enqueue", self.test.job(number), timeout_ms=int(1000 * TTL_S))
                on_the_way[id] = (number, time.monotonic() + TTL_S)
            asking.turn(0.05)
            # The client owns its deadline: a broker that died and is back on the same port knows of nothing.
            for id in [id for id, (_, expires) in on_the_way.items() if time.monotonic() > expires]:
                self.repeated += 1
                del asking.waiting[id]
                self.test.give_back([on_the_way.pop(id)[0]])
            for id in [id for id in on_the_way if asking.waiting[id]]:
                message = asking.waiting.pop(id)[-1]
                number, _ = on_the_way.pop(id)
                if message[3] == 0:
                    self.test.answered(number, message[6])
                else:
                    self.repeated += 1
                    self.test.refused(number, message[3], message[6])
                    time.sleep(0.02)


class HttpEnqueuer(threading.Thread):
    """The same through the gateway: what counts is a 202."""

    def __init__(self, test, gateway):
        super().__init__(daemon=True)
        self.test, self.address = test, gateway
        self.repeated = 0

    def run(self):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        while self.test.missing():
            number = self.test.take(over_http=True)
            if number is None:
                time.sleep(0.05)
                continue
            job = self.test.job(number)
            key = job.pop("idempotency")["key"]
            try:
                connection.request("POST", "/v1/jobs", json.dumps(job), {"Content-Type": "application/json",
                                                                         "Idempotency-Key": key})
                reply = connection.getresponse()
                body = json.loads(reply.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                reply, body = None, {"message": repr(error)}
            if reply and reply.status in (200, 202):
                self.test.answered(number, body)
            else:
                self.repeated += 1
                self.test.refused(number, reply and reply.status, body)
                time.sleep(0.05)
        connection.close()


class Chaos:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.lock = threading.Lock()
        self.ready = {False: collections.deque(), True: collections.deque()}  # over HTTP
        self.fed = 0
        self.ids, self.refusals, self.replayed, self.faults = {}, collections.Counter(), 0, []
        self.actions = collections.Counter()
        kinds = random.Random(args.seed + 1)
        self.kind = [kinds.random() for _ in range(args.jobs)]

    # ---- what is enqueued ----

    def job(self, number):
        kind = self.kind[number]
        body = {"number": number, "ms": 0}
        job = {"service": "chaos", "method": "run", "input": body, "max_attempts": 1000, "timeout_ms": 30000,
               "priority": number % 4, "idempotency": {"scope": "chaos", "key": "number-%d" % number}}
        if kind < 0.02:
            body["ms"] = 2000 + number % 1000
        elif kind < 0.3:
            body["ms"] = number % 50
        if 0.3 <= kind < 0.4:
            body["failures"] = 1 + number % 2
        if 0.4 <= kind < 0.5:
            job["delay_ms"] = number % 3000
        if 0.5 <= kind < 0.55:
            job["unique_key"] = "only-%d" % number
        return job

    def missing(self):
        return len(self.ids) < self.args.jobs and not self.faults

    @staticmethod
    def over_http(number):
        """A key is one caller's on one route, so a number goes one way for ever."""
        return number % 4 == 3

    def take(self, over_http=False):
        with self.lock:
            ready = self.ready[over_http]
            return ready.popleft() if ready else None

    def give_back(self, numbers):
        with self.lock:
            for number in numbers:
                self.ready[self.over_http(number)].append(number)

    def answered(self, number, job):
        with self.lock:
            self.replayed += bool(job.get("replayed"))
            if self.ids.setdefault(number, int(job["id"])) != int(job["id"]):
                self.faults.append("number %d got jobs %d and %s" % (number, self.ids[number], job["id"]))

    def refused(self, number, status, body):
        with self.lock:
            self.refusals[(status, body.get("message") or body.get("detail"))] += 1
            self.ready[self.over_http(number)].append(number)

    def feed(self, elapsed):
        """Numbers become due evenly over three quarters of the time, in bursts of half a second."""
        share = min(1.0, int(2 * min(elapsed, self.args.seconds) + 1) / 2 / (0.75 * self.args.seconds))
        begin, end = self.fed, max(self.fed, int(self.args.jobs * share))
        self.fed = end
        self.give_back(range(begin, end))

    # ---- the mesh ----

    def build(self):
        self.mesh = Mesh()
        if self.args.keep:
            os.environ["MESH_KEEP"] = "1"
            say("logs are in %s" % self.mesh.folder)
        self.database = Database(own=True)
        self.database.sql("CREATE TABLE chaos (number bigint NOT NULL, job bigint NOT NULL, attempt int NOT NULL, "
                          "fence int NOT NULL)")
        ends = [("tcp://127.0.0.1:%d" % free_port(), "tcp://127.0.0.1:%d" % free_port()) for _ in range(BROKERS)]
        self.fronts = [front for front, _ in ends]
        everywhere = {"WEFT_BROKERS": ",".join(self.fronts), "WEFT_WORKER_BROKERS": ",".join(back for _, back in ends),
                      "WEFT_DATABASE_URL": self.database.url}

        def slot(name, program, **env):
            return Slot(name, lambda: self.mesh.start(program, ready=False, **env))
        self.brokers = [slot("broker %d" % i, "broker", WEFT_FRONTEND=front, WEFT_BACKEND=back)
                        for i, (front, back) in enumerate(ends)]
        self.handlers = [slot("handler %d" % i, "chaos", **everywhere) for i in range(HANDLERS)]
        self.replicas = [slot("replica %d" % i, "jobs", **everywhere) for i in range(REPLICAS)]
        self.gateway = self.mesh.start("gateway", ready=False, WEFT_BROKERS=everywhere["WEFT_BROKERS"])
        self.slots = self.brokers + self.handlers + self.replicas
        for one in self.slots:
            one.process.wait_ready(30.0)
        eventually(self._served, 60.0, "weft-jobs knows the service")

    def _served(self):
        for front in self.fronts:
            asking = plain.Client(front)
            try:
                queues = asking.call("jobs", "queues", {})["queues"]
            except (plain.WeftError, plain.Lost):
                return False
            finally:
                asking.close()
            if not any(queue["service"] == "chaos" and queue["workers"] for queue in queues):
                return False
        return True

    # ---- chaos ----

    def disturb(self, now):
        """One thing happens to one process; at least one broker is left alone."""
        group = self.random.choices([self.handlers, self.replicas, self.brokers], [5, 5, 2])[0]
        victim, stop, length = self.random.choice(group), self.random.random() < 0.4, self.random.uniform(0.3, 8.0)
        broken = [one for one in self.brokers if one.stopped_until or one.process.expected == "killed"]
        if victim.stopped_until or victim.process.expected == "killed" or (group is self.brokers and broken):
            return
        if stop:
            say("stop %s for %.1f s" % (victim.name, length))
            victim.stop(now + length)
        else:
            say("kill %s, back in %.1f s" % (victim.name, length / 3))
            victim.kill(now + length / 3)
        self.actions[("stop " if stop else "kill ") + victim.name.split()[0]] += 1

    def restart_database(self):
        say("restart the database as in a crash")
        self.database.stop()
        self.database.start()
        self.actions["restart database"] += 1

    def run(self):
        enqueuers = [Enqueuer(self, front) for front in self.fronts]
        enqueuers += [HttpEnqueuer(self, ("127.0.0.1", self.mesh.http_port)) for _ in range(HTTP_CALLERS)]
        begun = time.monotonic()
        restarts = self.args.database if self.args.database is not None else self.random.choice((0, 1, 2))
        restarts = [] if self.args.calm else sorted(self.random.uniform(0.1, 0.9) * self.args.seconds
                                                    for _ in range(restarts))
        next_at, shown = 2.0, 0.0
        for enqueuer in enqueuers:
            enqueuer.start()
        while (elapsed := time.monotonic() - begun) < self.args.seconds and not self.faults:
            self.feed(elapsed)
            for one in self.slots:
                one.turn(time.monotonic())
            if restarts and elapsed >= restarts[0]:
                restarts.pop(0)
                self.restart_database()
            if elapsed >= next_at and not self.args.calm:
                self.disturb(time.monotonic())
                next_at = elapsed + self.random.expovariate(1 / 0.8)
            if elapsed - shown >= 10:
                shown = elapsed
                say("%d enqueued; %s" % (len(self.ids), self.states()))
            time.sleep(0.05)
        self.feed(float("inf"))
        for one in self.slots:
            one.calm()
        say("calm: all run again; %s" % dict(self.actions))
        self.wait(enqueuers)
        return enqueuers

    def wait(self, enqueuers):
        """Until nothing is left to do, or too long."""
        end = time.monotonic() + self.args.limit * PATIENCE
        shown, states = 0.0, {}
        while not self.faults:
            states = self.states()
            if len(self.ids) == self.args.jobs and states.get("succeeded", 0) + states.get("failed", 0) >= self.args.jobs:
                break
            if time.monotonic() > end:
                self.faults.append("not all jobs ended within %g s" % self.args.limit)
            if time.monotonic() - shown > 5:
                shown = time.monotonic()
                say("%d enqueued; %s" % (len(self.ids), states))
            time.sleep(0.2)
        for enqueuer in enqueuers:
            enqueuer.join(30 * PATIENCE)
        say("%d enqueued, %d asked again, %d replayed; %s" % (len(self.ids), sum(e.repeated for e in enqueuers),
                                                             self.replayed, states))

    # ---- what came of it ----

    def states(self):
        rows = self.database.sql("SELECT state, count(*) FROM (SELECT state FROM weft_job UNION ALL SELECT state FROM "
                                 "weft_job_done) x GROUP BY 1 ORDER BY 1")
        return {STATES[state]: count for state, count in rows}

    def check(self):
        sql = self.database.sql

        def none(what, query):
            rows = sql(query + " LIMIT 5")
            if rows:
                self.faults.append("%s: %r" % (what, rows))
        none("jobs that are there twice", "SELECT id, count(*) FROM (SELECT id FROM weft_job UNION ALL SELECT id FROM "
             "weft_job_done) x GROUP BY id HAVING count(*) > 1")
        none("jobs that did not succeed", "SELECT id, state, attempts, errors FROM weft_job_done WHERE state <> 4")
        none("jobs that did not end", "SELECT id, state, attempts, owner, run_at FROM weft_job")
        none("numbers with several rows", "SELECT number, count(*), array_agg(job), array_agg(fence) FROM chaos GROUP BY "
             "number HAVING count(*) <> 1")
        none("jobs without a row", "SELECT id FROM weft_job_done WHERE NOT EXISTS (SELECT FROM chaos WHERE job = id)")
        none("rows of another attempt than the one that counts", "SELECT job, chaos.fence, done.fence FROM chaos JOIN "
             "weft_job_done done ON id = job WHERE chaos.fence <> done.fence OR chaos.attempt <> done.attempts")
        none("unique keys that outlived their job", "SELECT key, job FROM weft_job_unique WHERE until IS NULL")
        rows = dict(sql("SELECT number, job FROM chaos"))
        wrong = [(number, id, rows.get(number)) for number, id in self.ids.items() if rows.get(number) != id]
        if wrong:
            self.faults.append("%d answered enqueues whose job wrote no row or another one: %r" % (len(wrong), wrong[:5]))
        if len(rows) != self.args.jobs:
            self.faults.append("%d numbers have rows, not %d" % (len(rows), self.args.jobs))
        for number, result in sql("SELECT number, result FROM chaos JOIN weft_job_done ON id = job"):
            if result is None or msgpack.unpackb(bytes(result)) != number:
                self.faults.append("the result of number %d is %r" % (number, result and bytes(result)))
                break

    def diagnose(self):
        sql = self.database.sql
        for what, query in (
                ("states", "SELECT state, owner, count(*), min(attempts), max(attempts), max(lost), min(run_at) - now(), "
                           "max(run_at) - now() FROM weft_job GROUP BY 1, 2 ORDER BY 1, 2"),
                ("replicas", "SELECT number, lease_until - now() FROM weft_job_replica ORDER BY 1"),
                ("queues", "SELECT id, service, paused, concurrency, keeper FROM weft_job_queue"),
                ("sessions", "SELECT pid, state, wait_event_type, wait_event, now() - xact_start, left(query, 90) FROM "
                             "pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"),
                ("some", "SELECT id, state, attempts, lost, fence, owner, flags, run_at - now() FROM weft_job ORDER BY id "
                         "LIMIT 10")):
            print("%s:" % what)
            for row in sql(query):
                print("   ", *row)
        print("refusals: %s" % self.refusals.most_common(10))
        for one in self.replicas:
            print("---- metrics of %s, alive: %s" % (one.name, one.process.alive()))
            try:
                text = one.process.get("/metrics").body.decode()
                print("\n".join(line for line in text.splitlines() if line.startswith("weft_job")))
            except OSError as error:
                print(error)
        for one in self.slots:
            print("---- %s (%s)" % (one.name, one.process.log))
            print("\n".join(one.process.text().splitlines()[-15:]))


def main():
    args = parse()
    say("seed %d: test_chaos.py --seed %d" % (args.seed, args.seed))
    chaos = Chaos(args)
    chaos.build()
    try:
        chaos.run()
        chaos.check()
        if chaos.faults:
            chaos.diagnose()
    finally:
        try:
            chaos.mesh.close(quiet=bool(chaos.faults))
        except AssertionError as error:
            chaos.faults.append(str(error))
        chaos.database.close()
    for fault in chaos.faults:
        print("FAULT: %s" % fault)
    say("seed %d: %s" % (args.seed, "%d faults" % len(chaos.faults) if chaos.faults else "every job once"))
    return 1 if chaos.faults else 0


if __name__ == "__main__":
    sys.exit(main())
