/* callers - those who enqueue and cancel, and what they were promised */
#include <stdlib.h>

#include "sim-jobs/sim.h"

/* A replica that takes requests; NULL: none does now. */
static replica_t *
s_replica(sim_t *self)
{
    const uint32_t first = (uint32_t) sim_below(self, self->replica_count);
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_t *replica = &self->replicas[(first + i) % self->replica_count];
        if (replica->alive && replica->paused_until <= self->now && !(self->gentle && replica->draining))
            return replica;
    }
    return NULL;
}

void
callers_enqueue(sim_t *self)
{
    replica_t *replica = s_replica(self);
    if (!replica || self->request_count >= self->jobs_wanted)
        return;
    const uint32_t number = ++self->request_count;
    request_t *request = &self->requests[number];
    *request = (request_t){ .replica = replica->index,
                            .life = replica->life,
                            .queue = 1 + (uint32_t) sim_below(self, QUEUES),
                            .at = self->now };
    if (request->queue == 3)
        request->key = (uint32_t) sim_below(self, KEYS + 1);
    if (sim_one_in(self, 8))
        request->unique = 1 + (uint32_t) sim_below(self, UNIQUES);
    if (sim_one_in(self, 6)) {
        request->idem = 1 + (uint32_t) sim_below(self, IDEMS);
        request->content = (uint32_t) sim_below(self, 2);
    }
    insert_row_t row = { .context = request, .job = job_new(0, 0), .run_at_us = INT64_MIN };
    if (!row.job)
        abort();
    row.job->queue = (int32_t) request->queue;
    row.job->method = 1;
    row.job->priority = (uint8_t) sim_below(self, JOB_PRIORITIES);
    row.job->max_attempts = (int16_t) (3 + sim_below(self, 6));
    row.job->timeout_ms = (int32_t) (300 + sim_below(self, 1500));
    (void) weft_buf_add(&row.job->input, &number, sizeof number);
    weft_buf_init(&row.unique_key, 8);
    weft_buf_init(&row.idem_key, 8);
    weft_buf_init(&row.idem_scope, 8);
    if (request->key)
        (void) weft_buf_add_char(&row.job->key, (char) request->key);
    if (request->unique)
        (void) weft_buf_add_char(&row.unique_key, (char) request->unique);
    if (request->idem) {
        (void) weft_buf_add_char(&row.idem_scope, 's');
        (void) weft_buf_add_char(&row.idem_key, (char) request->idem);
    }
    if (sim_one_in(self, 10))
        row.delay_ms = 1 + sim_below(self, 2000);
    else if (sim_one_in(self, 20))
        row.run_at_us = database_clock(self) + sim_below(self, 3000000) - 1000000;
    TRACE(self, "request %u to replica %u, queue %u", number, replica->index, request->queue);
    engine_enqueue(replica->engine, &row, replicas_clock(self, replica));
    replicas_touch(self, replica);
}

void
callers_answered(sim_t *self, void *enqueue, weft_status_t status, bool maybe, insert_end_t end, int64_t id)
{
    request_t *request = enqueue;
    SIM_REQUIRE(self, ++request->answers == 1, "an enqueue is answered twice");
    request->status = status;
    request->maybe = maybe;
    request->end = end;
    request->id = id;
    if (status == WEFT_OK && (end == INSERT_CREATED || end == INSERT_EXISTING)) {
        const row_t *row = database_row(self, id);
        SIM_REQUIRE(self, row->live + row->done_count == 1, "a promised job is not there once");
        SIM_REQUIRE(self, end != INSERT_CREATED || &self->requests[row->request] == request,
                    "the job of another is promised");
    } else if (status != WEFT_OK) {
        SIM_REQUIRE(self, !self->gentle, "an enqueue was refused although nothing failed: %s",
                    weft_status_name(status));
        SIM_REQUIRE(self, maybe || request->rows == 0, "said not to be there, and is");
    }
}

void
callers_cancel(sim_t *self)
{
    if (self->row_count == 0)
        return;
    /* Mostly one that has not ended, best one between two attempts. */
    int64_t id = 1 + sim_below(self, self->row_count);
    const bool between = sim_one_in(self, 2);
    for (int64_t i = 1; i <= self->row_count && !sim_one_in(self, 200); i++) {
        const int64_t other = 1 + (id + i) % self->row_count;
        if (self->rows[other].live && (!between || self->rows[other].state == JOB_SCHEDULED)) {
            id = other;
            break;
        }
    }
    replica_t *replica = s_replica(self);
    if (self->db_down || !replica)
        return;
    TRACE(self, "job %lld is to be cancelled", (long long) id);
    if (database_cancel(self, id)) {
        /* The replica that was asked may be the one that runs it; if not, its heartbeat tells it. */
        engine_cancel(replica->engine, id, replicas_clock(self, replica));
        replicas_touch(self, replica);
    }
    checks_rows(self);
}
