/* watchers - who waits for which job, and what they have to be told */
#include "watchers.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/clock.h>

#include "session/id_table.h"

#define INPUT_MAX WEFT_FRAME_MAX
#define PAIRS_MAX WEFT_FRAME_MAX
#define NO_SLOT UINT32_MAX

typedef struct {
    int64_t id; /* 0: free, `next_free` is the next such */
    uint32_t next_free;
    bool wanted; /* to be read */
    bool asked;  /* on the way */
    subscriber_t *subscribers;
    known_job_t known;
} watched_t;

struct watchers {
    watchers_events_t events;
    uint32_t max, count;
    watched_t *slots; /* as many as subscribers may be */
    uint32_t used;    /* slots ever used */
    uint32_t free;
    uint32_t wanted;
    uint32_t glance; /* where the next glance begins */
    id_table_t by_id;
};

subscriber_t *
subscriber_new(subscriber_kind_t kind, weft_request_t *request, int64_t id)
{
    subscriber_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->kind = kind;
    self->request = request;
    self->id = id;
    self->until_us = INT64_MAX;
    self->after.fence = INT32_MIN;
    weft_buf_init(&self->input, INPUT_MAX);
    return self;
}

void
subscriber_destroy(subscriber_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        weft_buf_fini(&(*self_p)->input);
        free(*self_p);
        *self_p = NULL;
    }
}

watchers_t *
watchers_new(uint32_t max, const watchers_events_t *events)
{
    watchers_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->events = *events;
    self->max = max;
    self->free = NO_SLOT;
    self->by_id.seed = weft_random_u64();
    self->slots = calloc(max, sizeof *self->slots);
    if (!self->slots)
        watchers_destroy(&self);
    return self;
}

uint32_t
watchers_count(const watchers_t *self)
{
    return self->count;
}

/* ---- slots ---- */

static watched_t *
s_find(const watchers_t *self, int64_t id)
{
    uint32_t slot;
    return id_table_find(&self->by_id, (uint64_t) id, &slot) ? &self->slots[slot] : NULL;
}

static watched_t *
s_add(watchers_t *self, int64_t id)
{
    uint32_t slot = self->free != NO_SLOT ? self->free : self->used;
    assert(slot < self->max); /* there are as many as subscribers */
    if (!id_table_add(&self->by_id, (uint64_t) id, slot))
        return NULL;
    watched_t *watched = &self->slots[slot];
    if (self->free != NO_SLOT)
        self->free = watched->next_free;
    else
        self->used++;
    *watched = (watched_t){ .id = id };
    weft_buf_init(&watched->known.pairs, PAIRS_MAX);
    weft_buf_init(&watched->known.result_meta, WEFT_META_MAX);
    return watched;
}

static void
s_want(watchers_t *self, watched_t *watched)
{
    if (!watched->wanted && !watched->asked)
        self->wanted++;
    watched->wanted = true;
}

static void
s_want_no_more(watchers_t *self, watched_t *watched)
{
    if (watched->wanted && !watched->asked)
        self->wanted--;
    watched->wanted = false;
}

static void
s_forget(watchers_t *self, watched_t *watched)
{
    s_want_no_more(self, watched);
    id_table_remove(&self->by_id, (uint64_t) watched->id);
    weft_buf_fini(&watched->known.pairs);
    weft_buf_fini(&watched->known.result_meta);
    *watched = (watched_t){ .next_free = self->free };
    self->free = (uint32_t) (watched - self->slots);
}

void
watchers_destroy(watchers_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        watchers_t *self = *self_p;
        for (uint32_t i = 0; self->slots && i < self->used; i++) {
            watched_t *watched = &self->slots[i];
            while (watched->subscribers) {
                subscriber_t *subscriber = watched->subscribers;
                watched->subscribers = subscriber->next;
                subscriber_destroy(&subscriber);
            }
            weft_buf_fini(&watched->known.pairs);
            weft_buf_fini(&watched->known.result_meta);
        }
        id_table_fini(&self->by_id);
        free(self->slots);
        free(self);
        *self_p = NULL;
    }
}

/* ---- telling ---- */

static void
s_end(watchers_t *self, subscriber_t *subscriber, const known_job_t *known)
{
    self->count--;
    self->events.end(self->events.context, subscriber, known);
    subscriber_destroy(&subscriber);
}

/* A WATCH gets what is newer than what it has seen.  False: no room now. */
static bool
s_part(watchers_t *self, subscriber_t *subscriber, const known_job_t *known)
{
    if (resource_event_compare(known->event, subscriber->after) <= 0)
        return true;
    if (!self->events.part(self->events.context, subscriber, known))
        return false;
    subscriber->after = known->event;
    return true;
}

/* True where the subscriber has ended. */
static bool
s_tell(watchers_t *self, subscriber_t *subscriber, const known_job_t *known)
{
    bool watch = subscriber->kind == SUBSCRIBER_WATCH;
    if (!known->read || (watch && !s_part(self, subscriber, known)))
        return false;
    if (!job_state_done(known->state) && (watch || !subscriber->at_once))
        return false;
    s_end(self, subscriber, known);
    return true;
}

/* Tells all subscribers of a job; those that have ended are taken out. */
static void
s_tell_all(watchers_t *self, watched_t *watched)
{
    for (subscriber_t **at = &watched->subscribers, *subscriber; (subscriber = *at);) {
        subscriber_t *next = subscriber->next;
        if (s_tell(self, subscriber, &watched->known))
            *at = next;
        else
            at = &subscriber->next;
    }
    if (!watched->subscribers)
        s_forget(self, watched);
}

