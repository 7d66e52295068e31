"""lab - a small network for tests: nodes with an address of their own, and the faults between them.

The test's process moves into a network namespace of its own, which is the switch (a bridge) and has an address to reach
the nodes by.  A node is a namespace that a sleeping process holds, joined to the bridge by a veth pair.  No namespace,
link or rule has a name outside: with the processes, which die with the test however it dies, the kernel takes back all of
it.  Faults are rules of the node that does not get to see a packet, so each direction has its own."""
import ctypes
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), os.path.join(HERE, "..", "interop")]
import client as plain  # noqa: E402
from mesh import PATIENCE, ROOT, Mesh, Process, _die_with_parent, eventually, program  # noqa: E402

CLONE_NEWNET = 0x40000000
SWITCH = "10.77.0.1"
FRONT, BACK, HTTP, OPS, POSTGRES = 7310, 7311, 8080, 7320, 5432


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(command), (done.stderr or done.stdout).strip()))
    return done.stdout


def _make_switch():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise RuntimeError("unshare: " + os.strerror(ctypes.get_errno()))
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "switch", "type", "bridge", "stp_state", "0", "forward_delay", "0")
    _run("ip", "address", "add", SWITCH + "/24", "dev", "switch")
    _run("ip", "link", "set", "switch", "up")


def _try():
    """A node with a rule of each kind that the tests use."""
    lab = Lab()
    try:
        node = lab.node("trial")
        lab.drop(node, node)
        lab.lose(node, 0.5)
        lab.refuse(node, node)
        lab.heal()
    finally:
        lab.close()


def enter():
    """Makes this process the switch; before its first thread, since a thread takes its namespace along.  Why not, or
    None.  Tools that are not there are an error where WEFT_TEST_ALL says that everything was installed."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "iptables", "nsenter", "unshare"):
        if not shutil.which(tool):
            if os.environ.get("WEFT_TEST_ALL"):
                raise RuntimeError("%s is missing (Debian: iproute2, iptables, util-linux)" % tool)
            return "%s is missing (Debian: iproute2, iptables, util-linux)" % tool
    try:
        _make_switch()
        _try()
    except RuntimeError as error:
        return "this kernel does not let us: %s" % error
    return None


def main():
    """Runs the tests of the calling file, or says why they are skipped."""
    why = enter()
    if why:
        print("skipped: " + why, file=sys.stderr)
        sys.exit(77)  # SKIP_RETURN_CODE of ctest
    unittest.main()


class Node:
    def __init__(self, name, address):
        self.name, self.address = name, address
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL,
                                       preexec_fn=_die_with_parent)
        mine = os.stat("/proc/self/ns/net").st_ino
        eventually(lambda: os.stat("/proc/%d/ns/net" % self.holder.pid).st_ino != mine, what="the namespace is there")
        self.inside = ["nsenter", "--net=/proc/%d/ns/net" % self.holder.pid]

    def run(self, *command):
        return _run(*self.inside, *command)

    def url(self, port):
        return "tcp://%s:%d" % (self.address, port)


class Lab:
    def __init__(self):
        self.nodes = []

    def node(self, name):
        number = len(self.nodes) + 10
        node = Node(name, "10.77.0.%d" % number)
        self.nodes.append(node)
        port = "port%d" % number
        _run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(node.holder.pid))
        _run("ip", "link", "set", port, "master", "switch")
        _run("ip", "link", "set", port, "up")
        node.run("ip", "link", "set", "lo", "up")
        node.run("ip", "address", "add", node.address + "/24", "dev", "eth0")
        node.run("ip", "link", "set", "eth0", "up")
        return node

    # ---- faults ----

    @staticmethod
    def drop(source, target):
        """What source sends never reaches target: no reset, no message of ICMP."""
        target.run("iptables", "-A", "INPUT", "-s", source.address, "-j", "DROP")

    def cut(self, one, other):
        self.drop(one, other)
        self.drop(other, one)

    @staticmethod
    def refuse(source, target):
        """Packets from source are answered with a reset."""
        target.run("iptables", "-A", "INPUT", "-p", "tcp", "-s", source.address, "-j", "REJECT", "--reject-with", "tcp-reset")

    @staticmethod
    def lose(node, share):
        """A part of the packets that a node should get is lost, whoever sent them; the test's own are not."""
        node.run("iptables", "-A", "INPUT", "!", "-s", SWITCH, "-m", "statistic", "--mode", "random", "--probability",
                 str(share), "-j", "DROP")

    def heal(self):
        for node in self.nodes:
            node.run("iptables", "-F", "INPUT")

    def close(self):
        for node in self.nodes:
            if node.holder.poll() is None:
                node.holder.kill()
                node.holder.wait()
        for node in self.nodes:  # the kernel is a moment behind, and a name may be wanted again
            port = "port" + node.address.rpartition(".")[2]
            subprocess.run(["ip", "link", "delete", port], capture_output=True, check=False)
        self.nodes = []


