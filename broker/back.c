/* back - what workers say: registrations, replies, heartbeats, leaving */
#include "broker/back.h"

#include <weft/log.h>

#include "broker/ending.h"
#include "broker/outliers.h"
#include "broker/routing.h"

void
back_watch_over(dispatcher_t *self, worker_t *worker)
{
    if (worker->gone)
        return; /* its deadline is its end */
    int64_t at = worker->last_at + (int64_t) self->config.silence_ms * 1000;
    if (worker->held > 0) {
        if (worker->probe_at <= self->now)
            worker->probe_at = core_after_ms(self, self->config.probe_ms);
        at = worker->probe_at < at ? worker->probe_at : at;
    }
    if (worker->full && worker->full_until < at)
        at = worker->full_until;
    if (deadlines_at(&self->deadlines, &worker->deadline) > at)
        deadlines_set(&self->deadlines, &worker->deadline, at);
}

/* "Send me nothing new" is answered behind the last request: a full pipe only delays it. */
static void
s_answer_drain(dispatcher_t *self, worker_t *worker)
{
    zmq_msg_t frame;
    worker->drain_due = true;
    if (!worker->full &&
        answers_ok(&self->answers, &frame, WEFT_REPLY, worker->drain_id, (weft_span_t){ 0 })) {
        worker->drain_due = core_send_worker(self, worker, &frame) == WEFT_RESOURCE_EXHAUSTED;
        (void) zmq_msg_close(&frame);
    }
    if (worker->drain_due && !worker->full) {
        core_count(self, COUNT_WORKER_FULL);
        worker->full = true;
        worker->full_until = core_after_ms(self, FULL_RETRY_MS);
        back_watch_over(self, worker);
    }
}

void
back_worker_due(dispatcher_t *self, worker_t *worker)
{
    if (worker->gone) {
        core_lose_worker(self, worker);
        return;
    }
    if (self->now - worker->last_at >= (int64_t) self->config.silence_ms * 1000) {
        if (core_may_log(self))
            weft_log_warning("worker is silent", WEFT_UINT("worker", worker->number),
                             WEFT_UINT("requests", worker->held));
        core_lose_worker(self, worker);
        return;
    }
    if (worker->full && self->now >= worker->full_until) {
        worker->full = false;
        if (worker->drain_due)
            s_answer_drain(self, worker);
        ending_cancel_again(self, worker);
        LIST_EACH(link, next, &worker->offers)
        {
            offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
            balancer_update(&offer->service->balancer, offer);
            if (offer->service->backlog.count > 0)
                routing_pump_later(self, offer->service);
        }
    }
    if (worker->held > 0 && !worker->gone && self->now >= worker->probe_at) {
        zmq_msg_t frame;
        if (answers_short(&frame, WEFT_PING, 0, 0)) {
            (void) core_send_worker(self, worker, &frame); /* gone: noted; full: it lives */
            (void) zmq_msg_close(&frame);
        }
        worker->probe_at = core_after_ms(self, self->config.probe_ms);
    }
    if (!worker->gone)
        back_watch_over(self, worker);
}

/* What the worker holds beyond what this broker gave it for this service: for other brokers and services. */
static void
s_load(offer_t *offer, uint32_t load)
{
    uint32_t foreign = load > offer->outstanding ? load - offer->outstanding : 0;
    if (foreign != offer->foreign) {
        offer->foreign = foreign;
        if (offer->place)
            balancer_update(&offer->service->balancer, offer);
    }
}

static void
s_reply(dispatcher_t *self, worker_t *worker, zmq_msg_t *frame, const weft_message_t *message)
{
    request_t *request = slab_find(&self->slab, message->id);
    if (request == NULL) {
        core_count(self, COUNT_REPLIES_LATE);
        return;
    }
    if (request->offer == NULL || request->offer->worker != worker) {
        core_count(self, COUNT_REPLIES_FORGED);
        return;
    }
    bool final = message->kind == WEFT_REPLY;
    service_t *service = request->service;
    worker->load = message->load;
    s_load(request->offer, message->load);
    if (request->state != REQUEST_SENT) {
        core_count(self, COUNT_REPLIES_UNWANTED);
        if (!final)
            return;
        ending_credit(self, request);
        if (request->state == REQUEST_ABANDONED) {
            deadlines_clear(&self->deadlines, &request->deadline);
            slab_free(&self->slab, request);
        }
        return;
    }
    if (final)
        outliers_replied(self, request, message);
    weft_wire_set_id(zmq_msg_data(frame), request->client_key);
    weft_wire_set_load(zmq_msg_data(frame), zmq_msg_size(frame), request->wait_us);
    weft_status_t sent = core_send_client(self, request->client, request->framed, frame);
    if (final) {
        routing_served(service, request, self->now);
        ending_credit(self, request);
    }
    if (sent == WEFT_RESOURCE_EXHAUSTED) {
        ending_owe(self, request);
    } else if (final) {
        core_count(self, COUNT_REPLIES);
        service->failures += message->status != WEFT_OK;
        ending_let_go(self, request);
    } else {
        core_count(self, COUNT_PARTIALS);
        request->streamed = true;
    }
}

