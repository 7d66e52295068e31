"""test_database - PostgreSQL that is cut off without a word from one replica of the queue, or from a handler

Bounds: the lease of a replica, and what libpq is told of dead connections (15 s while something is sent)."""
import json
import os
import pathlib
import sys
import time

from lab import FRONT, POSTGRES, LabTest, eventually, main, plain
from mesh import PATIENCE, ROOT, Database

LEASE_S = 3.0          # WEFT_JOBS_LEASE_MS
USER_TIMEOUT_S = 15.0  # tcp_user_timeout
CONNECT_S = 5.0        # connect_timeout
BACKOFF_S = 2.0
TAKEN_OVER_S = 4 * LEASE_S
BACK_S = USER_TIMEOUT_S + 2 * (CONNECT_S + BACKOFF_S)


class LabDatabase(Database):
    """A cluster of its own at a node; the test asks it by its unix socket."""

    def __init__(self, node):
        self.node = node
        super().__init__(own=True)
        self.remote = "postgresql://postgres@%s:%d/postgres" % (node.address, POSTGRES)

    def start(self):
        with open(self.folder + "/data/pg_hba.conf", "a", encoding="ascii") as hba:
            hba.write("host all all 10.77.0.0/24 trust\n")
        self._run("pg_ctl", "-D", self.folder + "/data", "-w", "-t", "60", "-l", self.folder + "/log", "-o",
                  "-c listen_addresses='%s' -c port=%d -c unix_socket_directories='%s' -c fsync=off -c max_connections=50"
                  % (self.node.address, POSTGRES, self.folder), "start")
        self.url = "postgresql:///postgres?host=%s&port=%d&user=postgres" % (self.folder, POSTGRES)

    def _run(self, tool, *arguments):
        if tool != "pg_ctl":
            super()._run(tool, *arguments)
            return
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/" + tool))
        with open(os.devnull, "w", encoding="ascii"):
            self.node.run("runuser", "-u", "postgres", "--", str(found[-1]), *arguments)


class Databases(LabTest):
    def setUp(self):
        super().setUp()
        self.broker_node, self.database_node = self.lab.node("broker"), self.lab.node("database")
        self.worker_node = self.lab.node("worker")
        self.database = LabDatabase(self.database_node)
        self.addCleanup(self.database.close)
        self.broker = self.mesh.run_at(self.broker_node, "broker")

    def handler(self, node, name, **env):
        return self.mesh.run_at(node, name, brokers=[self.broker_node], WEFT_DATABASE_URL=self.database.remote, **env)

    def call(self, service, method, /, body=None, timeout_ms=5000):
        asking = plain.Client(self.broker_node.url(FRONT))
        try:
            return asking.call(service, method, body, timeout_ms=int(timeout_ms * PATIENCE))
        finally:
            asking.close()


