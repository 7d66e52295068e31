/* routing - hands requests to workers, or lets them wait for one
 *
 * Nothing here recurses through peers: a peer found gone is only marked, core_settle cleans up behind it. */
#include "broker/routing.h"

#include <assert.h>

#include <weft/log.h>

#include "broker/back.h"
#include "broker/copies.h"
#include "broker/ending.h"
#include "broker/outliers.h"
#include "broker/refusal.h"
#include "broker/watch.h"

enum { SERVED_WEIGHT = 64 };

static weft_span_t
s_method(const request_t *request, zmq_msg_t *frame)
{
    weft_span_t method = { (const char *) zmq_msg_data(frame) + request->method_at, request->method_size };
    return method;
}

/* ---- handing out */

static bool
s_has_method(void *context, const offer_t *offer)
{
    return offer_has_method(offer, *(const weft_span_t *) context);
}

/* Somebody has credit, and as many as may are not yet at workers. */
static bool
s_is_open(const service_t *service)
{
    return service->balancer.count > 0 && (service->limit == 0 || service->outstanding < service->limit);
}

/* The worker for a request: NULL when nobody who has its method has credit. */
static offer_t *
s_choose(const request_t *request, weft_span_t method)
{
    const balancer_t *balancer = &request->service->balancer;
    if (!s_is_open(request->service))
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
void
routing_block(dispatcher_t *self, worker_t *worker)
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
        backlog_take(&service->backlog, request, self->now);
        int64_t wait_us = request->wait_us + self->now - request->queued_at;
        request->wait_us = wait_us < UINT32_MAX ? (uint32_t) wait_us : UINT32_MAX;
    }
    request->offer = offer;
    offer->outstanding++;
    offer->used = ++self->used;
    offer->worker->held++;
    outliers_handed(self, request, offer);
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
    bool own = frame == &request->frame;
    /* What has just come was looked up; since one was queued, or was tried at a worker that was full, those
     * who say what its method is may have changed. */
    if (!service->uniform || own) {
        const weft_descriptor_method_t *method = weft_descriptor_method(offer->variant->descriptor,
                                                                        s_method(request, frame));
        request->idempotent = method && method->idempotent;
    }
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
            copies_keep(request, frame);
        status = core_send_worker(self, offer->worker, frame);
    }
    if (status != WEFT_OK) {
        if (status == WEFT_RESOURCE_EXHAUSTED)
            routing_block(self, offer->worker);
        return false;
    }
    s_attach(self, request, offer);
    if (!keep)
        slab_drop_frame(request);
    request->bytes = 0;
    if (request->has_frame) {
        request->bytes = (uint32_t) size + COPIES_OVERHEAD;
        self->kept_bytes += request->bytes;
    }
    return true;
}

static int64_t
s_queue_deadline(const dispatcher_t *self, const request_t *request)
{
    int64_t at = core_after_ms(self, self->config.grace_ms);
    return request->service->workers > 0 || at > request->deadline_at ? request->deadline_at : at;
}

/* May it wait?  A request that a worker had is not judged by what is to be expected: it cost something. */
static backlog_refusal_t
s_enqueue(dispatcher_t *self, request_t *request, int64_t *after_us)
{
    service_t *service = request->service;
    if (!request->handed && service->workers > 0) {
        backlog_refusal_t refusal = backlog_hopeless(&service->backlog, request, service->served_us,
                                                     self->now, after_us);
        if (refusal != BACKLOG_TAKEN)
            return refusal;
    }
    backlog_refusal_t refusal = backlog_add(&service->backlog, request, self->now);
    if (refusal != BACKLOG_TAKEN)
        *after_us = backlog_room_us(&service->backlog, request, refusal);
    return refusal;
}

