/* window - how many calls of one queue are under way at once, and how many more jobs are kept at hand
 *
 * Jobs share workers with callers who wait.  A call that waited in a broker's queue says that the workers are
 * full: the window shrinks by an eighth.  It grows by one for each eight calls that found a worker free while
 * the window was what held them back (additive increase, multiplicative decrease: Chiu and Jain 1989).  Not
 * thread-safe. */
#ifndef JOBS_WINDOW_H
#define JOBS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WINDOW_MAX = 2048,
    WINDOW_WAIT_US = 20000, /* a longer wait in the broker's queue shrinks it */
    WINDOW_FREE_US = 2000,  /* a shorter one lets it grow */
    WINDOW_STOCK_MIN = 8,
    WINDOW_STOCK_MAX = 1024
};

typedef struct {
    uint32_t size;
    uint32_t share;       /* of the workers' capacity, that `size` started from */
    uint32_t grown;       /* calls since the last growth */
    int64_t shrink_after; /* not again before this: calls begun before a decrease say nothing about it */
    int64_t period_at;
    uint32_t begun, begun_before; /* in this period and the one before */
} window_t;

/* All zero: closed until a capacity is known. */

/* Workers take `capacity` requests at once, for `replicas` processes like this one.  Starts anew when that is
 * another share than before. */
void window_share(window_t *self, uint32_t capacity, uint32_t replicas);
/* A call ended that had waited queue_us in the broker; `full`: it filled the window. */
void window_replied(window_t *self, uint32_t queue_us, bool full, int64_t now_us);
/* The broker's queue was full, or the time of a call ran out in it. */
void window_refused(window_t *self, int64_t now_us);
/* A call begins. */
void window_begun(window_t *self, int64_t now_us);
/* Jobs to have at hand besides those under way: what was begun in the last 50 ms, so that a claim comes back
 * before they are used up, and little is kept from other replicas. */
uint32_t window_stock(const window_t *self, int64_t now_us);

#endif
