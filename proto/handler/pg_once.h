/* pg_once - effects that happen once for an idempotency key */
#ifndef WEFT_HANDLER_PG_ONCE_H
#define WEFT_HANDLER_PG_ONCE_H

#include "handler/pg_conn.h"

#define PG_PURGE_EVERY_MS 60000
#define PG_PURGE_BATCH 500

/* Deletes at most PG_PURGE_BATCH keys that are old enough; true when there may be more.  No request holds
 * `pg`. */
bool pg_once_purge(weft_pg_t *pg);

#endif
