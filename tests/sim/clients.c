/* clients - honest callers: calls of every kind, floods, cancels */
#include <stdlib.h>

#include "sim/sim.h"

const char *const SIM_SERVICES[SERVICES + 1] = { "alpha", "beta.one", "gamma", "nobody" };
const char *const SIM_METHODS[METHODS + 1] = { "get", "put", "stream", "never" };

static weft_status_t
s_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    node_t *node = context;
    conn_t *conn = network_conn(node->sim, link);
    weft_message_t message;
    const char *why;
    SIM_REQUIRE(node->sim,
                weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) == WEFT_OK,
                "client %u sends a malformed message: %s", node->index, why);
    if (message.kind == WEFT_REQUEST || message.kind == WEFT_CANCEL)
        TRACE(node->sim, "client %u sends %s %llx over link %u to broker %u, call %u", node->index,
              message.kind == WEFT_CANCEL ? "CANCEL" : "REQUEST", (unsigned long long) message.id, link,
              conn->broker, checks_call_of(message.body));
    return conn->peer_life == node->life ? network_send(node->sim, conn, TO_BROKER, frame) : WEFT_UNAVAILABLE;
}

static void
s_drop(void *context, uint32_t link)
{
    node_t *node = context;
    network_cut(node->sim, network_conn(node->sim, link));
}

static void
s_on_reply(void *context, void *call_context, weft_reply_t *reply)
{
    node_t *node = context;
    sim_t *self = node->sim;
    checks_reply(self, node, (uint32_t) (uintptr_t) call_context, reply);
    /* Callers call again, and cancel, from within. */
    if (reply->final && node->alive && !self->stopped && !self->gentle && sim_one_in(self, 20))
        clients_submit(self, node);
    if (!self->gentle && !self->healing && sim_one_in(self, 50))
        clients_cancel(self, 1 + (uint32_t) sim_below(self, self->call_count));
}

static const client_session_callbacks_t CALLBACKS = { s_send, s_drop, s_on_reply };

void
clients_start(sim_t *self, node_t *node)
{
    client_session_config_t config = CLIENT_SESSION_DEFAULTS;
    config.seed = weft_rng_next(&self->rng);
    config.in_flight_max = self->gentle ? 4096 : 8 + (uint32_t) sim_below(self, 200);
    config.attempts_max = 1 + (uint32_t) sim_below(self, 4);
    if (self->gentle)
        config.attempts_max = 3;
    node->client = client_session_new(&config, &CALLBACKS, node);
    if (!node->client)
        abort();
    node->leaving = false;
    for (uint32_t i = 0; i < self->brokers; i++)
        network_connect(self, node->index, i);
    events_add(self, self->now + sim_around(self, node->submit_every), EVENT_SUBMIT, node->index, 0,
               node->life);
}

static void
s_stop(sim_t *self, node_t *node, bool orderly)
{
    for (uint32_t i = 1; i <= self->call_count; i++)
        if (self->calls[i].client == node->index && self->calls[i].client_life == node->life &&
            !self->calls[i].ended)
            self->calls[i].gone = true;
    if (orderly)
        client_session_bye(node->client, sim_now_ms(self));
    node->alive = false;
    network_node_gone(self, node, orderly);
    client_session_destroy(&node->client);
    node->life++;
}

void
clients_kill(sim_t *self, node_t *node)
{
    TRACE(self, "kill client %u", node->index);
    s_stop(self, node, false);
}

void
clients_leave(sim_t *self, node_t *node)
{
    TRACE(self, "client %u leaves", node->index);
    s_stop(self, node, true);
}

void
clients_request(sim_t *self, zmq_msg_t *frame, uint64_t id, uint32_t call, uint32_t service, uint32_t method,
                uint32_t ttl_ms)
{
    /* {"tenant": "a"}, {"affinity": "b"} with a letter of four */
    static const char *const METAS[2] = { "\x81\xa6tenant\xa1?", "\x81\xa8"
                                                                 "affinity\xa1?" };
    unsigned char body[8 + 255] = { 0x92,
                                    0xce,
                                    (unsigned char) (call >> 24),
                                    (unsigned char) (call >> 16),
                                    (unsigned char) (call >> 8),
                                    (unsigned char) call,
                                    0xc4 };
    const size_t padding = (size_t) (sim_one_in(self, 5) ? sim_below(self, 256) : 0);
    body[7] = (unsigned char) padding;
    char meta[16];
    weft_message_t request = { .kind = WEFT_REQUEST,
                               .id = id,
                               .service = weft_span(SIM_SERVICES[service]),
                               .method = weft_span(SIM_METHODS[method]),
                               .ttl_ms = ttl_ms,
                               .priority = (uint8_t) sim_below(self, WEFT_PRIORITIES),
                               .body = { (const char *) body, 8 + padding } };
    if (sim_one_in(self, 3)) {
        const char *from = METAS[sim_below(self, 2)];
        request.meta = (weft_span_t){ meta, strlen(from) };
        memcpy(meta, from, request.meta.size);
        meta[request.meta.size - 1] = (char) ('a' + sim_below(self, 4));
    }
    network_encode(frame, &request);
}

