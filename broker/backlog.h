/* backlog - the requests of one service that wait for a worker with credit
 *
 * Four priorities, the highest first; who waited age_step_ms gains one level, so the lowest is never starved.
 * Within a level a fair share for every caller: deficit round robin (Shreedhar and Varghese 1995) over flows,
 * one per caller, weighed by size.  Bounded in count and bytes; one caller alone may fill 8/9 of what is left
 * by the others (dynamic thresholds, Choudhury and Hahne 1998), so that a flood does not turn newcomers away.
 * All O(1) but for the aging, which is O(1) per request and level.  Not thread-safe. */
#ifndef WEFT_BROKER_BACKLOG_H
#define WEFT_BROKER_BACKLOG_H

#include <weft/status.h>

#include "broker/slab.h"
#include "broker/table.h"

/* Shared by all backlogs of a dispatcher. */
typedef struct {
    uint32_t queue_max;
    uint64_t bytes_max;       /* of one backlog */
    uint64_t total_bytes_max; /* of all together */
    int64_t age_step_us;
    uint32_t total_count; /* of all together */
    uint64_t total_bytes;
} backlog_shared_t;

typedef struct {
    list_t flows; /* those that have requests, in turn */
    list_t aging; /* its requests in the order in which they entered it */
} backlog_level_t;

typedef struct {
    backlog_shared_t *shared;
    uint32_t count;
    uint64_t bytes;
    table_t flows; /* by caller and level */
    backlog_level_t levels[WEFT_PRIORITIES];
} backlog_t;

void backlog_init(backlog_t *self, backlog_shared_t *shared);
/* Must be empty. */
void backlog_fini(backlog_t *self);

/* Queues a request whose caller, priority and bytes are set.  Its state is the caller's affair.
 * WEFT_RESOURCE_EXHAUSTED: full, for this caller at least; nothing changed. */
weft_status_t backlog_add(backlog_t *self, request_t *request, int64_t now_us) WEFT_MUST_CHECK;
void backlog_remove(backlog_t *self, request_t *request);

/* Could this one be handed to somebody now? */
typedef bool (*backlog_accept_t)(void *context, const request_t *request);

/* The request whose turn it is, still queued; NULL when it is empty.  With `accept`: the first that is
 * accepted among the next few hundred, NULL when there is none. */
request_t *backlog_next(backlog_t *self, backlog_accept_t accept, void *context, int64_t now_us);
/* Takes out what backlog_next gave, at its caller's expense. */
void backlog_take(backlog_t *self, request_t *request);

/* Visits all, which may be removed by the visit.  O(n). */
void backlog_each(backlog_t *self, void (*visit)(void *context, request_t *request), void *context);

uint64_t backlog_memory(const backlog_t *self);
void backlog_check(const backlog_t *self);

#endif
