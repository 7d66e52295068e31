/* pg_transaction - a function's statements, all or none */
#ifndef WEFT_HANDLER_PG_TRANSACTION_H
#define WEFT_HANDLER_PG_TRANSACTION_H

#include "handler/pg_query.h"

/* weft_pg_transaction; with `repeat_unknown` also repeated when the connection broke during COMMIT: for a
 * body that finds out itself whether it was committed.  `last` (may be NULL) is what `body` leaves to be run
 * last, with COMMIT; within another transaction nobody does. */
weft_status_t pg_transaction(weft_request_t *request, weft_run_t body, void *app, bool repeat_unknown,
                             pg_last_t *last);

#endif
