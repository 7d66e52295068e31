/* checks - what must hold, whatever goes wrong */
#include <stdlib.h>

#include "sim/sim.h"

uint32_t
checks_call_of(weft_span_t body)
{
    const unsigned char *at = (const unsigned char *) body.data;
    size_t size = body.size;
    if (size > 0 && at[0] == 0x92) {
        at++;
        size--;
    }
    if (size < 5 || at[0] != 0xce)
        return 0;
    return (uint32_t) at[1] << 24 | (uint32_t) at[2] << 16 | (uint32_t) at[3] << 8 | at[4];
}

static call_t *
s_call(sim_t *self, uint32_t number)
{
    return number > 0 && number <= self->call_count ? &self->calls[number] : NULL;
}

void
checks_arrived(sim_t *self, node_t *broker, conn_t *conn, const weft_message_t *request)
{
    if (self->nodes[conn->peer].role == CLIENT) {
        if (conn->asked_count == conn->asked_room) {
            conn->asked_room = conn->asked_room * 2 + 64;
            conn->asked = realloc(conn->asked, conn->asked_room * sizeof *conn->asked);
            if (!conn->asked)
                abort();
        }
        conn->asked[conn->asked_count++] = request->id;
    }
    /* A submit may send before its call is counted. */
    const uint32_t number = checks_call_of(request->body);
    call_t *call = s_call(self, number);
    if (!call)
        return;
    const int64_t deadline = self->now + (int64_t) request->ttl_ms * 1000;
    if (call->broker_life[broker->index] != broker->life || call->broker_deadline[broker->index] < deadline)
        call->broker_deadline[broker->index] = deadline;
    call->broker_life[broker->index] = broker->life;
}

void
checks_answered(sim_t *self, conn_t *conn, const weft_message_t *reply)
{
    uint32_t at = 0;
    while (at < conn->asked_count && conn->asked[at] != reply->id)
        at++;
    SIM_REQUIRE(self, at < conn->asked_count,
                "broker %u answers %llx over link %u, which is answered or was never asked", conn->broker,
                (unsigned long long) reply->id, conn->number);
    if (reply->kind == WEFT_REPLY)
        conn->asked[at] = conn->asked[--conn->asked_count];
}

void
checks_refused(sim_t *self, node_t *broker, const weft_message_t *reply)
{
    weft_error_body_t error;
    weft_error_body_read(reply->body, &error);
    const uint64_t after_ms = weft_mp_get_uint(error.details, "retry_after_ms", 0);
    if (!weft_span_equal(error.hop, WEFT_SPAN("broker")) || after_ms == 0)
        return;
    SIM_REQUIRE(self, !error.executed_maybe, "broker %u refuses what was perhaps executed", broker->index);
    SIM_REQUIRE(self, after_ms >= 20 && after_ms <= 60000, "broker %u says to try again after %llu ms",
                broker->index, (unsigned long long) after_ms);
}

void
checks_refusals(sim_t *self, node_t *broker)
{
    static const char *const REASONS[] = { "reason=\"queue_full\"",  "reason=\"queue_bytes\"",
                                           "reason=\"total_bytes\"", "reason=\"caller_share\"",
                                           "reason=\"deadline\"",    "reason=\"delay\"" };
    enum { COUNT = sizeof REASONS / sizeof REASONS[0], LATE = 4, SHED = 5 };
    uint64_t values[COUNT] = { 0 };
    size_t count;
    const dispatcher_counter_t *counters = dispatcher_counters(broker->dispatcher, &count);
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < COUNT; k++)
            if (strcmp(counters[i].labels, REASONS[k]) == 0)
                values[k] += counters[i].value;
    self->stat_late += values[LATE];
    self->stat_shed += values[SHED];
    for (int k = 0; k < COUNT; k++)
        SIM_REQUIRE(self, !self->gentle || values[k] == 0, "broker %u refused %llu though nobody failed: %s",
                    broker->index, (unsigned long long) values[k], REASONS[k]);
}

void
checks_handed_out(sim_t *self, node_t *broker, conn_t *conn, uint32_t number, const weft_message_t *request)
{
    self->seen[self->seen_count % SEEN_IDS].id = request->id;
    self->seen[self->seen_count++ % SEEN_IDS].conn = conn->number;
    const call_t *call = s_call(self, number);
    if (!call)
        return;
    TRACE(self, "broker %u hands call %u to node %u", broker->index, number, conn->peer);
    const int64_t deadline = call->broker_deadline[broker->index];
    SIM_REQUIRE(self, call->broker_life[broker->index] == broker->life,
                "broker %u hands out call %u, which never reached it", broker->index, number);
    SIM_REQUIRE(self, self->now < deadline, "call %u was handed out %lld us after its deadline", number,
                (long long) (self->now - deadline));
    SIM_REQUIRE(self, (int64_t) request->ttl_ms * 1000 < deadline - self->now + 1000,
                "call %u was handed out with a ttl of %u ms, %lld us are left", number, request->ttl_ms,
                (long long) (deadline - self->now));
}

