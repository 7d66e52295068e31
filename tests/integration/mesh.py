"""mesh - real processes for tests: starts and stops them on free ports, waits for conditions, keeps their logs.

Programs come from MESH_BROKER, MESH_GATEWAY, MESH_ECHO, MESH_NOTES, MESH_JOBS and MESH_CLI, which CMake sets.  MESH_PATIENCE
multiplies every deadline (sanitizers, slow machines)."""
import atexit
import ctypes
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PATIENCE = float(os.environ.get("MESH_PATIENCE", "1"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = {"broker": "MESH_BROKER", "gateway": "MESH_GATEWAY", "echo": "MESH_ECHO", "notes": "MESH_NOTES",
            "weft": "MESH_CLI", "jobs": "MESH_JOBS", "chaos": "MESH_CHAOS", "rolling": "MESH_ROLLING",
            "load": "MESH_LOAD", "crowd": "MESH_CROWD"}
CRASHES = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:", "Assertion", "assertion failed")


def program(name):
    path = os.environ.get(PROGRAMS[name], "")
    if not path or not os.path.exists(path):
        raise RuntimeError("%s must name the program %s" % (PROGRAMS[name], name))
    return path


def eventually(condition, timeout=30.0, what="condition"):
    """Waits until `condition()` is true and returns its value.  An exception of it counts as not yet.  It is looked at once
    more when the time is over: whoever was stopped meanwhile had no time."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        over = time.monotonic() > end
        try:
            last = condition()
            if last:
                return last
        except (OSError, AssertionError, http.client.HTTPException, LookupError, ValueError, TypeError) as error:
            last = error
        if over:
            raise AssertionError("%s did not come true within %g s: %r" % (what, timeout, last))
        time.sleep(0.02)


PROMISED = []  # a name for each port handed out, held until this process ends: whoever got one may not listen (yet)


def free_port():
    """A port that nobody has or was promised, here or in another test that runs, below the range from which outgoing
    connections get theirs."""
    while True:
        port = random.randint(15000, 32000)
        promise = socket.socket(socket.AF_UNIX)
        try:
            promise.bind("\0weft-test-port-%d" % port)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            promise.close()
            continue
        PROMISED.append(promise)
        return port


def _die_with_parent():
    """Runs in the child: SIGKILL when the test dies, however it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Reply:
    """An HTTP response, read whole."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %s %r" % (self.status, dict(self.headers), self.body[:500])


class Process:
    """One running program.  `ops` is its port for /healthz, /readyz, /metrics, at `host`."""

    def __init__(self, name, command, env, log, ops=None, host="127.0.0.1"):
        self.name, self.command, self.log, self.ops, self.host, self.expected = name, command, log, ops, host, None
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "MESH_"))}
        self.env.update(env)
        self.env.setdefault("ASAN_OPTIONS", "exitcode=99:detect_leaks=1:abort_on_error=0")
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(command, env=self.env, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                          preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def text(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def get(self, path):
        connection = http.client.HTTPConnection(self.host, self.ops, timeout=10 * PATIENCE)
        try:
            connection.request("GET", path)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def ready(self):
        return self.get("/readyz").status == 200

    def ready_now(self):
        """As a probe sees it: what does not answer soon is not ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_ready(self, timeout=30.0):
        def check():
            if not self.alive():
                raise RuntimeError("%s ended with %d:\n%s" % (self.name, self.popen.returncode, self.text()[-3000:]))
            return self.ready()
        eventually(check, timeout, "%s is ready" % self.name)
        return self

    def metric(self, name, labels=""):
        """Sum of the samples of that name whose labels contain `labels`; 0 when there is none."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            head, _, value = line.rpartition(" ")
            if (head == name or head.startswith(name + "{")) and labels in head:
                total += float(value)
        return total

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout=30.0):
        """The exit status; what ends by itself is no surprise to Mesh.close any more."""
        self.expected = self.popen.wait(timeout * PATIENCE)
        return self.expected

    def kill(self):
        self.expected = "killed"
        self.popen.kill()
        self.popen.wait()

    def stop(self, timeout=30.0):
        """SIGTERM, and its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)


class Mesh:
    """A folder, ports, and the processes that use them.  Close it (or use `with`): that ends everything and fails when a
    process has crashed, reported a sanitizer finding, or would not stop."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weft-test-"))
        self.front = "tcp://127.0.0.1:%d" % free_port()
        self.back = "tcp://127.0.0.1:%d" % free_port()
        self.http_port = free_port()
        self.processes = []
        self.drain_ms = 5000  # of processes to be started
        self.closed = False
        atexit.register(self._bury)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close(quiet=error[0] is not None)

    # ---- processes ----

    def spawn(self, name, command, env=None, ops=None):
        base = {"WEFT_LOG": "info", "WEFT_LOG_FORMAT": "json", "WEFT_DRAIN_MS": str(self.drain_ms)}
        base.update(env or {})
        log = self.folder / ("%02d-%s.log" % (len(self.processes), name))
        process = Process(name, [str(part) for part in command], base, log, ops)
        self.processes.append(process)
        return process

    def start(self, name, *flags, ready=True, **env):
        """Starts one of our programs with the mesh's addresses; env as WEFT_X="..." overrides them."""
        ops = free_port()
        base = {"WEFT_OPS": "127.0.0.1:%d" % ops}
        if name == "broker":
            base.update(WEFT_FRONTEND=self.front, WEFT_BACKEND=self.back)
        elif name == "gateway":
            base.update(WEFT_HTTP="127.0.0.1:%d" % self.http_port, WEFT_BROKERS=self.front)
        else:
            base.update(WEFT_WORKER_BROKERS=self.back)
        if name == "jobs":
            base.update(WEFT_BROKERS=self.front)
        base.update(env)
        process = self.spawn(name, [program(name)] + list(flags), base, ops)
        return process.wait_ready(30.0) if ready else process

    def fake(self, name, *methods, capacity=8, version="1.0.0", registered=True):
        """Starts fake_worker.py with these methods (names, or maps as in a descriptor)."""
        descriptor = {"name": name, "version": version,
                      "methods": [{"name": one} if isinstance(one, str) else one for one in methods]}
        process = self.spawn("fake", [sys.executable, "-B", ROOT / "tests/integration/fake_worker.py", self.back,
                                      json.dumps(descriptor), capacity])
        if registered:
            def seen():
                if not process.alive():
                    raise RuntimeError("fake worker: " + process.text())
                return self.http("GET", "/v1/services/" + name).status == 200
            eventually(seen, what="%s is registered" % name)
        return process

    def weft(self, *arguments, text="", timeout=60.0, **env):
        """Runs the CLI against this mesh."""
        base = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "MESH_"))}
        base.update({"WEFT_BROKERS": self.front}, **env)
        return subprocess.run([program("weft"), *arguments], env=base, input=text, capture_output=True, text=True,
                              timeout=timeout * PATIENCE, check=False)

    def service(self, name):
        """What weft.broker says about a service, asked as by any client; an empty map when it knows none of that name."""
        sys.path.insert(0, str(ROOT / "tests/interop"))
        import client
        asking = client.Client(self.front)
        try:
            services = asking.call("weft.broker", "services", timeout_ms=int(30000 * PATIENCE))["services"]
            return next((one for one in services if one["name"] == name), {})
        finally:
            asking.close()

    def outstanding(self, name):
        """How many requests the broker has handed out to a service."""
        return self.service(name).get("outstanding", 0)

    # ---- HTTP ----

    def connection(self, timeout=90.0):
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout * PATIENCE)

    def http(self, method, path, body=None, headers=None, connection=None):
        """A request to the gateway.  A body that is neither bytes nor str is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        used = connection or self.connection()
        try:
            used.request(method, path, body, headers)
            return Reply(used.getresponse())
        finally:
            if not connection:
                used.close()

    def call(self, service, method, body=None, **headers):
        return self.http("POST", "/v1/call/%s/%s" % (service, method), {} if body is None else body, headers)

    # ---- the end ----

    def _complaints(self):
        found = []
        for process in self.processes:
            text = process.text()
            for crash in CRASHES:
                if crash in text:
                    found.append("%s reported: %s" % (process.name, text[text.index(crash) - 200:][:3000]))
                    break
            if process.expected is None and not process.alive():
                found.append("%s ended by itself with %d" % (process.name, process.popen.returncode))
        return found

    @staticmethod
    def _stop_all(processes):
        found = []
        for process in processes:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                found.append("%s did not stop on SIGTERM" % process.name)
                process.kill()
        return found

    def close(self, quiet=False):
        if self.closed:
            return
        self.closed = True
        found = self._complaints()
        alive = [process for process in self.processes if process.alive()]
        # The broker last: the others take leave of it.
        found += self._stop_all([process for process in alive if process.name != "broker"])
        found += self._stop_all([process for process in alive if process.name == "broker"])
        if not found:
            found = self._complaints()
        if found or quiet:
            self.show_logs()
        self._bury()
        if found and not quiet:
            raise AssertionError("; ".join(found))

    def show_logs(self):
        for process in self.processes:
            print("---- %s (%s)" % (process.name, process.popen.returncode), file=sys.stderr)
            print("\n".join(process.text().splitlines()[-25:]), file=sys.stderr)

    def _bury(self):
        for process in self.processes:
            if process.alive():
                process.popen.kill()
                process.popen.wait()
        if not os.environ.get("MESH_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class MeshTest(unittest.TestCase):
    """A test with a mesh of its own, or one for the class where SHARED; it is closed behind it, and a failure shows the
    logs."""

    PROGRAMS = ("broker", "gateway")  # started first
    SHARED = False
    DRAIN_MS = 5000

    @classmethod
    def setUpClass(cls):
        if cls.SHARED:
            cls.begin(cls)

    @classmethod
    def tearDownClass(cls):
        if cls.SHARED:
            cls.mesh.close()

    def begin(self):
        """Runs on the class where SHARED."""
        self.mesh = Mesh()
        self.mesh.drain_ms = self.DRAIN_MS
        for name in self.PROGRAMS:
            setattr(self, name, self.mesh.start(name))

    def setUp(self):
        if not self.SHARED:
            self.addCleanup(lambda: self.mesh._bury())
            self.begin()

    def tearDown(self):
        result = self._outcome.result
        failed = any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors)
        if self.SHARED and failed:
            self.mesh.show_logs()
        elif not self.SHARED:
            self.mesh.close(quiet=failed)

    def problem(self, reply, status, code=None, kind=None):
        """Asserts that a reply is a problem of RFC 9457 as documented; returns it."""
        self.assertEqual(reply.status, status, reply)
        self.assertEqual(reply.headers["Content-Type"].split(";")[0], "application/problem+json", reply)
        problem = reply.json
        for key in ("type", "title", "status", "detail", "code", "request_id"):
            self.assertIn(key, problem)
        self.assertEqual(problem["status"], status)
        self.assertEqual(problem["request_id"], reply.headers["X-Request-Id"])
        if code:
            self.assertEqual(problem["code"], code, problem)
        if kind:
            self.assertTrue(problem["type"].endswith(kind), problem)
        return problem


class Load:
    """Threads that send requests without a pause; counts statuses.  `send` makes one request on a connection that it may
    keep and returns the reply; an exception counts under its name.  ONCE: each thread makes one request."""

    def __init__(self, mesh, send, threads=8, once=False):
        self.mesh, self.send, self.stopping, self.once = mesh, send, False, once
        self.results = []  # (monotonic time, status or name of an exception)
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        connection = self.mesh.connection()
        again = True
        while again:
            try:
                reply = self.send(connection)
                outcome = reply.status
                if reply.headers.get("Connection", "").lower() == "close":
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
                connection.close()
                time.sleep(0.01)  # no request was made: do not spin
            self.results.append((time.monotonic(), outcome))
            again = not self.once and not self.stopping
        connection.close()

    def counts(self, since=0.0):
        counts = {}
        for at, outcome in list(self.results):
            if at >= since:
                counts[outcome] = counts.get(outcome, 0) + 1
        return counts

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(90 * PATIENCE)
        return self.counts()


class Database:
    """A throw-away PostgreSQL cluster on a unix socket; or, for tests that do not stop the server, a database of its own
    in the server that WEFT_TEST_PG (a libpq URI) names."""

    def __init__(self, own=False):
        self.outside = None if own else os.environ.get("WEFT_TEST_PG")
        self.name = "weft_test_%d_%06x" % (os.getpid(), random.getrandbits(24))
        self.folder = None
        atexit.register(self.close)
        if self.outside:
            self._sql(self.outside, "CREATE DATABASE " + self.name)
            base, _, query = self.outside.partition("?")
            scheme, _, rest = base.partition("://")
            authority = rest.partition("/")[0]
            self.url = "%s://%s/%s%s" % (scheme, authority, self.name, "?" + query if query else "")
        else:
            self.name = "postgres"
            self._create_cluster()

    @staticmethod
    def _sql(url, statement):
        import psycopg2
        connection = psycopg2.connect(url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def sql(self, statement):
        return self._sql(self.url, statement)

    def _run(self, tool, *arguments):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/" + tool))
        path = str(found[-1]) if found else shutil.which(tool)
        if not path:
            raise RuntimeError("PostgreSQL's %s was not found" % tool)
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run(user + [path, *arguments], capture_output=True, text=True, cwd="/", check=False)
        if done.returncode != 0:
            raise RuntimeError("%s: %s%s" % (tool, done.stdout, done.stderr))

    def _create_cluster(self):
        self.folder = tempfile.mkdtemp(prefix="weft-pg-", dir="/tmp")  # short: a socket's path has 107 bytes
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", self.folder + "/data", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8",
                  "--locale=C.UTF-8")
        self.url = "postgresql:///postgres?host=%s&user=postgres" % self.folder
        self.start()

    def start(self):
        self._run("pg_ctl", "-D", self.folder + "/data", "-w", "-t", "60", "-l", self.folder + "/log", "-o",
                  "-c listen_addresses='' -c unix_socket_directories='%s' -c fsync=off -c max_connections=50"
                  % self.folder, "start")

    def stop(self):
        """As in a crash: connections are cut at once."""
        self._run("pg_ctl", "-D", self.folder + "/data", "-w", "-m", "immediate", "stop")

    def close(self):
        if self.outside:
            outside, self.outside = self.outside, None
            self._sql(outside, "DROP DATABASE IF EXISTS %s WITH (FORCE)" % self.name)
        if self.folder:
            folder, self.folder = self.folder, None
            try:
                self._run("pg_ctl", "-D", folder + "/data", "-w", "-m", "immediate", "stop")
            except RuntimeError:
                pass  # was stopped by the test
            shutil.rmtree(folder, ignore_errors=True)
