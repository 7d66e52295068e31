"""test_failure - processes that die, leave, come back, or cannot start"""
import signal
import socket
import subprocess
import time
import unittest

from mesh import PATIENCE, Database, Load, Mesh, MeshTest, eventually, free_port, program


def echo_once(mesh):
    return lambda connection: mesh.http("POST", "/v1/call/echo/echo", {"a": 1}, connection=connection)


class Broker(MeshTest):
    DRAIN_MS = 60000

    def test_killed_under_load_requests_succeed_within_2_s_of_its_restart(self):
        """The best of some restarts: a machine that stops for a moment proves nothing."""
        echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        load = Load(self.mesh, echo_once(self.mesh))
        took = []
        for _ in range(5):
            begun_at = time.monotonic()
            eventually(lambda: load.counts(begun_at).get(200, 0) > 100, what="load runs")  # noqa: B023
            self.broker.kill()
            eventually(lambda: self.gateway.get("/readyz").status == 503, what="the loss is seen")
            self.broker = self.mesh.start("broker")
            back_at = time.monotonic()
            eventually(lambda: load.counts(back_at).get(200, 0) > 0, what="requests succeed again")  # noqa: B023
            settled_at = time.monotonic()
            eventually(lambda: load.counts(settled_at).get(200, 0) > 200, what="load runs on")  # noqa: B023
            took.append(max([settled_at] + [at for at, outcome in list(load.results) if at >= back_at and outcome != 200])
                        - back_at)  # until the last that failed
            if took[-1] < 2 * PATIENCE:
                break
        counts = load.stop()
        self.assertEqual(set(counts) - {200, 503, 504}, set(), counts)
        self.assertLess(took[-1], 2 * PATIENCE, took)
        self.assertTrue(self.gateway.alive() and echo.alive())

    def test_gateway_without_broker_is_503_and_not_ready(self):
        echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        self.broker.kill()
        eventually(lambda: self.mesh.http("GET", "/readyz").status == 503, what="the gateway is not ready")
        self.assertEqual(self.mesh.http("GET", "/healthz").status, 200)
        problem = self.problem(self.mesh.call("echo", "echo", 1), 503, "UNAVAILABLE")
        self.assertEqual(problem["executed"], "no")
        eventually(lambda: not echo.ready(), what="echo is not ready")
        self.assertEqual(echo.get("/healthz").status, 200)
        self.broker = self.mesh.start("broker")
        eventually(lambda: self.mesh.http("GET", "/readyz").status == 200, what="the gateway is ready")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")

    def test_that_leaves_abandons_nothing(self):
        self.mesh.fake("thing", "gate")
        path = self.mesh.folder / "gate"
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/thing/gate", {"path": str(path)},
                                                                 connection=connection), threads=4, once=True)
        eventually(lambda: self.mesh.outstanding("thing") == 4, what="four requests are held")
        self.broker.signal(signal.SIGTERM)
        eventually(lambda: not self.broker.ready(), what="it drains")
        path.touch()
        self.assertEqual(load.stop(), {200: 4})
        self.assertEqual(self.broker.wait(), 0)



class TwoBrokers(MeshTest):
    PROGRAMS = ()

    def setUp(self):
        super().setUp()
        self.addresses = [(self.mesh.front, self.mesh.back),
                          ("tcp://127.0.0.1:%d" % free_port(), "tcp://127.0.0.1:%d" % free_port())]
        self.brokers = [self.mesh.start("broker", WEFT_FRONTEND=front, WEFT_BACKEND=back)
                        for front, back in self.addresses]
        self.gateway = self.mesh.start("gateway", WEFT_BROKERS=",".join(front for front, _ in self.addresses))
        self.echo = self.mesh.start("echo", WEFT_WORKER_BROKERS=",".join(back for _, back in self.addresses))
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        eventually(lambda: all(broker.metric("weft_broker_workers") == 1 for broker in self.brokers),
                   what="both know the worker")

    def test_one_killed_idempotent_requests_do_not_fail(self):
        load = Load(self.mesh, echo_once(self.mesh))
        eventually(lambda: load.counts().get(200, 0) > 200, what="load runs")
        self.brokers[0].kill()
        killed_at = time.monotonic()
        eventually(lambda: load.counts(killed_at).get(200, 0) > 500, what="load runs on")
        counts = load.stop()
        self.assertEqual(set(counts), {200}, counts)

    def test_one_leaves_no_request_fails(self):
        load = Load(self.mesh, echo_once(self.mesh))
        eventually(lambda: load.counts().get(200, 0) > 200, what="load runs")
        self.assertEqual(self.brokers[0].stop(), 0)
        left_at = time.monotonic()
        eventually(lambda: load.counts(left_at).get(200, 0) > 300, what="load runs on")
        counts = load.stop()
        self.assertEqual(set(counts), {200}, counts)


