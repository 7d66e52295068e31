/* drain - how fast something that waits is served: the mean time between two that leave
 *
 * Measured from one that leaves to the next while something waits (what the first waited says how long the
 * way is, not how wide), over spans of 50 ms and four that leave at least: replies come in batches, and
 * between two of one batch no time passes.  A mean over a few spans; one of less than half is believed at
 * once, since too high an estimate refuses what could be served.  No clock, no memory. */
#ifndef WEFT_BROKER_DRAIN_H
#define WEFT_BROKER_DRAIN_H

#include <stdint.h>

typedef struct {
    int64_t since_us; /* when the last left; 0: none since something waits */
    int64_t busy_us;  /* of the span at hand, while something waited */
    int64_t pace_ns;  /* between two that leave; 0: not known */
    uint32_t left;    /* in the span at hand */
} drain_t;

enum { DRAIN_SPAN_US = 50000, DRAIN_LEAST = 4 };

/* What was measured no longer holds: workers came, say. */
static inline void
drain_forget(drain_t *self)
{
    *self = (drain_t){ .since_us = self->since_us };
}

/* Something begins to wait where nothing did.  What was slow before would otherwise stay so: where it lets
 * only one at a time wait, no two that wait follow one another, and nothing is measured again. */
static inline void
drain_begin(drain_t *self)
{
    *self = (drain_t){ 0 };
}

/* One that waited is handed out. */
static inline void
drain_leave(drain_t *self, int64_t now_us)
{
    int64_t since_us = self->since_us;
    self->since_us = now_us;
    if (since_us == 0)
        return;
    self->busy_us += now_us - since_us;
    if (++self->left < DRAIN_LEAST || self->busy_us < DRAIN_SPAN_US)
        return;
    int64_t sample_ns = self->busy_us * 1000 / self->left;
    if (self->pace_ns == 0 || sample_ns < self->pace_ns / 2)
        self->pace_ns = sample_ns;
    else
        self->pace_ns += (sample_ns - self->pace_ns) / 4;
    self->busy_us = 0;
    self->left = 0;
}

/* The time that `count` take to leave.  0: not known. */
static inline int64_t
drain_us(const drain_t *self, uint64_t count)
{
    return self->pace_ns * (int64_t) count / 1000;
}

#endif
