/* database - a model of what PostgreSQL holds: each batch of handlers/jobs/batch.h done at once, at one
 * moment */
#include <stdlib.h>
#include <string.h>

#include "sim-jobs/sim.h"

int64_t
database_clock(const sim_t *self)
{
    return self->db_offset + self->now;
}

row_t *
database_row(sim_t *self, int64_t id)
{
    SIM_REQUIRE(self, id > 0 && id <= self->row_count, "job %lld was never made", (long long) id);
    return &self->rows[id];
}

static void
s_done(sim_t *self, int64_t id, job_state_t state)
{
    row_t *row = database_row(self, id);
    row->live = false;
    row->done_count++;
    row->done_state = state;
    row->done_fence = row->fence;
    if (row->unique && self->uniques[row->unique] == id)
        self->uniques[row->unique] = 0;
    TRACE(self, "job %lld is done: %s", (long long) id, job_state_name(state));
}

/* ---- INSERT */

static void
s_insert_row(sim_t *self, const batch_t *batch, insert_row_t *insert)
{
    uint32_t request = 0;
    memcpy(&request, insert->job->input.data, sizeof request);
    const uint32_t unique = insert->unique_key.size ? (uint32_t) insert->unique_key.data[0] : 0;
    const uint32_t idem = insert->idem_key.size ? (uint32_t) insert->idem_key.data[0] : 0;
    uint32_t content = self->requests[request].content;
    if (idem && self->idems[idem].id) {
        insert->end = self->idems[idem].content == content ? INSERT_EXISTING : INSERT_MISMATCH;
        insert->id = self->idems[idem].id;
        return;
    }
    if (unique && self->uniques[unique]) {
        insert->end = INSERT_EXISTING;
        insert->id = self->uniques[unique];
        return;
    }
    SIM_REQUIRE(self, self->row_count < ROWS_MAX, "too many jobs");
    const int64_t id = ++self->row_count;
    row_t *row = &self->rows[id];
    const job_t *job = insert->job;
    int64_t run_at = database_clock(self) + insert->delay_ms * 1000;
    if (insert->run_at_us != INT64_MIN)
        run_at = insert->run_at_us;
    const bool later = run_at > database_clock(self);
    if (!later)
        run_at = database_clock(self);
    *row = (row_t){ .live = true,
                    .request = request,
                    .state = insert->leased ? JOB_RUNNING
                             : later        ? JOB_SCHEDULED
                                            : JOB_QUEUED,
                    .queue = job->queue,
                    .fence = insert->leased ? 1 : 0,
                    .owner = insert->leased ? batch->owner : 0,
                    .attempts = insert->leased ? 1 : 0,
                    .max_attempts = job->max_attempts,
                    .priority = job->priority,
                    .timeout_ms = job->timeout_ms,
                    .run_at = run_at,
                    .key = job->key.size ? (uint32_t) job->key.data[0] : 0,
                    .unique = unique,
                    .transactional = request % 2 == 0 };
    SIM_REQUIRE(self, !insert->leased || !later, "born running although it is for later");
    if (unique)
        self->uniques[unique] = id;
    if (idem) {
        self->idems[idem].id = id;
        self->idems[idem].content = content;
    }
    self->requests[request].rows++;
    insert->end = INSERT_CREATED;
    insert->id = id;
    TRACE(self, "job %lld of request %u in queue %d%s", (long long) id, request, row->queue,
          insert->leased ? ", born running" : "");
}

/* ---- CLAIM and RECOVER */

static void
s_hand_over(sim_t *self, batch_t *batch, int64_t id)
{
    const row_t *row = &self->rows[id];
    if (batch->job_count == batch->job_capacity) {
        batch->job_capacity = batch->job_capacity ? batch->job_capacity * 2 : 16;
        batch->jobs = reallocarray(batch->jobs, batch->job_capacity, sizeof(job_t *));
    }
    job_t *job = job_new(id, row->fence);
    if (!batch->jobs || !job)
        abort();
    job->queue = row->queue;
    job->method = 1;
    job->attempts = row->attempts;
    job->max_attempts = row->max_attempts;
    job->lost = row->lost;
    job->priority = row->priority;
    job->flags = row->flags;
    job->timeout_ms = row->timeout_ms;
    (void) weft_buf_add(&job->input, &row->request, sizeof row->request);
    (void) weft_buf_add(&job->errors, row->errors.data, row->errors.size);
    if (row->key)
        (void) weft_buf_add_char(&job->key, (char) row->key);
    batch->jobs[batch->job_count++] = job;
}

