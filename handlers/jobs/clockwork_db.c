/* clockwork_db - a background thread's connection to PostgreSQL: made when needed, given up when the process
 * stops */
#include "clockwork_db.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include <weft/clock.h>

#define CONNECT_MAX_MS 5000
#define QUERY_MAX_MS 15000 /* beyond the server's own limit: the network is at fault */
#define BACKOFF_BASE_MS 50 /* doubled for each failure in a row, with full jitter */
#define BACKOFF_DOUBLINGS 6u
#define SESSION_OPTIONS                                                                                      \
    "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"

struct clockwork_db {
    clockwork_db_config_t config;
    bool several_hosts;
    PGconn *conn;      /* NULL: not connected */
    uint32_t failures; /* in a row */
    int64_t retry_at_ms;
    char sqlstate[6];
    weft_rng_t rng;
};

/* Wait for a socket until then; false at the deadline, when the process stops, or when poll fails. */
static bool
s_wait(const clockwork_db_t *self, int fd, short events, int64_t until_ms)
{
    for (;;) {
        struct pollfd fds[] = { { fd, events, 0 }, { self->config.stop_fd, POLLIN, 0 } };
        int64_t left = until_ms - weft_mono_ms();
        if (left <= 0)
            return false;
        int ready = poll(fds, 2, (int) left);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready > 0)
            return fds[1].revents == 0;
    }
}

clockwork_db_t *
clockwork_db_new(const clockwork_db_config_t *config)
{
    clockwork_db_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    weft_rng_seed(&self->rng, weft_random_u64());
    PQconninfoOption *options = PQconninfoParse(config->url, NULL);
    for (PQconninfoOption *at = options; at && at->keyword; at++) {
        if (strcmp(at->keyword, "host") == 0 && at->val && strchr(at->val, ','))
            self->several_hosts = true;
    }
    PQconninfoFree(options); /* fine with NULL; a malformed URL shows when connecting */
    return self;
}

void
clockwork_db_destroy(clockwork_db_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        PQfinish((*self_p)->conn);
        free(*self_p);
        *self_p = NULL;
    }
}

bool
clockwork_db_up(const clockwork_db_t *self)
{
    return self->failures == 0;
}

const char *
clockwork_db_sqlstate(const clockwork_db_t *self)
{
    return self->sqlstate;
}

static bool
s_stopping(const clockwork_db_t *self)
{
    struct pollfd stop = { self->config.stop_fd, POLLIN, 0 };
    return poll(&stop, 1, 0) > 0;
}

/* The connection is of no use (any more): said once for each outage. */
static void
s_drop(clockwork_db_t *self, const char *reason)
{
    if (self->failures == 0 && !s_stopping(self))
        weft_log_warning("could not reach the database: background work waits",
                         WEFT_STR("application", self->config.application),
                         WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })));
    PQfinish(self->conn);
    self->conn = NULL;
    uint32_t doublings = self->failures < BACKOFF_DOUBLINGS ? self->failures : BACKOFF_DOUBLINGS;
    self->failures++;
    self->retry_at_ms = weft_mono_ms() + 1 +
                        (int64_t) weft_rng_below(&self->rng, (uint64_t) BACKOFF_BASE_MS << doublings);
}

static bool
s_handshake(const clockwork_db_t *self)
{
    int64_t until_ms = weft_mono_ms() + CONNECT_MAX_MS;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    if (PQstatus(self->conn) == CONNECTION_BAD)
        return false;
    while (next != PGRES_POLLING_OK) {
        short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (next == PGRES_POLLING_FAILED || !s_wait(self, PQsocket(self->conn), events, until_ms))
            return false;
        next = PQconnectPoll(self->conn);
    }
    return true;
}

static void
s_on_notice(void *context, const PGresult *notice)
{
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    (void) context;
    weft_log_debug("notice of the database", WEFT_STR("text", text ? text : ""));
}

