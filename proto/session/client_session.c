/* client_session - a client's calls over its brokers: choosing, deadlines, failover, safe retries */
#include "session/client_session.h"

#include <stdlib.h>

#include "session/chain.h"
#include "session/due.h"
#include "session/frames.h"
#include "session/link.h"
#include "session/retry.h"
#include "session/slots.h"

const client_session_config_t CLIENT_SESSION_DEFAULTS = { .in_flight_max = 65536,
                                                          .attempts_max = 3,
                                                          .ping_ms = 1000,
                                                          .silence_ms = 4000,
                                                          .retry_percent = 10,
                                                          .seed = 1 };

enum {
    FLUSH_MS = 5,       /* how soon a full pipe is tried again */
    CANCELS_MAX = 256,  /* unsent CANCELs kept per link; the broker's own ttl ends what is beyond */
    MESSAGE_MAX = 1024, /* bytes kept of a peer's text where a reply has to be written anew */
    REWRITE_MAX = WEFT_FRAME_MAX / 2
};

typedef struct {
    link_t link;
    chain_t calls; /* sent here, unanswered */
    uint32_t in_flight;
    uint64_t passed_over; /* the round in which it was found full */
    uint64_t *cancels;    /* that found the pipe full */
    uint32_t cancel_count;
} broker_t;

/* submit -> WAITING -sent-> SENT -final reply-> gone
 *           WAITING <-due- BACKOFF <-refused, may be retried- SENT;   WAITING <-link lost, idempotent- SENT
 *           any -deadline, cancel-> gone */
typedef enum { CALL_WAITING, CALL_SENT, CALL_BACKOFF } call_state_t;

typedef struct {
    slots_item_t head;
    chain_t chain; /* of session.waiting or broker.calls; BACKOFF: none */
    due_t due;     /* the deadline; BACKOFF: when to send again */
    call_state_t state;
    broker_t *broker;    /* SENT */
    uint32_t id_high;    /* of the id of the last attempt; the low half is the slot */
    uint32_t refused_by; /* link number; 0: none */
    uint32_t attempts;
    bool idempotent;
    bool maybe;    /* an attempt may have been executed */
    bool streamed; /* the caller has seen a PARTIAL */
    int64_t deadline_ms;
    void *context;
    zmq_msg_t frame; /* the request; its bytes are shared with the first attempt once that was sent */
} call_t;

struct client_session {
    client_session_config_t config;
    client_session_callbacks_t callbacks;
    void *context;
    weft_rng_t rng;
    heartbeat_t heartbeat;
    retry_t retry;
    frames_t frames;
    slots_t calls;
    due_heap_t due;
    broker_t **brokers;
    uint32_t broker_count, broker_room;
    chain_t waiting; /* for a broker or for room, first come first served */
    int64_t flush_at;
    uint64_t round;
    uint32_t id_high;
    bool closed;
    client_session_stats_t stats;
};

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
    chain_init(&self->waiting);
    self->flush_at = INT64_MAX;
    self->id_high = (uint32_t) weft_rng_next(&self->rng);
    if (!slots_init(&self->calls, sizeof(call_t), self->config.in_flight_max,
                    (uint32_t) weft_rng_next(&self->rng))) {
        client_session_destroy(&self);
        return NULL;
    }
    return self;
}

/* ---- links ------------------------------------------------------------------------------------------ */

static broker_t *
s_broker(const client_session_t *self, uint32_t number)
{
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->link.number == number)
            return self->brokers[i];
    return NULL;
}

static void
s_broker_free(client_session_t *self, broker_t *broker)
{
    for (uint32_t i = 0; i < self->broker_count; i++) {
        if (self->brokers[i] == broker) {
            self->brokers[i] = self->brokers[--self->broker_count];
            break;
        }
    }
    free(broker->cancels);
    free(broker);
}

/* The heartbeat failed, or the broker said BYE: the loop closes it and client_session_down follows. */
static void
s_drop(client_session_t *self, broker_t *broker)
{
    broker->link.state = LINK_DOWN;
    self->callbacks.drop(self->context, broker->link.number);
}

/* Sends something of ours; false when the pipe is full or gone (the frame is closed then). */
static bool
s_say(client_session_t *self, broker_t *broker, zmq_msg_t *frame)
{
    const weft_status_t status = self->callbacks.send(self->context, broker->link.number, frame);
    zmq_msg_close(frame); /* after a success it is an empty one */
    return status == WEFT_OK;
}

