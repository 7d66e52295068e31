/* backoff - how long to wait before the next attempt: exponential with full jitter.  Pure
 *
 * Full jitter (a uniform draw from nothing to the step) spreads the peers of a broker that restarts best;
 * Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. */
#ifndef WEFT_BACKOFF_H
#define WEFT_BACKOFF_H

#include <stdint.h>

#include <weft/clock.h>

/* The first step. */
#define BACKOFF_BASE_MS 100
/* The largest: a broker that comes back is in use again within two seconds, however long it was away. */
#define BACKOFF_CAP_MS 1500
/* What lived this long was a connection, not an attempt: the next loss begins at the first step again. */
#define BACKOFF_LIVED_MS 5000

typedef struct {
    uint32_t failures; /* in a row */
} backoff_t;

void backoff_init(backoff_t *self);
/* Milliseconds to wait now, 0 to BACKOFF_CAP_MS; counts one failure. */
uint32_t backoff_next(backoff_t *self, weft_rng_t *rng);
/* A connection ended that had lived so long. */
void backoff_lived(backoff_t *self, int64_t lived_ms);

#endif
