/* checks - what must hold */
#include <weft/mp.h>

#include "sim-jobs/sim.h"

/* Executions at work under a fence that is current, of what that owner runs. */
static uint32_t
s_at_work(const sim_t *self, int32_t owner, uint32_t queue, uint32_t key)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->call_count; i++) {
        const call_t *call = &self->calls[i];
        if (call->state != CALL_RUNNING || call->queue != queue || (key && call->key != key))
            continue;
        const row_t *row = &self->rows[call->id];
        count += row->live && row->state == JOB_RUNNING && row->fence == call->fence && row->owner == owner;
    }
    return count;
}

void
checks_call(sim_t *self, const replica_t *replica, const job_t *job)
{
    const engine_queue_t *told = &replica->told[job->queue];
    SIM_REQUIRE(self, replica->number != 0, "a call without a lease");
    SIM_REQUIRE(self, !replica->draining, "a call while it drains");
    SIM_REQUIRE(self, !(job->flags & JOB_FLAG_CANCEL), "a call although its cancel was asked for");
    SIM_REQUIRE(self, !told->paused, "a call of a paused queue");
    SIM_REQUIRE(self, told->workers > 0, "a call without workers");
    SIM_REQUIRE(self, told->keeper == replica->number || (told->keeper == 0 && job->key.size == 0),
                "a call of a queue that another keeps");
    uint32_t open = 0;
    for (uint32_t i = 0; i + 1 < self->call_count; i++) {
        const call_t *call = &self->calls[i];
        open += !call->ended && call->replica == replica->index && call->life == replica->life &&
                call->queue == (uint32_t) job->queue;
    }
    SIM_REQUIRE(self, told->concurrency == 0 || open < told->concurrency, "a call above the limit");
}

void
checks_dead(sim_t *self, int32_t number)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        const replica_t *replica = &self->replicas[i];
        /* Where the database is slow a heartbeat may be late. */
        if (replica->alive && replica->number == number && self->latency < 5000)
            SIM_REQUIRE(self, replica->impaired_until > self->now, "replica %u is taken for dead", i);
    }
}

void
checks_begin(sim_t *self, const call_t *call)
{
    row_t *row = database_row(self, call->id);
    const replica_t *replica = &self->replicas[call->replica];
    row->begun++;
    if (call->fence > row->begun_fence)
        row->begun_fence = call->fence;
    SIM_REQUIRE(self, call->fence > 0 && call->fence < 256, "fence %d", call->fence);
    SIM_REQUIRE(self, call->fence <= row->fence, "a fence that was never given");
    SIM_REQUIRE(self, !(row->fences[call->fence / 64] & UINT64_C(1) << call->fence % 64),
                "job %lld begins twice with fence %d", (long long) call->id, call->fence);
    row->fences[call->fence / 64] |= UINT64_C(1) << call->fence % 64;
    SIM_REQUIRE(self, !self->gentle || row->begun == 1, "job %lld is executed twice though nothing failed",
                (long long) call->id);
    SIM_REQUIRE(self, row->done_count == 0 || call->fence <= row->done_fence,
                "begins with a fence newer than that of its end");
    /* Limits: of the keeper, as it knows them. */
    if (!replica->alive || replica->life != call->life || replica->number != call->number ||
        self->queues[call->queue].keeper != call->number)
        return;
    const uint32_t limit = replica->concurrency_told[call->queue];
    const uint32_t at_work = s_at_work(self, call->number, call->queue, 0);
    SIM_REQUIRE(self, limit == 0 || at_work <= limit || replica->paused_until > self->now,
                "%u of queue %u at once, limit %u", at_work, call->queue, limit);
    if (call->key) {
        const uint32_t keys = replica->keys_told[call->queue] ? replica->keys_told[call->queue] : 1;
        const uint32_t same = s_at_work(self, call->number, call->queue, call->key);
        SIM_REQUIRE(self, same <= keys || replica->paused_until > self->now,
                    "%u with key %u at once, limit %u", same, call->key, keys);
    }
}

