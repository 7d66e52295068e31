"""queue_mesh - what the tests of the queue share: brokers, replicas of weft-jobs, workers that do as they are told, and a
view of both ends: what the service says, and what the workers saw."""
import json
import pathlib
import sys
import time

from mesh import PATIENCE, ROOT, Database, MeshTest, eventually

sys.path.insert(0, str(ROOT / "tests/interop"))
import client as plain  # noqa: E402

UNAVAILABLE = 14
LONG = {"WEFT_JOBS_LEASE_MS": "30000"}  # where no replica dies: one that is stopped for a few seconds is not dead

ALL = ("ok", "fail", "wait", "gate", "stubborn", "die", "steps", "big", "mute")


class QueueTest(MeshTest):
    """A mesh, a database, and REPLICAS of weft-jobs for each test.  OWN: a server of its own, which may be stopped."""

    PROGRAMS = ("broker",)
    REPLICAS = 1
    OWN = False
    ENV = {}  # of weft-jobs

    def begin(self):
        super().begin()
        self.database = Database(own=self.OWN)
        self.addCleanup(self.database.close)
        self.url = self.database.url
        self.events_path = self.mesh.folder / "events"
        self.events_path.touch()
        self.replicas = [self.replica() for _ in range(self.REPLICAS)]

    def tearDown(self):
        super().tearDown()
        self.database.close()

    # ---- processes ----

    def replica(self, **env):
        base = {"WEFT_DATABASE_URL": self.url, **self.ENV}
        base.update(env)
        return self.mesh.start("jobs", **base)

    def worker(self, *methods, service="work", capacity=8, back=None, known=True):
        """A job_worker with these methods: names, or maps as in a descriptor; all, where none is given."""
        rows = [{"name": one} if isinstance(one, str) else one for one in methods or ALL]
        descriptor = {"name": service, "version": "1.0.0", "methods": rows}
        process = self.mesh.spawn("worker", [sys.executable, "-B", ROOT / "tests/integration/job_worker.py",
                                             back or self.mesh.back, json.dumps(descriptor), self.events_path, capacity])
        process.expected = "may die"
        registered = pathlib.Path("%s.%d" % (self.events_path, process.pid))
        eventually(registered.exists, what="the worker is registered")
        if known:
            self.known(service, methods[0] if methods and isinstance(methods[0], str) else rows[0]["name"])
        return process

    def known(self, service, method):
        """Waits until every replica of weft-jobs has heard of a service and method: then its jobs are taken."""
        behind = ("SELECT (SELECT count(*) FROM weft_job_replica r WHERE lease_until > now() AND r.serial < q.serial) FROM "
                  "weft_job_queue q JOIN weft_job_method m ON m.queue = q.id WHERE q.service = '%s' AND m.name = '%s'"
                  % (service, method))

        def listed():
            try:
                queues = self.jobs("queues")["queues"]
            except plain.WeftError:
                return False
            return any(queue["service"] == service and queue["workers"] > 0 for queue in queues) and \
                self.database.sql(behind) == [(0,)]
        eventually(listed, what="weft-jobs knows %s.%s" % (service, method))

    # ---- the service ----

    def jobs(self, method, /, within_ms=30000, front=None, **body):
        """Calls a method of `jobs`; a WeftError is what it says."""
        asking = plain.Client(front or self.mesh.front)
        try:
            return asking.call("jobs", method, body, timeout_ms=int(within_ms * PATIENCE))
        finally:
            asking.close()

    def enqueue(self, method, /, input=None, service="work", **more):
        return self.jobs("enqueue", service=service, method=method, input=input, **more)

    def taken(self, method, /, input=None, key="taken", **more):
        """Enqueues while a replica may not have noticed yet that its database or its lease was gone: asks again under its key
        until it is taken."""
        def ask():
            try:
                return self.enqueue(method, input, idempotency={"scope": self.id(), "key": key}, **more)
            except plain.WeftError as error:
                self.assertEqual(error.status, UNAVAILABLE, error)
                return None
        return eventually(ask, what="the job is taken")

    def enqueue_many(self, jobs, timeout_s=60.0):
        """Enqueues many at once: maps of the fields of `enqueue`.  Gives the answered jobs, in order."""
        asking = plain.Client(self.mesh.front)
        try:
            ids = [asking.submit("jobs", "enqueue", {"service": "work", **job}, timeout_ms=int(timeout_s * 1000 * PATIENCE))
                   for job in jobs]
            answers = []
            for id in ids:
                message = asking.receive(id, timeout_s * PATIENCE)
                self.assertIsNotNone(message, "an enqueue was not answered")
                self.assertEqual(message[3], 0, message)
                answers.append(message[6])
            return answers
        finally:
            asking.close()

    def get(self, job, **more):
        """Reads a job; asks again where the service could not read it in time."""
        def ask():
            try:
                return self.jobs("get", id=job["id"] if isinstance(job, dict) else job, **more)
            except plain.WeftError as error:
                if error.status != UNAVAILABLE:
                    raise
                return None
        return eventually(ask, what="the job is read")

    def done(self, job, timeout=60.0):
        """Waits until a job has ended, and gives it."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            now = self.get(job, wait=2, within_ms=15000)
            if now["done"]:
                return now
            self.assertLess(time.monotonic(), end, "job did not end: %r\nevents: %r" % (now, self.of(job)))

    def ends(self, job, state, code=None, **more):
        """Waits until it has ended in this state; gives it."""
        now = self.done(job, **more)
        self.assertEqual(now["state"], state, now)
        self.assertEqual("result" in now, state == "succeeded", now)
        self.assertEqual("error" in now, state != "succeeded", now)
        if code:
            self.assertEqual(now["error"]["code"], code, now)
        return now

    def refused(self, status, call, *arguments, **more):
        """The call ends with this status; gives the error."""
        with self.assertRaises(plain.WeftError) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.status, status, caught.exception)
        return caught.exception

    # ---- what workers saw ----

    def events(self, what=None):
        lines = [json.loads(line) for line in pathlib.Path(self.events_path).read_text().splitlines()]
        return [line for line in lines if what is None or line["event"] == what]

    def of(self, job, what=None):
        id = job["id"] if isinstance(job, dict) else job
        return [event for event in self.events(what) if event["job"] == id]

    def started(self, job, times=1, timeout=60.0):
        """Waits for the Nth attempt to begin, and gives its event."""
        return eventually(lambda: len(self.of(job, "start")) >= times and self.of(job, "start")[times - 1],
                          timeout, "attempt %d of job %s begins" % (times, job["id"]))

    def path(self, name):
        """A file that a gate waits for."""
        return str(self.mesh.folder / name)

    def open(self, name):
        pathlib.Path(self.path(name)).touch()

    def process_of(self, event):
        return next(process for process in self.mesh.processes if process.pid == event["pid"])

    # ---- the tables ----

    def count(self, where="true", table="weft_job"):
        return self.database.sql("SELECT count(*) FROM %s WHERE %s" % (table, where))[0][0]

    def states(self):
        names = ("queued", "running", "scheduled", "held", "succeeded", "failed", "cancelled")
        rows = self.database.sql("SELECT state, count(*) FROM (SELECT state FROM weft_job UNION ALL SELECT state FROM "
                                 "weft_job_done) x GROUP BY 1")
        return {names[state]: count for state, count in rows}

    def consistent(self):
        """What must hold of the tables whenever nothing runs."""
        double = self.database.sql("SELECT id, count(*) FROM (SELECT id FROM weft_job UNION ALL SELECT id FROM weft_job_done) "
                                   "x GROUP BY id HAVING count(*) > 1")
        self.assertEqual(double, [], "a job is there twice")
        orphans = self.database.sql("SELECT key FROM weft_job_unique u WHERE until IS NULL AND NOT EXISTS (SELECT FROM "
                                    "weft_job j WHERE j.id = u.job)")
        self.assertEqual(orphans, [], "a unique key outlived its job")
