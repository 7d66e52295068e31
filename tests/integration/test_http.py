"""test_http - the HTTP contract: routes, JSON, errors, headers"""
import json
import re
import unittest

from mesh import MeshTest, eventually

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Http(MeshTest):
    SHARED = True  # so each test names its own services

    def begin(self):
        super().begin(self)
        self.echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo").status == 200, what="echo answers")

    # ---- calls ----

    def test_call_gives_the_result_as_json(self):
        reply = self.mesh.call("echo", "echo", {"a": [1, "\u20ac", None, True]})
        self.assertEqual((reply.status, reply.json), (200, {"a": [1, "\u20ac", None, True]}))
        self.assertEqual(reply.headers["Content-Type"].split(";")[0], "application/json")
        self.assertEqual(int(reply.headers["Content-Length"]), len(reply.body))

    def test_call_without_a_body_has_an_empty_object_as_input(self):
        reply = self.mesh.http("POST", "/v1/call/echo/echo")
        self.assertEqual((reply.status, reply.json), (200, {}))

    def test_numbers_are_exact(self):
        texts = ["0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808",
                 "18446744073709551615", "1.0", "0.1", "1e300", "-0.0", "5e-324"]
        reply = self.mesh.http("POST", "/v1/call/echo/echo", "[" + ",".join(texts) + "]",
                               {"Content-Type": "application/json"})
        self.assertEqual(reply.status, 200)
        sent, got = json.loads("[" + ",".join(texts) + "]"), reply.json
        self.assertEqual([(type(x), repr(x)) for x in got], [(type(x), repr(x)) for x in sent])

    def test_bin_and_timestamp_become_text(self):
        self.mesh.fake("binary", "binary")
        reply = self.mesh.call("binary", "binary")
        self.assertEqual(reply.json["bin"], "AP/+")
        self.assertEqual(reply.json["u"], 2 ** 64 - 1)
        self.assertTrue(reply.json["at"].startswith("2023-11-14T22:13:20.5"), reply.json)

    def test_json_that_is_refused(self):
        for body in (b"", b"{", b'{"a":1,"a":2}', b"[1,]", b"NaN", b"01", b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"',
                     b"[1] x", b"1e400", b"[" * 33 + b"]" * 33, b'{"a\\u0000":1}', b"'a'", b"\xef\xbb\xbf1"):
            with self.subTest(body):
                reply = self.mesh.http("POST", "/v1/call/echo/echo", body or b" ", {"Content-Type": "application/json"})
                self.problem(reply, 400, "INVALID_ARGUMENT")

    def test_depth_32_is_allowed(self):
        body = "[" * 32 + "]" * 32
        reply = self.mesh.http("POST", "/v1/call/echo/echo", body, {"Content-Type": "application/json"})
        self.assertEqual((reply.status, reply.body.decode()), (200, body))

    def test_form_type_is_415_and_says_how(self):
        reply = self.mesh.http("POST", "/v1/call/echo/echo", '{"title":"a"}',
                               {"Content-Type": "application/x-www-form-urlencoded"})
        problem = self.problem(reply, 415)
        self.assertIn("application/json", problem["detail"])

    def test_types_that_are_json(self):
        for name in ("application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json"):
            self.assertEqual(self.mesh.http("POST", "/v1/call/echo/echo", "1", {"Content-Type": name}).status, 200, name)
        for name in ("text/plain", "application/jsonx", "multipart/form-data"):
            self.problem(self.mesh.http("POST", "/v1/call/echo/echo", "1", {"Content-Type": name}), 415)

    def test_body_of_a_mebibyte_passes_and_a_byte_more_is_413(self):
        text = '"' + "x" * (1024 * 1024 - 2) + '"'
        reply = self.mesh.http("POST", "/v1/call/echo/echo", text, {"Content-Type": "application/json"})
        self.assertEqual((reply.status, len(reply.body)), (200, 1024 * 1024))
        reply = self.mesh.http("POST", "/v1/call/echo/echo", text + " ", {"Content-Type": "application/json"})
        self.problem(reply, 413)

    def test_chunked_body(self):
        connection = self.mesh.connection()
        connection.request("POST", "/v1/call/echo/echo", iter([b'{"a"', b":1}"]), {"Content-Type": "application/json"},
                           encode_chunked=True)
        response = connection.getresponse()
        self.assertEqual((response.status, json.loads(response.read())), (200, {"a": 1}))
        connection.close()

    def test_result_that_is_no_json_is_500(self):
        self.mesh.fake("wrong", "nan", "garbage", "intkeys")
        for method in ("nan", "garbage", "intkeys"):
            problem = self.problem(self.mesh.call("wrong", method), 500, "INTERNAL")
            self.assertEqual(problem["executed"], "maybe")

    def test_result_that_is_too_large_is_500(self):
        self.assertEqual(len(self.mesh.call("echo", "big", {"bytes": 1000000}).json["data"]), 1000000)
        self.problem(self.mesh.call("echo", "big", {"bytes": 4000000}), 500, "INTERNAL")
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)  # and the connection did not suffer

    # ---- errors ----

    def test_codes_of_a_handler(self):
        wanted = {"CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404,
                  "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "RESOURCE_EXHAUSTED": 429,
                  "FAILED_PRECONDITION": 412, "ABORTED": 409, "UNIMPLEMENTED": 501, "INTERNAL": 500,
                  "UNAVAILABLE": 503, "UNAUTHENTICATED": 401}
        for code, status in wanted.items():
            with self.subTest(code):
                reply = self.mesh.call("echo", "fail", {"code": code, "message": "so it is \u20ac"})
                problem = self.problem(reply, status, code)
                self.assertEqual((problem["detail"], problem["executed"]), ("so it is \u20ac", "maybe"))

    def test_schema_violations_are_422_with_pointers(self):
        reply = self.mesh.call("echo", "delay", {"ms": "soon", "more": 1})
        problem = self.problem(reply, 422, "INVALID_ARGUMENT")
        self.assertEqual(problem["executed"], "no")
        pointers = {error["pointer"] for error in problem["errors"]}
        self.assertIn("/ms", pointers)
        self.assertGreaterEqual(len(problem["errors"]), 2)
        for error in problem["errors"]:
            self.assertTrue(error["message"])
        self.problem(self.mesh.call("echo", "delay", {}), 422)

    def test_unknown_routes_are_404(self):
        for method, path in (("POST", "/v1/call/nobody/echo"), ("POST", "/v1/call/echo/nothing"), ("GET", "/"),
                             ("GET", "/v1"), ("GET", "/v1/nothing"), ("POST", "/v1/call/echo"),
                             ("POST", "/v1/call/echo/echo/echo"), ("GET", "/v1/services/nobody"), ("GET", "/etc/passwd")):
            with self.subTest(path):
                self.problem(self.mesh.http(method, path), 404, "NOT_FOUND")

    def test_targets_that_are_malformed_are_no_crash(self):
        for path in ("/v1/call/echo/%2e%2e", "/v1/%00", "/v1/%zz", "/v1/%", "/../../etc/passwd", "//v1//services",
                     "/v1/call/echo/echo%2Fx", "/v1/" + "x" * 5000, "/v1/services?%", "/v1/call/%ff/echo"):
            with self.subTest(path[:40]):
                self.assertIn(self.mesh.http("POST", path).status, (400, 404, 405, 414))

    def test_wrong_verb_is_405_with_allow(self):
        reply = self.mesh.http("GET", "/v1/call/echo/echo")
        self.problem(reply, 405)
        self.assertEqual(reply.headers["Allow"], "POST")
        reply = self.mesh.http("DELETE", "/v1/echo/info")
        self.problem(reply, 405)
        self.assertIn("GET", reply.headers["Allow"])
        self.problem(self.mesh.http("PUT", "/v1/services"), 405)

    def test_head_has_no_body(self):
        reply = self.mesh.http("HEAD", "/v1/services")
        self.assertEqual((reply.status, reply.body), (200, b""))

    def test_deadline_is_504(self):
        def passed():
            reply = self.mesh.call("echo", "delay", {"ms": 60000}, **{"X-Request-Timeout-Ms": "200"})
            return self.problem(reply, 504, "DEADLINE_EXCEEDED")["executed"] == "maybe"
        eventually(passed, what="the deadline passes at the handler")  # not before it got there
        for text in ("0", "-1", "soon", "86400001", "1.5"):
            self.problem(self.mesh.call("echo", "echo", 1, **{"X-Request-Timeout-Ms": text}), 400)

    def test_handler_says_exhausted_is_the_callers_limit(self):
        self.mesh.fake("limited", "exhausted")
        self.problem(self.mesh.call("limited", "exhausted"), 429, "RESOURCE_EXHAUSTED")

    def test_default_deadline_is_that_of_the_method(self):
        self.mesh.fake("patient", {"name": "wait", "timeout_ms": 150})
        self.problem(self.mesh.call("patient", "wait", {"ms": 60000}), 504, "DEADLINE_EXCEEDED")

    # ---- headers ----

    def test_every_response_has_a_request_id(self):
        for method, path in (("GET", "/healthz"), ("GET", "/nothing"), ("POST", "/v1/call/echo/echo"), ("GET", "/metrics")):
            self.assertRegex(self.mesh.http(method, path).headers["X-Request-Id"], r"^[A-Za-z0-9._~:/+=@-]{8,64}$")
        ids = {self.mesh.call("echo", "echo").headers["X-Request-Id"] for _ in range(20)}
        self.assertEqual(len(ids), 20)

    def test_request_id_is_taken_over_and_reaches_the_handler(self):
        reply = self.mesh.call("echo", "info", **{"X-Request-Id": "order-17:a"})
        self.assertEqual(reply.headers["X-Request-Id"], "order-17:a")
        self.assertEqual(reply.json["meta"]["request_id"], "order-17:a")
        for bad in ("x" * 65, "a b", "\u00e9", '"'):
            reply = self.mesh.call("echo", "info", **{"X-Request-Id": bad})
            self.assertNotEqual(reply.headers["X-Request-Id"], bad)
            self.assertEqual(reply.json["meta"]["request_id"], reply.headers["X-Request-Id"])

    def test_traceparent_is_continued(self):
        seen = self.mesh.call("echo", "info", traceparent=TRACE).json["meta"]["traceparent"]
        self.assertTrue(seen.startswith("00-0af7651916cd43dd8448eb211c80319c-"), seen)
        self.assertTrue(seen.endswith("-01"))
        self.assertNotEqual(seen.split("-")[2], "b7ad6b7169203331")
        for bad in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", "junk", "ff" + TRACE[2:], TRACE[:-1]):
            made = self.mesh.call("echo", "info", traceparent=bad).json["meta"]["traceparent"]
            self.assertRegex(made, r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
            self.assertNotIn("0" * 32, made)

    def test_client_cannot_name_its_identity(self):
        meta = self.mesh.call("echo", "info", **{"auth.sub": "root", "X-Auth-Sub": "root", "auth-scopes": "all",
                                                 "X-Tenant": "other"}).json["meta"]
        self.assertEqual((meta["auth.sub"], meta["auth.scopes"], meta["tenant"]), ("", "", ""))

    def test_server_timing_has_gateway_queue_and_handler(self):
        timing = self.mesh.call("echo", "delay", {"ms": 30}).headers["Server-Timing"]
        parts = dict(re.findall(r"(\w+);dur=([0-9.]+)", timing))
        self.assertEqual(set(parts) & {"gw", "queue", "handler"}, {"gw", "queue", "handler"}, timing)
        self.assertGreaterEqual(float(parts["handler"]), 29.0)

    def test_status_and_location_of_a_handler(self):
        self.mesh.fake("maker", "created", "strange", "empty")
        reply = self.mesh.call("maker", "created", {"a": 1})
        self.assertEqual((reply.status, reply.headers["Location"], reply.json), (201, "/v1/things/7", {"a": 1}))
        reply = self.mesh.call("maker", "strange")  # no 2xx, and a Location that would split the head
        self.assertEqual(reply.status, 200)
        self.assertNotIn("Location", reply.headers)
        self.assertNotIn("Set-Cookie", reply.headers)
        reply = self.mesh.call("maker", "empty")
        self.assertEqual((reply.status, reply.body), (204, b""))

    # ---- routes ----

    def test_path_and_query_become_input_by_the_schema(self):
        things = {"name": "find", "http": ["GET /v1/things/{id}", "POST /v1/things/{id}/{kind}"], "input": {
            "type": "object", "additionalProperties": False, "properties": {
                "id": {"type": "integer"}, "kind": {"type": "string"}, "deep": {"type": "boolean"},
                "ratio": {"type": "number"}, "name": {"type": "string"}}}}
        self.mesh.fake("things", things)
        reply = eventually(lambda: self.mesh.http("GET", "/v1/things/7?deep=true&ratio=1.5&name=7%20a%2Bb+c"), what="route")
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.json["input"], {"id": 7, "deep": True, "ratio": 1.5, "name": "7 a+b c"})
        reply = self.mesh.http("POST", "/v1/things/7/12?deep=false", {"name": "x"})
        self.assertEqual(reply.json["input"], {"id": 7, "kind": "12", "deep": False, "name": "x"})
        for path in ("/v1/things/seven", "/v1/things/7?deep=maybe", "/v1/things/7?unknown=1"):
            self.assertIn(self.mesh.http("GET", path).status, (400, 422), path)
        self.assertIn(self.mesh.http("GET", "/v1/things/7?id=8").status, (400, 422))  # said twice
        self.problem(self.mesh.http("PATCH", "/v1/things/7"), 405)
        self.problem(self.mesh.http("GET", "/v1/things"), 404)

    def test_services_lists_what_is_registered(self):
        services = {service["name"]: service for service in self.mesh.http("GET", "/v1/services").json["services"]}
        self.assertEqual((services["echo"]["state"], services["echo"]["workers"]), ("serving", 1))
        one = self.mesh.http("GET", "/v1/services/echo").json
        self.assertEqual(one["name"], "echo")
        self.assertIn("delay", [method["name"] for method in one["methods"]])

    def test_health_ready_metrics(self):
        self.assertEqual(self.mesh.http("GET", "/healthz").status, 200)
        self.assertEqual(self.mesh.http("GET", "/readyz").status, 200)
        self.mesh.call("echo", "echo", 1)
        text = self.mesh.http("GET", "/metrics").body.decode()
        self.assertRegex(text, r'(?m)^weft_\w+_bucket\{.*le="\+Inf"\} [0-9]+$')
        self.assertRegex(text, r'(?m)^# TYPE weft_\w+ histogram$')

    def test_keep_alive_serves_many_requests_on_one_connection(self):
        connection = self.mesh.connection()
        for n in range(50):
            reply = self.mesh.http("POST", "/v1/call/echo/echo", n + 1, connection=connection)
            self.assertEqual(reply.json, n + 1)
        connection.close()


if __name__ == "__main__":
    unittest.main()
