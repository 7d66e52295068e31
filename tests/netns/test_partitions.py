"""test_partitions - workers, brokers and clients that are cut off from each other, one way or both, and packets that are lost

The bounds are the protocol's own (proto/SPEC.md) with room for a busy machine: 4 s without a message is the end of a peer,
and one that is back is in use within a connection attempt and the longest back-off."""
import threading
import time

from lab import LabTest, eventually, main
from mesh import Load, PATIENCE

SILENCE_S = 4.0   # SPEC, sections 4 and 5
PING_S = 1.2      # a peer says something at least so often
GRACE_S = 1.0     # SPEC, section 6: a request waits so long for the next worker of its service
FORGET_S = 10.0   # the same: a service without workers is forgotten
CONNECT_S = 3.0   # of one attempt to connect (proto/bus/connection.c)
BACKOFF_S = 1.5   # the longest pause between two (proto/bus/backoff.c)
NOTICED_S = 2 * SILENCE_S
BACK_S = 3 * (CONNECT_S + BACKOFF_S)


class Call(threading.Thread):
    """One request from a thread of its own."""

    def __init__(self, mesh, service, method, body):
        super().__init__(daemon=True)
        self.mesh, self.target, self.body = mesh, (service, method), body
        self.reply = None
        self.begun, self.took = time.monotonic(), None
        self.start()

    def run(self):
        connection = self.mesh.connection(timeout=90)
        reply = self.mesh.http("POST", "/v1/call/%s/%s" % self.target, self.body,
                               {"X-Request-Timeout-Ms": str(int(60000 * PATIENCE))}, connection=connection)
        connection.close()
        self.took = time.monotonic() - self.begun
        self.reply = reply


def echo_once(mesh):
    return lambda connection: mesh.http("POST", "/v1/call/echo/echo", {"a": 1}, connection=connection)


