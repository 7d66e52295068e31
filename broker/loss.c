/* loss - cleans up behind peers that are gone, and does what was put off during a call */
#include "broker/loss.h"

#include <assert.h>

#include <weft/log.h>

#include "broker/ending.h"
#include "broker/routing.h"

void
core_lose_client(dispatcher_t *self, client_t *client)
{
    if (!client->gone) {
        client->gone = true;
        list_add(&self->peers.gone_clients, &client->gone_link);
    }
}

void
core_doubt_worker(dispatcher_t *self, worker_t *worker)
{
    if (worker->gone)
        return;
    worker->gone = true;
    LIST_EACH(link, next, &worker->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        balancer_remove(&offer->service->balancer, offer);
    }
    deadlines_set(&self->deadlines, &worker->deadline, core_after_ms(self, UNREACHABLE_MS));
}

void
core_lose_worker(dispatcher_t *self, worker_t *worker)
{
    core_doubt_worker(self, worker);
    if (!list_linked(&worker->gone_link))
        list_add(&self->peers.gone_workers, &worker->gone_link);
}

static void
s_reap_worker(dispatcher_t *self, worker_t *worker)
{
    list_remove(&worker->gone_link);
    if (worker->held > 0 || !worker->draining) {
        core_count(self, COUNT_WORKERS_LOST);
        if (core_may_log(self))
            weft_log_info("worker left", WEFT_UINT("worker", worker->number),
                          WEFT_UINT("requests", worker->held));
    }
    list_link_t *link;
    while ((link = list_first(&worker->offers)) != NULL) {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        service_t *service = offer->service;
        LIST_EACH(held, next, &offer->requests)
        ending_worker_lost(self, LIST_ITEM(held, request_t, holder_link));
        registry_withdraw(&self->registry, offer);
        routing_service_changed(self, service);
    }
    deadlines_clear(&self->deadlines, &worker->deadline);
    peers_remove_worker(&self->peers, worker);
}

static void
s_let_all_go(dispatcher_t *self, list_t *requests, bool cancel)
{
    LIST_EACH(link, next, requests)
    {
        request_t *request = LIST_ITEM(link, request_t, client_link);
        if (cancel && request->offer && !request->cancelled)
            ending_cancel(self, request);
        ending_let_go(self, request);
    }
}

static void
s_reap_client(dispatcher_t *self, client_t *client)
{
    list_remove(&client->gone_link);
    if (client->held > 0) {
        core_count(self, COUNT_CLIENTS_LOST);
        if (core_may_log(self))
            weft_log_info("client left", WEFT_UINT("client", client->number),
                          WEFT_UINT("requests", client->held));
    }
    s_let_all_go(self, &client->requests, true);
    s_let_all_go(self, &client->unanswered, true);
    deadlines_clear(&self->deadlines, &client->deadline);
    peers_remove_client(&self->peers, client);
}

void
loss_settle(dispatcher_t *self)
{
    list_link_t *link;
    for (;;) {
        if ((link = list_first(&self->peers.gone_workers)) != NULL) {
            s_reap_worker(self, LIST_ITEM(link, worker_t, gone_link));
        } else if ((link = list_first(&self->peers.gone_clients)) != NULL) {
            s_reap_client(self, LIST_ITEM(link, client_t, gone_link));
        } else if ((link = list_first(&self->pump)) != NULL) {
            list_remove(link);
            routing_pump(self, LIST_ITEM(link, service_t, pump_link));
        } else {
            break;
        }
    }
}

void
loss_free_all(dispatcher_t *self)
{
    LIST_EACH(link, next, &self->peers.client_list)
    {
        client_t *client = LIST_ITEM(link, client_t, peers_link);
        s_let_all_go(self, &client->requests, false);
        s_let_all_go(self, &client->unanswered, false);
        deadlines_clear(&self->deadlines, &client->deadline);
        peers_remove_client(&self->peers, client);
    }
    LIST_EACH(link, next, &self->peers.worker_list)
    {
        worker_t *worker = LIST_ITEM(link, worker_t, peers_link);
        list_link_t *first;
        worker->gone = true; /* so that its offers stay until their requests are gone */
        while ((first = list_first(&worker->offers)) != NULL) {
            offer_t *offer = LIST_ITEM(first, offer_t, worker_link);
            balancer_remove(&offer->service->balancer, offer);
            LIST_EACH(held, next_held, &offer->requests)
            {
                request_t *request = LIST_ITEM(held, request_t, holder_link);
                ending_credit(self, request);
                deadlines_clear(&self->deadlines, &request->deadline);
                slab_free(&self->slab, request);
            }
            registry_withdraw(&self->registry, offer);
        }
        deadlines_clear(&self->deadlines, &worker->deadline);
        peers_remove_worker(&self->peers, worker);
    }
    LIST_EACH(link, next, &self->registry.order)
    deadlines_clear(&self->deadlines, &LIST_ITEM(link, service_t, order_link)->deadline);
}