class Replicas(Databases):
    def setUp(self):
        super().setUp()
        self.first_node, self.second_node = self.lab.node("first"), self.lab.node("second")
        self.first = self.handler(self.first_node, "jobs")
        self.events_path = self.mesh.folder / "events"
        self.events_path.touch()
        descriptor = {"name": "work", "version": "1.0.0", "methods": [{"name": name} for name in ("ok", "gate")]}
        worker = self.mesh.place("worker", self.worker_node, [
            sys.executable, "-B", ROOT / "tests/integration/job_worker.py", self.broker_node.url(7311),
            json.dumps(descriptor), self.events_path, "8"], ops=False)
        worker.expected = "may die"
        eventually(lambda: any(queue["service"] == "work" and queue["workers"] > 0
                               for queue in self.call("jobs", "queues", {})["queues"]), what="weft-jobs knows the worker")

    def events(self, job, what):
        lines = [json.loads(line) for line in self.events_path.read_text().splitlines()]
        return [line for line in lines if line["job"] == job and line["event"] == what]

    def enqueue(self, method, input=None, timeout_ms=5000, **more):
        return self.call("jobs", "enqueue", {"service": "work", "method": method, "input": input, **more}, timeout_ms)

    def get(self, job):
        return self.call("jobs", "get", {"id": job})

    def test_database_cut_off_from_one_replica(self):
        gate = self.mesh.folder / "gate"
        held = self.enqueue("gate", {"path": str(gate)}, timeout_ms=60000)["id"]
        eventually(lambda: self.events(held, "start"), what="it runs under the first replica")
        second = self.handler(self.second_node, "jobs")
        self.lab.cut(self.first_node, self.database_node)
        self.within(TAKEN_OVER_S, "the other replica takes its job over", lambda: len(self.events(held, "start")) == 2)
        attempts = self.events(held, "start")
        self.assertGreater(attempts[1]["fence"], attempts[0]["fence"])
        # What is asked for meanwhile is taken, or refused in time; a refusal may be in doubt.
        accepted, refused, slowest = [], 0, 0.0
        for n in range(20):
            begun = time.monotonic()
            try:
                accepted.append(self.enqueue("ok", n, timeout_ms=3000)["id"])
            except plain.WeftError as error:
                refused += 1
                self.assertIn(error.status, (4, 14), error)
            slowest = max(slowest, time.monotonic() - begun)
        self.measured.append("20 enqueues meanwhile: %d refused, the slowest took %.1f s" % (refused, slowest))
        self.assertGreater(len(accepted), 0)
        gate.touch()
        self.within(TAKEN_OVER_S, "it succeeds", lambda: self.get(held)["state"] == "succeeded")
        done = self.get(held)
        self.lab.heal()
        self.within(BACK_S, "the first replica is back", self.first.ready)
        self.assertTrue(second.ready())
        accepted += [self.enqueue("ok", n)["id"] for n in range(20)]
        for job in accepted:
            self.within(TAKEN_OVER_S, "job %s succeeds" % job, lambda: self.get(job)["state"] == "succeeded")  # noqa: B023
            self.measured.pop()
        self.assertEqual(self.get(held), done)
        twice = self.database.sql("SELECT id, count(*) FROM (SELECT id FROM weft_job UNION ALL SELECT id FROM weft_job_done) "
                                  "x GROUP BY id HAVING count(*) > 1")
        self.assertEqual(twice, [], "a job is there twice")
        states = dict(self.database.sql("SELECT state, count(*) FROM weft_job_done GROUP BY 1"))
        self.assertEqual(set(states), {4}, states)  # every job has ended once, and well
        rejected = sum(one.metric("weft_jobs_fence_rejections_total") for one in (self.first, second))
        self.measured.append("completions of old fences refused: %d" % rejected)


class Notes(Databases):
    def test_database_cut_off_from_a_handler(self):
        self.gateway_node = self.lab.node("gateway")
        self.mesh.run_at(self.gateway_node, "gateway", brokers=[self.broker_node])
        self.handler(self.worker_node, "notes")
        eventually(lambda: self.mesh.http("GET", "/v1/notes").status == 200, what="notes is served")
        note = self.mesh.http("POST", "/v1/notes", {"title": "before", "text": ""}).headers["Location"]
        self.lab.cut(self.worker_node, self.database_node)
        statuses, slowest = {}, 0.0
        asked_ms = int(3000 * PATIENCE)
        for n in range(8):
            begun = time.monotonic()
            reply = self.mesh.http("GET", note, headers={"X-Request-Timeout-Ms": str(asked_ms)})
            statuses[reply.status] = statuses.get(reply.status, 0) + 1
            slowest = max(slowest, time.monotonic() - begun)
            self.assertIn(reply.status, (503, 504), reply)
            if reply.status == 503:
                self.assertEqual(reply.json["code"], "UNAVAILABLE", reply)
        self.measured.append("8 requests of 3 s meanwhile: %r, the slowest took %.1f s" % (statuses, slowest))
        self.assertLess(slowest, 2 * asked_ms / 1000)
        self.lab.heal()
        self.within(BACK_S, "it is served again", lambda: self.mesh.http(
            "GET", note, headers={"X-Request-Timeout-Ms": str(asked_ms)}).status == 200)
        self.assertEqual(self.mesh.http("POST", "/v1/notes", {"title": "after", "text": ""}).status, 201)


if __name__ == "__main__":
    main()
