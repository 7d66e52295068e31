/* call - an HTTP request becomes a call of a method, and its reply an HTTP response */
#include "gateway/call.h"

#include <msgpack.h>
#include <stdio.h>

#include <weft/config.h>
#include <weft/json.h>
#include <weft/log.h>
#include <weft/mp.h>

#include "gateway/body.h"
#include "gateway/params.h"
#include "gateway/queued.h"

#define IDEMPOTENCY_KEY_MAX 255
#define LEAVE_SLICE_MS 500 /* how soon a wait that can be ended notices that the gateway leaves */

static const weft_span_t NOTHING = { NULL, 0 };

int
call_find_socket(void *context)
{
    return exchange_socket(context);
}

static void
s_pack(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

/* What the handler gets to know beside the input.  Nothing of it is named by the client: it cannot claim to
 * be somebody (auth.*) or a job (job.*). */
static weft_span_t
s_make_meta(slot_t *slot, bool streaming)
{
    const weft_span_t none = { NULL, 0 };
    const struct {
        const char *key;
        weft_span_t value;
    } ENTRIES[] = { { "request_id", weft_span(slot->trace.request_id) },
                    { "traceparent", weft_span(slot->trace.traceparent) },
                    { "idempotency.key", slot->head.idempotency_key },
                    { "last-event-id", streaming ? slot->head.last_event_id : none } };
    const size_t count = sizeof ENTRIES / sizeof ENTRIES[0];
    uint32_t present = 0;
    for (size_t i = 0; i < count; i++) {
        present += ENTRIES[i].value.size > 0;
    }
    msgpack_packer pk;
    weft_buf_reset(&slot->meta);
    slot->meta.max = WEFT_META_MAX;
    msgpack_packer_init(&pk, &slot->meta, weft_buf_write);
    msgpack_pack_map(&pk, present);
    for (size_t i = 0; i < count; i++) {
        if (ENTRIES[i].value.size > 0) {
            s_pack(&pk, weft_span(ENTRIES[i].key));
            s_pack(&pk, ENTRIES[i].value);
        }
    }
    return weft_buf_span(&slot->meta);
}

/* The draft (draft-ietf-httpapi-idempotency-key-header) has the key as a quoted string, most clients send it
 * bare: both name the same key. */
static bool
s_check_key(exchange_t *self)
{
    weft_span_t *key = &self->slot->head.idempotency_key;
    if (!key->data) {
        return true;
    }
    bool sound = true;
    if (key->size > 0 && key->data[0] == '"') {
        sound = key->size > 2 && key->data[key->size - 1] == '"';
        key->data++;
        key->size -= sound ? 2 : 1;
        sound = sound && !memchr(key->data, '"', key->size) && !memchr(key->data, '\\', key->size);
    }
    sound = sound && key->size > 0 && key->size <= IDEMPOTENCY_KEY_MAX;
    for (size_t i = 0; i < key->size && sound; i++) {
        sound = key->data[i] >= 0x20 && key->data[i] < 0x7f;
    }
    if (!sound) {
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "idempotency-key",
                        "Idempotency-Key must be 1 to 255 printable ASCII characters, bare or in quotes");
    }
    return sound;
}

/* What an EventSource heard last.  It comes from our own `id:` lines: anything else is refused. */
static bool
s_check_event_id(exchange_t *self)
{
    weft_span_t id = self->slot->head.last_event_id;
    bool sound = id.size <= CALL_EVENT_ID_MAX && weft_utf8_valid(id);
    for (size_t i = 0; i < id.size && sound; i++) {
        sound = (unsigned char) id.data[i] >= 0x20 && id.data[i] != 0x7f;
    }
    if (!sound) {
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "last-event-id",
                        "Last-Event-ID must be at most 256 bytes of UTF-8 without control characters");
    }
    return sound;
}