void
checks_rows(sim_t *self)
{
    uint32_t alive[UNIQUES + 1] = { 0 };
    for (int64_t id = 1; id <= self->row_count; id++) {
        const row_t *row = &self->rows[id];
        SIM_REQUIRE(self, row->live + row->done_count == 1, "job %lld is there %u times", (long long) id,
                    row->live + row->done_count);
        SIM_REQUIRE(self, row->effects <= 1, "job %lld has %u effects", (long long) id, row->effects);
        SIM_REQUIRE(self, !row->live || row->attempts >= 0, "job %lld has %d attempts", (long long) id,
                    row->attempts);
        SIM_REQUIRE(self, (row->state == JOB_RUNNING) == (row->owner != 0) || !row->live,
                    "job %lld has no owner, or one too many", (long long) id);
        if (row->live && row->unique)
            SIM_REQUIRE(self, ++alive[row->unique] == 1, "a unique_key twice alive");
    }
}

int64_t
checks_undone(const sim_t *self)
{
    for (int64_t id = 1; id <= self->row_count; id++)
        if (self->rows[id].live)
            return id;
    return 0;
}

static void
s_history(const sim_t *self, int64_t id)
{
    const row_t *row = &self->rows[id];
    if (row->errors.size == 0)
        return;
    weft_mp_token_t token;
    weft_mp_t cursor = weft_mp(weft_buf_span(&row->errors));
    SIM_REQUIRE(self, weft_mp_check(weft_buf_span(&row->errors), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL),
                "the history of job %lld is broken", (long long) id);
    SIM_REQUIRE(self,
                weft_mp_next(&cursor, &token) && token.type == WEFT_MP_ARRAY && token.count > 0 &&
                    token.count <= JOB_ERRORS_MAX,
                "the history of job %lld is no list", (long long) id);
}

void
checks_end(sim_t *self)
{
    checks_rows(self);
    for (int64_t id = 1; id <= self->row_count; id++) {
        const row_t *row = &self->rows[id];
        SIM_REQUIRE(self, row->done_count == 1, "job %lld has not ended", (long long) id);
        s_history(self, id);
        switch (row->done_state) {
        case JOB_SUCCEEDED:
            SIM_REQUIRE(self, !row->transactional || row->effects == 1, "job %lld succeeded without effect",
                        (long long) id);
            SIM_REQUIRE(self, row->successes > 0 || row->effects > 0, "job %lld succeeded without success",
                        (long long) id);
            break;
        case JOB_FAILED:
            SIM_REQUIRE(self, row->effects == 0, "job %lld failed with effect", (long long) id);
            SIM_REQUIRE(self, row->final_told || (int32_t) row->errors_told >= row->max_attempts,
                        "job %lld failed after %u errors of %d", (long long) id, row->errors_told,
                        row->max_attempts);
            break;
        case JOB_CANCELLED:
            SIM_REQUIRE(self, row->effects == 0, "job %lld was cancelled with effect", (long long) id);
            SIM_REQUIRE(self, row->cancel_asked, "job %lld was cancelled by nobody", (long long) id);
            break;
        case JOB_QUEUED:
        case JOB_RUNNING:
        case JOB_SCHEDULED:
        case JOB_HELD:
            sim_fail(self, "job %lld ended in no end", (long long) id);
        }
    }
    for (uint32_t i = 1; i <= self->request_count; i++) {
        const request_t *request = &self->requests[i];
        SIM_REQUIRE(self, request->rows <= 1, "request %u made %u jobs", i, request->rows);
        SIM_REQUIRE(
            self, request->answers == 0 || request->status == WEFT_OK || request->maybe || request->rows == 0,
            "request %u was said not to be there, and is", i);
        const replica_t *replica = &self->replicas[request->replica];
        SIM_REQUIRE(self, request->answers == 1 || replica->life != request->life || !replica->alive,
                    "request %u was never answered", i);
    }
    SIM_REQUIRE(self, !self->gentle || self->stat_failed == 0, "failed although nothing did");
}
