/* replicas - processes of the jobs service: an engine, four connections to the database, a clock of their own
 */
#include <stdlib.h>
#include <string.h>

#include "sim-jobs/sim.h"

int64_t
replicas_clock(const sim_t *self, const replica_t *replica)
{
    return replica->clock_offset + self->now + self->now / 1000000 * replica->clock_ppm;
}

bool
replicas_awake(sim_t *self, const replica_t *replica, const event_t *event)
{
    if (!replica->alive || replica->paused_until <= self->now)
        return true;
    events_add(self, replica->paused_until + sim_below(self, 3000), event->type, event->a, event->b,
               event->mark);
    return false;
}

/* ---- what the engine asks for */

static void
s_on_call(void *context, uint64_t token, const job_t *job)
{
    replica_t *replica = context;
    mesh_call(replica->sim, replica, token, job);
}

static void
s_on_cancel(void *context, uint64_t token)
{
    replica_t *replica = context;
    mesh_cancel(replica->sim, replica, token);
}

static void
s_on_enqueued(void *context, void *enqueue, weft_status_t status, bool maybe, insert_end_t end, int64_t id)
{
    const replica_t *replica = context;
    callers_answered(replica->sim, enqueue, status, maybe, end, id);
}

static void
s_on_changed(void *context, int64_t id, bool done)
{
    const replica_t *replica = context;
    const row_t *row = database_row(replica->sim, id);
    SIM_REQUIRE(replica->sim, !done || row->done_count > 0, "job %lld is said to be done and is not",
                (long long) id);
}

/* ---- lanes */

static uint32_t
s_flight(sim_t *self)
{
    for (uint32_t i = 0; i < self->flight_count; i++)
        if (!self->flights[i].used)
            return i;
    if (self->flight_count == self->flight_room) {
        self->flight_room = self->flight_room ? self->flight_room * 2 : 64;
        self->flights = reallocarray(self->flights, self->flight_room, sizeof *self->flights);
        if (!self->flights)
            abort();
    }
    return self->flight_count++;
}

static int64_t
s_delay(sim_t *self)
{
    /* Now and then it is slow: a lock, a checkpoint. */
    return sim_around(self, self->latency) * (!self->gentle && sim_one_in(self, 50) ? 50 : 1);
}

static void
s_send(sim_t *self, replica_t *replica, lane_t lane, batch_t *batch)
{
    const uint32_t number = s_flight(self);
    self->flights[number] = (flight_t){ .mark = ++self->order,
                                        .used = true,
                                        .replica = replica->index,
                                        .life = replica->life,
                                        .lane = lane,
                                        .batch = batch };
    replica->conns[lane].flight = number;
    TRACE(self, "replica %u sends a batch of kind %d", replica->index, batch->kind);
    events_add(self, self->now + s_delay(self), EVENT_ARRIVE, number, 0, self->flights[number].mark);
}

static weft_buf_t
s_copy(const weft_buf_t *buf)
{
    weft_buf_t copy;
    weft_buf_init(&copy, buf->max);
    if (!weft_buf_add(&copy, buf->data, buf->size))
        abort();
    return copy;
}

