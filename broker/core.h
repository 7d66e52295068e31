/* core - the inside of the dispatcher, for the files that make it up and for nobody else
 *
 * dispatcher.c takes frames and the time; front.c does what clients say, back.c what workers say; routing.c
 * hands requests out, outliers.c says who gets less of them, ending.c ends them, copies.c keeps their frames;
 * loss.c cleans up behind lost peers; broker_service.c and watch.c are weft.broker; check.c holds the
 * invariants. */
#ifndef WEFT_BROKER_CORE_H
#define WEFT_BROKER_CORE_H

#include "broker/answers.h"
#include "broker/counters.h"
#include "broker/dispatcher.h"
#include "broker/peers.h"
#include "broker/registry.h"
#include "broker/slab.h"
#include "runtime/deadlines.h"

/* Milliseconds, where nothing in dispatcher_config_t says it. */
enum {
    ABANDON_MS = 30 * 1000,     /* a worker that does not answer a CANCEL gets its credit back after this */
    CLIENT_IDLE_MS = 60 * 1000, /* a client that never pings and has nothing in flight is forgotten */
    FULL_RETRY_MS = 20,         /* a full pipe is tried again */
    UNREACHABLE_MS = 50,   /* a worker whose connection ended is lost after this: see core_doubt_worker */
    ENDING_MS = 60 * 1000, /* a client that does not read is owed its last answer for this long */
    WATCH_MS = 50,         /* changes of the registry within this time are one event */
    WATCH_MINOR_MS = 1000, /* the same where only capacities changed: workers adapt them all the time */
    YOUNG_MS = 3000,       /* a broker that started so lately may not have all its workers back */
    YOUNG_RETRY_MS = 200,  /* what a request for a service that is unknown until then is told to wait */
    WATCH_PACE_MS = 5      /* between two portions of a watcher's first listing */
};
enum {
    UNANSWERED_MAX = 1024, /* requests of one client that wait for room in its pipe */
    WATCHERS_MAX = 256,
    LOGS_PER_SECOND = 50,
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
    list_t pump;    /* services with waiting requests that perhaps can be handed out */
    list_t stirred; /* services whose workers are to be looked at by outliers.c */
    deadline_t health_deadline;
    list_t watchers;
    uint32_t watcher_count;
    deadline_t watch_deadline;
    uint64_t watch_bytes; /* told to watchers at the last turn */
    uint64_t kept_bytes;  /* of frames kept for a retry */
    uint64_t used;        /* sequence number of hand-outs */
    uint64_t pings;       /* sequence number of those to clients */
    dispatcher_counter_t counters[COUNTERS_COUNT];
    int64_t log_second; /* events that peers cause are logged only so often */
    uint32_t log_count;
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
/* A PING, whose PONG tells how much it has read.  Not to a REQ socket. */
void core_ping_client(dispatcher_t *self, client_t *client);
/* To anybody, known or not; what cannot be sent is dropped. */
void core_send_short(dispatcher_t *self, peer_t to, weft_kind_t kind, uint64_t id, uint64_t number);
void core_send_error(dispatcher_t *self, peer_t to, uint64_t id, weft_status_t status, const char *message);
void core_lose_client(dispatcher_t *self, client_t *client);
void core_lose_worker(dispatcher_t *self, worker_t *worker);
/* A send said that the worker's connection ended.  ROUTER says so as soon as it knows, when replies that the
 * worker sent before may still be unread: nothing is sent to it any more, but it is only lost a little later.
 */
void core_doubt_worker(dispatcher_t *self, worker_t *worker);

/* May this event be logged?  Those that a peer can cause at will: at most LOGS_PER_SECOND, the rest is
 * counted. */
bool core_may_log(dispatcher_t *self);

/* Reads a frame; what is wrong with it is answered or counted here, and false returned. */
bool core_decode(dispatcher_t *self, peer_t from, zmq_msg_t *frame, weft_message_t *message);

#endif
