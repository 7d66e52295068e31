/* bench_util - clock, latencies and the little protocol between a load generator and the script that runs it
 *
 * A generator warms up, prints "begin", measures, prints "end REQUESTS SECONDS ERRORS", waits for a byte on
 * its standard input, so that the script can read its counters while they still are those of the measurement,
 * and prints "latency P50_US P99_US". */
#ifndef TESTS_BENCH_UTIL_H
#define TESTS_BENCH_UTIL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_WARM_UP_NS INT64_C(300000000)
#define BENCH_SAMPLES_MAX 4000000

static inline int64_t
bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

typedef struct {
    int64_t begin_ns; /* end of the warm-up */
    int64_t end_ns;
    uint64_t requests;
    uint64_t errors;
    uint32_t *samples; /* nanoseconds / 16 */
    size_t count;
    bool begun;
} bench_t;

static inline bool
bench_init(bench_t *self, double seconds)
{
    int64_t now = bench_now_ns();
    *self = (bench_t){ .begin_ns = now + BENCH_WARM_UP_NS };
    self->end_ns = self->begin_ns + (int64_t) (seconds * 1e9);
    self->samples = malloc(BENCH_SAMPLES_MAX * sizeof *self->samples);
    return self->samples != NULL;
}

/* Counts a reply; false when the time is over. */
static inline bool
bench_reply(bench_t *self, int64_t sent_ns, int64_t now_ns, bool ok)
{
    if (now_ns < self->begin_ns)
        return true;
    if (!self->begun) {
        self->begun = true;
        printf("begin\n");
        fflush(stdout);
    }
    if (now_ns >= self->end_ns)
        return false;
    self->requests++;
    self->errors += !ok;
    if (self->count < BENCH_SAMPLES_MAX)
        self->samples[self->count++] = (uint32_t) ((now_ns - sent_ns) >> 4);
    return true;
}

static inline int
bench_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *) a;
    uint32_t y = *(const uint32_t *) b;
    return (x > y) - (x < y);
}

static inline void
bench_finish(bench_t *self)
{
    double p50 = 0, p99 = 0;
    /* The counters are read at "end", so sort behind it. */
    printf("end %llu %.6f %llu\n", (unsigned long long) self->requests,
           (double) (self->end_ns - self->begin_ns) / 1e9, (unsigned long long) self->errors);
    fflush(stdout);
    int byte = getchar();
    (void) byte;
    qsort(self->samples, self->count, sizeof *self->samples, bench_compare);
    if (self->count > 0) {
        p50 = self->samples[self->count / 2] * 16 / 1e3;
        p99 = self->samples[self->count * 99 / 100] * 16 / 1e3;
    }
    printf("latency %.1f %.1f\n", p50, p99);
    fflush(stdout);
    free(self->samples);
}

#endif
