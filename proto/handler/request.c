/* request - one request from its arrival to its reply: what a method's function sees */
#include "handler/request.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include <weft/clock.h>

/* ---- lifetime: bus thread ---- */

weft_request_t *
request_new(service_t *service, outbox_t *outbox)
{
    weft_request_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->service = service;
    self->outbox = outbox;
    self->wake_fd = -1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    weft_buf_init(&self->result, REQUEST_RESULT_MAX);
    weft_buf_init(&self->meta, WEFT_META_MAX - 128u); /* the rest is for our own keys */
    weft_buf_init(&self->fail_details, REQUEST_RESULT_MAX / 2);
    weft_buf_init(&self->scratch, WEFT_FRAME_MAX);
    msgpack_packer_init(&self->packer, &self->result, weft_buf_write);
    zmq_msg_init(&self->frame);
    zmq_msg_init(&self->reply);
    return self;
}

void
request_destroy(weft_request_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        weft_request_t *self = *self_p;
        request_reset(self);
        free(self->partials);
        zmq_msg_close(&self->reply);
        zmq_msg_close(&self->frame);
        weft_buf_fini(&self->scratch);
        weft_buf_fini(&self->fail_details);
        weft_buf_fini(&self->meta);
        weft_buf_fini(&self->result);
        pthread_cond_destroy(&self->changed);
        pthread_mutex_destroy(&self->lock);
        free(self);
        *self_p = NULL;
    }
}

/* Moving a small frame moves its bytes: spans follow. */
static void
s_rebase(weft_span_t *span, const char *from, const char *to)
{
    if (span->data)
        span->data = to + (span->data - from);
}

void
request_begin(weft_request_t *self, zmq_msg_t *frame, const weft_message_t *message, uint64_t token,
              int64_t deadline_ms)
{
    const char *from = zmq_msg_data(frame);
    self->message = *message;
    zmq_msg_move(&self->frame, frame);
    const char *to = zmq_msg_data(&self->frame);
    s_rebase(&self->message.service, from, to);
    s_rebase(&self->message.method, from, to);
    s_rebase(&self->message.meta, from, to);
    s_rebase(&self->message.body, from, to);
    self->token = token;
    self->deadline_ms = deadline_ms;
    self->arrived_us = weft_mono_us();
    atomic_store_explicit(&self->owners, 1, memory_order_relaxed);
}

static void
s_reset_buf(weft_buf_t *buf)
{
    if (buf->capacity > REQUEST_KEEP_BYTES)
        weft_buf_fini(buf);
    else
        weft_buf_reset(buf);
}

void
request_reset(weft_request_t *self)
{
    zmq_msg_close(&self->frame);
    zmq_msg_init(&self->frame);
    zmq_msg_close(&self->reply);
    zmq_msg_init(&self->reply);
    while (request_partial_front(self))
        request_partial_drop(self);
    request_clear_result(self);
    s_reset_buf(&self->result);
    s_reset_buf(&self->fail_details);
    s_reset_buf(&self->scratch);
    self->message = (weft_message_t){ 0 };
    self->token = 0;
    self->by_token = NULL;
    self->finished = false;
    self->method = NULL;
    self->started_us = 0;
    self->kept = false;
    self->status = WEFT_OK;
    self->pg = NULL;
    atomic_store_explicit(&self->cancelled, false, memory_order_relaxed);
}

/* ---- cancel ---- */

void
request_cancel(weft_request_t *self)
{
    pthread_mutex_lock(&self->lock);
    atomic_store_explicit(&self->cancelled, true, memory_order_release);
    pthread_cond_broadcast(&self->changed);
    if (self->wake_fd >= 0)
        (void) eventfd_write(self->wake_fd, 1); /* fails only when it is full, and then it is readable */
    pthread_mutex_unlock(&self->lock);
}

void
request_set_wake(weft_request_t *self, int wake_fd)
{
    pthread_mutex_lock(&self->lock);
    self->wake_fd = wake_fd;
    pthread_mutex_unlock(&self->lock);
}

