/* stats - the gateway's metrics: made once, counted without a lock */
#include "gateway/stats.h"

#include <stdio.h>

#define REQUESTS "weft_gateway_requests_total"
#define DURATION "weft_gateway_request_duration_seconds"

static const int CODES[STATS_CODES - 1] = { 200, 201, 202, 204, 400, 401, 403, 404, 405, 406, 408,
                                            409, 411, 412, 413, 415, 417, 422, 429, 431, 499, 500,
                                            501, 502, 503, 504, 505, 203, 205, 206, 414 };

static void
s_copy(char *to, size_t size, weft_span_t from)
{
    size_t n = from.size < size - 1 ? from.size : size - 1;
    if (n > 0) {
        memcpy(to, from.data, n);
    }
    to[n] = '\0';
}

void
stats_method_init(stats_method_t *self, weft_span_t service, weft_span_t method)
{
    char labels[256];
    memset(self, 0, sizeof *self);
    s_copy(self->service, sizeof self->service, service);
    s_copy(self->method, sizeof self->method, method);
    weft_metric_labels(labels, sizeof labels, "service", self->service, "method", self->method, NULL);
    self->duration = weft_metric(WEFT_HISTOGRAM, DURATION, labels,
                                 "Time from the request's head to the end of its answer");
}

void
stats_method_count(stats_method_t *self, int http, int64_t duration_us)
{
    unsigned i = 0;
    while (i < STATS_CODES - 1 && CODES[i] != http) {
        i++;
    }
    weft_metric_t *requests = atomic_load_explicit(&self->requests[i], memory_order_acquire);
    if (!requests) {
        /* Two threads may both make it: the registry gives them the same series. */
        char labels[256];
        char code[16];
        snprintf(code, sizeof code, "%d", i < STATS_CODES - 1 ? http : 0);
        weft_metric_labels(labels, sizeof labels, "service", self->service, "method", self->method, "code",
                           i < STATS_CODES - 1 ? code : "other", NULL);
        requests = weft_metric(WEFT_COUNTER, REQUESTS, labels,
                               "Requests answered, by method and HTTP status");
        atomic_store_explicit(&self->requests[i], requests, memory_order_release);
    }
    weft_metric_add(requests, 1);
    weft_metric_observe_us(self->duration, duration_us);
}

static weft_metric_t *
s_overload(const char *reason)
{
    char labels[64];
    weft_metric_labels(labels, sizeof labels, "reason", reason, NULL);
    return weft_metric(WEFT_COUNTER, "weft_gateway_overload_total", labels,
                       "Requests refused with 503 to protect the gateway");
}

static void
s_init_queued(stats_t *self)
{
    static const char *const BY[2] = { "prefer", "idempotency_key" };
    static const char *const OUTCOMES[STATS_QUEUED_OUTCOMES] = { "accepted", "done",    "replayed",
                                                                 "conflict", "timeout", "failed" };
    for (unsigned by = 0; by < 2; by++) {
        for (unsigned i = 0; i < STATS_QUEUED_OUTCOMES; i++) {
            char labels[96];
            weft_metric_labels(labels, sizeof labels, "by", BY[by], "outcome", OUTCOMES[i], NULL);
            self->queued[by][i] = weft_metric(WEFT_COUNTER, "weft_gateway_queued_total", labels,
                                              "Calls that went through the durable queue");
        }
    }
}

void
stats_init(stats_t *self)
{
    memset(self, 0, sizeof *self);
    s_init_queued(self);
    self->in_flight = weft_metric(WEFT_GAUGE, "weft_gateway_in_flight", "", "Requests being handled");
    self->connections = weft_metric(WEFT_GAUGE, "weft_gateway_connections", "", "Open client connections");
    self->streams = weft_metric(WEFT_GAUGE, "weft_gateway_streams", "", "Open streams");
    self->body_readers = weft_metric(WEFT_GAUGE, "weft_gateway_body_readers", "",
                                     "Threads reading a request body");
    self->bytes_in = weft_metric(WEFT_COUNTER, "weft_gateway_request_body_bytes_total", "",
                                 "Bytes of request bodies");
    self->bytes_out = weft_metric(WEFT_COUNTER, "weft_gateway_response_body_bytes_total", "",
                                  "Bytes of response bodies");
    for (unsigned i = 1; i < GUARD_REASONS; i++) {
        char labels[64];
        weft_metric_labels(labels, sizeof labels, "reason", guard_name((guard_reason_t) i), NULL);
        self->refused[i] = weft_metric(WEFT_COUNTER, "weft_gateway_refused_heads_total", labels,
                                       "Requests refused since their head breaks HTTP's framing rules");
    }
    self->overload_connections = s_overload("connections");
    self->overload_streams = s_overload("streams");
    self->overload_bodies = s_overload("bodies");
    self->overload_drain = s_overload("drain");
    self->hangups = weft_metric(WEFT_COUNTER, "weft_gateway_hangups_total", "",
                                "Callers that left while their call ran");
    self->evicted = weft_metric(WEFT_COUNTER, "weft_gateway_evicted_connections_total", "",
                                "Idle connections closed to make room");
    self->broken_answers = weft_metric(
        WEFT_COUNTER, "weft_gateway_broken_answers_total", "",
        "Answers that could not be written whole: the client left or read too slowly");
    self->slow_bodies = weft_metric(WEFT_COUNTER, "weft_gateway_slow_bodies_total", "",
                                    "Request bodies that took too long");
    self->slow_streams = weft_metric(WEFT_COUNTER, "weft_gateway_slow_streams_total", "",
                                     "Streams ended since they were read too slowly");
    self->unwaited = weft_metric(WEFT_COUNTER, "weft_gateway_unwaited_total", "",
                                 "Waits for jobs that were left out since half of the threads wait");
    self->services = weft_metric(WEFT_GAUGE, "weft_gateway_services", "", "Services known");
    self->shadowed_routes = weft_metric(WEFT_GAUGE, "weft_gateway_shadowed_routes", "",
                                        "Declared routes that an earlier one keeps from serving");
    self->refused_methods = weft_metric(WEFT_GAUGE, "weft_gateway_refused_methods", "",
                                        "Methods whose schema does not compile");
    self->watch_opened = weft_metric(WEFT_COUNTER, "weft_gateway_watches_total", "",
                                     "Watches of the registry opened");
    self->watch_events = weft_metric(WEFT_COUNTER, "weft_gateway_watch_events_total", "",
                                     "Registry events received");
    self->synced = weft_metric(WEFT_GAUGE, "weft_gateway_synced", "",
                               "1 while the list of services is followed");
    stats_method_init(&self->own, WEFT_SPAN(""), WEFT_SPAN(""));
}