static bool
s_say_short(client_session_t *self, broker_t *broker, weft_kind_t kind, uint64_t id)
{
    zmq_msg_t frame;
    frames_short(&self->frames, kind, id, &frame);
    return s_say(self, broker, &frame);
}

static void
s_ping(client_session_t *self, broker_t *broker)
{
    zmq_msg_t frame;
    const weft_message_t ping = { .kind = WEFT_PING, .id = weft_rng_next(&self->rng) };
    frames_encode(&self->frames, &ping, &frame);
    (void) s_say(self, broker, &frame); /* full: silence will tell */
}

static void
s_flush_soon(client_session_t *self, int64_t now_ms)
{
    if (self->flush_at > now_ms + FLUSH_MS)
        self->flush_at = now_ms + FLUSH_MS;
}

static void
s_send_cancel(client_session_t *self, broker_t *broker, uint64_t id, int64_t now_ms)
{
    if (broker->link.state == LINK_DOWN)
        return; /* what is lost with it is cancelled by the broker itself */
    if (broker->cancel_count == 0 && s_say_short(self, broker, WEFT_CANCEL, id))
        return;
    if (!broker->cancels)
        broker->cancels = calloc(CANCELS_MAX, sizeof *broker->cancels);
    if (!broker->cancels || broker->cancel_count == CANCELS_MAX) {
        self->stats.cancels_unsent++;
        return;
    }
    broker->cancels[broker->cancel_count++] = id;
    s_flush_soon(self, now_ms);
}

static bool
s_flush_cancels(client_session_t *self, broker_t *broker)
{
    uint32_t sent = 0;
    while (sent < broker->cancel_count && s_say_short(self, broker, WEFT_CANCEL, broker->cancels[sent]))
        sent++;
    broker->cancel_count -= sent;
    if (sent > 0 && broker->cancel_count > 0)
        memmove(broker->cancels, broker->cancels + sent, broker->cancel_count * sizeof *broker->cancels);
    return broker->cancel_count == 0;
}

/* ---- the end of a call ------------------------------------------------------------------------------ */

static uint64_t
s_id(const call_t *call)
{
    return (uint64_t) call->id_high << 32 | call->head.slot;
}

static void
s_leave(call_t *call)
{
    chain_remove(&call->chain);
    if (call->state == CALL_SENT) {
        call->broker->in_flight--;
        call->broker = NULL;
    }
}

/* Gives the caller its final reply.  The call is gone before the callback runs, which may call anything. */
static void
s_finish(client_session_t *self, call_t *call, weft_reply_t *reply)
{
    void *call_context = call->context;
    reply->attempts = call->attempts;
    reply->final = true;
    s_leave(call);
    due_heap_clear(&self->due, &call->due);
    zmq_msg_close(&call->frame);
    slots_give(&self->calls, call);
    self->callbacks.reply(self->context, call_context, reply);
}

static void
s_finish_error(client_session_t *self, call_t *call, weft_status_t status, const weft_error_body_t *error)
{
    zmq_msg_t frame;
    weft_message_t message;
    const char *why;
    frames_error(&self->frames, s_id(call), status, error, &frame);
    if (weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why) != WEFT_OK)
        abort();
    weft_reply_t reply = { .status = status, .meta = message.meta, .body = message.body, .frame = &frame };
    s_finish(self, call, &reply);
    zmq_msg_close(&frame);
}

static void
s_fail(client_session_t *self, call_t *call, weft_status_t status, const char *text)
{
    const weft_error_body_t error = { .message = weft_span(text),
                                      .hop = WEFT_SPAN("client"),
                                      .executed_maybe = call->maybe || call->state == CALL_SENT };
    s_finish_error(self, call, status, &error);
}

/* Ends a call that the broker is still busy with. */
static void
s_abandon(client_session_t *self, call_t *call, weft_status_t status, const char *text, int64_t now_ms)
{
    if (call->state == CALL_SENT)
        s_send_cancel(self, call->broker, s_id(call), now_ms);
    s_fail(self, call, status, text);
}

/* ---- sending ---------------------------------------------------------------------------------------- */

/* The broker with least in flight among those that are up and were not passed over in this round, ties at
 * random.  `avoid`: it has just refused this call; it is taken only when there is no other. */
static broker_t *
s_choose(client_session_t *self, uint32_t avoid)
{
    broker_t *best = NULL, *avoided = NULL;
    uint32_t ties = 0;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        broker_t *broker = self->brokers[i];
        if (broker->link.state != LINK_UP || broker->passed_over == self->round)
            continue;
        if (broker->link.number == avoid) {
            avoided = broker;
        } else if (!best || broker->in_flight < best->in_flight) {
            best = broker;
            ties = 1;
        } else if (broker->in_flight == best->in_flight && weft_rng_below(&self->rng, ++ties) == 0) {
            best = broker;
        }
    }
    return best ? best : avoided;
}