/* The queued job that is next; 0: none. */
static int64_t
s_first(const sim_t *self, const claim_ask_t *ask)
{
    int64_t best = 0;
    for (int64_t id = 1; id <= self->row_count; id++) {
        const row_t *row = &self->rows[id];
        if (!row->live || row->state != JOB_QUEUED || row->queue != ask->queue ||
            row->priority != ask->priority || row->run_at < ask->since_us)
            continue;
        if (best == 0 || row->run_at < self->rows[best].run_at)
            best = id;
    }
    return best;
}

static void
s_claim(sim_t *self, batch_t *batch)
{
    for (uint32_t i = 0; i < batch->ask_count; i++) {
        claim_ask_t *ask = &batch->asks[i];
        SIM_REQUIRE(self, ask->limit > 0, "asks for nothing");
        ask->taken = 0;
        ask->last_us = 0;
        int64_t id = 0;
        while (ask->taken < ask->limit && (id = s_first(self, ask)) != 0) {
            row_t *row = &self->rows[id];
            row->state = JOB_RUNNING;
            row->owner = batch->owner;
            row->fence++;
            row->attempts++;
            ask->taken++;
            ask->last_us = row->run_at;
            TRACE(self, "job %lld is claimed by %d, fence %d", (long long) id, row->owner, row->fence);
            s_hand_over(self, batch, id);
        }
    }
}

/* Its owner does not know the id yet, but will. */
static bool
s_inserting(const sim_t *self, int64_t id, int32_t owner)
{
    for (uint32_t i = 0; i < self->flight_count; i++) {
        const flight_t *flight = &self->flights[i];
        if (!flight->used || !flight->executed || flight->orphan || flight->lane != LANE_INSERT ||
            flight->batch->owner != owner || !self->replicas[flight->replica].alive ||
            self->replicas[flight->replica].life != flight->life)
            continue;
        for (uint32_t row = 0; row < flight->batch->insert_count; row++)
            if (flight->batch->inserts[row].end == INSERT_CREATED && flight->batch->inserts[row].id == id)
                return true;
    }
    return false;
}

static void
s_recover(sim_t *self, batch_t *batch)
{
    for (int64_t id = 1; id <= self->row_count; id++) {
        row_t *row = &self->rows[id];
        if (!row->live || row->state != JOB_RUNNING || row->owner != batch->owner)
            continue;
        bool known = false;
        for (uint32_t i = 0; i < batch->known_count; i++)
            known = known || batch->known[i] == id;
        if (known)
            continue;
        SIM_REQUIRE(self, !s_inserting(self, id, batch->owner), "what is being inserted is no orphan");
        row->fence++;
        TRACE(self, "job %lld is recovered by %d, fence %d", (long long) id, row->owner, row->fence);
        s_hand_over(self, batch, id);
    }
}

/* ---- FINISH */

static void
s_queue_again(row_t *row, job_state_t state)
{
    row->state = state;
    row->owner = 0;
    row->fence++;
}

static void
s_keep_errors(row_t *row, const finish_row_t *finish)
{
    weft_buf_fini(&row->errors);
    weft_buf_init(&row->errors, finish->errors.size);
    (void) weft_buf_add(&row->errors, finish->errors.data, finish->errors.size);
}

static void
s_finish_row(sim_t *self, finish_row_t *finish)
{
    row_t *row = database_row(self, finish->id);
    const bool current = row->live && row->fence == finish->fence;
    finish->applied = current;
    finish->blocked = false;
    finish->released_us = INT64_MAX;
    if (!current) {
        finish->applied = finish->kind == FINISH_DONE && !row->live && row->done_fence == finish->fence &&
                          row->done_state == finish->state;
        return;
    }
    finish->blocked = !self->gentle && !self->healing && sim_one_in(self, 50);
    if (finish->blocked) {
        finish->applied = false;
        return;
    }
    SIM_REQUIRE(self, finish->fence == row->fence, "an old fence changes job %lld", (long long) finish->id);
    SIM_REQUIRE(self, row->state == JOB_RUNNING, "a fence is current although the job does not run");
    switch (finish->kind) {
    case FINISH_DONE:
        s_keep_errors(row, finish);
        s_done(self, finish->id, finish->state);
        break;
    case FINISH_AGAIN:
        s_keep_errors(row, finish);
        row->fence++;
        row->attempts = (int16_t) (row->attempts + !finish->uncounted);
        row->lost = (int16_t) (row->lost + finish->uncounted);
        finish->new_fence = row->fence;
        finish->attempts = row->attempts;
        break;
    case FINISH_LATER:
        s_keep_errors(row, finish);
        s_queue_again(row, JOB_SCHEDULED);
        row->attempts = (int16_t) (row->attempts - finish->uncounted);
        row->lost = (int16_t) (row->lost + finish->uncounted);
        row->run_at = database_clock(self) + (row->flags & JOB_FLAG_CANCEL ? 0 : finish->delay_ms * 1000);
        break;
    case FINISH_RELEASE:
        s_queue_again(row, JOB_QUEUED);
        row->attempts--;
        row->run_at = database_clock(self);
        break;
    case FINISH_HOLD:
        s_queue_again(row, JOB_HELD);
        row->attempts--;
        break;
    case FINISH_PROGRESS:
        break;
    }
    TRACE(self, "job %lld: finish %d with fence %d", (long long) finish->id, finish->kind, finish->fence);
}

