/* broker_service - the service weft.broker: what this broker knows and how it is */
#include "broker/broker_service.h"

#include <assert.h>
#include <stdio.h>

#include "broker/ending.h"
#include "broker/pack.h"
#include "broker/watch.h"

/* Lists end before the reply would not fit into a frame, and say so. */
enum { LIST_BYTES_MAX = WEFT_FRAME_MAX - 64 * 1024 };

/* An array whose count is not known yet: always five bytes wide. */
static size_t
s_begin_list(weft_buf_t *out)
{
    (void) weft_buf_add(out, "\xdd\0\0\0\0", 5);
    return out->size - 4;
}

static void
s_end_list(weft_buf_t *out, size_t at, uint32_t count)
{
    if (out->failed)
        return;
    for (int i = 0; i < 4; i++)
        out->data[at + (size_t) i] = (char) (count >> (24 - 8 * i));
}

static const char *const STATES[] = { [HEALTH_WELL] = "well",
                                      [HEALTH_EJECTED] = "ejected",
                                      [HEALTH_PROBATION] = "probation",
                                      [HEALTH_RAMP] = "ramp" };

static void
s_pack_service(msgpack_packer *packer, const service_t *service)
{
    const weft_descriptor_t *descriptor = service->current->descriptor;
    (void) msgpack_pack_map(packer, 16);
    pack_text(packer, "name", service->span);
    pack_text(packer, "version", descriptor->version);
    pack_uint(packer, "workers", service->workers);
    pack_uint(packer, "capacity", service->capacity);
    pack_uint(packer, "outstanding", service->outstanding);
    pack_uint(packer, "limit", service->limit);
    pack_uint(packer, "queued", service->backlog.count);
    pack_uint(packer, "queued_bytes", service->backlog.bytes);
    pack_uint(packer, "requests", service->requests);
    pack_uint(packer, "failures", service->failures);
    pack_uint(packer, "retries", service->retries);
    pack_uint(packer, "refused", service->refused);
    pack_uint(packer, "ejected", service->health.out);
    pack_uint(packer, "slow", service->health.slow);
    pack_bool(packer, "conflict", service->conflict);
    pack_key(packer, "methods");
    (void) msgpack_pack_array(packer, descriptor->method_count);
    for (uint32_t i = 0; i < descriptor->method_count; i++)
        pack_str(packer, descriptor->methods[i].name);
}

static void
s_services(dispatcher_t *self, msgpack_packer *packer, weft_buf_t *out)
{
    uint32_t count = 0;
    (void) msgpack_pack_map(packer, 3);
    pack_uint(packer, "epoch", self->config.epoch);
    pack_key(packer, "services");
    size_t list = s_begin_list(out);
    LIST_EACH(link, next, &self->registry.order)
    {
        if (out->size > LIST_BYTES_MAX)
            break;
        s_pack_service(packer, LIST_ITEM(link, service_t, order_link));
        count++;
    }
    s_end_list(out, list, count);
    pack_bool(packer, "truncated", count < self->registry.services.count);
}

/* No numbers of connections: what names a connection to ZeroMQ is nobody's business. */
static void
s_pack_worker(const dispatcher_t *self, msgpack_packer *packer, const worker_t *worker)
{
    const char *instance = "";
    LIST_EACH(link, next, &worker->offers)
    instance = LIST_ITEM(link, offer_t, worker_link)->instance;
    (void) msgpack_pack_map(packer, 6);
    pack_text(packer, "instance", weft_span(instance));
    pack_uint(packer, "load", worker->load);
    pack_uint(packer, "outstanding", worker->held);
    pack_bool(packer, "draining", worker->draining);
    pack_uint(packer, "silent_ms", (uint64_t) (self->now - worker->last_at) / 1000);
    pack_key(packer, "services");
    (void) msgpack_pack_array(packer, worker->offer_count);
    LIST_EACH(link, next, &worker->offers)
    {
        const offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        const health_t *health = &offer->health;
        (void) msgpack_pack_map(packer, 8);
        pack_text(packer, "name", offer->service->span);
        pack_text(packer, "version",
                  offer->variant ? offer->variant->descriptor->version : (weft_span_t){ 0 });
        pack_uint(packer, "capacity", offer->capacity);
        pack_uint(packer, "outstanding", offer->outstanding);
        pack_text(packer, "state", weft_span(STATES[health->state]));
        /* Its times beside the median of the service's workers, and how much more it seems to hold. */
        pack_uint(packer, "time_percent", health_factor(health, &offer->service->health) * 100 / HEALTH_ONE);
        pack_uint(packer, "weight_percent", (HEALTH_ONE + health->penalty) * 100 / HEALTH_ONE);
        pack_uint(packer, "failing_percent", (uint64_t) health->failing.mean * 100 / HEALTH_POINT);
    }
}

