/* engine_queues - the queue of each service: whether it runs, how much it takes over, what begins next */
#include <assert.h>
#include <stdlib.h>

#include "engine_core.h"

enum { BACKOFF_MS = 100, BACKOFF_MAX_MS = 2000 };

queue_t *
queues_get(engine_t *self, int32_t number)
{
    uint32_t at = 0;
    if (id_table_find(&self->queue_ids, (uint32_t) number, &at))
        return self->queues[at];
    if (!engine_grow((void **) &self->queues, &self->queue_room, self->queue_count + 1, sizeof(queue_t *)) ||
        !engine_reserve(self))
        return NULL;
    queue_t *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    if (!id_table_add(&self->queue_ids, (uint32_t) number, self->queue_count)) {
        free(queue);
        return NULL;
    }
    queue->config.queue = number;
    for (int i = 0; i < JOB_PRIORITIES; i++) {
        list_init(&queue->ready[i]);
        queue->since_us[i] = INT64_MIN;
        queue->floor_us[i] = INT64_MAX;
    }
    queue->backoff.kind = TIMER_QUEUE;
    self->queues[self->queue_count++] = queue;
    return queue;
}

void
queues_fini(engine_t *self)
{
    for (uint32_t i = 0; i < self->queue_count; i++)
        free(self->queues[i]);
    free(self->queues);
    id_table_fini(&self->queue_ids);
}

/* Limits are kept by one process only. */
static bool
s_ours(const engine_t *self, const queue_t *queue)
{
    return queue->config.keeper == 0 || queue->config.keeper == self->number;
}

bool
queues_runs(const engine_t *self, const queue_t *queue)
{
    return !self->draining && lease_valid(self) && !queue->config.paused && queue->config.workers > 0 &&
           s_ours(self, queue) && queue->backoff.place == 0;
}

/* Those with a key run only where the key is counted; until the queue has a keeper, nowhere. */
static bool
s_uncounted(const engine_t *self, const attempt_t *attempt)
{
    return attempt->job->key.size > 0 && attempt->queue->config.keeper != self->number;
}

/* Jobs at hand: those under way and a stock. */
static uint32_t
s_aim(const engine_t *self, const queue_t *queue)
{
    uint32_t size = queue->window.size;
    if (queue->config.concurrency > 0 && queue->config.concurrency < size)
        size = queue->config.concurrency;
    return size + window_stock(&queue->window, self->now);
}

static uint32_t
s_less(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t
s_left(const engine_t *self)
{
    const uint32_t taken = self->owned + self->claiming;
    if (self->bytes >= self->config.bytes_max || taken >= self->config.memory_max)
        return 0;
    return self->config.memory_max - taken;
}

uint32_t
queues_room(const engine_t *self, const queue_t *queue)
{
    const uint32_t aim = s_aim(self, queue);
    const uint32_t at_hand = queue->inserting + queue->ready_count + queue->calling;
    return aim > at_hand ? s_less(aim - at_hand, s_left(self)) : 0;
}

static uint32_t
s_queued_mask(const queue_t *queue)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        if (queue->queued[i])
            mask |= 1u << i;
    return mask;
}

bool
queues_takes_newborn(const engine_t *self, const queue_t *queue, uint8_t priority, bool keyed)
{
    if (keyed && queue->config.keeper != self->number)
        return false;
    if (!queues_runs(self, queue) || queue->queued[priority] || queues_room(self, queue) == 0)
        return false;
    const uint32_t mask = s_queued_mask(queue);
    /* Those who wait in the database must not be kept there by those who come straight in. */
    return mask == 0 || queue->at_hand[priority] < weights_share(mask, priority, s_aim(self, queue));
}

void
queues_place(engine_t *self, attempt_t *attempt, bool front)
{
    queue_t *queue = attempt->queue;
    const job_t *job = attempt->job;
    if (attempt->cancel || job->flags & JOB_FLAG_CANCEL) {
        replies_end_cancelled(self, attempt);
    } else if (job->attempts > job->max_attempts) {
        replies_end_failed(self, attempt, WEFT_ABORTED, "all attempts ended without an answer");
    } else if (self->draining || queue->config.paused || !s_ours(self, queue) || s_uncounted(self, attempt)) {
        queue->unkept = s_uncounted(self, attempt) && s_ours(self, queue);
        finish_give_back(self, attempt, FINISH_RELEASE);
    } else if (attempt->holds_key || keys_take(self, attempt)) {
        attempts_set_state(self, attempt, ATTEMPT_READY, front);
    } else if (!keys_wait(self, attempt)) {
        finish_give_back(self, attempt, FINISH_HOLD);
    }
}

