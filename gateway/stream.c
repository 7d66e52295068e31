/* stream - a streaming method's replies as server-sent events or lines of JSON */
#include "gateway/stream.h"

#include <weft/json.h>
#include <weft/log.h>

#include "gateway/accept.h"
#include "gateway/call.h"

#define FIRST_MS 1000 /* so long an error may still become an ordinary response; then the head is sent */
#define BATCH ((size_t) 64 * 1024)         /* bytes of partials that go out with one write */
#define COLLECT_MAX ((size_t) 1024 * 1024) /* bytes of a collected stream */
#define SLICE_MS 500                       /* how soon a stream notices that the gateway leaves */

typedef struct {
    exchange_t *exchange;
    accept_t form;
    bool open; /* the head is sent */
    bool too_large;
    bool warned;       /* of event names or ids that cannot be sent */
    uint32_t partials; /* collected */
} stream_t;

static bool
s_open(stream_t *self)
{
    if (!self->open) {
        self->open = true;
        return exchange_open(self->exchange,
                             self->form == ACCEPT_SSE ? "text/event-stream" : "application/x-ndjson");
    }
    return !self->exchange->broken;
}

/* Adds one partial to the document. */
static bool
s_collect(stream_t *self, weft_span_t value)
{
    weft_buf_t *out = &self->exchange->slot->out;
    weft_json_error_t error;
    if (self->partials++ == 0) {
        weft_buf_add_text(exchange_body(self->exchange), "{\"partials\":[");
    } else {
        weft_buf_add_char(out, ',');
    }
    self->too_large = out->size > COLLECT_MAX;
    return weft_mp_to_json(value, out, &error) == WEFT_OK && !self->too_large;
}

static void
s_finish_collected(stream_t *self, weft_span_t result)
{
    exchange_t *exchange = self->exchange;
    weft_buf_t *out = &exchange->slot->out;
    weft_json_error_t error;
    if (self->partials == 0) {
        weft_buf_add_text(exchange_body(exchange), "{\"partials\":[");
    }
    weft_buf_add_text(out, "],\"result\":");
    if (weft_mp_to_json(result, out, &error) == WEFT_INVALID_ARGUMENT) {
        exchange_refuse(exchange, 500, WEFT_INTERNAL, "reply-not-json", error.message);
        return;
    }
    weft_buf_add_char(out, '}');
    exchange_send(exchange, 200, "application/json", (weft_span_t){ NULL, 0 });
}

/* What may stand in a line of server-sent events.  NUL: an id that has one is ignored by whoever reads it. */
static bool
s_is_line(weft_span_t text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0') {
            return false;
        }
    }
    return text.size > 0 && text.size <= CALL_EVENT_ID_MAX;
}

/* A line from what the handler said in meta.  What would break the form is left out: the handler's bug. */
static void
s_add_line(stream_t *self, const char *field, weft_span_t meta, const char *key)
{
    weft_span_t text;
    if (!weft_meta_get(meta, key, &text)) {
        return;
    }
    if (s_is_line(text)) {
        weft_buf_t *out = &self->exchange->slot->out;
        weft_buf_add_text(out, field);
        weft_buf_add(out, text.data, text.size);
        weft_buf_add_char(out, '\n');
    } else if (!self->warned) {
        self->warned = true;
        weft_log_warning("an event's name or id cannot be sent", WEFT_STR("key", key),
                         WEFT_STR("service", self->exchange->method->stats->service),
                         WEFT_STR("method", self->exchange->method->stats->method));
    }
}

/* Appends one reply to the chunk in the making. */
static bool
s_append(stream_t *self, const weft_reply_t *reply)
{
    weft_buf_t *out = &self->exchange->slot->out;
    weft_json_error_t error;
    size_t before = out->size;
    if (self->form == ACCEPT_SSE) {
        if (reply->final) {
            weft_buf_add_text(out, "event: done\n");
        } else {
            s_add_line(self, "event: ", reply->meta, "event.name");
        }
        s_add_line(self, "id: ", reply->meta, "event.id");
        weft_buf_add_text(out, "data: ");
    }
    /* Our JSON has no line ends in it. */
    if (weft_mp_to_json(reply->body, out, &error) != WEFT_OK) {
        out->size = before; /* what came before it is still sent */
        return false;
    }
    weft_buf_add_text(out, self->form == ACCEPT_SSE ? "\n\n" : "\n");
    return !out->failed;
}

