/* histogram - durations in microseconds, counted in buckets of 1.6 % width, for percentiles
 *
 * 64 buckets to each power of two, as HdrHistogram does with six bits of precision (Tene, 2012). */
#ifndef WEFT_HISTOGRAM_H
#define WEFT_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (64 * 40)

typedef struct {
    uint64_t count, sum_us, min_us, max_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram_t;

void histogram_init(histogram_t *self);
void histogram_add(histogram_t *self, int64_t duration_us);
/* The duration that a share of all (0 to 1) did not exceed; the upper end of its bucket, at most the maximum.
 * 0 of an empty one. */
uint64_t histogram_at(const histogram_t *self, double share);

#endif
