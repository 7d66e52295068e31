/* due - what falls due next: an indexed heap of points in time
 *
 * A due_t is embedded in the item that it belongs to and knows its place, so it can be moved and cleared.
 * 4-ary: half the levels of a binary heap, and four children share a cache line (LaMarca and Ladner 1996, The
 * influence of caches on the performance of heaps).  Not thread-safe. */
#ifndef WEFT_DUE_H
#define WEFT_DUE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t place; /* in the heap, counted from 1; 0: not set */
} due_t;

typedef struct {
    int64_t at_ms;
    due_t *due;
} due_entry_t;

/* All zero is an empty one. */
typedef struct {
    due_entry_t *entries;
    uint32_t count;
    uint32_t room;
} due_heap_t;

void due_heap_fini(due_heap_t *self);
/* Makes room for `count` in all, so that setting one never fails; false without memory. */
bool due_heap_reserve(due_heap_t *self, uint32_t count);

/* Sets or moves it. */
void due_heap_set(due_heap_t *self, due_t *due, int64_t at_ms);
/* Nothing when it is not set. */
void due_heap_clear(due_heap_t *self, due_t *due);
/* Takes out the nearest that is due at now_ms; NULL when none is. */
due_t *due_heap_pop(due_heap_t *self, int64_t now_ms);

/* The time of the nearest; INT64_MAX when there is none. */
static inline int64_t
due_heap_next(const due_heap_t *self)
{
    return self->count ? self->entries[0].at_ms : INT64_MAX;
}

/* Aborts when the order or a place is wrong. */
void due_heap_check(const due_heap_t *self);

#endif
