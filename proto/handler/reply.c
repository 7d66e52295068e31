/* reply - what a request ends with: the encoded frame, one log line where it failed, the counters */
#include <stdio.h>
#include <stdlib.h>

#include <weft/clock.h>

#include "handler/request.h"

#define COPY_MAX 16384u /* bytes: larger frames hand their buffer over to ZeroMQ instead of being copied */

static void
s_free(void *data, void *hint)
{
    (void) hint;
    free(data);
}

weft_status_t
request_encode(weft_request_t *self, const weft_message_t *message, zmq_msg_t *frame)
{
    weft_buf_t *out = &self->scratch;
    weft_buf_reset(out);
    weft_status_t status = weft_wire_encode(out, message);
    if (status != WEFT_OK)
        return status;
    if (out->size <= COPY_MAX) {
        if (zmq_msg_init_size(frame, out->size) != 0)
            return WEFT_RESOURCE_EXHAUSTED;
        memcpy(zmq_msg_data(frame), out->data, out->size);
        return WEFT_OK;
    }
    size_t size = 0;
    char *data = weft_buf_detach(out, &size);
    if (zmq_msg_init_data(frame, data, size, s_free, NULL) != 0) {
        free(data);
        return WEFT_RESOURCE_EXHAUSTED;
    }
    return WEFT_OK;
}

static void
s_pack_number(msgpack_packer *pk, const char *key, int64_t number)
{
    char text[24];
    weft_pack_text(pk, key);
    weft_pack_text(pk, weft_format(text, sizeof text, "%lld", (long long) number));
}

/* The reply's meta into `out`: times always, the method's own pairs only beside a result. */
static void
s_pack_meta(const weft_request_t *self, weft_status_t status, int64_t wait_us, int64_t handler_us,
            weft_buf_t *out)
{
    msgpack_packer pk;
    uint32_t own = status == WEFT_OK ? self->meta_count : 0;
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, own + 1u + (handler_us >= 0));
    s_pack_number(&pk, "wait_us", wait_us);
    if (handler_us >= 0)
        s_pack_number(&pk, "handler_us", handler_us);
    if (own > 0)
        (void) weft_buf_add(out, self->meta.data, self->meta.size);
}

/* A failed request is one line: error where somebody must act, warning where the service is degraded, debug
 * where the caller was at fault, since any caller could fill a log otherwise. */
static weft_log_level_t
s_level(weft_status_t status)
{
    switch (status) {
    case WEFT_INTERNAL:
    case WEFT_UNKNOWN:
    case WEFT_DATA_LOSS:
        return WEFT_LOG_ERROR;
    case WEFT_UNAVAILABLE:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_RESOURCE_EXHAUSTED:
        return WEFT_LOG_WARNING;
    case WEFT_OK:
    case WEFT_CANCELLED:
    case WEFT_INVALID_ARGUMENT:
    case WEFT_NOT_FOUND:
    case WEFT_ALREADY_EXISTS:
    case WEFT_PERMISSION_DENIED:
    case WEFT_FAILED_PRECONDITION:
    case WEFT_ABORTED:
    case WEFT_OUT_OF_RANGE:
    case WEFT_UNIMPLEMENTED:
    case WEFT_UNAUTHENTICATED:
        break;
    }
    return WEFT_LOG_DEBUG;
}

static void
s_log(const weft_request_t *self, weft_status_t status, const char *reason, const char *hop,
      int64_t handler_us)
{
    weft_log(s_level(status), "request failed", WEFT_STR("service", self->service->row->name),
             WEFT_BYTES("method", self->message.method), WEFT_STR("code", weft_status_name(status)),
             WEFT_STR("reason", reason), WEFT_STR("hop", hop), WEFT_INT("handler_us", handler_us));
}