static bool
s_read_timeout(exchange_t *self, const method_t *method, uint32_t *timeout_ms)
{
    weft_span_t text = self->slot->head.timeout;
    *timeout_ms = method && method->about->timeout_ms ? method->about->timeout_ms
                                                      : GATEWAY_TIMEOUT_DEFAULT_MS;
    if (!text.data) {
        return true;
    }
    char copy[16];
    int64_t number;
    if (text.size > 0 && text.size < sizeof copy) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        if (weft_parse_int(copy, 1, WEFT_TTL_MAX_MS, &number)) {
            *timeout_ms = (uint32_t) number;
            return true;
        }
    }
    exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "timeout",
                    "X-Request-Timeout-Ms must be a number from 1 to 86400000");
    return false;
}

/* 422 with one entry per violation. */
static void
s_refuse_input(exchange_t *self)
{
    slot_t *slot = self->slot;
    const weft_schema_report_t *report = &slot->report;
    msgpack_packer pk;
    weft_buf_reset(&slot->body);
    msgpack_packer_init(&pk, &slot->body, weft_buf_write);
    msgpack_pack_array(&pk, report->count);
    for (uint32_t i = 0; i < report->count; i++) {
        msgpack_pack_map(&pk, 2);
        s_pack(&pk, WEFT_SPAN("pointer"));
        s_pack(&pk, weft_span(report->errors[i].pointer));
        s_pack(&pk, WEFT_SPAN("message"));
        s_pack(&pk, weft_span(report->errors[i].message));
    }
    problem_t problem = {
        .http = 422,
        .code = WEFT_INVALID_ARGUMENT,
        .kind = "schema-violation",
        .detail =
            report->more
                ? WEFT_SPAN(
                      "the input does not fulfil the method's schema; there are more violations than listed")
                : WEFT_SPAN("the input does not fulfil the method's schema"),
        .errors = slot->body.failed ? NOTHING : weft_buf_span(&slot->body)
    };
    exchange_fail(self, &problem);
}

static bool
s_read_json(exchange_t *self, weft_span_t *value)
{
    slot_t *slot = self->slot;
    weft_json_error_t error = { 0, "malformed" };
    *value = NOTHING;
    if (!body_announced(self)) {
        return true;
    }
    if (!body_read(self)) {
        return false;
    }
    if (slot->json.size == 0) {
        return true; /* a chunked body may be empty */
    }
    weft_buf_reset(&slot->body);
    weft_status_t status = weft_json_to_mp(weft_buf_span(&slot->json), &slot->body, &error);
    if (status == WEFT_OK) {
        *value = weft_buf_span(&slot->body);
        return true;
    }
    if (status == WEFT_RESOURCE_EXHAUSTED) {
        exchange_refuse(self, 413, WEFT_OUT_OF_RANGE, "body-too-large",
                        "the body is too large for one message");
        return false;
    }
    char detail[128];
    snprintf(detail, sizeof detail, "the body is not valid JSON: %s at byte %zu", error.message,
             error.offset);
    exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "invalid-json", detail);
    return false;
}

static bool
s_merge(exchange_t *self, const method_t *method, weft_span_t *value)
{
    slot_t *slot = self->slot;
    params_error_t error;
    const params_schema_t input = { method ? method->input : NULL, method ? method->about->input : NOTHING };
    weft_buf_reset(&slot->input);
    weft_status_t status = params_merge(&slot->input, &input, slot->match.params, slot->match.param_count,
                                        slot->path.query, slot->path.query_count, *value, &error);
    if (status == WEFT_OK) {
        *value = weft_buf_span(&slot->input);
        return true;
    }
    if (status == WEFT_RESOURCE_EXHAUSTED) {
        exchange_refuse(self, 413, WEFT_OUT_OF_RANGE, "body-too-large",
                        "the input is too large for one message");
        return false;
    }
    char detail[192];
    if (error.name[0]) {
        snprintf(detail, sizeof detail, "parameter \"%s\": %s", error.name, error.message);
    } else {
        snprintf(detail, sizeof detail, "%s", error.message);
    }
    exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "parameter", detail);
    return false;
}

