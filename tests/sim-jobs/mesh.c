/* mesh - brokers and handlers: calls reach a handler or nobody, run, end well or badly, are answered late or
 * twice */
#include <stdlib.h>

#include "sim-jobs/sim.h"

static call_t *
s_call(sim_t *self, uint32_t number)
{
    return &self->calls[number];
}

static void
s_answer(sim_t *self, uint32_t number, engine_reply_t reply, int64_t delay)
{
    if (self->reply_count == self->reply_room) {
        self->reply_room = self->reply_room ? self->reply_room * 2 : 256;
        self->replies = reallocarray(self->replies, self->reply_room, sizeof *self->replies);
        if (!self->replies)
            abort();
    }
    call_t *call = s_call(self, number);
    if (call->ended && !reply.final)
        return;
    if (reply.final) {
        if (call->ended)
            return;
        call->ended = true;
    }
    self->replies[self->reply_count] = (reply_t){ .call = number, .reply = reply };
    events_add(self, self->now + delay, EVENT_REPLY, self->reply_count, 0, call->life);
    /* An old reply comes again. */
    if (reply.final && !self->gentle && sim_one_in(self, 20))
        events_add(self, self->now + delay + sim_below(self, 4000000), EVENT_REPLY, self->reply_count, 1,
                   call->life);
    self->reply_count++;
}

static engine_reply_t
s_error(weft_status_t status, bool maybe)
{
    return (engine_reply_t){ .final = true, .status = status, .executed_maybe = maybe, .mesh = true };
}

uint32_t
mesh_workers(const sim_t *self, uint32_t queue)
{
    uint32_t workers = 0;
    for (int i = 0; i < HANDLERS; i++)
        workers += self->handlers[i].alive && self->handlers[i].queue == queue;
    return workers;
}

uint32_t
mesh_capacity(const sim_t *self, uint32_t queue)
{
    uint32_t capacity = 0;
    for (int i = 0; i < HANDLERS; i++)
        if (self->handlers[i].alive && self->handlers[i].queue == queue)
            capacity += self->handlers[i].capacity;
    return capacity;
}

void
mesh_call(sim_t *self, replica_t *replica, uint64_t token, const job_t *job)
{
    SIM_REQUIRE(self, self->call_count < CALLS_MAX, "too many calls");
    const uint32_t number = self->call_count++;
    const row_t *row = database_row(self, job->id);
    self->calls[number] = (call_t){ .state = CALL_SENT,
                                    .replica = replica->index,
                                    .life = replica->life,
                                    .number = replica->number,
                                    .token = token,
                                    .id = job->id,
                                    .fence = job->fence,
                                    .queue = (uint32_t) job->queue,
                                    .key = row->key,
                                    .sent_at = self->now,
                                    .stubborn = sim_one_in(self, 3) };
    checks_call(self, replica, job);
    SIM_REQUIRE(self, job->attempts >= 1 && job->attempts <= job->max_attempts, "attempt %d of %d",
                job->attempts, job->max_attempts);
    SIM_REQUIRE(self, job->input.size == sizeof row->request, "the input is not the job's");
    events_add(self, self->now + 50 + sim_below(self, 300), EVENT_CALL, number, 0, 0);
}

void
mesh_cancel(sim_t *self, replica_t *replica, uint64_t token)
{
    for (uint32_t i = self->call_count; i-- > 0;) {
        call_t *call = s_call(self, i);
        if (call->replica != replica->index || call->life != replica->life || call->token != token)
            continue;
        call->cancelled = true;
        s_answer(self, i, s_error(WEFT_CANCELLED, true), sim_below(self, 200));
        events_add(self, self->now + sim_below(self, 2000), EVENT_STOP, i, 0, 0);
        return;
    }
    sim_fail(self, "cancels a call that was never made");
}

/* How an execution will end. */
typedef enum { END_OK, END_ERROR, END_FINAL, END_CRASH, END_SILENT_COMMIT } work_end_t;

static int64_t
s_service_time(sim_t *self)
{
    return sim_around(self, self->service_time) * (sim_one_in(self, 20) ? 20 : 1);
}

static void
s_begin(sim_t *self, uint32_t number, uint32_t at)
{
    call_t *call = s_call(self, number);
    handler_t *handler = &self->handlers[at];
    call->state = CALL_RUNNING;
    call->handler = at;
    call->handler_life = handler->life;
    handler->running++;
    self->stat_begun++;
    TRACE(self, "job %lld begins with fence %d at handler %u, for replica %u", (long long) call->id,
          call->fence, at, call->replica);
    checks_begin(self, call);
    const int64_t time = s_service_time(self);
    for (uint32_t i = 0; i < 2 && sim_one_in(self, 6); i++)
        events_add(self, self->now + sim_below(self, time + 1), EVENT_PARTIAL, number, 0, 0);
    events_add(self, self->now + time, EVENT_WORK, number, 0, 0);
    if (!self->gentle)
        events_add(self, call->sent_at + self->rows[call->id].timeout_ms * INT64_C(1000), EVENT_TIMEOUT,
                   number, 0, 0);
}

void
mesh_arrive(sim_t *self, uint32_t number)
{
    call_t *call = s_call(self, number);
    if (call->state != CALL_SENT || call->ended) {
        call->state = CALL_OVER;
        return;
    }
    if (!self->gentle && sim_one_in(self, 60)) {
        call->state = CALL_OVER;
        s_answer(self, number, s_error(WEFT_RESOURCE_EXHAUSTED, false), 200);
        return;
    }
    const int64_t waited = self->now - call->sent_at;
    bool workers = false;
    for (uint32_t i = 0; i < HANDLERS; i++) {
        const handler_t *handler = &self->handlers[i];
        if (!handler->alive || handler->queue != call->queue)
            continue;
        workers = true;
        if (handler->running < handler->capacity) {
            s_begin(self, number, i);
            return;
        }
    }
    if (!workers) {
        call->state = CALL_OVER;
        s_answer(self, number, s_error(WEFT_UNAVAILABLE, false), 200);
    } else if (waited > self->rows[call->id].timeout_ms * INT64_C(1000)) {
        call->state = CALL_OVER;
        s_answer(self, number, s_error(WEFT_DEADLINE_EXCEEDED, false), 200);
    } else {
        events_add(self, self->now + 5000, EVENT_CALL, number, 0, 0);
    }
}

