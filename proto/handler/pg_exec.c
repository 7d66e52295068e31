/* pg_exec - one statement on a connection: sent, waited for, cancelled with its request */
#include "handler/pg_exec.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "handler/pg_statement.h"
#include "handler/request.h"

#define CANCEL_GRACE_MS 3000 /* for the server to act on a cancel */
#define CONTROL_MAX_MS 10000
#define STRAY_CANCEL_MS 1000 /* how long a cancel may take to find a backend */

/* ---- waiting ---- */

/* What a wait goes by. */
typedef struct {
    bool mind_request; /* give up with the request */
    bool cancelled;    /* the server was asked to cancel */
    int64_t until_ms;  /* give up the connection then */
} wait_t;

/* Asks the server to cancel what runs.  Opens a connection of its own and waits for its end, so it is bounded
 * by tcp_user_timeout; this thread has nothing else to do. */
static void
s_cancel(weft_pg_t *self, wait_t *wait)
{
    char reason[256] = "";
    PGcancel *cancel = PQgetCancel(self->conn);
    if (!cancel || !PQcancel(cancel, reason, sizeof reason))
        weft_log_warning("could not cancel a query",
                         WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })));
    PQfreeCancel(cancel);
    int64_t now = weft_mono_ms();
    self->stray_cancel_until_ms = now + STRAY_CANCEL_MS;
    wait->cancelled = true;
    if (now + CANCEL_GRACE_MS < wait->until_ms)
        wait->until_ms = now + CANCEL_GRACE_MS;
}

/* One sleep: for the socket, and for the request's cancel.  False when the connection broke. */
static bool
s_sleep(weft_pg_t *self, const wait_t *wait, bool unflushed)
{
    int64_t until_ms = wait->until_ms;
    bool mind_request = wait->mind_request && !wait->cancelled;
    if (mind_request && self->request->deadline_ms < until_ms)
        until_ms = self->request->deadline_ms;
    struct pollfd polled[2] = { { .fd = PQsocket(self->conn), .events = POLLIN },
                                { .fd = mind_request ? self->wake_fd : -1, .events = POLLIN } };
    if (unflushed)
        polled[0].events |= POLLOUT;
    const int64_t longest_ms = 60000; /* fits poll's int */
    int64_t left = until_ms - weft_mono_ms();
    int ready = poll(polled, 2, left > 0 ? (int) (left < longest_ms ? left : longest_ms) : 0);
    if (ready < 0)
        return errno == EINTR;
    if (polled[1].revents) {
        eventfd_t ignored;
        (void) eventfd_read(self->wake_fd, &ignored);
    }
    return !(polled[0].revents & ~POLLOUT) || PQconsumeInput(self->conn);
}

/* Sends what is buffered and reads until PQgetResult will not block; false when the connection is of no use.
 */
static bool
s_until_ready(weft_pg_t *self, wait_t *wait)
{
    int unflushed = PQflush(self->conn);
    while (unflushed > 0 || PQisBusy(self->conn)) {
        if (wait->mind_request && !wait->cancelled && weft_cancelled(self->request))
            s_cancel(self, wait);
        if (weft_mono_ms() >= wait->until_ms || !s_sleep(self, wait, unflushed > 0))
            return false;
        if (unflushed > 0)
            unflushed = PQflush(self->conn);
    }
    return true;
}

static bool
s_is_copy(ExecStatusType status)
{
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* Reads results until there is no more: the first error counts, otherwise the last.  False when it broke off.
 */
static bool
s_results(weft_pg_t *self, wait_t *wait, PGresult **last)
{
    while (s_until_ready(self, wait)) {
        PGresult *next = PQgetResult(self->conn);
        if (!next)
            return PQstatus(self->conn) != CONNECTION_BAD;
        if (*last && PQresultStatus(*last) == PGRES_FATAL_ERROR) {
            PQclear(next);
            continue;
        }
        PQclear(*last);
        *last = next;
        if (s_is_copy(PQresultStatus(next))) {
            weft_log_error("COPY is not supported by weft_pg_query");
            return false; /* nobody here speaks it, and the connection does nothing else until it is over */
        }
    }
    return false;
}

static void
s_note_state(weft_pg_t *self, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE); /* NULL with NULL */
    weft_format(self->sqlstate, sizeof self->sqlstate, "%s", state ? state : "");
}

static void
s_broke(weft_pg_t *self, const wait_t *wait)
{
    const char *reason = PQerrorMessage(self->conn);
    weft_log_warning("lost the connection to the database",
                     WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })),
                     WEFT_STR("sqlstate", self->sqlstate), WEFT_BOOL("cancelled", wait->cancelled));
    weft_metric_add(self->config->failures, 1);
    pg_drop(self);
    self->lost = true;
}

pg_end_t
pg_await(weft_pg_t *self, bool mind_request, int64_t until_ms, PGresult **rows)
{
    wait_t wait = { .mind_request = mind_request && self->request, .until_ms = until_ms };
    PGresult *last = NULL;
    if (!s_results(self, &wait, &last)) {
        s_note_state(self, last);
        PQclear(last);
        s_broke(self, &wait);
        return PG_BROKEN;
    }
    *rows = last;
    ExecStatusType status = PQresultStatus(last); /* an error with NULL */
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY)
        return PG_DONE;
    s_note_state(self, last);
    return PG_ERROR;
}

/* ---- sending ---- */

/* libpq's view of our parameters; texts are copied to end in NUL. */
typedef struct {
    const char *values[WEFT_PG_PARAMS_MAX];
    int lengths[WEFT_PG_PARAMS_MAX];
    int formats[WEFT_PG_PARAMS_MAX];
    char *copies;
} bound_t;

