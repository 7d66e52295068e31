/* engine_lease - this process among the others: joins, renews its lease, takes over from the dead, leaves
 *
 * NONE -JOIN-> NUMBERED -BEAT-> HELD -lease_ms without a BEAT-> IN DOUBT (nothing begins) -BEAT-> HELD
 * any of these -BEAT says that others took our jobs-> NONE;  all but NONE -drained, LEAVE-> LEFT */
#include <assert.h>
#include <stdlib.h>

#include "engine_core.h"

bool
lease_valid(const engine_t *self)
{
    return self->number != 0 && self->now < self->lease_until;
}

int64_t
lease_clock(const engine_t *self, int64_t at)
{
    /* Clocks drift: by far less than a thousandth, and there is a heartbeat each second. */
    if (self->clock_us == 0)
        return INT64_MIN;
    const int64_t since = at - self->clock_received;
    return self->clock_us + since - (since > 0 ? since : -since) / 1000 - 1000;
}

void
lease_promote_at(engine_t *self, int64_t at)
{
    if (!self->promote_due && at < deadlines_at(&self->deadlines, &self->promote_deadline))
        deadlines_set(&self->deadlines, &self->promote_deadline, at);
}

static int64_t
s_lease_us(const engine_t *self)
{
    return self->config.lease_ms * 1000;
}

static bool
s_idle(const engine_t *self)
{
    return self->owned == 0 && self->insert_count == 0 && !self->lanes[LANE_INSERT].sent &&
           !self->lanes[LANE_CLAIM].sent && !self->lanes[LANE_FINISH].sent;
}

/* Nobody is taken for dead before we held our own lease for as long as a lease lasts: after the database was
 * away, all are late. */
static bool
s_may_reap(const engine_t *self)
{
    return lease_valid(self) && self->now - self->held_since >= s_lease_us(self);
}

batch_t *
lease_take(engine_t *self)
{
    batch_kind_t kind = BATCH_JOIN;
    if (self->number == 0) {
        if (self->draining)
            return NULL;
    } else if (self->beat_due) {
        kind = BATCH_BEAT;
    } else if (self->draining && s_idle(self)) {
        kind = BATCH_LEAVE;
    } else if (self->promote_due && lease_valid(self)) {
        kind = BATCH_PROMOTE;
    } else if (self->reap_due && s_may_reap(self)) {
        kind = BATCH_REAP;
    } else {
        return NULL;
    }
    batch_t *batch = batch_new(kind, LANE_LEASE, self->number);
    if (!batch)
        return NULL;
    batch->lease = (lease_t){ .number = self->number,
                              .lease_ms = self->config.lease_ms,
                              .instance = self->config.instance,
                              .next_due_us = INT64_MAX };
    batch->limit = ENGINE_MOVE_MAX;
    batch->moved_since_us = INT64_MAX;
    if (kind == BATCH_BEAT)
        self->beat_due = false;
    else if (kind == BATCH_PROMOTE)
        self->promote_due = false;
    else if (kind == BATCH_REAP)
        self->reap_due = false;
    return batch;
}

static void
s_joined(engine_t *self, const batch_t *batch)
{
    self->number = batch->lease.number;
    self->lease_until = INT64_MIN;
    self->held_since = INT64_MAX;
    self->beat_due = true; /* which tells the time and who else is there */
    self->recover_due = self->recovering = false;
    self->recover_step = UINT32_MAX;
    deadlines_set(&self->deadlines, &self->recover_deadline, self->now + ENGINE_RECOVER_MS * INT64_C(1000));
    for (uint32_t i = 0; i < self->queue_count; i++)
        queues_look(self, self->queues[i]);
}

/* Others took our jobs: whatever runs here is theirs to run. */
static void
s_lost(engine_t *self)
{
    self->stats.leases_lost++;
    self->number = 0;
    self->recover_due = false;
    deadlines_clear(&self->deadlines, &self->recover_deadline);
    deadlines_clear(&self->deadlines, &self->beat_deadline);
    for (uint32_t i = 0; i < self->slots; i++) {
        attempt_t *attempt = attempts_at(self, i);
        if (attempt->state == ATTEMPT_CALLING)
            self->events.cancel_call(self->events.context, attempts_token(attempt));
        if (attempt->state != ATTEMPT_FREE)
            attempts_drop(self, attempt);
    }
}