void
checks_begin(sim_t *self, uint32_t number)
{
    call_t *call = s_call(self, number);
    if (!call)
        return;
    self->stat_begun++;
    call->begun++;
    TRACE(self, "call %u is begun", number);
    SIM_REQUIRE(self, !call->said_no, "call %u is begun after its caller was told that it is not", number);
    SIM_REQUIRE(self, call->begun == 1 || call->repeatable, "call %u, not idempotent, is begun %u times",
                number, call->begun);
    SIM_REQUIRE(self, call->known, "call %u of an unknown method is begun", number);
}

static void
s_final(sim_t *self, node_t *node, uint32_t number, call_t *call, const weft_reply_t *reply)
{
    bool maybe = true;
    weft_span_t why = WEFT_SPAN("");
    call->finals++;
    call->ended = true;
    call->status = reply->status;
    if (reply->status == WEFT_OK) {
        self->stat_ok++;
    } else {
        weft_error_body_t error;
        weft_error_body_read(reply->body, &error);
        maybe = error.executed_maybe;
        why = error.message;
        self->stat_errors++;
    }
    TRACE(self, "call %u ends: %s%s %.*s", number, weft_status_name(reply->status),
          maybe ? "" : " (not executed)", (int) why.size, why.data);
    SIM_REQUIRE(self, call->finals == 1, "call %u ends %u times", number, call->finals);
    call->said_no = !maybe;
    self->load_failures += self->load_calls > 0 && reply->status != WEFT_OK &&
                           reply->status != WEFT_CANCELLED;
    SIM_REQUIRE(self, maybe || call->begun == 0,
                "call %u was begun, its caller is told that it was not: %.*s", number, (int) why.size,
                why.data);
    SIM_REQUIRE(self, maybe || call->partials == 0, "call %u gave partials and was not executed", number);
    SIM_REQUIRE(self, sim_now_ms(self) <= call->deadline_ms + 1 || self->now <= node->paused_until,
                "call %u ends %lld ms late", number, (long long) (sim_now_ms(self) - call->deadline_ms));
    SIM_REQUIRE(self, !call->probe || reply->status == WEFT_OK, "probe %u failed: %s: %.*s", number,
                weft_status_name(reply->status), (int) why.size, why.data);
    SIM_REQUIRE(self, !self->gentle || reply->status == WEFT_OK, "call %u failed though nobody did: %s: %.*s",
                number, weft_status_name(reply->status), (int) why.size, why.data);
    /* Without lost messages the method is idempotent or begun once. */
    SIM_REQUIRE(self, !self->gentle || call->begun == 1, "call %u was begun %u times though nobody failed",
                number, call->begun);
}

void
checks_reply(sim_t *self, node_t *node, uint32_t number, const weft_reply_t *reply)
{
    call_t *call = s_call(self, number);
    SIM_REQUIRE(self, call, "reply to call %u, which never was", number);
    SIM_REQUIRE(self, call->client == node->index && call->client_life == node->life,
                "call %u is answered to another client", number);
    SIM_REQUIRE(self, !call->ended, "call %u is answered after its end", number);
    if (call->gone) {
        call->ended = reply->final; /* it is being cut off with its client */
        return;
    }
    if (reply->status == WEFT_OK) {
        const uint32_t named = checks_call_of(reply->body);
        SIM_REQUIRE(self, named == 0 || named == number, "call %u gets the reply to call %u", number, named);
        SIM_REQUIRE(self,
                    !weft_span_equal(reply->body, WEFT_SPAN("\xa6"
                                                            "forged")),
                    "call %u gets a forged reply", number);
    }
    if (reply->final)
        s_final(self, node, number, call, reply);
    else
        call->partials++;
}

static void
s_service(void *context, const dispatcher_service_t *service)
{
    const node_t *node = context;
    if (service->queued > node->config.queue_max)
        sim_fail(node->sim, "service %s queues %u of %u", service->name, service->queued,
                 node->config.queue_max);
    const uint32_t limit = limits_of(&node->config.limits, weft_span(service->name));
    if (service->limit != limit || (limit > 0 && service->outstanding > limit))
        sim_fail(node->sim, "service %s has %u at workers of %u", service->name, service->outstanding, limit);
}

