/* workers - honest workers: a pool of threads, a queue, service times, cancels, drains */
#include <stdlib.h>

#include <msgpack.h>

#include "sim/sim.h"

enum {
    TAKES_MAX = 10000000
}; /* microseconds: what was begun when all are healed ends before it is looked for */

static void s_run_next(sim_t *self, node_t *node);

static weft_status_t
s_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    node_t *node = context;
    conn_t *conn = network_conn(node->sim, link);
    weft_message_t message;
    const char *why;
    SIM_REQUIRE(node->sim,
                weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) == WEFT_OK,
                "worker %u sends a malformed message: %s", node->index, why);
    if (conn->peer_life != node->life)
        return WEFT_UNAVAILABLE;
    if (message.kind == WEFT_READY || message.kind == WEFT_DRAIN)
        TRACE(node->sim, "worker %u sends %s over link %u to broker %u", node->index,
              message.kind == WEFT_READY ? "READY" : "DRAIN", link, conn->broker);
    const weft_status_t status = network_send(node->sim, conn, TO_BROKER, frame);
    if (status != WEFT_OK)
        return status;
    if (message.kind == WEFT_REPLY && conn->outstanding > 0)
        conn->outstanding--;
    return WEFT_OK;
}

static void
s_drop(void *context, uint32_t link)
{
    node_t *node = context;
    network_cut(node->sim, network_conn(node->sim, link));
}

static void
s_on_request(void *context, worker_request_t *request)
{
    node_t *node = context;
    sim_t *self = node->sim;
    uint32_t at = 0;
    while (at < JOBS_MAX && node->jobs[at].state != JOB_FREE)
        at++;
    SIM_REQUIRE(self, at < JOBS_MAX, "worker %u holds too many requests", node->index);
    for (uint32_t i = 0; i < SERVICES; i++)
        node->got[i] += weft_span_equal(request->message.service, weft_span(SIM_SERVICES[i]));
    const bool stream = weft_span_equal(request->message.method, WEFT_SPAN("stream"));
    node->jobs[at] = (job_t){ .state = JOB_QUEUED,
                              .sequence = ++node->job_sequence,
                              .token = request->token,
                              .call = checks_call_of(request->message.body),
                              .partials = stream ? (uint32_t) sim_below(self, 4) : 0,
                              .deadline_ms = request->deadline_ms };
    TRACE(self, "worker %u holds call %u", node->index, node->jobs[at].call);
    s_run_next(self, node);
}

static void
s_answer(sim_t *self, node_t *node, job_t *job, weft_status_t status, bool maybe)
{
    zmq_msg_t frame;
    unsigned char body[5] = { 0xce, (unsigned char) (job->call >> 24), (unsigned char) (job->call >> 16),
                              (unsigned char) (job->call >> 8), (unsigned char) job->call };
    weft_buf_t error_bytes;
    weft_buf_init(&error_bytes, 4096);
    weft_message_t reply = { .kind = WEFT_REPLY,
                             .status = status,
                             .body = { (const char *) body, sizeof body } };
    if (status != WEFT_OK) {
        const weft_error_body_t error = { .message = WEFT_SPAN("no"),
                                          .hop = maybe ? WEFT_SPAN("handler") : WEFT_SPAN("worker"),
                                          .executed_maybe = maybe };
        if (!weft_error_body_write(&error_bytes, &error))
            abort();
        reply.body = weft_buf_span(&error_bytes);
    }
    network_encode(&frame, &reply);
    weft_buf_fini(&error_bytes);
    if (job->state == JOB_RUNNING)
        node->running--;
    job->state = JOB_FREE;
    TRACE(self, "worker %u answers call %u: %s", node->index, job->call, weft_status_name(status));
    worker_session_reply(node->worker, job->token, &frame, sim_now_ms(self));
    zmq_msg_close(&frame);
}

static bool
s_sick(const sim_t *self, const node_t *node)
{
    return !self->healing && self->now < node->sick_until;
}