bool
weft_cancelled(const weft_request_t *self)
{
    return atomic_load_explicit(&self->cancelled, memory_order_acquire) ||
           weft_mono_ms() >= self->deadline_ms;
}

int64_t
weft_remaining_ms(const weft_request_t *self)
{
    int64_t left = self->deadline_ms - weft_mono_ms();
    return left > 0 ? left : 0;
}

/* Waits for `changed` until a monotonic time; the lock is held. */
static void
s_wait_until(weft_request_t *self, int64_t until_ms)
{
    struct timespec until = { (time_t) (until_ms / 1000), (long) (until_ms % 1000) * 1000000L };
    (void) pthread_cond_timedwait(&self->changed, &self->lock, &until);
}

bool
weft_wait_cancelled(weft_request_t *self, int64_t timeout_ms)
{
    int64_t left = self->deadline_ms - weft_mono_ms();
    int64_t until = weft_mono_ms() + (timeout_ms < left ? (timeout_ms > 0 ? timeout_ms : 0) : left);
    pthread_mutex_lock(&self->lock);
    while (!weft_cancelled(self) && weft_mono_ms() < until)
        s_wait_until(self, until);
    pthread_mutex_unlock(&self->lock);
    return weft_cancelled(self);
}

/* ---- input ---- */

weft_span_t
weft_input(const weft_request_t *self)
{
    return self->message.body;
}

weft_span_t
weft_request_meta(const weft_request_t *self, const char *key)
{
    weft_span_t value = { NULL, 0 };
    if (!weft_meta_get(self->message.meta, key, &value))
        value = (weft_span_t){ NULL, 0 };
    return value;
}

weft_span_t
weft_request_method(const weft_request_t *self)
{
    return self->message.method;
}

/* ---- of a job ---- */

/* A decimal number of the meta; 0 where there is none or it is none. */
static int64_t
s_meta_number(const weft_request_t *self, const char *key, int64_t max)
{
    weft_span_t text = weft_request_meta(self, key);
    char digits[24];
    int64_t number;
    if (text.size == 0 || text.size >= sizeof digits || memchr(text.data, '\0', text.size))
        return 0;
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    return weft_parse_int(digits, 1, max, &number) ? number : 0;
}

weft_span_t
weft_job_id(const weft_request_t *self)
{
    bool is_job = s_meta_number(self, "job.id", INT64_MAX) > 0 && weft_job_fence(self) > 0;
    return is_job ? weft_request_meta(self, "job.id") : (weft_span_t){ NULL, 0 };
}

uint32_t
weft_job_attempt(const weft_request_t *self)
{
    return (uint32_t) s_meta_number(self, "job.attempt", UINT32_MAX);
}

int64_t
weft_job_fence(const weft_request_t *self)
{
    return s_meta_number(self, "job.fence", INT32_MAX);
}

weft_pg_t *
weft_db(weft_request_t *self)
{
    return self->pg;
}

/* ---- result and error ---- */

msgpack_packer *
weft_result(weft_request_t *self)
{
    return &self->packer;
}

weft_buf_t *
weft_result_buf(weft_request_t *self)
{
    return &self->result;
}

/* Takes the pair of `key` out of the encoded pairs, where it is; appends it to `out` when that is not NULL.
 */
static bool
s_take_meta(weft_request_t *self, const char *key, weft_buf_t *out)
{
    weft_mp_t at = weft_mp(weft_buf_span(&self->meta));
    for (uint32_t i = 0; i < self->meta_count; i++) {
        const char *pair = at.at;
        weft_mp_token_t name;
        bool read = weft_mp_next(&at, &name) && weft_mp_skip(&at);
        assert(read && name.type == WEFT_MP_STR); /* packed below */
        if (weft_span_equal(name.v.bytes, weft_span(key))) {
            if (out)
                (void) weft_buf_add(out, pair, (size_t) (at.at - pair));
            char *gap = self->meta.data + (pair - self->meta.data);
            memmove(gap, at.at, (size_t) (at.end - at.at));
            self->meta.size -= (size_t) (at.at - pair);
            self->meta_count--;
            return true;
        }
    }
    return false;
}