static void
s_refuse_ready(dispatcher_t *self, peer_t from, const weft_message_t *message, weft_status_t status,
               const char *why)
{
    core_count(self, COUNT_REGISTRATIONS_REFUSED);
    if (core_may_log(self))
        weft_log_warning("registration refused", WEFT_UINT("worker", from.number), WEFT_STR("reason", why));
    core_send_error(self, from, message->id, status, why);
}

static void
s_ready(dispatcher_t *self, peer_t from, worker_t *worker, const weft_message_t *message)
{
    if (self->draining) {
        s_refuse_ready(self, from, message, WEFT_UNAVAILABLE, "this broker is leaving");
        return;
    }
    if (worker && worker->draining) {
        s_refuse_ready(self, from, message, WEFT_FAILED_PRECONDITION, "this worker is draining");
        return;
    }
    bool fresh = worker == NULL;
    if (fresh) {
        if (self->peers.workers.count >= self->config.workers_max ||
            (worker = peers_add_worker(&self->peers, from.number, self->now)) == NULL) {
            core_count(self, COUNT_WORKERS_REFUSED);
            s_refuse_ready(self, from, message, WEFT_RESOURCE_EXHAUSTED,
                           "this broker has as many workers as it may");
            return;
        }
        back_watch_over(self, worker);
    }
    char why[160];
    uint32_t offers = worker->offer_count;
    service_t *service = NULL;
    weft_status_t status = registry_ready(&self->registry, worker, message->descriptor, message->capacity,
                                          &service, why, sizeof why);
    if (status != WEFT_OK) {
        if (fresh) {
            deadlines_clear(&self->deadlines, &worker->deadline);
            peers_remove_worker(&self->peers, worker);
        }
        s_refuse_ready(self, from, message, status, why);
        return;
    }
    core_count(self, COUNT_REGISTRATIONS);
    zmq_msg_t frame;
    if (answers_ok(&self->answers, &frame, WEFT_REPLY, message->id, (weft_span_t){ 0 })) {
        if (core_send_worker(self, worker, &frame) == WEFT_RESOURCE_EXHAUSTED)
            core_count(self, COUNT_WORKER_FULL); /* it asks again */
        (void) zmq_msg_close(&frame);
    }
    if (service) {
        /* Workers adapt their capacity all the time: that is no event of their life. */
        weft_log_level_t level = worker->offer_count != offers || message->capacity == 0 ? WEFT_LOG_INFO
                                                                                         : WEFT_LOG_DEBUG;
        if (core_may_log(self))
            weft_log(level, message->capacity > 0 ? "service registered" : "service withdrawn",
                     WEFT_STR("service", service->name), WEFT_UINT("worker", worker->number),
                     WEFT_UINT("capacity", message->capacity), WEFT_UINT("workers", service->workers));
        outliers_registered(self, service, worker);
        routing_service_changed(self, service);
    }
}

static void
s_drain(dispatcher_t *self, peer_t from, worker_t *worker, uint64_t id)
{
    if (worker == NULL) {
        /* Not known, so nothing is or will be sent to it: that is what it wants to hear. */
        zmq_msg_t frame;
        if (answers_ok(&self->answers, &frame, WEFT_REPLY, id, (weft_span_t){ 0 })) {
            if (self->send(self->context, from, &frame) == WEFT_RESOURCE_EXHAUSTED)
                core_count(self, COUNT_WORKER_FULL);
            (void) zmq_msg_close(&frame);
        }
        return;
    }
    worker->draining = true;
    worker->drain_id = id;
    LIST_EACH(link, next, &worker->offers)
    {
        service_t *service = LIST_ITEM(link, offer_t, worker_link)->service;
        registry_withdraw(&self->registry, LIST_ITEM(link, offer_t, worker_link));
        routing_service_changed(self, service);
    }
    s_answer_drain(self, worker);
}

void
back_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame)
{
    weft_message_t message;
    worker_t *worker = peers_worker(&self->peers, from.number);
    if (worker)
        worker->last_at = self->now;
    if (!core_decode(self, from, frame, &message))
        return;
    switch (message.kind) {
    case WEFT_REPLY:
    case WEFT_PARTIAL:
        if (worker) {
            s_reply(self, worker, frame, &message);
            return;
        }
        core_count(self, COUNT_REPLIES_LATE);
        break;
    case WEFT_READY:
        s_ready(self, from, worker, &message);
        return;
    case WEFT_PING:
        if (worker) {
            worker->load = message.load;
            LIST_EACH(link, next, &worker->offers)
            s_load(LIST_ITEM(link, offer_t, worker_link), message.load);
            core_send_short(self, from, WEFT_PONG, message.id, self->config.epoch);
        }
        break;
    case WEFT_PONG:
        break;
    case WEFT_DRAIN:
        s_drain(self, from, worker, message.id);
        return;
    case WEFT_BYE:
        if (worker)
            core_lose_worker(self, worker);
        return;
    case WEFT_REQUEST:
        core_send_error(self, from, message.id, WEFT_INVALID_ARGUMENT,
                        "kind: REQUEST belongs to the port for clients");
        core_count(self, COUNT_ANSWERED_MALFORMED);
        return;
    case WEFT_CANCEL:
    case WEFT_WHO:
        core_count(self, COUNT_DROPPED_KIND);
        return;
    }
    if (worker == NULL) {
        core_count(self, COUNT_WHO);
        core_send_short(self, from, WEFT_WHO, 0, self->config.epoch);
    }
}