/* The held job of that key that is next; 0: none. */
static int64_t
s_first_held(const sim_t *self, int32_t queue, uint32_t key)
{
    int64_t best = 0;
    for (int64_t id = 1; id <= self->row_count; id++) {
        const row_t *row = &self->rows[id];
        if (row->live && row->state == JOB_HELD && row->queue == queue && row->key == key &&
            (best == 0 || row->priority < self->rows[best].priority ||
             (row->priority == self->rows[best].priority && row->run_at < self->rows[best].run_at)))
            best = id;
    }
    return best;
}

static void
s_finish(sim_t *self, batch_t *batch)
{
    for (uint32_t i = 0; i < batch->finish_count; i++)
        s_finish_row(self, &batch->finishes[i]);
    for (uint32_t i = 0; i < batch->finish_count; i++) {
        finish_row_t *finish = &batch->finishes[i];
        if (finish->release_key.size == 0)
            continue;
        const int64_t id = s_first_held(self, finish->queue, (uint32_t) finish->release_key.data[0]);
        if (id) {
            self->rows[id].state = JOB_QUEUED;
            finish->released_us = self->rows[id].run_at;
            TRACE(self, "job %lld is held no more", (long long) id);
        }
    }
}

void
database_unhold(sim_t *self, uint32_t queue)
{
    const uint32_t limit = self->queues[queue].key_concurrency ? self->queues[queue].key_concurrency : 1;
    for (uint32_t key = 1; key <= KEYS; key++) {
        for (uint32_t i = 0; i < limit; i++) {
            const int64_t id = s_first_held(self, (int32_t) queue, key);
            if (id)
                self->rows[id].state = JOB_QUEUED;
        }
    }
}

/* ---- the lease */

static bool
s_number_lives(const sim_t *self, int32_t number)
{
    return number > 0 && (uint32_t) number <= self->number_count && self->numbers[number].alive;
}

static void
s_beat(sim_t *self, lease_t *lease)
{
    lease->alive = s_number_lives(self, lease->number);
    lease->replicas = 0;
    for (uint32_t i = 1; i <= self->number_count; i++)
        lease->replicas += self->numbers[i].alive;
    lease->now_us = database_clock(self);
    lease->serial = self->serial;
    lease->next_due_us = INT64_MAX;
    for (int64_t id = 1; id <= self->row_count; id++) {
        const row_t *row = &self->rows[id];
        if (row->live && row->state == JOB_SCHEDULED && row->run_at < lease->next_due_us)
            lease->next_due_us = row->run_at;
        if (!lease->alive || !row->live || row->state != JOB_RUNNING || row->owner != lease->number ||
            !(row->flags & JOB_FLAG_CANCEL))
            continue;
        lease->cancels = reallocarray(lease->cancels, lease->cancel_count + 1, sizeof *lease->cancels);
        if (!lease->cancels)
            abort();
        lease->cancels[lease->cancel_count++] = id;
    }
    if (lease->alive)
        self->numbers[lease->number].lease_until = database_clock(self) + lease->lease_ms * 1000;
}

static void
s_moved(sim_t *self, batch_t *batch, const row_t *row)
{
    batch->moved++;
    if (row->run_at < batch->moved_since_us)
        batch->moved_since_us = row->run_at;
    for (uint32_t i = 0; i < batch->moved_queue_count; i++)
        if (batch->moved_queues[i] == row->queue)
            return;
    if (!batch->moved_queues)
        batch->moved_queues = calloc(QUEUES, sizeof *batch->moved_queues);
    if (!batch->moved_queues)
        abort();
    batch->moved_queues[batch->moved_queue_count++] = row->queue;
    (void) self;
}