static bool
s_flush(stream_t *self)
{
    return s_open(self) && exchange_flush(self->exchange);
}

static void
s_fail(stream_t *self, problem_t *problem)
{
    exchange_t *exchange = self->exchange;
    if (!self->open) {
        exchange_fail(exchange, problem);
        return;
    }
    weft_buf_t *out = exchange_chunk(exchange);
    problem->request_id = exchange->slot->trace.request_id;
    weft_buf_add_text(out, self->form == ACCEPT_SSE ? "event: error\ndata: " : "{\"problem\":");
    if (problem_write(problem, out) && weft_buf_add_text(out, self->form == ACCEPT_SSE ? "\n\n" : "}\n")) {
        exchange_flush(exchange);
        exchange_end_chunks(exchange);
    }
}

/* An EventSource connects again behind the end of a stream too.  One that heard the end is told, by 204, that
 * there is no more to come (HTML standard, 9.2.3). */
static bool
s_was_heard(const exchange_t *exchange, const weft_reply_t *reply)
{
    weft_span_t id;
    return exchange->slot->head.last_event_id.size > 0 && weft_meta_get(reply->meta, "event.id", &id) &&
           weft_span_equal(id, exchange->slot->head.last_event_id);
}

/* The final reply. */
static void
s_finish(stream_t *self, const weft_reply_t *reply)
{
    problem_t problem;
    call_take_times(self->exchange, reply);
    if (reply->status != WEFT_OK) {
        problem_from_reply(&problem, reply->status, reply->body);
        s_fail(self, &problem);
        return;
    }
    if (self->form == ACCEPT_JSON) {
        s_finish_collected(self, reply->body);
        return;
    }
    if (self->form == ACCEPT_SSE && !self->open && s_was_heard(self->exchange, reply)) {
        exchange_body(self->exchange);
        exchange_send(self->exchange, 204, "", (weft_span_t){ NULL, 0 });
        return;
    }
    bool nil = reply->body.size == 1 && (unsigned char) reply->body.data[0] == 0xc0;
    exchange_chunk(self->exchange);
    if ((self->form == ACCEPT_SSE || !nil) && !s_append(self, reply)) {
        problem = (problem_t){ .http = 500,
                               .code = WEFT_INTERNAL,
                               .kind = "reply-not-json",
                               .detail = WEFT_SPAN("the result cannot be written as JSON"),
                               .executed_maybe = true };
        s_fail(self, &problem);
        return;
    }
    if (s_flush(self)) {
        exchange_end_chunks(self->exchange);
    }
}

/* Sends a partial and all that wait behind it, with one write.  The final reply, if it comes along, is given
 * back in *last.  NULL, or why the stream cannot go on. */
static const char *
s_forward(stream_t *self, weft_reply_t *reply, weft_reply_t *last)
{
    exchange_t *exchange = self->exchange;
    bool ok = true;
    if (self->form != ACCEPT_JSON) {
        exchange_chunk(exchange);
    }
    for (;;) {
        ok = self->form == ACCEPT_JSON ? s_collect(self, reply->body) : s_append(self, reply);
        weft_reply_fini(reply);
        if (!ok || (self->form != ACCEPT_JSON && exchange_chunk_size(exchange) >= BATCH) ||
            !waiter_take(&exchange->slot->waiter, reply)) {
            break;
        }
        if (reply->final) {
            *last = *reply;
            break;
        }
    }
    if (self->form != ACCEPT_JSON) {
        (void) s_flush(self); /* its failure is exchange->broken */
    }
    return ok                ? NULL
           : self->too_large ? "the stream is too large for one document: accept application/x-ndjson"
                             : "a partial result cannot be written as JSON";
}

