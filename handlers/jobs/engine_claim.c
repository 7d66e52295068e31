/* engine_claim - which queues are asked for jobs, how many of which priority, from which time on */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine_core.h"

/* After a lost commit it is looked for what it left at once, and again: it may still have been on its way. */
static const int64_t RECOVER_AGAIN_MS[] = { 1000, 5000, 30000 };
enum { RECOVER_STEPS = sizeof RECOVER_AGAIN_MS / sizeof *RECOVER_AGAIN_MS };

void
claim_recover(engine_t *self)
{
    self->recover_due = true;
    self->recover_step = 0;
    deadlines_clear(&self->deadlines, &self->recover_deadline);
}

static batch_t *
s_take_recover(engine_t *self)
{
    /* What is being inserted running has no id that we know. */
    if (self->insert_leased > 0)
        return NULL;
    batch_t *batch = batch_new(BATCH_RECOVER, LANE_CLAIM, self->number);
    if (!batch)
        return NULL;
    if (self->owned > 0 && !(batch->known = calloc(self->owned, sizeof *batch->known))) {
        batch_destroy(&batch);
        return NULL;
    }
    for (uint32_t i = 0; i < self->slots; i++) {
        const attempt_t *attempt = attempts_at(self, i);
        if (attempt->state != ATTEMPT_FREE && !attempt->superseded) {
            assert(batch->known_count < self->owned);
            batch->known[batch->known_count++] = attempt->job->id;
        }
    }
    self->recover_due = false;
    self->recovering = true;
    return batch;
}

/* Adds what to ask of one queue; false when the batch is full. */
static bool
s_ask(engine_t *self, batch_t *batch, queue_t *queue, uint32_t *left)
{
    uint32_t room = queues_room(self, queue);
    if (room > *left)
        room = *left;
    uint32_t mask = 0;
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        if (queue->queued[i] || queue->look[i])
            mask |= 1u << i;
    if (room == 0 || mask == 0)
        return true;
    uint32_t shares[JOB_PRIORITIES];
    weights_deal(&queue->claim_turns, mask, room, shares);
    for (uint8_t i = 0; i < JOB_PRIORITIES; i++) {
        if (shares[i] == 0)
            continue;
        if (batch->ask_count == ENGINE_ASKS_MAX)
            return false;
        batch->asks[batch->ask_count++] = (claim_ask_t){
            .queue = queue->config.queue,
            .priority = i,
            .limit = shares[i],
            .since_us = queue->look[i] ? INT64_MIN : queue->since_us[i],
        };
        self->looks_sent += queue->look[i];
        queue->queued[i] = queue->look[i] = false;
        queue->floor_us[i] = INT64_MAX;
        self->claiming += shares[i];
        *left -= shares[i];
    }
    return true;
}

batch_t *
claim_take(engine_t *self)
{
    if (self->number == 0 || !lease_valid(self))
        return NULL;
    if (self->recover_due)
        return s_take_recover(self);
    if (list_empty(&self->hungry) || self->draining)
        return NULL;
    batch_t *batch = batch_new(BATCH_CLAIM, LANE_CLAIM, self->number);
    if (!batch || !(batch->asks = calloc(ENGINE_ASKS_MAX, sizeof *batch->asks))) {
        batch_destroy(&batch);
        return NULL;
    }
    uint32_t left = self->config.batch_max;
    self->looks_sent = 0;
    /* Who was asked goes behind the others: the one with most must not keep the rest from theirs. */
    list_t asked;
    list_init(&asked);
    LIST_EACH(link, following, &self->hungry)
    {
        queue_t *queue = LIST_ITEM(link, queue_t, hungry);
        if (!queues_runs(self, queue) || queue->unkept) {
            list_remove(link); /* queues_wake puts it back */
            continue;
        }
        const uint32_t before = batch->ask_count;
        const bool more = s_ask(self, batch, queue, &left);
        if (batch->ask_count > before) {
            list_remove(link);
            if (queues_hungry(queue))
                list_add(&asked, link);
        }
        if (!more || left == 0)
            break;
    }
    list_link_t *link = NULL;
    while ((link = list_first(&asked)) != NULL) {
        list_remove(link);
        list_add(&self->hungry, link);
    }
    if (batch->ask_count == 0)
        batch_destroy(&batch);
    return batch;
}

