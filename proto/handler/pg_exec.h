/* pg_exec - one statement on a connection: sent, waited for, cancelled with its request */
#ifndef WEFT_HANDLER_PG_EXEC_H
#define WEFT_HANDLER_PG_EXEC_H

#include "handler/pg_conn.h"

/* How a statement ended. */
typedef enum {
    PG_DONE,   /* with rows or a command's tag */
    PG_ERROR,  /* the server refused it: sqlstate is set */
    PG_BROKEN, /* the connection is gone while it ran: perhaps executed */
    PG_UNSENT  /* never left: provably not executed */
} pg_end_t;

/* Runs one statement.  `binary`: the result's format.  Gives up at the request's deadline or cancel: asks the
 * server to cancel, and closes the connection where that has no effect within 3 s.  Not logged.  *rows: with
 * PG_DONE, and with PG_ERROR for its message; the caller clears it. */
pg_end_t pg_exec(weft_pg_t *self, const char *sql, const weft_pg_param_t *params, int count, bool binary,
                 PGresult **rows);

/* Runs one statement and COMMIT behind it, sent together, so that what the statement locks is locked for no
 * longer than the server itself takes, whatever becomes of this process.  Not cancelled by the request, at
 * most 10 s.  PG_DONE: committed.  PG_ERROR: the statement or COMMIT was refused; PQtransactionStatus tells
 * whether a transaction is left to roll back.  PG_BROKEN: nobody knows. */
pg_end_t pg_exec_commit(weft_pg_t *self, const char *sql, const weft_pg_param_t *params, int count,
                        PGresult **error);

/* BEGIN, COMMIT, ROLLBACK: not prepared, not cancelled by the request, at most 10 s.  True when the server's
 * tag is `sql` itself: COMMIT of a failed transaction is answered ROLLBACK.  Else: self->lost (the connection
 * broke and was dropped), or self->sqlstate, or neither: another tag. */
bool pg_control(weft_pg_t *self, const char *sql);

/* Waits for what was sent to end: for pg_exec.c and pg_statement.c.  `mind_request`: give up with the
 * request. */
pg_end_t pg_await(weft_pg_t *self, bool mind_request, int64_t until_ms, PGresult **rows);

#endif
