/* check - the invariants of a dispatcher, for tests */
#include <stdlib.h>

#include "broker/outliers.h"

static void
s_check_client(const dispatcher_t *self, const client_t *client, uint32_t *found)
{
    uint32_t held = 0;
    uint32_t owed = 0;
    LIST_EACH(link, next, &client->requests)
    {
        const request_t *request = LIST_ITEM(link, request_t, client_link);
        if (request->client != client || request->state == REQUEST_ENDING ||
            slab_find_key(&self->slab, client->number, request->client_key) != request)
            abort();
        held++;
    }
    LIST_EACH(link, next, &client->unanswered)
    {
        const request_t *request = LIST_ITEM(link, request_t, client_link);
        if (request->client != client || request->state != REQUEST_ENDING)
            abort();
        owed++;
    }
    if (held + owed != client->held || owed != client->owed || client->gone || client->deadline.place == 0 ||
        peers_client(&self->peers, client->number) != client)
        abort();
    *found += held + owed;
}

static void
s_check_worker(const dispatcher_t *self, const worker_t *worker, uint32_t *held)
{
    uint32_t offers = 0;
    uint32_t requests = 0;
    uint32_t cancels_due = 0;
    LIST_EACH(link, next, &worker->offers)
    {
        const offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        if (offer->worker != worker || (worker->draining && offer->variant))
            abort();
        LIST_EACH(held_link, next_held, &offer->requests)
        {
            const request_t *request = LIST_ITEM(held_link, request_t, holder_link);
            if (request->offer != offer || request->service != offer->service)
                abort();
            cancels_due += request->cancel_due;
        }
        requests += offer->outstanding;
        offers++;
    }
    if (offers != worker->offer_count || requests != worker->held || cancels_due != worker->cancels_due ||
        worker->deadline.place == 0 || peers_worker(&self->peers, worker->number) != worker ||
        ((cancels_due > 0 || worker->drain_due) && !worker->full && !worker->gone))
        abort();
    *held += requests;
}

/* What a state promises about the fields. */
static void
s_check_request(const dispatcher_t *self, const request_t *request)
{
    bool right = false;
    switch ((request_state_t) request->state) {
    case REQUEST_FREE:
        right = true;
        break;
    case REQUEST_QUEUED:
        right = request->client && request->flow && !request->offer && request->has_frame && request->service;
        break;
    case REQUEST_SENT:
        right = request->client && request->offer && request->handed;
        break;
    case REQUEST_ENDING:
        right = request->client && !request->flow && !request->has_frame;
        break;
    case REQUEST_ABANDONED:
        right = !request->client && request->offer && !request->has_frame;
        break;
    case REQUEST_WATCHING:
        right = request->client && request->watcher && !request->offer;
        break;
    }
    if (!right)
        abort();
    if (request->state == REQUEST_FREE)
        return;
    if (request->deadline.place == 0 || slab_find(&self->slab, slab_id(request)) != request)
        abort();
}

/* Nobody is left without a worker because of an ejection. */
static void
s_check_outliers(const dispatcher_t *self, const service_t *service)
{
    if (service->health.out > outliers_most(&self->config, service->workers))
        abort();
    LIST_EACH(link, next, &service->offers)
    {
        const offer_t *offer = LIST_ITEM(link, offer_t, service_link);
        if (health_out(&offer->health) && outliers_kin(offer) == 0)
            abort();
        if (offer->health.state == HEALTH_EJECTED && !list_linked(&service->health_link))
            abort(); /* nobody would take it back */
    }
}

void
dispatcher_check(const dispatcher_t *self)
{
    uint32_t counts[REQUEST_WATCHING + 1] = { 0 };
    uint32_t with_client = 0;
    uint32_t with_offer = 0;
    uint32_t used = 0;
    uint64_t kept = 0;
    for (uint32_t i = 0; i < self->slab.fresh; i++) {
        const request_t *request = &self->slab.slots[i];
        s_check_request(self, request);
        if (request->state == REQUEST_FREE)
            continue;
        used++;
        counts[request->state]++;
        with_client += request->client != NULL;
        with_offer += request->offer != NULL;
        if (request->offer && request->has_frame)
            kept += request->bytes;
    }
    uint32_t found = 0;
    uint32_t clients = 0;
    LIST_EACH(link, next, &self->peers.client_list)
    {
        s_check_client(self, LIST_ITEM(link, client_t, peers_link), &found);
        clients++;
    }
    uint32_t held = 0;
    uint32_t workers = 0;
    LIST_EACH(link, next, &self->peers.worker_list)
    {
        s_check_worker(self, LIST_ITEM(link, worker_t, peers_link), &held);
        workers++;
    }
    uint32_t watchers = 0;
    LIST_EACH(link, next, &self->watchers)
    watchers++;
    if (memcmp(counts + 1, self->slab.counts + 1, sizeof counts - sizeof counts[0]) != 0 ||
        used != self->slab.used || found != with_client || held != with_offer || kept != self->kept_bytes ||
        clients != self->peers.clients.count || workers != self->peers.workers.count ||
        watchers != self->watcher_count || watchers != counts[REQUEST_WATCHING] ||
        counts[REQUEST_QUEUED] != self->registry.backlog.total_count || !list_empty(&self->pump) ||
        !list_empty(&self->peers.gone_clients) || !list_empty(&self->peers.gone_workers))
        abort();
    LIST_EACH(link, next, &self->registry.order)
    s_check_outliers(self, LIST_ITEM(link, service_t, order_link));
    if (!list_empty(&self->stirred) && self->health_deadline.place == 0)
        abort();
    deadlines_check(&self->deadlines);
    registry_check(&self->registry);
}
