/* health - how one worker does its work beside the others of its service: how long it takes, how often it
 * fails
 *
 * Times are compared as logarithms, each less what its method usually takes in this service: so a worker that
 * happens to get the expensive methods is not taken for a slow one, a few very long requests weigh little,
 * and twice as slow is the same distance everywhere.  Both means are moving ones (EWMA).  A worker is held
 * against the median of all, so that what slows or breaks a whole service (its database) is nobody's fault.
 * Zeroes are a worker of which nothing is known.  Pure arithmetic; dispatcher and registry decide with it
 * (outliers.c).  Not thread-safe. */
#ifndef WEFT_BROKER_HEALTH_H
#define WEFT_BROKER_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/buf.h>
#include <weft/status.h>

enum {
    HEALTH_METHODS = 64,     /* methods of a service told apart; two that share a place are taken for one */
    HEALTH_ONE = 16,         /* a penalty of this much doubles what a worker seems to hold */
    HEALTH_TIMES_MIN = 16,   /* a worker is judged by its times when there are as many */
    HEALTH_RESULTS_MIN = 20, /* and by the share of its failures */
    HEALTH_SLOW_MAX = 64     /* limit of the setting: keeps the balancer's products in 64 bits */
};

/* WELL -outlier-> EJECTED -its time is over-> PROBATION -replies that are no failures-> RAMP -time-> WELL
 * PROBATION -a failure-> EJECTED;  RAMP -outlier-> EJECTED;  EJECTED, PROBATION -too few are left-> RAMP
 * A worker that joins others begins in RAMP. */
typedef enum { HEALTH_WELL, HEALTH_EJECTED, HEALTH_PROBATION, HEALTH_RAMP } health_state_t;

/* A moving mean in fixed point: 16 bits behind the point. */
typedef struct {
    int32_t mean;
    uint32_t count; /* values so far, as far as that matters */
} health_mean_t;

/* One worker, for one service. */
typedef struct {
    health_mean_t slowness; /* log2 of its times over the usual ones */
    health_mean_t failing;  /* 0 to 1 */
    uint32_t streak;        /* failures in a row */
    uint32_t penalty;       /* in HEALTH_ONEs: what the balancer adds */
    uint8_t state;          /* health_state_t; written by outliers.c only */
    uint8_t ejections;      /* in a row: each is twice as long as the one before */
    uint8_t proven;         /* PROBATION: replies that were no failures */
    bool fresh;             /* registered, and not looked at since */
    bool slow;              /* found slow, and not yet found well again */
    bool probe;             /* the next request goes there, whatever else is said for others */
    uint32_t ramp_from;     /* RAMP: the penalty at its beginning */
    int64_t timed_at;       /* when it was last measured */
    int64_t handed_at;      /* when it last got a request */
    uint64_t handed_after;  /* and how many its service had got by then */
    int64_t until;          /* EJECTED, RAMP: their end; WELL: the end of the last */
} health_t;

/* What is usual at a service. */
typedef struct {
    health_mean_t usual[HEALTH_METHODS]; /* log2 of the time in microseconds, by method */
    int32_t slowness;                    /* the median of its workers, as of the last review */
    int32_t failing;                     /* the same */
    uint32_t compared;                   /* of how many: one alone is slower than nobody */
    uint32_t out;                        /* workers EJECTED or in PROBATION */
    uint32_t slow;                       /* workers found slow, as of the last review */
    bool stirred;                        /* something was measured since the last review */
    int64_t since;                       /* when its first worker came */
} health_service_t;

/* Gets no work as others do? */
static inline bool
health_out(const health_t *self)
{
    return self->state == HEALTH_EJECTED || self->state == HEALTH_PROBATION;
}

/* How many of `outstanding` more than the present it may get: all its capacity, one at a time, or none. */
static inline uint32_t
health_capacity(const health_t *self, uint32_t capacity)
{
    if (self->state == HEALTH_EJECTED)
        return 0;
    return self->state == HEALTH_PROBATION && capacity > 1 ? 1 : capacity;
}

/* The place of a method, for health_took. */
uint8_t health_method(weft_span_t method);

/* Is that status the worker's own fault?  What a caller brings about (INVALID_ARGUMENT, NOT_FOUND, ABORTED,
 * ...) is not, nor is refusing by load (RESOURCE_EXHAUSTED). */
bool health_is_fault(weft_status_t status);

/* A request took that long. */
void health_took(health_t *self, health_service_t *service, uint8_t method, int64_t took_us, int64_t now_us);
/* A request ended, by the worker's fault or not. */
void health_ended(health_t *self, bool fault);
/* Nothing is known of it any more but state, ejections and times. */
void health_forget(health_t *self);

/* How much slower than the median: in HEALTH_ONEs, HEALTH_ONE is as fast; bounded by 1/256 and 256. */
uint32_t health_factor(const health_t *self, const health_service_t *service);
/* Decides anew whether it is slow, and its penalty: what slowness and ramp say, the larger; on probation the
 * largest, so that it gets its trials and otherwise only what nobody else has credit for.  slow_max: most
 * that its load is multiplied by, 0: slowness is not looked at; ramp_us: how long a ramp is. */
void health_weigh(health_t *self, const health_service_t *service, uint32_t slow_max, int64_t ramp_us,
                  int64_t now_us);

/* The lower median of values in [low, high], in 128 steps: adding costs nothing but its time, nothing is
 * allocated. */
typedef struct {
    uint32_t bins[128];
    uint32_t count;
    int32_t low, high;
} health_median_t;
void health_median_init(health_median_t *self, int32_t low, int32_t high);
void health_median_add(health_median_t *self, int32_t value);
/* `none` when nothing was added. */
int32_t health_median(const health_median_t *self, int32_t none);

enum { HEALTH_POINT = 65536 }; /* 1 in fixed point */

#endif