/* The same commands once more: the server may do them although nobody listens any more. */
static batch_t *
s_clone(const batch_t *batch)
{
    batch_t *copy = batch_new(batch->kind, batch->lane, batch->owner);
    if (!copy)
        abort();
    copy->lease = batch->lease;
    copy->lease.cancels = NULL;
    copy->lease.cancel_count = 0;
    copy->limit = batch->limit;
    copy->moved_since_us = INT64_MAX;
    for (uint32_t i = 0; i < batch->insert_count; i++) {
        const insert_row_t *row = &batch->inserts[i];
        insert_row_t *to = batch_add_insert(copy);
        *to = *row;
        to->unique_key = s_copy(&row->unique_key);
        to->idem_scope = s_copy(&row->idem_scope);
        to->idem_key = s_copy(&row->idem_key);
        to->job = job_new(0, 0);
        job_t *job = to->job;
        *job = *row->job;
        job->input = s_copy(&row->job->input);
        job->options = s_copy(&row->job->options);
        job->errors = s_copy(&row->job->errors);
        job->key = s_copy(&row->job->key);
    }
    for (uint32_t i = 0; i < batch->finish_count; i++) {
        const finish_row_t *row = &batch->finishes[i];
        finish_row_t *to = batch_add_finish(copy);
        *to = *row;
        to->value = s_copy(&row->value);
        to->meta = s_copy(&row->meta);
        to->error = s_copy(&row->error);
        to->errors = s_copy(&row->errors);
        to->release_key = s_copy(&row->release_key);
    }
    if (batch->ask_count) {
        copy->asks = calloc(batch->ask_count, sizeof *copy->asks);
        memcpy(copy->asks, batch->asks, batch->ask_count * sizeof *copy->asks);
        copy->ask_count = batch->ask_count;
    }
    if (batch->known_count) {
        copy->known = calloc(batch->known_count, sizeof *copy->known);
        memcpy(copy->known, batch->known, batch->known_count * sizeof *copy->known);
        copy->known_count = batch->known_count;
    }
    return copy;
}

void
replicas_arrive(sim_t *self, uint32_t number, uint64_t mark)
{
    flight_t *flight = &self->flights[number];
    if (!flight->used || flight->mark != mark)
        return;
    if (self->db_down) {
        /* Not cut yet, or on its way to a server that is gone. */
        if (flight->orphan) {
            batch_destroy(&flight->batch);
            flight->used = false;
        }
        return;
    }
    database_execute(self, flight->batch);
    flight->executed = true;
    checks_rows(self);
    if (flight->orphan) {
        batch_destroy(&flight->batch);
        flight->used = false;
        return;
    }
    events_add(self, self->now + s_delay(self), EVENT_ANSWER, number, 0, flight->mark);
}

static void
s_give(sim_t *self, replica_t *replica, batch_t *batch)
{
    if (batch->kind == BATCH_JOIN && batch->end == BATCH_OK)
        replica->number = batch->lease.number;
    if (batch->kind == BATCH_BEAT && batch->end == BATCH_OK && !batch->lease.alive)
        replica->number = 0;
    engine_batch_done(replica->engine, &batch, replicas_clock(self, replica));
}

void
replicas_answer(sim_t *self, uint32_t number, uint64_t mark)
{
    flight_t *flight = &self->flights[number];
    replica_t *replica = &self->replicas[flight->replica];
    if (!flight->used || flight->mark != mark || !flight->executed)
        return;
    if (!replica->alive || flight->life != replica->life) {
        batch_destroy(&flight->batch);
        flight->used = false;
        return;
    }
    if (replica->paused_until > self->now) {
        events_add(self, replica->paused_until + sim_below(self, 3000), EVENT_ANSWER, number, 0,
                   flight->mark);
        return;
    }
    replica->conns[flight->lane].flight = -1;
    batch_t *batch = flight->batch;
    *flight = (flight_t){ 0 };
    s_give(self, replica, batch);
    replicas_touch(self, replica);
}

void
replicas_lane_up(sim_t *self, replica_t *replica, lane_t lane, uint64_t life)
{
    if (!replica->alive || replica->life != life || replica->conns[lane].open)
        return;
    if (self->db_down) {
        events_add(self, self->now + sim_around(self, 200000), EVENT_LANE, replica->index, (uint32_t) lane,
                   life);
        return;
    }
    replica->conns[lane].open = true;
    engine_lane(replica->engine, lane, true, replicas_clock(self, replica));
    replicas_touch(self, replica);
}

