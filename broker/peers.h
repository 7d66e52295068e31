/* peers - the clients and workers that this broker knows, by number
 *
 * A peer is known from its first message until it is lost, leaves, or (a client without requests) was silent
 * for a while.  Not thread-safe. */
#ifndef WEFT_BROKER_PEERS_H
#define WEFT_BROKER_PEERS_H

#include "broker/dispatcher.h"
#include "broker/slab.h"
#include "broker/table.h"
#include "broker/window.h"
#include "runtime/deadlines.h"
#include "runtime/list.h"

/* What a deadline is in. */
enum { DUE_REQUEST, DUE_CLIENT, DUE_WORKER, DUE_SERVICE, DUE_WATCH, DUE_HEALTH };

struct client {
    uint32_t number;
    uint32_t held;   /* requests in the two lists below */
    bool framed;     /* its last message had a REQ socket's delimiter: never sent anything unasked */
    bool pings;      /* has sent a PING: its silence means that it is gone */
    bool gone;       /* waits to be reaped */
    bool unsettled;  /* was told DRAIN, and requests that it sent before it heard may be on their way */
    uint32_t owed;   /* requests in `unanswered` */
    bool confirms;   /* has sent a PONG */
    int64_t last_at; /* of its last message */
    int64_t probe_at;
    window_t window; /* of what it was sent and may not have read; not where it is framed */
    list_t requests;
    list_t unanswered; /* ENDING: its pipe was full */
    list_link_t peers_link;
    list_link_t gone_link;
    deadline_t deadline;
};

typedef struct worker {
    uint32_t number;
    uint32_t held; /* requests of this broker, over all its offers */
    uint32_t load; /* as last reported */
    bool draining;
    bool gone;      /* nothing is sent to it any more: lost, or about to be */
    bool full;      /* its pipe was: no credit until full_until */
    bool drain_due; /* its DRAIN is not answered yet: its pipe was full */
    uint64_t drain_id;
    uint32_t cancels_due; /* requests with cancel_due */
    int64_t last_at;
    int64_t probe_at;
    int64_t full_until;
    list_t offers;
    uint32_t offer_count;
    list_link_t peers_link;
    list_link_t gone_link;
    deadline_t deadline;
} worker_t;

typedef struct {
    table_t clients; /* by number */
    table_t workers;
    list_t client_list;
    list_t worker_list;
    list_t gone_clients; /* found gone, not reaped yet */
    list_t gone_workers;
} peers_t;

void peers_init(peers_t *self);
/* Frees all peers; their requests and offers must be gone. */
void peers_fini(peers_t *self);

/* Numbers follow one another, so they are mixed before they are keys. */
client_t *peers_client(const peers_t *self, uint32_t number);
worker_t *peers_worker(const peers_t *self, uint32_t number);
/* NULL without memory. */
client_t *peers_add_client(peers_t *self, uint32_t number, int64_t now_us);
worker_t *peers_add_worker(peers_t *self, uint32_t number, int64_t now_us);
/* Must hold nothing and have no deadline. */
void peers_remove_client(peers_t *self, client_t *client);
void peers_remove_worker(peers_t *self, worker_t *worker);

uint64_t peers_bytes(const peers_t *self);

#endif
