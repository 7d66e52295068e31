/* server - civetweb, tamed: its options, its callbacks, who is let in, and how it ends */
#include "gateway/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <weft/log.h>

#include "gateway/dispatch.h"
#include "gateway/watchdog.h"

/* Threads beyond the connection limit: they tell those who come on top that there is no room. */
#define RESERVE_THREADS 16
#define STOP_MS 1000      /* for the last answers, when the time to drain is over */
#define RESERVE_MS 500    /* such a connection has so long to send its request */
#define EVICT_IDLE_MS 100 /* an idle connection that younger ones may take the place of */

struct server {
    gateway_t *gateway;
    struct mg_context *context;
    watchdog_t *watchdog;
};

static server_t *
s_server(const struct mg_connection *connection)
{
    return mg_get_user_data(mg_get_context(connection));
}

static void *
s_on_thread(const struct mg_context *context, int type)
{
    server_t *self = mg_get_user_data(context);
    if (type == 0) {
        watchdog_set_master(self->watchdog);
    }
    if (type != 1) {
        return NULL;
    }
    slot_t *slot = slot_new(self->gateway);
    slot_t *owned = slot;
    if (slot && !watchdog_add(self->watchdog, &owned)) {
        slot_destroy(&slot);
    }
    if (!slot) {
        weft_log_error("could not set an HTTP thread up: memory ended");
        abort(); /* at start only: civetweb would use the thread nevertheless */
    }
    registry_join(self->gateway->registry, &slot->reader);
    return slot;
}

static void
s_on_thread_end(const struct mg_context *context, int type, void *thread)
{
    server_t *self = mg_get_user_data(context);
    slot_t *slot = thread;
    if (type == 0) {
        watchdog_clear_master(self->watchdog);
    } else if (type == 1 && slot) {
        watchdog_leave(self->watchdog, slot);
        registry_part(self->gateway->registry, &slot->reader);
    }
}

static void
s_set_idle(slot_t *slot)
{
    atomic_store_explicit(&slot->idle_at_ms, weft_mono_ms(), memory_order_relaxed);
    atomic_store(&slot->state, SLOT_IDLE);
}

static int
s_on_connection(const struct mg_connection *connection, void **connection_data)
{
    server_t *self = s_server(connection);
    slot_t *slot = mg_get_thread_pointer(connection);
    gateway_t *gateway = self->gateway;
    *connection_data = NULL;
    slot->socket = -2;
    slot->connected = true;
    slot->refused = false;
    slot->requests = 0;
    int open = atomic_fetch_add(&self->gateway->connections, 1) + 1;
    weft_metric_add(gateway->stats.connections, 1);
    slot->over_limit = open > gateway->settings.threads;
    atomic_store(&slot->deadline_ms, 0);
    if (slot->over_limit && watchdog_evict(self->watchdog, EVICT_IDLE_MS)) {
        weft_metric_add(gateway->stats.evicted, 1);
        slot->over_limit = false;
    }
    if (slot->over_limit) {
        atomic_store(&slot->state, SLOT_BUSY);
        atomic_store_explicit(&slot->deadline_ms, weft_mono_ms() + RESERVE_MS, memory_order_release);
    } else {
        s_set_idle(slot);
    }
    return 0;
}

static void
s_on_connection_closed(const struct mg_connection *connection)
{
    server_t *self = s_server(connection);
    slot_t *slot = mg_get_thread_pointer(connection);
    atomic_store(&slot->state, SLOT_EMPTY);
    atomic_store(&slot->deadline_ms, 0);
    if (slot->connected) { /* this runs twice when we ended the connection ourselves */
        slot->connected = false;
        atomic_fetch_sub(&self->gateway->connections, 1);
        weft_metric_add(self->gateway->stats.connections, -1);
    }
}

static void
s_begin(exchange_t *exchange, struct mg_connection *connection)
{
    server_t *self = s_server(connection);
    slot_t *slot = mg_get_thread_pointer(connection);
    memset(exchange, 0, sizeof *exchange);
    exchange->gateway = self->gateway;
    exchange->slot = slot;
    exchange->connection = connection;
    exchange->info = mg_get_request_info(connection);
    exchange->started_us = weft_mono_us();
    atomic_store(&slot->state, SLOT_BUSY);
    atomic_store_explicit(&slot->deadline_ms, 0, memory_order_release);
    atomic_fetch_add(&self->gateway->in_flight, 1);
    weft_metric_add(self->gateway->stats.in_flight, 1);
    slot->requests++;
}

/* The last that is done of a request; its connection may go on. */
static void
s_answered(const exchange_t *exchange)
{
    weft_metric_add(exchange->gateway->stats.in_flight, -1);
    atomic_fetch_sub(&exchange->gateway->in_flight, 1);
}

static void
s_end(exchange_t *exchange)
{
    s_answered(exchange);
    if (exchange->close) {
        /* The only way to tell civetweb 1.15 that a connection ends with this request. */
        mg_close_connection(exchange->connection);
    } else {
        s_set_idle(exchange->slot);
    }
}

