"""test_async - what HTTP offers of the queue: calls that are answered later, jobs to read, follow and change, and calls
that are safe to repeat; through gateway, broker, weft-jobs, PostgreSQL and back"""
import json
import threading
import unittest

from mesh import Database, MeshTest, PATIENCE, eventually
from queue_mesh import QueueTest

ASYNC = {"Prefer": "respond-async"}
METHODS = [{"name": "ok", "http": ["POST /v1/work/ok"]}, "gate", "stubborn", "fail", "wait", {"name": "steps", "streaming": True},
           {"name": "peek", "does": "ok", "idempotent": True}, {"name": "other", "does": "ok"},
           {"name": "brittle", "does": "fail", "job": {"max_attempts": 2, "backoff_ms": 1, "backoff_max_ms": 1}}]


class Events:
    """An EventSource: reads one event at a time, as a map of its fields."""

    def __init__(self, mesh, path, **headers):
        self.connection = mesh.connection()
        self.connection.request("GET", path, headers=dict({"Accept": "text/event-stream"}, **headers))
        self.reply = self.connection.getresponse()
        self.status = self.reply.status
        self.id = None

    def next(self):
        event = {}
        for line in iter(self.reply.readline, b""):
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if not name and event:
                event["data"] = json.loads(event["data"])
                self.id = event.get("id", self.id)
                return event
            if name:
                event[name] = value
        return None

    def all(self):
        return list(iter(self.next, None))

    def close(self):
        self.reply.close()
        self.connection.close()


