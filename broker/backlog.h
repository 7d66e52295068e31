/* backlog - the requests of one service that wait for a worker with credit
 *
 * Four priorities, the highest first; who waited age_step_ms gains one level, so the lowest is never starved.
 * Within a level a fair share for every caller: deficit round robin (Shreedhar and Varghese 1995) over flows,
 * one per caller, weighed by size.  Bounded in count and bytes; one caller alone may fill 8/9 of what is left
 * by the others (dynamic thresholds, Choudhury and Hahne 1998), so that a flood does not turn newcomers away.
 *
 * A class is what one caller has waiting at one priority: first come, first served.  Its pace is measured,
 * and with it how long a newcomer waits at least: the share of this caller, whatever others have waiting.  A
 * class whose requests waited too long for a whole interval stands (CoDel: Nichols and Jacobson 2012, by
 * class as in FQ-CoDel, RFC 8290; shedding all that is overdue, as Maurer 2015): who waits behind its own
 * queue is shed, nobody else.  All O(1) but for the aging, which is O(1) per request and level.  Not
 * thread-safe. */
#ifndef WEFT_BROKER_BACKLOG_H
#define WEFT_BROKER_BACKLOG_H

#include <weft/status.h>

#include "broker/drain.h"
#include "broker/slab.h"
#include "broker/table.h"

/* Shared by all backlogs of a dispatcher. */
typedef struct {
    uint32_t queue_max;
    uint64_t bytes_max;       /* of one backlog */
    uint64_t total_bytes_max; /* of all together */
    int64_t age_step_us;
    bool estimate;        /* refuse what cannot be served within its ttl */
    int64_t target_us;    /* of the time in a queue that stands; 0: nothing is shed */
    int64_t interval_us;  /* a queue stands when nobody waited less for this long */
    uint32_t total_count; /* of all together */
    uint64_t total_bytes;
} backlog_shared_t;

/* Why a request may not wait. */
typedef enum {
    BACKLOG_TAKEN,
    BACKLOG_FULL,        /* as many wait as may */
    BACKLOG_BYTES,       /* as many bytes wait at this service as may */
    BACKLOG_TOTAL_BYTES, /* the same at all services together */
    BACKLOG_SHARE,       /* as many of this caller wait as may while there is so little room */
    BACKLOG_MEMORY,
    BACKLOG_DEADLINE, /* its ttl would run out while it waits */
    BACKLOG_DELAY,    /* its caller's queue stands */
    BACKLOG_REFUSALS
} backlog_refusal_t;

typedef struct {
    list_t flows; /* those that have requests, in turn */
    list_t aging; /* its requests in the order in which they entered it */
    uint32_t count;
} backlog_level_t;

typedef struct {
    backlog_shared_t *shared;
    uint32_t count;
    uint64_t bytes;
    table_t callers; /* those that have requests */
    backlog_level_t levels[WEFT_PRIORITIES];
    drain_t drain; /* of all callers together */
    /* By priority: how many wait, when the last was served (or the first began to wait), and until when those
     * that aging raised above it yield to it. */
    uint32_t waiting[WEFT_PRIORITIES];
    int64_t served_at[WEFT_PRIORITIES];
    int64_t yield_until[WEFT_PRIORITIES];
} backlog_t;

void backlog_init(backlog_t *self, backlog_shared_t *shared);
/* Must be empty. */
void backlog_fini(backlog_t *self);

/* Queues a request whose caller, priority and bytes are set.  Its state is the caller's affair.
 * Refused: full, for this caller at least; nothing changed. */
backlog_refusal_t backlog_add(backlog_t *self, request_t *request, int64_t now_us) WEFT_MUST_CHECK;
void backlog_remove(backlog_t *self, request_t *request);

/* How long a newcomer of that caller and priority waits at least; 0: there is no telling. */
int64_t backlog_wait_us(const backlog_t *self, uint64_t caller, uint8_t priority);
/* After what time it makes sense to try again, for one that backlog_add refused; 0: there is no telling. */
int64_t backlog_room_us(const backlog_t *self, const request_t *request, backlog_refusal_t refusal);
/* Should a newcomer, whose times are set, not even begin to wait?  BACKLOG_TAKEN: it should.  `served_us`:
 * what a worker takes at least.  *over_us: by how much the wait is too long. */
backlog_refusal_t backlog_hopeless(const backlog_t *self, const request_t *request, int64_t served_us,
                                   int64_t now_us, int64_t *over_us) WEFT_MUST_CHECK;
/* Is the request whose turn it is to be shed?  Keeps book of which classes stand, so ask before each
 * hand-out.
 */
bool backlog_overdue(backlog_t *self, const request_t *request, int64_t now_us) WEFT_MUST_CHECK;

/* Could this one be handed to somebody now? */
typedef bool (*backlog_accept_t)(void *context, const request_t *request);

/* The request whose turn it is, still queued; NULL when it is empty.  With `accept`: the first that is
 * accepted among the next few hundred, NULL when there is none. */
request_t *backlog_next(backlog_t *self, backlog_accept_t accept, void *context, int64_t now_us);
/* Takes out what backlog_next gave, at its caller's expense: it is handed out. */
void backlog_take(backlog_t *self, request_t *request, int64_t now_us);

/* Visits all, which may be removed by the visit.  O(n). */
void backlog_each(backlog_t *self, void (*visit)(void *context, request_t *request), void *context);

uint64_t backlog_memory(const backlog_t *self);
void backlog_check(const backlog_t *self);

#endif
