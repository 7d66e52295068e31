/* bus_private - what bus.c and group.c share, and the seam through which tests bring their own name lookup */
#ifndef WEFT_BUS_PRIVATE_H
#define WEFT_BUS_PRIVATE_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include <weft/clock.h>
#include <weft/metrics.h>

#include "bus/connection.h"
#include "bus/resolver.h"

#define GROUP_LINKS_MAX 64 /* addresses of one group; a link's number has six bits for its place */
/* A DNS server may leave addresses out now and then: one has left when so many answers in a row lack it. */
#define GROUP_MISSES_MAX 3
/* From then on its link has this long to fall silent before it is closed. */
#define GROUP_LEAVE_MS 30000
/* Frames taken from one link before the next has its turn. */
#define CONNECTION_BATCH 256

struct bus_group {
    weft_bus_t *bus;
    bus_group_t *next;
    bus_handler_t handler;
    void *context;
    _Atomic bool woken;

    /* Bus thread only. */
    endpoint_t endpoints[ENDPOINTS_MAX];
    resolver_watch_t *watches[ENDPOINTS_MAX]; /* of the endpoints that are names */
    resolver_set_t sets[ENDPOINTS_MAX];       /* their last answers */
    size_t endpoint_count;
    connection_t *links[GROUP_LINKS_MAX]; /* by place; NULL: free */
    bool crowded;                         /* there were more addresses than places: said once */

    /* Under the bus's lock. */
    bool leaving, gone;
    int linger_ms;
};

struct weft_bus {
    void *zmq;
    int wake_fd;
    pthread_t thread;
    resolver_t *resolver;
    _Atomic bool sleeping; /* the thread is about to poll, or polls: whoever clears it writes to wake_fd */
    _Atomic bool control;  /* something under the lock, or an answer of the resolver, waits for the thread */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a group is gone */
    bus_group_t *arriving;
    bool stop;

    /* Bus thread only. */
    bus_group_t *groups;
    connection_t **links; /* of all groups, rebuilt when stale */
    struct pollfd *fds;
    size_t link_count;
    bool stale;
    size_t first; /* whose turn it is to be read first */
    uint64_t sockets;
    uint32_t connections;
    int64_t now_ms;
    int64_t due_ms; /* the nearest deadline found in this turn */
    weft_rng_t rng;

    weft_metric_t *ups, *downs, *failures, *frames_dropped;
};

typedef struct {
    resolver_lookup_t lookup;
    void *lookup_context;
    uint32_t refresh_ms;
} bus_config_t;
extern const bus_config_t BUS_DEFAULTS;
weft_bus_t *bus_new_with(const bus_config_t *config);

/* group.c; all on the bus thread. */

/* Applies what the resolver found since the last time. */
void group_refresh(bus_group_t *self);
/* Moves a link on: connects what is due, hears its monitor, gives up what is too slow. */
void group_link_step(bus_group_t *self, connection_t *link, bool monitor_readable);
/* Reads at most `max` frames; clears link->hot once there are none left. */
void group_link_read(bus_group_t *self, connection_t *link, uint32_t max);
/* Closes all links without telling the handler. */
void group_close(bus_group_t *self, int linger_ms);
void group_free(bus_group_t *self);

#endif
