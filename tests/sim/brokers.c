/* brokers - dispatchers as nodes: they start with a new epoch, stop, drain, are killed */
#include <stdlib.h>

#include "sim/sim.h"

static weft_status_t
s_send(void *context, peer_t to, zmq_msg_t *frame)
{
    node_t *node = context;
    sim_t *self = node->sim;
    SIM_REQUIRE(self, to.number < node->next_peer, "broker %u sends to peer %u, which never was", node->index,
                to.number);
    conn_t *conn = network_conn(self, node->peers[to.number]);
    const role_t role = self->nodes[conn->peer].role;
    const side_t side = role == CLIENT || role == HOSTILE_CLIENT ? FRONT : BACK;
    if (side != to.side)
        return WEFT_UNAVAILABLE; /* two sockets: a number of the other side is nobody here */
    weft_message_t message;
    const char *why;
    SIM_REQUIRE(self, weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) == WEFT_OK,
                "broker %u sends a malformed message: %s", node->index, why);
    if (conn->broker_life != node->life)
        return WEFT_UNAVAILABLE;
    if (message.kind == WEFT_REPLY && message.status == WEFT_RESOURCE_EXHAUSTED)
        checks_refused(self, node, &message);
    const uint32_t call = message.kind == WEFT_REQUEST ? checks_call_of(message.body) : 0;
    const weft_status_t status = network_send(self, conn, TO_PEER, frame); /* the spans are void now */
    if (status == WEFT_OK && message.kind == WEFT_REQUEST)
        checks_handed_out(self, node, conn, call, &message);
    if (status == WEFT_OK && role == CLIENT && (message.kind == WEFT_REPLY || message.kind == WEFT_PARTIAL))
        checks_answered(self, conn, &message);
    return status;
}

void
brokers_start(sim_t *self, node_t *node)
{
    node->config.epoch = weft_rng_next(&self->rng) | 1;
    node->config.seed = weft_rng_next(&self->rng);
    /* Numbers go on: a real loop's may as well, and a stale one must find nobody. */
    node->dispatcher = dispatcher_new(&node->config, s_send, node);
    if (!node->dispatcher)
        abort();
    node->leave_at = 0;
    brokers_tick(self, node);
}

static void
s_stop(sim_t *self, node_t *node, bool orderly)
{
    node->alive = false;
    checks_refusals(self, node);
    dispatcher_destroy(&node->dispatcher);
    network_node_gone(self, node, orderly);
    node->life++;
    node->leave_at = 0;
}

void
brokers_kill(sim_t *self, node_t *node)
{
    TRACE(self, "kill broker %u", node->index);
    s_stop(self, node, false);
}

void
brokers_drain(sim_t *self, node_t *node)
{
    TRACE(self, "drain broker %u", node->index);
    dispatcher_drain(node->dispatcher, self->now);
    node->leave_at = self->now + 200000; /* as the loop does: what crosses the DRAIN is still answered */
    brokers_tick(self, node);
}

void
brokers_receive(sim_t *self, node_t *node, conn_t *conn, zmq_msg_t *frame)
{
    const role_t role = self->nodes[conn->peer].role;
    const peer_t from = { role == CLIENT || role == HOSTILE_CLIENT ? FRONT : BACK, conn->peer_number, false };
    weft_message_t message;
    const char *why;
    if (weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) == WEFT_OK &&
        message.kind == WEFT_REQUEST) {
        for (uint32_t i = 0; i < SERVICES; i++)
            node->got[i] += weft_span_equal(message.service, weft_span(SIM_SERVICES[i]));
        checks_arrived(self, node, conn, &message);
    }
    const unsigned parts = role == HOSTILE_CLIENT && sim_one_in(self, 50) ? 2 : 1;
    dispatcher_receive(node->dispatcher, from, frame, parts, self->now);
    brokers_tick(self, node);
}

void
brokers_tick(sim_t *self, node_t *node)
{
    const int64_t next = dispatcher_tick(node->dispatcher, self->now);
    checks_broker(self, node);
    if (node->leave_at != 0 && self->now >= node->leave_at && dispatcher_idle(node->dispatcher) &&
        (self->now >= node->leave_at + 3000000 || dispatcher_settled(node->dispatcher))) {
        TRACE(self, "broker %u leaves", node->index);
        const uint32_t abandoned = dispatcher_bye(node->dispatcher, self->now);
        SIM_REQUIRE(self, abandoned == 0, "idle broker %u abandoned %u requests", node->index, abandoned);
        s_stop(self, node, true);
        return;
    }
    const int64_t look = node->leave_at != 0 ? self->now + 20000 : INT64_MAX;
    scenario_wake(self, node, look < next ? look : next);
}