void
weft_result_meta(weft_request_t *self, const char *key, const char *value)
{
    const size_t key_max = 64; /* SPEC.md, Fields */
    msgpack_packer pk;
    if (!key[0] || strlen(key) > key_max || !weft_utf8_valid(weft_span(key)) ||
        !weft_utf8_valid(weft_span(value)))
        self->meta.failed = true;
    if (self->meta.failed)
        return; /* answered as an error: see request_result_ok */
    (void) s_take_meta(self, key, NULL);
    msgpack_packer_init(&pk, &self->meta, weft_buf_write);
    weft_pack_text(&pk, key);
    weft_pack_text(&pk, value);
    self->meta_count++;
}

/* A text that was cut may end within a character, for which all of it would be shown in ASCII. */
static void
s_trim_cut(char *text)
{
    size_t size = strlen(text);
    for (size_t cut = 0; cut <= 3 && cut <= size; cut++) {
        if (weft_utf8_valid((weft_span_t){ text, size - cut })) {
            text[size - cut] = '\0';
            return;
        }
    }
}

weft_status_t
weft_fail(weft_request_t *self, weft_status_t code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(self->fail_text, sizeof self->fail_text, format, arguments);
    va_end(arguments);
    s_trim_cut(self->fail_text);
    self->fail_code = code;
    return code;
}

void
weft_fail_details(weft_request_t *self, weft_span_t details)
{
    weft_buf_reset(&self->fail_details);
    (void) weft_buf_add(&self->fail_details, details.data, details.size); /* `failed` is looked at later */
}

void
weft_fail_unexecuted(weft_request_t *self)
{
    self->fail_unexecuted = true;
}

void
request_clear_result(weft_request_t *self)
{
    self->fail_unexecuted = false;
    weft_buf_reset(&self->result);
    weft_buf_reset(&self->meta);
    self->meta_count = 0;
    self->fail_code = WEFT_OK;
    self->fail_text[0] = '\0';
    weft_buf_reset(&self->fail_details);
}

bool
request_result_ok(weft_request_t *self)
{
    const char *why = NULL;
    if (self->result.failed)
        (void) weft_fail(self, WEFT_INTERNAL, "the result is larger than %u bytes", REQUEST_RESULT_MAX);
    else if (self->meta.failed)
        (void) weft_fail(self, WEFT_INTERNAL, "the reply's meta is larger than %u bytes or no text",
                         WEFT_META_MAX);
    /* The packer nests and counts as it is told: what no peer could read must not leave. */
    else if (self->result.size > 0 &&
             !weft_mp_check(weft_buf_span(&self->result), &WEFT_MP_LIMITS_DEFAULT, &why, NULL))
        (void) weft_fail(self, WEFT_INTERNAL, "the method packed no valid result: %s", why);
    else
        return true;
    return false;
}

weft_request_t *
weft_request_keep(weft_request_t *self)
{
    assert(self->method && self->method->row && self->method->row->async);
    assert(atomic_load(&self->owners) == 1);
    self->kept = true;
    atomic_store_explicit(&self->owners, 2, memory_order_release);
    return self;
}

/* ---- partials ---- */

static weft_status_t
s_fail_partial(weft_request_t *self)
{
    request_clear_result(self);
    return weft_fail(self, WEFT_INTERNAL, "could not encode a partial reply");
}

bool
weft_partial_room(weft_request_t *self)
{
    pthread_mutex_lock(&self->lock);
    bool room = !self->partials || self->partials->count < REQUEST_PARTIALS_MAX;
    pthread_mutex_unlock(&self->lock);
    return room;
}