bool
call_prepare(exchange_t *self, const method_t *method, weft_call_t *call)
{
    slot_t *slot = self->slot;
    weft_span_t value;
    memset(call, 0, sizeof *call);
    if (method && method->refused) {
        char detail[320];
        snprintf(detail, sizeof detail, "the method's input schema does not compile: %s", method->refused);
        exchange_refuse(self, 501, WEFT_UNIMPLEMENTED, "method-refused", detail);
        return false;
    }
    if (!s_check_key(self) || !s_check_event_id(self) || !s_read_timeout(self, method, &call->timeout_ms) ||
        !s_read_json(self, &value)) {
        return false;
    }
    bool params = slot->match.param_count + slot->path.query_count > 0;
    if (params && !s_merge(self, method, &value)) {
        return false;
    }
    call->body = value.size ? value : WEFT_SPAN("\x80"); /* no body is an empty object */
    if (method && method->input && weft_schema_check(method->input, call->body, &slot->report) != WEFT_OK) {
        s_refuse_input(self);
        return false;
    }
    call->priority = WEFT_PRIORITY_DEFAULT;
    call->meta = s_make_meta(slot, method && method->about->streaming);
    if (method) {
        call->service = method->service->descriptor->name;
        call->method = method->about->name;
        call->idempotent = method->about->idempotent;
    }
    return true;
}

bool
call_has_broker(exchange_t *self, const weft_call_t *call)
{
    weft_client_t *client = self->gateway->client;
    int64_t wait_ms = call->timeout_ms < GATEWAY_BROKER_WAIT_MS ? call->timeout_ms : GATEWAY_BROKER_WAIT_MS;
    if (weft_client_brokers_up(client) > 0 || weft_client_wait(client, wait_ms)) {
        return true;
    }
    exchange_refuse(self, 503, WEFT_UNAVAILABLE, "no-broker", "no broker is reachable");
    return false;
}

static uint32_t
s_meta_number(weft_span_t meta, const char *key)
{
    weft_span_t text;
    char copy[16];
    int64_t number = 0;
    if (weft_meta_get(meta, key, &text) && text.size < sizeof copy) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        if (!weft_parse_int(copy, 0, UINT32_MAX, &number)) {
            number = 0;
        }
    }
    return (uint32_t) number;
}

void
call_take_times(exchange_t *self, const weft_reply_t *reply)
{
    self->queue_us = reply->queue_us;
    self->wait_us = s_meta_number(reply->meta, "wait_us");
    self->handler_us = s_meta_number(reply->meta, "handler_us");
}

/* A handler may choose a 2xx and a Location; anything else it says here is its bug, not the client's. */
static int
s_choose_status(weft_span_t meta, const char *status_key, const char *location_key, weft_span_t *location)
{
    uint32_t http = s_meta_number(meta, status_key);
    *location = NOTHING;
    if (weft_meta_get(meta, location_key, location)) {
        for (size_t i = 0; i < location->size; i++) {
            if (location->data[i] <= 0x20 || location->data[i] >= 0x7f) {
                *location = NOTHING; /* would split the head */
            }
        }
    }
    return http >= 200 && http <= 299 ? (int) http : 200;
}

void
call_answer_result(exchange_t *self, weft_span_t meta, const char *status_key, const char *location_key,
                   weft_span_t result)
{
    weft_span_t location;
    weft_json_error_t error;
    int http = s_choose_status(meta, status_key, location_key, &location);
    weft_buf_t *out = exchange_body(self);
    weft_status_t status = http == 204 ? WEFT_OK : weft_mp_to_json(result, out, &error);
    if (status == WEFT_INVALID_ARGUMENT) {
        problem_t problem = { .http = 500,
                              .code = WEFT_INTERNAL,
                              .kind = "reply-not-json",
                              .detail = weft_span(error.message),
                              .executed_maybe = true };
        exchange_fail(self, &problem);
        return;
    }
    exchange_send(self, http, "application/json", location);
}

static void
s_answer(exchange_t *self, const weft_reply_t *reply, bool enqueue)
{
    problem_t problem;
    weft_span_t location;
    if (reply->status != WEFT_OK) {
        if (enqueue) {
            queued_problem(&problem, reply);
        } else {
            problem_from_reply(&problem, reply->status, reply->body);
        }
        exchange_fail(self, &problem);
        return;
    }
    if (enqueue) {
        queued_look(self, reply, s_choose_status(reply->meta, "http.status", "http.location", &location));
    }
    call_answer_result(self, reply->meta, "http.status", "http.location", reply->body);
}

