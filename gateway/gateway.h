/* gateway - what all parts of the program share: settings, client, registry, counters, the phase of its life
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdatomic.h>

#include <weft/client.h>

#include "gateway/registry.h"
#include "gateway/stats.h"

#define GATEWAY_HEAD_MAX 16384 /* bytes of a request head; more is 431 */
#define GATEWAY_TIMEOUT_DEFAULT_MS 30000
#define GATEWAY_BROKER_WAIT_MS 1000 /* a call waits so long for a broker when none is there */
#define GATEWAY_PING_MS 15000       /* of an SSE stream without events: proxies cut silent connections */

typedef struct {
    const char *http;
    const char *brokers;
    const char *ops;
    int64_t threads; /* connections served at once */
    int64_t streams_max;
    int64_t body_max;        /* bytes */
    int64_t body_timeout_ms; /* for a whole body */
    int64_t keep_alive_ms;
    int64_t lame_ms; /* -1: 0 on loopback, 1,000 elsewhere */
    int64_t drain_ms;
    bool access_log;
    bool insecure;
    const char *keys;
} settings_t;

/* SERVING -SIGTERM-> LAME -lame_ms-> DRAINING -nothing in flight-> STOPPED.  LAME serves on while load
 * balancers take this gateway out, closing each connection behind its answer; DRAINING refuses new requests
 * and ends streams. */
typedef enum { GATEWAY_SERVING, GATEWAY_LAME, GATEWAY_DRAINING, GATEWAY_STOPPED } gateway_phase_t;

typedef struct {
    settings_t settings;
    weft_client_t *client;
    registry_t *registry;
    stats_t stats;
    _Atomic int phase; /* gateway_phase_t, only ever rises */
    _Atomic uint32_t in_flight;
    _Atomic int connections;
    _Atomic uint32_t streams;
    _Atomic uint32_t body_readers;
    _Atomic uint32_t waiting; /* requests that wait for jobs since their callers would like that */
} gateway_t;

static inline gateway_phase_t
gateway_phase(const gateway_t *self)
{
    return (gateway_phase_t) atomic_load_explicit(&self->phase, memory_order_relaxed);
}

/* Ready = can do its job now: a broker is up, the services are known, not leaving.  For weft_ops_config_t and
 * GET /readyz. */
bool gateway_ready(void *self, const char **why);

/* May a call of this service find a worker?  Without one a broker waits a second for the next; and one broker
 * knows only of its own, so where there are others they are asked. */
bool gateway_may_reach(const gateway_t *self, const catalog_row_t *row);

#endif
