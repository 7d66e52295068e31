/* pg_conn - a pool thread's connection to PostgreSQL: made when needed, made anew when lost */
#include "handler/pg_conn.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "handler/pg_exec.h"
#include "handler/pg_once.h"
#include "handler/request.h"

#define CONNECT_MAX_MS 5000 /* one attempt */
#define PATIENCE_MS 2000    /* how long an outage is waited out by requests */
#define BACKOFF_BASE_MS 50  /* doubled for each failure in a row */
#define BACKOFF_MAX_MS 2000
#define BACKOFF_DOUBLINGS 6u

/* ---- settings ---- */

/* Defaults that the URL overrides, in libpq's words.  A dead host is noticed within 25 s while idle
 * (keepalives), within 15 s while something is sent.  Behind a pooler `options` would be refused. */
static const char *const s_keywords[] = { "fallback_application_name",
                                          "connect_timeout",
                                          "keepalives_idle",
                                          "keepalives_interval",
                                          "keepalives_count",
                                          "tcp_user_timeout",
                                          "client_encoding",
                                          "options",
                                          "target_session_attrs",
                                          "dbname",
                                          NULL };
/* No statement_timeout: the request's own deadline ends a query.  A lock is waited for 5 s, a transaction
 * that forgot to end holds its locks for a minute. */
#define SESSION_OPTIONS "-c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"

bool
pg_config_init(pg_config_t *self, const char *url, const char *application, char *why, size_t why_size)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &message);
    if (!options) {
        weft_format(why, why_size, "%.*s", message ? (int) strcspn(message, "\n") : 0,
                    message ? message : "");
        PQfreemem(message);
        return false;
    }
    for (PQconninfoOption *at = options; at->keyword; at++) {
        if (strcmp(at->keyword, "host") == 0 && at->val && strchr(at->val, ','))
            self->several_hosts = true;
    }
    PQconninfoFree(options);
    self->url = url;
    self->application = application;
    self->prepare = true;
    self->once_keep_s = 86400; /* a day */
    self->reconnects = weft_metric(WEFT_COUNTER, "weft_pg_connects_total", "",
                                   "Connections made to PostgreSQL.");
    self->failures = weft_metric(WEFT_COUNTER, "weft_pg_failures_total", "",
                                 "Connections to PostgreSQL that were lost or could not be made.");
    return true;
}

/* ---- lifetime ---- */

weft_pg_t *
pg_new(pg_config_t *config, int wake_fd)
{
    weft_pg_t *self = calloc(1, sizeof *self);
    if (self) {
        self->config = config;
        self->wake_fd = wake_fd;
        weft_rng_seed(&self->rng, weft_random_u64());
    }
    return self;
}

void
pg_destroy(weft_pg_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        pg_drop(*self_p);
        free(*self_p);
        *self_p = NULL;
    }
}

void
pg_drop(weft_pg_t *self)
{
    for (uint32_t i = 0; i < self->statement_count; i++)
        free(self->statements[i].sql);
    self->statement_count = 0;
    PQfinish(self->conn); /* fine with NULL */
    self->conn = NULL;
    if (self->tx == PG_TX_OPEN)
        self->tx = PG_TX_LOST;
}

/* ---- connecting ---- */

/* libpq gives the last words of a backend that was told to stop as a notice, when nothing ran on it. */
static void
s_on_notice(void *context, const PGresult *notice)
{
    weft_pg_t *self = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        self->doomed = true;
    weft_log_debug("notice of the database", WEFT_STR("text", text ? text : ""));
}

static PGconn *
s_begin(const weft_pg_t *self)
{
    const char *values[] = { self->config->application,
                             "5",
                             "10",
                             "5",
                             "3",
                             "15000",
                             "UTF8",
                             self->config->prepare ? SESSION_OPTIONS : NULL,
                             self->config->several_hosts ? "primary" : NULL,
                             self->config->url,
                             NULL };
    _Static_assert(sizeof values / sizeof values[0] == sizeof s_keywords / sizeof s_keywords[0],
                   "a value for each keyword");
    return PQconnectStartParams(s_keywords, values, 1);
}

/* Drives the handshake until connected or `until_ms`. */
static bool
s_handshake(PGconn *conn, int64_t until_ms)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    if (PQstatus(conn) == CONNECTION_BAD)
        return false;
    while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
        int64_t left = until_ms - weft_mono_ms();
        struct pollfd wait = { .fd = PQsocket(conn),
                               .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT };
        if (left <= 0)
            return false;
        int ready = poll(&wait, 1, (int) left);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready > 0)
            state = PQconnectPoll(conn);
    }
    return state == PGRES_POLLING_OK;
}

