/* store_lane - one connection to PostgreSQL that never blocks */
#include "store_lane.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/log.h>

#include "store_hosts.h"

#define CONNECT_MAX_US 5000000
#define BACKOFF_FLOOR_US 10000
#define BACKOFF_BASE_US 50000
#define BACKOFF_MAX_US 2000000
#define BACKOFF_DOUBLINGS 6u
#define UNRESOLVED_US 20000 /* until the resolver is asked again */
#define HOST_LIST_MAX 65536

/* The plans of the queue are nested loops over indexes, whatever the tables' sizes were when they were made:
 * a plan made while the table was empty would read all of it later.  One plan for all parameters: arrays of
 * any length get the same.  A lock is waited for briefly: others' transactions must not stop a lane. */
static const char *const s_settings[][2] = {
    { "enable_seqscan", "off" },
    { "enable_bitmapscan", "off" },
    { "enable_hashjoin", "off" },
    { "enable_mergejoin", "off" },
    { "enable_material", "off" },
    { "plan_cache_mode", "force_generic_plan" },
    { "jit", "off" },
    { "lock_timeout", "250ms" },
    { "statement_timeout", "20s" },
};
#define SETTINGS (sizeof s_settings / sizeof s_settings[0])

/* Defaults that the URL overrides, then what overrides the URL. */
static const char *const s_keywords[] = { "fallback_application_name",
                                          "connect_timeout",
                                          "keepalives_idle",
                                          "keepalives_interval",
                                          "keepalives_count",
                                          "tcp_user_timeout",
                                          "client_encoding",
                                          "target_session_attrs",
                                          "dbname",
                                          "host",
                                          "hostaddr",
                                          "port",
                                          NULL };

typedef enum { DOWN, CONNECTING, SETUP, IDLE, BUSY } state_t;

struct store_lane {
    store_lane_config_t config;
    PGconn *conn;
    state_t state;
    PostgresPollingStatusType polling; /* CONNECTING */
    uint32_t failures;                 /* in a row */
    int64_t deadline_us;               /* DOWN: try again; others: give up.  IDLE: never */
    bool writing;                      /* something is not flushed */
    bool finished;                     /* the last words of the server came as a notice */
    weft_rng_t rng;
    sql_sink_t sink;
    sql_statement_t settings;
    weft_buf_t settings_text;
    /* the transaction on the way */
    uint32_t skipped; /* results before the first of the caller's */
    uint32_t seen;    /* statements whose results ended */
    bool failed;
    char sqlstate[6];
    PGresult *results[SQL_STATEMENTS_MAX];
    uint32_t result_count;
};

/* ---- lifetime ---- */

static bool s_statement(void *context, const sql_statement_t *statement, const sql_params_t *params);

store_lane_t *
store_lane_new(const store_lane_config_t *config)
{
    store_lane_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->sink.context = self;
    self->sink.statement = s_statement;
    sql_params_init(&self->sink.params);
    weft_rng_seed(&self->rng, config->seed);
    weft_buf_init(&self->settings_text, 4096);
    for (size_t i = 0; i < SETTINGS; i++) {
        (void) weft_buf_addf(&self->settings_text, "%s set_config('%s', '%s', %s)", i ? "," : "SELECT",
                             s_settings[i][0], s_settings[i][1], config->prepare ? "false" : "true");
    }
    (void) weft_buf_add_char(&self->settings_text, '\0');
    if (self->settings_text.failed) {
        store_lane_destroy(&self);
        return NULL;
    }
    self->settings = (sql_statement_t){ "", self->settings_text.data };
    return self;
}

static void
s_clear_results(store_lane_t *self)
{
    for (uint32_t i = 0; i < self->result_count; i++)
        PQclear(self->results[i]);
    self->result_count = 0;
}

void
store_lane_destroy(store_lane_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        store_lane_t *self = *self_p;
        s_clear_results(self);
        PQfinish(self->conn); /* fine with NULL */
        sql_params_fini(&self->sink.params);
        weft_buf_fini(&self->settings_text);
        free(self);
        *self_p = NULL;
    }
}

bool
store_lane_up(const store_lane_t *self)
{
    return self->state == IDLE || self->state == BUSY;
}

bool
store_lane_idle(const store_lane_t *self)
{
    return self->state == IDLE;
}

/* ---- losing ---- */

void
store_lane_drop(store_lane_t *self, const char *reason, int64_t now_us)
{
    uint32_t doublings = self->failures < BACKOFF_DOUBLINGS ? self->failures : BACKOFF_DOUBLINGS;
    uint64_t step_us = (uint64_t) BACKOFF_BASE_US << doublings;
    if (step_us > BACKOFF_MAX_US)
        step_us = BACKOFF_MAX_US;
    bool was_up = store_lane_up(self);
    weft_log(was_up || self->failures == 0 ? WEFT_LOG_WARNING : WEFT_LOG_DEBUG,
             was_up ? "lost the connection to the database" : "could not connect to the database",
             WEFT_STR("lane", self->config.name),
             WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })),
             WEFT_UINT("attempts", self->failures));
    self->failures++;
    s_clear_results(self);
    PQfinish(self->conn);
    self->conn = NULL;
    self->state = DOWN;
    self->writing = false;
    self->deadline_us = now_us + BACKOFF_FLOOR_US +
                        (int64_t) weft_rng_below(&self->rng, step_us); /* full jitter */
}