/* Until the final reply (NULL, and *last has it), or why the gateway itself ends the stream. */
static const char *
s_pump(stream_t *self, weft_reply_t *last, bool *hangup)
{
    exchange_t *exchange = self->exchange;
    slot_t *slot = exchange->slot;
    int64_t sent_at_ms = weft_mono_ms();
    for (;;) {
        weft_reply_t reply;
        if (gateway_phase(exchange->gateway) >= GATEWAY_DRAINING) {
            return "the gateway is leaving: connect again";
        }
        switch (waiter_next(&slot->waiter, SLICE_MS, call_find_socket, exchange, &reply)) {
        case WAITER_REPLY:
            *last = reply;
            if (reply.final) {
                return NULL;
            }
            const char *why = s_forward(self, &reply, last);
            sent_at_ms = weft_mono_ms();
            if (last->final || why) {
                return last->final ? NULL : why;
            }
            *hangup = exchange->broken;
            break;
        case WAITER_HANGUP:
            *hangup = true;
            break;
        case WAITER_OVERFLOW:
            weft_metric_add(exchange->gateway->stats.slow_streams, 1);
            return "the stream is read too slowly";
        case WAITER_INTERRUPTED:
            break;
        case WAITER_TIMEOUT:
            if (!self->open && self->form != ACCEPT_JSON && weft_mono_ms() - sent_at_ms >= FIRST_MS) {
                *hangup = !s_open(self);
            }
            if (self->form == ACCEPT_SSE && weft_mono_ms() - sent_at_ms >= GATEWAY_PING_MS) {
                sent_at_ms = weft_mono_ms();
                weft_buf_add_text(exchange_chunk(exchange), ": ping\n\n");
                *hangup = !s_flush(self);
            }
            break;
        }
        if (*hangup) {
            return "the client is gone";
        }
    }
}

static void
s_run(stream_t *self, const weft_call_t *call)
{
    exchange_t *exchange = self->exchange;
    gateway_t *gateway = exchange->gateway;
    waiter_t *waiter = &exchange->slot->waiter;
    uint64_t ticket;
    exchange->submitted_us = weft_mono_us();
    waiter_begin(waiter, true);
    weft_status_t status = weft_submit(gateway->client, call, waiter_on_reply, waiter, &ticket);
    if (status != WEFT_OK) {
        exchange_refuse(exchange, 503, status, "overload", "the call could not be sent");
        return;
    }
    weft_reply_t last;
    bool hangup = false;
    const char *why = s_pump(self, &last, &hangup);
    exchange->replied_us = weft_mono_us();
    if (!why) {
        s_finish(self, &last);
        weft_reply_fini(&last);
        return;
    }
    weft_cancel(gateway->client, ticket);
    waiter_end(waiter);
    if (hangup) {
        weft_metric_add(gateway->stats.hangups, 1);
        exchange->status = 499;
        exchange->broken = exchange->close = true;
        return;
    }
    bool leaving = gateway_phase(gateway) >= GATEWAY_DRAINING;
    problem_t problem = { .http = 503,
                          .code = leaving ? WEFT_UNAVAILABLE : WEFT_RESOURCE_EXHAUSTED,
                          .kind = "stream-ended",
                          .detail = weft_span(why),
                          .executed_maybe = true };
    s_fail(self, &problem);
}

void
stream_run(exchange_t *self, const method_t *method)
{
    gateway_t *gateway = self->gateway;
    stream_t stream = { .exchange = self, .form = accept_choose(self->slot->head.accept) };
    weft_call_t call;
    if (stream.form == ACCEPT_NONE) {
        exchange_refuse(
            self, 406, WEFT_INVALID_ARGUMENT, "not-acceptable",
            "the method streams: accept text/event-stream, application/x-ndjson or application/json");
        return;
    }
    if (self->head_only) {
        static const char *const TYPES[] = { "text/event-stream", "application/x-ndjson",
                                             "application/json" };
        exchange_open(self, TYPES[stream.form]);
        return;
    }
    if (atomic_fetch_add(&gateway->streams, 1) >= (uint32_t) gateway->settings.streams_max) {
        weft_metric_add(gateway->stats.overload_streams, 1);
        exchange_refuse(self, 503, WEFT_RESOURCE_EXHAUSTED, "overload", "too many streams are open");
    } else if (call_prepare(self, method, &call) && call_has_broker(self, &call)) {
        s_run(&stream, &call);
    }
    atomic_fetch_sub(&gateway->streams, 1);
}
