"""test_jobs_failure - the queue while handlers, replicas, brokers, the database or its pooler fail"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from mesh import PATIENCE, ROOT, eventually, free_port
from queue_mesh import LONG, QueueTest

NOT_FOUND, UNAVAILABLE = 5, 14


class Handlers(QueueTest):
    ENV = LONG

    def test_killed_its_job_runs_on_another(self):
        self.worker()
        job = self.enqueue("gate", {"path": self.path("g")})
        first = self.process_of(self.started(job))
        self.worker()
        first.kill()
        second = self.started(job, times=2)
        self.assertNotEqual(second["pid"], first.pid)
        self.assertEqual(second["attempt"], 2)
        self.open("g")
        done = self.ends(job, "succeeded")
        self.assertEqual(done["result"], {"pid": second["pid"]})
        self.assertEqual([error["code"] for error in done["errors"]], ["UNAVAILABLE"])

    def test_the_only_one_killed_its_job_waits_for_the_next(self):
        worker = self.worker()
        job = self.enqueue("gate", {"path": self.path("g")})
        self.started(job)
        worker.kill()
        self.open("g")
        self.assertFalse(self.get(job, wait=2)["done"])
        self.worker()
        self.ends(job, "succeeded")

    def test_jobs_that_wait_for_a_handler_use_up_no_attempt(self):
        self.worker("ok").kill()
        eventually(lambda: self.mesh.service("work").get("workers", 0) == 0, what="the broker knows")
        jobs = self.enqueue_many({"method": "ok", "input": n, "max_attempts": 1} for n in range(20))
        time.sleep(3)  # long enough for what is tried in the meantime to fail
        self.worker("ok")
        for job in jobs:
            self.assertEqual(self.ends(job, "succeeded")["attempt"], 1)

    def test_stopped_its_job_runs_on_another_and_its_late_reply_changes_nothing(self):
        self.worker()
        job = self.enqueue("stubborn", {"path": self.path("g")}, timeout_ms=600000)
        first = self.process_of(self.started(job))
        self.worker()
        first.signal(signal.SIGSTOP)
        second = self.started(job, times=2)
        self.assertNotEqual(second["pid"], first.pid)
        self.open("g")
        done = self.ends(job, "succeeded")
        first.signal(signal.SIGCONT)
        eventually(lambda: len(self.of(job, "end")) == 2, what="the first attempt replies, too late")
        self.ends(self.enqueue("ok", 1), "succeeded")
        self.assertEqual(self.get(job), done)
        self.assertEqual(done["result"], {"attempt": 2})

    def test_slow_beyond_its_timeout(self):
        self.worker({"name": "stubborn", "job": {"backoff_ms": 50, "backoff_max_ms": 50}})
        job = self.enqueue("stubborn", {"path": self.path("g")}, timeout_ms=700, max_attempts=50)
        self.started(job, times=2)
        self.open("g")
        done = self.ends(job, "succeeded")
        self.assertGreaterEqual(done["attempt"], 2)
        self.assertEqual({error["code"] for error in done["errors"]}, {"DEADLINE_EXCEEDED"})
        self.assertEqual(done["result"]["attempt"], done["attempt"])

    def test_that_never_answers_ends_as_failed(self):
        self.worker({"name": "mute", "job": {"backoff_ms": 20, "backoff_max_ms": 20}}, capacity=8)
        job = self.enqueue("mute", timeout_ms=400, max_attempts=2)
        done = self.ends(job, "failed", "DEADLINE_EXCEEDED")
        self.assertEqual(len(done["errors"]), 2)

    def test_leaves_in_order_no_attempt_is_used_up(self):
        self.worker()
        jobs = self.enqueue_many({"method": "wait", "input": {"ms": 50}, "max_attempts": 1} for _ in range(60))
        eventually(lambda: self.events("end"), what="some ended")
        second = self.worker()
        first = next(process for process in self.mesh.processes if process.name == "worker")
        self.assertEqual(first.stop(), 0)
        self.assertTrue(second.alive())
        for job in jobs:
            self.assertEqual(self.ends(job, "succeeded")["attempt"], 1)


class Replicas(QueueTest):
    def owner(self, job):
        rows = self.database.sql("SELECT owner FROM weft_job WHERE id = %s" % job["id"])
        return rows[0][0] if rows else None

    def joined_again(self, number):
        """Waits until the first replica knows that it lost its lease, the one of that number, and has another."""
        eventually(lambda: self.count("number = %d" % number, "weft_job_replica") == 0, what="the lease was lost")
        eventually(lambda: self.count("lease_until > now()", "weft_job_replica") == len(self.replicas) and
                   self.replicas[0].ready(), what="it has joined again")

    def number(self):
        """Of the first replica, while it is the only one."""
        return self.database.sql("SELECT number FROM weft_job_replica")[0][0]

    def taken_over(self, how):
        """A job that runs when its replica goes; gives the job and the start of its second attempt."""
        self.worker()
        job = self.enqueue("gate", {"path": self.path("g")}, timeout_ms=600000, max_attempts=2)
        self.started(job)
        owner = self.owner(job)
        self.replicas.append(self.replica())
        self.replicas[0].signal(how)
        if how == signal.SIGKILL:
            self.replicas[0].wait()
        again = self.started(job, times=2)
        self.assertNotEqual(self.owner(job), owner)
        self.assertGreater(again["fence"], self.of(job, "start")[0]["fence"])
        return job, again

    def test_killed_its_jobs_run_under_another(self):
        job, again = self.taken_over(signal.SIGKILL)
        self.assertEqual(again["attempt"], 1)  # the death of a replica is not the job's fault
        eventually(lambda: self.of(job, "cancelled"), what="the first attempt was cancelled")
        self.open("g")
        self.ends(job, "succeeded")
        self.consistent()

    def test_stopped_and_awake_again_does_no_harm(self):
        number = self.number()
        job, _ = self.taken_over(signal.SIGSTOP)
        self.replicas[0].signal(signal.SIGCONT)
        self.open("g")
        done = self.ends(job, "succeeded")
        self.joined_again(number)
        jobs = self.enqueue_many({"method": "ok", "input": n} for n in range(200))
        eventually(lambda: self.states() == {"succeeded": 201}, 60, "all end")
        self.assertEqual(self.get(job), done)
        for one in jobs:
            self.assertEqual(len(self.of(one, "start")), 1)
        self.consistent()

    def test_stopped_while_it_has_much_to_write(self):
        self.worker("ok", capacity=64)
        self.replicas.append(self.replica())
        eventually(lambda: self.mesh.service("jobs").get("workers") == 2, what="two replicas")
        jobs = self.enqueue_many({"method": "ok", "input": n} for n in range(300))
        self.replicas[0].signal(signal.SIGSTOP)
        try:
            eventually(lambda: self.states() == {"succeeded": 300}, 60, "all end")
        finally:
            self.replicas[0].signal(signal.SIGCONT)
        eventually(self.replicas[0].ready, what="it has joined again")
        self.ends(self.taken("ok", 1), "succeeded")
        self.assertEqual({job["id"] for job in jobs} - {event["job"] for event in self.events("end")}, set())
        self.consistent()

    def test_leaves_in_order_its_jobs_go_on(self):
        self.worker()
        self.replicas.append(self.replica())
        eventually(lambda: self.mesh.service("jobs").get("workers") == 2, what="two replicas")
        jobs = self.enqueue_many({"method": "wait", "input": {"ms": 50}, "max_attempts": 1} for _ in range(100))
        self.assertEqual(self.replicas[0].stop(), 0)
        eventually(lambda: self.states() == {"succeeded": 100}, 60, "all end")
        for job in jobs:
            self.assertEqual(len(self.of(job, "start")), 1)
        self.consistent()

    def test_all_killed_and_started_again(self):
        self.worker()
        jobs = self.enqueue_many({"method": "wait", "input": {"ms": 100}} for _ in range(100))
        later = self.enqueue("ok", 1, delay_ms=1000)
        self.replicas[0].kill()
        self.replica()
        eventually(lambda: self.states() == {"succeeded": 101}, 60, "all end")
        self.assertEqual({job["id"] for job in jobs + [later]} - {event["job"] for event in self.events("end")}, set())
        self.consistent()


class TenReplicas(QueueTest):
    REPLICAS = 10
    ENV = LONG

    def test_each_job_once(self):
        self.worker("ok", "wait", capacity=32)
        self.worker("ok", "wait", capacity=32)
        self.enqueue_many([{"method": "ok", "input": n} for n in range(1500)])
        self.enqueue_many([{"method": "ok", "input": n, "delay_ms": 100} for n in range(300)])
        eventually(lambda: self.states() == {"succeeded": 1800}, 60, "all end")
        self.assertEqual(len(self.events("start")), 1800)
        self.assertEqual(self.count("attempts <> 1", "weft_job_done"), 0)
        self.consistent()

    def test_a_limit_is_one_limit(self):
        self.worker("wait", capacity=32)
        self.jobs("limit", service="work", concurrency=2)
        self.enqueue_many([{"method": "wait", "input": {"ms": 10}} for _ in range(100)])
        eventually(lambda: self.states() == {"succeeded": 100}, 60, "all end")
        running = most = 0
        for event in self.events():
            running += 1 if event["event"] == "start" else -1
            most = max(most, running)
        self.assertEqual(most, 2)


FAKETIME = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@unittest.skipUnless(FAKETIME, "faketime is not installed")
@unittest.skipIf(PATIENCE > 1, "a sanitizer wants to be the first library")
class Clocks(QueueTest):
    """Replicas whose clocks are an hour apart: only the database's decides."""

    REPLICAS = 0
    ENV = LONG

    def test_that_differ_change_nothing(self):
        for offset in ("-3600s", "+3600s"):
            self.replicas.append(self.replica(LD_PRELOAD=str(FAKETIME[0]), FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1",
                                              DONT_FAKE_MONOTONIC="1"))
        self.worker(capacity=32)
        later = self.enqueue_many([{"method": "ok", "input": n, "delay_ms": 1500} for n in range(20)])
        self.assertEqual({job["state"] for job in later}, {"scheduled"})
        held = self.enqueue_many([{"method": "gate", "input": {"path": self.path("g")}, "timeout_ms": 600000}
                                  for _ in range(10)])
        for job in held:
            self.started(job)
        for job in later:
            self.ends(job, "succeeded")
        early = self.database.sql("SELECT count(*) FROM weft_job_done WHERE started_at < run_at OR run_at < created_at + "
                                  "interval '1.4 s' OR finished_at > now() OR created_at < now() - interval '10 min'")
        self.assertEqual(early, [(0,)])
        self.open("g")
        for job in held:
            self.assertEqual(self.ends(job, "succeeded")["attempt"], 1)
        self.assertEqual({len(self.of(job, "start")) for job in later + held}, {1})  # nobody took anything over


