/* exchange - one HTTP request and its answer: the only place that writes to a client */
#include "gateway/exchange.h"

#include <stdio.h>
#include <time.h>

#include "gateway/peer.h"

#define HEAD_ROOM 1536 /* bytes in front of the body for the head */
#define LOCATION_MAX 768
#define WRITE_QUIET 16384 /* bytes that a socket's buffer takes at once */
#define WRITE_BASE_MS 10000
#define WRITE_RATE 32768   /* bytes a second that a client must take beyond that */
#define SHARE_REQUESTS 100 /* on one connection, while there is no room for another */
#define CHUNK_ROOM 20      /* 16 digits, CR LF */

int
exchange_socket(exchange_t *self)
{
    if (self->slot->socket == -2) {
        self->slot->socket = peer_find(self->info);
    }
    return self->slot->socket;
}

/* What may not fit into the socket's buffer has a deadline by its size; the rest is bounded by civetweb's own
 * limits. */
static void
s_write(exchange_t *self, const char *data, size_t size)
{
    if (self->broken) {
        return;
    }
    int socket = size > WRITE_QUIET ? exchange_socket(self) : -1;
    if (socket >= 0) {
        slot_arm(self->slot, socket, weft_mono_ms() + WRITE_BASE_MS + (int64_t) (size * 1000 / WRITE_RATE));
    }
    int written = mg_write(self->connection, data, size);
    if (socket >= 0) {
        slot_disarm(self->slot);
    }
    if (written != (int) size) {
        /* Half an answer: whatever came next on this connection would be read as its rest. */
        self->broken = true;
        self->close = true;
        weft_metric_add(self->gateway->stats.broken_answers, 1);
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

/* A head being written.  printf would be a tenth of the gateway's own time here. */
typedef struct {
    char text[HEAD_ROOM];
    size_t size;
} head_t;

static void
s_put(head_t *head, const char *text, size_t size)
{
    if (size <= sizeof head->text - head->size) {
        memcpy(head->text + head->size, text, size);
        head->size += size;
    } else {
        head->size = sizeof head->text + 1; /* too long: all parts are bounded, so this is not reached */
    }
}

static void
s_put_text(head_t *head, const char *text)
{
    s_put(head, text, strlen(text));
}

#define s_put_literal(head, literal) s_put((head), (literal), sizeof(literal) - 1)

static void
s_put_number(head_t *head, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char) ('0' + number % 10);
        number /= 10;
    } while (number > 0);
    s_put(head, digits + at, sizeof digits - at);
}

/* Microseconds as milliseconds with three decimals. */
static void
s_put_ms(head_t *head, int64_t us)
{
    uint64_t number = us > 0 ? (uint64_t) us : 0;
    char decimals[4] = { '.', (char) ('0' + number / 100 % 10), (char) ('0' + number / 10 % 10),
                         (char) ('0' + number % 10) };
    s_put_number(head, number / 1000);
    s_put(head, decimals, sizeof decimals);
}

/* "gw" is this process's own work, "queue" the broker's queue, "wait" the worker's, "handler" the method's
 * code. */
static void
s_put_server_timing(head_t *head, const exchange_t *self)
{
    if (self->replied_us == 0) {
        return;
    }
    s_put_literal(head, "Server-Timing: gw;dur=");
    s_put_ms(head, weft_mono_us() - self->started_us - (self->replied_us - self->submitted_us));
    s_put_literal(head, ", queue;dur=");
    s_put_ms(head, self->queue_us);
    s_put_literal(head, ", wait;dur=");
    s_put_ms(head, self->wait_us);
    s_put_literal(head, ", handler;dur=");
    s_put_ms(head, self->handler_us);
    s_put_literal(head, "\r\n");
}

/* A thread serves one connection: where all have one, those that had their share make way. */
static bool
s_has_had_its_share(const exchange_t *self)
{
    return self->slot->requests >= SHARE_REQUESTS &&
           atomic_load_explicit(&self->gateway->connections, memory_order_relaxed) >=
               self->gateway->settings.threads;
}

static void
s_decide_close(exchange_t *self)
{
    self->close = self->close || !self->slot->head.keep_alive ||
                  gateway_phase(self->gateway) != GATEWAY_SERVING || s_has_had_its_share(self);
}

