/* routing - hands requests to workers and ends them
 *
 * Nothing here recurses through peers: a peer found gone is only marked, core_settle cleans up behind it. */
#include <assert.h>

#include <msgpack.h>
#include <weft/log.h>

#include "broker/core.h"

enum {
    FRAME_OVERHEAD = 64,   /* bytes that libzmq and the allocator add to a frame */
    KEEP_EXACT = 1024,     /* copies for a retry: up to this size exact, above it shared with the one sent */
    RETRY_AFTER_MIN = 20,  /* ms */
    RETRY_AFTER_MAX = 5000 /* ms */
};

static weft_span_t
s_method(const request_t *request, zmq_msg_t *frame)
{
    weft_span_t method = { (const char *) zmq_msg_data(frame) + request->method_at, request->method_size };
    return method;
}

/* ---- frames */

/* A private copy of exactly the frame's size. */
static bool
s_copy_exact(zmq_msg_t *copy, zmq_msg_t *frame)
{
    size_t size = zmq_msg_size(frame);
    if (zmq_msg_init_size(copy, size) != 0)
        return false;
    memcpy(zmq_msg_data(copy), zmq_msg_data(frame), size);
    return true;
}

/* Keeps the frame while its request waits.  A received frame of up to 8 KiB is a piece of libzmq's receive
 * buffer, all of which it would hold: so those are copied. */
static bool
s_store(request_t *request, zmq_msg_t *frame)
{
    if (frame == &request->frame)
        return true; /* it has waited before */
    if (zmq_msg_size(frame) > EXACT_MAX) {
        slab_keep_frame(request, frame);
        return true;
    }
    zmq_msg_t copy;
    if (!s_copy_exact(&copy, frame))
        return false;
    slab_keep_frame(request, &copy);
    int rc = zmq_msg_close(&copy);
    assert(rc == 0);
    (void) rc;
    return true;
}

/* Keeps a copy for the one retry.  Without memory there is no retry. */
static void
s_keep(request_t *request, zmq_msg_t *frame)
{
    zmq_msg_t copy;
    if (zmq_msg_size(frame) <= KEEP_EXACT) {
        if (!s_copy_exact(&copy, frame))
            return;
    } else {
        int rc = zmq_msg_init(&copy);
        assert(rc == 0);
        rc = zmq_msg_copy(&copy, frame);
        assert(rc == 0);
        (void) rc;
    }
    slab_keep_frame(request, &copy);
    int rc = zmq_msg_close(&copy);
    assert(rc == 0);
    (void) rc;
}

/* Lets go of a frame kept for a retry. */
static void
s_unkeep(dispatcher_t *self, request_t *request)
{
    if (request->has_frame) {
        assert(request->flow == NULL && self->kept_bytes >= request->bytes);
        self->kept_bytes -= request->bytes;
        request->bytes = 0;
        slab_drop_frame(request);
    }
}

/* ---- handing out */

static bool
s_has_method(void *context, const offer_t *offer)
{
    return offer_has_method(offer, *(const weft_span_t *) context);
}

/* The worker for a request: NULL when nobody who has its method has credit. */
static offer_t *
s_choose(const request_t *request, weft_span_t method)
{
    const balancer_t *balancer = &request->service->balancer;
    if (balancer->count == 0)
        return NULL;
    balancer_accept_t accept = request->service->uniform ? NULL : s_has_method;
    if (request->affinity)
        return balancer_rendezvous(balancer, request->affinity, accept, &method);
    offer_t *first = balancer_first(balancer);
    if (accept == NULL || accept(&method, first))
        return first;
    return balancer_best(balancer, accept, &method);
}

/* The worker's pipe is full: as if it had no credit, for a while. */
static void
s_block(dispatcher_t *self, worker_t *worker)
{
    core_count(self, COUNT_WORKER_FULL);
    if (worker->gone)
        return;
    worker->full = true;
    worker->full_until = core_after_ms(self, FULL_RETRY_MS);
    LIST_EACH(link, next, &worker->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        balancer_remove(&offer->service->balancer, offer);
    }
    back_watch_over(self, worker);
}

