/* engine_weights - shares turns among the priorities that have something to do, 8:4:2:1 */
#include "engine_weights.h"

#include <assert.h>

static const uint8_t WEIGHTS[JOB_PRIORITIES] = { 8, 4, 2, 1 };

static uint32_t
s_sum(uint32_t mask)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        if (mask & 1u << i)
            sum += WEIGHTS[i];
    return sum;
}

uint8_t
weights_pick(weights_t *self, uint32_t mask)
{
    assert(mask != 0 && mask < 1u << JOB_PRIORITIES);
    uint8_t best = JOB_PRIORITIES;
    for (uint8_t i = 0; i < JOB_PRIORITIES; i++) {
        if (!(mask & 1u << i))
            continue;
        self->credit[i] += WEIGHTS[i];
        if (best == JOB_PRIORITIES || self->credit[i] > self->credit[best])
            best = i;
    }
    const int32_t sum = (int32_t) s_sum(mask);
    self->credit[best] -= sum;
    /* Who is not asked for a while must neither lag behind for ever nor come back with a claim to all. */
    for (uint8_t i = 0; i < JOB_PRIORITIES; i++) {
        if (self->credit[i] < -16)
            self->credit[i] = -16;
        if (self->credit[i] > 16)
            self->credit[i] = 16;
    }
    return best;
}

void
weights_deal(weights_t *self, uint32_t mask, uint32_t count, uint32_t shares[JOB_PRIORITIES])
{
    const uint32_t sum = s_sum(mask);
    const uint32_t rounds = count / sum;
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        shares[i] = mask & 1u << i ? rounds * WEIGHTS[i] : 0;
    for (uint32_t left = count - rounds * sum; left > 0; left--)
        shares[weights_pick(self, mask)]++;
}

uint32_t
weights_share(uint32_t mask, uint8_t priority, uint32_t count)
{
    assert(priority < JOB_PRIORITIES);
    const uint32_t sum = s_sum(mask | 1u << priority);
    const uint32_t share = (uint32_t) ((uint64_t) count * WEIGHTS[priority] / sum);
    return share ? share : 1;
}