/* Makes the frame of the next attempt.  The first shares its bytes with the copy that is kept; later ones
 * need bytes of their own, since the first may still be on its way through the I/O thread. */
static bool
s_attempt(call_t *call, int64_t now_ms, zmq_msg_t *out)
{
    zmq_msg_t *patched = &call->frame;
    if (call->attempts > 0) {
        if (!frames_duplicate(&call->frame, out))
            return false;
        patched = out;
    }
    weft_wire_set_id(zmq_msg_data(patched), s_id(call));
    weft_wire_set_ttl(zmq_msg_data(patched), zmq_msg_size(patched), (uint32_t) (call->deadline_ms - now_ms));
    if (call->attempts == 0) {
        zmq_msg_init(out);
        if (zmq_msg_copy(out, &call->frame) != 0)
            return false;
    }
    return true;
}

/* Sends a call that is in no list to the best broker; false when none takes it now. */
static bool
s_send(client_session_t *self, call_t *call, int64_t now_ms)
{
    self->round++;
    call->id_high = self->id_high++;
    for (;;) {
        broker_t *broker = s_choose(self, call->refused_by);
        if (!broker)
            return false;
        zmq_msg_t frame;
        if (!s_attempt(call, now_ms, &frame))
            return false;
        const weft_status_t status = self->callbacks.send(self->context, broker->link.number, &frame);
        zmq_msg_close(&frame);
        if (status == WEFT_OK) {
            call->state = CALL_SENT;
            call->broker = broker;
            call->attempts++;
            broker->in_flight++;
            chain_append(&broker->calls, &call->chain);
            due_heap_set(&self->due, &call->due, call->deadline_ms);
            return true;
        }
        broker->passed_over = self->round;
    }
}

static uint32_t
s_choosable(const client_session_t *self)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->broker_count; i++)
        count += self->brokers[i]->link.state == LINK_UP;
    return count;
}

/* Sends a call, or lets it wait behind those that wait already. */
static void
s_send_or_wait(client_session_t *self, call_t *call, int64_t now_ms)
{
    if (chain_empty(&self->waiting) && s_send(self, call, now_ms))
        return;
    call->state = CALL_WAITING;
    chain_append(&self->waiting, &call->chain);
    due_heap_set(&self->due, &call->due, call->deadline_ms);
    if (s_choosable(self) > 0)
        s_flush_soon(self, now_ms);
}

static void
s_flush(client_session_t *self, int64_t now_ms)
{
    bool all = true;
    self->flush_at = INT64_MAX;
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->link.state != LINK_DOWN)
            all &= s_flush_cancels(self, self->brokers[i]);
    while (!chain_empty(&self->waiting) && s_choosable(self) > 0) {
        call_t *call = CHAIN_ITEM(self->waiting.next, call_t, chain);
        chain_remove(&call->chain);
        if (call->deadline_ms <= now_ms) {
            self->stats.deadlines++;
            s_fail(self, call, WEFT_DEADLINE_EXCEEDED, "deadline passed");
            continue;
        }
        if (!s_send(self, call, now_ms)) {
            call->chain = (chain_t){ &self->waiting, self->waiting.next };
            self->waiting.next->prev = &call->chain;
            self->waiting.next = &call->chain;
            all = false;
            break;
        }
    }
    if (!all)
        s_flush_soon(self, now_ms);
}

/* ---- links come and go ------------------------------------------------------------------------------ */

void
client_session_up(client_session_t *self, uint32_t number, int64_t now_ms)
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
    link_up(&broker->link, number, now_ms);
    chain_init(&broker->calls);
    self->brokers[self->broker_count++] = broker;
    s_flush(self, now_ms);
}

void
client_session_down(client_session_t *self, uint32_t number, int64_t now_ms)
{
    broker_t *broker = s_broker(self, number);
    if (!broker)
        return;
    broker->link.state = LINK_DOWN;
    self->stats.broker_losses++;
    while (!chain_empty(&broker->calls)) {
        call_t *call = CHAIN_ITEM(broker->calls.next, call_t, chain);
        if (call->idempotent && !call->streamed && call->attempts < self->config.attempts_max &&
            call->deadline_ms > now_ms) {
            s_leave(call);
            call->maybe = true;
            self->stats.failovers++;
            s_send_or_wait(self, call, now_ms);
        } else if (call->deadline_ms <= now_ms) {
            s_fail(self, call, WEFT_DEADLINE_EXCEEDED, "deadline passed");
        } else {
            s_fail(self, call, WEFT_UNAVAILABLE, "connection to the broker lost before the reply came");
        }
    }
    s_broker_free(self, broker);
}

