/* dispatcher - decides what happens to each message that reaches a broker.  Pure logic */
#include "broker/dispatcher.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/log.h>

#include "broker/back.h"
#include "broker/ending.h"
#include "broker/front.h"
#include "broker/hash.h"
#include "broker/loss.h"
#include "broker/outliers.h"
#include "broker/routing.h"
#include "broker/watch.h"

enum { TURNS_IN_SILENCE = 4 }; /* it wants to be called this often within silence_ms */

const dispatcher_config_t DISPATCHER_DEFAULTS = {
    .epoch = 1,
    .seed = 1,
    .in_flight_max = 65536,
    .queue_max = 10000,
    .queue_bytes_max = UINT64_C(64) << 20,
    .total_bytes_max = UINT64_C(256) << 20,
    .services_max = 1024,
    .workers_max = 4096,
    .clients_max = 10000,
    .pipe_bytes = UINT64_C(64) << 20,
    .silence_ms = 4000,
    .probe_ms = 250,
    .grace_ms = 1000,
    .forget_ms = 10000,
    .age_step_ms = 1000,
    .eject_failures = 5,
    .eject_failing_percent = 50,
    .eject_ms = 5000,
    .eject_max_percent = 34,
    .slow_max = 16,
    .ramp_ms = 5000,
    .refuse_late = true,
    .target_ms = 1000,
    .interval_ms = 1000,
};

#define COUNTERS_ROW(symbol, name, labels, help) { name, labels, help, 0 },
static const dispatcher_counter_t COUNTER_ROWS[COUNTERS_COUNT] = { COUNTERS(COUNTERS_ROW) };

dispatcher_t *
dispatcher_new(const dispatcher_config_t *config, dispatcher_send_t send, void *context)
{
    dispatcher_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    assert(config->epoch != 0 && config->slow_max <= HEALTH_SLOW_MAX);
    self->config = *config;
    self->send = send;
    self->context = context;
    memcpy(self->counters, COUNTER_ROWS, sizeof self->counters);
    peers_init(&self->peers);
    registry_init(&self->registry, config->seed, config->services_max);
    self->registry.backlog = (backlog_shared_t){ .queue_max = config->queue_max,
                                                 .bytes_max = config->queue_bytes_max,
                                                 .total_bytes_max = config->total_bytes_max,
                                                 .age_step_us = (int64_t) config->age_step_ms * 1000,
                                                 .estimate = config->refuse_late,
                                                 .target_us = (int64_t) config->target_ms * 1000,
                                                 .interval_us = (int64_t) config->interval_ms * 1000 };
    self->registry.limits = config->limits;
    answers_init(&self->answers);
    list_init(&self->pump);
    list_init(&self->stirred);
    self->health_deadline.kind = DUE_HEALTH;
    list_init(&self->watchers);
    self->watch_deadline.kind = DUE_WATCH;
    uint32_t deadlines = config->in_flight_max + config->clients_max + config->workers_max +
                         config->services_max + 2;
    if (!slab_init(&self->slab, config->in_flight_max, config->seed) ||
        !deadlines_reserve(&self->deadlines, deadlines))
        dispatcher_destroy(&self);
    return self;
}

void
dispatcher_destroy(dispatcher_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        dispatcher_t *self = *self_p;
        loss_free_all(self);
        peers_fini(&self->peers);
        registry_fini(&self->registry);
        deadlines_fini(&self->deadlines);
        slab_fini(&self->slab);
        answers_fini(&self->answers);
        free(self);
        *self_p = NULL;
    }
}

bool
core_may_log(dispatcher_t *self)
{
    int64_t second = self->now / 1000000;
    if (second != self->log_second) {
        self->log_second = second;
        self->log_count = 0;
    }
    if (self->log_count++ < LOGS_PER_SECOND)
        return true;
    core_count(self, COUNT_LOGS_SPARED);
    return false;
}

/* ---- sending */

void
core_ping_client(dispatcher_t *self, client_t *client)
{
    zmq_msg_t frame;
    /* Not to be guessed, or who does not read could answer it; and no more than half of the seed goes in,
     * which a peer could compute back. */
    const uint64_t id = hash_mix((uint32_t) hash_mix(self->config.seed) ^ hash_mix(++self->pings));
    if (client->gone || client->framed || !answers_short(&frame, WEFT_PING, id, 0))
        return;
    weft_status_t status = self->send(self->context, (peer_t){ FRONT, client->number, false }, &frame);
    (void) zmq_msg_close(&frame);
    if (status == WEFT_OK)
        window_mark(&client->window, id);
    else if (status == WEFT_RESOURCE_EXHAUSTED)
        core_count(self, COUNT_CLIENT_FULL); /* it lives */
    else
        core_lose_client(self, client);
}