static void
s_run(sim_t *self, node_t *node, uint32_t at)
{
    job_t *job = &node->jobs[at];
    if (job->cancelled) {
        s_answer(self, node, job, WEFT_CANCELLED, false);
    } else if (sim_now_ms(self) >= job->deadline_ms) {
        s_answer(self, node, job, WEFT_DEADLINE_EXCEEDED, false);
    } else {
        job->state = JOB_RUNNING;
        node->running++;
        checks_begin(self, job->call);
        int64_t takes = 1 + sim_around(self, node->service_time) / (job->partials + 1);
        if (!self->gentle && !self->healing && sim_one_in(self, 50))
            takes *= 10;
        if (s_sick(self, node))
            takes = takes * node->sick_times < TAKES_MAX ? takes * node->sick_times : TAKES_MAX;
        events_add(self, self->now + takes, EVENT_WORK, node->index, at, job->sequence);
    }
}

static void
s_run_next(sim_t *self, node_t *node)
{
    while (node->running < node->threads) {
        uint32_t first = JOBS_MAX;
        for (uint32_t i = 0; i < JOBS_MAX && i < node->job_sequence; i++)
            if (node->jobs[i].state == JOB_QUEUED &&
                (first == JOBS_MAX || node->jobs[i].sequence < node->jobs[first].sequence))
                first = i;
        if (first == JOBS_MAX)
            break;
        s_run(self, node, first);
    }
}

void
workers_work(sim_t *self, node_t *node, uint32_t at, uint64_t mark)
{
    if (!node->alive || node->jobs[at].sequence != mark || node->jobs[at].state != JOB_RUNNING)
        return;
    if (node->paused_until > self->now) {
        events_add(self, node->paused_until, EVENT_WORK, node->index, at, mark);
        return;
    }
    job_t *job = &node->jobs[at];
    if (job->partials > 0) {
        zmq_msg_t frame;
        const unsigned char body[5] = { 0xce, (unsigned char) (job->call >> 24),
                                        (unsigned char) (job->call >> 16), (unsigned char) (job->call >> 8),
                                        (unsigned char) job->call };
        network_encode(
            &frame, &(weft_message_t){ .kind = WEFT_PARTIAL, .body = { (const char *) body, sizeof body } });
        const weft_status_t status = worker_session_partial(node->worker, job->token, &frame,
                                                            sim_now_ms(self));
        zmq_msg_close(&frame);
        if (status == WEFT_OK)
            job->partials--;
        else if (status == WEFT_CANCELLED)
            job->partials = 0;
        events_add(self, self->now + 1 + sim_around(self, node->service_time) / 4, EVENT_WORK, node->index,
                   at, mark);
        return;
    }
    const bool fails = !self->gentle && !self->healing && sim_one_in(self, 20);
    const bool sick = s_sick(self, node) && sim_below(self, 100) < node->sick_fails;
    s_answer(self, node, job, sick ? WEFT_INTERNAL : fails ? WEFT_NOT_FOUND : WEFT_OK, true);
    s_run_next(self, node);
    workers_touch(self, node);
}

static void
s_on_cancel(void *context, uint64_t token)
{
    node_t *node = context;
    for (uint32_t i = 0; i < JOBS_MAX; i++) {
        job_t *job = &node->jobs[i];
        if (job->state == JOB_FREE || job->token != token)
            continue;
        TRACE(node->sim, "worker %u: call %u is cancelled", node->index, job->call);
        SIM_REQUIRE(node->sim, !job->cancelled, "cancelled twice");
        job->cancelled = true;
        if (job->state == JOB_RUNNING && !node->stubborn) {
            s_answer(node->sim, node, job, WEFT_CANCELLED, true);
            s_run_next(node->sim, node);
        }
        return;
    }
    sim_fail(node->sim, "worker %u: cancel of a token that it does not hold", node->index);
}

static void
s_on_registered(void *context, uint32_t link, const char *service, weft_status_t status, weft_span_t message)
{
    node_t *node = context;
    TRACE(node->sim, "worker %u link %u: %s registered: %s %.*s", node->index, link, service,
          weft_status_name(status), (int) message.size, message.data ? message.data : "");
}

static const worker_session_callbacks_t CALLBACKS = { s_send, s_drop, s_on_request, s_on_cancel,
                                                      s_on_registered };

