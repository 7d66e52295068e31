/* load - what a broker says about the load of services at this moment */
#include "gateway/load.h"

#define WAIT_MS 500

static void
s_ask(weft_client_t *client, const char *method, weft_reply_t *reply)
{
    const weft_call_t call = { .service = WEFT_SPAN("weft.broker"),
                               .method = weft_span(method),
                               .timeout_ms = WAIT_MS,
                               .priority = WEFT_PRIORITY_DEFAULT,
                               .idempotent = true };
    (void) weft_call(client, &call, reply); /* its status is looked at where the answer is used */
}

void
load_ask(load_t *self, weft_client_t *client, bool with_workers)
{
    memset(self, 0, sizeof *self);
    self->services.status = self->workers.status = WEFT_UNAVAILABLE;
    if (weft_client_brokers_up(client) > 0) {
        s_ask(client, "services", &self->services);
        if (with_workers) {
            s_ask(client, "workers", &self->workers);
        }
    }
}

void
load_fini(load_t *self)
{
    weft_reply_fini(&self->services);
    weft_reply_fini(&self->workers);
}

/* The next map of a list that begins with *at; false at its end. */
static bool
s_each(weft_mp_t *at, uint32_t *left, weft_span_t *item)
{
    return *left > 0 && (*left)-- > 0 && weft_mp_value(at, item);
}

/* Opens the array `key` of an answer. */
static uint32_t
s_open(const weft_reply_t *reply, const char *key, weft_mp_t *at)
{
    weft_mp_token_t token;
    if (reply->status != WEFT_OK) {
        return 0;
    }
    *at = weft_mp(weft_mp_get(reply->body, key));
    return at->at && weft_mp_next(at, &token) && token.type == WEFT_MP_ARRAY ? token.count : 0;
}

static void
s_text(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

static void
s_number(msgpack_packer *pk, const char *key, weft_span_t map)
{
    s_text(pk, weft_span(key));
    if (weft_mp_get(map, key).size > 0) {
        msgpack_pack_uint64(pk, weft_mp_get_uint(map, key, 0));
    } else {
        msgpack_pack_nil(pk);
    }
}

void
load_pack_service(const load_t *self, weft_span_t service, msgpack_packer *pk)
{
    weft_mp_t at;
    weft_span_t item = { NULL, 0 };
    uint32_t left = s_open(&self->services, "services", &at);
    while (s_each(&at, &left, &item) && !weft_span_equal(weft_mp_get_str(item, "name"), service)) {
        item = (weft_span_t){ NULL, 0 };
    }
    s_number(pk, "outstanding", item);
    s_number(pk, "queued", item);
}

/* What a worker says of one service; empty when it does not offer it. */
static weft_span_t
s_offer(weft_span_t worker, weft_span_t service)
{
    weft_mp_t at = weft_mp(weft_mp_get(worker, "services"));
    weft_mp_token_t token;
    weft_span_t offer;
    uint32_t left = at.at && weft_mp_next(&at, &token) && token.type == WEFT_MP_ARRAY ? token.count : 0;
    while (s_each(&at, &left, &offer)) {
        if (weft_span_equal(weft_mp_get_str(offer, "name"), service)) {
            return offer;
        }
    }
    return (weft_span_t){ NULL, 0 };
}

static void
s_pack_instance(msgpack_packer *pk, weft_span_t worker, weft_span_t offer)
{
    msgpack_pack_map(pk, 6);
    s_text(pk, WEFT_SPAN("instance"));
    s_text(pk, weft_mp_get_str(worker, "instance"));
    s_text(pk, WEFT_SPAN("version"));
    s_text(pk, weft_mp_get_str(offer, "version"));
    s_number(pk, "capacity", offer);
    s_number(pk, "outstanding", offer);
    s_number(pk, "load", worker);
    s_text(pk, WEFT_SPAN("draining"));
    if (weft_mp_get_bool(worker, "draining", false)) {
        msgpack_pack_true(pk);
    } else {
        msgpack_pack_false(pk);
    }
}

void
load_pack_instances(const load_t *self, weft_span_t service, msgpack_packer *pk)
{
    weft_mp_t at;
    weft_span_t worker;
    uint32_t count = 0;
    uint32_t left = s_open(&self->workers, "workers", &at);
    while (s_each(&at, &left, &worker)) {
        count += s_offer(worker, service).size > 0;
    }
    msgpack_pack_array(pk, count);
    left = s_open(&self->workers, "workers", &at);
    while (s_each(&at, &left, &worker)) {
        weft_span_t offer = s_offer(worker, service);
        if (offer.size > 0) {
            s_pack_instance(pk, worker, offer);
        }
    }
}
