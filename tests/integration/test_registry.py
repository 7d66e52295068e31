"""test_registry - handlers come, go, change and disagree; the gateway follows without a restart"""
import time
import unittest

from mesh import MeshTest, eventually


class Registry(MeshTest):
    def test_new_handler_is_served_within_a_second_of_its_registration(self):
        """The first of some new ones: a machine that stops for a moment proves nothing."""
        self.problem(self.mesh.call("echo", "echo"), 404, "NOT_FOUND")
        self.mesh.start("echo")  # returns when the handler is ready: its registration was accepted
        took = []
        for name in ("echo", "two", "three", "four", "five"):
            if name != "echo":
                self.mesh.fake(name, "echo", registered=False)
                eventually(lambda: self.mesh.service(name), what="the broker has accepted it")  # noqa: B023
            begun = time.monotonic()
            eventually(lambda: self.mesh.call(name, "echo", 1).status == 200, what="%s answers" % name)  # noqa: B023
            took.append(time.monotonic() - begun)
            if took[-1] < 1:
                break
        self.assertLess(took[-1], 1, took)

    def test_handler_that_stopped_gives_503_then_404(self):
        echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        self.assertEqual(echo.stop(), 0)
        problem = self.problem(self.mesh.call("echo", "echo", 1), 503, "UNAVAILABLE")
        self.assertEqual(problem["executed"], "no")
        eventually(lambda: self.mesh.http("GET", "/v1/services/echo").json.get("state") == "no_workers", what="seen idle")
        self.assertEqual(self.mesh.http("GET", "/v1/echo/info").status, 503)
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 404, what="forgotten")
        self.problem(self.mesh.http("GET", "/v1/echo/info"), 404, "NOT_FOUND")
        self.assertEqual(self.mesh.http("GET", "/v1/services").json["services"], [])
        self.mesh.start("echo")
        eventually(lambda: self.mesh.http("GET", "/v1/echo/info").status == 200, what="back again")

    def test_requests_wait_for_a_handler_that_is_replaced(self):
        echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        echo.kill()
        self.mesh.start("echo")
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)

    def test_two_workers_that_disagree_the_higher_version_describes(self):
        route = {"name": "who", "http": ["GET /v1/old"]}
        self.mesh.fake("thing", route, version="1.0.0")
        eventually(lambda: self.mesh.http("GET", "/v1/old").status == 200, what="first route")
        newer = {"name": "who", "http": ["GET /v1/new"]}
        self.mesh.fake("thing", newer, "extra", version="1.1.0")
        eventually(lambda: self.mesh.http("GET", "/v1/services/thing").json["version"] == "1.1.0", what="newer version")
        eventually(lambda: self.mesh.http("GET", "/v1/new").status == 200, what="second route")
        self.problem(self.mesh.http("GET", "/v1/old"), 404)
        for _ in range(10):  # only the newer worker has this method
            self.assertEqual(self.mesh.call("thing", "extra").json["version"], "1.1.0")
        self.mesh.fake("thing", route, version="1.0.5")  # a late old one changes nothing
        eventually(lambda: self.mesh.http("GET", "/v1/services/thing").json["workers"] == 3, what="three workers")
        self.assertEqual(self.mesh.http("GET", "/v1/services/thing").json["version"], "1.1.0")
        self.assertFalse(self.mesh.http("GET", "/v1/services/thing").json["conflict"])

    def test_two_workers_that_disagree_at_one_version_are_reported(self):
        self.mesh.fake("thing", {"name": "who", "http": ["GET /v1/one"]})
        eventually(lambda: self.mesh.http("GET", "/v1/one").status == 200, what="first route")
        self.mesh.fake("thing", {"name": "who", "http": ["GET /v1/two"]})
        eventually(lambda: self.mesh.http("GET", "/v1/services/thing").json["conflict"], what="conflict is shown")
        eventually(lambda: self.mesh.http("GET", "/v1/two").status == 200, what="the last registration describes")
        self.assertIn('"warning"', [line for line in self.broker.text().splitlines() if "thing" in line][-1])

    def test_descriptor_that_the_broker_refuses(self):
        worker = self.mesh.fake("thing", {"name": "who", "http": ["GET /v1/jobs/x"]}, registered=False)
        self.assertNotEqual(worker.wait(), 0)
        self.assertIn("methods[0].http[0]: path is reserved", worker.text())
        self.problem(self.mesh.call("thing", "who"), 404)

    def test_method_whose_schema_does_not_compile_is_refused_and_the_others_serve(self):
        self.mesh.fake("thing", {"name": "who", "input": {"type": "object", "oneOfThose": 1}}, "echo")
        self.assertEqual(self.mesh.call("thing", "echo", 1).status, 200)
        self.problem(self.mesh.call("thing", "who"), 501)

    def test_two_services_that_want_the_same_route(self):
        self.mesh.fake("first", {"name": "who", "http": ["GET /v1/shared"]})
        eventually(lambda: self.mesh.http("GET", "/v1/shared").status == 200, what="route")
        pid = self.mesh.http("GET", "/v1/shared").json["pid"]
        self.mesh.fake("second", {"name": "who", "http": ["GET /v1/shared"]})
        self.assertEqual({self.mesh.http("GET", "/v1/shared").json["pid"] for _ in range(10)}, {pid})
        self.assertEqual(self.mesh.call("second", "who").status, 200)

    def test_load_is_spread_over_workers(self):
        first = self.mesh.fake("thing", "who")
        second = self.mesh.fake("thing", "who")
        eventually(lambda: self.mesh.http("GET", "/v1/services/thing").json["workers"] == 2, what="two workers")
        seen = [self.mesh.call("thing", "who").json["pid"] for _ in range(20)]
        self.assertEqual(set(seen), {first.pid, second.pid})
        self.assertGreaterEqual(min(seen.count(first.pid), seen.count(second.pid)), 5)


if __name__ == "__main__":
    unittest.main()
