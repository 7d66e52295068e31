/* outbox - requests with something to send, on their way from any thread to the bus thread */
#include "handler/outbox.h"

#include "handler/request.h"

void
outbox_init(outbox_t *self, void (*wake)(void *context), void *context)
{
    pthread_mutex_init(&self->lock, NULL);
    self->first = self->last = NULL;
    self->wake = wake;
    self->context = context;
}

void
outbox_fini(outbox_t *self)
{
    pthread_mutex_destroy(&self->lock);
}

void
outbox_put(outbox_t *self, weft_request_t *request, bool finished)
{
    pthread_mutex_lock(&self->lock);
    bool wake = self->first == NULL;
    if (finished)
        request->finished = true;
    if (!request->in_outbox) {
        request->in_outbox = true;
        request->out_next = NULL;
        if (self->last)
            self->last->out_next = request;
        else
            self->first = request;
        self->last = request;
    }
    pthread_mutex_unlock(&self->lock);
    /* A list that was not empty has been announced and not been taken yet. */
    if (wake)
        self->wake(self->context);
}

weft_request_t *
outbox_take(outbox_t *self)
{
    pthread_mutex_lock(&self->lock);
    weft_request_t *list = self->first;
    self->first = self->last = NULL;
    for (weft_request_t *at = list; at; at = at->out_next) {
        at->in_outbox = false;
        at->taken_next = at->out_next;
        at->taken_finished = at->finished;
    }
    pthread_mutex_unlock(&self->lock);
    return list;
}
