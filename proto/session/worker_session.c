/* worker_session - a worker's side: registration with every broker, heartbeats, requests held, drain */
#include "session/worker_session.h"

#include <stdlib.h>

#include "session/chain.h"
#include "session/due.h"
#include "session/frames.h"
#include "session/id_table.h"
#include "session/link.h"
#include "session/slots.h"

const worker_session_config_t WORKER_SESSION_DEFAULTS = { .ping_ms = 1000, .silence_ms = 4000, .seed = 1 };

enum {
    FLUSH_MS = 5, /* how soon a full pipe is tried again */
    HELD_MAX = 256 * 1024,
    HELD_SPARE = 64, /* beyond twice the capacity offered: what crosses on the wire */
    REFUSED_BASE_MS = 1000,
    REFUSED_DOUBLINGS = 5,
    SERVICE_ROOM = WEFT_SERVICE_MAX + 1
};

typedef struct {
    char service[SERVICE_ROOM];
    char *descriptor;
    size_t descriptor_size;
    uint32_t capacity;
    uint32_t capacity_most; /* ever: a broker may hold more than was granted last */
} offer_t;

/* An offer at one broker.  WANTED -sent-> SENT -OK-> SETTLED;  SENT -not OK-> REFUSED -back-off-> WANTED;
 * SENT -no answer-> WANTED;  any -WHO, new descriptor or capacity-> WANTED */
typedef enum { READY_WANTED, READY_SENT, READY_SETTLED, READY_REFUSED } ready_state_t;
typedef struct {
    ready_state_t state;
    bool accepted; /* the broker gives us its requests; true while an update is on its way */
    uint32_t refusals;
    uint64_t id;      /* of the last READY */
    int64_t again_at; /* SENT: no answer came; REFUSED: back-off is over */
} ready_t;

typedef enum { DRAIN_NONE, DRAIN_WANTED, DRAIN_SENT, DRAIN_DONE } drain_state_t;

typedef struct {
    link_t link;
    uint64_t epoch;   /* of the last PONG; 0: none yet */
    ready_t *readies; /* one per offer */
    bool registering; /* READYs are out and none of them was answered yet */
    drain_state_t drain;
    uint64_t drain_id;
    int64_t drain_again_at;
    chain_t held;   /* requests from here, unanswered */
    chain_t outbox; /* their replies that found the pipe full */
    uint32_t held_count;
    id_table_t ids;
} broker_t;

typedef struct {
    slots_item_t head;
    chain_t chain; /* of broker.held or broker.outbox; none without broker */
    due_t due;
    broker_t *broker; /* NULL: it is gone */
    uint64_t id;
    bool unwanted; /* cancel was called */
    bool replied;  /* `reply` waits for room */
    zmq_msg_t reply;
} held_t;

struct worker_session {
    worker_session_config_t config;
    worker_session_callbacks_t callbacks;
    void *context;
    weft_rng_t rng;
    heartbeat_t heartbeat;
    frames_t frames;
    slots_t held;
    uint32_t replied; /* of those, waiting for room */
    due_heap_t due;
    offer_t *offers;
    uint32_t offer_count;
    broker_t **brokers;
    uint32_t broker_count, broker_room;
    int64_t flush_at;
    bool draining, closed;
    worker_session_stats_t stats;
};

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

/* ---- links ------------------------------------------------------------------------------------------ */

static broker_t *
s_broker(const worker_session_t *self, uint32_t number)
{
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->link.number == number)
            return self->brokers[i];
    return NULL;
}

static void
s_flush_soon(worker_session_t *self, int64_t now_ms)
{
    if (self->flush_at > now_ms + FLUSH_MS)
        self->flush_at = now_ms + FLUSH_MS;
}

/* Sends something of ours; false when the pipe is full or gone (the frame is closed then). */
static bool
s_say(worker_session_t *self, broker_t *broker, zmq_msg_t *frame)
{
    const weft_status_t status = self->callbacks.send(self->context, broker->link.number, frame);
    zmq_msg_close(frame); /* after a success it is an empty one */
    return status == WEFT_OK;
}