void
call_hung_up(exchange_t *self)
{
    weft_metric_add(self->gateway->stats.hangups, 1);
    self->status = 499;
    self->broken = self->close = true;
}

call_end_t
call_try(exchange_t *self, const weft_call_t *call, bool leave, weft_reply_t *reply, weft_status_t *why)
{
    slot_t *slot = self->slot;
    gateway_t *gateway = self->gateway;
    const int slice_ms = leave ? LEAVE_SLICE_MS : -1;
    const gateway_phase_t last = leave ? GATEWAY_LAME : GATEWAY_DRAINING;
    uint64_t ticket;
    int64_t begun_us = weft_mono_us();
    waiter_begin(&slot->waiter, false);
    *why = weft_submit(gateway->client, call, waiter_on_reply, &slot->waiter, &ticket);
    if (*why != WEFT_OK) {
        return CALL_REFUSED;
    }
    self->submitted_us = self->submitted_us ? self->submitted_us : begun_us;
    waiter_event_t event;
    do {
        event = waiter_next(&slot->waiter, slice_ms, call_find_socket, self, reply);
    } while ((event == WAITER_INTERRUPTED || event == WAITER_TIMEOUT) && gateway_phase(gateway) <= last);
    if (event == WAITER_REPLY) {
        self->replied_us = weft_mono_us();
        call_take_times(self, reply);
        return CALL_REPLIED;
    }
    weft_cancel(gateway->client, ticket);
    waiter_end(&slot->waiter);
    if (event == WAITER_HANGUP) {
        call_hung_up(self);
        return CALL_HANGUP;
    }
    return CALL_LEAVING;
}

/* Answers a call that has no reply. */
static void
s_answer_end(exchange_t *self, call_end_t end, weft_status_t why)
{
    problem_t problem;
    bool overload = why == WEFT_RESOURCE_EXHAUSTED;
    switch (end) {
    case CALL_REFUSED:
        exchange_refuse(self, overload ? 503 : 413, why, overload ? "overload" : "message-too-large",
                        overload ? "too many calls are open" : "the call does not fit into one message");
        break;
    case CALL_LEAVING:
        problem = (problem_t){ .http = 503,
                               .code = WEFT_UNAVAILABLE,
                               .kind = "leaving",
                               .detail = WEFT_SPAN("the gateway left before the call ended"),
                               .executed_maybe = true };
        exchange_fail(self, &problem);
        break;
    case CALL_HANGUP:
    case CALL_REPLIED:
        break;
    }
}

bool
call_make(exchange_t *self, const weft_call_t *call, weft_reply_t *reply)
{
    weft_status_t why;
    call_end_t end = call_try(self, call, false, reply, &why);
    s_answer_end(self, end, why);
    return end == CALL_REPLIED;
}

/* A long poll neither holds up a gateway that has to leave nor takes the last threads: it is told how things
 * stand. */
static bool
s_poll(exchange_t *self, weft_call_t *call, weft_reply_t *reply)
{
    weft_status_t why;
    if (!queued_wait_begin(self->gateway)) {
        queued_drop_wait(self, call);
        return call_make(self, call, reply);
    }
    call_end_t end = call_try(self, call, true, reply, &why);
    queued_wait_end(self->gateway);
    if (end == CALL_LEAVING) {
        queued_drop_wait(self, call);
        return call_make(self, call, reply);
    }
    s_answer_end(self, end, why);
    return end == CALL_REPLIED;
}

void
call_run(exchange_t *self, const method_t *method)
{
    weft_call_t call;
    weft_reply_t reply;
    if (!call_prepare(self, method, &call)) {
        return;
    }
    bool enqueue = queued_is_enqueue(method);
    if ((enqueue && !queued_put_key(self, &call)) || !call_has_broker(self, &call)) {
        return;
    }
    bool replied = queued_is_poll(method, &call) ? s_poll(self, &call, &reply)
                                                 : call_make(self, &call, &reply);
    if (!replied) {
        return;
    }
    s_answer(self, &reply, enqueue);
    weft_reply_fini(&reply);
}
