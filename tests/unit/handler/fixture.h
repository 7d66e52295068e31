/* fixture - a request without a network: made by hand, its reply looked at by hand */
#ifndef TEST_HANDLER_FIXTURE_H
#define TEST_HANDLER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include <weft/clock.h>
#include <weft/json.h>

#include "handler/request.h"

typedef struct {
    service_t *service;
    outbox_t outbox;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool awake;
} fixture_t;

static inline void
fixture_wake(void *context)
{
    fixture_t *self = context;
    pthread_mutex_lock(&self->lock);
    self->awake = true;
    pthread_cond_signal(&self->woken);
    pthread_mutex_unlock(&self->lock);
}

static inline void
fixture_init(fixture_t *self, const weft_service_t *row)
{
    char why[512] = "";
    self->service = service_new(row, why, sizeof why);
    if (!self->service)
        fail_msg("service_new: %s", why);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->woken, NULL);
    self->awake = false;
    outbox_init(&self->outbox, fixture_wake, self);
}

static inline void
fixture_fini(fixture_t *self)
{
    outbox_fini(&self->outbox);
    pthread_cond_destroy(&self->woken);
    pthread_mutex_destroy(&self->lock);
    service_destroy(&self->service);
}

/* Appends a JSON text as msgpack. */
static inline void
fixture_mp(weft_buf_t *out, const char *json)
{
    weft_json_error_t error;
    assert_int_equal(weft_json_to_mp(weft_span(json), out, &error), WEFT_OK);
}

/* A request as the session would hand it over; `meta` and `input` as JSON, NULL for none.  request_destroy
 * it. */
static inline weft_request_t *
fixture_request(fixture_t *self, const char *method, const char *meta, const char *input, int64_t ttl_ms)
{
    weft_buf_t meta_mp, input_mp, out;
    weft_buf_init(&meta_mp, WEFT_META_MAX);
    weft_buf_init(&input_mp, WEFT_FRAME_MAX);
    weft_buf_init(&out, WEFT_FRAME_MAX);
    if (meta)
        fixture_mp(&meta_mp, meta);
    if (input)
        fixture_mp(&input_mp, input);
    weft_message_t message = { .kind = WEFT_REQUEST,
                               .id = 7,
                               .service = weft_span(self->service->row->name),
                               .method = weft_span(method),
                               .ttl_ms = 1000,
                               .priority = 1,
                               .meta = weft_buf_span(&meta_mp),
                               .body = weft_buf_span(&input_mp) };
    assert_int_equal(weft_wire_encode(&out, &message), WEFT_OK);
    zmq_msg_t frame;
    const char *why = NULL;
    assert_int_equal(zmq_msg_init_size(&frame, out.size), 0);
    memcpy(zmq_msg_data(&frame), out.data, out.size);
    assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why), WEFT_OK);
    weft_request_t *request = request_new(self->service, &self->outbox);
    assert_non_null(request);
    request_begin(request, &frame, &message, 42, weft_mono_ms() + ttl_ms);
    zmq_msg_close(&frame);
    weft_buf_fini(&out);
    weft_buf_fini(&input_mp);
    weft_buf_fini(&meta_mp);
    return request;
}

/* As fixture_request, ready for what a method does: begun on this thread. */
static inline weft_request_t *
fixture_begun(fixture_t *self, const char *method, const char *meta, const char *input, int64_t ttl_ms)
{
    weft_request_t *request = fixture_request(self, method, meta, input, ttl_ms);
    request->method = service_method(self->service, request->message.method);
    request->started_us = weft_mono_us();
    return request;
}

/* Waits for something in the outbox, takes it. */
static inline weft_request_t *
fixture_take(fixture_t *self)
{
    for (;;) {
        weft_request_t *list = outbox_take(&self->outbox);
        if (list)
            return list;
        pthread_mutex_lock(&self->lock);
        while (!self->awake)
            pthread_cond_wait(&self->woken, &self->lock);
        self->awake = false;
        pthread_mutex_unlock(&self->lock);
    }
}

/* The reply of a finished request; spans point into it. */
static inline weft_message_t
fixture_reply(weft_request_t *request)
{
    weft_message_t message;
    const char *why = NULL;
    assert_true(request->finished);
    if (weft_wire_decode(zmq_msg_data(&request->reply), zmq_msg_size(&request->reply), &message, &why) !=
        WEFT_OK)
        fail_msg("reply: %s", why);
    assert_int_equal(message.kind, WEFT_REPLY);
    assert_int_equal(weft_wire_check(&message, &why), WEFT_OK);
    return message;
}

/* The body as JSON text, in `text`. */
static inline const char *
fixture_json(weft_span_t body, weft_buf_t *text)
{
    weft_json_error_t error;
    weft_buf_reset(text);
    assert_int_equal(weft_mp_to_json(body, text, &error), WEFT_OK);
    assert_true(weft_buf_add_char(text, '\0'));
    return text->data;
}

static inline weft_error_body_t
fixture_error(weft_request_t *request, weft_status_t code)
{
    weft_error_body_t error;
    weft_message_t reply = fixture_reply(request);
    assert_string_equal(weft_status_name(reply.status), weft_status_name(code));
    weft_error_body_read(reply.body, &error);
    return error;
}

static inline void
assert_span(weft_span_t span, const char *text)
{
    char copy[1024];
    weft_format(copy, sizeof copy, "%.*s", (int) span.size, span.data ? span.data : "");
    assert_string_equal(copy, text);
}

#endif
