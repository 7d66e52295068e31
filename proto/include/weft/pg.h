/* pg - PostgreSQL for handlers: a connection that comes back, prepared statements, once-only effects,
 * migrations */
#ifndef WEFT_PG_H
#define WEFT_PG_H

#include <libpq-fe.h>

#include <weft/handler.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A parameter; made by the functions below, all zero is SQL NULL.  `data` is borrowed until the query
 * returns. */
typedef struct {
    enum { WEFT_PG_NULL, WEFT_PG_TEXT, WEFT_PG_SHORT, WEFT_PG_BYTES } kind;
    const char *data; /* WEFT_PG_TEXT, WEFT_PG_BYTES */
    size_t size;
    char text[24]; /* WEFT_PG_SHORT: the text itself */
} weft_pg_param_t;
/* Any type in its text form; a span with data NULL is SQL NULL. */
weft_pg_param_t weft_pg_text(weft_span_t text);
weft_pg_param_t weft_pg_int(int64_t number);
weft_pg_param_t weft_pg_bool(bool flag);
weft_pg_param_t weft_pg_null(void);
weft_pg_param_t weft_pg_bytes(weft_span_t bytes); /* bytea, in binary form */

#define WEFT_PG_PARAMS_MAX 64

/* Runs one statement, prepared once per connection under a name of its own (unnamed and unprepared where
 * WEFT_PG_PREPARE=0, for poolers in transaction mode).  Outside a transaction a lost connection is made anew
 * and, only when nothing can have been executed, the statement sent again.  It is cancelled on the server
 * when the request is cancelled or its deadline passes. Returns the result (caller runs PQclear) with *status
 * WEFT_OK, or NULL with *status mapped from SQLSTATE: unique violation ALREADY_EXISTS; serialization failure,
 * deadlock, lock_timeout ABORTED; query cancelled DEADLINE_EXCEEDED or CANCELLED; connection lost, server
 * stopping UNAVAILABLE; a NUL in a text INVALID_ARGUMENT; otherwise INTERNAL. Logged, and weft_fail already
 * set with a text that shows no SQL.  On the thread of run() only. */
PGresult *weft_pg_query(weft_request_t *request, const char *sql, const weft_pg_param_t *params, int count,
                        weft_status_t *status);

/* The five letters of the last failure on this connection ("23514"), "" when it had none.  On the thread of
 * run(). */
const char *weft_pg_sqlstate(weft_request_t *request);

/* One value of a result; borrowed until PQclear. {NULL, 0} for SQL NULL. */
weft_span_t weft_pg_get_text(const PGresult *rows, int row, int column);
/* `fallback` for SQL NULL and what is no integer. */
int64_t weft_pg_get_int(const PGresult *rows, int row, int column, int64_t fallback);
bool weft_pg_get_bool(const PGresult *rows, int row, int column);

/* Runs `body` in a transaction: committed when it returns WEFT_OK, else rolled back.  Repeated (3 runs at
 * most) after a serialization failure, a deadlock, or a connection lost before COMMIT was sent, so `body`
 * must be repeatable: its result and error are emptied in between; partials it sent stay sent.  Within
 * another transaction `body` simply joins that one.  A connection lost during COMMIT is UNAVAILABLE: the
 * outcome is unknown (weft_pg_once can tell). */
weft_status_t weft_pg_transaction(weft_request_t *request, weft_run_t body, void *app);

/* As weft_pg_transaction, and once only for the idempotency key of the request (meta "idempotency.key", at
 * most 255 bytes, scoped by service, method and meta "auth.sub"): effects and result commit together; a
 * repeated key gives the stored result and meta without running `body`; the same key with another input:
 * FAILED_PRECONDITION.  Errors are not stored: they rolled everything back, and the key is free again.  While
 * the first is still running a second waits for it, at most lock_timeout (5 s, see proto/handler/README.md),
 * then ABORTED.  A connection lost during COMMIT is asked about and, where it had not committed, repeated.
 * Without a key: as weft_pg_transaction.  Keys are kept for 24 h (WEFT_ONCE_KEEP_S), then deleted a few
 * hundred at a time. */
weft_status_t weft_pg_once(weft_request_t *request, weft_run_t body, void *app);

#define WEFT_JOB_RESULT_MAX 1048576u /* bytes of a job's result */

/* For a method whose calls may wait in the queue, in the database that the queue is in: runs `body` as
 * weft_pg_transaction does, and when the request is a job's attempt, the job succeeds in the same
 * transaction, with the result and meta that `body` leaves: its rows, the completion and the stored result
 * are committed together, or nothing is.  For an ordinary call it is weft_pg_transaction, so one method
 * serves both. An attempt whose fence is old (the job was given to another one meanwhile, or ended) is rolled
 * back: ABORTED; but where this very attempt is complete already, since the request came twice or the
 * connection broke during COMMIT, what was stored is the reply again.  FAILED_PRECONDITION: the database is
 * not the queue's: use weft_pg_once there, since a job's idempotency key is its own.  OUT_OF_RANGE: a result
 * larger than WEFT_JOB_RESULT_MAX.  In other languages: SELECT weft_job_complete(job, fence, result,
 * result_meta), see handlers/jobs/README.md.  `body` must be repeatable, and is run again after a COMMIT with
 * unknown end. */
weft_status_t weft_job_complete(weft_request_t *request, weft_run_t body, void *app);

/* Applies the files NNNN_name.sql of `folder` that are not applied yet, in order, each in a transaction,
 * under an advisory lock, so that several replicas may start together; weft_migrations has a row of service,
 * number, name and checksum of each.  The SDK's own table (of weft_pg_once) comes first.  `folder` NULL: only
 * that. A relative folder is looked for as share/weft/FOLDER beside and below the program's own folder
 * (PREFIX/bin/weft-notes: PREFIX/share/weft/notes/migrations); weft_handler_main puts WEFT_MIGRATIONS first.
 * WEFT_UNAVAILABLE: no connection, try again; WEFT_FAILED_PRECONDITION: a file that was applied has changed,
 * two files have one number, a file ends its own transaction; WEFT_NOT_FOUND: no such folder; WEFT_INTERNAL:
 * an SQL error.  All logged.  Any thread. */
weft_status_t weft_pg_migrate(const char *database_url, const char *service,
                              const char *folder) WEFT_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