class Brokers(QueueTest):
    def test_killed_and_started_again(self):
        self.worker()
        held = self.enqueue("gate", {"path": self.path("g")}, timeout_ms=600000, max_attempts=2)
        self.started(held)
        jobs = self.enqueue_many({"method": "wait", "input": {"ms": 200}, "max_attempts": 2} for _ in range(20))
        self.broker.kill()
        self.open("g")
        self.broker = self.mesh.start("broker")
        eventually(lambda: self.states() == {"succeeded": 21}, 60, "all end")
        eventually(lambda: self.mesh.service("jobs").get("workers") == 1, what="the replica is registered again")
        for job in [held] + jobs:
            self.assertIn(self.get(job)["attempt"], (1, 2))
        self.consistent()


class TwoBrokers(QueueTest):
    PROGRAMS = ()

    def replica(self, **env):
        if not hasattr(self, "ends_of"):
            self.ends_of = [("tcp://127.0.0.1:%d" % free_port(), "tcp://127.0.0.1:%d" % free_port()) for _ in range(2)]
            self.brokers = [self.mesh.start("broker", WEFT_FRONTEND=front, WEFT_BACKEND=back)
                            for front, back in self.ends_of]
            self.mesh.front, self.mesh.back = self.ends_of[1]
        return super().replica(WEFT_BROKERS=",".join(front for front, _ in self.ends_of),
                               WEFT_WORKER_BROKERS=",".join(back for _, back in self.ends_of), **env)

    def test_one_killed_its_jobs_run_over_the_other(self):
        self.worker(back=self.ends_of[1][1], known=False)  # weft-jobs listens to one of the brokers, maybe the other one
        descriptor = {"name": "work", "version": "1.0.0", "methods": [{"name": "gate"}, {"name": "ok"}]}
        other = self.mesh.spawn("worker", [sys.executable, "-B", ROOT / "tests/integration/job_worker.py", self.ends_of[0][1],
                                           json.dumps(descriptor), self.events_path, 8])
        other.expected = "may die"
        eventually(lambda: self.brokers[0].metric("weft_broker_workers") == 2, what="both have a worker")
        self.known("work", "gate")
        jobs = self.enqueue_many({"method": "gate", "input": {"path": self.path("g")}, "max_attempts": 2} for _ in range(16))
        eventually(lambda: {event["pid"] for event in self.events("start")} > {other.pid}, what="both workers have some")
        self.brokers[0].kill()
        self.open("g")
        eventually(lambda: self.states() == {"succeeded": 16}, 60, "all end")
        for job in jobs:
            self.assertEqual(self.get(job)["attempt"], 1)  # the loss of a broker is not the job's fault
        self.consistent()