/* Into the queue; a request that finds no room is answered. */
static void
s_queue(dispatcher_t *self, request_t *request, zmq_msg_t *frame)
{
    service_t *service = request->service;
    int64_t after_us = 0;
    request->bytes = (uint32_t) zmq_msg_size(frame) + COPIES_OVERHEAD;
    request->queued_at = self->now;
    backlog_refusal_t refusal = s_enqueue(self, request, &after_us);
    if (refusal != BACKLOG_TAKEN) {
        slab_drop_frame(request);
        request->bytes = 0;
        refusal_answer(self, request, refusal, after_us);
        return;
    }
    slab_set_state(&self->slab, request, REQUEST_QUEUED);
    core_count(self, COUNT_QUEUED);
    deadlines_set(&self->deadlines, &request->deadline, s_queue_deadline(self, request));
    if (!copies_store(request, frame))
        refusal_answer(self, request, BACKLOG_MEMORY, 0);
    else if (s_is_open(service))
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
    request->method_place = health_method(message->method);
    s_start(self, request, frame);
}

void
routing_again(dispatcher_t *self, request_t *request)
{
    s_start(self, request, &request->frame);
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
    while (s_is_open(service)) {
        backlog_accept_t accept = service->uniform ? NULL : s_somebody_can;
        request_t *request = backlog_next(&service->backlog, accept, NULL, self->now);
        if (request == NULL)
            break;
        if (self->now >= request->deadline_at) {
            ending_expire(self, request);
            continue;
        }
        if (backlog_overdue(&service->backlog, request, self->now)) {
            refusal_answer(self, request, BACKLOG_DELAY,
                           backlog_wait_us(&service->backlog, request->caller, request->priority));
            continue;
        }
        offer_t *offer = s_choose(request, s_method(request, &request->frame));
        assert(offer);
        (void) s_send(self, request, offer,
                      &request->frame); /* refused: it is still first, the worker is out */
    }
}

void
routing_served(service_t *service, const request_t *request, int64_t now_us)
{
    int64_t took_us = now_us - request->arrived_at - request->wait_us;
    if (request->retried || took_us < 0)
        return;
    if (service->served_us == 0 || took_us < service->served_us)
        service->served_us = (service->served_us + took_us) / (service->served_us ? 2 : 1);
    else
        service->served_us += (took_us - service->served_us) / SERVED_WEIGHT;
}

void
routing_pump_later(dispatcher_t *self, service_t *service)
{
    if (!list_linked(&service->pump_link))
        list_add(&self->pump, &service->pump_link);
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
        ending_fail(self, request, WEFT_UNIMPLEMENTED, "the service no longer has this method");
    } else if (request->service->workers == 0) {
        deadlines_set(&self->deadlines, &request->deadline, s_queue_deadline(self, request));
    }
}

void
routing_service_changed(dispatcher_t *self, service_t *service)
{
    if (self->counters[COUNT_CONFLICTS].value != self->registry.conflicts) {
        self->counters[COUNT_CONFLICTS].value = self->registry.conflicts;
        if (core_may_log(self))
            weft_log_warning("workers of one version describe a service differently",
                             WEFT_STR("service", service->name),
                             WEFT_BYTES("version", service->current->descriptor->version));
    }
    if (service->workers == 0 && service->empty_at == 0) {
        service->empty_at = self->now > 0 ? self->now : 1;
        deadlines_set(&self->deadlines, &service->deadline, core_after_ms(self, self->config.forget_ms));
        if (core_may_log(self))
            weft_log_info("service has no worker", WEFT_STR("service", service->name));
    } else if (service->workers > 0 && service->empty_at != 0) {
        service->empty_at = 0;
        deadlines_clear(&self->deadlines, &service->deadline);
    }
    outliers_settle(self, service);
    if (!service->minor)
        drain_forget(&service->backlog.drain); /* others work now: what was measured may be too long */
    if (service->backlog.count > 0) {
        backlog_each(&service->backlog, s_revise, self);
        routing_pump_later(self, service);
    }
    watch_changed(self, service->minor);
}

static void
s_fail_unavailable(void *context, request_t *request)
{
    dispatcher_t *self = context;
    core_count(self, COUNT_NO_WORKER);
    ending_fail(self, request, WEFT_UNAVAILABLE, "the service has no worker");
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
    if (core_may_log(self))
        weft_log_info("service forgotten", WEFT_STR("service", service->name));
    watch_forgotten(self, service);
    registry_forget(&self->registry, service);
}
