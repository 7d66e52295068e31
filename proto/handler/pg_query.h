/* pg_query - weft_pg_query and what the SDK's own statements need of it */
#ifndef WEFT_HANDLER_PG_QUERY_H
#define WEFT_HANDLER_PG_QUERY_H

#include "handler/pg_exec.h"

/* weft_pg_query with a choice of the result's format. */
PGresult *pg_query(weft_request_t *request, const char *sql, const weft_pg_param_t *params, int count,
                   bool binary, weft_status_t *status);

/* A transaction's last statement, which is sent together with COMMIT (pg_exec_commit). */
typedef struct {
    const char *sql; /* NULL: none */
    const weft_pg_param_t *params;
    int count;
    bool refused; /* out: the server refused it, or COMMIT */
} pg_last_t;
/* Runs it and commits: *status is set unless it is PG_DONE. */
pg_end_t pg_query_last(weft_request_t *request, pg_last_t *last, weft_status_t *status);

/* What an SQLSTATE means to a caller. */
weft_status_t pg_status(const char *sqlstate);
/* Sets weft_fail with a text for callers: nothing of SQL, tables or servers. */
weft_status_t pg_fail(weft_request_t *request, weft_status_t status);
/* CANCELLED or DEADLINE_EXCEEDED, whichever the request met; weft_fail is set. */
weft_status_t pg_fail_cancelled(weft_request_t *request);

#endif