static bool
s_say_short(worker_session_t *self, broker_t *broker, weft_kind_t kind, uint64_t id)
{
    zmq_msg_t frame;
    frames_short(&self->frames, kind, id, &frame);
    return s_say(self, broker, &frame);
}

static uint32_t
s_load(const worker_session_t *self)
{
    return self->held.used - self->replied;
}

static void
s_ping(worker_session_t *self, broker_t *broker)
{
    zmq_msg_t frame;
    const weft_message_t ping = { .kind = WEFT_PING, .id = weft_rng_next(&self->rng), .load = s_load(self) };
    frames_encode(&self->frames, &ping, &frame);
    (void) s_say(self, broker, &frame); /* full: silence will tell */
}

/* The heartbeat failed, or the broker said BYE: the loop closes it and worker_session_down follows. */
static void
s_drop(worker_session_t *self, broker_t *broker)
{
    broker->link.state = LINK_DOWN;
    self->callbacks.drop(self->context, broker->link.number);
}

/* ---- requests held ---------------------------------------------------------------------------------- */

static void
s_forget(worker_session_t *self, held_t *held)
{
    if (held->broker) {
        chain_remove(&held->chain);
        id_table_remove(&held->broker->ids, held->id);
        held->broker->held_count--;
        held->broker = NULL;
    }
    if (held->replied) {
        self->replied--;
        zmq_msg_close(&held->reply);
    }
    due_heap_clear(&self->due, &held->due);
    slots_give(&self->held, held);
}

static void
s_unwanted(worker_session_t *self, held_t *held)
{
    if (held->unwanted || held->replied)
        return;
    held->unwanted = true;
    due_heap_clear(&self->due, &held->due);
    self->callbacks.cancel(self->context, slots_key(held));
}

/* The broker is gone or does not know us any more: nobody wants what it gave us, replies have nowhere to go.
 */
static void
s_orphan_all(worker_session_t *self, broker_t *broker)
{
    while (!chain_empty(&broker->outbox)) {
        self->stats.replies_dropped++;
        s_forget(self, CHAIN_ITEM(broker->outbox.next, held_t, chain));
    }
    while (!chain_empty(&broker->held)) {
        held_t *held = CHAIN_ITEM(broker->held.next, held_t, chain);
        chain_remove(&held->chain);
        id_table_remove(&broker->ids, held->id);
        broker->held_count--;
        held->broker = NULL;
        s_unwanted(self, held); /* may answer at once, which forgets it */
    }
}

/* ---- registration ----------------------------------------------------------------------------------- */

static void
s_send_ready(worker_session_t *self, broker_t *broker, uint32_t i, int64_t now_ms)
{
    const offer_t *offer = &self->offers[i];
    ready_t *ready = &broker->readies[i];
    ready->id = weft_rng_next(&self->rng);
    const weft_message_t message = { .kind = WEFT_READY,
                                     .id = ready->id,
                                     .descriptor = { offer->descriptor, offer->descriptor_size },
                                     .capacity = offer->capacity };
    zmq_msg_t frame;
    frames_encode(&self->frames, &message, &frame);
    if (s_say(self, broker, &frame)) {
        ready->state = READY_SENT;
        ready->again_at = now_ms + self->config.silence_ms;
        self->stats.registrations++;
    } else {
        ready->state = READY_WANTED;
        s_flush_soon(self, now_ms);
    }
}

/* Sends what is wanted. */
static void
s_send_readies(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    if (self->draining || broker->link.state == LINK_DOWN)
        return;
    for (uint32_t i = 0; i < self->offer_count; i++)
        if (broker->readies[i].state == READY_WANTED)
            s_send_ready(self, broker, i, now_ms);
}

static void
s_register(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    for (uint32_t i = 0; i < self->offer_count; i++) {
        /* What is not offered any more needs no READY where it never was. */
        broker->readies[i] = (ready_t){ .state = self->offers[i].capacity > 0 ? READY_WANTED
                                                                              : READY_SETTLED };
    }
    broker->registering = true;
    s_send_readies(self, broker, now_ms);
}