static attempt_t *
s_next(queue_t *queue)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        if (!list_empty(&queue->ready[i]))
            mask |= 1u << i;
    if (mask == 0)
        return NULL;
    return LIST_ITEM(list_first(&queue->ready[weights_pick(&queue->begin_turns, mask)]), attempt_t, link);
}

void
queues_begin(engine_t *self, queue_t *queue)
{
    while (queue->ready_count > 0 && queues_runs(self, queue) && queue->calling < queue->window.size &&
           (queue->config.concurrency == 0 || queue->holding < queue->config.concurrency)) {
        attempt_t *attempt = s_next(queue);
        attempts_set_state(self, attempt, ATTEMPT_CALLING, false);
        attempt->generation = attempt->generation + 1 ? attempt->generation + 1 : 1;
        attempt->holds = true;
        queue->holding++;
        attempt->began_at = self->now;
        attempt->sequence = attempt->sequence_written = 0;
        window_begun(&queue->window, self->now);
        self->stats.begun++;
        self->events.call(self->events.context, attempts_token(attempt), attempt->job);
    }
}

void
queues_begin_all(engine_t *self)
{
    for (uint32_t i = 0; i < self->queue_count; i++)
        queues_begin(self, self->queues[i]);
}

void
queues_release(engine_t *self, queue_t *queue)
{
    /* First those that wait for a key: else they would become ready one by one as others give theirs back. */
    for (uint32_t i = 0; queue->waiting > 0 && i < self->slots; i++) {
        attempt_t *attempt = attempts_at(self, i);
        if (attempt->state == ATTEMPT_WAITING && attempt->queue == queue)
            finish_give_back(self, attempt, FINISH_RELEASE);
    }
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++) {
        list_link_t *link = NULL;
        while ((link = list_first(&queue->ready[i])) != NULL)
            finish_give_back(self, LIST_ITEM(link, attempt_t, link), FINISH_RELEASE);
    }
}

bool
queues_hungry(const queue_t *queue)
{
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        if (queue->queued[i] || queue->look[i])
            return true;
    return false;
}

void
queues_wake(engine_t *self, queue_t *queue)
{
    if (!list_linked(&queue->hungry) && queues_hungry(queue))
        list_add(&self->hungry, &queue->hungry);
    queues_begin(self, queue);
}

void
queues_wake_all(engine_t *self)
{
    for (uint32_t i = 0; i < self->queue_count; i++)
        queues_wake(self, self->queues[i]);
}

void
queues_want(engine_t *self, queue_t *queue, uint8_t priority, int64_t since_us)
{
    assert(priority < JOB_PRIORITIES);
    queue->queued[priority] = true;
    if (since_us < queue->since_us[priority])
        queue->since_us[priority] = since_us;
    if (since_us < queue->floor_us[priority])
        queue->floor_us[priority] = since_us;
    if (!list_linked(&queue->hungry))
        list_add(&self->hungry, &queue->hungry);
}

void
queues_look(engine_t *self, queue_t *queue)
{
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++)
        queue->look[i] = true;
    if (!list_linked(&queue->hungry))
        list_add(&self->hungry, &queue->hungry);
}

void
queues_back_off(engine_t *self, queue_t *queue, int64_t began_at)
{
    if (began_at < queue->backoff_from)
        return;
    queue->backoff_ms = queue->backoff_ms == 0                   ? BACKOFF_MS
                        : queue->backoff_ms < BACKOFF_MAX_MS / 2 ? queue->backoff_ms * 2
                                                                 : BACKOFF_MAX_MS;
    const int64_t wait = queue->backoff_ms * INT64_C(1000);
    queue->backoff_from = self->now + wait / 2 + engine_jitter(self, wait / 2);
    deadlines_set(&self->deadlines, &queue->backoff, queue->backoff_from);
}
