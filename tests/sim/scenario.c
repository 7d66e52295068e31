/* scenario - what a seed stands for: who is there, what goes wrong when, and how it ends
 *
 * Chaos, then healing (faults stop, everybody is there again), then probes that must succeed, then silence in
 * which nothing may be left, then everybody but the brokers leaves and they must hold nothing at all. */
#include <stdlib.h>

#include <weft/log.h>

#include "sim/sim.h"

enum { SECOND = 1000000 };

static node_t *
s_add(sim_t *self, role_t role)
{
    node_t *node = &self->nodes[self->node_count];
    node->sim = self;
    node->role = role;
    node->index = self->node_count++;
    node->life = 1;
    return node;
}

static void
s_add_broker(sim_t *self)
{
    node_t *node = s_add(self, BROKER);
    node->next_peer = 1;
    node->config = DISPATCHER_DEFAULTS;
    node->config.in_flight_max = 4096;
    node->config.clients_max = node->config.workers_max = 64;
    node->config.services_max = 16;
    node->config.eject_failures = 1 + (uint32_t) sim_below(self, 6);
    node->config.eject_ms = 200 + (uint32_t) sim_below(self, 1000); /* the longest ends while all is silent */
    node->config.eject_max_percent = sim_one_in(self, 3) ? 100 : 34;
    node->config.ramp_ms = 200 + (uint32_t) sim_below(self, 3000);
    if (self->gentle)
        return;
    node->config.in_flight_max = sim_one_in(self, 3) ? 8 + (uint32_t) sim_below(self, 40) : 1024;
    node->config.queue_max = sim_one_in(self, 2) ? 1 + (uint32_t) sim_below(self, 20) : 500;
    if (sim_one_in(self, 4))
        node->config.queue_bytes_max = 500 + (uint64_t) sim_below(self, 5000);
    if (sim_one_in(self, 4))
        node->config.total_bytes_max = 1000 + (uint64_t) sim_below(self, 10000);
}

/* Limits and queues that are soon too long.  Drawn from numbers of their own: the schedules of seeds that
 * were found to matter stay what they are. */
static void
s_draw_overload(sim_t *self)
{
    weft_rng_t rng;
    weft_rng_seed(&rng, self->seed ^ UINT64_C(0x6f7665726c6f6164));
    for (uint32_t i = 0; i < self->brokers; i++) {
        dispatcher_config_t *config = &self->nodes[i].config;
        char text[64];
        char why[80];
        if (weft_rng_below(&rng, 3) == 0) {
            const uint32_t least = self->gentle ? 2 : 1;
            (void) weft_format(
                text, sizeof text, "alpha=%u,beta.*=%u,*=%u", least + (uint32_t) weft_rng_below(&rng, 4),
                least + (uint32_t) weft_rng_below(&rng, 4), least + (uint32_t) weft_rng_below(&rng, 9));
            if (!limits_parse(&config->limits, text, why, sizeof why))
                sim_fail(self, "limits: %s", why);
        }
        if (self->gentle)
            continue;
        config->refuse_late = weft_rng_below(&rng, 4) > 0;
        if (weft_rng_below(&rng, 2) == 0)
            continue;
        config->target_ms = (uint32_t) weft_rng_below(&rng, 300);
        config->interval_ms = 1 + (uint32_t) weft_rng_below(&rng, 300);
    }
}

static void
s_add_worker(sim_t *self, uint32_t number)
{
    node_t *node = s_add(self, WORKER);
    node->threads = 1 + (uint32_t) sim_below(self, 4);
    node->capacity = node->threads + (uint32_t) sim_below(self, 5);
    node->service_time = sim_one_in(self, 3) ? 1000 + sim_below(self, 20000) : 1000 + sim_below(self, 300000);
    if (self->gentle)
        node->service_time = 100 + sim_below(self, 5000);
    node->stubborn = sim_one_in(self, 3);
    node->offers[number % SERVICES] = true;
    for (uint32_t i = 0; i < SERVICES; i++)
        if (self->gentle || sim_one_in(self, 3))
            node->offers[i] = true;
}

