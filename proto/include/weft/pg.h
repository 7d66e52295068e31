/* pg - PostgreSQL for handlers: a connection that comes back, prepared statements, once-only effects,
 * migrations */
#ifndef WEFT_PG_H
#define WEFT_PG_H

#include <libpq-fe.h>

#include <weft/handler.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A parameter, in text form.  NULL data is SQL NULL. */
typedef struct {
    const char *data;
    size_t size;
    char text[24]; /* room for a number, see weft_pg_int */
} weft_pg_param_t;
weft_pg_param_t weft_pg_text(weft_span_t text);
weft_pg_param_t weft_pg_int(int64_t number);
weft_pg_param_t weft_pg_null(void);
weft_pg_param_t weft_pg_bytes(weft_span_t bytes); /* bytea: sent in binary form */

/* Runs one statement, prepared once per connection under a name of its own (unnamed and unprepared where
 * WEFT_PG_PREPARE=0, for poolers in transaction mode).  Outside a transaction it is reconnected and, only
 * when nothing can have been executed, sent again.  The request that holds the connection cancels it at its
 * deadline. Returns the result (caller runs PQclear), or NULL with *status mapped from SQLSTATE: unique
 * violation ALREADY_EXISTS, serialization and deadlock ABORTED, query cancelled DEADLINE_EXCEEDED or
 * CANCELLED, connection UNAVAILABLE, otherwise INTERNAL; logged, and weft_fail already set.  Own thread only.
 */
PGresult *weft_pg_query(weft_request_t *request, const char *sql, const weft_pg_param_t *params, int count,
                        weft_status_t *status);

/* Runs `body` in a transaction: committed when it returns WEFT_OK, else rolled back.  Repeated (at most 3
 * times) on serialization failure or deadlock, so `body` must be repeatable. */
weft_status_t weft_pg_transaction(weft_request_t *request, weft_run_t body, void *app);

/* As weft_pg_transaction, and once only for the idempotency key of the request (meta "idempotency.key",
 * scoped by service, method and meta "auth.sub"): effects and result commit together; a repeated key gives
 * the stored result without running `body`; the same key with another input: FAILED_PRECONDITION.  Without a
 * key: as weft_pg_transaction.  Keys are kept 24 h (WEFT_ONCE_KEEP_S). */
weft_status_t weft_pg_once(weft_request_t *request, weft_run_t body, void *app);

/* Applies the files NNNN_name.sql of `folder` that are not applied yet, in order, each in a transaction,
 * under an advisory lock; schema_migrations row by service name, number, name and checksum: a changed file is
 * an error. Files of the SDK itself (the table of weft_pg_once) come first. */
weft_status_t weft_pg_migrate(const char *database_url, const char *service,
                              const char *folder) WEFT_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