/* ---- what comes ---- */

static void
s_know(known_job_t *known, const resource_t *job)
{
    msgpack_packer pk;
    known->state = job->state;
    known->event = resource_event(job);
    weft_buf_reset(&known->pairs);
    msgpack_packer_init(&pk, &known->pairs, weft_buf_write);
    known->pair_count = resource_pack_pairs(job, &pk);
    weft_buf_reset(&known->result_meta);
    (void) weft_buf_add(&known->result_meta, job->result_meta.data, job->result_meta.size);
    known->read = !known->pairs.failed;
}

bool
watchers_add(watchers_t *self, subscriber_t **subscriber_p, const resource_t *job, int64_t now_us)
{
    (void) now_us;
    subscriber_t *subscriber = *subscriber_p;
    if (self->count == self->max)
        return false;
    watched_t *watched = s_find(self, subscriber->id);
    if (!watched && !(watched = s_add(self, subscriber->id)))
        return false;
    *subscriber_p = NULL;
    self->count++;
    subscriber->next = watched->subscribers;
    watched->subscribers = subscriber;
    if (job && !watched->known.read)
        s_know(&watched->known, job);
    s_want(self, watched); /* whatever happened before it was watched */
    return true;
}

void
watchers_done(watchers_t *self, int64_t id)
{
    watched_t *watched = s_find(self, id);
    if (watched)
        s_want(self, watched);
}

void
watchers_tick(watchers_t *self, int64_t now_us)
{
    for (uint32_t i = 0; i < self->used; i++) {
        watched_t *watched = &self->slots[i];
        if (watched->id == 0)
            continue;
        for (subscriber_t **at = &watched->subscribers, *subscriber; (subscriber = *at);) {
            subscriber_t *next = subscriber->next;
            bool over = now_us >= subscriber->until_us || self->events.gone(self->events.context, subscriber);
            if (over)
                s_end(self, subscriber, &watched->known);
            if (over || (subscriber->kind == SUBSCRIBER_WATCH && s_tell(self, subscriber, &watched->known)))
                *at = next;
            else
                at = &subscriber->next;
        }
        if (!watched->subscribers)
            s_forget(self, watched);
    }
}

void
watchers_end_all(watchers_t *self)
{
    for (uint32_t i = 0; i < self->used; i++) {
        watched_t *watched = &self->slots[i];
        if (watched->id == 0)
            continue;
        while (watched->subscribers) {
            subscriber_t *subscriber = watched->subscribers;
            watched->subscribers = subscriber->next;
            s_end(self, subscriber, &watched->known);
        }
        s_forget(self, watched);
    }
}

/* ---- reading ---- */

bool
watchers_want(const watchers_t *self)
{
    return self->wanted > 0;
}

uint32_t
watchers_take_wanted(watchers_t *self, int64_t *ids, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->used && count < max && self->wanted > 0; i++) {
        watched_t *watched = &self->slots[i];
        if (watched->id == 0 || !watched->wanted || watched->asked)
            continue;
        watched->wanted = false;
        watched->asked = true;
        self->wanted--;
        ids[count++] = watched->id;
    }
    return count;
}

uint32_t
watchers_take_glance(watchers_t *self, int64_t *ids, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->used && count < max; i++) {
        if (self->glance >= self->used)
            self->glance = 0;
        const watched_t *watched = &self->slots[self->glance++];
        if (watched->id != 0 && !watched->wanted && !watched->asked)
            ids[count++] = watched->id;
    }
    return count;
}

/* It came back, one way or another. */
static watched_t *
s_came_back(watchers_t *self, int64_t id)
{
    watched_t *watched = s_find(self, id);
    if (!watched || !watched->asked)
        return NULL;
    watched->asked = false;
    if (watched->wanted) /* something happened meanwhile: once more */
        self->wanted++;
    return watched;
}

void
watchers_read(watchers_t *self, const resource_t *job, int64_t now_us)
{
    (void) now_us;
    watched_t *watched = s_came_back(self, job->id);
    if (!watched)
        return;
    s_know(&watched->known, job);
    s_tell_all(self, watched);
}

void
watchers_missing(watchers_t *self, int64_t id)
{
    watched_t *watched = s_came_back(self, id);
    if (!watched)
        return;
    while (watched->subscribers) {
        subscriber_t *subscriber = watched->subscribers;
        watched->subscribers = subscriber->next;
        s_end(self, subscriber, NULL);
    }
    s_forget(self, watched);
}

void
watchers_unread(watchers_t *self, int64_t id)
{
    watched_t *watched = s_came_back(self, id);
    if (watched)
        s_want(self, watched);
}

void
watchers_glimpse(watchers_t *self, int64_t id, int32_t fence, job_state_t state, int32_t sequence)
{
    static const char some[] = "\xc0"; /* there is progress where there is a sequence */
    watched_t *watched = s_find(self, id);
    if (!watched)
        return;
    const resource_t seen = {
        .fence = fence, .state = state, .sequence = sequence, .progress = { some, sequence > 0 ? 1 : 0 }
    };
    if (!watched->known.read || resource_event_compare(resource_event(&seen), watched->known.event) != 0)
        s_want(self, watched);
}

void
watchers_vanished(watchers_t *self, int64_t id)
{
    watchers_done(self, id);
}
