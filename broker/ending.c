/* ending - how requests end: answered, cancelled, expired, lost; and what their clients and workers are owed
 * then */
#include "broker/ending.h"

#include <assert.h>

#include "broker/back.h"
#include "broker/copies.h"
#include "broker/front.h"
#include "broker/outliers.h"
#include "broker/routing.h"
#include "broker/watch.h"

void
ending_credit(dispatcher_t *self, request_t *request)
{
    offer_t *offer = request->offer;
    service_t *service = offer->service;
    worker_t *worker = offer->worker;
    assert(offer->outstanding > 0 && worker->held > 0 && service->outstanding > 0);
    if (request->cancel_due) {
        request->cancel_due = false;
        worker->cancels_due--;
    }
    list_remove(&request->holder_link);
    request->offer = NULL;
    offer->outstanding--;
    worker->held--;
    service->outstanding--;
    if (worker->gone)
        return; /* all of it goes soon, a withdrawn offer that holds nothing any more as well */
    if (offer->variant)
        balancer_update(&service->balancer, offer);
    else
        registry_release(&self->registry, offer);
    if (service->backlog.count > 0)
        routing_pump_later(self, service);
}

static void
s_leave_queue(request_t *request)
{
    if (request->flow) {
        backlog_remove(&request->service->backlog, request);
        slab_drop_frame(request);
        request->bytes = 0;
    }
}

void
ending_let_go(dispatcher_t *self, request_t *request)
{
    s_leave_queue(request);
    if (request->watcher)
        watch_end(self, request->watcher);
    client_t *client = request->client;
    slab_remove_key(&self->slab, request);
    list_remove(&request->client_link);
    client->held--;
    if (request->state == REQUEST_ENDING)
        client->owed--;
    request->client = NULL;
    copies_unkeep(self, request);
    if (request->offer) {
        slab_set_state(&self->slab, request, REQUEST_ABANDONED);
        deadlines_set(&self->deadlines, &request->deadline, core_after_ms(self, ABANDON_MS));
    } else {
        deadlines_clear(&self->deadlines, &request->deadline);
        slab_free(&self->slab, request);
    }
}

void
ending_owe(dispatcher_t *self, request_t *request)
{
    client_t *client = request->client;
    assert(client && request->state != REQUEST_ENDING);
    core_count(self, COUNT_STREAMS_CUT);
    s_leave_queue(request);
    copies_unkeep(self, request);
    if (request->watcher)
        watch_end(self, request->watcher);
    if (request->offer && !request->cancelled)
        ending_cancel(self, request);
    if (client->owed >= UNANSWERED_MAX || self->now >= request->deadline_at) {
        core_count(self, COUNT_UNDELIVERED); /* the client's own deadline ends it there */
        ending_let_go(self, request);
        return;
    }
    list_remove(&request->client_link);
    list_add(&client->unanswered, &request->client_link);
    client->owed++;
    slab_set_state(&self->slab, request, REQUEST_ENDING);
    int64_t at = core_after_ms(self, ENDING_MS);
    deadlines_set(&self->deadlines, &request->deadline,
                  at < request->deadline_at ? at : request->deadline_at);
    front_watch_over(self, client);
}

void
ending_fail_details(dispatcher_t *self, request_t *request, weft_status_t status, const char *message,
                    weft_span_t details)
{
    zmq_msg_t frame;
    assert(request->client);
    if (request->service)
        request->service->failures++;
    if (!answers_error(&self->answers, &frame, request->client_key, status, request->handed, message,
                       details)) {
        core_count(self, COUNT_UNDELIVERED);
        ending_let_go(self, request);
        return;
    }
    weft_status_t sent = core_send_client(self, request->client, request->framed, &frame);
    int rc = zmq_msg_close(&frame);
    assert(rc == 0);
    (void) rc;
    if (sent == WEFT_RESOURCE_EXHAUSTED) {
        ending_owe(self, request);
    } else {
        core_count(self, COUNT_ANSWERS);
        ending_let_go(self, request);
    }
}

void
ending_fail(dispatcher_t *self, request_t *request, weft_status_t status, const char *message)
{
    ending_fail_details(self, request, status, message, (weft_span_t){ 0 });
}

void
ending_settle_client(dispatcher_t *self, client_t *client)
{
    list_link_t *link;
    while (!client->gone && (link = list_first(&client->unanswered)) != NULL) {
        request_t *request = LIST_ITEM(link, request_t, client_link);
        zmq_msg_t frame;
        if (!answers_error(&self->answers, &frame, request->client_key, WEFT_RESOURCE_EXHAUSTED,
                           request->handed, "the client reads too slowly", (weft_span_t){ 0 }))
            return;
        weft_status_t sent = core_send_client(self, client, request->framed, &frame);
        int rc = zmq_msg_close(&frame);
        assert(rc == 0);
        (void) rc;
        if (sent != WEFT_OK)
            return;
        core_count(self, COUNT_ANSWERS);
        ending_let_go(self, request);
    }
}

