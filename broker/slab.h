/* slab - the requests that this broker holds, found by the broker's id or by the client's
 *
 * A request's id on the worker's leg is its slot (low 32 bits) and the slot's generation (high 32), which
 * starts at random in each process and is raised at each use: a late, repeated or forged reply finds nothing.
 * Slots are reserved once (untouched memory costs nothing) and reused last in, first out, so that the hot
 * ones stay in the cache.  Not thread-safe. */
#ifndef WEFT_BROKER_SLAB_H
#define WEFT_BROKER_SLAB_H

#include <zmq.h>

#include <weft/wire.h>

#include "runtime/deadlines.h"
#include "runtime/list.h"

typedef struct client client_t;
typedef struct offer offer_t;
typedef struct service service_t;
typedef struct flow flow_t;
typedef struct watcher watcher_t;

/* FREE -> QUEUED -> SENT -reply, loss-> FREE;   FREE -> SENT (a worker had credit)
 * SENT -worker lost, idempotent-> QUEUED
 * SENT -client answered or gone before its worker replied-> ABANDONED -worker's reply, grace passed-> FREE
 * any but FREE -client's pipe full-> ENDING -delivered, deadline passed-> FREE or ABANDONED
 * FREE -> WATCHING (the stream of weft.broker) -> FREE */
typedef enum {
    REQUEST_FREE,
    REQUEST_QUEUED,    /* in the backlog of its service */
    REQUEST_SENT,      /* at a worker, whose credit it holds; the client waits */
    REQUEST_ENDING,    /* the client is owed RESOURCE_EXHAUSTED; a worker's credit may be held as well */
    REQUEST_ABANDONED, /* nobody waits for it any more, but it holds a worker's credit */
    REQUEST_WATCHING   /* a watch of the registry, served by the broker itself */
} request_state_t;

typedef struct request {
    uint32_t slot;
    uint32_t generation;
    uint8_t state; /* request_state_t; written by slab_set_state only */
    uint8_t priority;
    uint8_t level; /* of the backlog: priority less what aging gained */
    uint8_t method_size;
    uint16_t method_at;   /* where the method's name stands in the frame */
    uint8_t method_place; /* the method, for health.h */
    bool framed : 1;      /* the client is a REQ socket */
    bool idempotent : 1;  /* as the worker that holds it declares the method */
    bool retried : 1;     /* its second worker: no third */
    bool handed : 1;      /* a worker had it: "executed" is "maybe" from here on */
    bool streamed : 1;    /* a PARTIAL went to the client: a retry would repeat it */
    bool cancelled : 1;   /* the client sent CANCEL, or nobody waits */
    bool cancel_due : 1;  /* the worker has not been told: its pipe was full */
    bool has_frame : 1;

    uint64_t client_key;    /* the id that the client chose */
    uint32_t client_number; /* in the hash of keys */
    uint32_t handed_us;     /* SENT: when; the low bits of a time, so after 71 minutes it is wrong */
    client_t *client;       /* NULL: answered, or gone */
    service_t *service;     /* NULL: WATCHING, or ended before one was found */
    offer_t *offer;         /* not NULL: holds one of its credits */
    flow_t *flow;           /* QUEUED */
    watcher_t *watcher;     /* WATCHING */

    uint64_t caller;    /* whose fair share it counts against: tenant or client */
    uint64_t affinity;  /* hash of meta `affinity`; 0: none */
    int64_t arrived_at; /* microseconds, mono */
    int64_t queued_at;  /* when it began to wait last; after a worker's loss it is not arrived_at */
    int64_t entered_at; /* QUEUED: its level */
    int64_t deadline_at;
    uint32_t wait_us; /* spent in the queue, told with the reply */
    uint32_t bytes;   /* QUEUED, or kept for a retry: counted for its frame */

    uint32_t hash_next;      /* slot + 1 in the chain of its hash bucket */
    list_link_t client_link; /* in client->requests or client->unanswered */
    list_link_t holder_link; /* in offer->requests, or flow->requests */
    list_link_t age_link;    /* QUEUED: in its level, by entered_at */
    deadline_t deadline;
    zmq_msg_t frame; /* QUEUED: the request; SENT and idempotent: a copy for the retry */
} request_t;

typedef struct {
    request_t *slots;
    uint32_t *buckets; /* slot + 1 */
    uint32_t max;
    uint32_t mask;
    uint32_t used;
    uint32_t fresh;     /* slots from here on were never used */
    uint32_t free_head; /* slot + 1, chained by hash_next */
    uint64_t seed;
    uint32_t counts[REQUEST_WATCHING + 1]; /* slots by state */
} slab_t;

/* Reserves `max` slots; false without memory. */
bool slab_init(slab_t *self, uint32_t max, uint64_t seed);
/* Its frames are closed. */
void slab_fini(slab_t *self);

/* A fresh slot in state FREE, zeroed; NULL when all are in use.  slab_free it. */
request_t *slab_new(slab_t *self);
/* Closes the frame and ends the id.  It must be in no list, no hash chain, have no deadline. */
void slab_free(slab_t *self, request_t *request);
void slab_set_state(slab_t *self, request_t *request, request_state_t state);

static inline uint64_t
slab_id(const request_t *request)
{
    return (uint64_t) request->generation << 32 | request->slot;
}

/* The request of that id; NULL when it is none or no longer. */
request_t *slab_find(const slab_t *self, uint64_t id);

/* Gives it another id: what still arrives for the old one finds nothing. */
void slab_renew(request_t *request);

/* The hash by client (a number that names it) and the id that the client chose. */
request_t *slab_find_key(const slab_t *self, uint32_t client, uint64_t key);
void slab_add_key(slab_t *self, uint32_t client, request_t *request);
void slab_remove_key(slab_t *self, request_t *request);

/* Takes the content of `frame`; closes the one it had. */
void slab_keep_frame(request_t *request, zmq_msg_t *frame);
void slab_drop_frame(request_t *request);

#endif
