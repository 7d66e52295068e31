/* engine_fixture - an engine whose calls and answers are written down, and batches answered by hand */
#ifndef JOBS_ENGINE_FIXTURE_H
#define JOBS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "jobs/engine.h"

enum { SAID_MAX = 4096 };

typedef struct {
    engine_t *engine;
    int64_t now;
    int64_t next_id;
    struct {
        uint64_t token;
        int64_t id;
        int32_t fence;
        int16_t attempts;
        bool cancelled;
    } calls[SAID_MAX];
    uint32_t call_count;
    struct {
        void *context;
        weft_status_t status;
        bool maybe;
        insert_end_t end;
        int64_t id;
    } answers[SAID_MAX];
    uint32_t answer_count;
    struct {
        int64_t id;
        bool done;
    } changes[SAID_MAX];
    uint32_t change_count;
} fixture_t;

static void
s_on_call(void *context, uint64_t token, const job_t *job)
{
    fixture_t *self = context;
    assert_true(self->call_count < SAID_MAX);
    self->calls[self->call_count].token = token;
    self->calls[self->call_count].id = job->id;
    self->calls[self->call_count].fence = job->fence;
    self->calls[self->call_count].attempts = job->attempts;
    self->calls[self->call_count++].cancelled = false;
}

static void
s_on_cancel(void *context, uint64_t token)
{
    fixture_t *self = context;
    for (uint32_t i = 0; i < self->call_count; i++)
        if (self->calls[i].token == token)
            self->calls[i].cancelled = true;
}

static void
s_on_enqueued(void *context, void *enqueue, weft_status_t status, bool maybe, insert_end_t end, int64_t id)
{
    fixture_t *self = context;
    assert_true(self->answer_count < SAID_MAX);
    self->answers[self->answer_count].context = enqueue;
    self->answers[self->answer_count].status = status;
    self->answers[self->answer_count].maybe = maybe;
    self->answers[self->answer_count].end = end;
    self->answers[self->answer_count++].id = id;
}

static void
s_on_changed(void *context, int64_t id, bool done)
{
    fixture_t *self = context;
    assert_true(self->change_count < SAID_MAX);
    self->changes[self->change_count].id = id;
    self->changes[self->change_count++].done = done;
}

/* A batch of that kind is there to be taken. */
static inline batch_t *
fixture_take(fixture_t *self, lane_t lane, batch_kind_t kind)
{
    batch_t *batch = engine_take_batch(self->engine, lane, self->now);
    assert_non_null(batch);
    assert_int_equal(batch->kind, kind);
    assert_int_equal(batch->lane, lane);
    return batch;
}

static inline void
fixture_nothing(fixture_t *self, lane_t lane)
{
    assert_null(engine_take_batch(self->engine, lane, self->now));
}

static inline void
fixture_give(fixture_t *self, batch_t *batch, batch_end_t end)
{
    batch->end = end;
    engine_batch_done(self->engine, &batch, self->now);
    assert_null(batch);
    engine_check(self->engine);
}

/* Time passes; the engine is told when it wants to be. */
static inline void
fixture_pass(fixture_t *self, int64_t us)
{
    const int64_t until = self->now + us;
    while (engine_deadline(self->engine) <= until) {
        if (engine_deadline(self->engine) > self->now)
            self->now = engine_deadline(self->engine);
        engine_tick(self->engine, self->now);
    }
    self->now = until;
    engine_check(self->engine);
}

static inline void
fixture_beat(fixture_t *self, bool alive, uint32_t replicas)
{
    batch_t *batch = fixture_take(self, LANE_LEASE, BATCH_BEAT);
    batch->lease.alive = alive;
    batch->lease.replicas = replicas;
    batch->lease.now_us = 1700000000000000 + self->now;
    fixture_give(self, batch, BATCH_OK);
}

static inline void
fixture_join(fixture_t *self, int32_t number)
{
    batch_t *batch = fixture_take(self, LANE_LEASE, BATCH_JOIN);
    assert_string_equal(batch->lease.instance, "one");
    batch->lease.number = number;
    fixture_give(self, batch, BATCH_OK);
    fixture_beat(self, true, 1);
}