static const char *
s_connection_header(const exchange_t *self)
{
    if (self->close) {
        return "Connection: close\r\n";
    }
    return strcmp(self->info->http_version, "1.0") == 0 ? "Connection: keep-alive\r\n" : "";
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

void
exchange_add_header(exchange_t *self, const char *name, const char *value)
{
    char *at = self->extra + self->extra_size;
    size_t room = sizeof self->extra - self->extra_size;
    int size = snprintf(at, room, "%s: %s\r\n", name, value);
    if (size > 0 && (size_t) size < room) {
        self->extra_size += (size_t) size;
    }
    self->extra[self->extra_size] = '\0'; /* half a line is none */
}

static void
s_put_head(head_t *head, exchange_t *self, int http, const char *content_type)
{
    s_put_literal(head, "HTTP/1.1 ");
    s_put_number(head, (uint64_t) http);
    s_put_literal(head, " ");
    s_put_text(head, problem_phrase(http));
    s_put_literal(head, "\r\nDate: ");
    s_put_text(head, s_date(self->slot));
    if (content_type) {
        s_put_literal(head, "\r\nContent-Type: ");
        s_put_text(head, content_type);
    }
    s_put_literal(head, "\r\nX-Request-Id: ");
    s_put_text(head, self->slot->trace.request_id);
    s_put_literal(head, "\r\nCache-Control: no-store\r\n");
}

static void
s_send(exchange_t *self, int http, const char *content_type, weft_span_t location, const char *extra)
{
    weft_buf_t *out = &self->slot->out;
    head_t head;
    head.size = 0; /* not all of it: 1.5 KiB */
    size_t body_size = out->size - HEAD_ROOM;
    bool bodiless = http == 204 || http == 304;
    s_decide_close(self);
    s_put_head(&head, self, http, bodiless ? NULL : content_type);
    s_put_server_timing(&head, self);
    if (location.size > 0 && location.size <= LOCATION_MAX) {
        s_put_literal(&head, "Location: ");
        s_put(&head, location.data, location.size);
        s_put_literal(&head, "\r\n");
    }
    s_put_text(&head, extra);
    s_put(&head, self->extra, self->extra_size);
    s_put_text(&head, s_connection_header(self));
    if (!bodiless) {
        s_put_literal(&head, "Content-Length: ");
        s_put_number(&head, body_size);
        s_put_literal(&head, "\r\n");
    }
    s_put_literal(&head, "\r\n");
    self->status = http;
    if (head.size > HEAD_ROOM) {
        self->broken = self->close = true;
        return;
    }
    char *start = out->data + HEAD_ROOM - head.size;
    memcpy(start, head.text, head.size);
    self->sent = bodiless || self->head_only ? 0 : body_size;
    s_write(self, start, head.size + self->sent);
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

void
exchange_options(exchange_t *self, const char *allow)
{
    char extra[96];
    exchange_body(self);
    snprintf(extra, sizeof extra, "Allow: %s, OPTIONS\r\n", allow);
    s_send(self, 204, "", (weft_span_t){ NULL, 0 }, extra);
}

static bool
s_is_old(const exchange_t *self)
{
    return strcmp(self->info->http_version, "1.0") == 0;
}

bool
exchange_open(exchange_t *self, const char *content_type)
{
    head_t head;
    head.size = 0; /* not all of it: 1.5 KiB */
    /* A stream owns its thread: the connection ends with it, so the thread is free at once. */
    self->close = true;
    s_put_head(&head, self, 200, content_type);
    s_put_literal(&head, "X-Accel-Buffering: no\r\nConnection: close\r\n");
    s_put_text(&head, s_is_old(self) ? "\r\n" : "Transfer-Encoding: chunked\r\n\r\n");
    self->status = 200;
    s_write(self, head.text, head.size);
    return !self->broken;
}

weft_buf_t *
exchange_chunk(exchange_t *self)
{
    weft_buf_t *out = &self->slot->out;
    weft_buf_reset(out);
    if (weft_buf_reserve(out, CHUNK_ROOM)) {
        out->size = CHUNK_ROOM;
    }
    return out;
}

size_t
exchange_chunk_size(const exchange_t *self)
{
    return self->slot->out.size > CHUNK_ROOM ? self->slot->out.size - CHUNK_ROOM : 0;
}

bool
exchange_flush(exchange_t *self)
{
    weft_buf_t *out = &self->slot->out;
    size_t size = exchange_chunk_size(self);
    size_t from = CHUNK_ROOM;
    if (size == 0) {
        return !self->broken; /* an empty chunk would end the body */
    }
    self->sent += size;
    if (!s_is_old(self)) {
        char line[CHUNK_ROOM + 1];
        int n = snprintf(line, sizeof line, "%zx\r\n", size);
        from -= (size_t) n;
        memcpy(out->data + from, line, (size_t) n);
        weft_buf_add(out, "\r\n", 2);
    }
    if (out->failed) {
        self->broken = self->close = true;
    }
    s_write(self, out->data + from, out->size - from);
    return !self->broken;
}

void
exchange_end_chunks(exchange_t *self)
{
    if (!s_is_old(self) && !self->head_only) {
        s_write(self, "0\r\n\r\n", 5);
    }
}
