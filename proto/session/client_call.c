/* client_call - the life of one call: sent, waiting, failed over, retried, ended */
#include "session/client_private.h"

#include <stdlib.h>

enum {
    FLUSH_MS = 5,       /* how soon a full pipe is tried again */
    MESSAGE_MAX = 1024, /* bytes kept of a peer's text where a reply has to be written anew */
    REWRITE_MAX = WEFT_FRAME_MAX / 2,
    MOVES_MAX = 32 /* attempts of one call that cost nothing: a few seconds of a broker that comes back */
};

void
client_call_flush_soon(client_session_t *self, int64_t now_ms)
{
    if (self->flush_at > now_ms + FLUSH_MS)
        self->flush_at = now_ms + FLUSH_MS;
}

/* ---- the end -------------------------------------------------------------------------------------- */

uint64_t
client_call_id(const call_t *call)
{
    return (uint64_t) call->id_high << 32 | call->head.slot;
}

void
client_call_leave(call_t *call)
{
    list_discard(&call->chain);
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
    client_call_leave(call);
    deadlines_clear(&self->due, &call->due);
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
    frames_error(&self->frames, client_call_id(call), status, error, &frame);
    if (weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why) != WEFT_OK)
        abort();
    weft_reply_t reply = { .status = status, .meta = message.meta, .body = message.body, .frame = &frame };
    s_finish(self, call, &reply);
    zmq_msg_close(&frame);
}

void
client_call_fail(client_session_t *self, call_t *call, weft_status_t status, const char *text)
{
    const weft_error_body_t error = { .message = weft_span(text),
                                      .hop = WEFT_SPAN("client"),
                                      .executed_maybe = call->maybe || call->state == CALL_SENT };
    s_finish_error(self, call, status, &error);
}

/* Ends a call that the broker is still busy with. */
void
client_call_abandon(client_session_t *self, call_t *call, weft_status_t status, const char *text,
                    int64_t now_ms)
{
    if (call->state == CALL_SENT)
        client_broker_cancel(self, call->broker, client_call_id(call), now_ms);
    client_call_fail(self, call, status, text);
}

/* ---- sending --------------------------------------------------------------------------------------- */

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
    weft_wire_set_id(zmq_msg_data(patched), client_call_id(call));
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
        broker_t *broker = client_broker_choose(self, call, now_ms);
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
            lacks_probe(&broker->lacks, call->service, now_ms);
            list_add(&broker->calls, &call->chain);
            deadlines_set(&self->due, &call->due, call->deadline_ms);
            return true;
        }
        broker->passed_over = self->round;
    }
}

/* Sends a call, or lets it wait behind those that wait already. */
void
client_call_send(client_session_t *self, call_t *call, int64_t now_ms)
{
    if (list_empty(&self->waiting) && s_send(self, call, now_ms))
        return;
    call->state = CALL_WAITING;
    list_add(&self->waiting, &call->chain);
    deadlines_set(&self->due, &call->due, call->deadline_ms);
    if (client_brokers_up(self) > 0)
        client_call_flush_soon(self, now_ms);
}

void
client_call_flush(client_session_t *self, int64_t now_ms)
{
    bool all = true;
    self->flush_at = INT64_MAX;
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->link.state != LINK_DOWN)
            all &= client_broker_flush(self, self->brokers[i]);
    while (!list_empty(&self->waiting) && client_brokers_up(self) > 0) {
        call_t *call = LIST_ITEM(self->waiting.next, call_t, chain);
        list_discard(&call->chain);
        if (call->deadline_ms <= now_ms) {
            self->stats.deadlines++;
            client_call_fail(self, call, WEFT_DEADLINE_EXCEEDED, "deadline passed");
            continue;
        }
        if (!s_send(self, call, now_ms)) {
            call->chain = (list_link_t){ &self->waiting, self->waiting.next };
            self->waiting.next->prev = &call->chain;
            self->waiting.next = &call->chain;
            all = false;
            break;
        }
    }
    if (!all)
        client_call_flush_soon(self, now_ms);
}

/* ---- replies --------------------------------------------------------------------------------------- */

/* Sends a refused call again, elsewhere where that can be. */
static void
s_again(client_session_t *self, call_t *call, int64_t delay_ms, int64_t now_ms)
{
    self->stats.retries++;
    call->refused_by = call->broker->link.number;
    client_call_leave(call);
    if (delay_ms == 0) {
        client_call_send(self, call, now_ms);
    } else {
        call->state = CALL_BACKOFF;
        deadlines_set(&self->due, &call->due, now_ms + delay_ms);
    }
}

/* The broker itself says that it cannot do the service: it leaves, or no worker of it has registered there.
 * That is no sign of overload, and another broker may well be able to: going there costs nothing.  So does
 * waiting as long as a broker asks for that has just come back and whose workers are still on their way. */
static bool
s_move(client_session_t *self, call_t *call, const weft_error_body_t *error, int64_t now_ms)
{
    broker_t *broker = call->broker;
    const bool leaving = broker->link.state == LINK_DRAINING;
    int64_t delay_ms = 0;
    if (call->moves >= MOVES_MAX)
        return false;
    lacks_add(&broker->lacks, call->service, now_ms);
    if (!leaving && !client_broker_other(self, broker, call, now_ms)) {
        const uint64_t after_ms = weft_mp_get_uint(error->details, "retry_after_ms", 0);
        if (after_ms == 0)
            return false;
        delay_ms = retry_delay_ms(&self->rng, 1, after_ms);
    }
    if (now_ms + delay_ms >= call->deadline_ms)
        return false;
    call->moves++;
    s_again(self, call, delay_ms, now_ms);
    return true;
}

/* A refusal that may be tried again: true when the call goes on. */
static bool
s_retry(client_session_t *self, call_t *call, const weft_message_t *message, const weft_error_body_t *error,
        int64_t now_ms)
{
    if ((message->status != WEFT_UNAVAILABLE && message->status != WEFT_RESOURCE_EXHAUSTED) || call->streamed)
        return false;
    const bool by_broker = message->status == WEFT_UNAVAILABLE &&
                           weft_span_equal(error->hop, WEFT_SPAN("broker"));
    if (error->executed_maybe && !(by_broker && call->idempotent))
        return false; /* the workers that had it were lost: only what may be done twice goes on */
    if (by_broker && !error->executed_maybe && s_move(self, call, error, now_ms))
        return true;
    if (call->attempts - call->moves >= self->config.attempts_max)
        return false;
    const int64_t delay_ms = retry_delay_ms(&self->rng, call->attempts - call->moves,
                                            weft_mp_get_uint(error->details, "retry_after_ms", 0));
    if (now_ms + delay_ms >= call->deadline_ms)
        return false;
    if (!retry_spend(&self->retry)) {
        self->stats.retries_denied++;
        return false;
    }
    call->maybe |= error->executed_maybe;
    s_again(self, call, delay_ms, now_ms);
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

void
client_call_reply(client_session_t *self, call_t *call, const weft_message_t *message, zmq_msg_t *frame,
                  int64_t now_ms)
{
    const bool final = message->kind == WEFT_REPLY;
    if (!final || message->status == WEFT_OK)
        lacks_remove(&call->broker->lacks, call->service);
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
                           .frame = frame,
                           .broker = call->broker->link.number };
    if (final) {
        s_finish(self, call, &reply);
    } else {
        call->streamed = call->maybe = true;
        self->callbacks.reply(self->context, call->context, &reply);
    }
}
