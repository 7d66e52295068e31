/* scenario - what goes wrong when, and how a schedule comes to its end */
#include <stdlib.h>
#include <string.h>

#include "sim-jobs/sim.h"

enum { HEAL_S = 50, DRAIN_S = 60 };

static const char *const FAULT_NAMES[FAULTS] = { "replica killed", "replica stopped", "replica drained",
                                                 "lane cut",       "database down",   "batches refused",
                                                 "handler killed", "broker lost",     "queue paused",
                                                 "limit changed" };

static replica_t *
s_any_replica(sim_t *self)
{
    replica_t *replica = &self->replicas[sim_below(self, self->replica_count)];
    return replica->alive ? replica : NULL;
}

static void
s_plan_fault(sim_t *self, uint32_t kind)
{
    if (self->faults[kind] > 0 && !self->healing)
        events_add(self, self->now + 1 + sim_around(self, self->faults[kind]), EVENT_FAULT, kind, 0, 0);
}

void
scenario_begin(sim_t *self)
{
    self->now = 1;
    self->db_offset = INT64_C(1700000000000000) + sim_below(self, INT64_C(1000000000));
    self->replica_count = 1 + (uint32_t) sim_below(self, sim_one_in(self, 20) ? REPLICAS_MAX : 3);
    self->gentle = sim_one_in(self, 6);
    self->jobs_wanted = (uint32_t) (20 + sim_below(self, sim_one_in(self, 10) ? 400 : 80));
    self->latency = 100 + sim_below(self, sim_one_in(self, 4) ? 20000 : 1500);
    self->service_time = 200 + sim_below(self, sim_one_in(self, 3) ? 100000 : 5000);
    self->chaos_ends = 3000000 + sim_below(self, 12000000);
    self->enqueue_every = self->chaos_ends / self->jobs_wanted / (sim_one_in(self, 3) ? 10 : 1);
    for (uint32_t i = 1; i <= QUEUES; i++)
        self->queues[i].serial = ++self->serial;
    self->queues[2].concurrency = 1 + (uint32_t) sim_below(self, 4);
    self->queues[3].key_concurrency = 1 + (uint32_t) sim_below(self, 2);
    if (sim_one_in(self, 3))
        self->queues[3].concurrency = 1 + (uint32_t) sim_below(self, 4);
    for (uint32_t i = 0; i < HANDLERS; i++) {
        self->handlers[i] = (handler_t){ .queue = 1 + i % QUEUES,
                                         .capacity = 1 + (uint32_t) sim_below(self, 6) };
        mesh_handler_start(self, i);
    }
    for (uint32_t i = 0; i < self->replica_count; i++) {
        self->replicas[i].sim = self;
        self->replicas[i].index = i;
        events_add(self, self->now + sim_below(self, 1000000), EVENT_START, i, 0, 0);
    }
    for (uint32_t i = 0; i < FAULTS; i++) {
        const bool orderly = i == FAULT_DRAIN_REPLICA || i == FAULT_PAUSE || i == FAULT_LIMIT;
        if ((!self->gentle || orderly) && sim_one_in(self, 2))
            self->faults[i] = 300000 + sim_below(self, self->chaos_ends);
        s_plan_fault(self, i);
    }
    events_add(self, 10000, EVENT_ENQUEUE, 0, 0, 0);
    if (!self->gentle && sim_one_in(self, 2))
        events_add(self, 1000000, EVENT_CANCEL, 0, 0, 0);
    events_add(self, self->chaos_ends, EVENT_PHASE, 0, 0, 0);
}

static void
s_database_down(sim_t *self)
{
    if (self->db_down)
        return;
    self->db_down = true;
    for (uint32_t i = 0; i < self->replica_count; i++)
        for (int lane = 0; lane < LANES; lane++)
            replicas_cut(self, &self->replicas[i], (lane_t) lane);
    events_add(self, self->now + sim_around(self, sim_one_in(self, 3) ? 5000000 : 500000), EVENT_DATABASE, 0,
               0, 0);
}