static void
s_attach(dispatcher_t *self, request_t *request, offer_t *offer)
{
    service_t *service = request->service;
    if (request->state == REQUEST_QUEUED) {
        backlog_take(&service->backlog, request);
        int64_t wait_us = request->wait_us + self->now - request->queued_at;
        request->wait_us = wait_us < UINT32_MAX ? (uint32_t) wait_us : UINT32_MAX;
        /* Mean over about sixteen: what retry_after_ms is made of. */
        service->pace_us += (self->now - service->paced_at - service->pace_us) / 16;
        service->paced_at = self->now;
    }
    request->offer = offer;
    offer->outstanding++;
    offer->used = ++self->used;
    offer->worker->held++;
    service->outstanding++;
    list_add(&offer->requests, &request->holder_link);
    balancer_update(&service->balancer, offer);
    request->handed = true;
    slab_set_state(&self->slab, request, REQUEST_SENT);
    if (deadlines_at(&self->deadlines, &request->deadline) != request->deadline_at)
        deadlines_set(&self->deadlines, &request->deadline, request->deadline_at);
    if (offer->worker->held == 1)
        back_watch_over(self, offer->worker);
    if (self->on_wait)
        self->on_wait(self->on_wait_context, request->wait_us);
}

/* Sends `frame`, which is the request's own or the one that just came.  False: the worker is full or gone. */
static bool
s_send(dispatcher_t *self, request_t *request, offer_t *offer, zmq_msg_t *frame)
{
    service_t *service = request->service;
    char *data = zmq_msg_data(frame);
    size_t size = zmq_msg_size(frame);
    weft_wire_set_id(data, slab_id(request));
    if (request->arrived_at != self->now) {
        /* Rounded up, so that a request that is not due yet never becomes one of 0 ms. */
        int64_t left_ms = (request->deadline_at - self->now + 999) / 1000;
        weft_wire_set_ttl(data, size, (uint32_t) left_ms);
    }
    if (!service->uniform) {
        const weft_descriptor_method_t *method = weft_descriptor_method(offer->variant->descriptor,
                                                                        s_method(request, frame));
        request->idempotent = method && method->idempotent;
    }
    bool own = frame == &request->frame;
    bool keep = request->idempotent && !request->retried;
    weft_status_t status;
    if (keep && own) {
        zmq_msg_t copy;
        int rc = zmq_msg_init(&copy);
        assert(rc == 0);
        rc = zmq_msg_copy(&copy, frame);
        assert(rc == 0);
        status = core_send_worker(self, offer->worker, &copy);
        rc = zmq_msg_close(&copy);
        assert(rc == 0);
        (void) rc;
    } else {
        if (keep && !request->has_frame)
            s_keep(request, frame);
        status = core_send_worker(self, offer->worker, frame);
    }
    if (status != WEFT_OK) {
        if (status == WEFT_RESOURCE_EXHAUSTED)
            s_block(self, offer->worker);
        return false;
    }
    s_attach(self, request, offer);
    if (!keep)
        slab_drop_frame(request);
    request->bytes = 0;
    if (request->has_frame) {
        request->bytes = (uint32_t) size + FRAME_OVERHEAD;
        self->kept_bytes += request->bytes;
    }
    return true;
}

static uint32_t
s_retry_after_ms(const service_t *service)
{
    int64_t ms = service->pace_us * service->backlog.count / 1000;
    return (uint32_t) (ms < RETRY_AFTER_MIN ? RETRY_AFTER_MIN : ms > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : ms);
}