void
ending_cancel(dispatcher_t *self, request_t *request)
{
    request->cancelled = true;
    worker_t *worker = request->offer ? request->offer->worker : NULL;
    zmq_msg_t frame;
    if (worker == NULL || worker->gone || request->cancel_due)
        return;
    weft_status_t sent = WEFT_RESOURCE_EXHAUSTED;
    if (!worker->full && answers_short(&frame, WEFT_CANCEL, slab_id(request), 0)) {
        sent = core_send_worker(self, worker, &frame);
        int rc = zmq_msg_close(&frame);
        assert(rc == 0);
        (void) rc;
    }
    if (sent == WEFT_RESOURCE_EXHAUSTED) {
        if (!worker->full)
            routing_block(self, worker);
        request->cancel_due = true;
        worker->cancels_due++;
    }
}

void
ending_cancel_again(dispatcher_t *self, worker_t *worker)
{
    LIST_EACH(link, next, &worker->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        LIST_EACH(held, next_held, &offer->requests)
        {
            if (worker->cancels_due == 0 || worker->full || worker->gone)
                return;
            request_t *request = LIST_ITEM(held, request_t, holder_link);
            if (request->cancel_due) {
                request->cancel_due = false;
                worker->cancels_due--;
                ending_cancel(self, request);
            }
        }
    }
}

void
ending_worker_lost(dispatcher_t *self, request_t *request)
{
    ending_credit(self, request);
    if (request->state == REQUEST_ABANDONED) {
        deadlines_clear(&self->deadlines, &request->deadline);
        slab_free(&self->slab, request);
        return;
    }
    if (request->state == REQUEST_ENDING)
        return; /* the client is still owed its answer */
    assert(request->state == REQUEST_SENT);
    if (request->cancelled) {
        ending_fail(self, request, WEFT_CANCELLED, "cancelled, and the worker was lost");
        return;
    }
    /* Not where the client has a part of the stream already: the second worker would send it again. */
    if (!request->has_frame || request->retried || request->streamed || self->now >= request->deadline_at) {
        core_count(self, COUNT_REQUESTS_LOST);
        ending_fail(self, request, WEFT_UNAVAILABLE, "the worker that held the request was lost");
        return;
    }
    zmq_msg_t copy;
    if (!copies_exact(&copy, &request->frame)) {
        ending_fail(self, request, WEFT_UNAVAILABLE, "the worker that held the request was lost");
        return;
    }
    /* The copy is the request's alone: the frame that was kept may share its bytes with one that is being
     * sent. */
    copies_unkeep(self, request);
    slab_keep_frame(request, &copy);
    int rc = zmq_msg_close(&copy);
    assert(rc == 0);
    (void) rc;
    core_count(self, COUNT_RETRIES);
    request->service->retries++;
    request->retried = true;
    slab_renew(request);
    routing_again(self, request);
}

void
ending_expire(dispatcher_t *self, request_t *request)
{
    switch ((request_state_t) request->state) {
    case REQUEST_QUEUED:
        if (self->now >= request->deadline_at) {
            core_count(self, COUNT_EXPIRED_QUEUED);
            ending_fail(self, request, WEFT_DEADLINE_EXCEEDED, "the ttl ran out in the broker's queue");
        } else if (request->service->workers == 0) {
            core_count(self, COUNT_NO_WORKER);
            ending_fail(self, request, WEFT_UNAVAILABLE, "the service has no worker");
        } else {
            deadlines_set(&self->deadlines, &request->deadline, request->deadline_at);
        }
        break;
    case REQUEST_SENT:
        core_count(self, COUNT_EXPIRED_SENT);
        if (!request->cancelled) {
            outliers_overdue(self, request);
            ending_cancel(self, request);
        }
        ending_fail(self, request, WEFT_DEADLINE_EXCEEDED, "the ttl ran out while a worker had the request");
        break;
    case REQUEST_ENDING:
        core_count(self, COUNT_UNDELIVERED);
        ending_let_go(self, request);
        break;
    case REQUEST_ABANDONED:
        core_count(self, COUNT_ABANDON_EXPIRED);
        outliers_overdue(self, request);
        ending_credit(self, request);
        slab_free(&self->slab, request);
        break;
    case REQUEST_WATCHING:
        ending_fail(self, request, WEFT_DEADLINE_EXCEEDED, "the ttl of the watch ran out");
        break;
    case REQUEST_FREE:
        assert(false && "a free request has no deadline");
        break;
    }
}
