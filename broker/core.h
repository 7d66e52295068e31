/* core - the inside of the dispatcher, for the files that make it up and for nobody else
 *
 * dispatcher.c takes frames and the time; front.c does what clients say, back.c what workers say; routing.c
 * hands requests out and ends them; loss.c cleans up behind lost peers; broker_service.c and watch.c are
 * weft.broker; check.c holds the invariants. */
#ifndef WEFT_BROKER_CORE_H
#define WEFT_BROKER_CORE_H

#include "broker/answers.h"
#include "broker/counters.h"
#include "broker/deadlines.h"
#include "broker/dispatcher.h"
#include "broker/peers.h"
#include "broker/registry.h"
#include "broker/slab.h"

/* Milliseconds, where nothing in dispatcher_config_t says it. */
enum {
    ABANDON_MS = 30 * 1000,     /* a worker that does not answer a CANCEL gets its credit back after this */
    CLIENT_IDLE_MS = 60 * 1000, /* a client that never pings and has nothing in flight is forgotten */
    FULL_RETRY_MS = 20,         /* a full pipe is tried again */
    ENDING_MS = 60 * 1000,      /* a client that does not read is owed its last answer for this long */
    WATCH_MS = 50,              /* changes of the registry within this time are one event */
    WATCH_PACE_MS = 5           /* between two portions of a watcher's first listing */
};
enum {
    UNANSWERED_MAX = 1024, /* requests of one client that wait for room in its pipe */
    WATCHERS_MAX = 256,
    EXACT_MAX = 8192 /* bytes: frames up to libzmq's receive buffer are copied before they are kept */
};

struct watcher {
    request_t *request;
    uint64_t seen; /* registry changes up to this one were told */
    bool synced;
    list_link_t link;
};

struct dispatcher {
    dispatcher_config_t config;
    dispatcher_send_t send;
    void *context;
    int64_t now; /* of the call at hand, microseconds */
    int64_t started_at;
    int64_t ticked_at;
    bool watchful; /* peers were known at the last tick: the next was wanted soon */
    bool draining;
    bool left;
    slab_t slab;
    deadlines_t deadlines;
    peers_t peers;
    registry_t registry;
    answers_t answers;
    list_t pump; /* services with waiting requests that perhaps can be handed out */
    list_t watchers;
    uint32_t watcher_count;
    deadline_t watch_deadline;
    uint64_t kept_bytes; /* of frames kept for a retry */
    uint64_t used;       /* sequence number of hand-outs */
    dispatcher_counter_t counters[COUNTERS_COUNT];
    void (*on_wait)(void *context, int64_t wait_us);
    void *on_wait_context;
};

static inline void
core_count(dispatcher_t *self, unsigned counter)
{
    self->counters[counter].value++;
}

static inline int64_t
core_after_ms(const dispatcher_t *self, uint32_t ms)
{
    return self->now + (int64_t) ms * 1000;
}

/* ---- sending (dispatcher.c): a peer found gone is put on the list of those to be reaped */
weft_status_t core_send_client(dispatcher_t *self, client_t *client, bool framed, zmq_msg_t *frame);
weft_status_t core_send_worker(dispatcher_t *self, worker_t *worker, zmq_msg_t *frame);
/* To anybody, known or not; what cannot be sent is dropped. */
void core_send_short(dispatcher_t *self, peer_t to, weft_kind_t kind, uint64_t id, uint64_t number);
void core_send_error(dispatcher_t *self, peer_t to, uint64_t id, weft_status_t status, const char *message);
void core_lose_client(dispatcher_t *self, client_t *client);
void core_lose_worker(dispatcher_t *self, worker_t *worker);

/* ---- routing.c */
/* A request whose service, method and times are set: to a worker, or into the queue.  Takes the frame. */
void routing_start(dispatcher_t *self, request_t *request, zmq_msg_t *frame, const weft_message_t *message);
/* Hands out what waits at a service as long as workers have credit. */
void routing_pump(dispatcher_t *self, service_t *service);
/* Asks for routing_pump at the end of the call at hand. */
void routing_pump_later(dispatcher_t *self, service_t *service);
/* Answers a request with an error and lets go of it. */
void routing_fail(dispatcher_t *self, request_t *request, weft_status_t status, const char *message);
/* The same with details. */
void routing_fail_details(dispatcher_t *self, request_t *request, weft_status_t status, const char *message,
                          weft_span_t details);
/* The client has its answer, or is gone: frees the request, or leaves it to the worker that holds it. */
void routing_let_go(dispatcher_t *self, request_t *request);
/* Gives the credit back and takes the request off the worker. */
void routing_credit(dispatcher_t *self, request_t *request);
/* The client's pipe was full: RESOURCE_EXHAUSTED as soon as there is room. */
void routing_owe(dispatcher_t *self, request_t *request);
/* Tries again what a client is owed. */
void routing_settle_client(dispatcher_t *self, client_t *client);
/* CANCEL to the worker that holds the request. */
void routing_cancel(dispatcher_t *self, request_t *request);
/* CANCELs that found the worker's pipe full. */
void routing_cancel_again(dispatcher_t *self, worker_t *worker);
/* A worker is gone, the request may be handed to another or is answered. */
void routing_worker_lost(dispatcher_t *self, request_t *request);
void routing_expire(dispatcher_t *self, request_t *request);
/* After a service's offers changed. */
void routing_service_changed(dispatcher_t *self, service_t *service);
void routing_service_due(dispatcher_t *self, service_t *service);

/* ---- front.c, back.c */
void front_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame);
void front_client_due(dispatcher_t *self, client_t *client);
void back_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame);
void back_worker_due(dispatcher_t *self, worker_t *worker);
/* Sets the deadline of a peer that holds requests no later than its next probe. */
void front_watch_over(dispatcher_t *self, client_t *client);
void back_watch_over(dispatcher_t *self, worker_t *worker);

/* Reads a frame; what is wrong with it is answered or counted here, and false returned. */
bool core_decode(dispatcher_t *self, peer_t from, zmq_msg_t *frame, weft_message_t *message);

/* ---- broker_service.c, watch.c */
void broker_service_request(dispatcher_t *self, request_t *request, const weft_message_t *message);
void watch_start(dispatcher_t *self, request_t *request);
/* Its request is being freed. */
void watch_end(dispatcher_t *self, watcher_t *watcher);
/* Something in the registry changed: tell soon. */
void watch_changed(dispatcher_t *self);
void watch_forgotten(dispatcher_t *self, const service_t *service);
void watch_due(dispatcher_t *self);
/* Ends all watches: the broker leaves. */
void watch_stop(dispatcher_t *self, const char *message);

#endif
