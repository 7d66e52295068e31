/* ops - the operator's HTTP endpoint of every component: /healthz, /readyz, /metrics */
#ifndef WEFT_OPS_H
#define WEFT_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/status.h>

/* An atomic counter in C and in C++: the same eight bytes. */
#ifdef __cplusplus
#include <atomic>
typedef std::atomic<uint64_t> weft_ticks_t;
extern "C" {
#else
typedef _Atomic uint64_t weft_ticks_t;
#endif

typedef struct weft_ops weft_ops_t;

typedef struct {
    /* Ready = can do its job now.  On false *why is a short static text.  Called on the endpoint's threads.
     */
    bool (*ready)(void *context, const char **why);
    void *context;
    /* A counter that the program's main loop moves at least once a second; the process is healthy while it
     * moved within the last 10 s.  NULL: always healthy. */
    const weft_ticks_t *ticks;
} weft_ops_config_t;

/* Listens on `address` ([HOST:]PORT, HOST defaults to all) with threads of its own.  NULL when it could not,
 * the reason logged; also for an empty address, which is "off" and logs nothing (*off is then true). */
weft_ops_t *weft_ops_new(const char *address, const weft_ops_config_t *config, bool *off);
void weft_ops_destroy(weft_ops_t **self_p);
/* The port it listens on (of use after port 0). */
int weft_ops_port(const weft_ops_t *self);

#ifdef __cplusplus
}
#endif
#endif
