/* body - reading a request's body within its limits of size and time
 *
 * mg_read waits until its buffer is full, each byte anew: a client that sends one byte a second holds the
 * thread for as long as it likes.  So each body has a deadline in slot->deadline_ms, behind which the
 * watchdog interrupts the read. */
#include "gateway/body.h"

#include <stdio.h>

#define CHUNK 16384
#define DISCARD_MAX ((size_t) 256 * 1024) /* bytes */
#define DISCARD_MS 500

bool
body_announced(const exchange_t *self)
{
    return self->slot->head.chunked || self->slot->head.content_length > 0;
}

/* Says why the body's type is not taken and how to do it right: `curl -d` sends a form. */
static bool
s_check_type(exchange_t *self)
{
    const guard_head_t *head = &self->slot->head;
    if (head->content_encoding.size > 0) {
        exchange_refuse(self, 415, WEFT_INVALID_ARGUMENT, "content-encoding",
                        "the body must not be compressed: send it without Content-Encoding");
        return false;
    }
    if (guard_is_json(head->content_type)) {
        return true;
    }
    exchange_refuse(self, 415, WEFT_INVALID_ARGUMENT, "not-json",
                    "the body must be JSON and say so: send it with Content-Type: application/json (curl "
                    "--json '{...}', or curl -H "
                    "'Content-Type: application/json' -d '{...}')");
    return false;
}

static bool
s_too_large(exchange_t *self)
{
    char detail[96];
    snprintf(detail, sizeof detail, "the body is larger than %lld bytes",
             (long long) self->gateway->settings.body_max);
    exchange_refuse(self, 413, WEFT_OUT_OF_RANGE, "body-too-large", detail);
    return false;
}

static bool
s_failed(exchange_t *self, int64_t deadline_ms)
{
    self->close = true;
    self->body_read = true; /* nothing sound is left to discard */
    if (weft_mono_ms() >= deadline_ms) {
        weft_metric_add(self->gateway->stats.slow_bodies, 1);
        exchange_refuse(self, 408, WEFT_DEADLINE_EXCEEDED, "slow-body", "the body did not arrive in time");
    } else {
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "broken-body",
                        "the body ended early or its chunks are malformed");
    }
    return false;
}

static bool
s_read(exchange_t *self)
{
    slot_t *slot = self->slot;
    const guard_head_t *head = &slot->head;
    size_t max = (size_t) self->gateway->settings.body_max;
    size_t left = (size_t) head->content_length;
    int64_t deadline_ms = weft_mono_ms() + self->gateway->settings.body_timeout_ms;
    bool done = false;
    if (!head->chunked && left > max) {
        return s_too_large(self);
    }
    if (head->expect_continue && mg_write(self->connection, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25) {
        self->broken = self->close = true;
        return false;
    }
    weft_buf_reset(&slot->json);
    slot->json.max = max + 1; /* a chunked body may show that it is too long */
    atomic_store_explicit(&slot->deadline_ms, deadline_ms, memory_order_release);
    while (!done) {
        size_t want = head->chunked ? max + 1 - slot->json.size : left;
        want = want < CHUNK ? want : CHUNK;
        char *to = weft_buf_reserve(&slot->json, want);
        if (!to) {
            break;
        }
        int n = mg_read(self->connection, to, want);
        if (n < 0 || (n == 0 && !head->chunked)) {
            break;
        }
        slot->json.size += (size_t) n;
        left -= head->chunked ? 0 : (size_t) n;
        done = head->chunked ? n == 0 || slot->json.size > max : left == 0;
        if (!done && weft_mono_ms() >= deadline_ms) {
            break;
        }
    }
    atomic_store_explicit(&slot->deadline_ms, 0, memory_order_release);
    if (!done) {
        return slot->json.failed ? s_too_large(self) : s_failed(self, deadline_ms);
    }
    if (slot->json.size > max) {
        return s_too_large(self);
    }
    self->body_read = true;
    /* How civetweb parses chunks is not strict enough to trust what it thinks comes behind them. */
    self->close = self->close || head->chunked;
    weft_metric_add(self->gateway->stats.bytes_in, (int64_t) slot->json.size);
    return true;
}

bool
body_read(exchange_t *self)
{
    gateway_t *gateway = self->gateway;
    if (!s_check_type(self)) {
        return false;
    }
    uint32_t readers = atomic_fetch_add(&gateway->body_readers, 1);
    bool ok;
    if (readers >= (uint32_t) (gateway->settings.threads / 4 + 1)) {
        weft_metric_add(gateway->stats.overload_bodies, 1);
        exchange_refuse(self, 503, WEFT_RESOURCE_EXHAUSTED, "overload",
                        "too many request bodies are being read");
        ok = false;
    } else {
        ok = s_read(self);
    }
    atomic_fetch_sub(&gateway->body_readers, 1);
    return ok;
}

void
body_discard(exchange_t *self)
{
    slot_t *slot = self->slot;
    if (self->body_read || self->broken || !body_announced(self)) {
        return;
    }
    bool chunked = slot->head.chunked;
    int64_t left = chunked ? INT64_MAX : slot->head.content_length;
    if (slot->head.expect_continue) {
        self->close = true; /* it may come or not (RFC 9110, 10.1.1) */
        return;
    }
    size_t total = 0;
    weft_buf_reset(&slot->json);
    slot->json.max = CHUNK;
    char *to = weft_buf_reserve(&slot->json, CHUNK);
    atomic_store_explicit(&slot->deadline_ms, weft_mono_ms() + DISCARD_MS, memory_order_release);
    while (to && left > 0 && total < DISCARD_MAX) {
        int n = mg_read(self->connection, to, left < CHUNK ? (size_t) left : CHUNK);
        if (n <= 0) {
            break;
        }
        left -= n;
        total += (size_t) n;
    }
    atomic_store_explicit(&slot->deadline_ms, 0, memory_order_release);
    self->close = self->close || chunked || left > 0;
}
