/* stats - the gateway's metrics: made once, counted without a lock */
#ifndef GATEWAY_STATS_H
#define GATEWAY_STATS_H

#include <stdatomic.h>

#include <weft/metrics.h>

#include "gateway/guard.h"

#define STATS_CODES 32 /* HTTP statuses that are told apart; others share the last */

/* Series of one method.  Their number is bounded by the methods that are registered and by the registry's own
 * limit. */
typedef struct {
    char service[64];
    char method[64];
    _Atomic(weft_metric_t *) requests[STATS_CODES]; /* made when the status first occurs */
    weft_metric_t *duration;
} stats_method_t;

void stats_method_init(stats_method_t *self, weft_span_t service, weft_span_t method);
/* One request ended.  Any thread. */
void stats_method_count(stats_method_t *self, int http, int64_t duration_us);

/* What became of a call that went through the queue. */
typedef enum {
    STATS_QUEUED_ACCEPTED, /* 202 */
    STATS_QUEUED_DONE,     /* answered in full */
    STATS_QUEUED_REPLAYED, /* the answer of an earlier request with that key */
    STATS_QUEUED_CONFLICT, /* key at work, or used with another input */
    STATS_QUEUED_TIMEOUT,  /* goes on without its caller */
    STATS_QUEUED_FAILED,   /* no job was made */
    STATS_QUEUED_OUTCOMES
} stats_queued_t;

typedef struct {
    weft_metric_t *in_flight;    /* requests being handled */
    weft_metric_t *connections;  /* open */
    weft_metric_t *streams;      /* open */
    weft_metric_t *body_readers; /* threads that read a body */
    weft_metric_t *bytes_in;     /* of bodies */
    weft_metric_t *bytes_out;
    weft_metric_t *refused[GUARD_REASONS];
    weft_metric_t *overload_connections, *overload_streams, *overload_bodies, *overload_drain;
    weft_metric_t *hangups;        /* callers that left while their call ran */
    weft_metric_t *evicted;        /* idle connections closed to make room */
    weft_metric_t *broken_answers; /* the client left, or read too slowly */
    weft_metric_t *slow_bodies;
    weft_metric_t *slow_streams;                     /* ended since the reader was too slow */
    weft_metric_t *services;                         /* known */
    weft_metric_t *shadowed_routes;                  /* declared, but an earlier one has them */
    weft_metric_t *refused_methods;                  /* schema does not compile */
    weft_metric_t *queued[2][STATS_QUEUED_OUTCOMES]; /* [0]: Prefer, [1]: Idempotency-Key */
    weft_metric_t *unwaited; /* waits that were left out since too many threads wait */
    weft_metric_t *watch_opened, *watch_events;
    weft_metric_t *synced; /* 1: the list of services is complete */
    stats_method_t own;    /* requests that reach no method */
} stats_t;

/* Before the first request. */
void stats_init(stats_t *self);

#endif
