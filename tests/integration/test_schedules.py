"""test_schedules - cron schedules with real processes: each time once however many replicas, what was missed, clocks that
are changed"""
import datetime
import unittest
import zoneinfo

from mesh import eventually
from queue_mesh import QueueTest

INVALID, NOT_FOUND, PRECONDITION = 3, 5, 9
UTC = datetime.timezone.utc


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Schedules(QueueTest):
    REPLICAS = 2

    def begin(self):
        super().begin()
        self.worker("ok", "gate", {"name": "wait", "job": {"max_attempts": 3, "timeout_ms": 7000}}, {"name": "fail", "input": {"type": "object", "required": ["n"],
                                                               "properties": {"n": {"type": "integer"}}}})

    def put(self, name, cron="@every 1d", method="ok", **more):
        return self.jobs("schedule-put", name=name, cron=cron, service="work", method=method, **more)

    def schedule(self, name):
        return self.jobs("schedule-get", name=name)

    def due(self, name, ago="0 s"):
        """Makes it due now, or some time ago, by the database's clock."""
        self.database.sql("UPDATE weft_job_schedule SET next_at = now() - interval '%s' WHERE name = '%s' RETURNING 1"
                          % (ago, name))

    def keys(self, name):
        """The due times of the jobs of a schedule that have begun, one for each job, as the workers were told."""
        times = {event["job"]: event["meta"]["idempotency.key"] for event in self.events("start")
                 if event["meta"].get("idempotency.key", "").startswith("schedule:%s:" % name)}
        return list(times.values())

    def made(self, name):
        rows = self.database.sql("SELECT count(*) FROM (SELECT options FROM weft_job UNION ALL SELECT options FROM "
                                 "weft_job_done) j WHERE position(bytea 'schedule:%s:' IN options) > 0" % name)
        return rows[0][0]

    # ---- firing ----

    def test_each_time_once_over_two_replicas(self):
        for number in range(20):
            self.put("s%d" % number, input={"number": number})
        self.database.sql("UPDATE weft_job_schedule SET next_at = now() RETURNING 1")
        eventually(lambda: self.states().get("succeeded") == 20, what="20 jobs have ended")
        for number in range(20):
            self.assertEqual(len(self.keys("s%d" % number)), 1, number)
            after = self.schedule("s%d" % number)
            self.assertGreater(instant(after["next_at"]), instant(after["last_at"]) + datetime.timedelta(hours=23))
            job = self.get(after["last_job"])
            self.assertEqual((job["state"], job["result"]), ("succeeded", {"number": number}))
        self.assertEqual(self.count("next_at <= now()", "weft_job_schedule"), 0)
        self.consistent()

    def test_every_second_none_lost_none_twice(self):
        self.put("tick", "@every 1s", missed="all")
        eventually(lambda: len(self.keys("tick")) >= 3, what="three ticks")
        self.replicas[0].kill()
        before = len(self.keys("tick"))
        eventually(lambda: len(self.keys("tick")) >= before + 3, what="three more with one replica")
        self.jobs("schedule-pause", name="tick")
        eventually(lambda: self.made("tick") == self.states().get("succeeded"), what="all have ended")
        keys = sorted(self.keys("tick"))
        self.assertEqual(len(set(keys)), len(keys), keys)
        times = [instant(key[len("schedule:tick:"):]) for key in keys]
        self.assertEqual([(b - a).total_seconds() for a, b in zip(times, times[1:])], [1.0] * (len(times) - 1), keys)

    def test_fires_without_delay(self):
        """A schedule that was put while nothing was due wakes the clockwork for its first time."""
        put = self.put("soon", "@every 1s")
        eventually(lambda: self.keys("soon"), what="the first tick")
        late = self.database.sql("SELECT extract(epoch FROM min(created_at) - timestamptz '%s') FROM (SELECT created_at FROM "
                                 "weft_job UNION ALL SELECT created_at FROM weft_job_done) j" % put["next_at"])[0][0]
        self.assertGreaterEqual(late, 0)

    def test_paused_does_not_fire_and_resumed_does_not_catch_up(self):
        self.put("p", missed="all")
        self.put("other")
        self.assertTrue(self.jobs("schedule-pause", name="p")["paused"])
        self.assertNotIn("next_at", self.schedule("p"))
        self.database.sql("UPDATE weft_job_schedule SET next_at = now() - interval '3 days' WHERE name = 'p' RETURNING 1")
        self.due("other")
        eventually(lambda: self.keys("other"), what="the other one fires")
        self.assertEqual(self.made("p"), 0)
        resumed = self.jobs("schedule-resume", name="p")
        self.assertFalse(resumed["paused"])
        self.due("other")
        eventually(lambda: len(self.keys("other")) == 2, what="the other one fires again")
        self.assertEqual(self.made("p"), 0)
        self.due("p")
        eventually(lambda: self.keys("p"), what="it fires once more")
        again = self.jobs("schedule-resume", name="p")  # is not paused: nothing changes
        self.assertEqual(again["next_at"], self.schedule("p")["next_at"])

    def test_deleted_is_gone(self):
        self.put("d")
        self.jobs("schedule-delete", name="d")
        for method in ("get", "delete", "pause", "resume", "run"):
            self.refused(NOT_FOUND, self.jobs, "schedule-" + method, name="d")

    def test_run_now_leaves_the_times_alone(self):
        put = self.put("r", input={"a": 1}, priority=0, max_attempts=2)
        job = self.jobs("schedule-run", name="r")
        self.assertEqual((job["service"], job["method"], job["priority"], job["max_attempts"]), ("work", "ok", 0, 2))
        self.assertEqual(self.ends(job, "succeeded")["result"], {"a": 1})
        after = self.schedule("r")
        self.assertEqual((after["next_at"], after["last_job"]), (put["next_at"], job["id"]))
        self.assertNotIn("last_at", after)

    def test_what_the_method_says_of_its_jobs_counts(self):
        self.put("m", method="wait", input={"ms": 1})
        self.assertNotIn("max_attempts", self.schedule("m"))
        self.due("m")
        fired = self.get(eventually(lambda: self.schedule("m").get("last_job"), what="it fired"))
        for job in (fired, self.jobs("schedule-run", name="m")):
            self.assertEqual((job["max_attempts"], job["timeout_ms"], job["schedule"]), (3, 7000, "m"))

    def test_unique_key_keeps_runs_from_piling_up(self):
        gate = self.path("gate")
        self.put("u", method="gate", input={"path": gate}, unique_key="only")
        self.due("u")
        first = eventually(lambda: self.schedule("u").get("last_job"), what="it fired")
        self.started({"id": first})
        self.due("u")
        eventually(lambda: instant(self.schedule("u")["next_at"]) > datetime.datetime.now(UTC), what="it was looked at")
        self.assertEqual((self.made("u"), self.schedule("u")["last_job"]), (1, first))
        run = self.jobs("schedule-run", name="u")
        self.assertEqual((run["id"], run["replayed"]), (first, True))
        self.open("gate")
        self.ends({"id": first}, "succeeded")
        self.due("u")
        eventually(lambda: self.schedule("u")["last_job"] != first, what="it fired again")
        self.consistent()

    def test_jobs_wait_while_the_service_has_no_worker(self):
        worker = next(process for process in self.mesh.processes if process.name == "worker")
        self.put("w", input={"b": 2})
        worker.kill()
        eventually(lambda: self.mesh.service("work").get("workers", 0) == 0, what="the worker is gone")
        self.due("w")
        job = eventually(lambda: self.schedule("w").get("last_job"), what="it fired")
        self.assertIn(self.get(job)["state"], ("queued", "running"))
        self.worker("ok")
        self.assertEqual(self.ends({"id": job}, "succeeded")["result"], {"b": 2})

    # ---- what was missed ----

    def test_missed_times(self):
        for missed in ("skip", "once", "all"):
            self.put(missed, "@every 1h", missed=missed)
        for replica in self.replicas:
            replica.kill()
        self.database.sql("UPDATE weft_job_schedule SET next_at = now() - interval '4 h 30 min' RETURNING 1")
        self.replica()
        eventually(lambda: self.count("next_at <= now()", "weft_job_schedule") == 0, what="all were looked at")
        eventually(lambda: self.states().get("succeeded") == 6, what="what they made has ended")
        self.assertEqual([self.made(missed) for missed in ("skip", "once", "all")], [0, 1, 5])
        self.assertEqual(len(set(self.keys("all"))), 5)
        for missed in ("skip", "once", "all"):
            after = self.schedule(missed)
            self.assertLess(instant(after["last_at"]), datetime.datetime.now(UTC))
            # The beat goes on: an hour after the last that was due.
            self.assertEqual(instant(after["next_at"]) - instant(after["last_at"]), datetime.timedelta(hours=1))

    # ---- clocks ----

    def test_zone_and_clock_changes(self):
        berlin = zoneinfo.ZoneInfo("Europe/Berlin")
        put = self.put("b", "30 3 * * *", zone="europe/berlin")
        self.assertEqual(put["zone"], "Europe/Berlin")
        local = instant(put["next_at"]).astimezone(berlin)
        self.assertEqual((local.hour, local.minute), (3, 30))
        now = datetime.datetime.now(UTC)

        def change(month):
            """The next last Sunday of a month: then Berlin changes its clocks, at 01:00 UTC."""
            for year in (now.year, now.year + 1):
                day = next(date for date in (datetime.date(year, month, 31 - back) for back in range(7))
                           if date.weekday() == 6)
                if datetime.datetime(year, month, day.day, tzinfo=UTC) > now + datetime.timedelta(days=1):
                    return day
            raise AssertionError
        spring, autumn = change(3), change(10)
        for cron, expected in (
                ("30 2 %d 3 *" % spring.day, (spring, 1, 0)),      # is left out: at the end of that hour
                ("30 3 %d 3 *" % spring.day, (spring, 1, 30)),
                ("30 2 %d 10 *" % autumn.day, (autumn, 0, 30)),    # comes twice: the first time
                ("30 3 %d 10 *" % autumn.day, (autumn, 2, 30))):
            with self.subTest(cron):
                day, hour, minute = expected
                self.assertEqual(instant(self.put("x", cron, zone="Europe/Berlin")["next_at"]),
                                 datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC))

    # ---- what is accepted ----

    def test_put_again_keeps_the_next_time(self):
        first = self.put("again", "@every 1h", input={"v": 1})
        self.due("again", ago="-30 min")
        moved = self.schedule("again")["next_at"]
        self.assertNotEqual(moved, first["next_at"])
        second = self.put("again", "@every 1h", input={"v": 2}, missed="skip")
        self.assertEqual((second["next_at"], second["input"], second["missed"]), (moved, {"v": 2}, "skip"))
        self.assertEqual(second["created_at"], first["created_at"])
        third = self.put("again", "@every 2h")
        self.assertNotEqual(third["next_at"], moved)
        self.jobs("schedule-pause", name="again")
        self.assertTrue(self.put("again", "@every 2h")["paused"])  # as an operator left it
        self.assertFalse(self.put("again", "@every 2h", paused=False)["paused"])
        self.assertIn("next_at", self.schedule("again"))

    def test_what_is_refused(self):
        for more, status, text in (
                ({"cron": "* * * *"}, INVALID, "cron: expected five fields"),
                ({"cron": "61 * * * *"}, INVALID, "cron: minute: 61 is not within 0 to 59"),
                ({"cron": "0 0 30 2 *"}, INVALID, "cron: never matches"),
                ({"cron": "@every 0s"}, INVALID, "cron: @every: a period is at least one second"),
                ({"zone": "Mars/Olympus"}, INVALID, "zone: there is no time zone"),
                ({"zone": "UTC+3"}, INVALID, "zone: there is no time zone"),
                ({"zone": "x'; DROP TABLE weft_job"}, INVALID, ""),
                ({"name": "../x"}, INVALID, ""),
                ({"missed": "maybe"}, INVALID, ""),
                ({"priority": 4}, INVALID, ""),
                ({"service": "nobody"}, NOT_FOUND, ""),
                ({"method": "nothing"}, NOT_FOUND, ""),
                ({"method": "fail", "input": {"n": "x"}}, INVALID, ""),
                ({"method": "fail"}, INVALID, ""),
                ({"callback_url": "https://example.com/"}, PRECONDITION, "WEFT_WEBHOOK_SECRET")):
            with self.subTest(more):
                body = {"name": "bad", "cron": "@daily", "service": "work", "method": "ok", **more}
                error = self.refused(status, self.jobs, "schedule-put", **body)
                self.assertIn(text, str(error))
        self.refused(NOT_FOUND, self.jobs, "schedule-get", name="bad")
        error = self.refused(INVALID, self.jobs, "schedule-put", name="bad", cron="@daily", service="work", method="fail",
                             input={"n": "x"})
        self.assertEqual(error.details["errors"][0]["pointer"], "/input/n")