/* Waits for room in the ring; the lock is held. */
static weft_status_t
s_partial_room(weft_request_t *self)
{
    const int64_t patience_ms = 5000;
    int64_t until = weft_mono_ms() + patience_ms;
    if (!self->partials && !(self->partials = calloc(1, sizeof *self->partials)))
        return WEFT_RESOURCE_EXHAUSTED;
    while (self->partials->count == REQUEST_PARTIALS_MAX) {
        int64_t now = weft_mono_ms();
        if (weft_cancelled(self))
            return WEFT_CANCELLED;
        if (now >= until)
            return WEFT_RESOURCE_EXHAUSTED;
        s_wait_until(self, until < self->deadline_ms ? until : self->deadline_ms);
    }
    return WEFT_OK;
}

/* Moves what was said of the event at hand into `out`, as a map; the other pairs wait for the reply. */
static void
s_take_event(weft_request_t *self, weft_buf_t *out)
{
    static const char *const KEYS[] = { "event.name", "event.id" };
    const unsigned char empty_map = 0x80; /* msgpack's fixmap: the low bits count */
    weft_buf_init(out, WEFT_META_MAX);
    if (self->meta_count == 0 || !weft_buf_add_char(out, (char) empty_map))
        return;
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++)
        out->data[0] = (char) (out->data[0] + s_take_meta(self, KEYS[i], out));
}

/* Sends what `result` holds. */
static weft_status_t
s_send_partial(weft_request_t *self)
{
    if (!request_result_ok(self))
        return self->fail_code;
    if (weft_cancelled(self))
        return WEFT_CANCELLED;

    zmq_msg_t frame;
    weft_buf_t meta;
    s_take_event(self, &meta);
    weft_message_t message = { .kind = WEFT_PARTIAL,
                               .meta = weft_buf_span(&meta),
                               .body = weft_buf_span(&self->result) };
    weft_status_t encoded = meta.failed ? WEFT_RESOURCE_EXHAUSTED : request_encode(self, &message, &frame);
    weft_buf_fini(&meta);
    if (encoded != WEFT_OK)
        return s_fail_partial(self);
    weft_buf_reset(&self->result);

    pthread_mutex_lock(&self->lock);
    weft_status_t status = s_partial_room(self);
    if (status == WEFT_OK) {
        partials_t *ring = self->partials;
        zmq_msg_t *slot = &ring->frames[(ring->first + ring->count) % REQUEST_PARTIALS_MAX];
        zmq_msg_init(slot);
        zmq_msg_move(slot, &frame);
        ring->count++;
    }
    pthread_mutex_unlock(&self->lock);
    zmq_msg_close(&frame);
    if (status == WEFT_OK)
        outbox_put(self->outbox, self, false);
    else
        (void) weft_fail(self, status, "%s",
                         status == WEFT_CANCELLED ? "cancelled" : "the receiver reads too slowly");
    return status;
}

weft_status_t
weft_partial(weft_request_t *self)
{
    if (!self->method->row->streaming)
        return weft_fail(self, WEFT_INTERNAL, "method %s is not declared as streaming", self->method->name);
    return s_send_partial(self);
}

weft_status_t
weft_progress(weft_request_t *self)
{
    if (self->method->row->streaming || weft_job_id(self).data)
        return s_send_partial(self);
    /* Somebody waits for the reply and expects nothing before it. */
    if (!request_result_ok(self))
        return self->fail_code;
    weft_buf_reset(&self->result);
    return weft_cancelled(self) ? weft_fail(self, WEFT_CANCELLED, "cancelled") : WEFT_OK;
}

zmq_msg_t *
request_partial_front(weft_request_t *self)
{
    pthread_mutex_lock(&self->lock);
    partials_t *ring = self->partials;
    zmq_msg_t *front = ring && ring->count > 0 ? &ring->frames[ring->first] : NULL;
    pthread_mutex_unlock(&self->lock);
    return front; /* stays where it is: a producer only writes to free slots */
}

void
request_partial_drop(weft_request_t *self)
{
    pthread_mutex_lock(&self->lock);
    partials_t *ring = self->partials;
    zmq_msg_close(&ring->frames[ring->first]);
    ring->first = (ring->first + 1) % REQUEST_PARTIALS_MAX;
    ring->count--;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}
