/* engine_insert - enqueues wait for their turn, become rows of an INSERT and are answered after its commit */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine_core.h"

static void
s_row_clear(insert_row_t *row)
{
    job_destroy(&row->job);
    weft_buf_fini(&row->unique_key);
    weft_buf_fini(&row->idem_scope);
    weft_buf_fini(&row->idem_key);
}

static waiting_insert_t *
s_at(const engine_t *self, uint32_t place)
{
    return &self->inserts[(self->insert_first + place) & (self->insert_room - 1)];
}

/* The ring has room for one more; it doubles. */
static bool
s_room(engine_t *self)
{
    if (self->insert_count < self->insert_room)
        return true;
    const uint32_t room = self->insert_room ? self->insert_room * 2 : 64;
    waiting_insert_t *larger = calloc(room, sizeof *larger);
    if (!larger)
        return false;
    for (uint32_t i = 0; i < self->insert_count; i++)
        larger[i] = *s_at(self, i);
    free(self->inserts);
    self->inserts = larger;
    self->insert_first = 0;
    self->insert_room = room;
    return true;
}

static void
s_pop(engine_t *self, waiting_insert_t *popped)
{
    *popped = *s_at(self, 0);
    self->bytes -= popped->bytes;
    self->insert_first = (self->insert_first + 1) & (self->insert_room - 1);
    self->insert_count--;
}

static int64_t
s_patience_us(const engine_t *self)
{
    return INT64_C(1000) * (self->lanes[LANE_INSERT].down ? ENGINE_WAIT_DOWN_MS : ENGINE_WAIT_MS);
}

/* When the one that waits longest has waited long enough. */
static void
s_rearm(engine_t *self)
{
    if (self->insert_count > 0)
        deadlines_set(&self->deadlines, &self->insert_deadline, s_at(self, 0)->at + s_patience_us(self));
    else
        deadlines_clear(&self->deadlines, &self->insert_deadline);
}

static void
s_answer(engine_t *self, void *context, weft_status_t status, bool maybe, insert_end_t end, int64_t id)
{
    if (status != WEFT_OK)
        self->stats.refused++;
    self->events.enqueued(self->events.context, context, status, maybe, end, id);
}

void
engine_enqueue(engine_t *self, insert_row_t *row, int64_t now_us)
{
    engine_at(self, now_us);
    const engine_lane_t *lane = &self->lanes[LANE_INSERT];
    weft_status_t status = WEFT_OK;
    const size_t bytes = row->job->input.capacity + row->job->options.capacity + row->job->key.capacity;
    if (self->draining || (lane->down && self->now - lane->down_at >= s_patience_us(self)))
        status = WEFT_UNAVAILABLE;
    else if (self->insert_count >= self->config.inserts_max ||
             (self->insert_count > 0 && self->bytes + bytes > self->config.bytes_max) || !s_room(self))
        status = WEFT_RESOURCE_EXHAUSTED;
    if (status != WEFT_OK) {
        s_answer(self, row->context, status, false, INSERT_BAD, 0);
        s_row_clear(row);
        return;
    }
    *s_at(self, self->insert_count) = (waiting_insert_t){ .row = *row, .at = self->now, .bytes = bytes };
    self->insert_count++;
    self->bytes += bytes;
    memset(row, 0, sizeof *row); /* its contents are ours */
    if (self->insert_count == 1)
        s_rearm(self);
}

void
insert_expire(engine_t *self)
{
    waiting_insert_t popped;
    while (self->insert_count > 0 && s_at(self, 0)->at + s_patience_us(self) <= self->now) {
        s_pop(self, &popped);
        s_answer(self, popped.row.context, WEFT_UNAVAILABLE, false, INSERT_BAD, 0);
        s_row_clear(&popped.row);
    }
    s_rearm(self);
}

/* Born running, when a worker here has room for it; its attempt, or NULL. */
static attempt_t *
s_lease(engine_t *self, insert_row_t *row)
{
    const job_t *job = row->job;
    queue_t *queue = queues_get(self, job->queue);
    if (!queue || row->delay_ms > 0 || row->run_at_us != INT64_MIN ||
        !queues_takes_newborn(self, queue, job->priority, job->key.size > 0))
        return NULL;
    /* The job goes with the batch; this one stands for it until the commit. */
    job_t *stand_in = job_new(0, 1);
    if (!stand_in)
        return NULL;
    stand_in->queue = job->queue;
    stand_in->method = job->method;
    stand_in->priority = job->priority;
    (void) weft_buf_add(&stand_in->key, job->key.data, job->key.size);
    if (stand_in->key.failed) {
        job_destroy(&stand_in);
        return NULL;
    }
    attempt_t *attempt = attempts_add(self, queue, &stand_in, ATTEMPT_INSERTING);
    if (!attempt) {
        job_destroy(&stand_in);
        return NULL;
    }
    if (!keys_take(self, attempt)) {
        attempts_drop(self, attempt);
        return NULL;
    }
    return attempt;
}

