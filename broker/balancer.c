/* balancer - which of a service's workers gets the next request */
#include "broker/balancer.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/hash.h"
#include "broker/registry.h"

void
balancer_init(balancer_t *self)
{
    *self = (balancer_t){ 0 };
}

void
balancer_fini(balancer_t *self)
{
    free(self->heap);
    balancer_init(self);
}

bool
balancer_reserve(balancer_t *self, uint32_t count)
{
    if (count <= self->room)
        return true;
    uint32_t room = self->room ? self->room * 2 : 4;
    if (room < count)
        room = count;
    offer_t **heap = realloc(self->heap, room * sizeof(offer_t *));
    if (heap == NULL)
        return false;
    self->heap = heap;
    self->room = room;
    return true;
}

/* What it holds, in HEALTH_ONEs, and for a penalty as much more for each and for the one that would come. */
static uint64_t
s_load(const offer_t *offer)
{
    uint64_t held = (uint64_t) offer->outstanding + offer->foreign;
    return held * HEALTH_ONE + (held + 1) * offer->health.penalty;
}

/* Load by capacity, compared by cross multiplication: below 2^61, so nothing overflows. */
static bool
s_before(const offer_t *a, const offer_t *b)
{
    if (a->health.probe != b->health.probe)
        return a->health.probe;
    uint64_t left = s_load(a) * b->capacity;
    uint64_t right = s_load(b) * a->capacity;
    return left != right ? left < right : a->used < b->used;
}

static void
s_put(balancer_t *self, uint32_t at, offer_t *offer)
{
    self->heap[at] = offer;
    offer->place = at + 1;
}

static void
s_settle(balancer_t *self, uint32_t at, offer_t *offer)
{
    while (at > 0 && s_before(offer, self->heap[(at - 1) / 2])) {
        s_put(self, at, self->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= self->count)
            break;
        if (child + 1 < self->count && s_before(self->heap[child + 1], self->heap[child]))
            child++;
        if (!s_before(self->heap[child], offer))
            break;
        s_put(self, at, self->heap[child]);
        at = child;
    }
    s_put(self, at, offer);
}

void
balancer_remove(balancer_t *self, offer_t *offer)
{
    if (offer->place == 0)
        return;
    uint32_t at = offer->place - 1;
    assert(at < self->count && self->heap[at] == offer);
    offer->place = 0;
    offer_t *last = self->heap[--self->count];
    if (last != offer)
        s_settle(self, at, last);
}

void
balancer_update(balancer_t *self, offer_t *offer)
{
    if (!offer_has_credit(offer)) {
        balancer_remove(self, offer);
    } else if (offer->place) {
        s_settle(self, offer->place - 1, offer);
    } else {
        assert(self->count < self->room);
        s_settle(self, self->count++, offer);
    }
}

offer_t *
balancer_best(const balancer_t *self, balancer_accept_t accept, void *context)
{
    offer_t *best = NULL;
    for (uint32_t i = 0; i < self->count; i++) {
        offer_t *offer = self->heap[i];
        if ((best == NULL || s_before(offer, best)) && accept(context, offer))
            best = offer;
    }
    return best;
}

offer_t *
balancer_rendezvous(const balancer_t *self, uint64_t affinity, balancer_accept_t accept, void *context)
{
    offer_t *best = NULL;
    uint64_t best_score = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        offer_t *offer = self->heap[i];
        uint64_t score = hash_mix(offer->instance_hash ^ affinity);
        if ((best == NULL || score > best_score) && (accept == NULL || accept(context, offer))) {
            best = offer;
            best_score = score;
        }
    }
    return best;
}

void
balancer_check(const balancer_t *self)
{
    if (self->count > self->room)
        abort();
    for (uint32_t i = 0; i < self->count; i++) {
        const offer_t *offer = self->heap[i];
        if (offer->place != i + 1 || !offer_has_credit(offer))
            abort();
        if (i > 0 && s_before(offer, self->heap[(i - 1) / 2]))
            abort();
    }
}
