/* pg_statement - prepared statements of one connection, found by their text */
#ifndef WEFT_HANDLER_PG_STATEMENT_H
#define WEFT_HANDLER_PG_STATEMENT_H

#include "handler/pg_exec.h"

/* The name under which `sql` is prepared, now or before; NULL with *end (and with PG_ERROR *error, which the
 * caller clears) when it could not be. */
const char *pg_statement(weft_pg_t *self, const char *sql, int count, pg_end_t *end, PGresult **error);
/* Forgets one (the server does not know it, or its plan is of no use), or all with NULL. */
void pg_statement_forget(weft_pg_t *self, const char *sql);

#endif
