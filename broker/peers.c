/* peers - the clients and workers that this broker knows, by number */
#include "broker/peers.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/hash.h"

void
peers_init(peers_t *self)
{
    table_init(&self->clients);
    table_init(&self->workers);
    list_init(&self->client_list);
    list_init(&self->worker_list);
    list_init(&self->gone_clients);
    list_init(&self->gone_workers);
}

void
peers_fini(peers_t *self)
{
    LIST_EACH(link, next, &self->client_list)
    free(LIST_ITEM(link, client_t, peers_link));
    LIST_EACH(link, next, &self->worker_list)
    free(LIST_ITEM(link, worker_t, peers_link));
    table_fini(&self->clients);
    table_fini(&self->workers);
    peers_init(self);
}

client_t *
peers_client(const peers_t *self, uint32_t number)
{
    return table_find(&self->clients, hash_mix(number));
}

worker_t *
peers_worker(const peers_t *self, uint32_t number)
{
    return table_find(&self->workers, hash_mix(number));
}

client_t *
peers_add_client(peers_t *self, uint32_t number, int64_t now_us)
{
    client_t *client = calloc(1, sizeof *client);
    if (client == NULL || !table_add(&self->clients, hash_mix(number), client)) {
        free(client);
        return NULL;
    }
    client->number = number;
    client->last_at = now_us;
    client->deadline.kind = DUE_CLIENT;
    list_init(&client->requests);
    list_init(&client->unanswered);
    list_add(&self->client_list, &client->peers_link);
    return client;
}

worker_t *
peers_add_worker(peers_t *self, uint32_t number, int64_t now_us)
{
    worker_t *worker = calloc(1, sizeof *worker);
    if (worker == NULL || !table_add(&self->workers, hash_mix(number), worker)) {
        free(worker);
        return NULL;
    }
    worker->number = number;
    worker->last_at = now_us;
    worker->deadline.kind = DUE_WORKER;
    list_init(&worker->offers);
    list_add(&self->worker_list, &worker->peers_link);
    return worker;
}

void
peers_remove_client(peers_t *self, client_t *client)
{
    assert(client->held == 0 && list_empty(&client->requests) && list_empty(&client->unanswered));
    assert(client->deadline.place == 0);
    table_remove(&self->clients, hash_mix(client->number));
    list_remove(&client->peers_link);
    if (list_linked(&client->gone_link))
        list_remove(&client->gone_link);
    free(client);
}

void
peers_remove_worker(peers_t *self, worker_t *worker)
{
    assert(worker->held == 0 && list_empty(&worker->offers) && worker->deadline.place == 0);
    table_remove(&self->workers, hash_mix(worker->number));
    list_remove(&worker->peers_link);
    if (list_linked(&worker->gone_link))
        list_remove(&worker->gone_link);
    free(worker);
}

uint64_t
peers_bytes(const peers_t *self)
{
    return self->clients.count * sizeof(client_t) + self->workers.count * sizeof(worker_t) +
           table_bytes(&self->clients) + table_bytes(&self->workers);
}