class Postgres(QueueTest):
    OWN = True

    def test_gone_at_enqueue_nothing_is_promised(self):
        self.worker()
        self.ends(self.enqueue("ok", 1), "succeeded")
        self.database.stop()
        try:
            error = self.refused(UNAVAILABLE, self.enqueue, "ok", 2)
            self.assertTrue(self.replicas[0].alive())
            eventually(lambda: not self.replicas[0].ready(), what="it is not ready")
            self.assertEqual(self.replicas[0].get("/healthz").status, 200)
            error = self.refused(UNAVAILABLE, self.enqueue, "ok", 3)
            self.assertEqual(error.executed, "no")
        finally:
            self.database.start()
        eventually(self.replicas[0].ready, what="it is back")
        self.ends(self.enqueue("ok", 4), "succeeded")
        self.assertEqual(self.count("true", "weft_job"), 0)
        self.consistent()

    def test_gone_and_back_while_jobs_run(self):
        self.worker(capacity=32)
        held = [self.enqueue("gate", {"path": self.path("g")}, timeout_ms=600000, max_attempts=3) for _ in range(10)]
        for job in held:
            self.started(job)
        later = self.enqueue("ok", 1, delay_ms=2000)
        waiting = self.enqueue_many({"method": "wait", "input": {"ms": 300}, "max_attempts": 3} for _ in range(40))
        self.database.stop()
        self.open("g")  # they end while nobody can write it down
        eventually(lambda: len({event["job"] for event in self.events("end")}) >= 10, what="they have ended")
        self.database.start()
        eventually(lambda: self.states() == {"succeeded": 51}, 60, "all end")
        for job in held + waiting + [later]:
            self.assertTrue(self.get(job)["done"])
        self.consistent()

    def test_restarted_again_and_again(self):
        self.worker("ok", capacity=32)
        keys = {}
        for turn in range(4):
            for n in range(25):
                number = turn * 25 + n

                def enqueued():
                    try:
                        job = self.enqueue("ok", number, idempotency={"scope": "t", "key": str(number)})  # noqa: B023
                    except Exception as error:  # noqa: BLE001 - a WeftError
                        self.assertEqual(error.status, UNAVAILABLE, error)
                        return False
                    return keys.setdefault(number, job["id"]) == job["id"]  # noqa: B023
                eventually(enqueued, 30, "it is enqueued")
            self.database.stop()
            self.database.start()
        eventually(lambda: self.states() == {"succeeded": 100}, 60, "all end")
        self.assertEqual(len(set(keys.values())), 100)
        self.consistent()

    def test_absent_at_start(self):
        self.database.stop()
        late = self.mesh.start("jobs", ready=False, WEFT_DATABASE_URL=self.url)
        self.database.start()
        late.wait_ready()
        eventually(self.replicas[0].ready, what="the other one is back")
        self.worker()
        self.ends(self.taken("ok", 1), "succeeded")