class Handler(MeshTest):
    DRAIN_MS = 60000

    def drained_under_load(self, number):
        first = self.mesh.start("echo")
        second = self.mesh.start("echo")
        eventually(lambda: self.mesh.http("GET", "/v1/services/echo").json["workers"] == 2, what="two handlers")
        load = Load(self.mesh, echo_once(self.mesh))
        eventually(lambda: load.counts().get(200, 0) > 200, what="load runs")
        first.signal(number)
        self.assertEqual(first.wait(), 0)
        left_at = time.monotonic()
        eventually(lambda: load.counts(left_at).get(200, 0) > 200, what="load runs on")
        third = self.mesh.start("echo")
        second.signal(number)
        self.assertEqual(second.wait(), 0)
        left_at = time.monotonic()
        eventually(lambda: load.counts(left_at).get(200, 0) > 200, what="load runs on")
        counts = load.stop()
        self.assertEqual(set(counts), {200}, counts)
        self.assertTrue(third.alive())

    def test_sigterm_under_load_fails_no_request(self):
        self.drained_under_load(signal.SIGTERM)

    def test_sigint_under_load_fails_no_request(self):
        self.drained_under_load(signal.SIGINT)

    def test_sigterm_finishes_what_is_held(self):
        echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/echo/delay", {"ms": 3000},
                                                                 connection=connection), threads=4, once=True)
        eventually(lambda: self.mesh.outstanding("echo") == 4, what="four are held")
        self.assertEqual(echo.stop(), 0)
        self.assertEqual(load.stop(), {200: 4})

    def test_second_signal_ends_at_once(self):
        echo = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/echo/delay", {"ms": 60000},
                                                                 {"X-Request-Timeout-Ms": "90000"}, connection), threads=1,
                    once=True)
        eventually(lambda: self.mesh.outstanding("echo") == 1, what="it holds a request")
        echo.signal(signal.SIGTERM)
        eventually(lambda: not echo.ready(), what="it drains")
        echo.signal(signal.SIGTERM)
        self.assertNotEqual(echo.wait(), 0)  # it would have drained for a minute
        self.assertEqual(load.stop(), {503: 1})  # or retried, were there another

    def test_crash_while_it_holds_requests(self):
        worker = self.mesh.fake("thing", "die", {"name": "wait", "idempotent": True})
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/thing/wait", {"ms": 60000},
                                                                 {"X-Request-Timeout-Ms": "90000"}, connection), threads=3,
                    once=True)
        eventually(lambda: self.mesh.outstanding("thing") == 3, what="three are held")
        problem = self.problem(self.mesh.call("thing", "die"), 503, "UNAVAILABLE")
        self.assertEqual(problem["executed"], "maybe")
        self.assertEqual(worker.wait(), 9)
        self.assertEqual(load.stop(), {503: 3})  # nobody else is there to take them

    def test_crash_of_a_handler_idempotent_requests_go_to_another(self):
        first = self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/echo/delay", {"ms": 3000},
                                                                 connection=connection), threads=4, once=True)
        eventually(lambda: self.mesh.outstanding("echo") == 4, what="four are held")
        self.mesh.start("echo")
        first.kill()
        self.assertEqual(load.stop(), {200: 4})



class Overload(MeshTest):
    PROGRAMS = ()

    def test_full_queue_is_503_with_retry_after(self):
        self.mesh.start("broker", WEFT_QUEUE_MAX="2")
        self.mesh.start("gateway")
        self.mesh.fake("thing", "gate", capacity=1)
        path = self.mesh.folder / "gate"
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/thing/gate", {"path": str(path)},
                                                                 connection=connection), threads=3, once=True)
        eventually(lambda: self.mesh.service("thing").get("queued") == 2, what="one runs, two wait: the queue is full")
        reply = self.mesh.call("thing", "gate", {"path": str(path)})
        problem = self.problem(reply, 503, "RESOURCE_EXHAUSTED")
        self.assertEqual(problem["executed"], "no")
        self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
        path.touch()
        self.assertEqual(load.stop(), {200: 3})

    def test_limit_of_a_service_lets_the_rest_wait(self):
        self.mesh.start("broker", WEFT_SERVICE_LIMITS="other=9,thing=1")
        self.mesh.start("gateway")
        self.mesh.fake("thing", "gate", capacity=8)
        path = self.mesh.folder / "gate"
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/thing/gate", {"path": str(path)},
                                                                 connection=connection), threads=3, once=True)
        eventually(lambda: self.mesh.service("thing").get("queued") == 2, what="two wait, of eight that might run")
        service = self.mesh.service("thing")
        self.assertEqual((service["limit"], service["outstanding"], service["refused"]), (1, 1, 0))
        path.touch()
        self.assertEqual(load.stop(), {200: 3})

    def test_malformed_limits_end_the_broker_at_once(self):
        done = subprocess.run([program("broker"), "--service-limits", "thing=0"], capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, 'weft-broker: WEFT_SERVICE_LIMITS: "thing=0" needs a number of 1 to 1000000\n')