void
replicas_cut(sim_t *self, replica_t *replica, lane_t lane)
{
    conn_t *conn = &replica->conns[lane];
    if (!replica->alive || !conn->open)
        return;
    conn->open = false;
    if (!self->db_down)
        replica->impaired_until = self->now + 8000000;
    batch_t *batch = NULL;
    if (conn->flight >= 0) {
        flight_t *flight = &self->flights[conn->flight];
        batch = flight->batch;
        if (!flight->executed && !self->db_down && sim_one_in(self, 2)) {
            /* The server has it and does it, at any time. */
            const uint32_t number = s_flight(self);
            self->flights[number] = (flight_t){
                .used = true, .mark = ++self->order, .orphan = true, .batch = s_clone(batch)
            };
            events_add(self, self->now + sim_below(self, sim_one_in(self, 4) ? 8000000 : 50000), EVENT_ARRIVE,
                       number, 0, self->flights[number].mark);
        }
        /* s_flight may have moved them */
        self->flights[conn->flight] = (flight_t){ 0 };
        conn->flight = -1;
        batch->end = BATCH_LOST;
    }
    TRACE(self, "replica %u: lane %d is cut%s", replica->index, lane, batch ? " with a batch" : "");
    engine_lane(replica->engine, lane, false, replicas_clock(self, replica));
    if (batch)
        s_give(self, replica, batch);
    events_add(self, self->now + sim_around(self, 60000), EVENT_LANE, replica->index, (uint32_t) lane,
               replica->life);
    replicas_touch(self, replica);
}

/* ---- life */

void
replicas_start(sim_t *self, replica_t *replica)
{
    if (replica->alive)
        return;
    replica->alive = true;
    replica->draining = false;
    replica->life++;
    replica->paused_until = 0;
    replica->number = 0;
    memset(replica->told, 0, sizeof replica->told);
    replica->impaired_until = 0;
    replica->clock_offset = 1000000 + sim_below(self, INT64_C(100000000000));
    replica->clock_ppm = sim_below(self, 1001) - 500;
    memset(replica->serials, 0xff, sizeof replica->serials);
    memset(replica->concurrency_told, 0, sizeof replica->concurrency_told);
    memset(replica->keys_told, 0, sizeof replica->keys_told);
    const engine_config_t config = {
        .instance = "sim",
        .seed = weft_rng_next(&self->rng),
        .batch_max = (uint32_t) (sim_one_in(self, 3) ? 2 + sim_below(self, 6) : 0),
        .memory_max = (uint32_t) (sim_one_in(self, 4) ? 4 + sim_below(self, 20) : 0)
    };
    const engine_events_t events = { replica, s_on_call, s_on_cancel, s_on_enqueued, s_on_changed };
    replica->engine = engine_new(&config, &events, replicas_clock(self, replica));
    if (!replica->engine)
        abort();
    engine_set_method(replica->engine,
                      &(engine_method_t){ .method = 1, .backoff_ms = 100, .backoff_max_ms = 1000 });
    for (int lane = 0; lane < LANES; lane++) {
        replica->conns[lane] = (conn_t){ .flight = -1 };
        events_add(self, self->now + sim_below(self, 20000), EVENT_LANE, replica->index, (uint32_t) lane,
                   replica->life);
    }
    events_add(self, self->now + sim_below(self, 50000), EVENT_CHORE, replica->index, 0, replica->life);
    TRACE(self, "replica %u starts", replica->index);
    replicas_touch(self, replica);
}

static void
s_end(sim_t *self, replica_t *replica)
{
    const engine_stats_t stats = engine_stats(replica->engine);
    self->stat_succeeded += stats.succeeded;
    self->stat_failed += stats.failed;
    self->stat_cancelled += stats.cancelled;
    self->stat_takeovers += stats.takeovers;
    self->stat_rejections += stats.fence_rejections;
    self->stat_recovered += stats.recovered;
    self->stat_leases_lost += stats.leases_lost;
    self->stat_late += stats.late_replies;
    self->stat_held += stats.held;
    engine_check(replica->engine);
    engine_destroy(&replica->engine);
    replica->alive = false;
    replica->number = 0;
    replica->tick_mark++;
}

void
replicas_kill(sim_t *self, replica_t *replica)
{
    if (!replica->alive)
        return;
    TRACE(self, "replica %u (number %d) is killed", replica->index, replica->number);
    for (int lane = 0; lane < LANES; lane++) {
        conn_t *conn = &replica->conns[lane];
        if (conn->flight < 0)
            continue;
        flight_t *flight = &self->flights[conn->flight];
        if (flight->executed || sim_one_in(self, 2)) {
            batch_destroy(&flight->batch);
            *flight = (flight_t){ 0 };
        } else {
            flight->orphan = true; /* the server does not notice at once */
        }
        conn->flight = -1;
    }
    s_end(self, replica);
}