class Routes(QueueTest):
    """The same over HTTP."""
    PROGRAMS = ("broker", "gateway")

    def test_routes(self):
        self.worker("ok")
        body = {"cron": "0 9 * * MON-FRI", "zone": "Europe/Berlin", "service": "work", "method": "ok", "input": {"x": 1},
                "missed": "skip", "unique_key": "k", "timeout_ms": 1000}
        eventually(lambda: self.mesh.http("GET", "/v1/schedules").status == 200, what="the gateway knows the service")
        reply = self.mesh.http("PUT", "/v1/schedules/morning", body)
        self.assertEqual((reply.status, reply.headers["Location"]), (201, "/v1/schedules/morning"), reply)
        for key, value in body.items():
            self.assertEqual(reply.json[key], value)
        self.assertEqual((reply.json["name"], reply.json["paused"]), ("morning", False))
        self.assertEqual(self.mesh.http("PUT", "/v1/schedules/morning", body).status, 200)
        self.assertEqual(self.mesh.http("POST", "/v1/schedules", {"name": "a", **body}).status, 201)
        self.assertEqual(self.mesh.http("GET", "/v1/schedules/a").json["name"], "a")
        page = self.mesh.http("GET", "/v1/schedules?limit=1").json
        self.assertEqual(([one["name"] for one in page["schedules"]], page["cursor"]), (["a"], "a"))
        page = self.mesh.http("GET", "/v1/schedules?limit=1&cursor=a").json
        self.assertEqual(([one["name"] for one in page["schedules"]], "cursor" in page), (["morning"], False))
        self.assertEqual(self.mesh.http("POST", "/v1/schedules/a/pause").json["paused"], True)
        self.assertEqual(self.mesh.http("POST", "/v1/schedules/a/resume").json["paused"], False)
        run = self.mesh.http("POST", "/v1/schedules/a/run")
        self.assertEqual((run.status, run.headers["Location"]), (202, "/v1/jobs/" + run.json["id"]), run)
        self.assertEqual(self.ends(run.json, "succeeded")["result"], {"x": 1})
        self.assertEqual(self.mesh.http("DELETE", "/v1/schedules/a").status, 204)
        self.problem(self.mesh.http("GET", "/v1/schedules/a"), 404, "NOT_FOUND")
        self.problem(self.mesh.http("DELETE", "/v1/schedules/a"), 404, "NOT_FOUND")
        self.problem(self.mesh.http("PUT", "/v1/schedules/b", {**body, "cron": "x"}), 400, "INVALID_ARGUMENT")


if __name__ == "__main__":
    unittest.main()
