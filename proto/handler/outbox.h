/* outbox - requests with something to send, on their way from any thread to the bus thread */
#ifndef WEFT_HANDLER_OUTBOX_H
#define WEFT_HANDLER_OUTBOX_H

#include <pthread.h>
#include <stdbool.h>

#include <weft/handler.h>

typedef struct {
    pthread_mutex_t lock;
    weft_request_t *first, *last;
    void (*wake)(void *context); /* asks the bus thread to take */
    void *context;
} outbox_t;

void outbox_init(outbox_t *self, void (*wake)(void *context), void *context);
void outbox_fini(outbox_t *self);

/* Announces a request: a partial waits or, with `finished`, its reply is there and nobody but the bus thread
 * touches it from now on.  Any thread. */
void outbox_put(outbox_t *self, weft_request_t *request, bool finished);

/* Takes all, in order, linked by taken_next, which only the bus thread touches: others may put them again
 * meanwhile. taken_finished is `finished` as of now: where it is true, all partials were put before.  Bus
 * thread. */
weft_request_t *outbox_take(outbox_t *self);

#endif