static int
s_on_request(struct mg_connection *connection)
{
    exchange_t exchange;
    s_begin(&exchange, connection);
    exchange.slot->head_buffer = guard_buffer(exchange.slot->head_buffer, exchange.info);
    dispatch(&exchange);
    s_end(&exchange);
    return exchange.status > 0 ? exchange.status : 500;
}

/* civetweb answers by itself only what it cannot parse; it closes the connection behind it. */
static int
s_on_error(struct mg_connection *connection, int status, const char *message)
{
    exchange_t exchange;
    (void) message;
    if (!mg_get_thread_pointer(connection)) {
        return 1;
    }
    s_begin(&exchange, connection);
    exchange.slot->refused = true;
    dispatch_refused(&exchange, exchange.slot->over_limit ? 503 : status);
    s_answered(&exchange);
    return 0;
}

/* Where civetweb would close without a word: the target is "*" or names another server ("GET http://other/
 * HTTP/1.1"; its request has been parsed then, and has no local part), or a connection that there is no room
 * for has sent nothing in its time. */
static void
s_on_connection_close(const struct mg_connection *connection)
{
    const struct mg_request_info *info = mg_get_request_info(connection);
    slot_t *slot = mg_get_thread_pointer(connection);
    if (!slot->connected || slot->refused || !info) {
        return;
    }
    int http = 0;
    if (slot->over_limit && slot->requests == 0) {
        http = 503;
    } else if (info->request_uri && info->http_version && !info->local_uri) {
        http = 421;
    }
    if (http != 0) {
        exchange_t exchange;
        /* Const says "do not write": the socket is still open here, and nothing else writes to it. */
        s_begin(&exchange, (struct mg_connection *) (uintptr_t) connection);
        dispatch_refused(&exchange, http);
        s_answered(&exchange);
    }
}

static int
s_on_message(const struct mg_connection *connection, const char *message)
{
    (void) connection;
    weft_log_warning("civetweb says", WEFT_STR("message", message));
    return 1;
}

static bool
s_start(server_t *self)
{
    const settings_t *settings = &self->gateway->settings;
    char threads[16];
    char keep_alive[16];
    snprintf(threads, sizeof threads, "%d", (int) settings->threads + RESERVE_THREADS);
    snprintf(keep_alive, sizeof keep_alive, "%d", (int) settings->keep_alive_ms);
    const char *options[] = { "listening_ports",
                              settings->http,
                              "num_threads",
                              threads,
                              "enable_keep_alive",
                              "yes",
                              "keep_alive_timeout_ms",
                              keep_alive,
                              "request_timeout_ms",
                              "10000",
                              "tcp_nodelay",
                              "1",
                              "decode_url",
                              "no",
                              "max_request_size",
                              "16384",
                              "enable_auth_domain_check",
                              "no",
                              "connection_queue",
                              "256",
                              "listen_backlog",
                              "1024",
                              NULL };
    /* No log_access callback: civetweb formats its line first, with a stat of /etc/localtime per request. */
    const struct mg_callbacks callbacks = { .begin_request = s_on_request,
                                            .http_error = s_on_error,
                                            .log_message = s_on_message,
                                            .init_thread = s_on_thread,
                                            .exit_thread = s_on_thread_end,
                                            .init_connection = s_on_connection,
                                            .connection_close = s_on_connection_close,
                                            .connection_closed = s_on_connection_closed };
    self->context = mg_start(&callbacks, self, options);
    return self->context != NULL;
}

server_t *
server_new(gateway_t *gateway)
{
    server_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    self->gateway = gateway;
    mg_init_library(MG_FEATURES_DEFAULT);
    self->watchdog = watchdog_new((uint32_t) gateway->settings.threads + RESERVE_THREADS);
    if (!self->watchdog || !s_start(self)) {
        weft_log_error("could not listen", WEFT_STR("address", gateway->settings.http));
        server_destroy(&self);
    }
    return self;
}

int
server_port(const server_t *self)
{
    struct mg_server_port port;
    return mg_get_server_ports(self->context, 1, &port) == 1 ? port.port : 0;
}

void
server_stop(server_t *self)
{
    if (self->context) {
        watchdog_hurry(self->watchdog);
        /* Calls that still wait are told so: behind mg_stop nothing can be written. */
        int64_t until_ms = weft_mono_ms() + STOP_MS;
        while (atomic_load(&self->gateway->in_flight) > 0 && weft_mono_ms() < until_ms) {
            const struct timespec moment = { .tv_nsec = 2000000 };
            nanosleep(&moment, NULL);
        }
        mg_stop(self->context);
        self->context = NULL;
    }
    watchdog_stop(self->watchdog);
}

void
server_destroy(server_t **self_p)
{
    server_t *self = *self_p;
    if (self) {
        watchdog_destroy(&self->watchdog);
        mg_exit_library();
        free(self);
        *self_p = NULL;
    }
}
