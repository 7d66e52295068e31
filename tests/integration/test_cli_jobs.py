"""test_cli_jobs - weft jobs, weft schedules and weft call --async against real processes"""
import json
import os
import pathlib
import subprocess
import unittest

from mesh import PATIENCE, program
from queue_mesh import LONG, QueueTest

INVALID_ARGUMENT, UNAVAILABLE = 3, 14


class CommandLine(QueueTest):
    """One mesh for a few tests each: they do not meet each other's jobs but through `list`."""

    ENV = LONG

    def weft(self, *arguments, code=0, **more):
        done = self.mesh.weft(*arguments, **more)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def json(self, *arguments, **more):
        """What it shows as JSON, a line each; one line is that value."""
        lines = [json.loads(line) for line in self.weft(*arguments, "--output", "json", **more).stdout.splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def call(self, method, input=None, *options, **more):
        return self.json("call", "--async", *options, "work." + method, json.dumps(input), **more)

    # ---- call --async ----

    def test_call_gives_the_job_or_its_result(self):
        self.worker()
        job = self.call("ok", {"a": 1})
        self.assertEqual((job["service"], job["method"], job["done"]), ("work", "ok", False))
        self.ends(job, "succeeded")
        # with --wait the result alone, as weft call shows it
        done = self.weft("call", "--async", "--wait", "60", "work.ok", '{"a":1}')
        self.assertEqual(done.stdout, '{"a":1}\n')
        failed = self.weft("call", "--async", "--wait", "60", "work.fail", '{"status":3,"message":"bad"}', code=3)
        self.assertIn("INVALID_ARGUMENT: bad", failed.stderr)
        self.assertEqual(failed.stdout, "")
        slow = self.call("gate", {"path": self.path("g")}, "--wait", "1", code=6)
        self.assertIn(slow["state"], ("queued", "running"))
        self.open("g")
        self.ends(slow, "succeeded")

    def test_call_with_options_of_a_job(self):
        self.worker()
        job = self.call("ok", 1, "--delay", "3600000", "--max-attempts", "3", "--attempt-timeout", "5000", "--priority", "2",
                        "--unique-key", "u", "--concurrency-key", "c", "--keep", "60000")
        now = self.get(job)
        self.assertEqual([now[key] for key in ("state", "max_attempts", "timeout_ms", "priority", "unique_key",
                                               "concurrency_key")], ["scheduled", 3, 5000, 2, "u", "c"])
        again = self.call("ok", 1, "--unique-key", "u")
        self.assertEqual((again["id"], again["replayed"]), (job["id"], True))
        first = self.call("ok", 2, "--idempotency-key", "k")
        self.assertEqual(self.call("ok", 2, "--idempotency-key", "k")["id"], first["id"])
        self.weft("call", "--async", "--idempotency-key", "k", "work.ok", "3", code=3)
        at = self.call("ok", 1, "--run-at", "2100-01-01T00:00:00Z")
        self.assertTrue(self.get(at)["run_at"].startswith("2100-01-01T00:00:00"))

    def test_errors_of_the_service(self):
        self.worker("ok")
        self.assertIn("NOT_FOUND", self.weft("call", "--async", "work.nothing", code=3).stderr)
        self.assertIn("NOT_FOUND", self.weft("jobs", "get", "999999", code=3).stderr)
        self.assertIn("INVALID_ARGUMENT", self.weft("call", "--async", "--run-at", "tomorrow", "work.ok", code=3).stderr)
        self.assertIn("DEADLINE_EXCEEDED", self.weft("jobs", "list", "--timeout", "500", code=4,
                                                     WEFT_BROKERS="tcp://127.0.0.1:1").stderr)

    # ---- jobs ----

    def test_list_and_get(self):
        self.worker()
        self.assertEqual(self.weft("jobs", "list").stdout, "no jobs\n")
        ids = [self.enqueue("ok", n)["id"] for n in range(120)]
        failed = self.enqueue("fail", {"status": INVALID_ARGUMENT, "message": "bad"})
        self.ends(failed, "failed")
        for id in ids:
            self.done({"id": id})
        table = self.weft("jobs", "list").stdout.splitlines()
        self.assertEqual(len(table), 22)
        self.assertEqual(table[0].split(), ["ID", "SERVICE", "METHOD", "STATE", "ATTEMPT", "CREATED", "FINISHED", "ERROR"])
        self.assertEqual(table[1].split()[:4] + table[1].split()[-1:], [failed["id"], "work", "fail", "failed",
                                                                       "INVALID_ARGUMENT"])
        self.assertIn("and more", table[-1])
        self.assertEqual(sorted(int(job["id"]) for job in self.json("jobs", "list", "--limit", "1000")),
                         sorted(int(id) for id in ids + [failed["id"]]))
        self.assertEqual(self.json("jobs", "list", "--state", "failed")["id"], failed["id"])
        self.assertEqual(len(self.json("jobs", "list", "--service", "work", "--method", "ok", "--limit", "110")), 110)
        shown = self.weft("jobs", "get", failed["id"], "--input").stdout
        for line in ("method           work.fail", "state            failed", "error            INVALID_ARGUMENT: bad"):
            self.assertIn(line + "\n", shown)
        self.assertIn('"message":"bad"', shown)
        self.weft("jobs", "get", failed["id"], "--wait", "0", code=3)

    def test_get_waits(self):
        self.worker()
        job = self.enqueue("gate", {"path": self.path("g")})
        self.weft("jobs", "get", job["id"], "--wait", "1", code=6)
        self.open("g")
        self.assertEqual(self.json("jobs", "get", job["id"], "--wait", "30")["state"], "succeeded")

    def watch(self, *arguments):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "MESH_"))}
        return subprocess.Popen([program("weft"), "jobs", "watch", *arguments], env={**env, "WEFT_BROKERS": self.mesh.front},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_watch_shows_progress_and_ends_with_the_job(self):
        self.worker()
        job = self.enqueue("steps", {"count": 2, "path": self.path("s")})
        watch, lines = self.watch(job["id"]), []
        while not any('progress  {"done":0,"of":2}' in line for line in lines):
            lines.append(watch.stdout.readline())
            self.assertTrue(lines[-1], lines)
        self.open("s.0")
        while not any('progress  {"done":1,"of":2}' in line for line in lines):
            lines.append(watch.stdout.readline())
            self.assertTrue(lines[-1], lines)
        self.open("s.1")
        rest, errors = watch.communicate(timeout=30 * PATIENCE)
        self.assertEqual((watch.returncode, errors), (0, ""))
        self.assertIn("succeeded", rest)
        self.assertEqual(rest.splitlines()[-1], '{"done":2}')

    def test_watch_ends_as_the_job_does(self):
        self.worker()
        ok, bad = self.enqueue("ok", 7), self.enqueue("fail", {"status": INVALID_ARGUMENT, "message": "bad"})
        self.ends(ok, "succeeded"), self.ends(bad, "failed")
        self.assertEqual(self.weft("jobs", "watch", ok["id"]).stdout.splitlines()[-1], "7")
        self.assertIn("INVALID_ARGUMENT: bad", self.weft("jobs", "watch", bad["id"], code=3).stdout)
        last = self.json("jobs", "watch", bad["id"], code=3)
        self.assertEqual((last[-1] if isinstance(last, list) else last)["error"]["code"], "INVALID_ARGUMENT")
        self.weft("jobs", "watch", "999999", code=3)
        slow = self.enqueue("gate", {"path": self.path("g")})
        self.assertIn("was not done in time", self.weft("jobs", "watch", slow["id"], "--timeout", "300", code=6).stderr)
        watch = self.watch(slow["id"])
        watch.stdout.readline()
        self.weft("jobs", "cancel", slow["id"])
        self.assertIn("cancelled", watch.communicate(timeout=30 * PATIENCE)[0])
        self.assertEqual(watch.returncode, 5)

    def test_watch_outlives_the_broker(self):
        self.worker()
        job = self.enqueue("gate", {"path": self.path("g")})
        self.started(job)
        watch = self.watch(job["id"], "--timeout", str(int(60000 * PATIENCE)))
        watch.stdout.readline()
        self.broker.kill()
        self.mesh.start("broker")
        self.open("g")
        out = watch.communicate(timeout=60 * PATIENCE)[0]
        self.assertEqual(watch.returncode, 0, out)
        self.assertIn("succeeded", out)

    def test_cancel_retry_redrive(self):
        self.worker()
        path = self.path("there")
        failed = [self.enqueue("fail", {"status": INVALID_ARGUMENT, "path": path}) for _ in range(4)]
        for job in failed:
            self.ends(job, "failed")
        pathlib.Path(path).touch()
        self.assertIn("id               %s\n" % failed[0]["id"], self.weft("jobs", "retry", failed[0]["id"]).stdout)
        self.ends(failed[0], "succeeded")
        self.weft("jobs", "retry", failed[0]["id"], code=3)
        self.weft("jobs", "redrive", code=2)
        self.assertEqual(self.weft("jobs", "redrive", "--service", "work", "--limit", "1").stdout.split()[0], "1")
        self.assertEqual(self.json("jobs", "redrive", "--all"), {"redriven": 2, "more": False})
        self.assertEqual(self.weft("jobs", "redrive", "--all").stdout, "0 queued again\n")
        for job in failed:
            self.ends(job, "succeeded")
        later = self.enqueue("ok", 1, delay_ms=3600000)
        self.assertEqual(self.json("jobs", "cancel", later["id"])["state"], "cancelled")
        self.weft("jobs", "cancel", failed[0]["id"], code=3)

    def test_queues(self):
        self.worker()
        table = self.weft("jobs", "queues").stdout.splitlines()
        self.assertEqual(table[0].split()[:3], ["SERVICE", "WORKERS", "QUEUED"])
        self.assertIn(["work", "1"], [line.split()[:2] for line in table])
        paused = self.json("jobs", "pause", "work", "--reason", "night")
        self.assertEqual((paused["paused"], paused["reason"]), (True, "night"))
        job = self.enqueue("ok", 1)
        self.assertIn("night", self.weft("jobs", "queues").stdout)
        self.assertFalse(self.get(job, wait=1)["done"])
        self.assertFalse(self.json("jobs", "resume", "work")["paused"])
        self.ends(job, "succeeded")
        self.assertEqual(self.json("jobs", "limit", "work", "--concurrency", "3", "--key-concurrency", "2")["concurrency"], 3)
        self.assertIsNone(self.json("jobs", "limit", "work", "--concurrency", "none").get("concurrency"))
        self.weft("jobs", "pause", "nobody", code=3)

    # ---- schedules ----

    def test_schedules(self):
        self.worker()
        self.assertEqual(self.weft("schedules", "list").stdout, "no schedules\n")
        made = self.json("schedules", "put", "nightly", "work.ok", "0 3 * * *", '{"a":1}', "--zone", "Europe/Vienna",
                         "--missed", "skip", "--max-attempts", "2")
        self.assertEqual([made[key] for key in ("name", "cron", "zone", "missed", "service", "method", "paused")],
                         ["nightly", "0 3 * * *", "Europe/Vienna", "skip", "work", "ok", False])
        self.assertEqual(self.json("schedules", "get", "nightly")["input"], {"a": 1})
        table = self.weft("schedules", "list").stdout.splitlines()
        self.assertEqual((table[0].split()[0], table[1].split()[0]), ("NAME", "nightly"))
        self.assertTrue(self.json("schedules", "pause", "nightly")["paused"])
        self.assertFalse(self.json("schedules", "resume", "nightly")["paused"])
        done = self.ends(self.json("schedules", "run", "nightly"), "succeeded")
        self.assertEqual((done["result"], done["max_attempts"]), ({"a": 1}, 2))
        self.assertEqual(self.weft("schedules", "delete", "nightly").stdout, "")
        self.weft("schedules", "get", "nightly", code=3)
        self.weft("schedules", "put", "x", "work.ok", "99 * * * *", code=3)
        self.weft("schedules", "put", "x", "work.ok", "* * * * *", "--zone", "Nowhere/Land", code=3)


if __name__ == "__main__":
    unittest.main()
