/* retry - when a refused call may be tried again: back-off and budget
 *
 * Exponential back-off with jitter (Brooker 2015, Exponential Backoff And Jitter) and a token bucket (as
 * gRPC's retry throttling, proposal A6): each call earns a part of a retry, so that retries stay a fraction
 * of all calls and an overloaded mesh is not loaded further. */
#ifndef WEFT_RETRY_H
#define WEFT_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/clock.h>

typedef struct {
    uint32_t percent;    /* retries per 100 calls */
    uint32_t hundredths; /* of a retry that may be spent */
} retry_t;

/* Ten retries at start, so that a program's first calls have some. */
void retry_init(retry_t *self, uint32_t percent);
/* A call was made. */
void retry_earn(retry_t *self);
/* Takes one; false when the budget is used up. */
bool retry_spend(retry_t *self);

/* How long to wait before sending again, in milliseconds.  `attempts` were made (at least 1).
 * `retry_after_ms`: what the peer asked for; 0: nothing. */
int64_t retry_delay_ms(weft_rng_t *rng, uint32_t attempts, uint64_t retry_after_ms);

#endif