static bool
s_connect(clockwork_db_t *self)
{
    if (self->conn)
        return true;
    if (self->failures > 0 && weft_mono_ms() < self->retry_at_ms)
        return false;
    /* The URL comes last and overrides. */
    const char *const keywords[] = { "fallback_application_name",
                                     "keepalives_idle",
                                     "keepalives_interval",
                                     "keepalives_count",
                                     "tcp_user_timeout",
                                     "client_encoding",
                                     "options",
                                     "target_session_attrs",
                                     "dbname",
                                     NULL };
    const char *const values[] = { self->config.application,
                                   "10",
                                   "5",
                                   "3",
                                   "15000",
                                   "UTF8",
                                   self->config.prepare ? SESSION_OPTIONS : NULL,
                                   self->several_hosts ? "primary" : NULL,
                                   self->config.url,
                                   NULL };
    self->conn = PQconnectStartParams(keywords, values, 1);
    if (!self->conn || !s_handshake(self) || PQsetnonblocking(self->conn, 1) != 0) {
        s_drop(self, self->conn && *PQerrorMessage(self->conn) ? PQerrorMessage(self->conn) : "timeout");
        return false;
    }
    (void) PQsetNoticeReceiver(self->conn, s_on_notice, NULL);
    if (self->failures > 0)
        weft_log_info("database is back", WEFT_STR("application", self->config.application));
    self->failures = 0;
    return true;
}

static bool
s_send(const clockwork_db_t *self, const char *sql, const weft_pg_param_t *params, int count)
{
    const char *values[WEFT_PG_PARAMS_MAX];
    int lengths[WEFT_PG_PARAMS_MAX], formats[WEFT_PG_PARAMS_MAX];
    char *copies[WEFT_PG_PARAMS_MAX] = { NULL }; /* texts are spans, libpq wants a NUL behind them */
    bool sent = true;
    assert(count <= WEFT_PG_PARAMS_MAX);
    for (int i = 0; i < count && sent; i++) {
        const weft_pg_param_t *param = &params[i];
        values[i] = param->kind == WEFT_PG_SHORT  ? param->text
                    : param->kind == WEFT_PG_NULL ? NULL
                                                  : param->data;
        lengths[i] = (int) param->size;
        formats[i] = param->kind == WEFT_PG_BYTES;
        if (param->kind == WEFT_PG_TEXT && param->data) {
            copies[i] = strndup(param->data, param->size);
            values[i] = copies[i];
            sent = copies[i] != NULL;
        }
    }
    sent = sent && PQsendQueryParams(self->conn, sql, count, NULL, values, lengths, formats, 0);
    for (int i = 0; i < count; i++)
        free(copies[i]);
    return sent;
}

/* Reads until the statement has ended; NULL when the connection broke or time ran out. */
static PGresult *
s_receive(const clockwork_db_t *self)
{
    int64_t until_ms = weft_mono_ms() + QUERY_MAX_MS;
    int left = 1;
    PGresult *last = NULL;
    for (;;) {
        if (left > 0 && (left = PQflush(self->conn)) < 0)
            break;
        if (left == 0 && !PQisBusy(self->conn)) {
            PGresult *rows = PQgetResult(self->conn);
            if (!rows)
                return last;
            PQclear(last);
            last = rows;
            continue;
        }
        if (!s_wait(self, PQsocket(self->conn), (short) (POLLIN | (left > 0 ? POLLOUT : 0)), until_ms) ||
            !PQconsumeInput(self->conn))
            break;
    }
    PQclear(last);
    return NULL;
}

PGresult *
clockwork_db_query(clockwork_db_t *self, const char *sql, const weft_pg_param_t *params, int count)
{
    self->sqlstate[0] = '\0';
    if (!s_connect(self))
        return NULL;
    PGresult *rows = s_send(self, sql, params, count) ? s_receive(self) : NULL;
    ExecStatusType status = PQresultStatus(rows);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return rows;
    const char *state = rows ? PQresultErrorField(rows, PG_DIAG_SQLSTATE) : NULL;
    if (state && PQstatus(self->conn) == CONNECTION_OK) {
        weft_format(self->sqlstate, sizeof self->sqlstate, "%s", state);
        weft_log_warning("could not run a statement", WEFT_STR("application", self->config.application),
                         WEFT_STR("sqlstate", state),
                         WEFT_STR("reason", PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY)));
    } else {
        const char *text = PQerrorMessage(self->conn);
        s_drop(self, *text ? text : "no answer in time");
    }
    PQclear(rows);
    return NULL;
}

PGconn *
clockwork_db_conn(clockwork_db_t *self)
{
    return s_connect(self) ? self->conn : NULL;
}

void
clockwork_db_check(clockwork_db_t *self)
{
    if (self->conn && PQstatus(self->conn) != CONNECTION_OK)
        s_drop(self, PQerrorMessage(self->conn));
}