weft_status_t
core_send_client(dispatcher_t *self, client_t *client, bool framed, zmq_msg_t *frame)
{
    if (client->gone)
        return WEFT_UNAVAILABLE;
    const size_t size = zmq_msg_size(frame);
    weft_status_t status = WEFT_RESOURCE_EXHAUSTED;
    if (framed || window_has_room(&client->window, size, self->config.pipe_bytes))
        status = self->send(self->context, (peer_t){ FRONT, client->number, framed }, frame);
    if (status == WEFT_OK) {
        if (!framed && window_add(&client->window, size, self->config.pipe_bytes))
            core_ping_client(self, client);
        return WEFT_OK;
    }
    if (status == WEFT_RESOURCE_EXHAUSTED) {
        core_count(self, COUNT_CLIENT_FULL);
        return status;
    }
    core_lose_client(self, client);
    return WEFT_UNAVAILABLE;
}

weft_status_t
core_send_worker(dispatcher_t *self, worker_t *worker, zmq_msg_t *frame)
{
    if (worker->gone)
        return WEFT_UNAVAILABLE;
    peer_t to = { BACK, worker->number, false };
    weft_status_t status = self->send(self->context, to, frame);
    if (status == WEFT_OK || status == WEFT_RESOURCE_EXHAUSTED)
        return status;
    core_doubt_worker(self, worker);
    return WEFT_UNAVAILABLE;
}

/* Sends to a peer that need not be known; closes the frame. */
static void
s_send_to(dispatcher_t *self, peer_t to, zmq_msg_t *frame)
{
    weft_status_t status;
    client_t *client = to.side == FRONT ? peers_client(&self->peers, to.number) : NULL;
    worker_t *worker = to.side == BACK ? peers_worker(&self->peers, to.number) : NULL;
    if (client) {
        (void) core_send_client(self, client, to.framed, frame); /* refusals are counted or noted there */
    } else if (worker) {
        status = core_send_worker(self, worker, frame);
        if (status == WEFT_RESOURCE_EXHAUSTED)
            core_count(self, COUNT_WORKER_FULL);
    } else {
        status = self->send(self->context, to, frame);
        if (status == WEFT_RESOURCE_EXHAUSTED)
            core_count(self, to.side == FRONT ? COUNT_CLIENT_FULL : COUNT_WORKER_FULL);
    }
    int rc = zmq_msg_close(frame);
    assert(rc == 0);
    (void) rc;
}

void
core_send_short(dispatcher_t *self, peer_t to, weft_kind_t kind, uint64_t id, uint64_t number)
{
    zmq_msg_t frame;
    if (answers_short(&frame, kind, id, number))
        s_send_to(self, to, &frame);
}

void
core_send_error(dispatcher_t *self, peer_t to, uint64_t id, weft_status_t status, const char *message)
{
    zmq_msg_t frame;
    if (answers_error(&self->answers, &frame, id, status, false, message, (weft_span_t){ 0 }))
        s_send_to(self, to, &frame);
    else
        core_count(self, COUNT_UNDELIVERED);
}

/* ---- receiving */

/* What begins a message of WEFT, of any version: an array, its version, its kind, its id. */
static bool
s_other_version(const unsigned char *data, size_t size, weft_kind_t *kind, uint64_t *id)
{
    if (size < 2 || (data[0] & 0xf0) != 0x90 || data[1] >= 0x80 || data[1] == WEFT_WIRE_VERSION)
        return false;
    bool legible = size >= 13 && data[2] < 0x80 && data[3] == 0xc4 && data[4] == 8;
    *kind = legible ? (weft_kind_t) data[2] : 0;
    *id = legible ? weft_wire_id(data) : 0;
    return true;
}

/* An array of version 1 with a kind that is not in SPEC.md. */
static bool
s_unknown_kind(const unsigned char *data, size_t size)
{
    return size >= 3 && (data[0] & 0xf0) == 0x90 && data[1] == WEFT_WIRE_VERSION && data[2] < 0x80 &&
           (data[2] < WEFT_REQUEST || data[2] > WEFT_WHO);
}

