/* waiter - an HTTP thread waits for the replies of its call, and notices when the caller hangs up meanwhile
 *
 * Most calls end within milliseconds: the thread sleeps on a futex, the cheapest wake-up there is.  One that
 * takes longer goes on to wait in poll(2) on an eventfd and the client's socket, so a hang-up is seen at once
 * and nobody looks at sockets in turns. */
#ifndef GATEWAY_WAITER_H
#define GATEWAY_WAITER_H

#include <pthread.h>
#include <stdatomic.h>

#include <weft/client.h>

/* Partials that wait unread: a producer may be faster for a while.  Beyond either bound the stream is read
 * too slowly and ends. */
#define WAITER_REPLIES_MAX 65536
#define WAITER_BYTES_MAX ((size_t) 4 * 1024 * 1024)

/* Its memory must outlive the client: the bus thread may look at `state` shortly after the final reply was
 * taken. */
typedef struct {
    _Atomic uint32_t state;
    int event_fd;          /* -1 until the first slow call */
    pthread_mutex_t lock;  /* of all below */
    weft_reply_t *replies; /* ring, grown on demand */
    uint32_t capacity, first, count;
    size_t bytes; /* of bodies in the ring */
    bool stream;
    weft_reply_t last; /* the final reply */
    bool ended;
    bool overflow; /* from then on partials are dropped: no gap in what is read */
} waiter_t;

/* False when memory ended. */
bool waiter_init(waiter_t *self);
void waiter_fini(waiter_t *self);

/* Before each call.  Streams keep partials, other calls drop them. */
void waiter_begin(waiter_t *self, bool stream);
/* The callback for weft_submit; context is the waiter.  Runs on the bus thread. */
void waiter_on_reply(void *context, weft_reply_t *reply);

typedef enum {
    WAITER_REPLY,
    WAITER_OVERFLOW, /* partials were dropped: cancel the call */
    WAITER_HANGUP,   /* the client is gone */
    WAITER_TIMEOUT,
    WAITER_INTERRUPTED /* by a signal, from a call that takes longer: look whether to go on */
} waiter_event_t;

/* Waits at most timeout_ms (-1: for ever) for the next reply, which the caller then owns.  `find_socket` is
 * asked for the client's socket when the wait has taken longer than a moment; it may answer -1.
 * WAITER_OVERFLOW: partials were dropped, cancel the call. */
waiter_event_t waiter_next(waiter_t *self, int timeout_ms, int (*find_socket)(void *context), void *context,
                           weft_reply_t *reply) WEFT_MUST_CHECK;

/* The same without waiting: false when nothing is there, or an overflow. */
bool waiter_take(waiter_t *self, weft_reply_t *reply) WEFT_MUST_CHECK;

/* Waits until the final reply is there (after weft_cancel) and frees everything. */
void waiter_end(waiter_t *self);

#endif
