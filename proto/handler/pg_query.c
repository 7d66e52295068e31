/* pg_query - weft_pg_query and what the SDK's own statements need of it */
#include "handler/pg_query.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "handler/pg_exec.h"
#include "handler/pg_statement.h"
#include "handler/request.h"

#define SENDS_MAX 3 /* of one statement, each provably without effect before the next */

/* ---- parameters and values ---- */

weft_pg_param_t
weft_pg_text(weft_span_t text)
{
    weft_pg_param_t param = { .kind = text.data ? WEFT_PG_TEXT : WEFT_PG_NULL,
                              .data = text.data,
                              .size = text.size };
    return param;
}

weft_pg_param_t
weft_pg_int(int64_t number)
{
    weft_pg_param_t param = { .kind = WEFT_PG_SHORT };
    (void) snprintf(param.text, sizeof param.text, "%lld", (long long) number);
    return param;
}

weft_pg_param_t
weft_pg_bool(bool flag)
{
    weft_pg_param_t param = { .kind = WEFT_PG_SHORT, .text = { flag ? 't' : 'f' } };
    return param;
}

weft_pg_param_t
weft_pg_null(void)
{
    return (weft_pg_param_t){ .kind = WEFT_PG_NULL };
}

weft_pg_param_t
weft_pg_bytes(weft_span_t bytes)
{
    return (weft_pg_param_t){ .kind = WEFT_PG_BYTES, .data = bytes.data, .size = bytes.size };
}

weft_span_t
weft_pg_get_text(const PGresult *rows, int row, int column)
{
    if (PQgetisnull(rows, row, column))
        return (weft_span_t){ NULL, 0 };
    return (weft_span_t){ PQgetvalue(rows, row, column), (size_t) PQgetlength(rows, row, column) };
}

int64_t
weft_pg_get_int(const PGresult *rows, int row, int column, int64_t fallback)
{
    int64_t number = fallback;
    weft_span_t text = weft_pg_get_text(rows, row, column);
    if (text.data && !weft_parse_int(text.data, INT64_MIN, INT64_MAX, &number))
        number = fallback;
    return number;
}

bool
weft_pg_get_bool(const PGresult *rows, int row, int column)
{
    weft_span_t text = weft_pg_get_text(rows, row, column);
    return text.size == 1 && text.data[0] == 't';
}

const char *
weft_pg_sqlstate(weft_request_t *request)
{
    return request->pg ? request->pg->sqlstate : "";
}

/* ---- errors ---- */

/* Classes and codes: PostgreSQL 15, Appendix A. */
weft_status_t
pg_status(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        weft_status_t status;
    } table[] = {
        { "23505", WEFT_ALREADY_EXISTS },    /* unique_violation */
        { "40001", WEFT_ABORTED },           /* serialization_failure */
        { "40P01", WEFT_ABORTED },           /* deadlock_detected */
        { "55P03", WEFT_ABORTED },           /* lock_not_available: lock_timeout, NOWAIT */
        { "WF001", WEFT_ABORTED },           /* weft_job_complete() in SQL: an old fence */
        { "57014", WEFT_DEADLINE_EXCEEDED }, /* query_canceled, not by us: statement_timeout */
        { "57P0", WEFT_UNAVAILABLE },        /* shutting down, starting up */
        { "25006", WEFT_UNAVAILABLE }, /* read_only_sql_transaction: this server is no primary any more */
        { "25P03", WEFT_UNAVAILABLE }, /* idle_in_transaction_session_timeout */
        { "53300", WEFT_UNAVAILABLE }, /* too_many_connections */
        { "08", WEFT_UNAVAILABLE },    /* connection exceptions */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].status;
    }
    return WEFT_INTERNAL;
}

weft_status_t
pg_fail(weft_request_t *request, weft_status_t status)
{
    const char *text = "the database refused a statement";
    if (status == WEFT_ALREADY_EXISTS)
        text = "exists already";
    else if (status == WEFT_ABORTED)
        text = "conflicts with another change that is under way: try again";
    else if (status == WEFT_UNAVAILABLE)
        text = "the database cannot be reached";
    else if (status == WEFT_DEADLINE_EXCEEDED)
        text = "the database did not answer in time";
    return weft_fail(request, status, "%s", text);
}

weft_status_t
pg_fail_cancelled(weft_request_t *request)
{
    if (weft_remaining_ms(request) > 0)
        return weft_fail(request, WEFT_CANCELLED, "cancelled");
    return weft_fail(request, WEFT_DEADLINE_EXCEEDED, "the deadline passed while the database worked");
}

/* One line per failed statement: what only says that the caller was second or unlucky is for debugging. */
static void
s_log_error(const weft_pg_t *self, const PGresult *result, weft_status_t status, const char *sql)
{
    weft_log_level_t level = status == WEFT_INTERNAL ? WEFT_LOG_ERROR
                             : status == WEFT_UNAVAILABLE || status == WEFT_DEADLINE_EXCEEDED
                                 ? WEFT_LOG_WARNING
                                 : WEFT_LOG_DEBUG;
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    weft_log(level, "could not run a statement", WEFT_STR("reason", text ? text : "out of memory"),
             WEFT_STR("sqlstate", self->sqlstate), WEFT_STR("constraint", constraint ? constraint : ""),
             WEFT_STR("sql", sql));
}