static void
s_draw_faults(sim_t *self)
{
    static const int64_t MEANS[FAULTS] = {
        [FAULT_CUT] = SECOND / 2,     [FAULT_HOLE] = 2 * SECOND,        [FAULT_KILL_WORKER] = SECOND,
        [FAULT_KILL_CLIENT] = SECOND, [FAULT_KILL_BROKER] = 3 * SECOND, [FAULT_PAUSE] = SECOND,
        [FAULT_DEAF] = SECOND,        [FAULT_DRAIN_WORKER] = SECOND,    [FAULT_DRAIN_BROKER] = 3 * SECOND,
        [FAULT_REOFFER] = SECOND / 2, [FAULT_FLOOD] = SECOND,           [FAULT_SICK] = SECOND,
    };
    for (int i = 0; i < FAULTS; i++) {
        if (self->gentle ? i != FAULT_DRAIN_WORKER && i != FAULT_DRAIN_BROKER : !sim_one_in(self, 3))
            continue;
        self->faults[i] = MEANS[i] / 2 + sim_below(self, MEANS[i] * 2);
        events_add(self, sim_around(self, self->faults[i]), EVENT_FAULT, (uint32_t) i, 0, 0);
    }
}

void
scenario_begin(sim_t *self)
{
    self->gentle = sim_one_in(self, 5);
    self->brokers = (self->gentle ? 2 : 1) + (uint32_t) sim_below(self, self->gentle ? 2 : BROKERS_MAX);
    for (uint32_t i = 0; i < self->brokers; i++)
        s_add_broker(self);
    s_draw_overload(self);
    const uint32_t workers = SERVICES + (uint32_t) sim_below(self, 3);
    for (uint32_t i = 0; i < workers; i++)
        s_add_worker(self, i);
    for (int64_t clients = 1 + sim_below(self, 4); clients > 0; clients--) {
        node_t *node = s_add(self, CLIENT);
        node->submit_every = self->gentle ? 10000 + sim_below(self, 50000) : 3000 + sim_below(self, 100000);
    }
    if (!self->gentle) {
        for (int64_t count = sim_one_in(self, 2) ? sim_below(self, 3) : 0; count > 0; count--)
            s_add(self, HOSTILE_WORKER)->submit_every = 5000 + sim_below(self, 50000);
        for (int64_t count = sim_one_in(self, 2) ? sim_below(self, 3) : 0; count > 0; count--)
            s_add(self, HOSTILE_CLIENT)->submit_every = 5000 + sim_below(self, 50000);
    }
    for (uint32_t i = 0; i < self->node_count; i++)
        events_add(self,
                   i < self->brokers                               ? 0
                   : self->gentle && self->nodes[i].role == CLIENT ? SECOND
                                                                   : sim_below(self, SECOND / 2),
                   EVENT_START, i, 0, 0);
    s_draw_faults(self);
    self->chaos_ends = (3 + sim_below(self, 8)) * SECOND;
    events_add(self, self->chaos_ends, EVENT_PHASE, 0, 0, 0);
}

void
scenario_start(sim_t *self, uint32_t index)
{
    node_t *node = &self->nodes[index];
    if (node->alive || self->phase >= 3)
        return;
    node->alive = true;
    node->paused_until = node->deaf_until = 0;
    TRACE(self, "start node %u", index);
    switch (node->role) {
    case BROKER:
        brokers_start(self, node);
        break;
    case WORKER:
        workers_start(self, node);
        workers_touch(self, node);
        break;
    case CLIENT:
        clients_start(self, node);
        clients_touch(self, node);
        break;
    case HOSTILE_CLIENT:
    case HOSTILE_WORKER:
        for (uint32_t i = 0; i < self->brokers; i++)
            network_connect(self, index, i);
        events_add(self, self->now + node->submit_every, EVENT_SUBMIT, index, 0, node->life);
        break;
    }
}

/* ---- faults */

static node_t *
s_pick(sim_t *self, role_t role)
{
    node_t *picked = NULL;
    int64_t count = 0;
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        if (node->role == role && node->alive && !node->leaving && node->leave_at == 0 &&
            node->paused_until <= self->now && sim_one_in(self, ++count))
            picked = node;
    }
    return picked;
}

/* All of that role are there, and have been long enough to be known. */
static bool
s_all_there(const sim_t *self, role_t role)
{
    for (uint32_t i = 0; i < self->node_count; i++) {
        const node_t *node = &self->nodes[i];
        if (node->role == role && (!node->alive || node->leaving || node->leave_at != 0))
            return false;
        if (role == WORKER && node->role == WORKER &&
            worker_session_links_serving(node->worker) < self->brokers)
            return false;
        if (node->role == CLIENT && (!node->alive || client_session_links_up(node->client) < self->brokers))
            return false;
    }
    return true;
}

static conn_t *
s_pick_conn(sim_t *self)
{
    for (int tries = 0; tries < 10; tries++) {
        const node_t *node = &self->nodes[sim_below(self, self->node_count)];
        conn_t *conn = network_conn(self, node->conns[sim_below(self, self->brokers)]);
        if (node->role != BROKER && conn && conn->peer_open)
            return conn;
    }
    return NULL;
}

