/* engine_finish - what ends attempts, and progress, goes to the database; what was lost goes again */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine_core.h"

void
finish_row_clear(finish_row_t *row)
{
    weft_buf_fini(&row->value);
    weft_buf_fini(&row->meta);
    weft_buf_fini(&row->error);
    weft_buf_fini(&row->errors);
    weft_buf_fini(&row->release_key);
}

finish_row_t *
finish_row(engine_t *self, attempt_t *attempt, finish_kind_t kind)
{
    assert(!attempt->row_sent);
    if (attempt->state != ATTEMPT_ENDING)
        attempts_set_state(self, attempt, ATTEMPT_ENDING, false);
    finish_row_clear(&attempt->row);
    attempt->row = (finish_row_t){ .kind = kind,
                                   .id = attempt->job->id,
                                   .fence = attempt->job->fence,
                                   .queue = attempt->job->queue,
                                   .released_us = INT64_MAX };
    return &attempt->row;
}

void
finish_queue(engine_t *self, attempt_t *attempt)
{
    assert(attempt->state == ATTEMPT_ENDING && !attempt->row_sent && !attempt->row_parked);
    list_discard(&attempt->progress_link);
    deadlines_clear(&self->deadlines, &attempt->deadline);
    attempts_weigh(self, attempt);
    if (!list_linked(&attempt->row_link)) {
        list_add(&self->rows, &attempt->row_link);
        self->row_count++;
    }
}

void
finish_give_back(engine_t *self, attempt_t *attempt, finish_kind_t kind)
{
    finish_row(self, attempt, kind);
    attempts_let_go(self, attempt);
    finish_queue(self, attempt);
}

/* The key of a job that is no longer ours: who is held for it may come, unless enough are at hand. */
static void
s_release_key(const engine_t *self, const attempt_t *attempt, finish_row_t *row)
{
    const weft_buf_t *key = &attempt->job->key;
    const bool leaves = row->kind == FINISH_DONE || row->kind == FINISH_LATER || row->kind == FINISH_RELEASE;
    if (key->size == 0 || !leaves || row->release_key.size > 0 || !keys_hungry(self, attempt))
        return;
    weft_buf_init(&row->release_key, key->size);
    (void) weft_buf_add(&row->release_key, key->data, key->size);
}

static void
s_sent(engine_t *self, const batch_t *batch, const attempt_t *attempt)
{
    self->finish_sent[batch->finish_count - 1] = (attempt_ref_t){ attempt->slot, attempt->generation, true };
}

static void
s_take_progress(engine_t *self, batch_t *batch, uint32_t most)
{
    while (!list_empty(&self->progresses) && batch->finish_count < most) {
        attempt_t *attempt = LIST_ITEM(list_first(&self->progresses), attempt_t, progress_link);
        finish_row_t *row = batch_add_finish(batch);
        if (!row)
            return;
        list_remove(&attempt->progress_link);
        *row = (finish_row_t){ .kind = FINISH_PROGRESS,
                               .id = attempt->job->id,
                               .fence = attempt->job->fence,
                               .queue = attempt->job->queue,
                               .sequence = attempt->sequence,
                               .released_us = INT64_MAX };
        weft_buf_init(&row->value, ENGINE_RESULT_MAX);
        (void) weft_buf_add(&row->value, attempt->progress.data, attempt->progress.size);
        attempt->sequence_written = attempt->sequence;
        attempt->progress_at = self->now;
        s_sent(self, batch, attempt);
    }
}