static void
s_refuse_full(dispatcher_t *self, request_t *request)
{
    core_count(self, COUNT_REFUSED_FULL);
    if (request->handed) {
        routing_fail(self, request, WEFT_UNAVAILABLE,
                     "the worker was lost and the queue for another is full");
        return;
    }
    char bytes[32];
    weft_buf_t buf = { .data = bytes, .capacity = sizeof bytes, .max = sizeof bytes };
    msgpack_packer packer;
    msgpack_packer_init(&packer, &buf, weft_buf_write);
    static const char KEY[] = "retry_after_ms";
    int rc = msgpack_pack_map(&packer, 1);
    rc |= msgpack_pack_str_with_body(&packer, KEY, sizeof KEY - 1);
    rc |= msgpack_pack_uint32(&packer, s_retry_after_ms(request->service));
    assert(rc == 0);
    (void) rc;
    routing_fail_details(self, request, WEFT_RESOURCE_EXHAUSTED, "the queue of the service is full",
                         weft_buf_span(&buf));
}

static int64_t
s_queue_deadline(const dispatcher_t *self, const request_t *request)
{
    int64_t at = core_after_ms(self, self->config.grace_ms);
    return request->service->workers > 0 || at > request->deadline_at ? request->deadline_at : at;
}

/* Into the queue; a request that finds no room is answered. */
static void
s_queue(dispatcher_t *self, request_t *request, zmq_msg_t *frame)
{
    service_t *service = request->service;
    request->bytes = (uint32_t) zmq_msg_size(frame) + FRAME_OVERHEAD;
    if (backlog_add(&service->backlog, request, self->now) != WEFT_OK) {
        slab_drop_frame(request);
        request->bytes = 0;
        s_refuse_full(self, request);
        return;
    }
    if (service->backlog.count == 1)
        service->paced_at = self->now;
    request->queued_at = self->now;
    slab_set_state(&self->slab, request, REQUEST_QUEUED);
    core_count(self, COUNT_QUEUED);
    deadlines_set(&self->deadlines, &request->deadline, s_queue_deadline(self, request));
    if (!s_store(request, frame))
        routing_fail(self, request, WEFT_RESOURCE_EXHAUSTED, "the broker is out of memory");
    else if (service->balancer.count > 0)
        routing_pump_later(self, service);
}

static void
s_start(dispatcher_t *self, request_t *request, zmq_msg_t *frame)
{
    if (request->service->backlog.count == 0) {
        offer_t *offer;
        while ((offer = s_choose(request, s_method(request, frame))) != NULL)
            if (s_send(self, request, offer, frame))
                return;
    }
    s_queue(self, request, frame);
}

void
routing_start(dispatcher_t *self, request_t *request, zmq_msg_t *frame, const weft_message_t *message)
{
    request->method_at = (uint16_t) (message->method.data - (const char *) zmq_msg_data(frame));
    request->method_size = (uint8_t) message->method.size;
    s_start(self, request, frame);
}

static bool
s_somebody_can(void *context, const request_t *request)
{
    (void) context;
    zmq_msg_t *frame = (zmq_msg_t *) (uintptr_t) &request->frame; /* zmq_msg_data wants it so */
    return s_choose(request, s_method(request, frame)) != NULL;
}

void
routing_pump(dispatcher_t *self, service_t *service)
{
    while (service->balancer.count > 0) {
        backlog_accept_t accept = service->uniform ? NULL : s_somebody_can;
        request_t *request = backlog_next(&service->backlog, accept, NULL, self->now);
        if (request == NULL)
            break;
        if (self->now >= request->deadline_at) {
            routing_expire(self, request);
            continue;
        }
        offer_t *offer = s_choose(request, s_method(request, &request->frame));
        assert(offer);
        (void) s_send(self, request, offer,
                      &request->frame); /* refused: it is still first, the worker is out */
    }
}

void
routing_pump_later(dispatcher_t *self, service_t *service)
{
    if (!list_linked(&service->pump_link))
        list_add(&self->pump, &service->pump_link);
}

/* ---- ending */