static bool
s_bind(bound_t *self, const weft_pg_param_t *params, int count)
{
    size_t need = 1;
    for (int i = 0; i < count; i++)
        need += params[i].kind == WEFT_PG_TEXT ? params[i].size + 1 : 0;
    self->copies = malloc(need);
    if (!self->copies)
        return false;
    char *at = self->copies;
    for (int i = 0; i < count; i++) {
        const weft_pg_param_t *param = &params[i];
        self->formats[i] = 0;
        self->lengths[i] = 0;
        self->values[i] = NULL;
        switch (param->kind) {
        case WEFT_PG_NULL:
            break;
        case WEFT_PG_TEXT:
            self->values[i] = at;
            if (param->size > 0)
                memcpy(at, param->data, param->size);
            at += param->size;
            *at++ = '\0';
            break;
        case WEFT_PG_SHORT:
            self->values[i] = param->text;
            break;
        case WEFT_PG_BYTES:
            self->values[i] = param->data ? param->data : "";
            self->lengths[i] = (int) param->size;
            self->formats[i] = 1;
            break;
        }
    }
    return true;
}

/* Queues the statement, prepared as `name` or, where that is NULL, as it is. */
static bool
s_send(weft_pg_t *self, const char *name, const char *sql, const weft_pg_param_t *params, int count,
       bool binary)
{
    bound_t bound;
    if (!s_bind(&bound, params, count))
        return false;
    int sent = name ? PQsendQueryPrepared(self->conn, name, count, bound.values, bound.lengths, bound.formats,
                                          binary)
                    : PQsendQueryParams(self->conn, sql, count, NULL, bound.values, bound.lengths,
                                        bound.formats, binary);
    free(bound.copies);
    return sent;
}

/* Nothing was written that the server could execute: a statement goes out only with its Sync behind it, and
 * libpq says 1 once it has queued that. */
static pg_end_t
s_unsent(weft_pg_t *self)
{
    weft_log_warning("could not send to the database",
                     WEFT_BYTES("reason", ((weft_span_t){ PQerrorMessage(self->conn),
                                                          strcspn(PQerrorMessage(self->conn), "\n") })));
    pg_drop(self);
    self->lost = true;
    return PG_UNSENT;
}

pg_end_t
pg_exec(weft_pg_t *self, const char *sql, const weft_pg_param_t *params, int count, bool binary,
        PGresult **rows)
{
    pg_end_t end = PG_UNSENT;
    const char *name = NULL;
    *rows = NULL;
    if (self->config->prepare && !(name = pg_statement(self, sql, count, &end, rows)))
        return end;
    if (!s_send(self, name, sql, params, count, binary))
        return s_unsent(self);
    return pg_await(self, true, self->request ? INT64_MAX : weft_mono_ms() + CONTROL_MAX_MS, rows);
}

/* Reads a pipeline's results up to its sync: *error is the first that there is, *committed whether COMMIT was
 * done.  False when it broke off. */
static bool
s_pipeline_results(weft_pg_t *self, PGresult **error, bool *committed)
{
    wait_t wait = { .until_ms = weft_mono_ms() + CONTROL_MAX_MS };
    while (s_until_ready(self, &wait)) {
        PGresult *next = PQgetResult(self->conn);
        ExecStatusType status = PQresultStatus(next); /* an error with NULL, which ends each statement */
        if (!next && PQstatus(self->conn) == CONNECTION_BAD)
            return false;
        if (status == PGRES_COMMAND_OK)
            *committed = strcmp(PQcmdStatus(next), "COMMIT") == 0;
        if (next && status == PGRES_FATAL_ERROR && !*error)
            *error = next;
        else
            PQclear(next);
        if (status == PGRES_PIPELINE_SYNC)
            return true;
    }
    return false;
}

pg_end_t
pg_exec_commit(weft_pg_t *self, const char *sql, const weft_pg_param_t *params, int count, PGresult **error)
{
    pg_end_t end = PG_UNSENT;
    const char *name = NULL;
    bool committed = false;
    *error = NULL;
    self->lost = false;
    self->sqlstate[0] = '\0';
    if (self->config->prepare && !(name = pg_statement(self, sql, count, &end, error)))
        return end;
    if (!PQenterPipelineMode(self->conn) || !s_send(self, name, sql, params, count, true) ||
        !PQsendQueryParams(self->conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0) || !PQpipelineSync(self->conn))
        return s_unsent(self);
    if (!s_pipeline_results(self, error, &committed) || !PQexitPipelineMode(self->conn)) {
        const wait_t wait = { .cancelled = false };
        s_note_state(self, *error);
        PQclear(*error);
        *error = NULL;
        s_broke(self, &wait);
        return PG_BROKEN;
    }
    if (!committed)
        s_note_state(self, *error);
    return committed ? PG_DONE : PG_ERROR;
}

bool
pg_control(weft_pg_t *self, const char *sql)
{
    PGresult *rows = NULL;
    pg_end_t end = PG_BROKEN;
    self->lost = false;
    self->sqlstate[0] = '\0';
    if (PQsendQueryParams(self->conn, sql, 0, NULL, NULL, NULL, NULL, 0))
        end = pg_await(self, false, weft_mono_ms() + CONTROL_MAX_MS, &rows);
    else {
        pg_drop(self);
        self->lost = true;
    }
    bool ok = end == PG_DONE && strcmp(PQcmdStatus(rows), sql) == 0;
    PQclear(rows);
    return ok;
}
