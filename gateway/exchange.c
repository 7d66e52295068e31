/* exchange - one HTTP request and its answer: the only place that writes to a client */
#include "gateway/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HEAD_ROOM 1536 /* bytes in front of the body for the head */
#define LOCATION_MAX 768

static void
s_write(exchange_t *self, const char *data, size_t size)
{
    if (!self->broken && mg_write(self->connection, data, size) != (int) size) {
        /* Half an answer: whatever came next on this connection would be read as its rest. */
        self->broken = true;
        self->close = true;
    }
}

/* IMF-fixdate of RFC 9110, made once a second.  Not strftime: its names follow the locale. */
static const char *
s_date(slot_t *slot)
{
    static const char *const DAYS[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const MONTHS[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != slot->date_s) {
        struct tm tm;
        slot->date_s = now.tv_sec;
        if (gmtime_r(&now.tv_sec, &tm)) {
            snprintf(slot->date, sizeof slot->date, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                     DAYS[tm.tm_wday % 7], (unsigned) tm.tm_mday % 100, MONTHS[tm.tm_mon % 12],
                     (unsigned) (tm.tm_year + 1900) % 10000, (unsigned) tm.tm_hour % 100,
                     (unsigned) tm.tm_min % 100, (unsigned) tm.tm_sec % 100);
        }
    }
    return slot->date;
}

/* "gw" is this process's own work, "queue" the broker's queue, "wait" the worker's, "handler" the method's
 * code. */
static size_t
s_server_timing(const exchange_t *self, char *text, size_t size)
{
    if (self->replied_us == 0) {
        return 0;
    }
    int64_t gw_us = weft_mono_us() - self->started_us - (self->replied_us - self->submitted_us);
    int n = snprintf(
        text, size, "Server-Timing: gw;dur=%.3f, queue;dur=%.3f, wait;dur=%.3f, handler;dur=%.3f\r\n",
        (double) gw_us / 1000, self->queue_us / 1000.0, self->wait_us / 1000.0, self->handler_us / 1000.0);
    return n > 0 && (size_t) n < size ? (size_t) n : 0;
}

static void
s_decide_close(exchange_t *self)
{
    self->close = self->close || !self->slot->head.keep_alive ||
                  gateway_phase(self->gateway) != GATEWAY_SERVING;
}

static const char *
s_connection_header(const exchange_t *self)
{
    bool old = self->info->http_version && strcmp(self->info->http_version, "1.0") == 0;
    return self->close ? "Connection: close\r\n" : old ? "Connection: keep-alive\r\n" : "";
}

weft_buf_t *
exchange_body(exchange_t *self)
{
    weft_buf_t *out = &self->slot->out;
    weft_buf_reset(out);
    if (weft_buf_reserve(out, HEAD_ROOM)) {
        out->size = HEAD_ROOM;
    }
    return out;
}

static void
s_send(exchange_t *self, int http, const char *content_type, weft_span_t location, const char *extra)
{
    slot_t *slot = self->slot;
    weft_buf_t *out = &slot->out;
    char head[HEAD_ROOM];
    char timing[160];
    size_t body_size = out->size - HEAD_ROOM;
    bool bodiless = http == 204 || http == 304;
    s_decide_close(self);
    size_t timing_size = s_server_timing(self, timing, sizeof timing);
    timing[timing_size] = '\0';
    int n = snprintf(
        head, sizeof head, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%s%s%sX-Request-Id: %s\r\n%s%s%.*s%s%s", http,
        problem_phrase(http), s_date(slot), bodiless ? "" : "Content-Type: ", bodiless ? "" : content_type,
        bodiless ? "" : "\r\n", timing, slot->trace.request_id, "Cache-Control: no-store\r\n",
        location.size ? "Location: " : "", (int) (location.size <= LOCATION_MAX ? location.size : 0),
        location.size ? location.data : "", location.size ? "\r\n" : "", extra);
    if (n > 0 && (size_t) n < sizeof head) {
        int m = snprintf(head + n, sizeof head - (size_t) n, "%s", s_connection_header(self));
        n += m;
        if (!bodiless && (size_t) n < sizeof head) {
            n += snprintf(head + n, sizeof head - (size_t) n, "Content-Length: %zu\r\n", body_size);
        }
        if ((size_t) n < sizeof head) {
            n += snprintf(head + n, sizeof head - (size_t) n, "\r\n");
        }
    }
    if (n <= 0 || (size_t) n >= sizeof head) {
        self->broken = self->close = true; /* all parts are bounded: not reached */
        return;
    }
    size_t head_size = (size_t) n;
    char *start = out->data + HEAD_ROOM - head_size;
    memcpy(start, head, head_size);
    self->status = http;
    self->sent = bodiless || self->head_only ? 0 : body_size;
    s_write(self, start, head_size + self->sent);
}

void
exchange_send(exchange_t *self, int http, const char *content_type, weft_span_t location)
{
    if (self->slot->out.failed) {
        exchange_refuse(self, 500, WEFT_INTERNAL, "reply-too-large",
                        "the reply does not fit into the gateway's buffer");
        return;
    }
    s_send(self, http, content_type, location, "");
}

int
exchange_fail(exchange_t *self, problem_t *problem)
{
    char extra[160] = "";
    weft_buf_t *out = exchange_body(self);
    problem->request_id = self->slot->trace.request_id;
    self->close = self->close || problem->close;
    if (!problem_write(problem, out)) {
        /* The details were too large, or memory ended: say it without them. */
        problem_t small = { .http = problem->http,
                            .code = problem->code,
                            .kind = problem->kind,
                            .detail = WEFT_SPAN("the error's details do not fit"),
                            .request_id = problem->request_id };
        out = exchange_body(self);
        if (!problem_write(&small, out)) {
            self->broken = self->close = true;
            self->status = problem->http;
            return problem->http;
        }
    }
    if (problem->retry_after_s > 0) {
        snprintf(extra, sizeof extra, "Retry-After: %u\r\n", problem->retry_after_s);
    } else if (problem->allow) {
        snprintf(extra, sizeof extra, "Allow: %s\r\n", problem->allow);
    }
    s_send(self, problem->http, "application/problem+json", (weft_span_t){ NULL, 0 }, extra);
    return problem->http;
}

int
exchange_refuse(exchange_t *self, int http, weft_status_t code, const char *kind, const char *detail)
{
    problem_t problem = { .http = http,
                          .code = code,
                          .kind = kind,
                          .detail = weft_span(detail),
                          .retry_after_s = http == 503 ? 1 : 0 };
    return exchange_fail(self, &problem);
}

static bool
s_is_old(const exchange_t *self)
{
    return strcmp(self->info->http_version, "1.0") == 0;
}

bool
exchange_open(exchange_t *self, const char *content_type)
{
    char head[640];
    /* A stream owns its thread: the connection ends with it, so the thread is free at once. */
    self->close = true;
    int n = snprintf(
        head, sizeof head,
        "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: %s\r\nX-Request-Id: %s\r\nCache-Control: no-store\r\n"
        "X-Accel-Buffering: no\r\nConnection: close\r\n%s\r\n",
        s_date(self->slot), content_type, self->slot->trace.request_id,
        s_is_old(self) ? "" : "Transfer-Encoding: chunked\r\n");
    self->status = 200;
    s_write(self, head, n > 0 && (size_t) n < sizeof head ? (size_t) n : 0);
    return !self->broken;
}

bool
exchange_chunk(exchange_t *self, weft_span_t bytes)
{
    if (bytes.size == 0 || self->head_only) {
        return !self->broken; /* an empty chunk would end the body */
    }
    self->sent += bytes.size;
    if (s_is_old(self)) {
        s_write(self, bytes.data, bytes.size);
        return !self->broken;
    }
    /* One write: size line, bytes, line end. */
    weft_buf_t *chunk = &self->slot->meta;
    weft_buf_reset(chunk);
    chunk->max = bytes.size + 32;
    weft_buf_addf(chunk, "%zx\r\n", bytes.size);
    weft_buf_add(chunk, bytes.data, bytes.size);
    weft_buf_add_text(chunk, "\r\n");
    if (chunk->failed) {
        self->broken = true;
    }
    s_write(self, chunk->data, chunk->size);
    return !self->broken;
}

void
exchange_end_chunks(exchange_t *self)
{
    if (!s_is_old(self) && !self->head_only) {
        s_write(self, "0\r\n\r\n", 5);
    }
}