void
routing_credit(dispatcher_t *self, request_t *request)
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
        return; /* all of it is about to go */
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
routing_let_go(dispatcher_t *self, request_t *request)
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
    s_unkeep(self, request);
    if (request->offer) {
        slab_set_state(&self->slab, request, REQUEST_ABANDONED);
        deadlines_set(&self->deadlines, &request->deadline, core_after_ms(self, ABANDON_MS));
    } else {
        deadlines_clear(&self->deadlines, &request->deadline);
        slab_free(&self->slab, request);
    }
}

void
routing_owe(dispatcher_t *self, request_t *request)
{
    client_t *client = request->client;
    assert(client && request->state != REQUEST_ENDING);
    core_count(self, COUNT_STREAMS_CUT);
    s_leave_queue(request);
    s_unkeep(self, request);
    if (request->watcher)
        watch_end(self, request->watcher);
    if (request->offer && !request->cancelled)
        routing_cancel(self, request);
    if (client->owed >= UNANSWERED_MAX || self->now >= request->deadline_at) {
        core_count(self, COUNT_UNDELIVERED); /* the client's own deadline ends it there */
        routing_let_go(self, request);
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
routing_fail_details(dispatcher_t *self, request_t *request, weft_status_t status, const char *message,
                     weft_span_t details)
{
    zmq_msg_t frame;
    assert(request->client);
    if (request->service)
        request->service->failures++;
    if (!answers_error(&self->answers, &frame, request->client_key, status, request->handed, message,
                       details)) {
        core_count(self, COUNT_UNDELIVERED);
        routing_let_go(self, request);
        return;
    }
    weft_status_t sent = core_send_client(self, request->client, request->framed, &frame);
    int rc = zmq_msg_close(&frame);
    assert(rc == 0);
    (void) rc;
    if (sent == WEFT_RESOURCE_EXHAUSTED) {
        routing_owe(self, request);
    } else {
        core_count(self, COUNT_ANSWERS);
        routing_let_go(self, request);
    }
}

void
routing_fail(dispatcher_t *self, request_t *request, weft_status_t status, const char *message)
{
    routing_fail_details(self, request, status, message, (weft_span_t){ 0 });
}

void
routing_settle_client(dispatcher_t *self, client_t *client)
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
        routing_let_go(self, request);
    }
}

void
routing_cancel(dispatcher_t *self, request_t *request)
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
            s_block(self, worker);
        request->cancel_due = true;
        worker->cancels_due++;
    }
}

void
routing_cancel_again(dispatcher_t *self, worker_t *worker)
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
                routing_cancel(self, request);
            }
        }
    }
}

void
routing_worker_lost(dispatcher_t *self, request_t *request)
{
    routing_credit(self, request);
    if (request->state == REQUEST_ABANDONED) {
        deadlines_clear(&self->deadlines, &request->deadline);
        slab_free(&self->slab, request);
        return;
    }
    if (request->state == REQUEST_ENDING)
        return; /* the client is still owed its answer */
    assert(request->state == REQUEST_SENT);
    if (request->cancelled) {
        routing_fail(self, request, WEFT_CANCELLED, "cancelled, and the worker was lost");
        return;
    }
    /* Not where the client has a part of the stream already: the second worker would send it again. */
    if (!request->has_frame || request->retried || request->streamed || self->now >= request->deadline_at) {
        core_count(self, COUNT_REQUESTS_LOST);
        routing_fail(self, request, WEFT_UNAVAILABLE, "the worker that held the request was lost");
        return;
    }
    zmq_msg_t copy;
    if (!s_copy_exact(&copy, &request->frame)) {
        routing_fail(self, request, WEFT_UNAVAILABLE, "the worker that held the request was lost");
        return;
    }
    /* The copy is the request's alone: the frame that was kept may share its bytes with one that is being
     * sent. */
    s_unkeep(self, request);
    slab_keep_frame(request, &copy);
    int rc = zmq_msg_close(&copy);
    assert(rc == 0);
    (void) rc;
    core_count(self, COUNT_RETRIES);
    request->service->retries++;
    request->retried = true;
    slab_renew(request);
    s_start(self, request, &request->frame);
}

