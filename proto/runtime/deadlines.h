/* deadlines - what falls due next: an indexed heap of points in time
 *
 * One heap for all that can fall due in a dispatcher or session (the ttl of requests, probes, back-offs), so
 * that one comparison says when its loop has to wake.  Times are in the owner's unit.  A deadline is embedded
 * in the item that it belongs to and knows its place, so it can be moved and cleared.  A 4-ary heap: half the
 * levels of a binary one, and four children share a cache line (LaMarca and Ladner 1996, The influence of
 * caches on the performance of heaps).  Not thread-safe. */
#ifndef WEFT_RUNTIME_DEADLINES_H
#define WEFT_RUNTIME_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t place; /* in the heap, counted from 1; 0: not set */
    uint8_t kind;   /* of the owner's choice: what item this is in */
} deadline_t;

typedef struct {
    int64_t at;
    deadline_t *deadline;
} deadlines_entry_t;

/* All zero is an empty one. */
typedef struct {
    deadlines_entry_t *entries;
    uint32_t count;
    uint32_t max;
} deadlines_t;

/* Makes room for `max` deadlines in all, so that setting one never fails; false, and as before, without
 * memory. */
bool deadlines_reserve(deadlines_t *self, uint32_t max);
void deadlines_fini(deadlines_t *self);

/* Sets or moves it. */
void deadlines_set(deadlines_t *self, deadline_t *deadline, int64_t at);
/* Nothing when it is not set. */
void deadlines_clear(deadlines_t *self, deadline_t *deadline);

/* The time it is set to; INT64_MAX when it is not. */
static inline int64_t
deadlines_at(const deadlines_t *self, const deadline_t *deadline)
{
    return deadline->place ? self->entries[deadline->place - 1].at : INT64_MAX;
}

/* The time of the nearest; INT64_MAX when there is none. */
static inline int64_t
deadlines_next(const deadlines_t *self)
{
    return self->count ? self->entries[0].at : INT64_MAX;
}

/* Takes out the nearest that is due at now; NULL when none is. */
deadline_t *deadlines_pop(deadlines_t *self, int64_t now);

/* Aborts when the order or a place is wrong. */
void deadlines_check(const deadlines_t *self);

#endif