class Async(QueueTest):
    SHARED = True
    PROGRAMS = ("broker", "gateway")
    work = None

    @classmethod
    def setUpClass(cls):
        cls.database = Database()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.database.close()

    def tearDown(self):
        MeshTest.tearDown(self)

    def begin(self):
        MeshTest.begin(self)
        self.url = self.database.url
        self.events_path = self.mesh.folder / "events"
        self.events_path.touch()
        self.replicas = [QueueTest.replica(self)]
        self.notes = self.mesh.start("notes", WEFT_DATABASE_URL=self.database.url)

    def setUp(self):
        super().setUp()
        if not Async.work:
            Async.work = self.worker(*METHODS, capacity=32)
            self.known("notes", "create")
            eventually(lambda: self.mesh.http("GET", "/v1/notes").status == 200, what="notes is served")
            eventually(lambda: self.mesh.http("GET", "/v1/jobs").status == 200, what="jobs is served")
            eventually(lambda: self.call("ok", {}).status == 200, what="work is served")
        self.gate = self.path(self.id())

    def call(self, method, body, **headers):
        return self.mesh.call("work", method, body, **{name.replace("_", "-"): text for name, text in headers.items()})

    def read(self, location, **query):
        text = "&".join("%s=%s" % pair for pair in query.items())
        reply = self.mesh.http("GET", location + ("?" + text if text else ""))
        self.assertEqual(reply.status, 200, reply)
        return reply.json

    def accepted(self, reply):
        self.assertEqual(reply.status, 202, reply)
        self.assertEqual(reply.headers["Location"], "/v1/jobs/" + reply.json["id"])
        self.assertEqual(reply.headers["Retry-After"], "1")
        return reply.headers["Location"]

    def done_at(self, location):
        """Polls as a client would, until the job is done."""
        return eventually(lambda: (lambda job: job["done"] and job)(self.read(location, wait=5)), 60, "the job is done")

    # ---- Prefer ----

    def test_respond_async_of_a_declared_route(self):
        reply = self.mesh.http("POST", "/v1/notes", {"title": "later", "text": "t"}, ASYNC)
        location = self.accepted(reply)
        self.assertEqual(reply.headers["Preference-Applied"], "respond-async")
        self.assertEqual((reply.json["service"], reply.json["method"], reply.json["done"]), ("notes", "create", False))
        job = self.done_at(location)
        self.assertEqual((job["state"], job["result"]["title"]), ("succeeded", "later"))
        self.assertNotIn("error", job)
        self.assertEqual(self.read("/v1/notes/%d" % job["result"]["id"])["text"], "t")

    def test_respond_async_of_a_call(self):
        location = self.accepted(self.call("ok", {"n": 1}, Prefer="respond-async"))
        self.assertEqual(self.done_at(location)["result"], {"n": 1})

    def test_what_ends_in_time_is_answered_in_full(self):
        wait = {"Prefer": "respond-async, wait=20"}
        reply = self.mesh.http("POST", "/v1/notes", {"title": "now", "text": "t"}, wait)
        self.assertEqual((reply.status, reply.json["title"]), (201, "now"), reply)
        self.assertEqual(reply.headers["Location"], "/v1/notes/%d" % reply.json["id"])
        self.assertEqual(reply.headers["Preference-Applied"], "respond-async, wait=20")
        reply = self.mesh.http("GET", "/v1/notes/999999999", headers=wait)
        self.assertEqual(self.problem(reply, 404, "NOT_FOUND")["hop"], "handler")
        reply = self.call("fail", {"status": 5, "message": "so it is", "details": {"a": 1}}, **wait)
        problem = self.problem(reply, 404, "NOT_FOUND")
        self.assertEqual((problem["detail"], problem["details"]), ("so it is", {"a": 1}))

    def test_what_does_not_end_in_time_goes_on(self):
        reply = self.call("gate", {"path": self.gate}, Prefer="respond-async, wait=1")
        location = self.accepted(reply)
        self.assertEqual(reply.headers["Preference-Applied"], "respond-async, wait=1")
        self.assertIn(reply.json["state"], ("queued", "running"))
        self.started(reply.json)
        self.assertEqual(self.read(location)["state"], "running")
        self.open(self.id())
        self.assertEqual(self.done_at(location)["state"], "succeeded")
        self.assertEqual(len(self.of(reply.json["id"], "start")), 1)

    def test_a_stream_can_be_asked_for_asynchronously(self):
        reply = self.call("steps", {"count": 1, "path": self.gate}, Prefer="respond-async")
        location = self.accepted(reply)
        self.open(self.id() + ".0")
        self.assertEqual(self.done_at(location)["result"], {"done": 1})

    # ---- POST /v1/jobs ----

    def post(self, method="ok", input=None, headers=None, service="work", **more):
        return self.mesh.http("POST", "/v1/jobs", dict(more, service=service, method=method, input=input or {}), headers)

    def test_a_job_is_made_and_read(self):
        reply = self.post(input={"n": 2 ** 63}, priority=0, max_attempts=3)
        location = self.accepted(reply)
        job = self.done_at(location)
        self.assertEqual((job["result"], job["priority"], job["max_attempts"], job["attempt"]), ({"n": 2 ** 63}, 0, 3, 1))
        self.assertLessEqual(job["created_at"], job["finished_at"])
        self.assertNotIn("input", job)
        location = self.accepted(self.post(input={"n": 1.5}, delay_ms=3600000))
        self.assertEqual(self.read(location, include_input="true")["input"], {"n": 1.5})
        self.assertNotIn("input", self.read(location))
        reply = self.post(input={"n": 1}, wait_ms=20000)
        self.assertEqual((reply.status, reply.json["result"]), (200, {"n": 1}), reply)

    def test_input_is_checked_when_the_job_is_made(self):
        problem = self.problem(self.post("create", {"title": ""}, service="notes"), 422, "INVALID_ARGUMENT")
        self.assertTrue(problem["errors"])
        self.assertTrue(all(error["pointer"].startswith("/input") for error in problem["errors"]), problem)
        self.problem(self.mesh.http("POST", "/v1/notes", {"title": ""}, ASYNC), 422)
        self.problem(self.post("none"), 404, "NOT_FOUND")
        self.problem(self.post(service="none"), 404, "NOT_FOUND")
        for bad in ({}, {"service": "work"}, {"service": 1, "method": "ok"}, {"service": "work", "method": "ok", "priority": 9},
                    {"service": "work", "method": "ok", "what": 1}, {"service": "work", "method": "ok", "max_attempts": 0},
                    {"service": "work", "method": "ok", "run_at": "tomorrow"}):
            reply = self.mesh.http("POST", "/v1/jobs", bad)
            self.assertIn(reply.status, (400, 422), (bad, reply))

    def test_jobs_that_are_not_there(self):
        for path in ("/v1/jobs/1234567890123", "/v1/jobs/1234567890123/events"):
            self.problem(self.mesh.http("GET", path), 404, "NOT_FOUND")
        self.problem(self.mesh.http("POST", "/v1/jobs/1234567890123/cancel"), 404, "NOT_FOUND")
        self.problem(self.mesh.http("POST", "/v1/jobs/1234567890123/retry"), 404, "NOT_FOUND")
        for id in ("x", "-1", "1.5", "99999999999999999999999"):
            self.assertIn(self.mesh.http("GET", "/v1/jobs/" + id).status, (400, 404, 422), id)
        self.problem(self.mesh.http("DELETE", "/v1/jobs/1"), 405)

    def test_a_job_for_later(self):
        reply = self.post(delay_ms=3600000)
        location = self.accepted(reply)
        self.assertEqual(reply.json["state"], "scheduled")
        self.assertGreater(reply.json["run_at"], reply.json["created_at"])
        self.assertEqual(self.mesh.http("POST", location + "/cancel").status, 200)
        reply = self.post(run_at="2020-01-01T00:00:00Z")
        self.assertEqual(self.done_at(self.accepted(reply))["state"], "succeeded")

    def test_a_unique_key_names_one_job(self):
        first = self.post("gate", {"path": self.gate}, unique_key=self.id())
        again = self.post("gate", {"path": self.gate}, unique_key=self.id())
        self.assertEqual((first.status, again.status, again.json["id"]), (202, 202, first.json["id"]))
        self.assertTrue(again.json["replayed"])
        self.open(self.id())
        self.done_at(first.headers["Location"])
        self.assertNotEqual(self.post("gate", {"path": self.gate}, unique_key=self.id()).json["id"], first.json["id"])

    # ---- reading ----

    def test_list_with_filters_and_cursor(self):
        ids = [self.accepted(self.post("other", {"n": n})).rpartition("/")[2] for n in range(7)]
        for id in ids:
            self.done_at("/v1/jobs/" + id)
        seen, cursor, pages = [], "", 0
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = self.read("/v1/jobs", service="work", method="other", state="succeeded", limit=3, **more)
            self.assertLessEqual(len(page["jobs"]), 3)
            seen += [job["id"] for job in page["jobs"]]
            pages += 1
            cursor = page.get("cursor")
            if not cursor:
                break
        self.assertEqual(seen, ids[::-1])
        self.assertIn(pages, (3, 4))
        self.assertEqual(self.read("/v1/jobs", service="work", method="other", state="failed")["jobs"], [])
        middle = self.read("/v1/jobs/" + ids[3])["created_at"]
        older = self.read("/v1/jobs", method="other", service="work", created_before=middle)["jobs"]
        newer = self.read("/v1/jobs", method="other", service="work", created_after=middle)["jobs"]
        self.assertIn(ids[0], [job["id"] for job in older])
        self.assertNotIn(ids[6], [job["id"] for job in older])
        self.assertIn(ids[6], [job["id"] for job in newer])
        self.assertNotIn(ids[0], [job["id"] for job in newer])
        for query in ("limit=0", "limit=101", "limit=x", "state=odd", "cursor=%20x", "what=1", "created_after=x"):
            self.assertIn(self.mesh.http("GET", "/v1/jobs?" + query).status, (400, 422), query)

    def test_long_poll(self):
        location = self.accepted(self.post("gate", {"path": self.gate}))
        self.assertFalse(self.read(location, wait=1)["done"])
        answers = []
        polling = threading.Thread(target=lambda: answers.append(self.read(location, wait=60)))
        polling.start()
        self.started({"id": location.rpartition("/")[2]})
        self.open(self.id())
        polling.join(90 * PATIENCE)
        self.assertEqual([job["state"] for job in answers], ["succeeded"])
        self.assertTrue(self.read(location, wait=60)["done"])
        for wait in ("-1", "61", "x"):
            self.assertIn(self.mesh.http("GET", "%s?wait=%s" % (location, wait)).status, (400, 422), wait)

    def test_events_and_their_resumption(self):
        location = self.accepted(self.post("steps", {"count": 4, "path": self.gate}))
        first = Events(self.mesh, location + "/events")
        self.addCleanup(first.close)
        seen = []
        while not any(event["data"]["job"].get("progress") == {"done": 1, "of": 4} for event in seen):
            seen.append(first.next())
            if seen[-1]["data"]["job"].get("progress") == {"done": 0, "of": 4}:
                self.open(self.id() + ".0")
        self.assertEqual({event["event"] for event in seen} - {"state", "progress"}, set())
        for event in seen:
            self.assertEqual((event["id"], event["event"]), (event["data"]["id"], event["data"]["event"]))
        self.assertEqual(len({event["id"] for event in seen}), len(seen))
        first.close()
        # Connected anew it hears only of what came since.
        again = Events(self.mesh, location + "/events", **{"Last-Event-ID": first.id})
        self.addCleanup(again.close)
        for n in (1, 2, 3):
            self.open("%s.%d" % (self.id(), n))
        rest = again.all()
        self.assertFalse({event.get("id") for event in seen} & {event.get("id") for event in rest[:-1]})
        self.assertEqual(rest[-1]["event"], "done")
        self.assertEqual((rest[-1]["data"]["state"], rest[-1]["data"]["result"]), ("succeeded", {"done": 4}))
        # It comes back, as an EventSource does, though it has heard the end: there is no more.
        over = Events(self.mesh, location + "/events", **{"Last-Event-ID": again.id})
        self.addCleanup(over.close)
        self.assertEqual((over.status, over.all()), (204, []))
        # Who has heard less is told how it ended.
        late = Events(self.mesh, location + "/events")
        self.addCleanup(late.close)
        self.assertEqual(late.all()[-1], rest[-1])

    def test_events_as_lines(self):
        location = self.accepted(self.post())
        reply = self.mesh.http("GET", location + "/events", headers={"Accept": "application/x-ndjson"})
        lines = [json.loads(line) for line in reply.body.decode().splitlines()]
        self.assertEqual((lines[-1]["state"], lines[-1]["done"]), ("succeeded", True))

    # ---- changing ----

    def test_cancel(self):
        waiting = self.accepted(self.post(delay_ms=3600000))
        reply = self.mesh.http("POST", waiting + "/cancel")
        self.assertEqual((reply.status, reply.json["state"], reply.json["error"]["code"]), (200, "cancelled", "CANCELLED"))
        self.assertEqual(self.mesh.http("POST", waiting + "/cancel").status, 200)
        running = self.accepted(self.post("gate", {"path": self.gate}))
        job = {"id": running.rpartition("/")[2]}
        self.started(job)
        self.assertEqual(self.mesh.http("POST", running + "/cancel").status, 200)
        self.assertEqual(self.done_at(running)["state"], "cancelled")
        eventually(lambda: self.of(job, "cancelled"), what="the handler was told")
        done = self.accepted(self.post())
        self.done_at(done)
        self.problem(self.mesh.http("POST", done + "/cancel"), 412, "FAILED_PRECONDITION")

    def test_retry(self):
        location = self.accepted(self.post("fail", {"status": 5, "path": self.gate}))
        job = self.done_at(location)
        self.assertEqual((job["state"], job["error"]["code"]), ("failed", "NOT_FOUND"))
        self.open(self.id())
        reply = self.mesh.http("POST", location + "/retry")
        self.assertEqual((reply.status, reply.json["id"]), (200, job["id"]), reply)
        job = self.done_at(location)
        self.assertEqual((job["state"], job["attempt"]), ("succeeded", 1))
        self.problem(self.mesh.http("POST", location + "/retry"), 412, "FAILED_PRECONDITION")

    def test_history_of_attempts(self):
        location = self.accepted(self.post("brittle", {"status": 10, "message": "again"}))
        job = self.done_at(location)
        self.assertEqual((job["state"], job["attempt"], job["error"]["code"]), ("failed", 2, "ABORTED"))
        self.assertEqual([(error["attempt"], error["code"], error["message"]) for error in job["errors"]],
                         [(1, "ABORTED", "again"), (2, "ABORTED", "again")])

    def test_queues_pause_and_resume(self):
        queue = next(one for one in self.read("/v1/jobs/queues")["queues"] if one["service"] == "work")
        self.assertFalse(queue["paused"])
        reply = self.mesh.http("POST", "/v1/jobs/queues/work/pause", {"reason": "a test"})
        self.assertEqual((reply.status, reply.json["paused"], reply.json["reason"]), (200, True, "a test"), reply)
        try:
            location = self.accepted(self.post())
            self.assertFalse(self.read(location, wait=1)["done"])
            self.assertEqual(self.read(location)["state"], "queued")
        finally:
            self.assertEqual(self.mesh.http("POST", "/v1/jobs/queues/work/resume").status, 200)
        self.assertEqual(self.done_at(location)["state"], "succeeded")
        self.problem(self.mesh.http("POST", "/v1/jobs/queues/none/pause"), 404)

    # ---- Idempotency-Key ----

    def keyed(self, method, body, key=None, **headers):
        return self.call(method, body, Idempotency_Key=key or self.id(), **headers)

    def begun(self, method, input):
        return [event for event in self.events("start") if event["method"] == method and event["input"] == input]

    def test_a_repeated_call_gets_the_first_answer(self):
        key = {"Idempotency-Key": self.id()}
        body = {"title": "once", "text": "b"}
        first = self.mesh.http("POST", "/v1/notes", body, key)
        self.assertEqual((first.status, first.headers["Location"]), (201, "/v1/notes/%d" % first.json["id"]), first)
        self.assertNotIn("Idempotent-Replayed", first.headers)
        for path in ("/v1/notes", "/v1/call/notes/create"):
            again = self.mesh.http("POST", path, body, key)
            self.assertEqual((again.status, again.json, again.headers["Location"], again.headers["Idempotent-Replayed"]),
                             (201, first.json, first.headers["Location"], "true"))
        self.problem(self.mesh.http("POST", "/v1/notes", {"title": "other", "text": "b"}, key), 422, "FAILED_PRECONDITION",
                     "idempotency-mismatch")
        # Another method is another matter, and so is another key.
        self.assertEqual(self.keyed("ok", {"n": 1}).json, {"n": 1})
        other = self.mesh.http("POST", "/v1/notes", body, {"Idempotency-Key": self.id() + "2"})
        self.assertNotEqual(other.json["id"], first.json["id"])

    def test_the_handler_gets_the_key(self):
        self.assertEqual(self.keyed("ok", {"key": self.id()}).status, 200)
        meta = self.begun("ok", {"key": self.id()})[0]["meta"]
        self.assertEqual(meta["idempotency.key"], self.id())
        self.assertIn("job.id", meta)
        self.assertIn("traceparent", meta)

    def test_callers_that_race(self):
        body, replies = {"race": self.id()}, []
        threads = [threading.Thread(target=lambda: replies.append(self.keyed("ok", body))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90 * PATIENCE)
        statuses = {reply.status for reply in replies}
        self.assertLessEqual(statuses, {200, 409})
        self.assertIn(200, statuses)
        self.assertEqual({json.dumps(reply.json) for reply in replies if reply.status == 200}, {json.dumps(body)})
        self.assertEqual(len(self.begun("ok", body)), 1)
        again = self.keyed("ok", body)
        self.assertEqual((again.status, again.headers["Idempotent-Replayed"]), (200, "true"))

    def test_the_first_is_still_at_work(self):
        body, replies = {"path": self.gate}, []
        first = threading.Thread(target=lambda: replies.append(self.keyed("gate", body)))
        first.start()
        eventually(lambda: self.begun("gate", body), what="the first has begun")
        again = self.keyed("gate", body)
        self.problem(again, 409, "ABORTED", "idempotency-in-progress")
        self.assertEqual(again.headers["Retry-After"], "1")
        self.assertEqual(self.read(again.headers["Location"])["state"], "running")
        self.problem(self.keyed("gate", {"path": "other"}), 422)
        self.open(self.id())
        first.join(90 * PATIENCE)
        self.assertEqual((replies[0].status, self.keyed("gate", body).json), (200, replies[0].json))
        self.assertEqual(len(self.begun("gate", body)), 1)

    def test_the_callers_time_passes_and_the_call_goes_on(self):
        body = {"path": self.gate}
        reply = self.keyed("gate", body, X_Request_Timeout_Ms="300")
        problem = self.problem(reply, 504, "DEADLINE_EXCEEDED")
        self.assertEqual(problem["executed"], "maybe")
        self.assertEqual(self.keyed("gate", body, X_Request_Timeout_Ms="300").status, 409)
        self.open(self.id())
        self.assertEqual(self.done_at(reply.headers["Location"])["state"], "succeeded")
        again = self.keyed("gate", body)
        self.assertEqual((again.status, again.headers["Idempotent-Replayed"]), (200, "true"))
        self.assertEqual(len(self.begun("gate", body)), 1)

    def test_a_caller_that_hangs_up_ends_nothing(self):
        body = {"path": self.gate}
        connection = self.mesh.connection()
        connection.request("POST", "/v1/call/work/gate", json.dumps(body), {"Content-Type": "application/json",
                                                                            "Idempotency-Key": self.id()})
        eventually(lambda: self.begun("gate", body), what="it has begun")
        connection.close()
        eventually(lambda: self.keyed("gate", body).status == 409, what="it goes on")
        self.open(self.id())
        eventually(lambda: self.keyed("gate", body).status == 200, what="it has ended")
        self.assertEqual(len(self.begun("gate", body)), 1)

    def test_an_error_is_given_again(self):
        body = {"status": 5, "message": self.id()}
        for replayed in (None, "true"):
            reply = self.keyed("fail", body)
            self.assertEqual(self.problem(reply, 404, "NOT_FOUND")["detail"], self.id())
            self.assertEqual(reply.headers.get("Idempotent-Replayed"), replayed)
        self.assertEqual(len(self.begun("fail", body)), 1)

    def test_an_error_that_may_pass_is_tried_again(self):
        body = {"status": 10, "times": 1, "message": self.id()}
        reply = self.keyed("brittle", body)
        self.assertEqual((reply.status, reply.json), (200, {"attempt": 2}), reply)

    def test_keys_and_preferences_together(self):
        body = {"path": self.gate}
        first = self.keyed("gate", body, Prefer="respond-async")
        location = self.accepted(first)
        again = self.keyed("gate", body, Prefer="respond-async")
        self.assertEqual((self.accepted(again), again.headers["Idempotent-Replayed"]), (location, "true"))
        self.open(self.id())
        self.done_at(location)
        full = self.keyed("gate", body, Prefer="respond-async, wait=20")
        self.assertEqual((full.status, full.headers["Idempotent-Replayed"]), (200, "true"))
        self.assertEqual(len(self.begun("gate", body)), 1)

    def test_a_key_on_making_a_job(self):
        key = {"Idempotency-Key": self.id()}
        first = self.post(input={"n": 1}, headers=key)
        again = self.post(input={"n": 1}, headers=key)
        self.assertEqual((first.status, again.json["id"], again.headers["Idempotent-Replayed"]),
                         (202, first.json["id"], "true"))
        self.problem(self.post(input={"n": 2}, headers=key), 422, kind="idempotency-mismatch")

    def test_a_key_on_changing_a_job(self):
        location = self.accepted(self.post("fail", {"status": 5, "path": self.gate}))
        self.assertEqual(self.done_at(location)["state"], "failed")
        replies = [self.mesh.http("POST", location + "/retry", None, {"Idempotency-Key": self.id()}) for _ in range(2)]
        self.assertEqual([reply.status for reply in replies], [200, 200], replies)
        self.assertEqual({"/v1/jobs/" + reply.json["id"] for reply in replies}, {location})
        self.done_at(location)
        self.assertEqual(len(self.of(location.rpartition("/")[2], "start")), 2)  # retried once

    def test_idempotent_methods_take_no_notice(self):
        body = {"key": self.id()}
        for _ in range(2):
            reply = self.keyed("peek", body)
            self.assertEqual(reply.status, 200)
            self.assertNotIn("Idempotent-Replayed", reply.headers)
        self.assertEqual(len(self.begun("peek", body)), 2)

    def test_streams_take_no_key(self):
        self.problem(self.keyed("steps", {"count": 1, "path": self.gate}, Accept="text/event-stream"), 400,
                     kind="idempotency-key")


class Failures(QueueTest):
    """What happens to promises when something ends."""

    PROGRAMS = ("broker", "gateway")
    OWN = True

    def test_the_database_is_down_when_a_job_is_made(self):
        self.worker("ok")
        ask = [lambda: self.mesh.http("POST", "/v1/jobs", {"service": "work", "method": "ok", "input": {}}),
               lambda: self.mesh.call("work", "ok", {}, Prefer="respond-async"),
               lambda: self.mesh.call("work", "ok", {}, **{"Idempotency-Key": "down"})]
        self.assertEqual(ask[0]().status, 202)
        self.database.stop()
        for one in ask:
            reply = one()
            self.problem(reply, 503, "UNAVAILABLE")
            self.assertIn("Retry-After", reply.headers)
        self.assertEqual(self.mesh.call("work", "ok", {}).status, 200)  # whoever waits himself needs no database
        self.database.start()
        eventually(lambda: ask[0]().status == 202, 30, "jobs are taken again")
        self.assertEqual(ask[2]().status, 200)

    def test_a_key_outlives_gateway_and_jobs(self):
        self.worker("ok", "gate")
        key = {"Idempotency-Key": "k"}
        body = {"path": self.path("gate")}
        threading.Thread(target=lambda: self._quietly(lambda: self.mesh.call("work", "gate", body, **key))).start()
        eventually(lambda: self.events("start"), what="it has begun")
        self.gateway.kill()
        self.replicas[0].kill()
        self.gateway = self.mesh.start("gateway")
        self.replicas.append(self.replica())
        self.open("gate")
        reply = eventually(lambda: (lambda r: r.status == 200 and r)(self.mesh.call("work", "gate", body, **key)), 60,
                           "the first answer")
        self.assertEqual(reply.headers["Idempotent-Replayed"], "true")
        again = self.mesh.call("work", "gate", body, **key)
        self.assertEqual((again.status, again.json), (200, reply.json))
        self.assertEqual(len({event["job"] for event in self.events("start")}), 1)

    def test_a_replica_that_dies_takes_no_answer_away(self):
        self.worker("gate")
        self.replicas.append(self.replica())
        replies = []

        def ask(**headers):
            replies.append(self.mesh.call("work", "gate", {"path": self.path("gate")}, **headers))
        callers = [threading.Thread(target=ask, kwargs={"Idempotency-Key": "k"}),
                   threading.Thread(target=ask, kwargs={"Prefer": "respond-async, wait=100"})]
        for caller in callers:
            caller.start()
        # Whichever replica is asked: the waiting has gone over to jobs.get by then.
        eventually(lambda: sum(replica.metric("weft_handler_in_flight", 'method="get"') for replica in self.replicas) == 2,
                   30, "both wait")
        self.replicas[0].kill()
        self.open("gate")
        for caller in callers:
            caller.join(180 * PATIENCE)
        self.assertEqual([reply.status for reply in replies], [200, 200], replies)

    @staticmethod
    def _quietly(call):
        try:
            call()
        except OSError:
            pass  # its gateway was killed

    def test_a_service_whose_workers_left(self):
        worker = self.worker("ok")
        worker.stop()
        eventually(lambda: self.mesh.call("work", "ok", {}).status in (503, 404), 20, "it has no workers")
        reply = self.mesh.call("work", "ok", {"n": 1}, Prefer="respond-async")
        self.assertEqual(reply.status, 202, reply)
        self.worker("ok")
        self.assertEqual(self.done(reply.json["id"])["result"], {"n": 1})


if __name__ == "__main__":
    unittest.main()