class OneBroker(LabTest):
    def setUp(self):
        super().setUp()
        self.broker_node, self.gateway_node = self.lab.node("broker"), self.lab.node("gateway")
        self.first_node, self.second_node = self.lab.node("first"), self.lab.node("second")
        self.broker = self.mesh.run_at(self.broker_node, "broker")
        self.gateway = self.mesh.run_at(self.gateway_node, "gateway", brokers=[self.broker_node])
        self.first = self.echo(self.first_node)
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")

    def echo(self, node):
        count = self.workers()
        process = self.mesh.run_at(node, "echo", brokers=[self.broker_node])
        eventually(lambda: self.workers() == count + 1, what="echo is registered")
        return process

    def workers(self):
        return self.mesh.service_at(self.broker_node, "echo").get("workers", 0)

    def held(self, service="echo"):
        return self.mesh.service_at(self.broker_node, service).get("outstanding", 0)

    def test_worker_cut_off_silently(self):
        thing = self.mesh.fake_at(self.first_node, self.broker_node, "thing", "wait")
        eventually(lambda: self.mesh.http("GET", "/v1/services/thing").status == 200, what="thing is known")
        safe = [Call(self.mesh, "echo", "delay", {"ms": 2000}) for _ in range(3)]
        unsafe = [Call(self.mesh, "thing", "wait", {"ms": 60000}) for _ in range(3)]
        eventually(lambda: self.held() == 3 and self.held("thing") == 3, what="the worker holds them")
        self.echo(self.second_node)
        self.lab.cut(self.broker_node, self.first_node)
        self.within(NOTICED_S, "a worker cut off silently is given up", lambda: self.workers() == 1)
        self.within(NOTICED_S, "what may not be repeated is answered", lambda: all(call.reply for call in unsafe))
        for call in unsafe:
            problem = call.reply.json
            self.assertEqual((call.reply.status, problem["code"], problem["executed"]), (503, "UNAVAILABLE", "maybe"))
        self.within(NOTICED_S + 2, "what may be is done by the other worker", lambda: all(call.reply for call in safe))
        self.assertEqual([call.reply.status for call in safe], [200] * 3)
        self.assertEqual(self.broker.metric("weft_broker_retries_total"), 3)
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)
        self.lab.heal()
        self.within(BACK_S, "it registers again by itself", lambda: self.workers() == 2)
        self.within(BACK_S, "and the other service of that node", lambda: self.mesh.service_at(
            self.broker_node, "thing").get("workers") == 1)
        self.assertTrue(thing.alive())

    def one_way(self, what):
        self.echo(self.second_node)
        load = Load(self.mesh, echo_once(self.mesh), threads=4)
        eventually(lambda: load.counts().get(200, 0) > 100, what="load runs")
        self.lab.drop(*what)
        self.within(2 * NOTICED_S, "a worker with one deaf side is given up", lambda: self.workers() == 1)
        settled_at = time.monotonic()
        eventually(lambda: load.counts(settled_at).get(200, 0) > 200, what="the other worker does it all")
        self.lab.heal()
        self.within(BACK_S, "it registers again by itself", lambda: self.workers() == 2)
        healed_at = time.monotonic()
        eventually(lambda: load.counts(healed_at).get(200, 0) > 200, what="load runs on")
        counts = load.stop()
        self.assertEqual(set(counts), {200}, counts)  # echo is idempotent: nothing is lost

    def test_worker_does_not_hear_its_broker(self):
        self.one_way((self.broker_node, self.first_node))

    def test_broker_does_not_hear_its_worker(self):
        self.one_way((self.first_node, self.broker_node))

    def test_worker_that_is_refused(self):
        """A firewall that answers: what the worker sends next is reset, so it need not wait for silence."""
        self.lab.refuse(self.first_node, self.broker_node)
        self.within(2 * PING_S, "the worker notices the reset", lambda: not self.first.ready())
        self.within(NOTICED_S, "the broker notices its silence", lambda: self.workers() == 0)
        self.lab.heal()
        self.within(BACK_S, "it registers again by itself", lambda: self.workers() == 1)
        self.within(BACK_S, "it is served", lambda: self.mesh.call("echo", "echo", 1).status == 200)

    def test_client_cut_off_from_its_only_broker(self):
        call = Call(self.mesh, "echo", "delay", {"ms": 60000})
        eventually(lambda: self.held() == 1, what="it is in flight")
        self.lab.cut(self.gateway_node, self.broker_node)
        self.within(NOTICED_S, "the gateway is not ready", lambda: not self.gateway.ready())
        self.within(NOTICED_S, "what nobody waits for is cancelled", lambda: self.held() == 0)
        reply = self.mesh.call("echo", "echo", 1)
        self.assertEqual((reply.status, reply.json["executed"]), (503, "no"))
        self.lab.heal()
        self.within(BACK_S, "the gateway is ready", self.gateway.ready)
        self.assertEqual(self.mesh.call("echo", "echo", 1).status, 200)
        eventually(lambda: self.held() == 1 or call.reply, what="the idempotent call is sent again")

    def test_lost_packets(self):
        self.echo(self.second_node)
        load = Load(self.mesh, echo_once(self.mesh), threads=8)
        eventually(lambda: load.counts().get(200, 0) > 200, what="load runs")
        for share in (0.1, 0.2):
            for node in self.lab.nodes:
                self.lab.lose(node, share)
            begun = time.monotonic()
            self.within(60, "200 requests while %d %% are lost" % (100 * share),
                        lambda: load.counts(begun).get(200, 0) >= 200)
            self.lab.heal()
        self.within(BACK_S, "all is as before", lambda: self.workers() == 2 and self.gateway.ready())
        counts = load.stop()
        # Five losses of one packet in a row look like silence: a call may meet that three times.
        self.assertLessEqual(set(counts), {200, 503}, counts)
        self.assertLess(counts.get(503, 0), 10, counts)


