/* capacity - how many requests a worker asks for: enough that its threads never wait for the wire.  Pure
 * logic */
#include "handler/capacity.h"

#include <math.h>

uint32_t
capacity_prefetch_min(uint32_t threads)
{
    return threads / 4 > 2 ? threads / 4 : 2;
}

uint32_t
capacity_wanted(uint32_t threads, double service_us)
{
    double prefetch = ceil(threads * (double) CAPACITY_WIRE_US / fmax(service_us, 1.0));
    prefetch = fmin(prefetch, CAPACITY_PREFETCH_MAX);
    return threads + (uint32_t) fmax(prefetch, capacity_prefetch_min(threads));
}

void
capacity_init(capacity_t *self, uint32_t threads, int64_t now_ms)
{
    uint32_t least = capacity_prefetch_min(threads);
    *self = (capacity_t){ .threads = threads, .window_at_ms = now_ms };
    self->announced = threads + (least > CAPACITY_PREFETCH_FIRST ? least : CAPACITY_PREFETCH_FIRST);
}

/* The mean of the window; negative when nothing ran.  Where something is held and nothing ended, methods take
 * at least as long as the window. */
static double
s_sample(const capacity_t *self, uint64_t busy_us, uint64_t begun, uint64_t runs, int64_t now_ms)
{
    if (runs > self->runs)
        return (double) (busy_us - self->busy_us) / (double) (runs - self->runs);
    return begun > runs ? (double) (now_ms - self->window_at_ms) * 1000.0 : -1.0;
}

bool
capacity_update(capacity_t *self, uint64_t busy_us, uint64_t begun, uint64_t runs, int64_t now_ms)
{
    if (now_ms - self->window_at_ms < CAPACITY_WINDOW_MS)
        return false;
    double sample = s_sample(self, busy_us, begun, runs, now_ms);
    self->window_at_ms = now_ms;
    self->busy_us = busy_us;
    self->runs = runs;
    if (sample < 0.0)
        return false;           /* idle: nothing new is known */
    sample = fmax(sample, 1.0); /* as fine as the clock */
    /* A geometric mean: service times differ by orders of size, and both directions should take as long. */
    self->service_us = self->service_us > 0.0 ? sqrt(self->service_us * sample) : sample;
    uint32_t wanted = capacity_wanted(self->threads, self->service_us);
    uint32_t apart = wanted > self->announced ? wanted - self->announced : self->announced - wanted;
    if (apart <= self->announced / 4)
        return false;
    self->announced = wanted;
    return true;
}