static void
s_workers(dispatcher_t *self, msgpack_packer *packer, weft_buf_t *out)
{
    uint32_t count = 0;
    (void) msgpack_pack_map(packer, 3);
    pack_uint(packer, "epoch", self->config.epoch);
    pack_key(packer, "workers");
    size_t list = s_begin_list(out);
    LIST_EACH(link, next, &self->peers.worker_list)
    {
        if (out->size > LIST_BYTES_MAX)
            break;
        s_pack_worker(self, packer, LIST_ITEM(link, worker_t, peers_link));
        count++;
    }
    s_end_list(out, list, count);
    pack_bool(packer, "truncated", count < self->peers.workers.count);
}

static void
s_stats(dispatcher_t *self, msgpack_packer *packer, weft_buf_t *out)
{
    (void) out;
    (void) msgpack_pack_map(packer, 12);
    pack_uint(packer, "epoch", self->config.epoch);
    pack_uint(packer, "uptime_ms", (uint64_t) (self->now - self->started_at) / 1000);
    pack_bool(packer, "draining", self->draining);
    pack_uint(packer, "in_flight", dispatcher_in_flight(self));
    pack_uint(packer, "queued", self->registry.backlog.total_count);
    pack_uint(packer, "queued_bytes", self->registry.backlog.total_bytes);
    pack_uint(packer, "clients", self->peers.clients.count);
    pack_uint(packer, "workers", self->peers.workers.count);
    pack_uint(packer, "services", self->registry.services.count);
    pack_uint(packer, "watchers", self->watcher_count);
    pack_uint(packer, "bytes", dispatcher_bytes(self));
    pack_key(packer, "counters");
    (void) msgpack_pack_map(packer, COUNTERS_COUNT);
    for (int i = 0; i < COUNTERS_COUNT; i++) {
        const dispatcher_counter_t *counter = &self->counters[i];
        char name[96];
        bool labelled = counter->labels[0] != '\0';
        int size = snprintf(name, sizeof name, labelled ? "%s{%s}" : "%s", counter->name, counter->labels);
        assert(size > 0 && (size_t) size < sizeof name);
        (void) size;
        pack_uint(packer, name, counter->value);
    }
}

/* A new method is a row. */
static const struct {
    const char *name;
    void (*pack)(dispatcher_t *self, msgpack_packer *packer, weft_buf_t *out);
} METHODS[] = { { "services", s_services }, { "workers", s_workers }, { "stats", s_stats } };

static void
s_answer(dispatcher_t *self, request_t *request, weft_span_t body)
{
    zmq_msg_t frame;
    if (!answers_ok(&self->answers, &frame, WEFT_REPLY, request->client_key, body)) {
        ending_fail(self, request, WEFT_RESOURCE_EXHAUSTED, "the answer is longer than a frame");
        return;
    }
    weft_status_t sent = core_send_client(self, request->client, request->framed, &frame);
    (void) zmq_msg_close(&frame);
    if (sent == WEFT_RESOURCE_EXHAUSTED) {
        ending_owe(self, request);
    } else {
        core_count(self, COUNT_ANSWERS);
        ending_let_go(self, request);
    }
}

void
broker_service_request(dispatcher_t *self, request_t *request, const weft_message_t *message)
{
    for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++) {
        if (!weft_span_equal(message->method, weft_span(METHODS[i].name)))
            continue;
        weft_buf_t *out = &self->answers.body;
        msgpack_packer packer;
        weft_buf_reset(out);
        msgpack_packer_init(&packer, out, weft_buf_write);
        METHODS[i].pack(self, &packer, out);
        if (out->failed)
            ending_fail(self, request, WEFT_RESOURCE_EXHAUSTED, "the answer is longer than a frame");
        else
            s_answer(self, request, weft_buf_span(out));
        return;
    }
    if (weft_span_equal(message->method, WEFT_SPAN("watch"))) {
        watch_start(self, request);
    } else if (weft_span_equal(message->method, WEFT_SPAN("drain"))) {
        s_answer(self, request, (weft_span_t){ 0 });
        dispatcher_drain(self, self->now);
    } else {
        core_count(self, COUNT_REFUSED_METHOD);
        ending_fail(self, request, WEFT_UNIMPLEMENTED,
                    "weft.broker has the methods services, workers, stats, drain, watch");
    }
}