/* The job is ours: it is called, waits or ends. */
static void
s_accept(engine_t *self, job_t **job_p)
{
    queue_t *queue = queues_get(self, (*job_p)->queue);
    if ((*job_p)->priority >= JOB_PRIORITIES)
        (*job_p)->priority = JOB_PRIORITIES - 1;
    attempt_t *attempt = queue ? attempts_add(self, queue, job_p, ATTEMPT_ENDING) : NULL;
    if (!attempt)
        return; /* without memory; RECOVER brings it back */
    if (attempts_named(self, attempt))
        queues_place(self, attempt, false);
    else
        attempts_drop(self, attempt);
}

static void
s_asked(engine_t *self, const claim_ask_t *ask, bool ok)
{
    queue_t *queue = queues_get(self, ask->queue);
    if (!queue)
        return;
    self->claiming -= ask->limit;
    const uint8_t priority = ask->priority;
    if (!ok) {
        queues_look(self, queue);
        return;
    }
    if (ask->taken > 0)
        queue->since_us[priority] = ask->last_us < queue->floor_us[priority] ? ask->last_us
                                                                             : queue->floor_us[priority];
    queue->floor_us[priority] = INT64_MAX;
    if (ask->taken >= ask->limit)
        queues_want(self, queue, priority, INT64_MAX);
}

void
claim_done(engine_t *self, batch_t *batch)
{
    const bool ok = batch->end == BATCH_OK;
    const bool ours = batch->owner == self->number;
    if (batch->kind == BATCH_RECOVER) {
        self->recovering = false;
        if (!ours) {
            /* of a lease that is lost: JOIN has set everything anew */
        } else if (!ok) {
            self->recover_due = true;
        } else {
            self->stats.recovered += batch->job_count;
            const int64_t wait_ms = self->recover_step < RECOVER_STEPS
                                        ? RECOVER_AGAIN_MS[self->recover_step++]
                                        : ENGINE_RECOVER_MS;
            if (!self->recover_due)
                deadlines_set(&self->deadlines, &self->recover_deadline, self->now + wait_ms * 1000);
        }
    } else {
        for (uint32_t i = 0; i < batch->ask_count; i++)
            s_asked(self, &batch->asks[i], ok);
        if (self->looks_sent > 0)
            self->look_cost += self->now - self->lanes[LANE_CLAIM].sent_at;
        if (batch->end == BATCH_LOST)
            claim_recover(self);
    }
    if (!ok || !ours || batch->job_count == 0)
        return;
    for (uint32_t i = 0; i < batch->job_count; i++)
        if (batch->jobs[i])
            s_accept(self, &batch->jobs[i]);
    queues_begin_all(self);
}

void
claim_look_tick(engine_t *self)
{
    /* A process that was stopped for a while takes that for the cost of what it had asked. */
    const int64_t most = ENGINE_LOOK_MAX_MS * INT64_C(1000);
    const int64_t wanted = ENGINE_LOOK_COST * self->look_cost;
    const int64_t after = self->look_at + (wanted < most ? wanted : most);
    if (after > self->now) {
        deadlines_set(&self->deadlines, &self->look_deadline, after);
        return;
    }
    self->look_at = self->now;
    self->look_cost = 0;
    for (uint32_t i = 0; i < self->queue_count; i++) {
        self->queues[i]->unkept = false;
        queues_look(self, self->queues[i]);
    }
    const int64_t least = ENGINE_LOOK_MS * INT64_C(1000);
    deadlines_set(&self->deadlines, &self->look_deadline,
                  self->now + least + engine_jitter(self, least / 10));
}
