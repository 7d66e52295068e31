"""test_queued - calls that the gateway sends through the queue, against a service `jobs` that answers as each test says"""
import json
import threading
import unittest

from mesh import Mesh, MeshTest, eventually

ASYNC = {"Prefer": "respond-async"}
DONE = {"id": "7", "service": "thing", "method": "who", "state": "succeeded", "done": True, "result": {"n": 1}}
RUNNING = {"id": "7", "service": "thing", "method": "who", "state": "running", "done": False}


class Queued(MeshTest):
    SHARED = True

    def begin(self):
        MeshTest.begin(self)
        self.jobs = self.mesh.fake("jobs", {"name": "enqueue", "http": ["POST /v1/jobs"]}, {"name": "get", "idempotent": True})
        self.mesh.fake("thing", {"name": "who", "http": ["POST /v1/things/{id}"], "input": {
            "type": "object", "properties": {"id": {"type": "integer"}}}},
                       {"name": "echo", "idempotent": True}, {"name": "flood", "streaming": True})

    def ask(self, headers, answer=None, path="/v1/call/thing/who", **script):
        if answer is not None:
            script["answer"] = answer
        return self.mesh.http("POST", path, script, headers)

    # ---- Prefer ----

    def test_respond_async(self):
        for path, more in (("/v1/call/thing/who", {}), ("/v1/things/5", {"id": 5})):
            reply = self.ask(ASYNC, RUNNING, path)
            self.assertEqual(reply.status, 202, reply)
            self.assertEqual(reply.headers["Location"], "/v1/jobs/7")
            self.assertEqual(reply.headers["Preference-Applied"], "respond-async")
            self.assertEqual(reply.headers["Retry-After"], "1")
            self.assertNotIn("Idempotent-Replayed", reply.headers)
            job = reply.json
            asked = job.pop("input")
            self.assertEqual(job, RUNNING)
            self.assertEqual(asked.pop("meta")["request_id"], reply.headers["X-Request-Id"])
            self.assertEqual(asked, {"service": "thing", "method": "who", "input": dict(answer=RUNNING, **more)})

    def test_wait(self):
        for prefer, wait_ms, applied in (("respond-async, wait=5", 2000, "respond-async, wait=5"),
                                         ("wait=1; x=y, Respond-Async", 1000, "respond-async, wait=1"),
                                         ("respond-async, wait=100000", 2000, "respond-async, wait=600"),
                                         ("respond-async, wait=0", None, "respond-async, wait=0"),
                                         ("respond-async, wait=soon", None, "respond-async")):
            gone = [5, "no such job"]  # ends the waiting

            def asked():  # of the wait, what is left by then
                reply = self.ask({"Prefer": prefer}, RUNNING, later=[gone])  # noqa: B023
                self.assertEqual((reply.status, reply.headers["Preference-Applied"]), (202, applied), prefer)  # noqa: B023
                wait = reply.json["input"].get("wait_ms")
                return wait == wait_ms or wait_ms and wait and wait_ms - 500 < wait <= wait_ms  # noqa: B023
            eventually(asked, what=prefer)

    def test_a_long_wait_goes_on_as_get(self):
        wait = {"Prefer": "respond-async, wait=60"}
        again = [[14, "a replica left"], RUNNING, [8, "busy"], dict(DONE, result={"n": 2})]
        reply = self.ask(wait, RUNNING, later=again)
        self.assertEqual((reply.status, reply.json), (201, {"n": 2}), reply)
        reply = self.ask(self.key("long"), RUNNING, later=again)
        self.assertEqual((reply.status, reply.json), (201, {"n": 2}), reply)
        self.assertNotIn("Idempotent-Replayed", reply.headers)
        reply = self.ask(wait, dict(RUNNING, replayed=True), later=again)
        self.assertEqual((reply.status, reply.headers["Preference-Applied"]), (201, "respond-async, wait=60"))
        # Time passes: what was seen last is the answer.
        def passes():
            reply = self.ask({"Prefer": "respond-async, wait=1"}, RUNNING, later=[dict(RUNNING, state="scheduled")])
            self.assertEqual((reply.status, reply.json["state"]), (202, "scheduled"))
            self.assertEqual(reply.json["progress"], {"asked": {"id": "7", "wait": 1}})
            return True
        eventually(passes, what="there is time to look once more")

    def test_an_enqueue_without_an_end_is_made_again_where_a_key_protects_it(self):
        lost = [14, "the replica died", "maybe", "broker"]
        self.assertEqual(self.ask(self.key("lost"), dict(DONE, replayed=True), fails=[lost]).status, 200)
        lost[1] = "another died"
        reply = self.ask(self.key("lost"), dict(RUNNING, replayed=True), fails=[lost], later=[DONE])
        self.assertEqual(reply.status, 201, reply)  # no conflict: it is our own
        self.assertNotIn("Idempotent-Replayed", reply.headers)
        lost[1] = "a third died"
        self.problem(self.ask({"Prefer": "respond-async, wait=5"}, DONE, fails=[lost]), 503, "UNAVAILABLE")

    def test_a_caller_that_hangs_up_ends_the_waiting(self):
        hangups = self.gateway.metric("weft_gateway_hangups_total")
        connection = self.mesh.connection()
        body = json.dumps({"answer": RUNNING})
        connection.request("POST", "/v1/call/thing/who", body, dict(self.key("left"), **{"Content-Type": "application/json"}))
        eventually(lambda: self.mesh.outstanding("jobs") == 1, what="it is waited for")
        connection.close()
        eventually(lambda: self.mesh.outstanding("jobs") == 0, what="the wait has ended")
        eventually(lambda: self.gateway.metric("weft_gateway_hangups_total") == hangups + 1, what="it is counted")

    def test_two_headers(self):
        connection = self.mesh.connection()
        self.addCleanup(connection.close)
        body = b'{"answer": {"id": "7", "done": false}, "later": [[5, "gone"]]}'
        connection.putrequest("POST", "/v1/call/thing/who")
        for name, value in (("Prefer", "handling=lenient"), ("Content-Type", "application/json"), ("prefer", "wait=3"),
                            ("PREFER", "respond-async"), ("Content-Length", str(len(body)))):
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers["Preference-Applied"]), (202, "respond-async, wait=3"))
        answer.read()

    def test_other_preferences_change_nothing(self):
        for prefer in ("wait=5", "return=minimal", "respond-async=yes", "x; respond-async", ""):
            reply = self.ask({"Prefer": prefer}, RUNNING)
            self.assertEqual(reply.status, 200, prefer)
            self.assertNotIn("Preference-Applied", reply.headers)
            self.assertEqual(reply.json["input"], {"answer": RUNNING})

    def test_done_in_time_is_answered_as_a_direct_call_would_be(self):
        wait = {"Prefer": "respond-async, wait=5"}
        reply = self.ask(wait, DONE)
        self.assertEqual((reply.status, reply.json), (200, {"n": 1}))
        self.assertEqual(reply.headers["Preference-Applied"], "respond-async, wait=5")
        self.assertNotIn("Location", reply.headers)
        self.assertNotIn("Retry-After", reply.headers)
        meta = {"result.http.status": "201", "result.http.location": "/v1/things/9", "http.status": "200",
                "http.location": "/v1/jobs/7"}
        reply = self.ask(wait, DONE, meta=meta)
        self.assertEqual((reply.status, reply.headers["Location"], reply.json), (201, "/v1/things/9", {"n": 1}))
        reply = self.ask(wait, DONE, meta={"result.http.status": "204"})
        self.assertEqual((reply.status, reply.body), (204, b""))
        reply = self.ask(wait, DONE, meta={"result.http.status": "302", "result.http.location": "/x\r\nA: b"})
        self.assertEqual((reply.status, reply.headers.get("Location")), (200, None))
        # Without wait the job itself is the answer, done or not.
        self.assertEqual(self.ask(ASYNC, DONE).status, 202)

    def test_a_failed_job_is_the_problem_of_a_direct_call(self):
        wait = {"Prefer": "respond-async, wait=5"}

        def failed(code, **error):
            return dict(RUNNING, done=True, state="failed", error=dict(code=code, message="so it is", **error))
        reply = self.ask(wait, failed("NOT_FOUND"))
        problem = self.problem(reply, 404, "NOT_FOUND")
        self.assertEqual((problem["detail"], problem["hop"], problem["executed"]), ("so it is", "handler", "maybe"))
        errors = [{"pointer": "/a", "message": "is required"}]
        problem = self.problem(self.ask(wait, failed("INVALID_ARGUMENT", details={"errors": errors})), 422)
        self.assertEqual(problem["errors"], errors)
        problem = self.problem(self.ask(wait, failed("ABORTED", details={"x": 1})), 409, "ABORTED")
        self.assertEqual(problem["details"], {"x": 1})
        self.problem(self.ask(wait, failed("RESOURCE_EXHAUSTED")), 429)
        self.problem(self.ask(wait, failed("RESOURCE_EXHAUSTED", hop="broker")), 503)
        self.problem(self.ask(wait, failed("CANCELLED")), 499, "CANCELLED")
        self.problem(self.ask(wait, failed("NO_SUCH_CODE")), 500, "UNKNOWN")

    def test_the_timeout_is_that_of_an_attempt(self):
        reply = self.ask(dict(ASYNC, **{"X-Request-Timeout-Ms": "1234"}), RUNNING)
        self.assertEqual(reply.json["input"]["timeout_ms"], 1234)
        self.problem(self.ask(dict(ASYNC, **{"X-Request-Timeout-Ms": "x"}), RUNNING), 400)

    def test_input_is_checked_before_a_job_is_made(self):
        self.problem(self.mesh.http("POST", "/v1/call/thing/who", {"id": "x"}, ASYNC), 422)
        self.problem(self.mesh.http("POST", "/v1/call/thing/who", "{", dict(ASYNC, **{
            "Content-Type": "application/json"})), 400)
        self.problem(self.mesh.http("POST", "/v1/things/x", {}, ASYNC), 400)
        self.problem(self.mesh.http("POST", "/v1/call/thing/none", {}, ASYNC), 404)

    def test_streams_and_idempotent_methods_can_be_asked_for(self):
        self.assertEqual(self.ask(ASYNC, RUNNING, "/v1/call/thing/flood").status, 202)
        self.assertEqual(self.ask(ASYNC, RUNNING, "/v1/call/thing/echo").status, 202)
        reply = self.ask({"Prefer": "respond-async, wait=1"}, DONE, "/v1/call/thing/flood")
        self.assertEqual((reply.status, reply.json), (200, {"n": 1}))

    def test_jobs_that_are_none(self):
        for answer in ("x", {}, {"id": 7}, {"id": "x"}, {"id": ""}, {"id": "1" * 24}, {"id": "7\r\nA: b"}):
            self.problem(self.ask(ASYNC, answer), 500, "INTERNAL", "no-job")

    def test_refusals_of_the_jobs_service(self):
        problem = self.problem(self.ask(ASYNC, fail=[14, "the database is down"]), 503, "UNAVAILABLE")
        self.assertEqual(problem["detail"], "the database is down")
        reply = self.ask(ASYNC, fail=[14, "the database is down", "no"])
        self.assertEqual((reply.headers["Retry-After"], reply.json["executed"]), ("1", "no"))
        self.problem(self.ask(ASYNC, fail=[5, "no such method"]), 404)
        self.problem(self.ask(ASYNC, fail=[9, "so", "maybe", "handler", {"reason": "other"}]), 412)

    def test_pointers_are_those_of_the_call(self):
        errors = [{"pointer": "/input/a", "message": "is required"}, {"pointer": "/input", "message": "x"},
                  {"pointer": "/method", "message": "y"}]
        details = {"errors": errors}
        problem = self.problem(self.ask(ASYNC, fail=[3, "bad", "no", "handler", details]), 422, kind="schema-violation")
        self.assertEqual([error["pointer"] for error in problem["errors"]], ["/a", "", "/method"])
        problem = self.problem(self.mesh.http("POST", "/v1/jobs", {"input": {"fail": [3, "bad", "no", "handler", details]}}),
                               422)
        self.assertEqual(problem["errors"], errors)

    def test_a_service_that_only_the_jobs_service_knows(self):
        reply = self.ask(dict(ASYNC, **{"X-Request-Timeout-Ms": "9"}), RUNNING, "/v1/call/gone/some-method?n=7")
        self.assertEqual(reply.status, 202, reply)
        asked = reply.json["input"]
        self.assertEqual((asked["service"], asked["method"], asked["timeout_ms"], asked["input"]["n"]),
                         ("gone", "some-method", 9, "7"))
        self.problem(self.ask(ASYNC, path="/v1/call/gone/m", fail=[5, "no such service", "no"]), 404, "NOT_FOUND")
        for path, headers in (("/v1/call/gone/m", {}), ("/v1/call/gone/m", self.key()), ("/v1/call/Gone/m", ASYNC),
                              ("/v1/call/gone/M", ASYNC), ("/v1/call/thing/none", ASYNC), ("/v1/gone", ASYNC)):
            self.problem(self.ask(headers, RUNNING, path), 404, kind="unknown-route")

    # ---- Idempotency-Key ----

    def key(self, key="k1", **more):
        return dict({"Idempotency-Key": key}, **more)

    def test_a_key_makes_a_job_that_is_waited_for(self):
        reply = self.ask(self.key(), DONE, meta={"result.http.status": "201", "result.http.location": "/v1/things/9"})
        self.assertEqual((reply.status, reply.headers["Location"], reply.json), (201, "/v1/things/9", {"n": 1}))
        self.assertNotIn("Idempotent-Replayed", reply.headers)
        self.assertNotIn("Preference-Applied", reply.headers)
        reply = self.ask(self.key(), dict(DONE, replayed=True), meta={"result.http.status": "201"})
        self.assertEqual((reply.status, reply.headers["Idempotent-Replayed"]), (201, "true"))
        error = {"code": "ALREADY_EXISTS", "message": "taken"}
        reply = self.ask(self.key(), dict(RUNNING, done=True, error=error, replayed=True))
        self.problem(reply, 409, "ALREADY_EXISTS", "already-exists")
        self.assertEqual(reply.headers["Idempotent-Replayed"], "true")

    def test_what_the_jobs_service_is_asked(self):
        reply = self.ask(self.key(**ASYNC), RUNNING, "/v1/things/5")
        asked = reply.json["input"]
        self.assertEqual(asked["idempotency"], {"scope": "thing.who", "key": "k1"})
        self.assertEqual(asked["meta"]["idempotency.key"], "k1")
        self.assertNotIn("wait_ms", asked)
        reply = self.ask(self.key('"k1"', **ASYNC), RUNNING)
        self.assertEqual(reply.json["input"]["idempotency"], {"scope": "thing.who", "key": "k1"})

    def test_the_key_is_at_work(self):
        reply = self.ask(self.key(), dict(RUNNING, replayed=True))
        self.problem(reply, 409, "ABORTED", "idempotency-in-progress")
        self.assertEqual((reply.headers["Retry-After"], reply.headers["Location"]), ("1", "/v1/jobs/7"))
        self.assertNotIn("Idempotent-Replayed", reply.headers)
        # Who asks asynchronously is given the job, as the first time.
        reply = self.ask(self.key(**ASYNC), dict(RUNNING, replayed=True))
        self.assertEqual((reply.status, reply.headers["Idempotent-Replayed"]), (202, "true"))

    def test_the_key_was_used_with_another_input(self):
        mismatch = [9, "the key belongs to another input", "maybe", "handler", {"reason": "idempotency-mismatch"}]
        for headers in (self.key(), self.key(**ASYNC)):
            problem = self.problem(self.ask(headers, fail=mismatch), 422, "FAILED_PRECONDITION", "idempotency-mismatch")
            self.assertEqual(problem["executed"], "no")
        self.problem(self.mesh.http("POST", "/v1/jobs", {"input": {"fail": mismatch}}, self.key()), 422,
                     kind="idempotency-mismatch")

    def test_the_callers_time_passes(self):
        reply = self.ask(self.key(**{"X-Request-Timeout-Ms": "50"}), RUNNING)
        problem = self.problem(reply, 504, "DEADLINE_EXCEEDED", "still-running")
        self.assertEqual((reply.headers["Location"], problem["executed"]), ("/v1/jobs/7", "maybe"))

    def test_idempotent_methods_need_no_key(self):
        reply = self.ask(self.key(), RUNNING, "/v1/call/thing/echo")
        self.assertEqual((reply.status, reply.json), (200, {"answer": RUNNING}))

    def test_streams_cannot_have_one(self):
        for accept in ("text/event-stream", "application/x-ndjson", "application/json"):
            problem = self.problem(self.ask(self.key(Accept=accept), RUNNING, "/v1/call/thing/flood"), 400,
                                   "INVALID_ARGUMENT", "idempotency-key")
            self.assertIn("respond-async", problem["detail"])

    def test_keys_that_are_none(self):
        for bad in ("", "x" * 256, "\xe9", '"', '""', '"a', '"a"b"', '"a\\"b"', '"a";b'):
            self.problem(self.ask(self.key(bad), RUNNING), 400, "INVALID_ARGUMENT", "idempotency-key")
        self.assertEqual(self.ask(self.key("x" * 255, **ASYNC), RUNNING).status, 202)

    def test_a_key_on_enqueue_itself(self):
        body = {"service": "thing", "method": "who", "input": {"answer": dict(RUNNING, replayed=True)}}
        reply = self.mesh.http("POST", "/v1/jobs", body, self.key())
        self.assertEqual(reply.json["input"]["idempotency"], {"scope": "jobs.enqueue", "key": "k1"})
        self.assertEqual((reply.json["input"]["method"], reply.headers["Idempotent-Replayed"]), ("who", "true"))
        self.problem(self.mesh.http("POST", "/v1/jobs", dict(body, idempotency={}), self.key()), 400)
        self.assertNotIn("Idempotent-Replayed", self.mesh.http("POST", "/v1/jobs", body).headers)

    def test_metrics_and_the_access_log(self):
        label = 'by="prefer",outcome="accepted"'
        before = self.gateway.metric("weft_gateway_queued_total", label)
        reply = self.ask(ASYNC, RUNNING)
        self.assertEqual(self.gateway.metric("weft_gateway_queued_total", label), before + 1)
        mark = reply.headers["X-Request-Id"]

        def logged():  # behind the answer
            return [line for line in self.gateway.text().splitlines() if mark in line and '"request"' in line]
        lines = eventually(logged, what="the request is in the log")
        self.assertIn('"job": "7"', lines[-1])
        self.assertIn('"service": "thing"', lines[-1])


