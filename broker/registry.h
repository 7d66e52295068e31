/* registry - the services that this broker knows and which worker offers what
 *
 * A service is known from its first registration until it had no worker for a while.  It is described by the
 * highest version among its workers; at the same version by the last registration, and if two disagree there,
 * the conflict is flagged.  Not thread-safe. */
#ifndef WEFT_BROKER_REGISTRY_H
#define WEFT_BROKER_REGISTRY_H

#include "broker/backlog.h"
#include "broker/balancer.h"
#include "broker/health.h"
#include "broker/limits.h"
#include "broker/methods.h"
#include "broker/peers.h"
#include "broker/variant.h"

#define BROKER_SERVICE "weft.broker" /* the broker itself: nobody else may offer it */
#define INSTANCE_MAX 64              /* bytes; SPEC.md, Descriptor */

/* One worker's registration of one service. */
struct offer {
    worker_t *worker;
    service_t *service;
    variant_t *variant;   /* NULL: withdrawn, kept until the last reply */
    uint32_t capacity;    /* 0 when withdrawn */
    uint32_t outstanding; /* requests in `requests` */
    uint32_t foreign;     /* what the worker last reported to hold beyond `outstanding` */
    uint32_t place;       /* in the balancer's heap, from 1; 0: not in it */
    uint64_t used;        /* when it last got a request, as a sequence number */
    health_t health;
    uint64_t instance_hash;
    char instance[INSTANCE_MAX + 1];
    list_t requests; /* SENT, ENDING or ABANDONED: each holds one credit */
    list_link_t worker_link;
    list_link_t service_link;
};

struct service {
    char name[WEFT_SERVICE_MAX + 1];
    weft_span_t span; /* of name */
    uint64_t key;
    list_t offers; /* the withdrawn ones too */
    uint32_t offer_count;
    uint32_t workers; /* offers that are not withdrawn */
    uint64_t capacity;
    uint32_t outstanding;
    uint32_t limit; /* of outstanding; 0: none */
    list_t variants;
    variant_t *current; /* describes the service; without workers it is the last that did */
    bool conflict;      /* two at the current version disagree */
    bool uniform;       /* all workers have the same methods */
    bool minor;         /* its last change was one of capacity only: not urgent */
    methods_t methods;
    balancer_t balancer;
    backlog_t backlog;
    int64_t empty_at;        /* when its last worker left; 0: it has one */
    int64_t served_us;       /* what a worker takes at least, its own queue included; 0: not known */
    uint64_t changed;        /* sequence number of its last change, for watchers */
    list_link_t order_link;  /* in registry->order */
    list_link_t pump_link;   /* work waits that could perhaps be handed out */
    list_link_t health_link; /* in dispatcher->stirred */
    health_service_t health;
    deadline_t deadline;
    /* For metrics. */
    uint64_t requests;
    uint64_t failures; /* replies that are not OK, its own and this broker's */
    uint64_t retries;
    uint64_t refused; /* for want of room or time to wait */
};

typedef struct {
    table_t services; /* by hash of the name */
    list_t order;     /* by `changed`, oldest first */
    uint64_t seed;
    uint64_t registrations; /* sequence number */
    uint64_t changes;       /* sequence number */
    uint64_t conflicts;     /* how often two disagreed */
    uint32_t services_max;
    limits_t limits;
    backlog_shared_t backlog;
    uint64_t bytes; /* of services, offers and variants */
} registry_t;

static inline bool
offer_has_credit(const offer_t *self)
{
    return health_capacity(&self->health, self->capacity) > self->outstanding && !self->worker->full &&
           !self->worker->draining && !self->worker->gone;
}

/* Does the offer's worker have that method? */
bool offer_has_method(const offer_t *self, weft_span_t method);

void registry_init(registry_t *self, uint64_t seed, uint32_t services_max);
/* Frees the services; their offers must be gone. */
void registry_fini(registry_t *self);

/* NULL when it is not known. */
service_t *registry_service(const registry_t *self, weft_span_t name);

/* Registers a service at a worker, or changes what was; capacity 0 withdraws it.
 * WEFT_OK with *changed, NULL when there was nothing to withdraw.  WEFT_INVALID_ARGUMENT with a reason in
 * `why`; WEFT_RESOURCE_EXHAUSTED at services_max or without memory, with a reason as well. */
weft_status_t registry_ready(registry_t *self, worker_t *worker, weft_span_t bytes, uint32_t capacity,
                             service_t **changed, char *why, size_t why_size) WEFT_MUST_CHECK;

/* Takes an offer out: nothing more is handed to it.  It is freed now, or with its last request. */
void registry_withdraw(registry_t *self, offer_t *offer);
/* Frees a withdrawn offer that holds nothing; does nothing otherwise. */
void registry_release(registry_t *self, offer_t *offer);

/* Forgets a service that has no offers and no requests. */
void registry_forget(registry_t *self, service_t *service);

uint64_t registry_bytes(const registry_t *self);
void registry_check(const registry_t *self);

#endif