static void
s_attempt_failed(weft_pg_t *self, const char *reason)
{
    int64_t now = weft_mono_ms();
    uint32_t doublings = self->failures < BACKOFF_DOUBLINGS ? self->failures : BACKOFF_DOUBLINGS;
    uint64_t bound = (uint64_t) BACKOFF_BASE_MS << doublings;
    self->failures++;
    /* Full jitter, but for a floor that keeps a run of small numbers from hammering. */
    self->retry_at_ms = now + 10 +
                        (int64_t) weft_rng_below(&self->rng, bound < BACKOFF_MAX_MS ? bound : BACKOFF_MAX_MS);
    weft_metric_add(self->config->failures, 1);
    bool first = atomic_exchange(&self->config->up, false);
    int64_t never = 0;
    (void) atomic_compare_exchange_strong(&self->config->down_since_ms, &never, now);
    weft_log(first || self->failures == 1 ? WEFT_LOG_WARNING : WEFT_LOG_DEBUG,
             "could not connect to the database",
             WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })),
             WEFT_UINT("attempts", self->failures));
}

/* One attempt.  Name resolution is the one part of it that no timeout covers but the resolver's own. */
static bool
s_attempt(weft_pg_t *self, int64_t until_ms)
{
    pg_drop(self);
    PGconn *conn = s_begin(self);
    int64_t latest = weft_mono_ms() + CONNECT_MAX_MS;
    if (!conn || !s_handshake(conn, until_ms < latest ? until_ms : latest)) {
        const char *reason = conn ? PQerrorMessage(conn) : "out of memory";
        s_attempt_failed(self, reason[0] ? reason : "no answer in time");
        PQfinish(conn);
        return false;
    }
    self->doomed = false;
    (void) PQsetNoticeReceiver(conn, s_on_notice, self);
    if (PQsetnonblocking(conn, 1) != 0) {
        s_attempt_failed(self, PQerrorMessage(conn));
        PQfinish(conn);
        return false;
    }
    self->conn = conn;
    self->failures = 0;
    self->lost = false;
    self->stray_cancel_until_ms = 0;
    weft_metric_add(self->config->reconnects, 1);
    atomic_store(&self->config->down_since_ms, 0);
    if (!atomic_exchange(&self->config->up, true))
        weft_log_info("connected to the database");
    return true;
}

/* A terminated backend leaves its last words and the end of the stream; PQstatus does not look.  Costs one
 * recv where nothing is there, which is the rule. */
bool
pg_is_stale(weft_pg_t *self)
{
    const int reads_max = 16; /* parameter changes and notices may arrive unasked as well */
    for (int i = 0; i < reads_max && !self->doomed; i++) {
        char byte;
        ssize_t size = recv(PQsocket(self->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (size <= 0 || !PQconsumeInput(self->conn))
            return true;
        (void) PQisBusy(self->conn); /* parses what was read */
    }
    return true;
}

weft_status_t
pg_connect(weft_pg_t *self)
{
    assert(self->tx != PG_TX_OPEN);
    if (self->conn && pg_is_stale(self)) {
        weft_log_debug("the database closed an idle connection");
        pg_drop(self);
        self->retry_at_ms = 0;
    }
    while (!self->conn) {
        int64_t now = weft_mono_ms();
        int64_t deadline = self->request ? self->request->deadline_ms : now + CONNECT_MAX_MS;
        /* All threads wait one outage out together: whoever finds it later waits less. */
        int64_t down_since = atomic_load(&self->config->down_since_ms);
        int64_t patience = (down_since ? down_since : now) + PATIENCE_MS;
        if (self->failures && now < self->retry_at_ms) {
            if (self->retry_at_ms > patience || self->retry_at_ms >= deadline)
                return WEFT_UNAVAILABLE;
            if (self->request && weft_wait_cancelled(self->request, self->retry_at_ms - now))
                return WEFT_UNAVAILABLE;
            continue;
        }
        if (!s_attempt(self, deadline) && weft_mono_ms() >= patience)
            return WEFT_UNAVAILABLE;
    }
    return WEFT_OK;
}

/* ---- between requests ---- */

void
pg_lend(weft_pg_t *self, weft_request_t *request)
{
    eventfd_t ignored;
    (void) eventfd_read(self->wake_fd, &ignored); /* a cancel of the request before */
    self->request = request;
    self->sqlstate[0] = '\0';
}

void
pg_take_back(weft_pg_t *self)
{
    if (self->conn && self->tx == PG_TX_NONE && PQtransactionStatus(self->conn) != PQTRANS_IDLE) {
        weft_log_error("a method left a transaction open: rolled back",
                       WEFT_BYTES("method", weft_request_method(self->request)));
        if (!pg_control(self, "ROLLBACK"))
            pg_drop(self);
    }
    self->request = NULL;
}

int64_t
pg_repair_at(const weft_pg_t *self)
{
    return self->conn ? INT64_MAX : self->retry_at_ms;
}

void
pg_repair(weft_pg_t *self)
{
    if (!self->conn)
        (void) s_attempt(self, INT64_MAX); /* counted, logged, and tried again later */
}

void
pg_chores(weft_pg_t *self)
{
    int64_t due = atomic_load_explicit(&self->config->purge_at_ms, memory_order_relaxed);
    int64_t now = weft_mono_ms();
    /* 0: no key was ever used here.  One thread of the process takes the turn. */
    if (due == 0 || now < due || !self->conn ||
        !atomic_compare_exchange_strong(&self->config->purge_at_ms, &due, now + PG_PURGE_EVERY_MS))
        return;
    if (pg_once_purge(self))
        atomic_store(&self->config->purge_at_ms, now + 1); /* there is more */
}