class Leaving(MeshTest):
    def test_a_gateway_that_leaves_answers_who_waits(self):
        self.mesh.fake("thing", {"name": "who"})
        self.mesh.fake("jobs", "enqueue", {"name": "get", "idempotent": True, "http": ["GET /v1/jobs/{id}"], "input": {
            "type": "object", "properties": {"id": {"type": "string"}, "wait": {"type": "integer"}}}})
        replies, polled = [], []
        threading.Thread(target=lambda: polled.append(self.mesh.http("GET", "/v1/jobs/7?wait=60"))).start()
        for headers in ({"Prefer": "respond-async, wait=600"}, {"Idempotency-Key": "k"}):
            def ask(headers=headers):
                replies.append(self.mesh.http("POST", "/v1/call/thing/who", {"answer": RUNNING}, headers))
            threading.Thread(target=ask).start()
        eventually(lambda: self.mesh.outstanding("jobs") == 3, what="all wait")
        self.assertEqual(self.gateway.stop(), 0)
        eventually(lambda: len(replies) == 2 and polled, what="all are answered")
        self.assertEqual((polled[0].status, polled[0].json), (201, {"id": "7"}))
        self.assertEqual({reply.status for reply in replies}, {202, 504})
        self.assertEqual({reply.headers["Location"] for reply in replies}, {"/v1/jobs/7"})


