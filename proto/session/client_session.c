/* client_session - a client's calls over its brokers: events, time, and the way through them */
#include "session/client_session.h"

#include <stdlib.h>

#include "session/client_private.h"

const client_session_config_t CLIENT_SESSION_DEFAULTS = { .in_flight_max = 65536,
                                                          .attempts_max = 3,
                                                          .ping_ms = 1000,
                                                          .silence_ms = 4000,
                                                          .retry_percent = 10,
                                                          .seed = 1 };

client_session_t *
client_session_new(const client_session_config_t *config, const client_session_callbacks_t *callbacks,
                   void *context)
{
    client_session_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    if (self->config.in_flight_max == 0)
        self->config.in_flight_max = CLIENT_SESSION_DEFAULTS.in_flight_max;
    if (self->config.attempts_max == 0)
        self->config.attempts_max = CLIENT_SESSION_DEFAULTS.attempts_max;
    self->callbacks = *callbacks;
    self->context = context;
    weft_rng_seed(&self->rng, config->seed);
    self->heartbeat = (heartbeat_t){ .ping_ms = config->ping_ms, .silence_ms = config->silence_ms };
    retry_init(&self->retry, config->retry_percent);
    frames_init(&self->frames);
    list_init(&self->waiting);
    self->flush_at = INT64_MAX;
    self->id_high = (uint32_t) weft_rng_next(&self->rng);
    if (!slots_init(&self->calls, sizeof(call_t), self->config.in_flight_max,
                    (uint32_t) weft_rng_next(&self->rng))) {
        client_session_destroy(&self);
        return NULL;
    }
    return self;
}

/* ---- links come and go ---- */

void
client_session_up(client_session_t *self, uint32_t number, int64_t now_ms)
{
    if (self->closed || client_broker_find(self, number))
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
    link_up(&broker->link, number, now_ms);
    list_init(&broker->calls);
    self->brokers[self->broker_count++] = broker;
    client_call_flush(self, now_ms);
}

void
client_session_down(client_session_t *self, uint32_t number, int64_t now_ms)
{
    broker_t *broker = client_broker_find(self, number);
    if (!broker)
        return;
    broker->link.state = LINK_DOWN;
    self->stats.broker_losses++;
    while (!list_empty(&broker->calls)) {
        call_t *call = LIST_ITEM(broker->calls.next, call_t, chain);
        if (call->idempotent && !call->streamed && call->attempts - call->moves < self->config.attempts_max &&
            call->deadline_ms > now_ms) {
            client_call_leave(call);
            call->maybe = true;
            self->stats.failovers++;
            client_call_send(self, call, now_ms);
        } else if (call->deadline_ms <= now_ms) {
            client_call_fail(self, call, WEFT_DEADLINE_EXCEEDED, "deadline passed");
        } else {
            client_call_fail(self, call, WEFT_UNAVAILABLE,
                             "connection to the broker lost before the reply came");
        }
    }
    client_broker_free(self, broker);
}

/* ---- messages ---- */

/* The call that a REPLY or PARTIAL of this broker belongs to. */
static call_t *
s_answered(const client_session_t *self, const broker_t *broker, uint64_t id)
{
    call_t *call = slots_at(&self->calls, (uint32_t) id);
    return call && call->state == CALL_SENT && call->broker == broker && client_call_id(call) == id ? call
                                                                                                    : NULL;
}

static void
s_malformed(client_session_t *self, broker_t *broker, const weft_message_t *message, weft_status_t status,
            int64_t now_ms)
{
    self->stats.malformed++;
    const bool answer = message->kind == WEFT_REPLY || message->kind == WEFT_PARTIAL;
    if (status == WEFT_UNIMPLEMENTED)
        return; /* another version: ignored by all but brokers */
    call_t *call = answer ? s_answered(self, broker, message->id) : NULL;
    if (!call)
        return;
    if (message->kind == WEFT_PARTIAL)
        client_call_abandon(self, call, WEFT_INTERNAL, "malformed reply", now_ms);
    else
        client_call_fail(self, call, WEFT_INTERNAL, "malformed reply");
}