static bool
s_runs(const sim_t *self, const call_t *call)
{
    return call->state == CALL_RUNNING && self->handlers[call->handler].alive &&
           self->handlers[call->handler].life == call->handler_life;
}

void
mesh_partial(sim_t *self, uint32_t number)
{
    call_t *call = s_call(self, number);
    if (!s_runs(self, call))
        return;
    call->partials++;
    s_answer(self, number, (engine_reply_t){ .body = WEFT_SPAN("\x2a") }, sim_below(self, 400));
}

static void
s_over(sim_t *self, call_t *call)
{
    call->state = CALL_OVER;
    self->handlers[call->handler].running--;
}

void
mesh_work(sim_t *self, uint32_t number)
{
    call_t *call = s_call(self, number);
    if (!s_runs(self, call))
        return;
    work_end_t end = END_OK;
    if (!self->gentle) {
        const int64_t dice = sim_below(self, 100);
        end = dice < 8    ? END_ERROR
              : dice < 10 ? END_FINAL
              : dice < 11 ? END_CRASH
              : dice < 14 ? END_SILENT_COMMIT
                          : END_OK;
    }
    const row_t *row = database_row(self, call->id);
    engine_reply_t reply = { .final = true,
                             .body = WEFT_SPAN("\x01"),
                             .queue_us = (uint32_t) sim_below(self, 30000) };
    if (end == END_CRASH) {
        mesh_handler_kill(self, call->handler);
        return;
    }
    if (end == END_ERROR || end == END_FINAL) {
        reply = s_error(end == END_FINAL ? WEFT_NOT_FOUND : WEFT_INTERNAL, true);
        reply.mesh = false;
    } else if (row->transactional) {
        reply.completed = !self->db_down && database_complete(self, call->id, call->fence);
        checks_rows(self);
        if (!reply.completed || end == END_SILENT_COMMIT) {
            /* The fence is old, the database away, or the answer to its COMMIT was lost. */
            reply = s_error(WEFT_UNAVAILABLE, true);
            reply.mesh = false;
        }
    }
    s_over(self, call);
    s_answer(self, number, reply, 50 + sim_below(self, sim_one_in(self, 30) ? 3000000 : 400));
}

void
mesh_stop(sim_t *self, uint32_t number)
{
    call_t *call = s_call(self, number);
    if (call->state == CALL_SENT)
        call->state = CALL_OVER;
    if (s_runs(self, call) && !call->stubborn)
        s_over(self, call);
}

void
mesh_timeout(sim_t *self, uint32_t number)
{
    call_t *call = s_call(self, number);
    if (call->ended)
        return;
    s_answer(self, number, s_error(WEFT_DEADLINE_EXCEEDED, true), 50);
    mesh_stop(self, number);
}

void
mesh_reply(sim_t *self, const event_t *event)
{
    reply_t *reply = &self->replies[event->a];
    const call_t *call = s_call(self, reply->call);
    replica_t *replica = &self->replicas[call->replica];
    if (!replica->alive || replica->life != call->life || !replicas_awake(self, replica, event))
        return;
    row_t *row = database_row(self, call->id);
    if (reply->reply.final && !reply->told) {
        reply->told = true;
        row->successes += reply->reply.status == WEFT_OK;
        row->final_told = row->final_told || reply->reply.status == WEFT_NOT_FOUND;
        row->errors_told += reply->reply.status != WEFT_OK && !reply->reply.link_lost &&
                            (reply->reply.executed_maybe || !reply->reply.mesh);
    }
    engine_replied(replica->engine, call->token, &reply->reply, replicas_clock(self, replica));
    replicas_touch(self, replica);
}

void
mesh_handler_kill(sim_t *self, uint32_t number)
{
    handler_t *handler = &self->handlers[number];
    if (!handler->alive)
        return;
    TRACE(self, "handler %u is killed", number);
    for (uint32_t i = 0; i < self->call_count; i++) {
        call_t *call = s_call(self, i);
        if (call->state != CALL_RUNNING || call->handler != number || call->handler_life != handler->life)
            continue;
        call->state = CALL_OVER;
        s_answer(self, i, s_error(WEFT_UNAVAILABLE, true), 3000 + sim_below(self, 400000));
    }
    handler->alive = false;
    handler->running = 0;
    events_add(self, self->now + sim_around(self, self->healing ? 100000 : 1000000), EVENT_HANDLER, number, 0,
               0);
}

void
mesh_handler_start(sim_t *self, uint32_t number)
{
    handler_t *handler = &self->handlers[number];
    if (handler->alive)
        return;
    handler->alive = true;
    handler->life++;
    handler->running = 0;
}

void
mesh_link_lost(sim_t *self, replica_t *replica)
{
    TRACE(self, "replica %u loses its broker", replica->index);
    for (uint32_t i = 0; i < self->call_count; i++) {
        call_t *call = s_call(self, i);
        if (call->ended || call->replica != replica->index || call->life != replica->life)
            continue;
        engine_reply_t reply = s_error(WEFT_UNAVAILABLE, true);
        reply.link_lost = true;
        s_answer(self, i, reply, sim_below(self, 1000));
    }
}