class Gateway(MeshTest):
    DRAIN_MS = 60000

    def test_sigterm_under_load_finishes_what_it_has(self):
        self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/echo/delay", {"ms": 30},
                                                                 connection=connection))
        eventually(lambda: load.counts().get(200, 0) > 50, what="load runs")
        self.assertEqual(self.gateway.stop(), 0)
        counts = load.stop()
        # An answer, a refusal that says so, or no connection at all; never half of one.
        self.assertLessEqual(set(counts), {200, 503, "BrokenPipeError", "ConnectionRefusedError",
                                           "ConnectionResetError", "RemoteDisconnected"}, counts)

    def test_request_in_flight_is_answered(self):
        self.mesh.start("echo")
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/echo/delay", {"ms": 3000},
                                                                 connection=connection), threads=4, once=True)
        eventually(lambda: self.mesh.outstanding("echo") == 4, what="four are in flight")
        self.assertEqual(self.gateway.stop(), 0)
        self.assertEqual(load.stop(), {200: 4})

    def test_stopped_for_longer_than_the_broker_waits_its_calls_end(self):
        self.mesh.fake("thing", "wait")
        load = Load(self.mesh, lambda connection: self.mesh.http("POST", "/v1/call/thing/wait", {"ms": 90000},
                                                                 {"X-Request-Timeout-Ms": "90000"}, connection), threads=1,
                    once=True)
        eventually(lambda: self.mesh.outstanding("thing") == 1, what="it is in flight")
        self.gateway.signal(signal.SIGSTOP)
        eventually(lambda: self.broker.metric("weft_broker_clients") == 0, what="the broker gave it up")
        self.gateway.signal(signal.SIGCONT)
        self.assertEqual(load.stop(), {503: 1})  # not the deadline


class Postgres(MeshTest):
    @classmethod
    def setUpClass(cls):
        cls.database = Database(own=True)

    @classmethod
    def tearDownClass(cls):
        cls.database.close()

    def test_gone_and_back(self):
        notes = self.mesh.start("notes", WEFT_DATABASE_URL=self.database.url)
        eventually(lambda: self.mesh.http("GET", "/v1/notes").status == 200, what="notes is served")
        note = self.mesh.http("POST", "/v1/notes", {"title": "before", "text": ""}).headers["Location"]
        self.database.stop()
        problem = self.problem(self.mesh.http("GET", note), 503, "UNAVAILABLE")
        self.assertIn("executed", problem)
        self.problem(self.mesh.http("POST", "/v1/notes", {"title": "while", "text": ""}), 503, "UNAVAILABLE")
        self.assertTrue(notes.alive())
        self.assertEqual(notes.get("/healthz").status, 200)
        self.database.start()
        eventually(lambda: self.mesh.http("GET", note).status == 200, what="notes is back")
        eventually(lambda: self.mesh.http("POST", "/v1/notes", {"title": "after", "text": ""}).status == 201,
                   what="notes writes again")

    def test_absent_at_start(self):
        self.database.stop()
        try:
            notes = self.mesh.start("notes", ready=False, WEFT_DATABASE_URL=self.database.url)
            waited = time.monotonic() + 1
            while time.monotonic() < waited and notes.alive():
                time.sleep(0.05)  # either it ends with a reason, or it waits
        finally:
            self.database.start()
        if notes.alive():
            eventually(lambda: self.mesh.http("GET", "/v1/notes").status == 200, what="notes is served")
        else:
            self.assertEqual(notes.wait(), 1)
            self.assertIn("database", notes.text().lower())