static inline void
fixture_init_with(fixture_t *self, engine_config_t config)
{
    memset(self, 0, sizeof *self);
    self->now = 1000000;
    self->next_id = 100;
    config.instance = "one";
    config.seed = 7;
    const engine_events_t events = { self, s_on_call, s_on_cancel, s_on_enqueued, s_on_changed };
    self->engine = engine_new(&config, &events, self->now);
    assert_non_null(self->engine);
    engine_check(self->engine);
}

static inline void
fixture_init(fixture_t *self)
{
    fixture_init_with(self, (engine_config_t){ 0 });
}

static inline void
fixture_fini(fixture_t *self)
{
    engine_check(self->engine);
    engine_destroy(&self->engine);
    engine_destroy(&self->engine);
}

static inline void
fixture_queue(fixture_t *self, engine_queue_t queue)
{
    engine_set_queue(self->engine, &queue, self->now);
    engine_check(self->engine);
}

/* With workers, and what the first look at it found: nothing. */
static inline void
fixture_idle_queue(fixture_t *self, engine_queue_t queue)
{
    fixture_queue(self, queue);
    batch_t *batch = NULL;
    while ((batch = engine_take_batch(self->engine, LANE_CLAIM, self->now)) != NULL)
        fixture_give(self, batch, BATCH_OK);
}

static inline void
fixture_row(insert_row_t *row, int32_t queue, uint8_t priority)
{
    *row = (insert_row_t){ .run_at_us = INT64_MIN };
    row->job = job_new(0, 0);
    row->job->queue = queue;
    row->job->method = 1;
    row->job->priority = priority;
    row->job->max_attempts = 3;
    row->job->timeout_ms = 1000;
    weft_buf_add(&row->job->input, "\xc0", 1);
}

static inline void
fixture_enqueue(fixture_t *self, int32_t queue, uint8_t priority)
{
    insert_row_t row;
    fixture_row(&row, queue, priority);
    row.context = self;
    engine_enqueue(self->engine, &row, self->now);
    assert_null(row.job);
    engine_check(self->engine);
}

/* Commits an INSERT: its rows get ids. */
static inline void
fixture_commit(fixture_t *self, batch_t *batch)
{
    for (uint32_t i = 0; i < batch->insert_count; i++) {
        batch->inserts[i].end = INSERT_CREATED;
        batch->inserts[i].id = self->next_id++;
    }
    fixture_give(self, batch, BATCH_OK);
}

/* A claimed job into a batch. */
static inline job_t *
fixture_claimed(batch_t *batch, int64_t id, int32_t fence, int32_t queue, uint8_t priority)
{
    batch->jobs = realloc(batch->jobs, (batch->job_count + 1) * sizeof *batch->jobs);
    job_t *job = job_new(id, fence);
    job->queue = queue;
    job->method = 1;
    job->priority = priority;
    job->attempts = 1;
    job->max_attempts = 3;
    batch->jobs[batch->job_count++] = job;
    return job;
}

static inline void
fixture_reply(fixture_t *self, uint32_t call, engine_reply_t reply)
{
    reply.final = true;
    engine_replied(self->engine, self->calls[call].token, &reply, self->now);
    engine_check(self->engine);
}

static inline void
fixture_ok(fixture_t *self, uint32_t call)
{
    fixture_reply(self, call, (engine_reply_t){ .body = WEFT_SPAN("\x01") });
}

/* Commits a FINISH of one row of that kind. */
static inline void
fixture_finish(fixture_t *self, finish_kind_t kind, bool applied)
{
    batch_t *batch = fixture_take(self, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 1);
    assert_int_equal(batch->finishes[0].kind, kind);
    batch->finishes[0].applied = applied;
    if (kind == FINISH_AGAIN) {
        batch->finishes[0].new_fence = batch->finishes[0].fence + 1;
        batch->finishes[0].attempts = 2;
    }
    fixture_give(self, batch, BATCH_OK);
}

#endif
