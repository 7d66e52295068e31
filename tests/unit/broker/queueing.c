/* queueing - a dispatcher, workers with threads and service times, and callers, all in virtual time */
#include "unit/broker/queueing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <weft/log.h>

#include "broker/pack.h"

enum { CLIENT = 1, TTL_MS = 60000 };

static const char *const METHODS[] = { "cheap", "dear" };

/* ---- events */

static bool
s_sooner(const queueing_event_t *a, const queueing_event_t *b)
{
    return a->at != b->at ? a->at < b->at : a->request < b->request;
}

static void
s_add(queueing_t *self, int64_t at, uint32_t request)
{
    queueing_event_t *heap = self->events;
    queueing_event_t event = { at, request };
    assert_true(self->event_count < QUEUEING_WORKERS * QUEUEING_CAPACITY);
    uint32_t place = self->event_count++;
    for (; place > 0 && s_sooner(&event, &heap[(place - 1) / 2]); place = (place - 1) / 2)
        heap[place] = heap[(place - 1) / 2];
    heap[place] = event;
}

static queueing_event_t
s_take(queueing_t *self)
{
    queueing_event_t *heap = self->events;
    queueing_event_t first = heap[0];
    queueing_event_t last = heap[--self->event_count];
    uint32_t place = 0;
    for (uint32_t child; (child = place * 2 + 1) < self->event_count; place = child) {
        child += child + 1 < self->event_count && s_sooner(&heap[child + 1], &heap[child]);
        if (!s_sooner(&heap[child], &last))
            break;
        heap[place] = heap[child];
    }
    heap[place] = last;
    return first;
}

static int64_t
s_exponential(queueing_t *self, double mean)
{
    double uniform = ((double) weft_rng_below(&self->rng, 1 << 30) + 0.5) / (1 << 30);
    return 1 + (int64_t) (-log(uniform) * mean);
}

/* ---- workers */

static void
s_work(queueing_t *self, queueing_worker_t *worker)
{
    while (worker->running < worker->threads && worker->waiting > 0) {
        uint32_t number = worker->held[worker->first++ % QUEUEING_CAPACITY];
        queueing_request_t *request = &self->requests[number];
        bool dear = number % 100 < self->dear;
        worker->waiting--;
        worker->running++;
        request->begun_at = self->now_us;
        s_add(self, self->now_us + s_exponential(self, (double) worker->service_us * (dear ? 10 : 1)),
              number);
    }
}

static void
s_say(queueing_t *self, peer_t from, const weft_message_t *message)
{
    zmq_msg_t frame;
    weft_buf_t buf;
    weft_buf_init(&buf, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&buf, message), WEFT_OK);
    assert_int_equal(zmq_msg_init_size(&frame, buf.size), 0);
    memcpy(zmq_msg_data(&frame), buf.data, buf.size);
    weft_buf_fini(&buf);
    dispatcher_receive(self->dispatcher, from, &frame, 1, self->now_us);
    assert_int_equal(zmq_msg_close(&frame), 0);
}

static void
s_done(queueing_t *self, uint32_t number)
{
    queueing_request_t *request = &self->requests[number];
    queueing_worker_t *worker = &self->workers[request->worker];
    weft_buf_t meta;
    msgpack_packer packer;
    char text[24];
    worker->running--;
    weft_buf_init(&meta, WEFT_META_MAX);
    msgpack_packer_init(&packer, &meta, weft_buf_write);
    (void) msgpack_pack_map(&packer, 1);
    (void) weft_format(text, sizeof text, "%lld", (long long) (request->begun_at - request->handed_at));
    pack_text(&packer, "wait_us", weft_span(text));
    bool fails = weft_rng_below(&self->rng, 100) < worker->failing;
    weft_message_t reply = { .kind = WEFT_REPLY,
                             .id = request->id,
                             .status = fails ? WEFT_INTERNAL : WEFT_OK,
                             .load = worker->running + worker->waiting,
                             .meta = weft_buf_span(&meta) };
    peer_t from = { BACK, request->worker + 1, false };
    s_say(self, from, &reply);
    weft_buf_fini(&meta);
    s_work(self, worker);
}

