/* worker_broker - a worker's brokers: finding them, telling them, registering services with them */
#include "session/worker_private.h"

#include <assert.h>
#include <stdlib.h>

enum {
    FLUSH_MS = 5, /* how soon a full pipe is tried again */
    REFUSED_BASE_MS = 1000,
    REFUSED_DOUBLINGS = 5
};

broker_t *
worker_broker_find(const worker_session_t *self, uint32_t number)
{
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->link.number == number)
            return self->brokers[i];
    return NULL;
}

void
worker_broker_flush_soon(worker_session_t *self, int64_t now_ms)
{
    if (self->flush_at > now_ms + FLUSH_MS)
        self->flush_at = now_ms + FLUSH_MS;
}

/* Sends something of ours; false when the pipe is full or gone (the frame is closed then). */
bool
worker_broker_say(worker_session_t *self, broker_t *broker, zmq_msg_t *frame)
{
    const weft_status_t status = self->callbacks.send(self->context, broker->link.number, frame);
    zmq_msg_close(frame); /* after a success it is an empty one */
    return status == WEFT_OK;
}

bool
worker_broker_say_short(worker_session_t *self, broker_t *broker, weft_kind_t kind, uint64_t id)
{
    zmq_msg_t frame;
    frames_short(&self->frames, kind, id, &frame);
    return worker_broker_say(self, broker, &frame);
}

void
worker_broker_ping(worker_session_t *self, broker_t *broker)
{
    zmq_msg_t frame;
    const weft_message_t ping = { .kind = WEFT_PING,
                                  .id = weft_rng_next(&self->rng),
                                  .load = worker_held_load(self) };
    frames_encode(&self->frames, &ping, &frame);
    (void) worker_broker_say(self, broker, &frame); /* full: silence will tell */
}

/* The heartbeat failed, or the broker said BYE: the loop closes it and worker_session_down follows. */
void
worker_broker_drop(worker_session_t *self, broker_t *broker)
{
    broker->link.state = LINK_DOWN;
    self->callbacks.drop(self->context, broker->link.number);
}

void
worker_broker_free(worker_session_t *self, broker_t *broker)
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

/* ---- registration ---- */

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
    if (worker_broker_say(self, broker, &frame)) {
        ready->state = READY_SENT;
        ready->again_at = now_ms + self->config.silence_ms;
        self->stats.registrations++;
    } else {
        ready->state = READY_WANTED;
        worker_broker_flush_soon(self, now_ms);
    }
}

/* Sends what is wanted. */
void
worker_broker_send_readies(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    if (self->draining || broker->link.state == LINK_DOWN)
        return;
    for (uint32_t i = 0; i < self->offer_count; i++)
        if (broker->readies[i].state == READY_WANTED)
            s_send_ready(self, broker, i, now_ms);
}

void
worker_broker_register(worker_session_t *self, broker_t *broker, int64_t now_ms)
{
    for (uint32_t i = 0; i < self->offer_count; i++) {
        /* What is not offered any more needs no READY where it never was. */
        broker->readies[i] = (ready_t){ .state = self->offers[i].capacity > 0 ? READY_WANTED
                                                                              : READY_SETTLED };
    }
    broker->registering = true;
    worker_broker_send_readies(self, broker, now_ms);
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
    assert(self->offers); /* one was found, or added */
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
        worker_broker_send_readies(self, self->brokers[i], now_ms);
    }
    return WEFT_OK;
}

/* The answer to a READY; false when the id is of none. */
bool
worker_broker_registered(worker_session_t *self, broker_t *broker, const weft_message_t *reply,
                         int64_t now_ms)
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

/* READYs without answer and refused ones whose back-off is over; returns the next such time. */
int64_t
worker_broker_tick_readies(worker_session_t *self, broker_t *broker, int64_t now_ms)
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