/* Encodes the reply; what cannot be encoded becomes an INTERNAL error, which always can. */
static void
s_encode_reply(weft_request_t *self, weft_status_t status, weft_span_t body, int64_t handler_us)
{
    weft_buf_t meta;
    weft_buf_init(&meta, WEFT_META_MAX);
    int64_t wait_us = (self->started_us ? self->started_us : weft_mono_us()) - self->arrived_us;
    s_pack_meta(self, status, wait_us, handler_us, &meta);
    weft_message_t message = {
        .kind = WEFT_REPLY, .status = status, .meta = weft_buf_span(&meta), .body = body
    };
    if (meta.failed || request_encode(self, &message, &self->reply) != WEFT_OK) {
        /* Our own bounds keep this from happening but for memory that ended: the caller still gets an answer.
         */
        static const char nothing[] = "\x82\xa7message\xb4"
                                      "could not make reply\xa8"
                                      "executed\xa5"
                                      "maybe";
        weft_log_error("could not encode a reply", WEFT_BYTES("method", self->message.method));
        message = (weft_message_t){ .kind = WEFT_REPLY,
                                    .status = WEFT_INTERNAL,
                                    .body = { nothing, sizeof nothing - 1 } };
        if (request_encode(self, &message, &self->reply) != WEFT_OK)
            abort(); /* not even a hundred bytes: nothing can be served any more */
    }
    weft_buf_fini(&meta);
    service_count(self->service, self->method ? self->method : &self->service->unknown, message.status,
                  handler_us);
}

static void
s_reply_error(weft_request_t *self, weft_status_t status, const weft_error_body_t *error, int64_t handler_us)
{
    weft_buf_t body;
    char reason[sizeof self->fail_text];
    char hop[16];
    weft_buf_init(&body, REQUEST_RESULT_MAX);
    s_log(self, status,
          weft_format(reason, sizeof reason, "%.*s", (int) error->message.size, error->message.data),
          weft_format(hop, sizeof hop, "%.*s", (int) error->hop.size, error->hop.data), handler_us);
    if (!weft_error_body_write(&body, error)) {
        weft_error_body_t bare = *error;
        bare.details = (weft_span_t){ NULL, 0 };
        weft_buf_reset(&body);
        (void) weft_error_body_write(&body, &bare); /* at worst the body stays empty, which is nil */
    }
    s_encode_reply(self, status, weft_buf_span(&body), handler_us);
    weft_buf_fini(&body);
}

void
request_refuse(weft_request_t *self, weft_status_t code, const char *message, weft_span_t details)
{
    weft_error_body_t error = {
        .message = weft_span(message), .hop = WEFT_SPAN("worker"), .details = details, .executed_maybe = false
    };
    s_reply_error(self, code, &error, -1);
    outbox_put(self->outbox, self, true);
}

/* The error of the method: its text counts where it is about the code that was returned. */
static void
s_reply_failure(weft_request_t *self, weft_status_t status, int64_t handler_us)
{
    if ((unsigned) status > WEFT_STATUS_MAX)
        status = WEFT_UNKNOWN;
    const char *text = self->fail_code == status && self->fail_text[0] ? self->fail_text
                                                                       : weft_status_name(status);
    weft_error_body_t error = { .message = weft_span(text),
                                .hop = WEFT_SPAN("handler"),
                                .executed_maybe = !self->fail_unexecuted };
    const char *why = NULL;
    if (self->fail_code == status && self->fail_details.size > 0 && !self->fail_details.failed &&
        weft_mp_check(weft_buf_span(&self->fail_details), &WEFT_MP_LIMITS_DEFAULT, &why, NULL))
        error.details = weft_buf_span(&self->fail_details);
    s_reply_error(self, status, &error, handler_us);
}

void
request_log_context(const weft_request_t *self)
{
    /* traceparent is version-trace-span-flags: 00-<32 hex>-<16 hex>-<2 hex> (W3C Trace Context). */
    weft_span_t trace = weft_request_meta(self, "traceparent");
    trace = trace.size >= 36 && trace.data[2] == '-' && trace.data[35] == '-'
                ? (weft_span_t){ trace.data + 3, 32 }
                : (weft_span_t){ NULL, 0 };
    weft_log_context(weft_request_meta(self, "request_id"), trace);
}

void
request_release(weft_request_t *self)
{
    if (atomic_fetch_sub_explicit(&self->owners, 1, memory_order_acq_rel) != 1)
        return;
    weft_status_t status = self->status;
    int64_t handler_us = weft_mono_us() - self->started_us;
    if (status == WEFT_OK && !request_result_ok(self))
        status = self->fail_code;
    if (status == WEFT_OK)
        s_encode_reply(self, WEFT_OK, weft_buf_span(&self->result), handler_us);
    else
        s_reply_failure(self, status, handler_us);
    weft_metric_add(self->method->in_flight, -1);
    outbox_put(self->outbox, self, true);
}

void
weft_request_finish(weft_request_t *self, weft_status_t status)
{
    self->status = status;
    request_log_context(self); /* perhaps on a thread of the service's own */
    request_release(self);
    weft_log_context((weft_span_t){ NULL, 0 }, (weft_span_t){ NULL, 0 });
}
