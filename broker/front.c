/* front - what clients say: requests, cancels, heartbeats */
#include "broker/front.h"

#include <weft/log.h>

#include "broker/broker_service.h"
#include "broker/ending.h"
#include "broker/hash.h"
#include "broker/routing.h"

/* Of the PING behind a DRAIN, so that the PONG of an earlier probe is not taken for its own. */
#define DRAIN_PING_ID 1

void
front_watch_over(dispatcher_t *self, client_t *client)
{
    int64_t at = client->last_at +
                 (int64_t) (client->pings ? self->config.silence_ms : CLIENT_IDLE_MS) * 1000;
    if (client->held > 0 && !client->framed) {
        if (client->probe_at <= self->now)
            client->probe_at = core_after_ms(self, self->config.probe_ms);
        at = client->probe_at < at ? client->probe_at : at;
    }
    if (client->owed > 0 && core_after_ms(self, FULL_RETRY_MS) < at)
        at = core_after_ms(self, FULL_RETRY_MS);
    if (at <= self->now)
        at = core_after_ms(self, self->config.probe_ms); /* silent, but it never pings and holds requests */
    if (deadlines_at(&self->deadlines, &client->deadline) > at)
        deadlines_set(&self->deadlines, &client->deadline, at);
}

void
front_client_due(dispatcher_t *self, client_t *client)
{
    if (client->gone)
        return;
    int64_t silent_ms = (self->now - client->last_at) / 1000;
    if (client->pings && silent_ms >= self->config.silence_ms) {
        /* One that was only stopped must not wait for answers that never come. */
        const peer_t to = { FRONT, client->number, false };
        if (!client->framed)
            core_send_short(self, to, WEFT_BYE, 0, 0);
        core_lose_client(self, client);
        return;
    }
    if (client->held == 0 && silent_ms >= CLIENT_IDLE_MS) {
        peers_remove_client(&self->peers, client);
        return;
    }
    if (client->owed > 0)
        ending_settle_client(self, client);
    if (client->held > 0 && !client->framed && !client->gone && self->now >= client->probe_at) {
        core_ping_client(self, client);
        client->probe_at = core_after_ms(self, self->config.probe_ms);
    }
    if (!client->gone)
        front_watch_over(self, client);
}

/* The client of that number, made where it is not known; NULL at clients_max. */
static client_t *
s_client(dispatcher_t *self, peer_t from)
{
    client_t *client = peers_client(&self->peers, from.number);
    if (client == NULL) {
        if (self->peers.clients.count >= self->config.clients_max ||
            (client = peers_add_client(&self->peers, from.number, self->now)) == NULL) {
            core_count(self, COUNT_CLIENTS_REFUSED);
            return NULL;
        }
        front_watch_over(self, client);
    }
    client->last_at = self->now;
    client->framed = from.framed;
    return client;
}

/* What the meta says about whose request it is and where it should go, in one pass. */
static void
s_read_meta(const dispatcher_t *self, request_t *request, weft_span_t meta)
{
    weft_mp_t cursor = weft_mp(meta);
    weft_mp_token_t map;
    weft_mp_token_t key;
    weft_mp_token_t value;
    if (meta.size <= 1 || !weft_mp_next(&cursor, &map))
        return;
    for (uint32_t i = 0; i < map.count; i++) {
        if (!weft_mp_next(&cursor, &key) || !weft_mp_next(&cursor, &value))
            return;
        if (weft_span_equal(key.v.bytes, WEFT_SPAN("tenant")))
            request->caller = hash_bytes(self->config.seed, value.v.bytes.data, value.v.bytes.size);
        else if (weft_span_equal(key.v.bytes, WEFT_SPAN("affinity")))
            /* The same in every broker, and never 0, which stands for none. */
            request->affinity = hash_bytes(0, value.v.bytes.data, value.v.bytes.size) | 1;
    }
}

/* The services of a broker that has just started are on their way to it: "not yet" rather than "no". */
static void
s_refuse_unknown(dispatcher_t *self, request_t *request)
{
    static const char DETAILS[] = "\x81\xaeretry_after_ms\xcc";
    char details[sizeof DETAILS];
    core_count(self, COUNT_REFUSED_SERVICE);
    if (self->started_at == 0 || self->now - self->started_at >= (int64_t) YOUNG_MS * 1000) {
        ending_fail(self, request, WEFT_UNAVAILABLE, "no worker offers this service");
        return;
    }
    memcpy(details, DETAILS, sizeof DETAILS - 1);
    details[sizeof DETAILS - 1] = (char) YOUNG_RETRY_MS;
    ending_fail_details(self, request, WEFT_UNAVAILABLE,
                        "no worker offers this service yet: this broker has just started",
                        (weft_span_t){ details, sizeof details });
}

