/* client_broker - a client's brokers: finding, choosing and telling them */
#include "session/client_private.h"

#include <stdlib.h>

enum { CANCELS_MAX = 256 }; /* unsent CANCELs kept per link; the broker's own ttl ends what is beyond */

broker_t *
client_broker_find(const client_session_t *self, uint32_t number)
{
    for (uint32_t i = 0; i < self->broker_count; i++)
        if (self->brokers[i]->link.number == number)
            return self->brokers[i];
    return NULL;
}

void
client_broker_free(client_session_t *self, broker_t *broker)
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
void
client_broker_drop(client_session_t *self, broker_t *broker)
{
    broker->link.state = LINK_DOWN;
    self->callbacks.drop(self->context, broker->link.number);
}

/* Sends something of ours; false when the pipe is full or gone (the frame is closed then). */
bool
client_broker_say(client_session_t *self, broker_t *broker, zmq_msg_t *frame)
{
    const weft_status_t status = self->callbacks.send(self->context, broker->link.number, frame);
    zmq_msg_close(frame); /* after a success it is an empty one */
    return status == WEFT_OK;
}

bool
client_broker_say_short(client_session_t *self, broker_t *broker, weft_kind_t kind, uint64_t id)
{
    zmq_msg_t frame;
    frames_short(&self->frames, kind, id, &frame);
    return client_broker_say(self, broker, &frame);
}

void
client_broker_ping(client_session_t *self, broker_t *broker)
{
    zmq_msg_t frame;
    const weft_message_t ping = { .kind = WEFT_PING, .id = weft_rng_next(&self->rng) };
    frames_encode(&self->frames, &ping, &frame);
    (void) client_broker_say(self, broker, &frame); /* full: silence will tell */
}

void
client_broker_cancel(client_session_t *self, broker_t *broker, uint64_t id, int64_t now_ms)
{
    if (broker->link.state == LINK_DOWN)
        return; /* what is lost with it is cancelled by the broker itself */
    if (broker->cancel_count == 0 && client_broker_say_short(self, broker, WEFT_CANCEL, id))
        return;
    if (!broker->cancels)
        broker->cancels = calloc(CANCELS_MAX, sizeof *broker->cancels);
    if (!broker->cancels || broker->cancel_count == CANCELS_MAX) {
        self->stats.cancels_unsent++;
        return;
    }
    broker->cancels[broker->cancel_count++] = id;
    client_call_flush_soon(self, now_ms);
}

bool
client_broker_flush(client_session_t *self, broker_t *broker)
{
    uint32_t sent = 0;
    while (sent < broker->cancel_count &&
           client_broker_say_short(self, broker, WEFT_CANCEL, broker->cancels[sent]))
        sent++;
    broker->cancel_count -= sent;
    if (sent > 0 && broker->cancel_count > 0)
        memmove(broker->cancels, broker->cancels + sent, broker->cancel_count * sizeof *broker->cancels);
    return broker->cancel_count == 0;
}

/* ---- choosing ---- */

/* The lower the better.  One that lacks the service comes behind others, one that has just refused this very
 * call behind those.  Last is one that misses an answer to a PING and may be stopped: what is sent there now
 * waits until the heartbeat gives it up, and may then be lost; a refusal costs less.  Where all are silent it
 * was this process that did not run. */
static int
s_rank(const client_session_t *self, const broker_t *broker, const call_t *call, int64_t now_ms)
{
    if (now_ms - broker->link.heard_at > 2 * (int64_t) self->config.ping_ms)
        return 3;
    return broker->link.number == call->refused_by ? 2 : lacks_has(&broker->lacks, call->service, now_ms);
}

broker_t *
client_broker_choose(client_session_t *self, const call_t *call, int64_t now_ms)
{
    broker_t *best = NULL;
    int best_rank = 0;
    uint32_t ties = 0;
    for (uint32_t i = 0; i < self->broker_count; i++) {
        broker_t *broker = self->brokers[i];
        if (broker->link.state != LINK_UP || broker->passed_over == self->round)
            continue;
        const int rank = s_rank(self, broker, call, now_ms);
        if (!best || rank < best_rank || (rank == best_rank && broker->in_flight < best->in_flight)) {
            best = broker;
            best_rank = rank;
            ties = 1;
        } else if (rank == best_rank && broker->in_flight == best->in_flight &&
                   weft_rng_below(&self->rng, ++ties) == 0) {
            best = broker;
        }
    }
    return best;
}

bool
client_broker_other(const client_session_t *self, const broker_t *than, const call_t *call, int64_t now_ms)
{
    for (uint32_t i = 0; i < self->broker_count; i++) {
        const broker_t *broker = self->brokers[i];
        if (broker != than && broker->link.state == LINK_UP && s_rank(self, broker, call, now_ms) == 0)
            return true;
    }
    return false;
}

uint32_t
client_brokers_up(const client_session_t *self)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->broker_count; i++)
        count += self->brokers[i]->link.state == LINK_UP;
    return count;
}
