/* waiter - an HTTP thread waits for the replies of its call, and notices when the caller hangs up meanwhile
 */
#include "gateway/waiter.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <weft/clock.h>

#define RING_KEEP 64   /* partials that a stream's ring begins with */
#define PATIENCE_MS 20 /* on the futex, before the socket is watched as well */

/* BUSY -thread sleeps-> FUTEX -patience ends-> POLL;  any -a reply came-> SIGNAL -thread looks-> BUSY */
enum { BUSY, FUTEX, POLL, SIGNAL };

bool
waiter_init(waiter_t *self)
{
    memset(self, 0, sizeof *self);
    self->event_fd = -1;
    return pthread_mutex_init(&self->lock, NULL) == 0;
}

void
waiter_fini(waiter_t *self)
{
    if (self->event_fd >= 0) {
        close(self->event_fd);
    }
    free(self->replies);
    pthread_mutex_destroy(&self->lock);
}

void
waiter_begin(waiter_t *self, bool stream)
{
    if (self->capacity > RING_KEEP || (!stream && self->replies)) {
        free(self->replies);
        self->replies = NULL;
        self->capacity = 0;
    }
    self->first = self->count = 0;
    self->bytes = 0;
    self->stream = stream;
    self->ended = self->overflow = false;
    atomic_store(&self->state, BUSY);
}

/* Room for one more partial.  False when a bound is reached or memory ended. */
static bool
s_make_room(waiter_t *self, size_t size)
{
    if (self->count == WAITER_REPLIES_MAX || size > WAITER_BYTES_MAX - self->bytes) {
        return false;
    }
    if (self->count < self->capacity) {
        return true;
    }
    uint32_t capacity = self->capacity ? self->capacity * 2 : RING_KEEP;
    weft_reply_t *replies = malloc(capacity * sizeof *replies);
    if (!replies) {
        return false;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        uint32_t from = self->first + i;
        replies[i] = self->replies[from < self->capacity ? from : from - self->capacity];
    }
    free(self->replies);
    self->replies = replies;
    self->capacity = capacity;
    self->first = 0;
    return true;
}