static store_lane_end_t
s_broke(store_lane_t *self, int64_t now_us)
{
    char reason[256];
    const char *text = self->conn ? PQerrorMessage(self->conn) : "";
    weft_format(reason, sizeof reason, "%s", text && text[0] ? text : "closed by the server");
    store_lane_drop(self, reason, now_us);
    return LANE_BROKE;
}

/* ---- connecting ---- */

static void
s_on_notice(void *context, const PGresult *notice)
{
    store_lane_t *self = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        self->finished = true;
    weft_log_debug("notice of the database", WEFT_STR("lane", self->config.name),
                   WEFT_STR("text", text ? text : ""));
}

static const char *
s_list(const weft_buf_t *list)
{
    return list->size > 1 ? list->data : NULL;
}

static store_lane_end_t
s_connect(store_lane_t *self, int64_t now_us)
{
    weft_buf_t host, hostaddr, port;
    weft_buf_init(&host, HOST_LIST_MAX);
    weft_buf_init(&hostaddr, HOST_LIST_MAX);
    weft_buf_init(&port, HOST_LIST_MAX);
    store_lane_end_t end = LANE_WAITS;
    if (!store_hosts_get(self->config.hosts, &host, &hostaddr, &port)) {
        self->deadline_us = now_us + UNRESOLVED_US;
        goto out;
    }
    const char *values[] = { self->config.name,
                             "5",
                             "10",
                             "5",
                             "3",
                             "15000",
                             "UTF8",
                             store_hosts_several(self->config.hosts) ? "primary" : NULL,
                             self->config.database_url,
                             s_list(&host),
                             s_list(&hostaddr),
                             s_list(&port),
                             NULL };
    _Static_assert(sizeof values / sizeof values[0] == sizeof s_keywords / sizeof s_keywords[0],
                   "a value for each keyword");
    self->finished = false;
    self->conn = PQconnectStartParams(s_keywords, values, 1);
    self->state = CONNECTING;
    self->polling = PGRES_POLLING_WRITING;
    self->deadline_us = now_us + CONNECT_MAX_US;
    if (!self->conn || PQstatus(self->conn) == CONNECTION_BAD)
        end = s_broke(self, now_us);
    else
        (void) PQsetNoticeReceiver(self->conn, s_on_notice, self);
out:
    weft_buf_fini(&host);
    weft_buf_fini(&hostaddr);
    weft_buf_fini(&port);
    return end;
}

static void
s_reset_transaction(store_lane_t *self)
{
    s_clear_results(self);
    self->skipped = self->seen = 0;
    self->failed = false;
    self->sqlstate[0] = '\0';
}

/* Everything that will ever run, in one go. */
static bool
s_setup(store_lane_t *self)
{
    s_reset_transaction(self);
    if (PQsetnonblocking(self->conn, 1) != 0 || PQenterPipelineMode(self->conn) != 1)
        return false;
    if (self->config.prepare) {
        if (PQsendQueryParams(self->conn, self->settings.text, 0, NULL, NULL, NULL, NULL, 1) != 1)
            return false;
        for (const sql_statement_t *const *const *list = self->config.statements; *list; list++) {
            for (const sql_statement_t *const *at = *list; *at; at++) {
                if (PQsendPrepare(self->conn, (*at)->name, (*at)->text, 0, NULL) != 1)
                    return false;
            }
        }
    }
    self->skipped = UINT32_MAX; /* no result is anybody's */
    self->state = SETUP;
    return store_lane_end(self);
}

static store_lane_end_t
s_step_connecting(store_lane_t *self, int64_t now_us)
{
    struct pollfd wait = { .fd = PQsocket(self->conn),
                           .events = self->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT };
    if (poll(&wait, 1, 0) <= 0) /* libpq takes a call before that for an established connection */
        return LANE_WAITS;
    self->polling = PQconnectPoll(self->conn);
    if (self->polling == PGRES_POLLING_FAILED || (self->polling == PGRES_POLLING_OK && !s_setup(self)))
        return s_broke(self, now_us);
    return LANE_WAITS;
}

/* ---- a transaction ---- */

static bool
s_statement(void *context, const sql_statement_t *statement, const sql_params_t *params)
{
    store_lane_t *self = context;
    const char *values[SQL_PARAMS_MAX];
    int formats[SQL_PARAMS_MAX];
    if (!sql_params_good(params))
        return false;
    for (int i = 0; i < params->count; i++) {
        values[i] = params->length[i] < 0 ? NULL : params->bytes.data + params->offset[i];
        formats[i] = 1;
    }
    if (self->config.prepare)
        return PQsendQueryPrepared(self->conn, statement->name, params->count, values, params->length,
                                   formats, 1) == 1;
    return PQsendQueryParams(self->conn, statement->text, params->count, NULL, values, params->length,
                             formats, 1) == 1;
}