void
scenario_fault(sim_t *self, uint32_t kind)
{
    if (self->healing)
        return;
    replica_t *replica = s_any_replica(self);
    TRACE(self, "fault: %s", FAULT_NAMES[kind]);
    switch ((fault_t) kind) {
    case FAULT_KILL_REPLICA:
        if (replica) {
            replicas_kill(self, replica);
            events_add(self, self->now + sim_around(self, 1500000), EVENT_START, replica->index, 0, 0);
        }
        break;
    case FAULT_STOP_REPLICA:
        if (replica) {
            replica->paused_until = self->now + sim_below(self, sim_one_in(self, 2) ? 9000000 : 1000000);
            replica->impaired_until = replica->paused_until + 8000000;
        }
        break;
    case FAULT_DRAIN_REPLICA:
        if (replica && replica->paused_until <= self->now) {
            replicas_drain(self, replica);
            events_add(self, self->now + sim_around(self, 3000000), EVENT_START, replica->index, 0, 0);
        }
        break;
    case FAULT_CUT_LANE:
        if (replica && replica->paused_until <= self->now)
            replicas_cut(self, replica, (lane_t) sim_below(self, LANES));
        break;
    case FAULT_DATABASE_DOWN:
        s_database_down(self);
        break;
    case FAULT_REFUSE:
        self->refuse = (uint32_t) sim_below(self, 12);
        for (uint32_t i = 0; i < self->replica_count; i++)
            self->replicas[i].impaired_until = self->now + 15000000;
        break;
    case FAULT_KILL_HANDLER:
        mesh_handler_kill(self, (uint32_t) sim_below(self, HANDLERS));
        break;
    case FAULT_LINK:
        if (replica)
            mesh_link_lost(self, replica);
        break;
    case FAULT_PAUSE: {
        queue_row_t *queue = &self->queues[1 + sim_below(self, QUEUES)];
        queue->paused = true;
        queue->serial = ++self->serial;
        events_add(self, self->now + sim_around(self, 2000000), EVENT_RESUME,
                   (uint32_t) (queue - self->queues), 0, 0);
        break;
    }
    case FAULT_LIMIT: {
        const uint32_t at = 2 + (uint32_t) sim_below(self, 2);
        queue_row_t *queue = &self->queues[at];
        if (at == 2)
            queue->concurrency = 1 + (uint32_t) sim_below(self, 6);
        else
            queue->key_concurrency = 1 + (uint32_t) sim_below(self, 3);
        queue->serial = ++self->serial;
        database_unhold(self, at);
        break;
    }
    case FAULTS:
        break;
    }
    s_plan_fault(self, kind);
}

static void
s_heal(sim_t *self)
{
    TRACE(self, "faults end");
    self->healing = true;
    self->heal_at = self->now;
    self->refuse = 0;
    if (self->db_down)
        events_add(self, self->now, EVENT_DATABASE, 0, 0, 0);
    for (uint32_t i = 1; i <= QUEUES; i++)
        events_add(self, self->now, EVENT_RESUME, i, 0, 0);
    for (uint32_t i = 0; i < self->replica_count; i++) {
        if (self->replicas[i].paused_until > self->now + 1000000)
            self->replicas[i].paused_until = self->now + 1000000;
        events_add(self, self->now + 2000000, EVENT_START, i, 0, 0);
    }
}

static bool
s_any_alive(const sim_t *self)
{
    for (uint32_t i = 0; i < self->replica_count; i++)
        if (self->replicas[i].alive)
            return true;
    return false;
}

/* 0: faults, 1: all has to be done, 2: a while of silence, 3: all leave. */
void
scenario_phase(sim_t *self)
{
    switch (self->phase) {
    case 0:
        s_heal(self);
        self->phase = 1;
        events_add(self, self->now + 3000000, EVENT_PHASE, 0, 0, 0);
        break;
    case 1:
        for (uint32_t i = 0; i < self->replica_count; i++) /* one that drained in between */
            events_add(self, self->now, EVENT_START, i, 0, 0);
        if (checks_undone(self)) {
            SIM_REQUIRE(self, self->now < self->heal_at + HEAL_S * INT64_C(1000000),
                        "job %lld has not ended %d s after the last fault: state %d of queue %d",
                        (long long) checks_undone(self), HEAL_S, self->rows[checks_undone(self)].state,
                        self->rows[checks_undone(self)].queue);
            events_add(self, self->now + 1000000, EVENT_PHASE, 0, 0, 0);
            break;
        }
        self->phase = 2;
        events_add(self, self->now + 10000000, EVENT_PHASE, 0, 0, 0);
        break;
    case 2:
        if (checks_undone(self)) { /* a late commit made one more */
            self->phase = 1;
            events_add(self, self->now, EVENT_PHASE, 0, 0, 0);
            break;
        }
        checks_end(self);
        for (uint32_t i = 0; i < self->replica_count; i++) {
            if (!self->replicas[i].alive)
                continue;
            SIM_REQUIRE(self, engine_stats(self->replicas[i].engine).owned == 0, "owns jobs that have ended");
            replicas_drain(self, &self->replicas[i]);
        }
        self->phase = 3;
        self->heal_at = self->now;
        events_add(self, self->now + 100000, EVENT_PHASE, 0, 0, 0);
        break;
    default:
        if (s_any_alive(self)) {
            SIM_REQUIRE(self, self->now < self->heal_at + DRAIN_S * INT64_C(1000000), "does not leave");
            events_add(self, self->now + 500000, EVENT_PHASE, 0, 0, 0);
        } else {
            self->phase = 4;
        }
    }
}

void
scenario_end(sim_t *self)
{
    replicas_fini(self);
    for (uint32_t i = 1; i <= self->row_count; i++)
        weft_buf_fini(&self->rows[i].errors);
    free(self->replies);
    free(self->events);
}