void
routing_expire(dispatcher_t *self, request_t *request)
{
    switch ((request_state_t) request->state) {
    case REQUEST_QUEUED:
        if (self->now >= request->deadline_at) {
            core_count(self, COUNT_EXPIRED_QUEUED);
            routing_fail(self, request, WEFT_DEADLINE_EXCEEDED, "the ttl ran out in the broker's queue");
        } else if (request->service->workers == 0) {
            core_count(self, COUNT_NO_WORKER);
            routing_fail(self, request, WEFT_UNAVAILABLE, "the service has no worker");
        } else {
            deadlines_set(&self->deadlines, &request->deadline, request->deadline_at);
        }
        break;
    case REQUEST_SENT:
        core_count(self, COUNT_EXPIRED_SENT);
        if (!request->cancelled)
            routing_cancel(self, request);
        routing_fail(self, request, WEFT_DEADLINE_EXCEEDED, "the ttl ran out while a worker had the request");
        break;
    case REQUEST_ENDING:
        core_count(self, COUNT_UNDELIVERED);
        routing_let_go(self, request);
        break;
    case REQUEST_ABANDONED:
        core_count(self, COUNT_ABANDON_EXPIRED);
        routing_credit(self, request);
        slab_free(&self->slab, request);
        break;
    case REQUEST_WATCHING:
        routing_fail(self, request, WEFT_DEADLINE_EXCEEDED, "the ttl of the watch ran out");
        break;
    case REQUEST_FREE:
        assert(!"a free request has no deadline");
        break;
    }
}

/* ---- services */

/* A request that waits while its service changes: nobody may know its method any more, or nobody may be left.
 */
static void
s_revise(void *context, request_t *request)
{
    dispatcher_t *self = context;
    if (methods_find(&request->service->methods, s_method(request, &request->frame)) == NULL) {
        core_count(self, COUNT_REFUSED_METHOD);
        routing_fail(self, request, WEFT_UNIMPLEMENTED, "the service no longer has this method");
    } else if (request->service->workers == 0) {
        deadlines_set(&self->deadlines, &request->deadline, s_queue_deadline(self, request));
    }
}

void
routing_service_changed(dispatcher_t *self, service_t *service)
{
    if (self->counters[COUNT_CONFLICTS].value != self->registry.conflicts) {
        self->counters[COUNT_CONFLICTS].value = self->registry.conflicts;
        weft_log_warning("workers of one version describe a service differently",
                         WEFT_STR("service", service->name),
                         WEFT_BYTES("version", service->current->descriptor->version));
    }
    if (service->workers == 0 && service->empty_at == 0) {
        service->empty_at = self->now > 0 ? self->now : 1;
        deadlines_set(&self->deadlines, &service->deadline, core_after_ms(self, self->config.forget_ms));
        weft_log_info("service has no worker", WEFT_STR("service", service->name));
    } else if (service->workers > 0 && service->empty_at != 0) {
        service->empty_at = 0;
        deadlines_clear(&self->deadlines, &service->deadline);
    }
    if (service->backlog.count > 0) {
        backlog_each(&service->backlog, s_revise, self);
        routing_pump_later(self, service);
    }
    watch_changed(self);
}

static void
s_fail_unavailable(void *context, request_t *request)
{
    dispatcher_t *self = context;
    core_count(self, COUNT_NO_WORKER);
    routing_fail(self, request, WEFT_UNAVAILABLE, "the service has no worker");
}

void
routing_service_due(dispatcher_t *self, service_t *service)
{
    assert(service->workers == 0);
    backlog_each(&service->backlog, s_fail_unavailable, self);
    if (service->offer_count > 0) {
        /* A worker that withdrew still holds requests of it. */
        deadlines_set(&self->deadlines, &service->deadline, core_after_ms(self, self->config.grace_ms));
        return;
    }
    weft_log_info("service forgotten", WEFT_STR("service", service->name));
    watch_forgotten(self, service);
    registry_forget(&self->registry, service);
}
