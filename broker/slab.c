/* slab - the requests that this broker holds, found by the broker's id or by the client's */
#include "broker/slab.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/hash.h"

bool
slab_init(slab_t *self, uint32_t max, uint64_t seed)
{
    assert(max > 0 && max <= UINT32_MAX / 2);
    *self = (slab_t){ .max = max, .seed = seed };
    uint32_t buckets = 16;
    while (buckets < max)
        buckets *= 2;
    self->mask = buckets - 1;
    self->slots = calloc(max, sizeof *self->slots);
    self->buckets = calloc(buckets, sizeof *self->buckets);
    if (self->slots == NULL || self->buckets == NULL) {
        slab_fini(self);
        return false;
    }
    return true;
}

void
slab_fini(slab_t *self)
{
    for (uint32_t i = 0; self->slots && i < self->fresh; i++)
        slab_drop_frame(&self->slots[i]);
    free(self->slots);
    free(self->buckets);
    *self = (slab_t){ 0 };
}

request_t *
slab_new(slab_t *self)
{
    request_t *request;
    uint32_t generation;
    if (self->free_head) {
        request = &self->slots[self->free_head - 1];
        self->free_head = request->hash_next;
        generation = request->generation;
    } else if (self->fresh < self->max) {
        request = &self->slots[self->fresh++];
        generation = (uint32_t) hash_mix(self->seed ^ self->fresh);
    } else {
        return NULL;
    }
    uint32_t slot = (uint32_t) (request - self->slots);
    memset(request, 0, offsetof(request_t, frame));
    request->slot = slot;
    request->generation = generation + 1;
    self->used++;
    self->counts[REQUEST_FREE]++;
    return request;
}

void
slab_free(slab_t *self, request_t *request)
{
    assert(!list_linked(&request->client_link) && !list_linked(&request->holder_link));
    assert(!list_linked(&request->age_link) && request->deadline.place == 0);
    slab_drop_frame(request);
    slab_set_state(self, request, REQUEST_FREE);
    self->counts[REQUEST_FREE]--;
    request->generation++; /* the id is void from now on, not only at the next use */
    request->hash_next = self->free_head;
    self->free_head = request->slot + 1;
    self->used--;
}

void
slab_set_state(slab_t *self, request_t *request, request_state_t state)
{
    assert(self->counts[request->state] > 0);
    self->counts[request->state]--;
    self->counts[state]++;
    request->state = (uint8_t) state;
}

request_t *
slab_find(const slab_t *self, uint64_t id)
{
    uint32_t slot = (uint32_t) id;
    if (slot >= self->fresh)
        return NULL;
    request_t *request = &self->slots[slot];
    bool found = request->generation == (uint32_t) (id >> 32) && request->state != REQUEST_FREE;
    return found ? request : NULL;
}

void
slab_renew(request_t *request)
{
    request->generation++;
}

static uint32_t *
s_bucket(const slab_t *self, uint32_t client, uint64_t key)
{
    return &self->buckets[hash_mix(key ^ hash_mix(self->seed ^ client)) & self->mask];
}

request_t *
slab_find_key(const slab_t *self, uint32_t client, uint64_t key)
{
    for (uint32_t at = *s_bucket(self, client, key); at; at = self->slots[at - 1].hash_next) {
        request_t *request = &self->slots[at - 1];
        if (request->client_key == key && request->client_number == client)
            return request;
    }
    return NULL;
}

void
slab_add_key(slab_t *self, uint32_t client, request_t *request)
{
    uint32_t *bucket = s_bucket(self, client, request->client_key);
    request->client_number = client;
    request->hash_next = *bucket;
    *bucket = request->slot + 1;
}

void
slab_remove_key(slab_t *self, request_t *request)
{
    uint32_t *at = s_bucket(self, request->client_number, request->client_key);
    while (*at != request->slot + 1) {
        assert(*at);
        at = &self->slots[*at - 1].hash_next;
    }
    *at = request->hash_next;
    request->hash_next = 0;
}

void
slab_keep_frame(request_t *request, zmq_msg_t *frame)
{
    slab_drop_frame(request);
    int rc = zmq_msg_init(&request->frame);
    assert(rc == 0);
    rc = zmq_msg_move(&request->frame, frame);
    assert(rc == 0);
    (void) rc;
    request->has_frame = true;
}

void
slab_drop_frame(request_t *request)
{
    if (request->has_frame) {
        int rc = zmq_msg_close(&request->frame);
        assert(rc == 0);
        (void) rc;
        request->has_frame = false;
    }
}
