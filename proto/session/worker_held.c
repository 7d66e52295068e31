/* worker_held - the requests that a worker holds: taken, cancelled, answered, forgotten */
#include "session/worker_private.h"

#include <stdlib.h>

enum { HELD_SPARE = 64 }; /* beyond twice the capacity offered: what crosses on the wire */

uint32_t
worker_held_load(const worker_session_t *self)
{
    return self->held.used - self->replied;
}

void
worker_held_forget(worker_session_t *self, held_t *held)
{
    if (held->broker) {
        list_discard(&held->chain);
        id_table_remove(&held->broker->ids, held->id);
        held->broker->held_count--;
        held->broker = NULL;
    }
    if (held->replied) {
        self->replied--;
        zmq_msg_close(&held->reply);
    }
    deadlines_clear(&self->due, &held->due);
    slots_give(&self->held, held);
}

void
worker_held_unwanted(worker_session_t *self, held_t *held)
{
    if (held->unwanted || held->replied)
        return;
    held->unwanted = true;
    deadlines_clear(&self->due, &held->due);
    self->callbacks.cancel(self->context, slots_key(held));
}

/* The broker is gone or does not know us any more: nobody wants what it gave us, replies have nowhere to go.
 */
void
worker_held_orphan_all(worker_session_t *self, broker_t *broker)
{
    while (!list_empty(&broker->outbox)) {
        self->stats.replies_dropped++;
        worker_held_forget(self, LIST_ITEM(broker->outbox.next, held_t, chain));
    }
    while (!list_empty(&broker->held)) {
        held_t *held = LIST_ITEM(broker->held.next, held_t, chain);
        list_discard(&held->chain);
        id_table_remove(&broker->ids, held->id);
        broker->held_count--;
        held->broker = NULL;
        worker_held_unwanted(self, held); /* may answer at once, which forgets it */
    }
}

/* ---- taking ---- */

/* How many one broker may have here: twice what was ever offered, and what crosses on the wire. */
static uint32_t
s_held_max(const worker_session_t *self)
{
    uint32_t capacity = 0;
    for (uint32_t i = 0; i < self->offer_count; i++)
        capacity += self->offers[i].capacity_most;
    return capacity * 2 + HELD_SPARE;
}

/* A slot for the request of that id, which this broker must not have here yet; NULL beyond `max`. */
static held_t *
s_hold(worker_session_t *self, broker_t *broker, uint64_t id, uint32_t max)
{
    if (broker->held_count >= max || !deadlines_reserve(&self->due, self->held.used + 1))
        return NULL;
    held_t *held = slots_take(&self->held);
    if (!held)
        return NULL;
    if (!id_table_add(&broker->ids, id, held->head.slot)) {
        slots_give(&self->held, held);
        return NULL;
    }
    held->broker = broker;
    held->id = id;
    list_add(&broker->held, &held->chain);
    broker->held_count++;
    return held;
}

void
worker_held_refuse(worker_session_t *self, broker_t *broker, uint64_t id, weft_status_t status,
                   const char *why, int64_t now_ms)
{
    const weft_error_body_t error = { .message = weft_span(why), .hop = WEFT_SPAN("worker") };
    zmq_msg_t frame;
    frames_error(&self->frames, id, status, &error, &frame);
    /* It is held until its answer has left: one that got lost would cost the broker a credit. */
    held_t *held = s_hold(self, broker, id, 2 * s_held_max(self));
    if (held) {
        held->unwanted = true; /* by the handler, which never hears of it */
        worker_session_reply(self, slots_key(held), &frame, now_ms);
        zmq_msg_close(&frame);
    } else if (!worker_broker_say(self, broker, &frame)) {
        self->stats.replies_dropped++;
    }
}

void
worker_held_take(worker_session_t *self, broker_t *broker, const weft_message_t *message, zmq_msg_t *frame,
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
        worker_held_refuse(self, broker, message->id, WEFT_INVALID_ARGUMENT, why, now_ms);
        return;
    }
    held_t *held = s_hold(self, broker, message->id, s_held_max(self));
    if (!held) {
        self->stats.overruns++;
        worker_held_refuse(self, broker, message->id, WEFT_RESOURCE_EXHAUSTED,
                           "more requests than the worker offered", now_ms);
        return;
    }
    self->stats.requests++;
    worker_request_t request = {
        .token = slots_key(held), .deadline_ms = now_ms + message->ttl_ms, .message = *message, .frame = frame
    };
    deadlines_set(&self->due, &held->due, request.deadline_ms);
    self->callbacks.request(self->context, &request);
}

void
worker_held_cancel(worker_session_t *self, broker_t *broker, uint64_t id)
{
    uint32_t slot;
    if (!id_table_find(&broker->ids, id, &slot))
        return; /* crossed its reply */
    self->stats.cancels++;
    worker_held_unwanted(self, slots_at(&self->held, slot));
}

/* ---- replies ---- */

weft_status_t
worker_session_partial(worker_session_t *self, uint64_t token, zmq_msg_t *frame, int64_t now_ms)
{
    (void) now_ms;
    held_t *held = slots_find(&self->held, token);
    if (!held || !held->broker || held->unwanted || held->replied || held->broker->link.state == LINK_DOWN)
        return WEFT_CANCELLED;
    weft_wire_set_id(zmq_msg_data(frame), held->id);
    weft_wire_set_load(zmq_msg_data(frame), zmq_msg_size(frame), worker_held_load(self));
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
        worker_held_forget(self, held);
        goto out;
    }
    weft_wire_set_id(zmq_msg_data(frame), held->id);
    weft_wire_set_load(zmq_msg_data(frame), zmq_msg_size(frame), worker_held_load(self) - 1);
    const weft_status_t status = list_empty(&broker->outbox)
                                     ? self->callbacks.send(self->context, broker->link.number, frame)
                                     : WEFT_RESOURCE_EXHAUSTED; /* in order */
    if (status == WEFT_RESOURCE_EXHAUSTED) {
        zmq_msg_init(&held->reply);
        if (zmq_msg_move(&held->reply, frame) != 0)
            abort();
        held->replied = true;
        self->replied++;
        deadlines_clear(&self->due, &held->due);
        list_discard(&held->chain);
        list_add(&broker->outbox, &held->chain);
        worker_broker_flush_soon(self, now_ms);
        return;
    }
    if (status == WEFT_OK)
        self->stats.replies++;
    else
        self->stats.replies_dropped++;
    worker_held_forget(self, held);
out:
    zmq_msg_close(frame);
    zmq_msg_init(frame);
}

/* Sends the replies that wait for room; false when some still do. */
bool
worker_held_flush(worker_session_t *self, broker_t *broker)
{
    while (!list_empty(&broker->outbox)) {
        held_t *held = LIST_ITEM(broker->outbox.next, held_t, chain);
        const weft_status_t status = self->callbacks.send(self->context, broker->link.number, &held->reply);
        if (status == WEFT_RESOURCE_EXHAUSTED)
            return false;
        if (status == WEFT_OK)
            self->stats.replies++;
        else
            self->stats.replies_dropped++;
        worker_held_forget(self, held);
    }
    return true;
}