/* The first scheduled job, by our clock: when the database's has surely passed it. */
static void
s_due(engine_t *self, int64_t next_due_us, int64_t clock_us)
{
    if (next_due_us == INT64_MAX || clock_us == 0)
        return;
    const int64_t wait = next_due_us > clock_us ? next_due_us - clock_us : 0;
    if (wait < INT64_C(3600000000)) /* a later heartbeat says it again */
        lease_promote_at(self, self->now + wait + 1000 + engine_jitter(self, 4000));
}

static void
s_beat(engine_t *self, batch_t *batch)
{
    lease_t *lease = &batch->lease;
    const int64_t sent_at = self->lanes[LANE_LEASE].sent_at;
    if (!lease->alive) {
        s_lost(self);
        return;
    }
    /* Later than half a lease behind the last one: whatever kept us may have kept others until theirs had
     * ended. (While the database is away for more than two thirds of a lease, one that was about to renew
     * loses it.) */
    if (sent_at >= self->lease_until || sent_at - self->clock_sent > s_lease_us(self) / 2)
        self->held_since = self->now;
    /* It was renewed after it was sent, and our clock may be slow by as much as a tenth. */
    self->lease_until = sent_at + s_lease_us(self) - s_lease_us(self) / 10;
    self->clock_us = lease->now_us;
    self->clock_sent = sent_at;
    self->clock_received = self->now;
    deadlines_set(&self->deadlines, &self->beat_deadline, sent_at + s_lease_us(self) / 3);
    if (self->reap_deadline.place == 0 && !self->reap_due)
        deadlines_set(&self->deadlines, &self->reap_deadline, self->now);
    const uint32_t replicas = lease->replicas ? lease->replicas : 1;
    if (replicas != self->replicas) {
        self->replicas = replicas;
        for (uint32_t i = 0; i < self->queue_count; i++)
            window_share(&self->queues[i]->window, self->queues[i]->config.capacity, replicas);
    }
    s_due(self, lease->next_due_us, lease->now_us);
    for (uint32_t i = 0; i < lease->cancel_count; i++)
        engine_cancel(self, lease->cancels[i], self->now);
    queues_wake_all(self);
}

static void
s_moved(engine_t *self, const batch_t *batch)
{
    for (uint32_t i = 0; i < batch->moved_queue_count; i++) {
        queue_t *queue = queues_get(self, batch->moved_queues[i]);
        for (uint8_t priority = 0; queue && priority < JOB_PRIORITIES; priority++)
            queues_want(self, queue, priority, batch->moved_since_us);
    }
}

static void
s_reaped(engine_t *self, const batch_t *batch)
{
    if (batch->end == BATCH_OK) {
        self->stats.takeovers += batch->moved;
        s_moved(self, batch);
    }
    if (batch->end == BATCH_OK && batch->moved >= batch->limit) {
        self->reap_due = true;
        return;
    }
    const int64_t wait = ENGINE_REAP_MS * INT64_C(1000);
    deadlines_set(&self->deadlines, &self->reap_deadline, self->now + wait + engine_jitter(self, wait / 4));
}

static void
s_promoted(engine_t *self, const batch_t *batch)
{
    if (batch->end != BATCH_OK) {
        self->promote_due = true;
        return;
    }
    s_moved(self, batch);
    if (batch->moved >= batch->limit)
        self->promote_due = true;
    else
        s_due(self, batch->lease.next_due_us, lease_clock(self, self->now));
}

void
lease_done(engine_t *self, batch_t *batch)
{
    switch (batch->kind) {
    case BATCH_JOIN:
        if (batch->end == BATCH_OK)
            s_joined(self, batch);
        break;
    case BATCH_BEAT:
        if (batch->end == BATCH_OK)
            s_beat(self, batch);
        else
            self->beat_due = true;
        break;
    case BATCH_REAP:
        s_reaped(self, batch);
        break;
    case BATCH_PROMOTE:
        s_promoted(self, batch);
        break;
    case BATCH_LEAVE:
        if (batch->end == BATCH_OK) {
            self->number = 0;
            self->left = true;
        }
        break;
    case BATCH_INSERT:
    case BATCH_CLAIM:
    case BATCH_RECOVER:
    case BATCH_FINISH:
        assert(false); /* not of this lane */
    }
}