void
checks_broker(sim_t *self, node_t *broker)
{
    const dispatcher_t *dispatcher = broker->dispatcher;
    dispatcher_check(dispatcher);
    dispatcher_each_service(dispatcher, s_service, broker);
    SIM_REQUIRE(self, dispatcher_in_flight(dispatcher) <= broker->config.in_flight_max, "slab overrun");
    SIM_REQUIRE(self, dispatcher_workers(dispatcher) <= broker->config.workers_max, "workers overrun");
    SIM_REQUIRE(self, dispatcher_clients(dispatcher) <= broker->config.clients_max, "clients overrun");
    SIM_REQUIRE(self, dispatcher_services(dispatcher) <= broker->config.services_max, "services overrun");
}

static void
s_outstanding(void *context, const dispatcher_service_t *service)
{
    const node_t *node = context;
    if (service->outstanding > 0)
        sim_fail(node->sim, "broker %u lost %u credits of service %s", node->index, service->outstanding,
                 service->name);
}

void
checks_credits(sim_t *self)
{
    for (uint32_t i = 0; i < self->conn_count; i++)
        if (self->conns[i]->pipes[TO_BROKER].count > 0)
            return; /* replies may be on their way */
    for (uint32_t i = 0; i < self->node_count; i++) {
        const node_t *node = &self->nodes[i];
        if (node->role == WORKER && (!node->alive || worker_session_held(node->worker) > 0))
            return;
    }
    for (uint32_t i = 0; i < self->brokers; i++)
        if (self->nodes[i].alive)
            dispatcher_each_service(self->nodes[i].dispatcher, s_outstanding, &self->nodes[i]);
}

void
checks_quiet(sim_t *self)
{
    for (uint32_t i = 1; i <= self->call_count; i++)
        SIM_REQUIRE(self, self->calls[i].ended || self->calls[i].gone, "call %u never ended", i);
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        if (!node->alive)
            continue;
        if (node->role == CLIENT)
            SIM_REQUIRE(self, client_session_in_flight(node->client) == 0, "client %u is not idle", i);
        if (node->role == WORKER)
            SIM_REQUIRE(self, worker_session_held(node->worker) == 0, "worker %u still holds %u", i,
                        worker_session_held(node->worker));
        if (node->role == BROKER) {
            SIM_REQUIRE(self, dispatcher_idle(node->dispatcher), "broker %u is not idle", i);
            SIM_REQUIRE(self, dispatcher_queued(node->dispatcher) == 0, "broker %u has a queue", i);
        }
    }
}

static void
s_ejected(void *context, const dispatcher_service_t *service)
{
    const node_t *node = context;
    uint32_t got = 0;
    for (uint32_t i = 0; i < SERVICES; i++)
        got += strcmp(service->name, SIM_SERVICES[i]) == 0 ? node->got[i] : 0;
    /* Three trials of one request in eight; a broker that clients hardly use has not seen them yet. */
    if (service->ejected > 0 && got >= 60)
        sim_fail(node->sim, "broker %u still has %u workers of %s ejected", node->index, service->ejected,
                 service->name);
}

/* By worker, not by service: one that is busy for one service may stand behind idle ones for another. */
void
checks_all_work(sim_t *self)
{
    if (self->load_calls == 0)
        return;
    for (uint32_t i = 0; i < self->node_count; i++) {
        const node_t *node = &self->nodes[i];
        uint32_t got = 0;
        for (uint32_t k = 0; k < SERVICES; k++)
            got += node->got[k];
        SIM_REQUIRE(self, node->role != WORKER || !node->alive || got > 0,
                    "worker %u got none of %u calls of each service after all are well", i, self->load_calls);
        if (node->role == BROKER && node->alive && self->load_failures == 0)
            dispatcher_each_service(node->dispatcher, s_ejected, &self->nodes[i]);
    }
}

void
checks_empty(sim_t *self)
{
    for (uint32_t i = 0; i < self->brokers; i++) {
        node_t *node = &self->nodes[i];
        if (!node->alive)
            continue;
        const uint64_t bytes = dispatcher_bytes(node->dispatcher);
        SIM_REQUIRE(self, bytes == 0, "broker %u holds %llu bytes, %u clients, %u workers, %u services", i,
                    (unsigned long long) bytes, dispatcher_clients(node->dispatcher),
                    dispatcher_workers(node->dispatcher), dispatcher_services(node->dispatcher));
    }
}
