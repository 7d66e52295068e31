/* engine - the state machine of one jobs process: its parts put together, its time and its end */
#include "engine.h"

#include <assert.h>
#include <stdlib.h>

#include "engine_core.h"

enum { LANE_BACKOFF_MS = 50, LANE_BACKOFF_MAX_MS = 1000 };

engine_t *
engine_new(const engine_config_t *config, const engine_events_t *events, int64_t now_us)
{
    engine_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->events = *events;
    if (!self->config.lease_ms)
        self->config.lease_ms = ENGINE_LEASE_MS;
    if (!self->config.batch_max)
        self->config.batch_max = ENGINE_BATCH_MAX;
    if (!self->config.memory_max)
        self->config.memory_max = ENGINE_MEMORY_MAX;
    if (!self->config.bytes_max)
        self->config.bytes_max = ENGINE_BYTES_MAX;
    if (!self->config.inserts_max)
        self->config.inserts_max = ENGINE_INSERTS_MAX;
    self->finish_limit = self->config.batch_max;
    self->replicas = 1;
    self->now = now_us;
    weft_rng_seed(&self->rng, config->seed);
    self->by_id.seed = weft_rng_next(&self->rng);
    self->key_seed = weft_rng_next(&self->rng);
    list_init(&self->free_attempts);
    list_init(&self->hungry);
    list_init(&self->rows);
    list_init(&self->progresses);
    self->beat_deadline.kind = TIMER_BEAT;
    self->reap_deadline.kind = TIMER_REAP;
    self->promote_deadline.kind = TIMER_PROMOTE;
    self->recover_deadline.kind = TIMER_RECOVER;
    self->look_deadline.kind = TIMER_LOOK;
    self->insert_deadline.kind = TIMER_INSERT;
    for (int i = 0; i < LANES; i++)
        self->lanes[i].deadline.kind = TIMER_LANE;
    if (!engine_reserve(self)) {
        engine_destroy(&self);
        return NULL;
    }
    deadlines_set(&self->deadlines, &self->look_deadline, now_us + ENGINE_LOOK_MS * INT64_C(1000));
    return self;
}

void
engine_destroy(engine_t **self_p)
{
    assert(self_p);
    if (!*self_p)
        return;
    engine_t *self = *self_p;
    insert_fini(self);
    attempts_fini(self);
    keys_fini(self);
    queues_fini(self);
    free(self->methods);
    id_table_fini(&self->method_ids);
    free(self->finish_sent);
    deadlines_fini(&self->deadlines);
    free(self);
    *self_p = NULL;
}

bool
engine_grow(void **array, uint32_t *room, uint32_t count, size_t size)
{
    if (count <= *room)
        return true;
    uint32_t larger = *room ? *room : 16;
    while (larger < count)
        larger *= 2;
    void *moved = reallocarray(*array, larger, size);
    if (!moved)
        return false;
    *array = moved;
    *room = larger;
    return true;
}

bool
engine_reserve(engine_t *self)
{
    return deadlines_reserve(&self->deadlines, TIMER_QUEUE + LANES + self->queue_count + 1 + self->slots);
}

int64_t
engine_jitter(engine_t *self, int64_t bound_us)
{
    return bound_us > 0 ? (int64_t) weft_rng_below(&self->rng, (uint64_t) bound_us + 1) : 0;
}

/* ---- configuration */

void
engine_set_queue(engine_t *self, const engine_queue_t *config, int64_t now_us)
{
    engine_at(self, now_us);
    queue_t *queue = queues_get(self, config->queue);
    if (!queue)
        return; /* without memory: unknown until it is said again */
    const bool ran = queues_runs(self, queue);
    queue->config = *config;
    queue->unkept = false;
    if (config->workers > 0)
        window_share(&queue->window, config->capacity, self->replicas);
    if (config->paused || (config->keeper != 0 && config->keeper != self->number))
        queues_release(self, queue);
    else
        keys_widen(self, queue);
    if (!ran)
        queues_look(self, queue);
    queues_wake(self, queue);
}

void
engine_set_method(engine_t *self, const engine_method_t *method)
{
    uint32_t at = 0;
    if (id_table_find(&self->method_ids, (uint32_t) method->method, &at)) {
        self->methods[at] = *method;
        return;
    }
    if (!engine_grow((void **) &self->methods, &self->method_room, self->method_count + 1,
                     sizeof *self->methods) ||
        !id_table_add(&self->method_ids, (uint32_t) method->method, self->method_count))
        return; /* defaults, then */
    self->methods[self->method_count++] = *method;
}

const engine_method_t *
engine_method(const engine_t *self, int32_t method)
{
    static const engine_method_t DEFAULTS = { 0 };
    uint32_t at = 0;
    return id_table_find(&self->method_ids, (uint32_t) method, &at) ? &self->methods[at] : &DEFAULTS;
}

void
engine_poke(engine_t *self, int32_t number, int64_t now_us)
{
    engine_at(self, now_us);
    queue_t *queue = queues_get(self, number);
    if (queue)
        queues_look(self, queue);
}