batch_t *
insert_take(engine_t *self)
{
    if (self->insert_count == 0)
        return NULL;
    const uint32_t most = self->insert_count < self->config.batch_max ? self->insert_count
                                                                      : self->config.batch_max;
    if (!engine_grow((void **) &self->insert_sent, &self->insert_sent_room, most, sizeof(attempt_ref_t)))
        return NULL;
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, self->number);
    if (!batch)
        return NULL;
    /* While it is looked for what lost commits have left, nothing is born running: it would look the same. */
    const bool may_lease = !self->recover_due && !self->recovering;
    size_t bytes = 0;
    while (batch->insert_count < most && bytes < ENGINE_BATCH_BYTES) {
        insert_row_t *row = batch_add_insert(batch);
        if (!row)
            break;
        waiting_insert_t popped;
        s_pop(self, &popped);
        *row = popped.row;
        bytes += popped.bytes;
        const attempt_t *attempt = may_lease ? s_lease(self, row) : NULL;
        row->leased = attempt != NULL;
        self->insert_leased += row->leased;
        self->insert_sent[batch->insert_count - 1] = attempt ? (attempt_ref_t){ attempt->slot,
                                                                                attempt->generation, true }
                                                             : (attempt_ref_t){ 0 };
    }
    s_rearm(self);
    if (batch->insert_count == 0)
        batch_destroy(&batch);
    return batch;
}

/* The row is committed: its job is ours, or waits in the database. */
static void
s_created(engine_t *self, const batch_t *batch, insert_row_t *row, attempt_t *attempt)
{
    self->stats.enqueued++;
    job_t *job = row->job;
    if (attempt && batch->owner == self->number) {
        /* The stand-in gives way to the job itself. */
        attempts_set_state(self, attempt, ATTEMPT_ENDING, false);
        job_destroy(&attempt->job);
        attempt->job = job;
        row->job = NULL;
        job->id = row->id;
        job->fence = 1;
        job->attempts = 1;
        attempts_weigh(self, attempt);
        if (attempts_named(self, attempt))
            queues_place(self, attempt, false);
        else
            attempts_drop(self, attempt); /* without memory; RECOVER brings it back */
        return;
    }
    if (attempt)
        attempts_drop(self, attempt);
    queue_t *queue = queues_get(self, job->queue);
    if (!queue || row->leased)
        return; /* leased by a number that we lost: others find it */
    const int64_t clock = lease_clock(self, self->now);
    if (row->delay_ms > 0 || row->run_at_us != INT64_MIN) {
        int64_t wait_us = row->delay_ms * 1000;
        if (row->run_at_us != INT64_MIN)
            wait_us = clock == INT64_MIN || row->run_at_us < clock ? 0 : row->run_at_us - clock;
        if (wait_us <= INT64_MAX - self->now)
            lease_promote_at(self, self->now + wait_us);
        if (wait_us > 0)
            return;
    }
    queues_want(self, queue, job->priority, lease_clock(self, self->lanes[LANE_INSERT].sent_at));
}

void
insert_done(engine_t *self, batch_t *batch)
{
    self->insert_leased = 0;
    if (batch->end != BATCH_OK) {
        const bool lost = batch->end == BATCH_LOST;
        bool leased = false;
        for (uint32_t i = 0; i < batch->insert_count; i++) {
            insert_row_t *row = &batch->inserts[i];
            attempt_t *attempt = attempts_by_ref(self, self->insert_sent[i]);
            if (attempt)
                attempts_drop(self, attempt);
            leased = leased || row->leased;
            queue_t *queue = queues_get(self, row->job->queue);
            if (lost && queue && !row->leased)
                queues_look(self, queue);
            /* Class 22, 23, 54: it is the row that the database does not want. */
            const bool bad = !lost &&
                             (!strncmp(batch->sqlstate, "22", 2) || !strncmp(batch->sqlstate, "23", 2) ||
                              !strncmp(batch->sqlstate, "54", 2));
            s_answer(self, row->context, bad ? WEFT_INTERNAL : WEFT_UNAVAILABLE, lost, INSERT_BAD, 0);
        }
        if (lost && leased)
            claim_recover(self);
        queues_begin_all(self);
        return;
    }
    for (uint32_t i = 0; i < batch->insert_count; i++) {
        insert_row_t *row = &batch->inserts[i];
        attempt_t *attempt = attempts_by_ref(self, self->insert_sent[i]);
        void *context = row->context;
        const insert_end_t end = row->end;
        const int64_t id = row->id;
        queue_t *queue = attempt ? attempt->queue : NULL;
        if (end == INSERT_CREATED) {
            s_created(self, batch, row, attempt);
        } else {
            self->stats.deduplicated += end == INSERT_EXISTING;
            if (attempt)
                attempts_drop(self, attempt);
        }
        s_answer(self, context, end == INSERT_BAD ? WEFT_INTERNAL : WEFT_OK, false, end, id);
        if (queue)
            queues_begin(self, queue);
    }
}

uint32_t
insert_waiting(const engine_t *self)
{
    return self->insert_count;
}

void
insert_fini(engine_t *self)
{
    waiting_insert_t popped;
    while (self->insert_count > 0) {
        s_pop(self, &popped);
        s_row_clear(&popped.row);
    }
    free(self->inserts);
    free(self->insert_sent);
}
