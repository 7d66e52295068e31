/* pool - the threads that run methods, and the queue before them */
#ifndef WEFT_HANDLER_POOL_H
#define WEFT_HANDLER_POOL_H

#include "handler/request.h"

typedef struct pool pool_t;
typedef struct pg_config pg_config_t;

/* Starts `threads` threads of 1 MiB stack; each has a database connection of its own where `database` is
 * given (borrowed).  NULL with the reason logged.  Caller destroys. */
pool_t *pool_new(uint32_t threads, pg_config_t *database, void *app);
/* After the last request has ended.  Joins the threads. */
void pool_destroy(pool_t **self_p);

/* Queues a request.  Bus thread. */
void pool_put(pool_t *self, weft_request_t *request);
/* Takes a request out of the queue again; false when a thread has it, or had it.  Bus thread. */
bool pool_remove(pool_t *self, weft_request_t *request);

#endif
