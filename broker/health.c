/* health - how one worker does its work beside the others of its service */
#include "broker/health.h"

#include "broker/hash.h"

enum {
    MEMORY = 32,                   /* values that a mean remembers, about */
    USUAL_MEMORY = 128,            /* the same of what is usual: it changes slower than a worker */
    FLOOR_US = 1000,               /* added to all times: differences far below are noise of the scheduler */
    RECOVERY_US = 4000000,         /* a slow worker is measured rarely: then its values count for more */
    SLOW_FROM = HEALTH_POINT,      /* twice the median */
    SLOW_UNTIL = HEALTH_POINT / 2, /* 1.4 times: between the two it stays what it is */
    FACTOR_MAX = 8 * HEALTH_POINT  /* 256 times */
};

uint8_t
health_method(weft_span_t method)
{
    return (uint8_t) (hash_bytes(0, method.data, method.size) % HEALTH_METHODS);
}

bool
health_is_fault(weft_status_t status)
{
    return status == WEFT_UNKNOWN || status == WEFT_DEADLINE_EXCEEDED || status == WEFT_INTERNAL ||
           status == WEFT_UNAVAILABLE || status == WEFT_DATA_LOSS;
}

/* log2, linear between powers of two: at most 0.09 too small, for all alike. */
static int32_t
s_log2(uint64_t value)
{
    int bits = 63 - __builtin_clzll(value | 1);
    uint64_t rest = value - (UINT64_C(1) << bits);
    uint64_t fraction = bits > 16 ? rest >> (bits - 16) : rest << (16 - bits);
    return (int32_t) (bits * HEALTH_POINT + (int32_t) fraction);
}

/* 2^log, the inverse of the above, in HEALTH_ONEs. */
static uint32_t
s_exp2(int32_t log)
{
    log = log > FACTOR_MAX ? FACTOR_MAX : log < -FACTOR_MAX ? -FACTOR_MAX : log;
    int whole = (log + FACTOR_MAX) / HEALTH_POINT; /* from 0: the power less 8 */
    uint64_t fraction = (uint64_t) ((log + FACTOR_MAX) % HEALTH_POINT);
    return (uint32_t) (((HEALTH_POINT + fraction) << whole) * HEALTH_ONE >> 24);
}

/* A mean of all while there are few, a moving one later; `share` is the least that the value counts for. */
static void
s_add(health_mean_t *self, int32_t value, uint32_t memory, int64_t share)
{
    if (self->count < memory)
        self->count++;
    int64_t own = HEALTH_POINT / (int64_t) self->count;
    self->mean += (int32_t) (((int64_t) value - self->mean) * (own > share ? own : share) / HEALTH_POINT);
}

void
health_took(health_t *self, health_service_t *service, uint8_t method, int64_t took_us, int64_t now_us)
{
    health_mean_t *usual = &service->usual[method];
    int32_t log = s_log2((uint64_t) (took_us > 0 ? took_us : 0) + FLOOR_US);
    int64_t share = 0;
    if (self->slow) {
        share = (now_us - self->timed_at) * HEALTH_POINT / RECOVERY_US;
        share = share > HEALTH_POINT / 2 ? HEALTH_POINT / 2 : share;
    }
    s_add(&self->slowness, usual->count ? log - usual->mean : 0, MEMORY, share);
    s_add(usual, log, USUAL_MEMORY, 0);
    self->timed_at = now_us;
    service->stirred = true;
}

void
health_ended(health_t *self, bool fault)
{
    s_add(&self->failing, fault ? HEALTH_POINT : 0, MEMORY, 0);
    self->streak = fault ? self->streak + (self->streak < UINT32_MAX) : 0;
}

void
health_forget(health_t *self)
{
    self->slowness = self->failing = (health_mean_t){ 0, 0 };
    self->streak = 0;
    self->slow = false;
}

uint32_t
health_factor(const health_t *self, const health_service_t *service)
{
    return self->slowness.count < HEALTH_TIMES_MIN ? HEALTH_ONE
                                                   : s_exp2(self->slowness.mean - service->slowness);
}

void
health_weigh(health_t *self, const health_service_t *service, uint32_t slow_max, int64_t ramp_us,
             int64_t now_us)
{
    uint32_t penalty = 0;
    int32_t above = self->slowness.mean - service->slowness;
    self->slow = slow_max > 1 && service->compared > 1 && self->slowness.count >= HEALTH_TIMES_MIN &&
                 above >= (self->slow ? SLOW_UNTIL : SLOW_FROM);
    if (self->slow) {
        uint32_t factor = s_exp2(above);
        penalty = (factor > slow_max * HEALTH_ONE ? slow_max * HEALTH_ONE : factor) - HEALTH_ONE;
    }
    if (self->state == HEALTH_RAMP && now_us < self->until && ramp_us > 0) {
        int64_t left_us = self->until - now_us < ramp_us ? self->until - now_us : ramp_us;
        uint32_t ramp = (uint32_t) (left_us * self->ramp_from / ramp_us);
        penalty = ramp > penalty ? ramp : penalty;
    }
    self->penalty = self->state == HEALTH_PROBATION ? HEALTH_SLOW_MAX * HEALTH_ONE : penalty;
}

void
health_median_init(health_median_t *self, int32_t low, int32_t high)
{
    *self = (health_median_t){ .low = low, .high = high };
}

void
health_median_add(health_median_t *self, int32_t value)
{
    value = value < self->low ? self->low : value > self->high ? self->high : value;
    self->bins[((int64_t) value - self->low) * 127 / (self->high - self->low)]++;
    self->count++;
}

int32_t
health_median(const health_median_t *self, int32_t none)
{
    if (self->count == 0)
        return none;
    uint32_t below = (self->count - 1) / 2; /* of two, the lower: the better one says what is usual */
    uint32_t at = 0;
    for (; at < 127 && below >= self->bins[at]; at++)
        below -= self->bins[at];
    return self->low + (int32_t) ((int64_t) at * (self->high - self->low) / 127);
}