bool
core_decode(dispatcher_t *self, peer_t from, zmq_msg_t *frame, weft_message_t *message)
{
    const unsigned char *data = zmq_msg_data(frame);
    size_t size = zmq_msg_size(frame);
    const char *why = NULL;
    if (weft_wire_decode(data, size, message, &why) == WEFT_OK)
        return true;
    weft_kind_t kind = 0;
    uint64_t id = 0;
    if (s_other_version(data, size, &kind, &id)) {
        core_count(self, COUNT_DROPPED_VERSION);
        if (kind != 0 && kind != WEFT_REPLY && kind != WEFT_PARTIAL)
            core_send_error(self, from, id, WEFT_UNIMPLEMENTED, "version: this broker speaks WEFT/1");
    } else if (s_unknown_kind(data, size)) {
        core_count(self, COUNT_DROPPED_KIND);
    } else if ((message->kind == WEFT_REQUEST || message->kind == WEFT_READY) && size >= 13 &&
               data[3] == 0xc4 && data[4] == 8) {
        core_count(self, COUNT_ANSWERED_MALFORMED);
        core_send_error(self, from, message->id, WEFT_INVALID_ARGUMENT, why ? why : "malformed");
    } else {
        core_count(self, COUNT_DROPPED_MALFORMED);
    }
    return false;
}

void
dispatcher_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame, unsigned parts, int64_t now_us)
{
    if (self->left)
        return;
    self->now = now_us;
    if (parts != 1)
        core_count(self, COUNT_DROPPED_PARTS);
    else if (from.side == FRONT)
        front_receive(self, from, frame);
    else
        back_receive(self, from, frame);
    loss_settle(self);
}

/* ---- time */

static void
s_due(dispatcher_t *self, deadline_t *deadline)
{
    switch (deadline->kind) {
    case DUE_REQUEST:
        ending_expire(self, LIST_ITEM(deadline, request_t, deadline));
        break;
    case DUE_CLIENT:
        front_client_due(self, LIST_ITEM(deadline, client_t, deadline));
        break;
    case DUE_WORKER:
        back_worker_due(self, LIST_ITEM(deadline, worker_t, deadline));
        break;
    case DUE_SERVICE:
        routing_service_due(self, LIST_ITEM(deadline, service_t, deadline));
        break;
    case DUE_WATCH:
        watch_due(self);
        break;
    case DUE_HEALTH:
        outliers_due(self);
        break;
    default:
        assert(false && "a deadline of no kind");
    }
}

/* Nobody was silent while this process was stopped: what the peers said lies unread in the sockets. */
static void
s_excuse(dispatcher_t *self, int64_t away_us)
{
    core_count(self, COUNT_AWAY);
    weft_log_warning("the broker did not run for a while", WEFT_INT("ms", away_us / 1000));
    LIST_EACH(link, next, &self->peers.client_list)
    {
        client_t *client = LIST_ITEM(link, client_t, peers_link);
        client->last_at = client->last_at + away_us < self->now ? client->last_at + away_us : self->now;
    }
    LIST_EACH(link, next, &self->peers.worker_list)
    {
        worker_t *worker = LIST_ITEM(link, worker_t, peers_link);
        worker->last_at = worker->last_at + away_us < self->now ? worker->last_at + away_us : self->now;
    }
}

int64_t
dispatcher_tick(dispatcher_t *self, int64_t now_us)
{
    deadline_t *deadline;
    if (self->left)
        return INT64_MAX;
    int64_t turn_us = (int64_t) self->config.silence_ms * 1000 / TURNS_IN_SILENCE;
    self->now = now_us;
    if (self->started_at == 0)
        self->started_at = now_us;
    else if (now_us - self->ticked_at > 2 * turn_us && self->watchful)
        s_excuse(self, now_us - self->ticked_at);
    self->ticked_at = now_us;
    while ((deadline = deadlines_pop(&self->deadlines, now_us)) != NULL) {
        s_due(self, deadline);
        loss_settle(self);
    }
    /* While there are peers it wants to be called now and then, so that a longer gap means that it was
     * stopped. */
    int64_t next_us = deadlines_next(&self->deadlines);
    self->watchful = self->peers.clients.count + self->peers.workers.count > 0;
    return self->watchful && next_us > now_us + turn_us ? now_us + turn_us : next_us;
}

/* ---- leaving */