static void
s_fault(sim_t *self, fault_t kind)
{
    node_t *node = NULL;
    conn_t *conn = NULL;
    switch (kind) {
    case FAULT_CUT:
        if ((conn = s_pick_conn(self)) != NULL)
            network_cut(self, conn);
        break;
    case FAULT_HOLE:
        if ((conn = s_pick_conn(self)) != NULL) {
            TRACE(self, "hole %u", conn->number);
            conn->hole = true;
        }
        break;
    case FAULT_KILL_WORKER:
        if ((node = s_pick(self, WORKER)) != NULL)
            workers_kill(self, node);
        break;
    case FAULT_KILL_CLIENT:
        if ((node = s_pick(self, CLIENT)) != NULL)
            clients_kill(self, node);
        break;
    case FAULT_KILL_BROKER:
        if ((node = s_pick(self, BROKER)) != NULL)
            brokers_kill(self, node);
        break;
    case FAULT_PAUSE:
        node = s_pick(self, (role_t) sim_below(self, BROKER + 1));
        if (node) {
            node->paused_until = self->now + sim_below(self, sim_one_in(self, 2) ? SECOND / 2 : 9 * SECOND);
            TRACE(self, "pause node %u until %lld", node->index, (long long) node->paused_until);
        }
        break;
    case FAULT_DEAF:
        node = s_pick(self, (role_t) sim_below(self, BROKER));
        if (node) {
            node->deaf_until = self->now + sim_below(self, 5 * SECOND);
            TRACE(self, "deaf node %u until %lld", node->index, (long long) node->deaf_until);
        }
        break;
    case FAULT_DRAIN_WORKER:
        if (self->gentle && (!s_all_there(self, WORKER) || !s_all_there(self, BROKER)))
            break;
        if ((node = s_pick(self, WORKER)) != NULL)
            workers_drain(self, node);
        break;
    case FAULT_DRAIN_BROKER:
        if (self->gentle && (!s_all_there(self, WORKER) || !s_all_there(self, BROKER)))
            break;
        if ((node = s_pick(self, BROKER)) != NULL)
            brokers_drain(self, node);
        break;
    case FAULT_REOFFER:
        if ((node = s_pick(self, WORKER)) != NULL)
            workers_reoffer(self, node);
        break;
    case FAULT_FLOOD:
        if ((node = s_pick(self, CLIENT)) != NULL) {
            for (int64_t count = sim_below(self, 100); count > 0; count--)
                clients_submit(self, node);
            clients_touch(self, node);
        }
        break;
    case FAULT_SICK:
        if ((node = s_pick(self, WORKER)) != NULL) {
            node->sick_until = self->now + sim_below(self, 6 * SECOND);
            node->sick_times = sim_one_in(self, 2) ? 2 + sim_below(self, 30) : 1;
            node->sick_fails = sim_one_in(self, 2) ? 30 + (uint32_t) sim_below(self, 71) : 0;
            TRACE(self, "worker %u is sick until %lld: %lld times as slow, fails %u of 100", node->index,
                  (long long) node->sick_until, (long long) node->sick_times, node->sick_fails);
        }
        break;
    case FAULTS:
        break;
    }
}

/* The dead come back after a while. */
static void
s_revive(sim_t *self, int64_t within)
{
    for (uint32_t i = 0; i < self->node_count; i++)
        if (!self->nodes[i].alive)
            events_add(self, self->now + sim_below(self, within), EVENT_START, i, 0, 0);
}

void
scenario_fault(sim_t *self, uint32_t kind)
{
    if (self->healing)
        return;
    s_fault(self, (fault_t) kind);
    s_revive(self, 2 * SECOND);
    events_add(self, self->now + 1 + sim_around(self, self->faults[kind]), EVENT_FAULT, kind, 0, 0);
}

/* ---- phases */

/* Once every capacity is what it was at the beginning. */
static void
s_offer_all(sim_t *self, node_t *node)
{
    if (node->role != WORKER || !node->alive || node->leaving || node->paused_until > self->now)
        return;
    workers_offer_all(self, node);
    workers_touch(self, node);
}

static void
s_heal(sim_t *self)
{
    self->healing = self->stopped = true;
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        if (node->alive && (node->role == HOSTILE_CLIENT || node->role == HOSTILE_WORKER)) {
            node->alive = false;
            network_node_gone(self, node, false);
            node->life++;
        } else {
            s_offer_all(self, node);
        }
    }
}