void
replicas_drain(sim_t *self, replica_t *replica)
{
    if (!replica->alive || replica->draining)
        return;
    TRACE(self, "replica %u drains", replica->index);
    replica->draining = true;
    engine_drain(replica->engine, replicas_clock(self, replica));
    replicas_touch(self, replica);
}

void
replicas_chore(sim_t *self, replica_t *replica)
{
    const int64_t now = replicas_clock(self, replica);
    if (!self->db_down && replica->number && !replica->draining)
        database_keep(self, replica->number);
    for (uint32_t i = 1; i <= QUEUES; i++) {
        const queue_row_t *row = &self->queues[i];
        const uint32_t workers = mesh_workers(self, i);
        if (self->db_down || (row->serial == replica->serials[i] && workers == replica->workers_told[i]))
            continue;
        replica->serials[i] = row->serial;
        replica->workers_told[i] = workers;
        if (row->concurrency > replica->concurrency_told[i])
            replica->concurrency_told[i] = row->concurrency;
        if (row->key_concurrency > replica->keys_told[i])
            replica->keys_told[i] = row->key_concurrency;
        replica->told[i] = (engine_queue_t){ .queue = (int32_t) i,
                                             .paused = row->paused,
                                             .concurrency = row->concurrency,
                                             .key_concurrency = row->key_concurrency,
                                             .keeper = row->keeper,
                                             .workers = workers,
                                             .capacity = mesh_capacity(self, i) };
        engine_set_queue(replica->engine, &replica->told[i], now);
    }
    events_add(self, self->now + sim_around(self, 500000), EVENT_CHORE, replica->index, 0, replica->life);
    replicas_touch(self, replica);
}

static void
s_plan(sim_t *self, replica_t *replica)
{
    const int64_t deadline = engine_deadline(replica->engine);
    replica->tick_mark++;
    if (deadline == INT64_MAX)
        return;
    const int64_t wait = deadline - replicas_clock(self, replica);
    events_add(self, self->now + (wait > 0 ? wait + wait / 1000 + 1 : 0), EVENT_TICK, replica->index, 0,
               replica->tick_mark);
}

void
replicas_touch(sim_t *self, replica_t *replica)
{
    if (!replica->alive)
        return;
    const int64_t now = replicas_clock(self, replica);
    for (int lane = 0; lane < LANES; lane++) {
        conn_t *conn = &replica->conns[lane];
        if (!conn->open || conn->flight >= 0)
            continue;
        batch_t *batch = engine_take_batch(replica->engine, (lane_t) lane, now);
        if (batch)
            s_send(self, replica, (lane_t) lane, batch);
    }
    if (++replica->begun % 8 == 0)
        engine_check(replica->engine);
    if (replica->draining && engine_drained(replica->engine)) {
        TRACE(self, "replica %u is drained", replica->index);
        const engine_stats_t stats = engine_stats(replica->engine);
        SIM_REQUIRE(self, stats.owned == 0 && stats.waiting_finishes == 0 && stats.waiting_inserts == 0,
                    "drained, and holds something");
        s_end(self, replica);
        return;
    }
    s_plan(self, replica);
}

void
replicas_tick(sim_t *self, replica_t *replica, uint64_t mark)
{
    if (!replica->alive || mark != replica->tick_mark)
        return;
    engine_tick(replica->engine, replicas_clock(self, replica));
    replicas_touch(self, replica);
}

void
replicas_fini(sim_t *self)
{
    for (uint32_t i = 0; i < self->replica_count; i++)
        if (self->replicas[i].alive)
            replicas_kill(self, &self->replicas[i]);
    for (uint32_t i = 0; i < self->flight_count; i++)
        if (self->flights[i].used)
            batch_destroy(&self->flights[i].batch);
    free(self->flights);
}