batch_t *
finish_take(engine_t *self)
{
    if ((list_empty(&self->rows) && list_empty(&self->progresses)) || self->number == 0)
        return NULL;
    if (!engine_grow((void **) &self->finish_sent, &self->finish_sent_room, self->config.batch_max,
                     sizeof(attempt_ref_t)))
        return NULL;
    batch_t *batch = batch_new(BATCH_FINISH, LANE_FINISH, self->number);
    if (!batch)
        return NULL;
    /* Ends first wait for nothing; progress has at most a quarter where there are ends. */
    const uint32_t most = self->finish_limit;
    s_take_progress(self, batch, list_empty(&self->rows) ? most : most / 4);
    size_t bytes = 0;
    while (!list_empty(&self->rows) && batch->finish_count < most && bytes < ENGINE_BATCH_BYTES) {
        attempt_t *attempt = LIST_ITEM(list_first(&self->rows), attempt_t, row_link);
        finish_row_t *row = batch_add_finish(batch);
        if (!row)
            break;
        list_remove(&attempt->row_link);
        self->row_count--;
        s_release_key(self, attempt, &attempt->row);
        bytes += attempt->row.value.size + attempt->row.error.size + attempt->row.errors.size;
        *row = attempt->row;
        row->applied = row->blocked = false;
        row->released_us = INT64_MAX;
        attempt->row = (finish_row_t){ .kind = row->kind };
        attempt->row_sent = true;
        s_sent(self, batch, attempt);
    }
    if (batch->finish_count == 0)
        batch_destroy(&batch);
    return batch;
}

static void
s_count_end(engine_t *self, const finish_row_t *row)
{
    self->stats.succeeded += row->state == JOB_SUCCEEDED;
    self->stats.failed += row->state == JOB_FAILED;
    self->stats.cancelled += row->state == JOB_CANCELLED;
}

/* Ours again, as the attempt that the commit made of it. */
static void
s_begun_anew(engine_t *self, attempt_t *attempt, finish_row_t *row)
{
    job_t *job = attempt->job;
    job->fence = row->new_fence;
    job->attempts = row->attempts;
    job->lost = (int16_t) (job->lost + row->uncounted);
    weft_buf_fini(&job->errors);
    job->errors = row->errors;
    row->errors = (weft_buf_t){ 0 };
    attempts_weigh(self, attempt);
    attempt->row_resent = false;
    attempt->row_degraded = 0;
    if (attempt->holds) {
        attempt->holds = false;
        attempt->queue->holding--;
    }
    self->stats.retried++;
    self->events.changed(self->events.context, job->id, false);
    queues_place(self, attempt, true);
}

/* Another transaction has the row: the handler is about to complete the job, or stopped in the midst of it.
 */
static void
s_park(engine_t *self, attempt_t *attempt, finish_row_t *row)
{
    attempt->row = *row;
    *row = (finish_row_t){ .kind = row->kind };
    /* What would have freed it may have passed it by now: better claimed once more than held for ever. */
    if (attempt->row.kind == FINISH_HOLD)
        attempt->row.kind = FINISH_RELEASE;
    attempt->row_parked = true;
    deadlines_set(&self->deadlines, &attempt->deadline, self->now + ENGINE_BLOCKED_MS * INT64_C(1000));
}

void
finish_unpark(engine_t *self, attempt_t *attempt)
{
    attempt->row_parked = false;
    finish_queue(self, attempt);
}

static void
s_row_done(engine_t *self, finish_row_t *row, attempt_t *attempt)
{
    queue_t *queue = queues_get(self, row->queue);
    if (row->released_us != INT64_MAX && queue)
        for (uint8_t i = 0; i < JOB_PRIORITIES; i++)
            queues_want(self, queue, i, row->released_us);
    const bool resent = attempt && attempt->row_resent;
    if (!row->applied && row->blocked) {
        if (attempt && row->kind != FINISH_PROGRESS)
            s_park(self, attempt, row);
        return;
    }
    if (!row->applied) {
        /* One that was sent before may have been done then. */
        if (!resent)
            self->stats.fence_rejections++;
        if (row->kind == FINISH_PROGRESS)
            return;
        self->events.changed(self->events.context, row->id, false);
        if (attempt && row->kind == FINISH_AGAIN && resent)
            claim_recover(self); /* it may run as ours with a fence that we were not told */
        if (attempt)
            attempts_drop(self, attempt);
        return;
    }
    const bool superseded = attempt && attempt->superseded;
    switch (row->kind) {
    case FINISH_DONE:
        s_count_end(self, row);
        self->events.changed(self->events.context, row->id, true);
        break;
    case FINISH_AGAIN:
        if (attempt && !superseded) {
            s_begun_anew(self, attempt, row);
            return;
        }
        break;
    case FINISH_LATER:
        self->stats.retried++;
        lease_promote_at(self, self->now + row->delay_ms * 1000);
        self->events.changed(self->events.context, row->id, false);
        break;
    case FINISH_RELEASE:
        self->stats.released++;
        /* One whose key nobody counts yet waits for the next full look. */
        if (attempt && queue && (attempt->job->key.size == 0 || queue->config.keeper == self->number))
            queues_want(self, queue, attempt->job->priority,
                        lease_clock(self, self->lanes[LANE_FINISH].sent_at));
        break;
    case FINISH_HOLD:
        self->stats.held++;
        break;
    case FINISH_PROGRESS:
        if (attempt && attempt->state == ATTEMPT_CALLING && attempt->sequence != attempt->sequence_written)
            deadlines_set(&self->deadlines, &attempt->deadline, attempt->progress_at + PROGRESS_US);
        return;
    }
    if (attempt)
        attempts_drop(self, attempt);
}