static void
s_revive_honest(sim_t *self)
{
    for (uint32_t i = 0; i < self->node_count; i++) {
        const node_t *node = &self->nodes[i];
        if (!node->alive && node->role != HOSTILE_CLIENT && node->role != HOSTILE_WORKER)
            events_add(self, self->now, EVENT_START, i, 0, 0);
    }
}

static void
s_probe(sim_t *self)
{
    int64_t probes = 0;
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        if (node->role != CLIENT)
            continue;
        SIM_REQUIRE(self, node->alive && client_session_links_up(node->client) == self->brokers,
                    "client %u is not connected to all brokers", i);
        /* One after the other: some pipes hold only eight frames, some queues one request. */
        for (uint32_t k = 0; k < SERVICES * METHODS; k++)
            events_add(self, self->now + probes++ * SECOND / 2, EVENT_PROBE, i, k, 0);
    }
}

/* So many calls of each service that every worker has to get some of them, at whatever broker they arrive:
 * also one that is tried once in 64 requests. */
static void
s_load(sim_t *self)
{
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        memset(node->got, 0, sizeof node->got);
        if (node->role != CLIENT || self->load_calls > 0)
            continue;
        self->load_calls = 60 + 80 * self->brokers;
        for (uint32_t k = 0; k < self->load_calls * SERVICES; k++)
            events_add(self, self->now + k * (SECOND / 75), EVENT_LOAD, i, k % SERVICES, 0);
    }
}

/* A quarter of the seeds, where nothing is so small that calls are refused before they are looked at. */
static bool
s_wants_load(const sim_t *self)
{
    for (uint32_t i = 0; i < self->brokers; i++)
        if (self->nodes[i].config.in_flight_max < 1000)
            return false;
    return self->seed % 4 == 0 && self->call_count + 1000 < CALLS_MAX;
}

static void
s_leave(sim_t *self)
{
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        if (node->role == CLIENT && node->alive)
            clients_leave(self, node);
        else if (node->role == WORKER && node->alive)
            workers_drain(self, node);
    }
}

void
scenario_phase(sim_t *self)
{
    TRACE(self, "phase %u", self->phase);
    switch (self->phase++) {
    case 0:
        s_heal(self);
        s_revive_honest(self);
        /* Who is paused or deaf comes round; drains end. */
        events_add(self, self->now + 12 * SECOND, EVENT_PHASE, 0, 0, 0);
        break;
    case 1: /* whoever left in good order, or was paused meanwhile */
        checks_credits(self);
        s_revive_honest(self);
        for (uint32_t i = 0; i < self->node_count; i++)
            s_offer_all(self, &self->nodes[i]);
        events_add(self, self->now + 25 * SECOND, EVENT_PHASE, 0, 0, 0);
        break;
    case 2:
        checks_quiet(self);
        s_probe(self);
        events_add(self, self->now + 24 * SECOND, EVENT_PHASE, 0, 0, 0);
        break;
    case 3:
        checks_quiet(self);
        if (s_wants_load(self))
            s_load(self);
        events_add(self, self->now + (self->load_calls > 0 ? 60 * SECOND : 0), EVENT_PHASE, 0, 0, 0);
        break;
    case 4:
        checks_quiet(self);
        checks_all_work(self);
        s_leave(self);
        events_add(self, self->now + 80 * SECOND, EVENT_PHASE, 0, 0, 0);
        break;
    default:
        checks_empty(self);
        self->event_count = 0;
        break;
    }
}

void
scenario_end(sim_t *self)
{
    for (uint32_t i = 0; i < self->node_count; i++) {
        node_t *node = &self->nodes[i];
        if (node->dispatcher)
            checks_refusals(self, node);
        dispatcher_destroy(&node->dispatcher);
        client_session_destroy(&node->client);
        worker_session_destroy(&node->worker);
        free(node->jobs);
        free(node->peers);
    }
    network_free(self);
    free(self->events);
}

/* ---- time */

void
scenario_wake(sim_t *self, node_t *node, int64_t at)
{
    node->tick_mark++; /* what was planned before is void */
    node->tick_at = at;
    if (at != INT64_MAX)
        events_add(self, at, EVENT_TICK, node->index, 0, node->tick_mark);
}

void
scenario_tick(sim_t *self, node_t *node)
{
    if (node->paused_until > self->now) {
        scenario_wake(self, node, node->paused_until);
        return;
    }
    switch (node->role) {
    case BROKER:
        brokers_tick(self, node);
        break;
    case CLIENT:
        clients_touch(self, node);
        break;
    case WORKER:
        workers_touch(self, node);
        break;
    case HOSTILE_CLIENT:
    case HOSTILE_WORKER:
        break;
    }
}