static void
s_message(client_session_t *self, broker_t *broker, const weft_message_t *message, zmq_msg_t *frame,
          int64_t now_ms)
{
    const char *why;
    switch (message->kind) {
    case WEFT_REPLY:
    case WEFT_PARTIAL: {
        call_t *call = s_answered(self, broker, message->id);
        if (!call)
            self->stats.late_replies++;
        else if (weft_wire_check(message, &why) != WEFT_OK)
            s_malformed(self, broker, message, WEFT_INVALID_ARGUMENT, now_ms);
        else
            client_call_reply(self, call, message, frame, now_ms);
        break;
    }
    case WEFT_PING: {
        zmq_msg_t pong;
        const weft_message_t answer = { .kind = WEFT_PONG, .id = message->id };
        frames_encode(&self->frames, &answer, &pong);
        (void) client_broker_say(self, broker, &pong); /* full: the next PING asks again */
        break;
    }
    case WEFT_PONG:
        break;
    case WEFT_DRAIN:
        if (broker->link.state == LINK_UP)
            broker->link.state = LINK_DRAINING;
        break;
    case WEFT_BYE:
        client_broker_drop(self, broker);
        break;
    case WEFT_REQUEST:
    case WEFT_CANCEL:
    case WEFT_READY:
    case WEFT_WHO:
        self->stats.malformed++; /* nothing that a broker says to a client */
        break;
    }
}

void
client_session_receive(client_session_t *self, uint32_t number, zmq_msg_t *frame, int64_t now_ms)
{
    broker_t *broker = client_broker_find(self, number);
    if (!broker || broker->link.state == LINK_DOWN)
        return;
    broker->link.heard_at = now_ms;
    weft_message_t message;
    const char *why;
    const weft_status_t status = weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why);
    if (status == WEFT_OK)
        s_message(self, broker, &message, frame, now_ms);
    else
        s_malformed(self, broker, &message, status, now_ms);
}

/* ---- calls ---- */

weft_status_t
client_session_submit_elsewhere(client_session_t *self, zmq_msg_t *request, bool idempotent,
                                uint32_t elsewhere, void *call_context, int64_t now_ms, uint64_t *ticket)
{
    weft_message_t message;
    const char *why;
    if (self->closed)
        return WEFT_UNAVAILABLE;
    if (weft_wire_decode(zmq_msg_data(request), zmq_msg_size(request), &message, &why) != WEFT_OK ||
        message.kind != WEFT_REQUEST)
        return WEFT_INVALID_ARGUMENT;
    if (!deadlines_reserve(&self->due, self->calls.used + 1))
        return WEFT_RESOURCE_EXHAUSTED;
    call_t *call = slots_take(&self->calls);
    if (!call)
        return WEFT_RESOURCE_EXHAUSTED;
    const uint64_t service = lacks_key(message.service); /* before the bytes move */
    zmq_msg_init(&call->frame);
    if (zmq_msg_move(&call->frame, request) != 0)
        abort();
    call->service = service;
    call->idempotent = idempotent;
    call->context = call_context;
    call->deadline_ms = now_ms + message.ttl_ms;
    call->service = service;
    call->refused_by = elsewhere;
    self->stats.calls++;
    retry_earn(&self->retry);
    *ticket = slots_key(call);
    client_call_send(self, call, now_ms);
    return WEFT_OK;
}

weft_status_t
client_session_submit(client_session_t *self, zmq_msg_t *request, bool idempotent, void *call_context,
                      int64_t now_ms, uint64_t *ticket)
{
    return client_session_submit_elsewhere(self, request, idempotent, 0, call_context, now_ms, ticket);
}

void
client_session_cancel(client_session_t *self, uint64_t ticket, int64_t now_ms)
{
    call_t *call = slots_find(&self->calls, ticket);
    if (!call)
        return;
    self->stats.cancels++;
    client_call_abandon(self, call, WEFT_CANCELLED, "cancelled by the caller", now_ms);
}

/* ---- time ---- */

static void
s_tick_calls(client_session_t *self, int64_t now_ms)
{
    for (deadline_t *due; (due = deadlines_pop(&self->due, now_ms)) != NULL;) {
        call_t *call = LIST_ITEM(due, call_t, due);
        if (call->deadline_ms <= now_ms) {
            self->stats.deadlines++;
            client_call_abandon(self, call, WEFT_DEADLINE_EXCEEDED, "deadline passed", now_ms);
        } else {
            client_call_send(self, call, now_ms);
        }
    }
}