/* ---- lanes */

bool
engine_lane_waits(const engine_t *self, lane_t lane)
{
    return self->lanes[lane].deadline.place != 0;
}

void
engine_lane_refused(engine_t *self, lane_t lane_number)
{
    engine_lane_t *lane = &self->lanes[lane_number];
    lane->backoff_ms = lane->backoff_ms == 0                        ? LANE_BACKOFF_MS
                       : lane->backoff_ms < LANE_BACKOFF_MAX_MS / 2 ? lane->backoff_ms * 2
                                                                    : LANE_BACKOFF_MAX_MS;
    const int64_t wait = lane->backoff_ms * INT64_C(1000);
    deadlines_set(&self->deadlines, &lane->deadline, self->now + wait / 2 + engine_jitter(self, wait / 2));
}

void
engine_lane(engine_t *self, lane_t lane, bool up, int64_t now_us)
{
    engine_at(self, now_us);
    if (self->lanes[lane].down != up)
        return;
    self->lanes[lane].down = !up;
    self->lanes[lane].down_at = self->now;
    if (lane == LANE_INSERT)
        insert_expire(self);
}

batch_t *
engine_take_batch(engine_t *self, lane_t lane, int64_t now_us)
{
    engine_at(self, now_us);
    batch_t *batch = NULL;
    if (self->lanes[lane].sent || engine_lane_waits(self, lane))
        return NULL;
    switch (lane) {
    case LANE_INSERT:
        batch = insert_take(self);
        break;
    case LANE_CLAIM:
        batch = claim_take(self);
        break;
    case LANE_FINISH:
        batch = finish_take(self);
        break;
    case LANE_LEASE:
        batch = lease_take(self);
        break;
    case LANES:
        break;
    }
    if (batch) {
        self->lanes[lane].sent = true;
        self->lanes[lane].sent_at = self->now;
    }
    return batch;
}

void
engine_batch_done(engine_t *self, batch_t **batch_p, int64_t now_us)
{
    engine_at(self, now_us);
    batch_t *batch = *batch_p;
    const lane_t lane = batch->lane;
    assert(self->lanes[lane].sent);
    self->lanes[lane].sent = false;
    if (batch->end == BATCH_REFUSED)
        engine_lane_refused(self, lane);
    else
        self->lanes[lane].backoff_ms = 0;
    switch (lane) {
    case LANE_INSERT:
        insert_done(self, batch);
        break;
    case LANE_CLAIM:
        claim_done(self, batch);
        break;
    case LANE_FINISH:
        finish_done(self, batch);
        break;
    case LANE_LEASE:
        lease_done(self, batch);
        break;
    case LANES:
        break;
    }
    batch_destroy(batch_p);
}

/* ---- time */

int64_t
engine_deadline(const engine_t *self)
{
    return deadlines_next(&self->deadlines);
}

void
engine_tick(engine_t *self, int64_t now_us)
{
    engine_at(self, now_us);
    deadline_t *due = NULL;
    while ((due = deadlines_pop(&self->deadlines, self->now)) != NULL) {
        switch ((timer_kind_t) due->kind) {
        case TIMER_BEAT:
            self->beat_due = true;
            break;
        case TIMER_REAP:
            self->reap_due = true;
            break;
        case TIMER_PROMOTE:
            self->promote_due = true;
            break;
        case TIMER_RECOVER:
            self->recover_due = true;
            break;
        case TIMER_LOOK:
            claim_look_tick(self);
            break;
        case TIMER_INSERT:
            insert_expire(self);
            break;
        case TIMER_LANE:
            break; /* it may be asked again */
        case TIMER_QUEUE:
            queues_wake(self, LIST_ITEM(due, queue_t, backoff));
            break;
        case TIMER_ATTEMPT: {
            attempt_t *attempt = LIST_ITEM(due, attempt_t, deadline);
            if (attempt->row_parked)
                finish_unpark(self, attempt);
            else
                replies_progress_due(self, attempt);
            break;
        }
        }
    }
}

/* ---- end */

void
engine_drain(engine_t *self, int64_t now_us)
{
    engine_at(self, now_us);
    if (self->draining)
        return;
    self->draining = true;
    for (uint32_t i = 0; i < self->queue_count; i++)
        queues_release(self, self->queues[i]);
}

bool
engine_drained(const engine_t *self)
{
    bool sent = false;
    for (int i = 0; i < LANES; i++)
        sent = sent || self->lanes[i].sent;
    return self->draining && !sent && self->number == 0 && self->owned == 0 && insert_waiting(self) == 0;
}

engine_stats_t
engine_stats(const engine_t *self)
{
    engine_stats_t stats = self->stats;
    stats.joined = lease_valid(self);
    stats.owned = self->owned;
    stats.running = 0;
    for (uint32_t i = 0; i < self->queue_count; i++)
        stats.running += self->queues[i]->calling;
    stats.waiting_inserts = self->insert_count;
    stats.waiting_finishes = self->row_count;
    return stats;
}