static bool
s_add_offer(worker_session_t *self)
{
    offer_t *offers = realloc(self->offers, (self->offer_count + 1) * sizeof *offers);
    if (!offers)
        return false;
    self->offers = offers;
    offers[self->offer_count] = (offer_t){ .capacity = 0 };
    for (uint32_t i = 0; i < self->broker_count; i++) {
        broker_t *broker = self->brokers[i];
        ready_t *readies = realloc(broker->readies, (self->offer_count + 1) * sizeof *readies);
        if (!readies)
            return false;
        broker->readies = readies;
        readies[self->offer_count] = (ready_t){ .state = READY_SETTLED };
    }
    self->offer_count++;
    return true;
}

weft_status_t
worker_session_offer(worker_session_t *self, weft_span_t service, weft_span_t descriptor, uint32_t capacity,
                     int64_t now_ms)
{
    if (!weft_service_valid(service) || descriptor.size == 0 || descriptor.size > WEFT_DESCRIPTOR_MAX ||
        !weft_mp_check(descriptor, &WEFT_MP_LIMITS_DEFAULT, NULL, NULL) || capacity > WEFT_CAPACITY_MAX)
        return WEFT_INVALID_ARGUMENT;
    weft_buf_reset(&self->frames.message);
    const weft_message_t trial = { .kind = WEFT_READY, .descriptor = descriptor, .capacity = capacity };
    const weft_status_t status = weft_wire_encode(&self->frames.message, &trial);
    if (status != WEFT_OK)
        return status;
    uint32_t at = 0;
    while (at < self->offer_count && !weft_span_equal(weft_span(self->offers[at].service), service))
        at++;
    char *copy = malloc(descriptor.size);
    if (!copy || (at == self->offer_count && !s_add_offer(self))) {
        free(copy);
        return WEFT_RESOURCE_EXHAUSTED;
    }
    memcpy(copy, descriptor.data, descriptor.size);
    offer_t *offer = &self->offers[at];
    memcpy(offer->service, service.data, service.size);
    offer->service[service.size] = '\0';
    free(offer->descriptor);
    offer->descriptor = copy;
    offer->descriptor_size = descriptor.size;
    offer->capacity = capacity;
    if (capacity > offer->capacity_most)
        offer->capacity_most = capacity;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        self->brokers[i]->readies[at].state = READY_WANTED;
        self->brokers[i]->readies[at].refusals = 0;
        s_send_readies(self, self->brokers[i], now_ms);
    }
    return WEFT_OK;
}

/* The answer to a READY; false when the id is of none. */
static bool
s_registered(worker_session_t *self, broker_t *broker, const weft_message_t *reply, int64_t now_ms)
{
    for (uint32_t i = 0; i < self->offer_count; i++) {
        ready_t *ready = &broker->readies[i];
        if (ready->state != READY_SENT || ready->id != reply->id)
            continue;
        broker->registering = false;
        weft_error_body_t error = { .message = { NULL, 0 } };
        if (reply->status == WEFT_OK) {
            ready->state = READY_SETTLED;
            ready->accepted = self->offers[i].capacity > 0;
            ready->refusals = 0;
        } else {
            const uint32_t wait_ms = (uint32_t) REFUSED_BASE_MS << ready->refusals;
            ready->state = READY_REFUSED;
            ready->accepted = false;
            ready->again_at = now_ms + wait_ms / 2 + (int64_t) weft_rng_below(&self->rng, wait_ms / 2 + 1);
            if (ready->refusals < REFUSED_DOUBLINGS)
                ready->refusals++;
            self->stats.refusals++;
            weft_error_body_read(reply->body, &error);
        }
        char service[SERVICE_ROOM]; /* the callback may offer, which moves the table */
        memcpy(service, self->offers[i].service, sizeof service);
        self->callbacks.registered(self->context, broker->link.number, service, reply->status, error.message);
        return true;
    }
    return false;
}

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
    s_register(self, broker, now_ms);
    s_orphan_all(self, broker);
}

/* ---- links come and go ------------------------------------------------------------------------------ */

