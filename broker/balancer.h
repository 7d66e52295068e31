/* balancer - which of a service's workers gets the next request
 *
 * An indexed binary heap of the offers that have credit.  First is the least loaded relative to its capacity
 * (outstanding here plus what the worker reported to hold for others), among equals the least recently used:
 * weighted least connections.  Who has a penalty (health.h) seems to hold more, also while it holds nothing:
 * idle, it comes behind others that are busy, as in the shortest expected delay.  A probe goes first.
 * The key of one offer changes per request, so both ends cost O(log n).
 * Not thread-safe. */
#ifndef WEFT_BROKER_BALANCER_H
#define WEFT_BROKER_BALANCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>

typedef struct offer offer_t;

typedef struct {
    offer_t **heap;
    uint32_t count;
    uint32_t room;
} balancer_t;

/* Does this offer have the method at hand? */
typedef bool (*balancer_accept_t)(void *context, const offer_t *offer);

void balancer_init(balancer_t *self);
void balancer_fini(balancer_t *self);

/* Makes room for `count` offers, so that balancer_update never fails. */
bool balancer_reserve(balancer_t *self, uint32_t count) WEFT_MUST_CHECK;

/* Puts the offer where it belongs after anything about it changed: in, out, up or down. */
void balancer_update(balancer_t *self, offer_t *offer);
void balancer_remove(balancer_t *self, offer_t *offer);

/* The best offer with credit; NULL when there is none. */
static inline offer_t *
balancer_first(const balancer_t *self)
{
    return self->count ? self->heap[0] : NULL;
}

/* The best that is accepted, O(n). */
offer_t *balancer_best(const balancer_t *self, balancer_accept_t accept, void *context);

/* The first with credit in the order of rendezvous hashing (Thaler and Ravishankar 1998): the same affinity
 * finds the same worker at every broker while that has credit, and a worker that leaves moves only its own.
 * Who is ejected has no credit; who is slow or on its way back is as good as any: a cache is there.
 * O(n). `accept` may be NULL. */
offer_t *balancer_rendezvous(const balancer_t *self, uint64_t affinity, balancer_accept_t accept,
                             void *context);

/* Aborts when the order, a place or a member is wrong. */
void balancer_check(const balancer_t *self);

#endif
