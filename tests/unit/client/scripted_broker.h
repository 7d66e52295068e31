/* scripted_broker - a ROUTER that speaks WEFT/1 as a test says, on a thread of its own
 *
 * Each method names what is done with its request:
 *   echo      OK with the request's body;        silent   nothing, ever
 *   fail      NOT_FOUND, executed "maybe";        refuse   RESOURCE_EXHAUSTED, executed "no"
 *   stream    five PARTIALs and an OK;            many     2,000 of them and an OK
 *   flood     9 MiB of PARTIALs and an OK
 *   twice     two REPLYs;                         garbage  bytes that are no message, then OK
 *   hold      nothing until its CANCEL: CANCELLED
 *   watch     as weft.broker's: one service ("alpha", 3 workers) and `synced`, then nothing until its CANCEL;
 * while `watch_ends` only a `synced` and its end; `watch_flood` as many events of "alpha" and no more */
#ifndef WEFT_SCRIPTED_BROKER_H
#define WEFT_SCRIPTED_BROKER_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <weft/clock.h>
#include <weft/wire.h>

#include "unit/bus/listener.h"

typedef struct {
    listener_t listener;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned requests, cancels, byes, pings;
    _Atomic bool mute; /* not even PONGs */
    _Atomic bool watch_ends;
    _Atomic unsigned watch_flood;
} scripted_broker_t;

static inline void
s_script_send(scripted_broker_t *self, const weft_message_t *message)
{
    weft_buf_t out;
    weft_buf_init(&out, WEFT_FRAME_MAX);
    if (weft_wire_encode(&out, message) != WEFT_OK) {
        abort();
    }
    /* A client that is gone is none of our business. */
    if (zmq_send(self->listener.socket, self->listener.peer, self->listener.peer_size, ZMQ_SNDMORE) >= 0) {
        (void) !zmq_send(self->listener.socket, out.data, out.size, 0);
    }
    weft_buf_fini(&out);
}

static inline void
s_script_error(scripted_broker_t *self, uint64_t id, weft_status_t status, const char *text, bool maybe)
{
    weft_buf_t body;
    weft_buf_init(&body, 4096);
    const weft_error_body_t error = { .message = weft_span(text), .executed_maybe = maybe };
    if (!weft_error_body_write(&body, &error)) {
        abort();
    }
    s_script_send(self, &(weft_message_t){
                            .kind = WEFT_REPLY, .id = id, .status = status, .body = weft_buf_span(&body) });
    weft_buf_fini(&body);
}

static inline void
s_script_watch(scripted_broker_t *self, uint64_t id)
{
    static const char alpha[] = "\x84\xa5"
                                "event\xa7service\xa4name\xa5"
                                "alpha\xa7workers\x03\xaa"
                                "descriptor\x80";
    static const char synced[] = "\x82\xa5"
                                 "event\xa6synced\xa5"
                                 "epoch\x07";
    weft_message_t partial = { .kind = WEFT_PARTIAL, .id = id, .body = { alpha, sizeof alpha - 1 } };
    unsigned flood = atomic_exchange(&self->watch_flood, 0);
    for (unsigned i = 0; i < flood; i++) {
        s_script_send(self, &partial);
    }
    if (flood > 0) {
        return;
    }
    bool ends = atomic_load(&self->watch_ends);
    if (!ends) {
        s_script_send(self, &partial);
    }
    partial.body = (weft_span_t){ synced, sizeof synced - 1 };
    s_script_send(self, &partial);
    if (ends) {
        s_script_error(self, id, WEFT_UNAVAILABLE, "leaving", false);
    }
}