class Start(unittest.TestCase):
    def setUp(self):
        self.mesh = Mesh()
        self.addCleanup(self.mesh._bury)

    def ends(self, name, *flags, **env):
        env.setdefault("WEFT_LOG_FORMAT", "text")
        if name == "notes":
            env.setdefault("WEFT_DATABASE_URL", "postgresql:///nowhere?host=/nonexistent")
        process = self.mesh.start(name, *flags, ready=False, **env)
        return process.wait(), process.text()

    def test_help_and_version(self):
        for name in ("broker", "gateway", "echo", "notes"):
            status, text = self.ends(name, "--help")
            self.assertEqual(status, 0)
            self.assertIn("WEFT_LOG", text)
            self.assertIn("--log", text)
            status, text = self.ends(name, "--version")
            self.assertEqual(status, 0)
            self.assertRegex(text, r"[0-9]+\.[0-9]+\.[0-9]+")

    def test_unknown_flag_is_one_line_and_status_2(self):
        for name in ("broker", "gateway", "echo", "notes"):
            status, text = self.ends(name, "--no-such-flag")
            self.assertEqual(status, 2, text)
            self.assertEqual(len(text.strip().splitlines()), 1, text)
            self.assertIn("no-such-flag", text)

    def test_malformed_value_is_one_line_and_status_2(self):
        for name, env in (("broker", {"WEFT_FRONTEND": "nowhere"}), ("broker", {"WEFT_BACKEND": "tcp://127.0.0.1:99999"}),
                          ("gateway", {"WEFT_HTTP": "127.0.0.1:http"}), ("gateway", {"WEFT_BROKERS": "udp://x:1"}),
                          ("echo", {"WEFT_THREADS": "many"}), ("echo", {"WEFT_LOG": "loud"}),
                          ("broker", {"WEFT_DRAIN_MS": "-5"})):
            with self.subTest(env):
                status, text = self.ends(name, **env)
                self.assertEqual(status, 2, text)
                self.assertEqual(len(text.strip().splitlines()), 1, text)
                self.assertIn(list(env)[0], text.replace("--", "WEFT_").upper().replace("-", "_"))

    def test_notes_without_database_is_status_2(self):
        status, text = self.ends("notes", WEFT_DATABASE_URL="")
        self.assertEqual(status, 2, text)
        self.assertIn("WEFT_DATABASE_URL", text)

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for name, env in (("broker", {"WEFT_FRONTEND": "tcp://127.0.0.1:%d" % port}),
                              ("broker", {"WEFT_BACKEND": "tcp://127.0.0.1:%d" % port}),
                              ("broker", {"WEFT_OPS": "127.0.0.1:%d" % port}),
                              ("gateway", {"WEFT_HTTP": "127.0.0.1:%d" % port}),
                              ("echo", {"WEFT_OPS": "127.0.0.1:%d" % port})):
                with self.subTest(name=name, env=env):
                    status, text = self.ends(name, **env)
                    self.assertEqual(status, 1, text)
                    self.assertIn(str(port), text)

    def test_folder_that_cannot_be_written(self):
        status, text = self.ends("broker", WEFT_FRONTEND="ipc:///nonexistent/folder/socket")
        self.assertEqual(status, 1, text)
        self.assertIn("/nonexistent/folder", text)

    def test_plain_beyond_loopback_is_refused_unless_asked_for(self):
        for name, env in (("broker", {"WEFT_FRONTEND": "tcp://0.0.0.0:%d" % free_port()}),
                          ("gateway", {"WEFT_HTTP": "0.0.0.0:%d" % free_port()})):
            status, text = self.ends(name, **env)
            self.assertEqual(status, 2, text)
            self.assertIn("WEFT_INSECURE", text)
        broker = self.mesh.start("broker", WEFT_FRONTEND="tcp://0.0.0.0:%d" % free_port(), WEFT_INSECURE="1")
        self.assertIn("warning", broker.text())
        self.assertEqual(broker.stop(), 0)

    def test_keys_are_refused_by_this_version(self):
        for name in ("broker", "gateway", "echo"):
            status, text = self.ends(name, WEFT_KEYS="/etc")
            self.assertEqual(status, 2, text)
            self.assertIn("CURVE is not part of this version", text)

    def test_ipc_works(self):
        front, back = "ipc://%s/f" % self.mesh.folder, "ipc://%s/b" % self.mesh.folder
        self.mesh.front, self.mesh.back = front, back
        for name in ("broker", "gateway", "echo"):
            self.mesh.start(name)
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        self.mesh.close()


if __name__ == "__main__":
    unittest.main()
