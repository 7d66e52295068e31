/* histogram - durations in microseconds, counted in buckets of 1.6 % width, for percentiles */
#include "cli/histogram.h"

#include <math.h>
#include <string.h>

void
histogram_init(histogram_t *self)
{
    memset(self, 0, sizeof *self);
    self->min_us = UINT64_MAX;
}

/* Below 128 a bucket each; above, the top seven bits choose: one leading, six that follow. */
static uint32_t
s_bucket(uint64_t us)
{
    if (us < 128) {
        return (uint32_t) us;
    }
    uint32_t shift = 63u - 6u - (uint32_t) __builtin_clzll(us);
    uint32_t bucket = shift * 64 + (uint32_t) (us >> shift);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest duration that falls into it. */
static uint64_t
s_upper_end(uint32_t bucket)
{
    if (bucket < 128) {
        return bucket;
    }
    uint32_t shift = bucket / 64 - 1;
    return ((uint64_t) (bucket - shift * 64) + 1) * (UINT64_C(1) << shift) - 1;
}

void
histogram_add(histogram_t *self, int64_t duration_us)
{
    uint64_t us = duration_us > 0 ? (uint64_t) duration_us : 0;
    self->count++;
    self->sum_us += us;
    self->min_us = us < self->min_us ? us : self->min_us;
    self->max_us = us > self->max_us ? us : self->max_us;
    self->buckets[s_bucket(us)]++;
}

uint64_t
histogram_at(const histogram_t *self, double share)
{
    uint64_t wanted = (uint64_t) ceil(share * (double) self->count);
    uint64_t seen = 0;
    if (wanted == 0) {
        wanted = 1;
    }
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += self->buckets[i];
        if (seen >= wanted) {
            uint64_t upper = s_upper_end(i);
            return upper < self->max_us ? upper : self->max_us;
        }
    }
    return self->max_us;
}