/* What to do about a statement that the server refused. */
static bool
s_retry_refused(weft_pg_t *self, const char *sql)
{
    if (strcmp(self->sqlstate, "26000") == 0) { /* it does not know the statement: DISCARD ALL, a pooler */
        pg_statement_forget(self, NULL);
        return true;
    }
    if (strcmp(self->sqlstate, "0A000") ==
        0) { /* "cached plan must not change result type": a table was altered */
        pg_statement_forget(self, sql);
        return true;
    }
    /* A cancel of the request before that found this one. */
    return strcmp(self->sqlstate, "57014") == 0 && weft_mono_ms() < self->stray_cancel_until_ms;
}

/* ---- the query ---- */

static weft_status_t
s_check(weft_request_t *request, const weft_pg_param_t *params, int count)
{
    if (count < 0 || count > WEFT_PG_PARAMS_MAX)
        return weft_fail(request, WEFT_INTERNAL, "a statement has %d parameters", count);
    for (int i = 0; i < count; i++) {
        /* Legal in JSON and msgpack, not storable in PostgreSQL. */
        if (params[i].kind == WEFT_PG_TEXT && params[i].size > 0 &&
            memchr(params[i].data, '\0', params[i].size))
            return weft_fail(request, WEFT_INVALID_ARGUMENT, "a text contains the character U+0000");
    }
    return WEFT_OK;
}

static weft_status_t
s_ready(weft_request_t *request, weft_pg_t *pg)
{
    if (pg->tx == PG_TX_LOST)
        return pg_fail(request, WEFT_UNAVAILABLE);
    if (weft_cancelled(request))
        return pg_fail_cancelled(request);
    if (pg->tx == PG_TX_NONE && pg_connect(pg) != WEFT_OK)
        return weft_cancelled(request) ? pg_fail_cancelled(request) : pg_fail(request, WEFT_UNAVAILABLE);
    return WEFT_OK;
}

PGresult *
pg_query(weft_request_t *request, const char *sql, const weft_pg_param_t *params, int count, bool binary,
         weft_status_t *status)
{
    weft_pg_t *pg = request->pg;
    assert(pg); /* the service has no `database`, or this is not the thread of run() */
    *status = s_check(request, params, count);
    for (int sends = 1; *status == WEFT_OK; sends++) {
        PGresult *rows = NULL;
        if ((*status = s_ready(request, pg)) != WEFT_OK)
            break;
        bool may_retry = pg->tx == PG_TX_NONE && sends < SENDS_MAX;
        switch (pg_exec(pg, sql, params, count, binary, &rows)) {
        case PG_DONE:
            return rows;
        case PG_UNSENT:
            if (!may_retry)
                *status = weft_cancelled(request) ? pg_fail_cancelled(request)
                                                  : pg_fail(request, WEFT_UNAVAILABLE);
            break;
        case PG_BROKEN:
            *status = weft_cancelled(request) ? pg_fail_cancelled(request)
                                              : pg_fail(request, WEFT_UNAVAILABLE);
            break;
        case PG_ERROR:
            if (strcmp(pg->sqlstate, "57014") == 0 && weft_cancelled(request)) {
                *status = pg_fail_cancelled(request);
            } else if (!(s_retry_refused(pg, sql) && may_retry)) {
                *status = pg_fail(request, pg_status(pg->sqlstate));
                s_log_error(pg, rows, *status, sql);
            }
            if (strcmp(pg->sqlstate, "25006") == 0)
                pg_drop(pg); /* look for the primary anew */
            PQclear(rows);
            break;
        }
    }
    return NULL;
}

pg_end_t
pg_query_last(weft_request_t *request, pg_last_t *last, weft_status_t *status)
{
    weft_pg_t *pg = request->pg;
    PGresult *error = NULL;
    pg_end_t end = pg_exec_commit(pg, last->sql, last->params, last->count, &error);
    switch (end) {
    case PG_DONE:
        break;
    case PG_ERROR:
        last->refused = true;
        (void) s_retry_refused(pg, last->sql); /* forgets what the server does not know any more */
        *status = pg_fail(request, pg_status(pg->sqlstate));
        s_log_error(pg, error, *status, last->sql);
        break;
    case PG_BROKEN:
        *status = weft_fail(request, WEFT_UNAVAILABLE,
                            "the database connection broke while it committed: the outcome is unknown");
        break;
    case PG_UNSENT:
        *status = pg_fail(request, WEFT_UNAVAILABLE);
        break;
    }
    PQclear(error);
    return end;
}

PGresult *
weft_pg_query(weft_request_t *request, const char *sql, const weft_pg_param_t *params, int count,
              weft_status_t *status)
{
    return pg_query(request, sql, params, count, false, status);
}
