/* engine_weights - shares turns among the priorities that have something to do, 8:4:2:1
 *
 * Smooth weighted round robin (nginx, upstream round robin): no priority waits longer than the sum of the
 * weights, and what one does not use goes to the others.  Not thread-safe. */
#ifndef JOBS_ENGINE_WEIGHTS_H
#define JOBS_ENGINE_WEIGHTS_H

#include <stdint.h>

#include "job.h"

/* All zero to begin with. */
typedef struct {
    int32_t credit[JOB_PRIORITIES];
} weights_t;

/* The priority whose turn it is among those of `mask` (bit n: priority n), which is not 0. */
uint8_t weights_pick(weights_t *self, uint32_t mask);
/* Deals out `count` turns at once; shares[n] is 0 for those not in the mask. */
void weights_deal(weights_t *self, uint32_t mask, uint32_t count, uint32_t shares[JOB_PRIORITIES]);
/* What priority `priority` may use of `count` while those of `mask` want some, too; at least 1 of them. */
uint32_t weights_share(uint32_t mask, uint8_t priority, uint32_t count);

#endif