bool
store_lane_begin(store_lane_t *self, int64_t now_us)
{
    assert(self->state == IDLE);
    s_reset_transaction(self);
    self->state = BUSY;
    self->deadline_us = now_us + self->config.patience_ms * 1000;
    if (self->config.prepare)
        return true;
    /* For this transaction alone: the next may run on another server connection. */
    self->skipped = 1;
    return PQsendQueryParams(self->conn, self->settings.text, 0, NULL, NULL, NULL, NULL, 1) == 1;
}

sql_sink_t *
store_lane_sink(store_lane_t *self)
{
    return &self->sink;
}

bool
store_lane_end(store_lane_t *self)
{
    if (PQpipelineSync(self->conn) != 1)
        return false;
    int flushed = PQflush(self->conn);
    self->writing = flushed > 0;
    return flushed >= 0;
}

static void
s_take_error(store_lane_t *self, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (self->failed)
        return; /* the first is the cause */
    self->failed = true;
    /* Without a state it is libpq that speaks: the connection. */
    weft_format(self->sqlstate, sizeof self->sqlstate, "%s", state ? state : "08006");
    weft_log_debug("refused by the database", WEFT_STR("lane", self->config.name),
                   WEFT_STR("sqlstate", self->sqlstate), WEFT_STR("reason", PQresultErrorMessage(result)));
}

/* True when the transaction is over. */
static bool
s_take_result(store_lane_t *self, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        return true;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        if (self->seen >= self->skipped && self->result_count < SQL_STATEMENTS_MAX) {
            self->results[self->result_count++] = result;
            return false;
        }
        break;
    case PGRES_PIPELINE_ABORTED:
        break;
    default:
        s_take_error(self, result);
        break;
    }
    PQclear(result);
    return false;
}

/* Sent by a server that is going away, or about a connection that is of no use any more. */
static bool
s_is_end(const char *sqlstate)
{
    return strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0;
}

static store_lane_end_t
s_over(store_lane_t *self, int64_t now_us)
{
    bool setup = self->state == SETUP;
    self->deadline_us = INT64_MAX;
    if (self->failed && s_is_end(self->sqlstate))
        return s_broke(self, now_us);
    if (setup && self->failed) {
        char reason[64];
        store_lane_drop(self, weft_format(reason, sizeof reason, "could not prepare: %s", self->sqlstate),
                        now_us);
        return LANE_BROKE;
    }
    self->state = IDLE;
    if (setup) {
        weft_log_debug("connected to the database", WEFT_STR("lane", self->config.name));
        self->failures = 0;
        return LANE_WAITS;
    }
    return self->failed ? LANE_REFUSED : LANE_DONE;
}

static store_lane_end_t
s_step_reading(store_lane_t *self, int64_t now_us)
{
    if (PQconsumeInput(self->conn) != 1)
        return s_broke(self, now_us);
    if (self->writing) {
        int flushed = PQflush(self->conn);
        if (flushed < 0)
            return s_broke(self, now_us);
        self->writing = flushed > 0;
    }
    if (self->state == IDLE) {
        (void) PQisBusy(self->conn); /* reads what came unasked: notices, parameters */
        return self->finished || PQstatus(self->conn) == CONNECTION_BAD ? s_broke(self, now_us) : LANE_WAITS;
    }
    while (PQisBusy(self->conn) == 0) {
        PGresult *result = PQgetResult(self->conn);
        if (PQstatus(self->conn) == CONNECTION_BAD) {
            PQclear(result);
            return s_broke(self, now_us);
        }
        if (!result)
            self->seen++;
        else if (s_take_result(self, result))
            return s_over(self, now_us);
    }
    return LANE_WAITS;
}

store_lane_end_t
store_lane_step(store_lane_t *self, int64_t now_us)
{
    if (self->state == DOWN)
        return now_us >= self->deadline_us ? s_connect(self, now_us) : LANE_WAITS;
    if (self->state != IDLE && now_us >= self->deadline_us) {
        store_lane_drop(self, "no answer in time", now_us);
        return LANE_BROKE;
    }
    return self->state == CONNECTING ? s_step_connecting(self, now_us) : s_step_reading(self, now_us);
}

PGresult *const *
store_lane_results(const store_lane_t *self, uint32_t *count)
{
    *count = self->result_count;
    return self->results;
}

const char *
store_lane_sqlstate(const store_lane_t *self)
{
    return self->sqlstate;
}

struct pollfd
store_lane_poll(const store_lane_t *self, int64_t *deadline_us)
{
    struct pollfd wait = { .fd = self->conn ? PQsocket(self->conn) : -1 };
    if (self->state != IDLE && self->deadline_us < *deadline_us)
        *deadline_us = self->deadline_us;
    if (self->state == CONNECTING)
        wait.events = self->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    else
        wait.events = self->writing ? POLLIN | POLLOUT : POLLIN;
    return wait;
}
