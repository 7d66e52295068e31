/* worker_session - a worker's side of the protocol: events, time, drain */
#include "session/worker_session.h"

#include <stdlib.h>

#include "session/worker_private.h"

enum { HELD_MAX = 256 * 1024 };

const worker_session_config_t WORKER_SESSION_DEFAULTS = { .ping_ms = 1000, .silence_ms = 4000, .seed = 1 };

worker_session_t *
worker_session_new(const worker_session_config_t *config, const worker_session_callbacks_t *callbacks,
                   void *context)
{
    worker_session_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->callbacks = *callbacks;
    self->context = context;
    weft_rng_seed(&self->rng, config->seed);
    self->heartbeat = (heartbeat_t){ .ping_ms = config->ping_ms, .silence_ms = config->silence_ms };
    self->flush_at = INT64_MAX;
    frames_init(&self->frames);
    if (!slots_init(&self->held, sizeof(held_t), HELD_MAX, (uint32_t) weft_rng_next(&self->rng)))
        worker_session_destroy(&self);
    return self;
}

/* ---- links come and go ---- */

/* The broker does not know us, or is another than before. */
static void
s_unknown_here(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    /* It was sent before our READYs arrived: they are the answer. */
    if (broker->registering) {
        self->stats.duplicates++;
        return;
    }
    if (broker->drain != DRAIN_NONE)
        broker->drain = DRAIN_DONE;
    worker_broker_register(self, broker, now_ms);
    worker_held_orphan_all(self, broker);
}

void
worker_session_up(worker_session_t *self, uint32_t number, int64_t now_ms)
{
    if (self->closed || worker_broker_find(self, number))
        return;
    if (self->broker_count == self->broker_room) {
        const uint32_t room = self->broker_room ? self->broker_room * 2 : 4;
        broker_t **brokers = realloc(self->brokers, room * sizeof(broker_t *));
        if (!brokers)
            abort(); /* as many as there are addresses: a number of our side's choice */
        self->brokers = brokers;
        self->broker_room = room;
    }
    broker_t *broker = calloc(1, sizeof *broker);
    if (!broker)
        abort();
    broker->readies = calloc(self->offer_count + 1, sizeof *broker->readies);
    if (!broker->readies)
        abort();
    link_up(&broker->link, number, now_ms);
    list_init(&broker->held);
    list_init(&broker->outbox);
    broker->ids.seed = weft_rng_next(&self->rng);
    broker->drain = self->draining ? DRAIN_DONE : DRAIN_NONE;
    self->brokers[self->broker_count++] = broker;
    worker_broker_register(self, broker, now_ms);
}

void
worker_session_down(worker_session_t *self, uint32_t number, int64_t now_ms)
{
    (void) now_ms;
    broker_t *broker = worker_broker_find(self, number);
    if (!broker)
        return;
    broker->link.state = LINK_DOWN;
    self->stats.broker_losses++;
    worker_held_orphan_all(self, broker);
    worker_broker_free(self, broker);
}

/* ---- messages ---- */

static void
s_malformed(worker_session_t *self, broker_t *broker, const weft_message_t *message, weft_status_t status,
            const char *why, int64_t now_ms)
{
    uint32_t slot;
    self->stats.malformed++;
    if (status == WEFT_UNIMPLEMENTED || message->kind != WEFT_REQUEST)
        return;                                           /* another version is ignored by all but brokers */
    if (!id_table_find(&broker->ids, message->id, &slot)) /* else it would end another */
        worker_held_refuse(self, broker, message->id, status, why, now_ms);
}

static void
s_answer(worker_session_t *self, broker_t *broker, const weft_message_t *message, int64_t now_ms)
{
    const char *why;
    if (weft_wire_check(message, &why) != WEFT_OK) {
        self->stats.malformed++;
    } else if (broker->drain == DRAIN_SENT && message->id == broker->drain_id) {
        broker->drain = DRAIN_DONE;
    } else if (!worker_broker_registered(self, broker, message, now_ms)) {
        self->stats.unexpected++;
    }
}