static inline void
s_script_request(scripted_broker_t *self, const weft_message_t *request)
{
    weft_message_t reply = { .kind = WEFT_REPLY, .id = request->id, .body = request->body, .load = 7 };
    weft_message_t partial = reply;
    partial.kind = WEFT_PARTIAL;
    atomic_fetch_add(&self->requests, 1);
    if (weft_span_equal(request->method, WEFT_SPAN("fail"))) {
        s_script_error(self, request->id, WEFT_NOT_FOUND, "no such thing", true);
    } else if (weft_span_equal(request->method, WEFT_SPAN("refuse"))) {
        s_script_error(self, request->id, WEFT_RESOURCE_EXHAUSTED, "busy", false);
    } else if (weft_span_equal(request->method, WEFT_SPAN("stream")) ||
               weft_span_equal(request->method, WEFT_SPAN("many"))) {
        for (int i = request->method.data[0] == 's' ? 5 : 2000; i > 0; i--) {
            s_script_send(self, &partial);
        }
        s_script_send(self, &reply);
    } else if (weft_span_equal(request->method, WEFT_SPAN("flood"))) {
        static const char large[65536] = { (char) 0xc6, 0, 0, (char) 0xff, (char) 0xfb };
        partial.body = (weft_span_t){ large, sizeof large };
        for (int i = 0; i < 144; i++) {
            s_script_send(self, &partial);
        }
        s_script_send(self, &reply);
    } else if (weft_span_equal(request->method, WEFT_SPAN("twice"))) {
        s_script_send(self, &reply);
        s_script_send(self, &reply);
    } else if (weft_span_equal(request->method, WEFT_SPAN("garbage"))) {
        listener_reply(&self->listener, "\x93\x01\xff no message", 14);
        listener_reply(&self->listener, "", 0);
        s_script_send(self, &reply);
    } else if (weft_span_equal(request->method, WEFT_SPAN("watch"))) {
        s_script_watch(self, request->id);
    } else if (weft_span_equal(request->method, WEFT_SPAN("echo"))) {
        s_script_send(self, &reply);
    }
}

static inline void
s_script_message(scripted_broker_t *self, const weft_message_t *message)
{
    switch (message->kind) {
    case WEFT_REQUEST:
        s_script_request(self, message);
        break;
    case WEFT_CANCEL:
        atomic_fetch_add(&self->cancels, 1);
        s_script_error(self, message->id, WEFT_CANCELLED, "cancelled", true);
        break;
    case WEFT_PING:
        atomic_fetch_add(&self->pings, 1);
        s_script_send(self, &(weft_message_t){ .kind = WEFT_PONG, .id = message->id, .epoch = 42 });
        break;
    case WEFT_BYE:
        atomic_fetch_add(&self->byes, 1);
        break;
    case WEFT_REPLY:
    case WEFT_PARTIAL:
    case WEFT_READY:
    case WEFT_PONG:
    case WEFT_DRAIN:
    case WEFT_WHO:
        break;
    }
}

static inline void *
s_script_run(void *argument)
{
    scripted_broker_t *self = argument;
    static _Thread_local char frame[WEFT_FRAME_MAX];
    while (!atomic_load(&self->stop)) {
        int size = listener_receive(&self->listener, frame, sizeof frame);
        weft_message_t message;
        const char *why = NULL;
        if (size >= 0 && !atomic_load(&self->mute) &&
            weft_wire_decode(frame, (size_t) size, &message, &why) == WEFT_OK) {
            s_script_message(self, &message);
        }
    }
    return NULL;
}

/* `address` NULL: a free port. */
static inline void
scripted_broker_start(scripted_broker_t *self, const char *address)
{
    int patience = 20; /* how soon it sees `stop` */
    memset(self, 0, sizeof *self);
    listener_open(&self->listener, address);
    if (zmq_setsockopt(self->listener.socket, ZMQ_RCVTIMEO, &patience, sizeof patience) != 0 ||
        pthread_create(&self->thread, NULL, s_script_run, self) != 0) {
        abort();
    }
}

/* Waits until a counter of the broker has come so far. */
static inline void
scripted_broker_wait(const _Atomic unsigned *counter, unsigned count)
{
    for (int64_t until_ms = weft_mono_ms() + LISTENER_PATIENCE_MS; atomic_load(counter) < count;) {
        if (weft_mono_ms() > until_ms) {
            fail_msg("waited in vain: %u of %u", atomic_load(counter), count);
        }
        (void) sched_yield();
    }
}

static inline void
scripted_broker_stop(scripted_broker_t *self)
{
    atomic_store(&self->stop, true);
    (void) pthread_join(self->thread, NULL);
    listener_close(&self->listener, 0);
}

#endif