static void
s_tell_workers(dispatcher_t *self, weft_kind_t kind)
{
    LIST_EACH(link, next, &self->peers.worker_list)
    {
        peer_t to = { BACK, LIST_ITEM(link, worker_t, peers_link)->number, false };
        core_send_short(self, to, kind, 0, 0);
    }
}

void
dispatcher_drain(dispatcher_t *self, int64_t now_us)
{
    if (self->draining || self->left)
        return;
    self->now = now_us;
    self->draining = true;
    watch_stop(self, "this broker is leaving");
    LIST_EACH(link, next, &self->peers.client_list)
    front_say_drain(self, LIST_ITEM(link, client_t, peers_link));
    s_tell_workers(self, WEFT_DRAIN);
    loss_settle(self);
}

bool
dispatcher_settled(const dispatcher_t *self)
{
    LIST_EACH(link, next, &self->peers.client_list)
    {
        if (LIST_ITEM(link, client_t, peers_link)->unsettled)
            return false;
    }
    return true;
}

bool
dispatcher_draining(const dispatcher_t *self)
{
    return self->draining;
}

bool
dispatcher_idle(const dispatcher_t *self)
{
    const uint32_t *counts = self->slab.counts;
    return counts[REQUEST_QUEUED] + counts[REQUEST_SENT] + counts[REQUEST_ENDING] == 0;
}

uint32_t
dispatcher_bye(dispatcher_t *self, int64_t now_us)
{
    uint32_t abandoned = 0;
    if (self->left)
        return 0;
    self->now = now_us;
    self->draining = true;
    watch_stop(self, "this broker is leaving");
    LIST_EACH(link, next, &self->peers.client_list)
    {
        client_t *client = LIST_ITEM(link, client_t, peers_link);
        abandoned += client->owed;
        LIST_EACH(held, next_held, &client->requests)
        {
            abandoned++;
            ending_fail(self, LIST_ITEM(held, request_t, client_link), WEFT_UNAVAILABLE,
                        "this broker is leaving");
        }
    }
    LIST_EACH(link, next, &self->peers.client_list)
    {
        const client_t *client = LIST_ITEM(link, client_t, peers_link);
        const peer_t to = { FRONT, client->number, false };
        if (!client->framed)
            core_send_short(self, to, WEFT_BYE, 0, 0);
    }
    s_tell_workers(self, WEFT_BYE);
    loss_settle(self);
    self->left = true;
    return abandoned;
}

/* ---- what it says about itself */

const dispatcher_counter_t *
dispatcher_counters(const dispatcher_t *self, size_t *count)
{
    *count = COUNTERS_COUNT;
    return self->counters;
}

uint32_t
dispatcher_in_flight(const dispatcher_t *self)
{
    return self->slab.used - self->slab.counts[REQUEST_ABANDONED];
}

uint32_t
dispatcher_queued(const dispatcher_t *self)
{
    return self->slab.counts[REQUEST_QUEUED];
}

uint32_t
dispatcher_workers(const dispatcher_t *self)
{
    return self->peers.workers.count;
}

uint32_t
dispatcher_clients(const dispatcher_t *self)
{
    return self->peers.clients.count;
}

uint32_t
dispatcher_services(const dispatcher_t *self)
{
    return self->registry.services.count;
}

uint64_t
dispatcher_bytes(const dispatcher_t *self)
{
    return self->slab.used * sizeof(request_t) + self->registry.backlog.total_bytes + self->kept_bytes +
           peers_bytes(&self->peers) + registry_bytes(&self->registry) +
           self->watcher_count * sizeof(watcher_t);
}

void
dispatcher_on_wait(dispatcher_t *self, void (*on_wait)(void *context, int64_t wait_us), void *context)
{
    self->on_wait = on_wait;
    self->on_wait_context = context;
}

void
dispatcher_each_service(const dispatcher_t *self,
                        void (*visit)(void *context, const dispatcher_service_t *service), void *context)
{
    LIST_EACH(link, next, &self->registry.order)
    {
        const service_t *service = LIST_ITEM(link, service_t, order_link);
        dispatcher_service_t seen = {
            .name = service->name,
            .workers = service->workers,
            .outstanding = service->outstanding,
            .limit = service->limit,
            .queued = service->backlog.count,
            .capacity = service->capacity,
            .requests = service->requests,
            .failures = service->failures,
            .retries = service->retries,
            .refused = service->refused,
            .ejected = service->health.out,
            .slow = service->health.slow,
        };
        visit(context, &seen);
    }
}