static void
s_tick_links(client_session_t *self, int64_t now_ms)
{
    /* Backwards and by index: drop may lead to client_session_down at once. */
    for (uint32_t i = self->broker_count; i-- > 0;) {
        if (i >= self->broker_count)
            continue;
        broker_t *broker = self->brokers[i];
        switch (link_due(&broker->link, &self->heartbeat, &self->rng, now_ms)) {
        case LINK_PING:
            client_broker_ping(self, broker);
            break;
        case LINK_LOST:
            client_broker_drop(self, broker);
            break;
        case LINK_NOTHING:
            break;
        }
    }
}

int64_t
client_session_tick(client_session_t *self, int64_t now_ms)
{
    heartbeat_turn(&self->heartbeat, now_ms);
    s_tick_calls(self, now_ms);
    s_tick_links(self, now_ms);
    if (now_ms >= self->flush_at)
        client_call_flush(self, now_ms);
    int64_t next = deadlines_next(&self->due);
    if (self->flush_at < next)
        next = self->flush_at;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const int64_t at = link_next(&self->brokers[i]->link, &self->heartbeat);
        next = at < next ? at : next;
    }
    return next;
}

/* ---- the end ---- */

static void
s_cancel_all(client_session_t *self)
{
    self->closed = true;
    for (uint32_t slot = 0; self->calls.used > 0 && slot < self->calls.made; slot++) {
        call_t *call = slots_at(&self->calls, slot);
        if (call)
            client_call_fail(self, call, WEFT_CANCELLED, "the client is closing");
    }
}

void
client_session_bye(client_session_t *self, int64_t now_ms)
{
    (void) now_ms;
    s_cancel_all(self);
    for (uint32_t i = 0; i < self->broker_count; i++) {
        broker_t *broker = self->brokers[i];
        if (broker->link.state != LINK_DOWN)
            (void) client_broker_say_short(self, broker, WEFT_BYE, weft_rng_next(&self->rng));
        broker->link.state = LINK_DOWN;
    }
}

void
client_session_destroy(client_session_t **self_p)
{
    if (!self_p || !*self_p)
        return;
    client_session_t *self = *self_p;
    s_cancel_all(self);
    while (self->broker_count > 0)
        client_broker_free(self, self->brokers[0]);
    free(self->brokers);
    deadlines_fini(&self->due);
    slots_fini(&self->calls);
    frames_fini(&self->frames);
    free(self);
    *self_p = NULL;
}

uint32_t
client_session_links_up(const client_session_t *self)
{
    return client_brokers_up(self);
}

uint32_t
client_session_in_flight(const client_session_t *self)
{
    return self->calls.used;
}

const client_session_stats_t *
client_session_stats(const client_session_t *self)
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
client_session_check(const client_session_t *self)
{
    uint32_t sent = 0, waiting = 0, backing_off = 0, listed = 0;
    deadlines_check(&self->due);
    s_require(self->due.count == self->calls.used);
    for (uint32_t slot = 0; slot < self->calls.made; slot++) {
        const call_t *call = slots_at(&self->calls, slot);
        if (!call)
            continue;
        s_require(call->due.place != 0 && call->attempts - call->moves <= self->config.attempts_max);
        sent += call->state == CALL_SENT;
        waiting += call->state == CALL_WAITING;
        backing_off += call->state == CALL_BACKOFF;
        s_require((call->state == CALL_SENT) == (call->broker != NULL));
    }
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const broker_t *broker = self->brokers[i];
        uint32_t count = 0;
        for (const list_link_t *at = broker->calls.next; at != &broker->calls; at = at->next)
            count++;
        s_require(count == broker->in_flight);
        listed += count;
    }
    s_require(listed == sent);
    listed = 0;
    for (const list_link_t *at = self->waiting.next; at != &self->waiting; at = at->next)
        listed++;
    s_require(listed == waiting);
    s_require(sent + waiting + backing_off == self->calls.used);
}