static weft_status_t
s_send(void *context, peer_t to, zmq_msg_t *frame)
{
    queueing_t *self = context;
    weft_message_t message;
    const char *why;
    assert_int_equal(weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why), WEFT_OK);
    if (to.side == FRONT && message.kind == WEFT_REPLY) {
        queueing_request_t *request = &self->requests[message.id];
        request->latency_us = (uint32_t) (self->now_us - request->sent_at);
        request->ok = message.status == WEFT_OK;
    } else if (to.side == BACK && message.kind == WEFT_REQUEST) {
        weft_mp_t cursor = weft_mp(message.body);
        weft_mp_token_t token;
        queueing_worker_t *worker = &self->workers[to.number - 1];
        assert_true(weft_mp_next(&cursor, &token));
        queueing_request_t *request = &self->requests[token.v.u];
        request->id = message.id;
        request->worker = to.number - 1;
        request->handed_at = self->now_us;
        assert_true(worker->waiting < QUEUEING_CAPACITY);
        worker->held[(worker->first + worker->waiting++) % QUEUEING_CAPACITY] = (uint32_t) token.v.u;
        s_work(self, worker);
    }
    assert_int_equal(zmq_msg_close(frame), 0);
    assert_int_equal(zmq_msg_init(frame), 0);
    return WEFT_OK;
}

/* ---- the world */

queueing_t *
queueing_new(const dispatcher_config_t *config)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    queueing_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->requests = calloc(QUEUEING_REQUESTS, sizeof *self->requests);
    self->events = calloc(QUEUEING_WORKERS * QUEUEING_CAPACITY, sizeof *self->events);
    assert_non_null(self->requests);
    assert_non_null(self->events);
    self->now_us = 1000000;
    self->request_count = 1;
    weft_rng_seed(&self->rng, 4711);
    self->dispatcher = dispatcher_new(config, s_send, self);
    assert_non_null(self->dispatcher);
    self->next_us = dispatcher_tick(self->dispatcher, self->now_us);
    return self;
}

void
queueing_free(queueing_t *self)
{
    dispatcher_destroy(&self->dispatcher);
    free(self->requests);
    free(self->events);
    free(self);
}

queueing_worker_t *
queueing_worker(queueing_t *self, uint32_t threads, uint32_t capacity, int64_t service_us)
{
    assert_true(self->worker_count < QUEUEING_WORKERS && capacity <= QUEUEING_CAPACITY);
    queueing_worker_t *worker = &self->workers[self->worker_count++];
    *worker = (queueing_worker_t){ .threads = threads, .capacity = capacity, .service_us = service_us };
    weft_buf_t buf;
    msgpack_packer packer;
    char text[24];
    weft_buf_init(&buf, WEFT_DESCRIPTOR_MAX);
    msgpack_packer_init(&packer, &buf, weft_buf_write);
    (void) msgpack_pack_map(&packer, 4);
    pack_text(&packer, "name", WEFT_SPAN("work"));
    pack_text(&packer, "version", WEFT_SPAN("1.0.0"));
    pack_text(&packer, "instance", weft_span(weft_format(text, sizeof text, "w%u", self->worker_count)));
    pack_key(&packer, "methods");
    (void) msgpack_pack_array(&packer, 2);
    for (int i = 0; i < 2; i++) {
        (void) msgpack_pack_map(&packer, 1);
        pack_text(&packer, "name", weft_span(METHODS[i]));
    }
    weft_message_t ready = {
        .kind = WEFT_READY, .id = 1, .descriptor = weft_buf_span(&buf), .capacity = capacity
    };
    peer_t from = { BACK, self->worker_count, false };
    s_say(self, from, &ready);
    weft_buf_fini(&buf);
    return worker;
}