class Crowded(MeshTest):
    def begin(self):
        self.mesh = Mesh()
        self.broker = self.mesh.start("broker")
        self.gateway = self.mesh.start("gateway", WEFT_HTTP_THREADS="8")

    def test_waiting_leaves_threads_for_others(self):
        self.mesh.fake("thing", {"name": "who"})
        self.mesh.fake("jobs", "enqueue", {"name": "get", "idempotent": True, "http": ["GET /v1/jobs/{id}"], "input": {
            "type": "object", "properties": {"id": {"type": "string"}, "wait": {"type": "integer"}}}})
        wait = {"Prefer": "respond-async, wait=600"}

        def ask():
            return self.mesh.http("POST", "/v1/call/thing/who", {"answer": RUNNING}, wait)
        waiting = []
        for _ in range(4):
            threading.Thread(target=lambda: waiting.append(ask())).start()
        eventually(lambda: self.mesh.outstanding("jobs") == 4, what="four wait")
        reply = ask()
        self.assertEqual((reply.status, reply.headers["Preference-Applied"]), (202, "respond-async"))
        self.assertNotIn("wait_ms", reply.json["input"])
        self.assertEqual(self.mesh.http("GET", "/v1/jobs/7?wait=60").json, {"id": "7"})
        self.assertEqual(self.gateway.metric("weft_gateway_unwaited_total"), 2)
        self.assertEqual(self.gateway.stop(), 0)
        eventually(lambda: len(waiting) == 4, what="they are answered")