/* ---- replies ---------------------------------------------------------------------------------------- */

/* A refusal that may be tried again: true when the call goes on. */
static bool
s_retry(client_session_t *self, call_t *call, const weft_message_t *message, const weft_error_body_t *error,
        int64_t now_ms)
{
    if (message->status != WEFT_UNAVAILABLE && message->status != WEFT_RESOURCE_EXHAUSTED)
        return false;
    if (error->executed_maybe || call->streamed || call->attempts >= self->config.attempts_max)
        return false;
    broker_t *broker = call->broker;
    /* A broker that leaves refuses what crossed its DRAIN: that is no sign of overload, so it costs nothing.
     */
    const bool leaving = broker->link.state == LINK_DRAINING;
    int64_t delay_ms = 0;
    if (!leaving) {
        delay_ms = retry_delay_ms(&self->rng, call->attempts,
                                  weft_mp_get_uint(error->details, "retry_after_ms", 0));
        if (now_ms + delay_ms >= call->deadline_ms)
            return false;
        if (!retry_spend(&self->retry)) {
            self->stats.retries_denied++;
            return false;
        }
    } else if (now_ms >= call->deadline_ms) {
        return false;
    }
    self->stats.retries++;
    call->refused_by = broker->link.number;
    s_leave(call);
    if (leaving) {
        s_send_or_wait(self, call, now_ms);
    } else {
        call->state = CALL_BACKOFF;
        due_heap_set(&self->due, &call->due, now_ms + delay_ms);
    }
    return true;
}

/* An earlier attempt may have been executed, whatever this reply says of the last. */
static void
s_finish_doubtful(client_session_t *self, call_t *call, const weft_message_t *message,
                  const weft_error_body_t *error)
{
    weft_error_body_t doubtful = *error;
    doubtful.executed_maybe = true;
    if (message->body.size > REWRITE_MAX)
        doubtful.details = (weft_span_t){ NULL, 0 };
    if (doubtful.message.size > MESSAGE_MAX)
        doubtful.message.size = MESSAGE_MAX;
    if (doubtful.hop.size > MESSAGE_MAX)
        doubtful.hop.size = MESSAGE_MAX;
    s_finish_error(self, call, message->status, &doubtful);
}

static void
s_reply(client_session_t *self, call_t *call, const weft_message_t *message, zmq_msg_t *frame, int64_t now_ms)
{
    const bool final = message->kind == WEFT_REPLY;
    if (final && message->status != WEFT_OK) {
        weft_error_body_t error;
        weft_error_body_read(message->body, &error);
        if (s_retry(self, call, message, &error, now_ms))
            return;
        if (!error.executed_maybe && (call->maybe || call->streamed)) {
            s_finish_doubtful(self, call, message, &error);
            return;
        }
    }
    weft_reply_t reply = { .status = message->status,
                           .meta = message->meta,
                           .body = message->body,
                           .queue_us = message->load,
                           .attempts = call->attempts,
                           .frame = frame };
    if (final) {
        s_finish(self, call, &reply);
    } else {
        call->streamed = call->maybe = true;
        self->callbacks.reply(self->context, call->context, &reply);
    }
}

/* The call that a REPLY or PARTIAL of this broker belongs to. */
static call_t *
s_answered(const client_session_t *self, const broker_t *broker, uint64_t id)
{
    call_t *call = slots_at(&self->calls, (uint32_t) id);
    return call && call->state == CALL_SENT && call->broker == broker && s_id(call) == id ? call : NULL;
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
        s_abandon(self, call, WEFT_INTERNAL, "malformed reply", now_ms);
    else
        s_fail(self, call, WEFT_INTERNAL, "malformed reply");
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
            s_reply(self, call, message, frame, now_ms);
        break;
    }
    case WEFT_PING: {
        zmq_msg_t pong;
        const weft_message_t answer = { .kind = WEFT_PONG, .id = message->id };
        frames_encode(&self->frames, &answer, &pong);
        (void) s_say(self, broker, &pong); /* full: the next PING asks again */
        break;
    }
    case WEFT_PONG:
        break;
    case WEFT_DRAIN:
        if (broker->link.state == LINK_UP)
            broker->link.state = LINK_DRAINING;
        break;
    case WEFT_BYE:
        s_drop(self, broker);
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
        s_malformed(self, broker, &message, status, now_ms);
}

