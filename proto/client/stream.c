/* stream - a call whose replies a blocking reader takes one by one */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <weft/clock.h>

#include "client/client_private.h"

/* Partials that wait unread; beyond either bound the reader is too slow.  A producer may well be faster than
 * a reader for a moment: the bytes are what has to be bounded, the number bounds what empty ones cost. */
#define UNREAD_MAX 65536
#define UNREAD_BYTES_MAX ((size_t) 8 * 1024 * 1024)
#define RING_FIRST 16

struct weft_stream {
    weft_client_t *client;
    freelist_t *frames; /* the client's; stays while a reply does */
    uint64_t ticket;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    weft_reply_t *unread; /* a ring of `room`, a power of two; made when the first comes */
    uint32_t first, count, room;
    size_t bytes;      /* of their bodies and metas */
    weft_reply_t last; /* the final reply; kept to be given again */
    bool ended;        /* `last` is there */
    bool finished;     /* the call has had its final reply: no callback will come */
    bool closed;       /* the reader is gone */
};

static bool
s_grow(weft_stream_t *self)
{
    uint32_t room = self->room ? self->room * 2 : RING_FIRST;
    weft_reply_t *ring = calloc(room, sizeof *ring);
    if (!ring) {
        return false;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        ring[i] = self->unread[(self->first + i) % self->room];
    }
    free(self->unread);
    self->unread = ring;
    self->room = room;
    self->first = 0;
    return true;
}

/* False when it may not wait with the others. */
static bool
s_push(weft_stream_t *self, weft_reply_t *reply)
{
    size_t size = reply->meta.size + reply->body.size;
    if (self->count == UNREAD_MAX || size > UNREAD_BYTES_MAX - self->bytes ||
        (self->count == self->room && !s_grow(self))) {
        return false;
    }
    self->unread[(self->first + self->count++) % self->room] = *reply;
    self->bytes += size;
    *reply = (weft_reply_t){ 0 };
    return true;
}

static void
s_pop(weft_stream_t *self, weft_reply_t *reply)
{
    *reply = self->unread[self->first];
    self->first = (self->first + 1) % self->room;
    self->count--;
    self->bytes -= reply->meta.size + reply->body.size;
}

static void
s_free(weft_stream_t *self)
{
    while (self->count > 0) {
        weft_reply_t reply;
        s_pop(self, &reply);
        weft_reply_fini(&reply);
    }
    free(self->unread);
    weft_reply_fini(&self->last);
    (void) pthread_cond_destroy(&self->changed);
    (void) pthread_mutex_destroy(&self->lock);
    free(self);
}

static void
s_end(weft_stream_t *self, weft_reply_t *reply)
{
    self->last = *reply;
    self->ended = true;
    *reply = (weft_reply_t){ 0 };
}

/* With the lock; true when the call has to be cancelled. */
static bool
s_keep(weft_stream_t *self, weft_reply_t *reply)
{
    if (self->ended) {
        return false; /* too slow already */
    }
    if (reply->final) {
        s_end(self, reply);
        return false;
    }
    if (!s_push(self, reply)) {
        weft_reply_t error;
        reply_error(self->frames, WEFT_RESOURCE_EXHAUSTED, "the stream was read too slowly", true, &error);
        s_end(self, &error);
        return true;
    }
    return false;
}

static void
s_on_reply(void *context, weft_reply_t *reply)
{
    weft_stream_t *self = context;
    bool final = reply->final;
    (void) pthread_mutex_lock(&self->lock);
    bool cancel = !self->closed && s_keep(self, reply);
    self->finished = final;
    bool last = final && self->closed;
    if (cancel) {
        weft_cancel(self->client, self->ticket);
    }
    (void) pthread_cond_signal(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
    if (last) {
        s_free(self);
    }
}

weft_stream_t *
weft_stream_open(weft_client_t *self, const weft_call_t *call)
{
    weft_stream_t *stream = calloc(1, sizeof *stream);
    if (!stream) {
        return NULL;
    }
    stream->client = self;
    stream->frames = client_frames(self);
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&stream->lock, NULL) != 0 || pthread_condattr_init(&attributes) != 0 ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&stream->changed, &attributes) != 0) {
        free(stream);
        return NULL;
    }
    (void) pthread_condattr_destroy(&attributes);
    /* The lock keeps the first reply from asking for the ticket before it is written. */
    (void) pthread_mutex_lock(&stream->lock);
    weft_status_t status = weft_submit(self, call, s_on_reply, stream, &stream->ticket);
    if (status != WEFT_OK) {
        client_refused(self, status, &stream->last);
        stream->ended = stream->finished = true;
    }
    (void) pthread_mutex_unlock(&stream->lock);
    return stream;
}

bool
weft_stream_next(weft_stream_t *self, int64_t timeout_ms, weft_reply_t *reply)
{
    int64_t until_ms = weft_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    struct timespec until = { .tv_sec = (time_t) (until_ms / 1000),
                              .tv_nsec = (long) (until_ms % 1000) * 1000000 };
    int rc = 0;
    (void) pthread_mutex_lock(&self->lock);
    while (self->count == 0 && !self->ended && rc == 0) {
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    bool found = true;
    if (self->count > 0) {
        s_pop(self, reply);
    } else if (self->ended) {
        reply_copy(self->frames, &self->last, reply);
    } else {
        found = false;
    }
    (void) pthread_mutex_unlock(&self->lock);
    return found;
}

void
weft_stream_close(weft_stream_t **self_p)
{
    assert(self_p);
    weft_stream_t *self = *self_p;
    if (!self) {
        return;
    }
    *self_p = NULL;
    (void) pthread_mutex_lock(&self->lock);
    bool finished = self->finished;
    self->closed = true;
    if (!finished) {
        weft_cancel(self->client, self->ticket);
    }
    (void) pthread_mutex_unlock(&self->lock);
    if (finished) {
        s_free(self);
    }
}