class WithoutJobs(MeshTest):
    def test_nothing_is_silently_unprotected(self):
        self.mesh.fake("thing", {"name": "who"}, {"name": "echo", "idempotent": True})
        for headers in (ASYNC, {"Idempotency-Key": "k"}):
            reply = self.mesh.http("POST", "/v1/call/thing/who", {}, headers)
            problem = self.problem(reply, 503, "UNAVAILABLE", "no-jobs")
            self.assertEqual((problem["executed"], reply.headers["Retry-After"]), ("no", "1"))
            self.assertIn("jobs service", problem["detail"])
        self.assertEqual(self.mesh.http("POST", "/v1/call/thing/echo", {}, {"Idempotency-Key": "k"}).status, 200)
        self.problem(self.mesh.http("POST", "/v1/jobs", {}), 404)
        self.problem(self.mesh.http("POST", "/v1/call/gone/m", {}, ASYNC), 404)

    def test_a_jobs_service_that_left(self):
        self.mesh.fake("thing", {"name": "who"})
        jobs = self.mesh.fake("jobs", "enqueue")
        self.assertEqual(self.mesh.http("POST", "/v1/call/thing/who", {"answer": RUNNING}, ASYNC).status, 202)
        jobs.stop()
        eventually(lambda: self.mesh.http("POST", "/v1/call/thing/who", {"answer": RUNNING}, ASYNC).status == 503,
                   what="the gateway refuses")
        self.problem(self.mesh.http("POST", "/v1/call/thing/who", {"answer": RUNNING}, ASYNC), 503, "UNAVAILABLE")

    def test_a_job_can_be_made_for_a_service_without_workers(self):
        thing = self.mesh.fake("thing", {"name": "who"})
        self.mesh.fake("jobs", "enqueue")
        thing.stop()
        eventually(lambda: self.mesh.service("thing").get("workers", 0) == 0, what="thing left")
        self.assertEqual(self.mesh.http("POST", "/v1/call/thing/who", {"answer": RUNNING}, ASYNC).status, 202)


if __name__ == "__main__":
    unittest.main()