/* ---- calls ------------------------------------------------------------------------------------------ */

weft_status_t
client_session_submit(client_session_t *self, zmq_msg_t *request, bool idempotent, void *call_context,
                      int64_t now_ms, uint64_t *ticket)
{
    weft_message_t message;
    const char *why;
    if (self->closed)
        return WEFT_UNAVAILABLE;
    if (weft_wire_decode(zmq_msg_data(request), zmq_msg_size(request), &message, &why) != WEFT_OK ||
        message.kind != WEFT_REQUEST)
        return WEFT_INVALID_ARGUMENT;
    if (!due_heap_reserve(&self->due, self->calls.used + 1))
        return WEFT_RESOURCE_EXHAUSTED;
    call_t *call = slots_take(&self->calls);
    if (!call)
        return WEFT_RESOURCE_EXHAUSTED;
    zmq_msg_init(&call->frame);
    if (zmq_msg_move(&call->frame, request) != 0)
        abort();
    call->idempotent = idempotent;
    call->context = call_context;
    call->deadline_ms = now_ms + message.ttl_ms;
    self->stats.calls++;
    retry_earn(&self->retry);
    *ticket = slots_key(call);
    s_send_or_wait(self, call, now_ms);
    return WEFT_OK;
}

void
client_session_cancel(client_session_t *self, uint64_t ticket, int64_t now_ms)
{
    call_t *call = slots_find(&self->calls, ticket);
    if (!call)
        return;
    self->stats.cancels++;
    s_abandon(self, call, WEFT_CANCELLED, "cancelled by the caller", now_ms);
}

/* ---- time ------------------------------------------------------------------------------------------- */

static void
s_tick_calls(client_session_t *self, int64_t now_ms)
{
    for (due_t *due; (due = due_heap_pop(&self->due, now_ms)) != NULL;) {
        call_t *call = CHAIN_ITEM(due, call_t, due);
        if (call->deadline_ms <= now_ms) {
            self->stats.deadlines++;
            s_abandon(self, call, WEFT_DEADLINE_EXCEEDED, "deadline passed", now_ms);
        } else {
            s_send_or_wait(self, call, now_ms);
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
            s_ping(self, broker);
            break;
        case LINK_LOST:
            s_drop(self, broker);
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
        s_flush(self, now_ms);
    int64_t next = due_heap_next(&self->due);
    if (self->flush_at < next)
        next = self->flush_at;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const int64_t at = link_next(&self->brokers[i]->link, &self->heartbeat);
        next = at < next ? at : next;
    }
    return next;
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void
s_cancel_all(client_session_t *self)
{
    self->closed = true;
    for (uint32_t slot = 0; self->calls.used > 0 && slot < self->calls.made; slot++) {
        call_t *call = slots_at(&self->calls, slot);
        if (call)
            s_fail(self, call, WEFT_CANCELLED, "the client is closing");
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
            (void) s_say_short(self, broker, WEFT_BYE, weft_rng_next(&self->rng));
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
        s_broker_free(self, self->brokers[0]);
    free(self->brokers);
    due_heap_fini(&self->due);
    slots_fini(&self->calls);
    frames_fini(&self->frames);
    free(self);
    *self_p = NULL;
}

uint32_t
client_session_links_up(const client_session_t *self)
{
    return s_choosable(self);
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
    due_heap_check(&self->due);
    s_require(self->due.count == self->calls.used);
    for (uint32_t slot = 0; slot < self->calls.made; slot++) {
        const call_t *call = slots_at(&self->calls, slot);
        if (!call)
            continue;
        s_require(call->due.place != 0 && call->attempts <= self->config.attempts_max);
        sent += call->state == CALL_SENT;
        waiting += call->state == CALL_WAITING;
        backing_off += call->state == CALL_BACKOFF;
        s_require((call->state == CALL_SENT) == (call->broker != NULL));
    }
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const broker_t *broker = self->brokers[i];
        uint32_t count = 0;
        for (const chain_t *at = broker->calls.next; at != &broker->calls; at = at->next)
            count++;
        s_require(count == broker->in_flight);
        listed += count;
    }
    s_require(listed == sent);
    listed = 0;
    for (const chain_t *at = self->waiting.next; at != &self->waiting; at = at->next)
        listed++;
    s_require(listed == waiting);
    s_require(sent + waiting + backing_off == self->calls.used);
}
