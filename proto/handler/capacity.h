/* capacity - how many requests a worker asks for: enough that its threads never wait for the wire.  Pure
 * logic
 *
 * By Little's law what should be on the way is the rate of the threads times the time that the wire takes:
 * threads / service time x WIRE.  A method of 20 us needs a hundred requests at hand; one of 10 ms needs
 * hardly any, and more would only wait here while another worker is idle. */
#ifndef WEFT_HANDLER_CAPACITY_H
#define WEFT_HANDLER_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>

#define CAPACITY_WIRE_US 500 /* reply to next request: two hops through a busy broker */
#define CAPACITY_PREFETCH_MAX 128
#define CAPACITY_PREFETCH_FIRST 64 /* before anything is known: a first burst should not be slow */
#define CAPACITY_WINDOW_MS 1000    /* what is measured at a time, and the shortest time between changes */

typedef struct {
    uint32_t threads;
    uint32_t announced;
    double service_us; /* smoothed; 0: not known */
    int64_t window_at_ms;
    uint64_t busy_us, runs; /* totals at the window's beginning */
} capacity_t;

/* The least prefetch, for methods that take long. */
uint32_t capacity_prefetch_min(uint32_t threads);
/* What `threads` that take `service_us` for a request ask for. */
uint32_t capacity_wanted(uint32_t threads, double service_us);

void capacity_init(capacity_t *self, uint32_t threads, int64_t now_ms);

/* `busy_us` and `runs`: what all threads have spent in methods so far, and how often; `held`: requests here
 * now. True when self->announced has changed: by more than a quarter, at most once in a window. */
bool capacity_update(capacity_t *self, uint64_t busy_us, uint64_t begun, uint64_t runs, int64_t now_ms);

#endif