static void
s_call(sim_t *self, node_t *node, uint32_t service, uint32_t method, uint32_t ttl_ms, bool probe)
{
    if (self->call_count + 1 == CALLS_MAX)
        return;
    const uint32_t number = self->call_count + 1;
    call_t *call = &self->calls[number];
    *call = (call_t){ .client = node->index,
                      .client_life = node->life,
                      .deadline_ms = sim_now_ms(self) + ttl_ms,
                      .submitted_at = self->now,
                      .idempotent = method != METHOD_PUT && !sim_one_in(self, 4),
                      .repeatable = method != METHOD_PUT,
                      .known = service < SERVICES && method < METHODS,
                      .probe = probe };
    zmq_msg_t frame;
    clients_request(self, &frame, weft_rng_next(&self->rng), number, service, method, ttl_ms);
    self->call_count++;
    const weft_status_t status = client_session_submit(
        node->client, &frame, call->idempotent, (void *) (uintptr_t) number, sim_now_ms(self), &call->ticket);
    zmq_msg_close(&frame);
    if (status != WEFT_OK) {
        SIM_REQUIRE(self, status == WEFT_RESOURCE_EXHAUSTED && !probe, "submit: %s",
                    weft_status_name(status));
        self->call_count--;
        return;
    }
    SIM_REQUIRE(self, call->finals == 0, "call %u ended within submit", number);
    TRACE(self, "client %u calls %u: %s.%s ttl %u%s", node->index, number, SIM_SERVICES[service],
          SIM_METHODS[method], ttl_ms, call->idempotent ? " idempotent" : "");
    if (!self->gentle && !probe && sim_one_in(self, 10))
        events_add(self, self->now + sim_below(self, (int64_t) ttl_ms * 1000), EVENT_CANCEL, number, 0, 0);
}

void
clients_submit(sim_t *self, node_t *node)
{
    if (!node->alive)
        return;
    const bool stray = !self->gentle && sim_one_in(self, 30);
    const uint32_t service = (uint32_t) (stray ? sim_below(self, SERVICES + 1) : sim_below(self, SERVICES));
    const uint32_t method = (uint32_t) (stray ? sim_below(self, METHODS + 1) : sim_below(self, METHODS));
    const uint32_t ttl_ms = self->gentle ? 20000
                                         : (uint32_t) (sim_one_in(self, 3) ? 1 + sim_below(self, 300)
                                                                           : 1 + sim_below(self, 8000));
    s_call(self, node, service, method, ttl_ms, false);
}

void
clients_probe(sim_t *self, node_t *node, uint32_t service, uint32_t method)
{
    s_call(self, node, service, method, 5000, true);
    clients_touch(self, node);
}

void
clients_load(sim_t *self, node_t *node, uint32_t service)
{
    s_call(self, node, service, METHOD_GET, 20000, false);
    clients_touch(self, node);
}

void
clients_cancel(sim_t *self, uint32_t number)
{
    const call_t *call = &self->calls[number];
    node_t *node = &self->nodes[call->client];
    if (number == 0 || !node->alive || node->life != call->client_life || call->gone || call->probe)
        return;
    client_session_cancel(node->client, call->ticket, sim_now_ms(self));
    scenario_wake(self, node, self->now); /* a caller may have called again from within */
}

void
clients_touch(sim_t *self, node_t *node)
{
    if (node->paused_until > self->now || !node->alive)
        return; /* its tick is planned */
    const int64_t next = client_session_tick(node->client, sim_now_ms(self));
    client_session_check(node->client);
    scenario_wake(self, node, next == INT64_MAX ? next : next * 1000);
}