static void
s_arrive(queueing_t *self)
{
    weft_buf_t body;
    msgpack_packer packer;
    assert_true(self->request_count < QUEUEING_REQUESTS);
    uint32_t number = self->request_count++;
    self->requests[number].sent_at = self->now_us;
    weft_buf_init(&body, 64);
    msgpack_packer_init(&packer, &body, weft_buf_write);
    (void) msgpack_pack_uint32(&packer, number);
    weft_message_t request = { .kind = WEFT_REQUEST,
                               .id = number,
                               .service = WEFT_SPAN("work"),
                               .method = weft_span(METHODS[number % 100 < self->dear]),
                               .ttl_ms = TTL_MS,
                               .priority = 1,
                               .body = weft_buf_span(&body) };
    peer_t from = { FRONT, CLIENT, false };
    s_say(self, from, &request);
    weft_buf_fini(&body);
}

/* What is due at that time; peers say that they live once a second. */
static void
s_pass(queueing_t *self, int64_t until_us)
{
    while (self->next_us <= until_us) {
        self->now_us = self->next_us > self->now_us ? self->next_us : self->now_us;
        for (uint32_t i = 0; i < self->worker_count; i++) {
            const queueing_worker_t *worker = &self->workers[i];
            weft_message_t ping = { .kind = WEFT_PING, .load = worker->running + worker->waiting };
            peer_t from = { BACK, i + 1, false };
            s_say(self, from, &ping);
        }
        self->next_us = dispatcher_tick(self->dispatcher, self->now_us);
    }
    self->now_us = until_us;
}

uint32_t
queueing_run(queueing_t *self, double per_second, int64_t seconds)
{
    uint32_t first = self->request_count;
    int64_t end_us = self->now_us + seconds * 1000000;
    s_add(self, self->now_us, 0);
    while (self->event_count > 0) {
        queueing_event_t event = s_take(self);
        s_pass(self, event.at);
        if (event.request > 0) {
            s_done(self, event.request);
        } else if (self->now_us < end_us) {
            s_arrive(self);
            s_add(self, self->now_us + s_exponential(self, 1e6 / per_second), 0);
        }
        /* What was sent may have set a deadline that is nearer. */
        self->next_us = dispatcher_tick(self->dispatcher, self->now_us);
    }
    dispatcher_check(self->dispatcher);
    assert_true(dispatcher_idle(self->dispatcher));
    return first;
}

/* ---- what came of it */

static int
s_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *) a;
    uint32_t y = *(const uint32_t *) b;
    return (x > y) - (x < y);
}

uint32_t
queueing_percentile(const queueing_t *self, uint32_t first, uint32_t p, const queueing_worker_t *but)
{
    uint32_t *latencies = calloc(self->request_count, sizeof *latencies);
    uint32_t count = 0;
    assert_non_null(latencies);
    for (uint32_t i = first; i < self->request_count; i++)
        if (&self->workers[self->requests[i].worker] != but)
            latencies[count++] = self->requests[i].latency_us;
    assert_true(count > 0);
    qsort(latencies, count, sizeof *latencies, s_compare);
    uint32_t value = latencies[(uint64_t) count * p / 100];
    free(latencies);
    return value;
}

uint32_t
queueing_share(const queueing_t *self, uint32_t first, const queueing_worker_t *worker)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < self->request_count; i++)
        count += &self->workers[self->requests[i].worker] == worker;
    return count * 1000 / (self->request_count - first);
}

uint32_t
queueing_failed(const queueing_t *self, uint32_t first)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < self->request_count; i++)
        count += !self->requests[i].ok;
    return count * 1000 / (self->request_count - first);
}

uint64_t
queueing_counter(const queueing_t *self, const char *name, const char *labels)
{
    size_t count;
    const dispatcher_counter_t *counters = dispatcher_counters(self->dispatcher, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(counters[i].name, name) == 0 && strcmp(counters[i].labels, labels) == 0)
            return counters[i].value;
    fail_msg("no counter %s{%s}", name, labels);
    return 0;
}