/* Takes out what the database perhaps does not want to store, so that the end of the job can be. */
static void
s_degrade(engine_t *self, attempt_t *attempt)
{
    finish_row_t *row = &attempt->row;
    if (attempt->row_degraded == 0 && row->kind == FINISH_DONE && row->state == JOB_SUCCEEDED) {
        weft_buf_fini(&row->value);
        weft_buf_fini(&row->meta);
    } else {
        weft_buf_fini(&row->errors);
        weft_buf_fini(&row->error);
        weft_buf_fini(&row->meta);
        weft_buf_fini(&row->value);
    }
    attempt->row_degraded = 1;
    attempts_weigh(self, attempt);
}

/* Back to where they came from, in their order, before those that came since. */
static void
s_take_back(engine_t *self, batch_t *batch)
{
    const bool lost = batch->end == BATCH_LOST;
    const bool bad = !lost && (!strncmp(batch->sqlstate, "22", 2) || !strncmp(batch->sqlstate, "23", 2) ||
                               !strncmp(batch->sqlstate, "54", 2));
    for (uint32_t i = batch->finish_count; i-- > 0;) {
        finish_row_t *row = &batch->finishes[i];
        attempt_t *attempt = attempts_by_ref(self, self->finish_sent[i]);
        if (!attempt)
            continue;
        if (row->kind == FINISH_PROGRESS) {
            attempt->sequence_written = -1; /* not known to be written */
            if (attempt->state == ATTEMPT_CALLING && !bad)
                deadlines_set(&self->deadlines, &attempt->deadline, attempt->progress_at + PROGRESS_US);
            continue;
        }
        attempt->row = *row;
        attempt->row_sent = false;
        *row = (finish_row_t){ .kind = row->kind };
        attempt->row_resent = attempt->row_resent || lost;
        if (bad && batch->finish_count == 1)
            s_degrade(self, attempt);
        list_insert(self->rows.next, &attempt->row_link);
        self->row_count++;
    }
    if (bad)
        self->finish_limit = batch->finish_count > 1 ? batch->finish_count / 2 : 1;
}

void
finish_done(engine_t *self, batch_t *batch)
{
    if (batch->end != BATCH_OK) {
        s_take_back(self, batch);
        return;
    }
    if (self->finish_limit < self->config.batch_max)
        self->finish_limit = self->finish_limit * 2 < self->config.batch_max ? self->finish_limit * 2
                                                                             : self->config.batch_max;
    for (uint32_t i = 0; i < batch->finish_count; i++) {
        attempt_t *attempt = attempts_by_ref(self, self->finish_sent[i]);
        if (attempt && batch->finishes[i].kind != FINISH_PROGRESS)
            attempt->row_sent = false;
        queue_t *queue = attempt ? attempt->queue : NULL;
        s_row_done(self, &batch->finishes[i], attempt);
        if (queue)
            queues_begin(self, queue);
    }
}