void
waiter_on_reply(void *context, weft_reply_t *reply)
{
    waiter_t *self = context;
    pthread_mutex_lock(&self->lock);
    if (reply->final) {
        self->last = *reply;
        self->ended = true;
        memset(reply, 0, sizeof *reply);
    } else if (self->stream) {
        self->overflow = self->overflow || !s_make_room(self, reply->body.size);
        if (!self->overflow) {
            self->replies[(self->first + self->count++) % self->capacity] = *reply;
            self->bytes += reply->body.size;
            memset(reply, 0, sizeof *reply);
        }
    }
    int event_fd = self->event_fd;
    pthread_mutex_unlock(&self->lock);
    /* Outside of the lock, or the thread would wake only to wait for it.  It may have taken the reply and
     * begun another call by now: then this is one look for nothing. */
    uint32_t state = atomic_exchange(&self->state, SIGNAL);
    if (state == FUTEX) {
        (void) syscall(SYS_futex, &self->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    } else if (state == POLL) {
        const uint64_t one = 1;
        (void) !write(event_fd, &one, sizeof one); /* full means that it is readable already */
    }
}

static void
s_pop(waiter_t *self, weft_reply_t *reply)
{
    *reply = self->replies[self->first];
    self->first = (self->first + 1) % self->capacity;
    self->count--;
    self->bytes -= reply->body.size;
}

/* Takes what there is. */
static bool
s_take(waiter_t *self, weft_reply_t *reply, waiter_event_t *event)
{
    bool taken = true;
    pthread_mutex_lock(&self->lock);
    *event = WAITER_REPLY;
    if (self->count > 0) {
        s_pop(self, reply);
    } else if (self->overflow) {
        *event = WAITER_OVERFLOW;
    } else if (self->ended) {
        *reply = self->last;
        memset(&self->last, 0, sizeof self->last);
    } else {
        taken = false;
    }
    pthread_mutex_unlock(&self->lock);
    return taken;
}

bool
waiter_take(waiter_t *self, weft_reply_t *reply)
{
    waiter_event_t event;
    return s_take(self, reply, &event) && event == WAITER_REPLY;
}

/* Sleeps until a reply came (true) or the time is over. */
static bool
s_sleep(waiter_t *self, int timeout_ms)
{
    uint32_t expected = BUSY;
    if (!atomic_compare_exchange_strong(&self->state, &expected, FUTEX)) {
        return true;
    }
    int64_t until_us = weft_mono_us() + (int64_t) timeout_ms * 1000;
    for (;;) {
        int64_t left_us = until_us - weft_mono_us();
        if (left_us <= 0) {
            expected = FUTEX;
            return !atomic_compare_exchange_strong(&self->state, &expected, BUSY);
        }
        struct timespec left = { .tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000 };
        (void) syscall(SYS_futex, &self->state, FUTEX_WAIT_PRIVATE, FUTEX, &left, NULL, 0);
        if (atomic_load(&self->state) == SIGNAL) {
            return true;
        }
    }
}

/* The same with the socket watched. */
static waiter_event_t
s_watch(waiter_t *self, int timeout_ms, int socket)
{
    if (self->event_fd < 0) {
        pthread_mutex_lock(&self->lock);
        self->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_unlock(&self->lock);
    }
    if (self->event_fd < 0) {
        return s_sleep(self, timeout_ms < 0 || timeout_ms > 1000 ? 1000 : timeout_ms) ? WAITER_REPLY
                                                                                      : WAITER_TIMEOUT;
    }
    uint32_t expected = BUSY;
    if (!atomic_compare_exchange_strong(&self->state, &expected, POLL)) {
        return WAITER_REPLY;
    }
    struct pollfd fds[2] = { { .fd = self->event_fd, .events = POLLIN },
                             { .fd = socket, .events = POLLRDHUP } };
    waiter_event_t event = WAITER_TIMEOUT;
    int rc = poll(fds, 2, timeout_ms);
    if (rc > 0 && fds[0].revents) {
        uint64_t count;
        (void) !read(self->event_fd, &count, sizeof count);
    } else if (rc > 0 && fds[1].revents) {
        event = WAITER_HANGUP;
    } else if (rc < 0) {
        event = WAITER_INTERRUPTED;
    }
    expected = POLL;
    return atomic_compare_exchange_strong(&self->state, &expected, BUSY) ? event : WAITER_REPLY;
}

waiter_event_t
waiter_next(waiter_t *self, int timeout_ms, int (*find_socket)(void *context), void *context,
            weft_reply_t *reply)
{
    waiter_event_t event;
    int64_t until_ms = weft_mono_ms() + timeout_ms;
    bool patient = true;
    for (;;) {
        if (s_take(self, reply, &event)) {
            return event;
        }
        int left_ms = timeout_ms;
        if (timeout_ms >= 0) {
            int64_t left = until_ms - weft_mono_ms();
            left_ms = left < 0 ? 0 : (int) left;
        }
        event = WAITER_TIMEOUT;
        if (patient) {
            bool last = left_ms >= 0 && left_ms <= PATIENCE_MS;
            patient = false;
            if (s_sleep(self, last ? left_ms : PATIENCE_MS)) {
                event = WAITER_REPLY;
            } else if (last) {
                return WAITER_TIMEOUT;
            }
        } else {
            event = s_watch(self, left_ms, find_socket ? find_socket(context) : -1);
            if (event == WAITER_HANGUP || event == WAITER_INTERRUPTED ||
                (event == WAITER_TIMEOUT && timeout_ms >= 0 && weft_mono_ms() >= until_ms)) {
                return event;
            }
        }
        if (event == WAITER_REPLY) {
            atomic_store(&self->state, BUSY);
        }
    }
}

void
waiter_end(waiter_t *self)
{
    bool ended;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        ended = self->ended;
        while (self->count > 0) {
            weft_reply_t reply;
            s_pop(self, &reply);
            weft_reply_fini(&reply);
        }
        pthread_mutex_unlock(&self->lock);
        if (ended) {
            break;
        }
        if (s_sleep(self, 1000)) {
            atomic_store(&self->state, BUSY);
        }
    }
    weft_reply_fini(&self->last);
}
