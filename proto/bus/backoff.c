/* backoff - how long to wait before the next attempt */
#include "bus/backoff.h"

void
backoff_init(backoff_t *self)
{
    self->failures = 0;
}

uint32_t
backoff_next(backoff_t *self, weft_rng_t *rng)
{
    uint32_t step_ms = BACKOFF_BASE_MS;
    for (uint32_t i = 0; i < self->failures && step_ms < BACKOFF_CAP_MS; i++) {
        step_ms *= 2;
    }
    if (step_ms > BACKOFF_CAP_MS) {
        step_ms = BACKOFF_CAP_MS;
    }
    if (self->failures < UINT32_MAX) {
        self->failures++;
    }
    return (uint32_t) weft_rng_below(rng, (uint64_t) step_ms + 1);
}

void
backoff_lived(backoff_t *self, int64_t lived_ms)
{
    if (lived_ms >= BACKOFF_LIVED_MS) {
        self->failures = 0;
    }
}