static void
s_message(worker_session_t *self, broker_t *broker, const weft_message_t *message, zmq_msg_t *frame,
          int64_t now_ms)
{
    switch (message->kind) {
    case WEFT_REQUEST:
        worker_held_take(self, broker, message, frame, now_ms);
        break;
    case WEFT_CANCEL:
        worker_held_cancel(self, broker, message->id);
        break;
    case WEFT_REPLY:
        s_answer(self, broker, message, now_ms);
        break;
    case WEFT_PING: {
        zmq_msg_t pong;
        const weft_message_t answer = { .kind = WEFT_PONG, .id = message->id };
        frames_encode(&self->frames, &answer, &pong);
        (void) worker_broker_say(self, broker, &pong); /* full: the next PING asks again */
        break;
    }
    case WEFT_PONG: {
        const bool other = broker->epoch != 0 && message->epoch != 0 && message->epoch != broker->epoch;
        if (message->epoch != 0)
            broker->epoch = message->epoch;
        if (other)
            s_unknown_here(self, broker, now_ms);
        break;
    }
    case WEFT_WHO:
        broker->epoch = message->epoch;
        s_unknown_here(self, broker, now_ms);
        break;
    case WEFT_DRAIN:
        if (broker->link.state == LINK_UP)
            broker->link.state = LINK_DRAINING;
        break;
    case WEFT_BYE:
        worker_broker_drop(self, broker);
        break;
    case WEFT_PARTIAL:
    case WEFT_READY:
        self->stats.unexpected++; /* nothing that a broker says to a worker */
        break;
    }
}

void
worker_session_receive(worker_session_t *self, uint32_t number, zmq_msg_t *frame, int64_t now_ms)
{
    broker_t *broker = worker_broker_find(self, number);
    if (!broker || broker->link.state == LINK_DOWN)
        return;
    broker->link.heard_at = now_ms;
    weft_message_t message;
    const char *why;
    const weft_status_t status = weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why);
    if (status == WEFT_OK)
        s_message(self, broker, &message, frame, now_ms);
    else
        s_malformed(self, broker, &message, status, why, now_ms);
}

/* ---- drain and end ---- */

static void
s_send_drain(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    if (worker_broker_say_short(self, broker, WEFT_DRAIN, broker->drain_id)) {
        broker->drain = DRAIN_SENT;
        broker->drain_again_at = now_ms + self->config.silence_ms;
    } else {
        broker->drain = DRAIN_WANTED;
        worker_broker_flush_soon(self, now_ms);
    }
}

void
worker_session_drain(worker_session_t *self, int64_t now_ms)
{
    if (self->draining)
        return;
    self->draining = true;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        broker_t *broker = self->brokers[i];
        broker->drain_id = weft_rng_next(&self->rng);
        if (broker->link.state == LINK_DOWN)
            broker->drain = DRAIN_DONE;
        else
            s_send_drain(self, broker, now_ms);
    }
}

bool
worker_session_drained(const worker_session_t *self)
{
    if (!self->draining || self->held.used > 0)
        return false;
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->drain != DRAIN_DONE && self->brokers[i]->link.state != LINK_DOWN)
            return false;
    return true;
}

void
worker_session_bye(worker_session_t *self, int64_t now_ms)
{
    (void) now_ms;
    self->closed = true;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        broker_t *broker = self->brokers[i];
        if (broker->link.state != LINK_DOWN)
            (void) worker_broker_say_short(self, broker, WEFT_BYE, weft_rng_next(&self->rng));
        broker->link.state = LINK_DOWN;
    }
}

void
worker_session_destroy(worker_session_t **self_p)
{
    if (!self_p || !*self_p)
        return;
    worker_session_t *self = *self_p;
    for (uint32_t slot = 0; slot < self->held.made; slot++) {
        held_t *held = slots_at(&self->held, slot);
        if (held)
            worker_held_forget(self, held);
    }
    while (self->broker_count > 0)
        worker_broker_free(self, self->brokers[0]);
    free(self->brokers);
    for (uint32_t i = 0; i < self->offer_count; i++)
        free(self->offers[i].descriptor);
    free(self->offers);
    deadlines_fini(&self->due);
    slots_fini(&self->held);
    frames_fini(&self->frames);
    free(self);
    *self_p = NULL;
}