class Pooler(QueueTest):
    """Through PgBouncer in transaction mode, with fewer server connections than there are clients."""

    OWN = True
    ENV = {"WEFT_PG_PREPARE": "no", "WEFT_JOBS_LEASE_MS": "10000"}
    REPLICAS = 2

    def replica(self, **env):
        if not hasattr(self, "pooler"):
            self._start_pooler()
        return super().replica(**env)

    def _start_pooler(self):
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/sbin")
        if not program:
            self.skipTest("pgbouncer is not installed")
        self.folder = tempfile.mkdtemp(prefix="weft-pool-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        port = free_port()
        config = pathlib.Path(self.folder) / "pgbouncer.ini"
        config.write_text("[databases]\n* = host=%s user=postgres\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n"
                          "default_pool_size = 8\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir = %s\n"
                          "logfile = %s/log\npidfile = %s/pid\nignore_startup_parameters = extra_float_digits\n"
                          % (self.database.folder, port, self.folder, self.folder, self.folder))
        user = []
        if os.geteuid() == 0:
            user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
            for path in (self.folder, config):
                shutil.chown(path, "postgres", "postgres")
        self.pooler = subprocess.Popen(user + ["setpriv", "--pdeathsig", "KILL", program, str(config)], cwd="/",
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.pooler.wait)
        self.addCleanup(self.pooler.kill)
        self.url = "postgresql://postgres@127.0.0.1:%d/postgres" % port
        eventually(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, what="the pooler listens")

    def test_works(self):
        self.worker(capacity=32)
        jobs = self.enqueue_many({"method": "ok", "input": n} for n in range(300))
        self.enqueue_many({"method": "ok", "input": n, "delay_ms": 300} for n in range(50))
        self.enqueue("fail", {"status": UNAVAILABLE, "times": 1})
        held = self.enqueue("gate", {"path": self.path("g")}, unique_key="k")
        self.assertEqual(self.enqueue("ok", 1, unique_key="k")["id"], held["id"])
        self.open("g")
        eventually(lambda: self.states() == {"succeeded": 352}, 60, "all end")
        self.assertEqual(len(self.events("start")), 353)
        self.assertEqual(len(self.jobs("list", state="succeeded", limit=100)["jobs"]), 100)
        self.assertEqual(len({job["id"] for job in jobs}), 300)
        self.consistent()

    def test_a_killed_replica_is_taken_over(self):
        self.worker()
        jobs = [self.enqueue("gate", {"path": self.path("g")}, timeout_ms=600000) for _ in range(6)]
        for job in jobs:
            self.started(job)
        self.replicas[0].kill()
        self.open("g")
        for job in jobs:
            self.ends(job, "succeeded")
        self.consistent()


if __name__ == "__main__":
    unittest.main()