class TwoBrokers(LabTest):
    def setUp(self):
        super().setUp()
        self.near, self.far = self.lab.node("near"), self.lab.node("far")
        self.gateway_node, self.worker_node = self.lab.node("gateway"), self.lab.node("worker")
        self.brokers = [self.mesh.run_at(node, "broker") for node in (self.near, self.far)]
        self.gateway = self.mesh.run_at(self.gateway_node, "gateway", brokers=[self.near, self.far])
        self.echo = self.mesh.run_at(self.worker_node, "echo", brokers=[self.near, self.far])
        eventually(lambda: self.mesh.call("echo", "echo", 1).status == 200, what="echo answers")
        eventually(lambda: self.workers(self.near) == self.workers(self.far) == 1, what="both know the worker")
        eventually(lambda: self.gateway.metric("weft_client_brokers_up") == 2, what="the gateway knows both")

    def workers(self, node):
        return self.mesh.service_at(node, "echo").get("workers", 0)

    def served(self, load, count=200):
        """From now on everything is answered well."""
        begun = time.monotonic()
        eventually(lambda: load.counts(begun).get(200, 0) > count, what="load runs on")
        self.assertEqual(set(load.counts(begun)), {200}, load.counts(begun))

    def test_client_cut_off_from_one_of_two(self):
        thing = self.mesh.fake_at(self.worker_node, self.near, "thing", "wait")
        eventually(lambda: self.mesh.service_at(self.near, "thing").get("workers") == 1, what="thing is there")
        eventually(lambda: self.mesh.http("GET", "/v1/services/thing").status == 200, what="and known")
        unsafe = Call(self.mesh, "thing", "wait", {"ms": 60000})
        eventually(lambda: self.mesh.service_at(self.near, "thing").get("outstanding") == 1, what="it is in flight")
        load = Load(self.mesh, echo_once(self.mesh), threads=4)
        eventually(lambda: load.counts().get(200, 0) > 200, what="load runs")
        self.lab.cut(self.gateway_node, self.near)
        self.within(NOTICED_S, "the gateway gives the broker up", lambda: self.gateway.metric("weft_client_brokers_up") == 1)
        self.within(NOTICED_S, "what was in flight is answered", lambda: unsafe.reply)
        self.assertEqual((unsafe.reply.status, unsafe.reply.json["executed"]), (503, "maybe"))
        self.served(load)
        self.lab.heal()
        self.within(BACK_S, "the broker is in use again", lambda: self.gateway.metric("weft_client_brokers_up") == 2)
        self.served(load)
        counts = load.stop()
        self.assertEqual(set(counts), {200}, counts)
        self.assertTrue(thing.alive())

    def test_one_cut_off_from_the_workers(self):
        """The broker that clients reach reaches no worker; the other does."""
        for cut_off in (self.near, self.far):  # the gateway follows the registry of either
            load = Load(self.mesh, echo_once(self.mesh), threads=4)
            eventually(lambda: load.counts().get(200, 0) > 200, what="load runs")
            self.lab.cut(cut_off, self.worker_node)
            self.within(NOTICED_S, "the broker offers it no more", lambda: self.workers(cut_off) == 0)
            # What waits there for the next worker was handed out before: it is answered as "maybe".
            time.sleep(GRACE_S)
            self.within(NOTICED_S, "requests are served by the other", lambda: self.served(load) is None)
            self.within(2 * FORGET_S, "the broker has forgotten the service", lambda: not self.mesh.service_at(cut_off, "echo"))
            self.served(load, 500)
            self.assertEqual(self.mesh.http("GET", "/v1/services/echo").json["state"], "serving")
            self.lab.heal()
            self.within(BACK_S, "it registers there again", lambda: self.workers(cut_off) == 1)
            self.served(load)
            counts = load.stop()
            self.measured.append("answers meanwhile: %r" % counts)
            self.assertLessEqual(set(counts), {200, 503}, counts)
            self.assertLess(counts.get(503, 0), 50, counts)


if __name__ == "__main__":
    main()