static void
s_reap(sim_t *self, batch_t *batch)
{
    for (uint32_t i = 1; i <= self->number_count; i++) {
        if (self->numbers[i].alive && (int32_t) i != batch->owner &&
            self->numbers[i].lease_until < database_clock(self)) {
            checks_dead(self, (int32_t) i);
            self->numbers[i].alive = false;
            TRACE(self, "replica number %u is dead, says %d", i, batch->owner);
        }
    }
    for (int64_t id = 1; id <= self->row_count && batch->moved < batch->limit; id++) {
        row_t *row = &self->rows[id];
        if (!row->live || row->state != JOB_RUNNING || s_number_lives(self, row->owner))
            continue;
        s_queue_again(row, JOB_QUEUED);
        if (row->lost < JOB_LOST_MAX) {
            row->lost++;
            row->attempts--;
        }
        row->run_at = database_clock(self);
        s_moved(self, batch, row);
    }
}

static void
s_promote(sim_t *self, batch_t *batch)
{
    batch->lease.next_due_us = INT64_MAX;
    for (int64_t id = 1; id <= self->row_count; id++) {
        row_t *row = &self->rows[id];
        if (!row->live || row->state != JOB_SCHEDULED)
            continue;
        if (row->run_at <= database_clock(self) && batch->moved < batch->limit) {
            row->state = JOB_QUEUED;
            s_moved(self, batch, row);
        } else if (row->run_at < batch->lease.next_due_us) {
            batch->lease.next_due_us = row->run_at;
        }
    }
}

void
database_execute(sim_t *self, batch_t *batch)
{
    self->stat_batches++;
    batch->end = BATCH_OK;
    if (self->refuse > 0) {
        self->refuse--;
        if (sim_one_in(self, 2)) {
            static const char *const STATES[] = { "40001", "53100", "22021", "57014" };
            /* A row is at fault only in a FINISH: the store tries those of an INSERT one by one. */
            const char *state = STATES[sim_below(self, 4)];
            if (batch->kind != BATCH_FINISH && !strcmp(state, "22021"))
                state = "40001";
            batch->end = BATCH_REFUSED;
            memcpy(batch->sqlstate, state, sizeof batch->sqlstate);
            return;
        }
    }
    switch (batch->kind) {
    case BATCH_INSERT:
        for (uint32_t i = 0; i < batch->insert_count; i++)
            s_insert_row(self, batch, &batch->inserts[i]);
        break;
    case BATCH_CLAIM:
        s_claim(self, batch);
        break;
    case BATCH_RECOVER:
        s_recover(self, batch);
        break;
    case BATCH_FINISH:
        s_finish(self, batch);
        break;
    case BATCH_JOIN:
        SIM_REQUIRE(self, self->number_count + 1 < REPLICA_ROWS, "too many lives");
        batch->lease.number = (int32_t) ++self->number_count;
        self->numbers[self->number_count] = (replica_row_t){ true, database_clock(self) +
                                                                       batch->lease.lease_ms * 1000 };
        TRACE(self, "replica number %d joins", batch->lease.number);
        break;
    case BATCH_BEAT:
        s_beat(self, &batch->lease);
        break;
    case BATCH_REAP:
        s_reap(self, batch);
        break;
    case BATCH_PROMOTE:
        s_promote(self, batch);
        break;
    case BATCH_LEAVE:
        self->numbers[batch->lease.number].alive = false;
        break;
    }
}

/* ---- what others do */

bool
database_complete(sim_t *self, int64_t id, int32_t fence)
{
    row_t *row = database_row(self, id);
    if (!row->live || row->state != JOB_RUNNING || row->fence != fence)
        return false;
    SIM_REQUIRE(self, row->fence == fence, "an old fence completes job %lld", (long long) id);
    row->effects++;
    s_done(self, id, JOB_SUCCEEDED);
    return true;
}

bool
database_cancel(sim_t *self, int64_t id)
{
    row_t *row = database_row(self, id);
    if (!row->live)
        return false;
    row->cancel_asked = true;
    if (row->state == JOB_RUNNING) {
        row->flags |= JOB_FLAG_CANCEL;
        return true;
    }
    row->fence++;
    s_done(self, id, JOB_CANCELLED);
    return false;
}

void
database_keep(sim_t *self, int32_t number)
{
    if (!s_number_lives(self, number))
        return;
    for (uint32_t i = 1; i <= QUEUES; i++) {
        queue_row_t *queue = &self->queues[i];
        if ((queue->concurrency == 0 && queue->key_concurrency == 0) || s_number_lives(self, queue->keeper))
            continue;
        queue->keeper = number;
        queue->serial = ++self->serial;
        database_unhold(self, i);
        TRACE(self, "queue %u is kept by %d", i, number);
    }
}
