/* queueing - a dispatcher, workers with threads and service times, and callers, all in virtual time
 *
 * What a balancer does to latencies, the same in each run: arrivals are Poisson, service times exponential,
 * both from a seed.  Frames take no time.  Every worker holds what it gets in a queue of its own, works on as
 * many as it has threads, and tells how long each waited there, as weft's SDK does. */
#ifndef WEFT_TESTS_BROKER_QUEUEING_H
#define WEFT_TESTS_BROKER_QUEUEING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/clock.h>

#include "broker/dispatcher.h"

enum { QUEUEING_WORKERS = 8, QUEUEING_REQUESTS = 200000, QUEUEING_CAPACITY = 64 };

typedef struct {
    uint32_t threads;
    uint32_t capacity;
    int64_t service_us; /* mean; of the method "dear" ten times as long */
    uint32_t failing;   /* percent of the requests */
    uint32_t running, first, waiting;
    uint32_t held[QUEUEING_CAPACITY]; /* a ring: requests that wait here */
} queueing_worker_t;

typedef struct {
    uint64_t id; /* on the worker's leg */
    int64_t sent_at, begun_at, handed_at;
    uint32_t latency_us;
    uint32_t worker;
    bool ok;
} queueing_request_t;

typedef struct {
    int64_t at;
    uint32_t request; /* 0: an arrival */
} queueing_event_t;

typedef struct {
    dispatcher_t *dispatcher;
    int64_t now_us, next_us;
    weft_rng_t rng;
    queueing_worker_t workers[QUEUEING_WORKERS];
    uint32_t worker_count;
    uint32_t dear;                /* percent of the requests that are of the method "dear" */
    queueing_request_t *requests; /* from 1 */
    uint32_t request_count;
    queueing_event_t *events; /* a heap */
    uint32_t event_count;
} queueing_t;

queueing_t *queueing_new(const dispatcher_config_t *config);
void queueing_free(queueing_t *self);
/* Registers a worker; returns it for changes of how it works.  capacity: at most QUEUEING_CAPACITY. */
queueing_worker_t *queueing_worker(queueing_t *self, uint32_t threads, uint32_t capacity, int64_t service_us);
/* Lets that many requests a second arrive for a while, and all of them end.  Returns the number of the first.
 */
uint32_t queueing_run(queueing_t *self, double per_second, int64_t seconds);

/* ---- of the requests from `first` on */
/* The p-th percentile of their latencies, in microseconds; but: not those that this worker served. */
uint32_t queueing_percentile(const queueing_t *self, uint32_t first, uint32_t p,
                             const queueing_worker_t *but);
/* Requests that the worker served, in 1/1,000 of all. */
uint32_t queueing_share(const queueing_t *self, uint32_t first, const queueing_worker_t *worker);
/* Those that failed, in 1/1,000 of all. */
uint32_t queueing_failed(const queueing_t *self, uint32_t first);
uint64_t queueing_counter(const queueing_t *self, const char *name, const char *labels);

#endif