static void
s_pack(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str_with_body(pk, text, strlen(text));
}

void
workers_descriptor(weft_buf_t *out, uint32_t service, uint32_t version, uint32_t variant)
{
    char text[32];
    msgpack_packer pk;
    weft_buf_init(out, WEFT_DESCRIPTOR_MAX);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, 4);
    s_pack(&pk, "name");
    s_pack(&pk, SIM_SERVICES[service]);
    s_pack(&pk, "version");
    (void) snprintf(text, sizeof text, "1.%u.0", version);
    s_pack(&pk, text);
    s_pack(&pk, "instance");
    (void) snprintf(text, sizeof text, "i%u", variant);
    s_pack(&pk, text);
    s_pack(&pk, "methods");
    msgpack_pack_array(&pk, METHODS);
    for (uint32_t i = 0; i < METHODS; i++) {
        msgpack_pack_map(&pk, 2);
        s_pack(&pk, "name");
        s_pack(&pk, SIM_METHODS[i]);
        s_pack(&pk, "idempotent");
        if (i == METHOD_PUT)
            msgpack_pack_false(&pk);
        else
            msgpack_pack_true(&pk);
    }
    if (out->failed)
        abort();
}

static void
s_offer(sim_t *self, node_t *node, uint32_t service, uint32_t capacity)
{
    weft_buf_t descriptor;
    workers_descriptor(&descriptor, service, node->version, node->index);
    if (worker_session_offer(node->worker, weft_span(SIM_SERVICES[service]), weft_buf_span(&descriptor),
                             capacity, sim_now_ms(self)) != WEFT_OK)
        sim_fail(self, "offer refused");
    weft_buf_fini(&descriptor);
}

void
workers_offer_all(sim_t *self, node_t *node)
{
    for (uint32_t i = 0; i < SERVICES; i++)
        if (node->offers[i])
            s_offer(self, node, i, node->capacity);
}

void
workers_start(sim_t *self, node_t *node)
{
    const worker_session_config_t config = { 1000, 4000, weft_rng_next(&self->rng) };
    node->worker = worker_session_new(&config, &CALLBACKS, node);
    node->jobs = calloc(JOBS_MAX, sizeof *node->jobs);
    if (!node->worker || !node->jobs)
        abort();
    node->running = 0;
    node->job_sequence = 0;
    node->leaving = false;
    workers_offer_all(self, node);
    for (uint32_t i = 0; i < self->brokers; i++)
        network_connect(self, node->index, i);
}

static void
s_stop(sim_t *self, node_t *node, bool orderly)
{
    network_node_gone(self, node, orderly);
    worker_session_destroy(&node->worker);
    free(node->jobs);
    node->jobs = NULL;
    node->alive = false;
    node->life++;
}

void
workers_kill(sim_t *self, node_t *node)
{
    TRACE(self, "kill worker %u", node->index);
    s_stop(self, node, false);
}

void
workers_drain(sim_t *self, node_t *node)
{
    TRACE(self, "drain worker %u", node->index);
    node->leaving = true;
    worker_session_drain(node->worker, sim_now_ms(self));
    workers_touch(self, node);
}

void
workers_reoffer(sim_t *self, node_t *node)
{
    const uint32_t service = (uint32_t) sim_below(self, SERVICES);
    if (!node->offers[service])
        return;
    if (sim_one_in(self, 3))
        node->version++;
    const uint32_t capacity = (uint32_t) sim_below(self, node->capacity + 1);
    TRACE(self, "worker %u offers service %u with capacity %u", node->index, service, capacity);
    s_offer(self, node, service, capacity);
    workers_touch(self, node);
}

void
workers_touch(sim_t *self, node_t *node)
{
    if (node->paused_until > self->now)
        return; /* its tick is planned */
    const int64_t next = worker_session_tick(node->worker, sim_now_ms(self));
    worker_session_check(node->worker);
    if (node->leaving && worker_session_drained(node->worker)) {
        TRACE(self, "worker %u leaves", node->index);
        worker_session_bye(node->worker, sim_now_ms(self));
        s_stop(self, node, true);
        return;
    }
    scenario_wake(self, node, next == INT64_MAX ? next : next * 1000);
}