static void
s_request(dispatcher_t *self, peer_t from, zmq_msg_t *frame, const weft_message_t *message)
{
    client_t *client = s_client(self, from);
    if (client == NULL) {
        core_send_error(self, from, message->id, WEFT_RESOURCE_EXHAUSTED,
                        "this broker has as many clients as it may");
        return;
    }
    if (slab_find_key(&self->slab, client->number, message->id)) {
        core_count(self, COUNT_DROPPED_DUPLICATE);
        return;
    }
    if (client->held == 0 && !client->confirms)
        window_confirm_all(
            &client->window); /* a script that knows no PING: it has its answers, and goes on */
    core_count(self, COUNT_REQUESTS);
    request_t *request = slab_new(&self->slab);
    if (request == NULL) {
        core_count(self, COUNT_REFUSED_LIMIT);
        core_send_error(self, from, message->id, WEFT_RESOURCE_EXHAUSTED,
                        "this broker holds as many requests as it may");
        return;
    }
    request->deadline.kind = DUE_REQUEST;
    request->client_key = message->id;
    request->client = client;
    request->framed = from.framed;
    request->priority = message->priority;
    request->arrived_at = self->now;
    request->deadline_at = self->now + (int64_t) message->ttl_ms * 1000;
    slab_add_key(&self->slab, client->number, request);
    list_add(&client->requests, &request->client_link);
    if (++client->held == 1)
        front_watch_over(self, client);

    if (self->draining) {
        core_count(self, COUNT_REFUSED_DRAINING);
        ending_fail(self, request, WEFT_UNAVAILABLE, "this broker is leaving");
        return;
    }
    request->service = registry_service(&self->registry, message->service);
    if (request->service == NULL) {
        if (weft_span_equal(message->service, WEFT_SPAN(BROKER_SERVICE))) {
            broker_service_request(self, request, message);
            return;
        }
        s_refuse_unknown(self, request);
        return;
    }
    request->service->requests++;
    const methods_entry_t *method = methods_find(&request->service->methods, message->method);
    if (method == NULL) {
        core_count(self, COUNT_REFUSED_METHOD);
        ending_fail(self, request, WEFT_UNIMPLEMENTED, "the service has no such method");
        return;
    }
    request->idempotent = method->idempotent;
    request->caller = hash_mix(self->config.seed ^ client->number);
    s_read_meta(self, request, message->meta);
    routing_start(self, request, frame, message);
}

static void
s_cancel(dispatcher_t *self, client_t *client, uint64_t key)
{
    request_t *request = slab_find_key(&self->slab, client->number, key);
    if (request == NULL || request->cancelled || request->state == REQUEST_ENDING) {
        core_count(self, COUNT_CANCELS_UNKNOWN);
        return;
    }
    core_count(self, COUNT_CANCELLED);
    if (request->state == REQUEST_SENT)
        ending_cancel(self, request); /* the worker's reply ends it */
    else
        ending_fail(self, request, WEFT_CANCELLED, "cancelled by the caller");
}

void
front_say_drain(dispatcher_t *self, client_t *client)
{
    const peer_t to = { FRONT, client->number, false };
    if (client->framed || client->gone)
        return; /* a REQ socket hears nothing unasked */
    core_send_short(self, to, WEFT_DRAIN, 0, 0);
    if (client->pings) {
        client->unsettled = true;
        core_send_short(self, to, WEFT_PING, DRAIN_PING_ID, 0);
    }
}

void
front_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame)
{
    weft_message_t message;
    client_t *client = peers_client(&self->peers, from.number);
    if (client) {
        client->last_at = self->now;
        client->framed = from.framed;
    }
    if (!core_decode(self, from, frame, &message))
        return;
    switch (message.kind) {
    case WEFT_REQUEST:
        s_request(self, from, frame, &message);
        break;
    case WEFT_CANCEL:
        if (client)
            s_cancel(self, client, message.id);
        else
            core_count(self, COUNT_CANCELS_UNKNOWN);
        break;
    case WEFT_PING:
        client = s_client(self, from);
        if (client && !client->gone) {
            if (!client->pings) {
                client->pings = true;
                front_watch_over(self, client);
                if (self->draining)
                    front_say_drain(self, client); /* it has just connected */
            }
            core_send_short(self, from, WEFT_PONG, message.id, self->config.epoch);
        }
        break;
    case WEFT_PONG:
        if (client) {
            client->confirms = true;
            window_confirm(&client->window, message.id);
            client->unsettled &= message.id != DRAIN_PING_ID;
        }
        break;
    case WEFT_BYE:
        if (client)
            core_lose_client(self, client);
        break;
    case WEFT_REPLY:
    case WEFT_PARTIAL:
    case WEFT_READY:
    case WEFT_DRAIN:
    case WEFT_WHO:
        core_count(self, COUNT_DROPPED_KIND);
        break;
    }
}