class LabMesh(Mesh):
    """A mesh whose processes each run at a node."""

    def __init__(self, lab):
        super().__init__()
        self.lab = lab
        self.gateway_node = None

    def place(self, name, node, command, env=None, ops=True):
        base = {"WEFT_LOG": "info", "WEFT_LOG_FORMAT": "json", "WEFT_DRAIN_MS": "5000"}
        if ops:
            base["WEFT_OPS"] = "%s:%d" % (node.address, OPS)
        base.update(env or {})
        log = self.folder / ("%02d-%s.log" % (len(self.processes), name))
        process = Process(name, node.inside + [str(part) for part in command], base, log, OPS if ops else None,
                          host=node.address)
        self.processes.append(process)
        return process

    def run_at(self, node, name, *, brokers=(), ready=True, **env):
        """Starts one of our programs at a node; `brokers`: the nodes where it finds them."""
        base = {}
        if name == "broker":
            base.update(WEFT_FRONTEND=node.url(FRONT), WEFT_BACKEND=node.url(BACK), WEFT_INSECURE="1")
        elif name == "gateway":
            base.update(WEFT_HTTP="%s:%d" % (node.address, HTTP), WEFT_INSECURE="1")
            self.gateway_node = node
        else:
            base.update(WEFT_WORKER_BROKERS=",".join(at.url(BACK) for at in brokers))
        if name in ("gateway", "jobs"):
            base.update(WEFT_BROKERS=",".join(at.url(FRONT) for at in brokers))
        base.update(env)
        process = self.place(name, node, [program(name)], base)
        return process.wait_ready(30.0) if ready else process

    def fake_at(self, node, broker, name, *methods, capacity=8):
        """Starts fake_worker.py at a node with these methods (names, or maps as in a descriptor)."""
        descriptor = {"name": name, "version": "1.0.0",
                      "methods": [{"name": one} if isinstance(one, str) else one for one in methods]}
        return self.place("fake", node, [sys.executable, "-B", ROOT / "tests/integration/fake_worker.py", broker.url(BACK),
                                         json.dumps(descriptor), capacity], ops=False)

    def service_at(self, broker, name):
        """What a broker says about a service; an empty map when it knows none of that name."""
        asking = plain.Client(broker.url(FRONT))
        try:
            services = asking.call("weft.broker", "services", timeout_ms=int(5000 * PATIENCE))["services"]
            return next((one for one in services if one["name"] == name), {})
        finally:
            asking.close()

    def connection(self, timeout=30.0):
        return http.client.HTTPConnection(self.gateway_node.address, HTTP, timeout=timeout * PATIENCE)


class LabTest(unittest.TestCase):
    """A lab and a mesh for each test."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.mesh = LabMesh(self.lab)
        self.addCleanup(self.mesh._bury)
        self.measured = []

    def tearDown(self):
        result = self._outcome.result
        failed = any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors)
        self.lab.heal()
        self.mesh.close(quiet=failed)
        for line in self.measured:
            print("    " + line, file=sys.stderr)

    def within(self, limit_s, what, condition):
        """Waits for a condition, and notes how long it took of what the protocol allows."""
        begun = time.monotonic()
        value = eventually(condition, limit_s, what)
        self.measured.append("%s: after %.1f s (at most %g)" % (what, time.monotonic() - begun, limit_s))
        return value
