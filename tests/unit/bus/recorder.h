/* recorder - a bus handler that writes down what happens, for a test thread to wait for */
#ifndef WEFT_RECORDER_H
#define WEFT_RECORDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "bus/bus_private.h"
#include "listener.h"

#define RECORDER_LINKS 16

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bus_group_t *group;
    unsigned ups, downs, messages, wakes, ticks;
    link_id_t links[RECORDER_LINKS]; /* those that are up */
    char addresses[RECORDER_LINKS][64];
    char last[64]; /* start of the last message */
    size_t last_size;

    /* What the bus thread does when woken or told; set before. */
    void (*on_up)(void *self, link_id_t link);
    void (*on_message)(void *self, link_id_t link, zmq_msg_t *frame);
    void (*on_woken)(void *self);
    int64_t due_in_ms;
} recorder_t;

static inline void
recorder_init(recorder_t *self)
{
    memset(self, 0, sizeof *self);
    (void) pthread_mutex_init(&self->lock, NULL);
    (void) pthread_cond_init(&self->changed, NULL);
}

static inline void
s_recorder_up(void *context, link_id_t link, const char *address, int64_t now_ms)
{
    (void) now_ms;
    recorder_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    self->ups++;
    for (int i = 0; i < RECORDER_LINKS; i++) {
        if (self->links[i] == 0) {
            self->links[i] = link;
            (void) snprintf(self->addresses[i], sizeof self->addresses[i], "%s", address);
            break;
        }
    }
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
    if (self->on_up) {
        self->on_up(self, link);
    }
}

static inline void
s_recorder_down(void *context, link_id_t link, int64_t now_ms)
{
    (void) now_ms;
    recorder_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    self->downs++;
    for (int i = 0; i < RECORDER_LINKS; i++) {
        if (self->links[i] == link) {
            self->links[i] = 0;
        }
    }
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
}

static inline void
s_recorder_message(void *context, link_id_t link, zmq_msg_t *frame, int64_t now_ms)
{
    (void) now_ms;
    recorder_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    self->messages++;
    self->last_size = zmq_msg_size(frame);
    memcpy(self->last, zmq_msg_data(frame),
           self->last_size < sizeof self->last ? self->last_size : sizeof self->last);
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
    if (self->on_message) {
        self->on_message(self, link, frame);
    }
}

static inline void
s_recorder_woken(void *context, int64_t now_ms)
{
    (void) now_ms;
    recorder_t *self = context;
    if (self->on_woken) {
        self->on_woken(self);
    }
    (void) pthread_mutex_lock(&self->lock);
    self->wakes++;
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
}

static inline int64_t
s_recorder_tick(void *context, int64_t now_ms)
{
    recorder_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    self->ticks++;
    (void) pthread_cond_broadcast(&self->changed);
    int64_t due = self->due_in_ms ? now_ms + self->due_in_ms : INT64_MAX;
    (void) pthread_mutex_unlock(&self->lock);
    return due;
}

static const bus_handler_t RECORDER = { .up = s_recorder_up,
                                        .down = s_recorder_down,
                                        .message = s_recorder_message,
                                        .woken = s_recorder_woken,
                                        .tick = s_recorder_tick };

/* Waits until *counter, one of the recorder's, is at least `count`. */
static inline void
recorder_wait(recorder_t *self, const unsigned *counter, unsigned count)
{
    struct timespec until;
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LISTENER_PATIENCE_MS / 1000;
    (void) pthread_mutex_lock(&self->lock);
    int rc = 0;
    while (*counter < count && rc == 0) {
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    unsigned seen = *counter;
    (void) pthread_mutex_unlock(&self->lock);
    if (seen < count) {
        fail_msg("waited in vain: %u of %u", seen, count);
    }
}

static inline unsigned
recorder_get(recorder_t *self, const unsigned *counter)
{
    (void) pthread_mutex_lock(&self->lock);
    unsigned value = *counter;
    (void) pthread_mutex_unlock(&self->lock);
    return value;
}

/* Sends text; for callbacks, on the bus thread. */
static inline weft_status_t
recorder_send(recorder_t *self, link_id_t link, const void *data, size_t size)
{
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, size) != 0) {
        abort();
    }
    memcpy(zmq_msg_data(&frame), data, size);
    weft_status_t status = bus_send(self->group, link, &frame);
    (void) zmq_msg_close(&frame);
    return status;
}

#endif
