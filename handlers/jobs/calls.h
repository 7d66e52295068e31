/* calls - the attempts of jobs as calls through the brokers: from the engine's word to its reply and back
 *
 * Started and judged on the loop's thread; replies arrive on the bus thread and come through the inbox. */
#ifndef JOBS_CALLS_H
#define JOBS_CALLS_H

#include <weft/client.h>

#include "directory.h"
#include "inbox.h"

typedef struct calls calls_t;

typedef struct {
    const char *brokers;
    weft_bus_t *bus;
    directory_t *directory;
    inbox_t *inbox; /* where replies are put, as `kind_final` and `kind_partial` */
    int kind_final, kind_partial;
} calls_config_t;

calls_t *calls_new(const calls_config_t *config);
/* Ends every open call: their last replies are in the inbox when it returns, and must be given to
 * calls_reply. Fine with NULL. */
void calls_end(calls_t *self);
void calls_destroy(calls_t **self_p);

/* Cancels every open call because this process is leaving: their replies come as any others, and say that it
 * was us who went, so that no attempt is used up.  Returns how many. */
uint32_t calls_give_up(calls_t *self);

/* Events of the engine. */
void calls_start(calls_t *self, uint64_t token, const job_t *job);
void calls_cancel(calls_t *self, uint64_t token);

/* A node that the inbox gave, of `kind_final` or `kind_partial`: tells the engine. */
void calls_reply(calls_t *self, inbox_node_t *node, int kind, engine_t *engine, int64_t now_us);

/* The priority on the wire of a job's calls. */
uint8_t calls_priority(uint8_t priority);

#endif
