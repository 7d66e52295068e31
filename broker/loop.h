/* loop - runs the dispatcher over the sockets until a signal or a request says to leave */
#ifndef WEFT_BROKER_LOOP_H
#define WEFT_BROKER_LOOP_H

#include <stdatomic.h>

#include "broker/gauges.h"
#include "broker/sockets.h"

typedef struct {
    sockets_t *sockets;
    dispatcher_t *dispatcher;
    gauges_t *gauges;
    int signal_fd;           /* SIGTERM and SIGINT, blocked everywhere */
    int drain_ms;            /* at most, between the first signal and the end */
    _Atomic uint64_t *ticks; /* moved at least once a second */
    atomic_bool *ready;      /* set while new requests are taken */
} loop_t;

/* Returns how many requests were abandoned.  A second signal ends the process at once, with 1. */
uint32_t loop_run(loop_t *self);

#endif