/* ---- time ---- */

static int64_t
s_tick_link(worker_session_t *self, broker_t *broker, bool flush, int64_t now_ms)
{
    switch (link_due(&broker->link, &self->heartbeat, &self->rng, now_ms)) {
    case LINK_LOST:
        worker_broker_drop(self, broker); /* may free it */
        return INT64_MAX;
    case LINK_PING:
        worker_broker_ping(self, broker);
        break;
    case LINK_NOTHING:
        break;
    }
    if (broker->link.state == LINK_DOWN)
        return INT64_MAX;
    if (flush) {
        worker_broker_send_readies(self, broker, now_ms);
        if (!worker_held_flush(self, broker))
            worker_broker_flush_soon(self, now_ms);
    }
    int64_t next = link_next(&broker->link, &self->heartbeat);
    const int64_t ready_at = worker_broker_tick_readies(self, broker, now_ms);
    next = ready_at < next ? ready_at : next;
    if (broker->drain == DRAIN_WANTED || (broker->drain == DRAIN_SENT && now_ms >= broker->drain_again_at))
        s_send_drain(self, broker, now_ms);
    if (broker->drain == DRAIN_SENT && broker->drain_again_at < next)
        next = broker->drain_again_at;
    return next;
}

int64_t
worker_session_tick(worker_session_t *self, int64_t now_ms)
{
    heartbeat_turn(&self->heartbeat, now_ms);
    for (deadline_t *due; (due = deadlines_pop(&self->due, now_ms)) != NULL;) {
        self->stats.expired++;
        worker_held_unwanted(self, LIST_ITEM(due, held_t, due));
    }
    const bool flush = now_ms >= self->flush_at;
    if (flush)
        self->flush_at = INT64_MAX;
    int64_t next = INT64_MAX;
    for (uint32_t i = self->broker_count; i-- > 0;) {
        if (i >= self->broker_count)
            continue; /* a drop led to worker_session_down at once */
        const int64_t at = s_tick_link(self, self->brokers[i], flush, now_ms);
        next = at < next ? at : next;
    }
    if (deadlines_next(&self->due) < next)
        next = deadlines_next(&self->due);
    return self->flush_at < next ? self->flush_at : next;
}

/* ---- looking ---- */

uint32_t
worker_session_held(const worker_session_t *self)
{
    return self->held.used;
}

uint32_t
worker_session_links_serving(const worker_session_t *self)
{
    uint32_t serving = 0;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const broker_t *broker = self->brokers[i];
        uint32_t offered = 0, accepted = 0;
        for (uint32_t k = 0; k < self->offer_count; k++) {
            offered += self->offers[k].capacity > 0;
            accepted += self->offers[k].capacity > 0 && broker->readies[k].accepted;
        }
        serving += broker->link.state == LINK_UP && !self->draining && offered > 0 && accepted == offered;
    }
    return serving;
}

const worker_session_stats_t *
worker_session_stats(const worker_session_t *self)
{
    return &self->stats;
}

static void
s_require(bool holds)
{
    if (!holds)
        abort();
}

void
worker_session_check(const worker_session_t *self)
{
    uint32_t replied = 0, with_broker = 0, listed = 0, due = 0;
    deadlines_check(&self->due);
    for (uint32_t slot = 0; slot < self->held.made; slot++) {
        const held_t *held = slots_at(&self->held, slot);
        if (!held)
            continue;
        uint32_t found;
        replied += held->replied;
        due += held->due.place != 0;
        with_broker += held->broker != NULL;
        s_require(list_linked(&held->chain) == (held->broker != NULL));
        s_require(!held->broker || (id_table_find(&held->broker->ids, held->id, &found) && found == slot));
    }
    s_require(replied == self->replied && due == self->due.count);
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const broker_t *broker = self->brokers[i];
        uint32_t count = 0;
        for (const list_link_t *at = broker->held.next; at != &broker->held; at = at->next)
            count++;
        for (const list_link_t *at = broker->outbox.next; at != &broker->outbox; at = at->next)
            count++;
        s_require(count == broker->held_count && count == broker->ids.count);
        listed += count;
    }
    s_require(listed == with_broker);
}