void
worker_session_up(worker_session_t *self, uint32_t number, int64_t now_ms)
{
    if (self->closed || s_broker(self, number))
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
    chain_init(&broker->held);
    chain_init(&broker->outbox);
    broker->ids.seed = weft_rng_next(&self->rng);
    broker->drain = self->draining ? DRAIN_DONE : DRAIN_NONE;
    self->brokers[self->broker_count++] = broker;
    s_register(self, broker, now_ms);
}

static void
s_broker_free(worker_session_t *self, broker_t *broker)
{
    for (uint32_t i = 0; i < self->broker_count; i++) {
        if (self->brokers[i] == broker) {
            self->brokers[i] = self->brokers[--self->broker_count];
            break;
        }
    }
    id_table_fini(&broker->ids);
    free(broker->readies);
    free(broker);
}

void
worker_session_down(worker_session_t *self, uint32_t number, int64_t now_ms)
{
    (void) now_ms;
    broker_t *broker = s_broker(self, number);
    if (!broker)
        return;
    broker->link.state = LINK_DOWN;
    self->stats.broker_losses++;
    s_orphan_all(self, broker);
    s_broker_free(self, broker);
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void
s_refuse(worker_session_t *self, broker_t *broker, uint64_t id, weft_status_t status, const char *why)
{
    const weft_error_body_t error = { .message = weft_span(why), .hop = WEFT_SPAN("worker") };
    zmq_msg_t frame;
    frames_error(&self->frames, id, status, &error, &frame);
    weft_wire_set_load(zmq_msg_data(&frame), zmq_msg_size(&frame), s_load(self));
    if (!s_say(self, broker, &frame))
        self->stats.replies_dropped++; /* the broker ends it at its ttl */
}

static uint32_t
s_held_max(const worker_session_t *self)
{
    uint32_t capacity = 0;
    for (uint32_t i = 0; i < self->offer_count; i++)
        capacity += self->offers[i].capacity_most;
    return capacity * 2 + HELD_SPARE;
}

static void
s_request(worker_session_t *self, broker_t *broker, const weft_message_t *message, zmq_msg_t *frame,
          int64_t now_ms)
{
    uint32_t slot;
    const char *why;
    if (id_table_find(&broker->ids, message->id, &slot)) {
        self->stats.duplicates++; /* the first one will be answered */
        return;
    }
    if (weft_wire_check(message, &why) != WEFT_OK) {
        self->stats.malformed++;
        s_refuse(self, broker, message->id, WEFT_INVALID_ARGUMENT, why);
        return;
    }
    held_t *held = NULL;
    if (broker->held_count < s_held_max(self) && due_heap_reserve(&self->due, self->held.used + 1))
        held = slots_take(&self->held);
    if (held && !id_table_add(&broker->ids, message->id, held->head.slot)) {
        slots_give(&self->held, held);
        held = NULL;
    }
    if (!held) {
        self->stats.overruns++;
        s_refuse(self, broker, message->id, WEFT_RESOURCE_EXHAUSTED, "more requests than the worker offered");
        return;
    }
    self->stats.requests++;
    held->broker = broker;
    held->id = message->id;
    chain_append(&broker->held, &held->chain);
    broker->held_count++;
    worker_request_t request = {
        .token = slots_key(held), .deadline_ms = now_ms + message->ttl_ms, .message = *message, .frame = frame
    };
    due_heap_set(&self->due, &held->due, request.deadline_ms);
    self->callbacks.request(self->context, &request);
}

static void
s_cancel(worker_session_t *self, broker_t *broker, uint64_t id)
{
    uint32_t slot;
    if (!id_table_find(&broker->ids, id, &slot))
        return; /* crossed its reply */
    self->stats.cancels++;
    s_unwanted(self, slots_at(&self->held, slot));
}

static void
s_malformed(worker_session_t *self, broker_t *broker, const weft_message_t *message, weft_status_t status,
            const char *why)
{
    uint32_t slot;
    self->stats.malformed++;
    if (status == WEFT_UNIMPLEMENTED || message->kind != WEFT_REQUEST)
        return;                                           /* another version is ignored by all but brokers */
    if (!id_table_find(&broker->ids, message->id, &slot)) /* else it would end another */
        s_refuse(self, broker, message->id, status, why);
}

static void
s_answer(worker_session_t *self, broker_t *broker, const weft_message_t *message, int64_t now_ms)
{
    const char *why;
    if (weft_wire_check(message, &why) != WEFT_OK) {
        self->stats.malformed++;
    } else if (broker->drain == DRAIN_SENT && message->id == broker->drain_id) {
        broker->drain = DRAIN_DONE;
    } else if (!s_registered(self, broker, message, now_ms)) {
        self->stats.unexpected++;
    }
}

static void
s_message(worker_session_t *self, broker_t *broker, const weft_message_t *message, zmq_msg_t *frame,
          int64_t now_ms)
{
    switch (message->kind) {
    case WEFT_REQUEST:
        s_request(self, broker, message, frame, now_ms);
        break;
    case WEFT_CANCEL:
        s_cancel(self, broker, message->id);
        break;
    case WEFT_REPLY:
        s_answer(self, broker, message, now_ms);
        break;
    case WEFT_PING: {
        zmq_msg_t pong;
        const weft_message_t answer = { .kind = WEFT_PONG, .id = message->id };
        frames_encode(&self->frames, &answer, &pong);
        (void) s_say(self, broker, &pong); /* full: the next PING asks again */
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
        s_drop(self, broker);
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
    broker_t *broker = s_broker(self, number);
    if (!broker || broker->link.state == LINK_DOWN)
        return;
    broker->link.heard_at = now_ms;
    weft_message_t message;
    const char *why;
    const weft_status_t status = weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why);
    if (status == WEFT_OK)
        s_message(self, broker, &message, frame, now_ms);
    else
        s_malformed(self, broker, &message, status, why);
}

/* ---- replies ---------------------------------------------------------------------------------------- */

weft_status_t
worker_session_partial(worker_session_t *self, uint64_t token, zmq_msg_t *frame, int64_t now_ms)
{
    (void) now_ms;
    held_t *held = slots_find(&self->held, token);
    if (!held || !held->broker || held->unwanted || held->replied || held->broker->link.state == LINK_DOWN)
        return WEFT_CANCELLED;
    weft_wire_set_id(zmq_msg_data(frame), held->id);
    weft_wire_set_load(zmq_msg_data(frame), zmq_msg_size(frame), s_load(self));
    const weft_status_t status = self->callbacks.send(self->context, held->broker->link.number, frame);
    return status == WEFT_UNAVAILABLE ? WEFT_CANCELLED : status;
}

void
worker_session_reply(worker_session_t *self, uint64_t token, zmq_msg_t *frame, int64_t now_ms)
{
    held_t *held = slots_find(&self->held, token);
    if (!held || held->replied) {
        self->stats.replies_dropped++;
        goto out;
    }
    broker_t *broker = held->broker;
    if (!broker || broker->link.state == LINK_DOWN) {
        self->stats.replies_dropped++;
        s_forget(self, held);
        goto out;
    }
    weft_wire_set_id(zmq_msg_data(frame), held->id);
    weft_wire_set_load(zmq_msg_data(frame), zmq_msg_size(frame), s_load(self) - 1);
    const weft_status_t status = chain_empty(&broker->outbox)
                                     ? self->callbacks.send(self->context, broker->link.number, frame)
                                     : WEFT_RESOURCE_EXHAUSTED; /* in order */
    if (status == WEFT_RESOURCE_EXHAUSTED) {
        zmq_msg_init(&held->reply);
        if (zmq_msg_move(&held->reply, frame) != 0)
            abort();
        held->replied = true;
        self->replied++;
        due_heap_clear(&self->due, &held->due);
        chain_remove(&held->chain);
        chain_append(&broker->outbox, &held->chain);
        s_flush_soon(self, now_ms);
        return;
    }
    if (status == WEFT_OK)
        self->stats.replies++;
    else
        self->stats.replies_dropped++;
    s_forget(self, held);
out:
    zmq_msg_close(frame);
    zmq_msg_init(frame);
}

/* Sends the replies that wait for room; false when some still do. */
static bool
s_flush_outbox(worker_session_t *self, broker_t *broker)
{
    while (!chain_empty(&broker->outbox)) {
        held_t *held = CHAIN_ITEM(broker->outbox.next, held_t, chain);
        const weft_status_t status = self->callbacks.send(self->context, broker->link.number, &held->reply);
        if (status == WEFT_RESOURCE_EXHAUSTED)
            return false;
        if (status == WEFT_OK)
            self->stats.replies++;
        else
            self->stats.replies_dropped++;
        s_forget(self, held);
    }
    return true;
}

/* ---- drain and end ---------------------------------------------------------------------------------- */

static void
s_send_drain(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    if (s_say_short(self, broker, WEFT_DRAIN, broker->drain_id)) {
        broker->drain = DRAIN_SENT;
        broker->drain_again_at = now_ms + self->config.silence_ms;
    } else {
        broker->drain = DRAIN_WANTED;
        s_flush_soon(self, now_ms);
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
            (void) s_say_short(self, broker, WEFT_BYE, weft_rng_next(&self->rng));
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
            s_forget(self, held);
    }
    while (self->broker_count > 0)
        s_broker_free(self, self->brokers[0]);
    free(self->brokers);
    for (uint32_t i = 0; i < self->offer_count; i++)
        free(self->offers[i].descriptor);
    free(self->offers);
    due_heap_fini(&self->due);
    slots_fini(&self->held);
    frames_fini(&self->frames);
    free(self);
    *self_p = NULL;
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* READYs without answer and refused ones whose back-off is over; returns the next such time. */
static int64_t
s_tick_readies(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    int64_t next = INT64_MAX;
    if (self->draining)
        return next;
    for (uint32_t i = 0; i < self->offer_count; i++) {
        ready_t *ready = &broker->readies[i];
        if (ready->state != READY_SENT && ready->state != READY_REFUSED)
            continue;
        if (now_ms >= ready->again_at)
            s_send_ready(self, broker, i, now_ms);
        if (ready->state != READY_WANTED && ready->again_at < next)
            next = ready->again_at;
    }
    return next;
}

static int64_t
s_tick_link(worker_session_t *self, broker_t *broker, bool flush, int64_t now_ms)
{
    switch (link_due(&broker->link, &self->heartbeat, &self->rng, now_ms)) {
    case LINK_LOST:
        s_drop(self, broker); /* may free it */
        return INT64_MAX;
    case LINK_PING:
        s_ping(self, broker);
        break;
    case LINK_NOTHING:
        break;
    }
    if (broker->link.state == LINK_DOWN)
        return INT64_MAX;
    if (flush) {
        s_send_readies(self, broker, now_ms);
        if (!s_flush_outbox(self, broker))
            s_flush_soon(self, now_ms);
    }
    int64_t next = link_next(&broker->link, &self->heartbeat);
    const int64_t ready_at = s_tick_readies(self, broker, now_ms);
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
    for (due_t *due; (due = due_heap_pop(&self->due, now_ms)) != NULL;) {
        self->stats.expired++;
        s_unwanted(self, CHAIN_ITEM(due, held_t, due));
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
    if (due_heap_next(&self->due) < next)
        next = due_heap_next(&self->due);
    return self->flush_at < next ? self->flush_at : next;
}

/* ---- looking ---------------------------------------------------------------------------------------- */

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
    due_heap_check(&self->due);
    for (uint32_t slot = 0; slot < self->held.made; slot++) {
        const held_t *held = slots_at(&self->held, slot);
        if (!held)
            continue;
        uint32_t found;
        replied += held->replied;
        due += held->due.place != 0;
        with_broker += held->broker != NULL;
        s_require(chain_linked(&held->chain) == (held->broker != NULL));
        s_require(!held->broker || (id_table_find(&held->broker->ids, held->id, &found) && found == slot));
    }
    s_require(replied == self->replied && due == self->due.count);
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const broker_t *broker = self->brokers[i];
        uint32_t count = 0;
        for (const chain_t *at = broker->held.next; at != &broker->held; at = at->next)
            count++;
        for (const chain_t *at = broker->outbox.next; at != &broker->outbox; at = at->next)
            count++;
        s_require(count == broker->held_count && count == broker->ids.count);
        listed += count;
    }
    s_require(listed == with_broker);
}
