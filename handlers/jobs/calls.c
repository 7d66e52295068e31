/* calls - the attempts of jobs as calls through the brokers: from the engine's word to its reply and back */
#include "calls.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include <weft/clock.h>
#include <weft/pg.h>

#include "session/id_table.h"

/* Sends of one call: another broker may have a worker; beyond that the engine waits. */
#define ATTEMPTS_MAX 2
#define PARTIAL_MAX 65536u /* bytes of progress that is kept */
#define SPARE_MAX 4096u

typedef struct call call_t;
struct call {
    inbox_node_t final_node; /* first */
    inbox_node_t partial_node;
    calls_t *owner;
    call_t *next; /* spare */
    uint64_t token;
    uint64_t ticket;
    weft_status_t refused; /* it was never sent */
    bool given_up;
    weft_reply_t final;
    /* The last progress, until the loop took it: guarded by calls_t.lock. */
    weft_reply_t partial;
    bool partial_waits;
};

struct calls {
    calls_config_t config;
    weft_client_t *client;
    pthread_mutex_t lock;
    call_t **slots; /* by place in by_token */
    uint32_t slot_count;
    uint32_t *free_slots;
    uint32_t free_count;
    id_table_t by_token;
    call_t *spare;
    uint32_t spare_count;
    weft_buf_t meta;
};

calls_t *
calls_new(const calls_config_t *config)
{
    calls_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    pthread_mutex_init(&self->lock, NULL);
    weft_buf_init(&self->meta, WEFT_META_MAX);
    self->by_token.seed = weft_random_u64();
    const weft_client_config_t client = { .brokers = config->brokers,
                                          .attempts_max = ATTEMPTS_MAX,
                                          .bus = config->bus };
    self->client = weft_client_new(&client);
    if (!self->client)
        calls_destroy(&self);
    return self;
}

void
calls_end(calls_t *self)
{
    if (self)
        weft_client_destroy(&self->client);
}

void
calls_destroy(calls_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        calls_t *self = *self_p;
        calls_end(self);
        for (uint32_t i = 0; i < self->slot_count; i++)
            free(self->slots[i]);
        while (self->spare) {
            call_t *call = self->spare;
            self->spare = call->next;
            free(call);
        }
        free((void *) self->slots);
        free(self->free_slots);
        id_table_fini(&self->by_token);
        weft_buf_fini(&self->meta);
        pthread_mutex_destroy(&self->lock);
        free(self);
        *self_p = NULL;
    }
}

/* ---- calls by token ---- */

static bool
s_grow(calls_t *self)
{
    uint32_t count = self->slot_count ? self->slot_count * 2 : 1024;
    call_t **slots = realloc((void *) self->slots, count * sizeof(call_t *));
    if (slots)
        self->slots = slots;
    uint32_t *free_slots = slots ? realloc(self->free_slots, count * sizeof *free_slots) : NULL;
    if (!free_slots)
        return false;
    self->free_slots = free_slots;
    for (uint32_t i = self->slot_count; i < count; i++) {
        self->slots[i] = NULL;
        self->free_slots[self->free_count++] = i;
    }
    self->slot_count = count;
    return true;
}

static call_t *
s_add(calls_t *self, uint64_t token)
{
    if (self->free_count == 0 && !s_grow(self))
        return NULL;
    call_t *call = self->spare;
    if (call) {
        self->spare = call->next;
        self->spare_count--;
        memset(call, 0, sizeof *call);
    } else if (!(call = calloc(1, sizeof *call))) {
        return NULL;
    }
    uint32_t slot = self->free_slots[self->free_count - 1];
    if (!id_table_add(&self->by_token, token, slot)) {
        free(call);
        return NULL;
    }
    self->free_count--;
    self->slots[slot] = call;
    call->owner = self;
    call->token = token;
    return call;
}

static void
s_remove(calls_t *self, call_t *call)
{
    uint32_t slot;
    bool found = id_table_find(&self->by_token, call->token, &slot);
    assert(found);
    id_table_remove(&self->by_token, call->token);
    self->slots[slot] = NULL;
    self->free_slots[self->free_count++] = slot;
    if (self->spare_count == SPARE_MAX) {
        free(call);
        return;
    }
    call->next = self->spare;
    self->spare = call;
    self->spare_count++;
}

/* ---- replies: the bus thread ---- */

static void
s_on_partial(call_t *call, weft_reply_t *reply)
{
    calls_t *self = call->owner;
    weft_reply_t before = { 0 };
    pthread_mutex_lock(&self->lock);
    bool waits = call->partial_waits;
    if (waits)
        before = call->partial; /* the last one counts */
    call->partial = *reply;
    call->partial_waits = true;
    pthread_mutex_unlock(&self->lock);
    *reply = (weft_reply_t){ 0 };
    if (waits)
        weft_reply_fini(&before);
    else
        inbox_put(self->config.inbox, &call->partial_node, self->config.kind_partial);
}

static void
s_on_reply(void *context, weft_reply_t *reply)
{
    call_t *call = context;
    if (!reply->final) {
        s_on_partial(call, reply);
        return;
    }
    call->final = *reply;
    *reply = (weft_reply_t){ 0 };
    inbox_put(call->owner->config.inbox, &call->final_node, call->owner->config.kind_final);
}

/* ---- starting ---- */

uint8_t
calls_priority(uint8_t priority)
{
    /* What somebody waits for goes before what can wait; the most urgent jobs stand level with it.  Nothing
     * starves: the broker raises what waits by a level each second. */
    static const uint8_t wire[JOB_PRIORITIES] = { 1, 2, 3, 3 };
    return wire[priority < JOB_PRIORITIES ? priority : JOB_PRIORITIES - 1];
}

static void
s_pack_pair(msgpack_packer *pk, const char *key, weft_span_t value)
{
    weft_pack_text(pk, key);
    weft_pack_str(pk, value);
}

static void
s_pack_number(msgpack_packer *pk, const char *key, int64_t number)
{
    char text[24];
    s_pack_pair(pk, key, weft_span(weft_format(text, sizeof text, "%lld", (long long) number)));
}

/* What the method sees of the job, and what the enqueue's own meta said. */
static void
s_meta(weft_buf_t *out, const job_t *job)
{
    static const char *const kept[] = { "request_id", "traceparent", "tenant", "auth.sub", "auth.scopes" };
    enum { KEPT = sizeof kept / sizeof kept[0] };
    weft_span_t options = weft_buf_span(&job->options);
    weft_span_t values[KEPT];
    weft_span_t key = weft_mp_get_str(options, "idempotency.key");
    char own_key[32];
    msgpack_packer pk;
    uint32_t count = 4;
    for (int i = 0; i < KEPT; i++) {
        values[i] = weft_mp_get_str(options, kept[i]);
        count += values[i].size > 0;
    }
    if (key.size == 0)
        key = weft_span(weft_format(own_key, sizeof own_key, "job:%lld", (long long) job->id));
    weft_buf_reset(out);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, count);
    s_pack_number(&pk, "job.id", job->id);
    s_pack_number(&pk, "job.attempt", job->attempts);
    s_pack_number(&pk, "job.fence", job->fence);
    s_pack_pair(&pk, "idempotency.key", key);
    for (int i = 0; i < KEPT; i++) {
        if (values[i].size > 0)
            s_pack_pair(&pk, kept[i], values[i]);
    }
}

/* Its reply comes by the inbox as any other: the engine must not be called from within its own events. */
static void
s_refuse(calls_t *self, call_t *call, weft_status_t status)
{
    call->refused = status;
    inbox_put(self->config.inbox, &call->final_node, self->config.kind_final);
}

void
calls_start(calls_t *self, uint64_t token, const job_t *job)
{
    directory_route_t route;
    call_t *call = s_add(self, token);
    if (!call)
        abort(); /* a hundred bytes cannot be had, and there is no way to tell the engine */
    if (!directory_route(self->config.directory, job->queue, job->method, &route)) {
        s_refuse(self, call, WEFT_UNAVAILABLE); /* a method so new that we have not heard of it */
        return;
    }
    s_meta(&self->meta, job);
    const weft_call_t wanted = {
        .service = weft_span(route.service),
        .method = weft_span(route.method),
        .meta = weft_buf_span(&self->meta),
        .body = weft_buf_span(&job->input),
        .timeout_ms = (uint32_t) job->timeout_ms,
        .priority = calls_priority(job->priority),
    };
    weft_status_t status = self->meta.failed
                               ? WEFT_INVALID_ARGUMENT
                               : weft_submit(self->client, &wanted, s_on_reply, call, &call->ticket);
    if (status != WEFT_OK)
        s_refuse(self, call, status);
}

void
calls_cancel(calls_t *self, uint64_t token)
{
    uint32_t slot;
    if (id_table_find(&self->by_token, token, &slot) && self->slots[slot]->refused == WEFT_OK)
        weft_cancel(self->client, self->slots[slot]->ticket);
}

uint32_t
calls_give_up(calls_t *self)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->slot_count; i++) {
        call_t *call = self->slots[i];
        if (!call || call->refused != WEFT_OK)
            continue;
        call->given_up = true;
        weft_cancel(self->client, call->ticket);
        count++;
    }
    return count;
}

/* ---- judging: the loop's thread ---- */

static void
s_tell_refused(const call_t *call, engine_t *engine, int64_t now_us)
{
    const engine_reply_t told = {
        .final = true,
        .status = call->refused == WEFT_INVALID_ARGUMENT ? WEFT_INVALID_ARGUMENT : WEFT_RESOURCE_EXHAUSTED,
        .mesh = true,
    };
    engine_replied(engine, call->token, &told, now_us);
}

static void
s_tell_error(const call_t *call, weft_status_t status, const weft_error_body_t *error, weft_span_t body,
             engine_t *engine, int64_t now_us)
{
    bool by_us = weft_span_equal(error->hop, WEFT_SPAN("client"));
    const engine_reply_t told = {
        .final = true,
        .status = status,
        .executed_maybe = error->executed_maybe,
        .mesh = !weft_span_equal(error->hop, WEFT_SPAN("handler")) && error->hop.size > 0,
        .link_lost = by_us && (status == WEFT_UNAVAILABLE || (call->given_up && status == WEFT_CANCELLED)),
        .queue_us = call->final.queue_us,
        .body = body,
    };
    engine_replied(engine, call->token, &told, now_us);
}

/* A result that `get` could not show in one frame. */
static void
s_tell_too_large(const call_t *call, engine_t *engine, int64_t now_us)
{
    weft_buf_t body;
    const weft_error_body_t error = { .message = WEFT_SPAN("the result is larger than 1 MiB: store it, and "
                                                           "give back where it is"),
                                      .hop = WEFT_SPAN("handler"),
                                      .executed_maybe = true };
    weft_buf_init(&body, 512);
    (void) weft_error_body_write(&body, &error);
    s_tell_error(call, WEFT_OUT_OF_RANGE, &error, weft_buf_span(&body), engine, now_us);
    weft_buf_fini(&body);
}

static void
s_tell_result(calls_t *self, const call_t *call, engine_t *engine, int64_t now_us)
{
    static const char *const kept[] = { "http.status", "http.location" };
    weft_span_t completed, value, values[2];
    msgpack_packer pk;
    uint32_t count = 0;
    weft_buf_reset(&self->meta);
    for (int i = 0; i < 2; i++) {
        values[i] = weft_meta_get(call->final.meta, kept[i], &value) ? value : (weft_span_t){ NULL, 0 };
        count += values[i].size > 0;
    }
    if (count > 0) {
        msgpack_packer_init(&pk, &self->meta, weft_buf_write);
        msgpack_pack_map(&pk, count);
        for (int i = 0; i < 2; i++) {
            if (values[i].size > 0)
                s_pack_pair(&pk, kept[i], values[i]);
        }
    }
    const engine_reply_t told = {
        .final = true,
        .status = WEFT_OK,
        .executed_maybe = true,
        .completed = weft_meta_get(call->final.meta, "job.completed", &completed),
        .queue_us = call->final.queue_us,
        .body = call->final.body,
        .meta = weft_buf_span(&self->meta),
    };
    engine_replied(engine, call->token, &told, now_us);
}

static void
s_tell_final(calls_t *self, call_t *call, engine_t *engine, int64_t now_us)
{
    weft_error_body_t error;
    weft_span_t completed;
    if (call->refused != WEFT_OK) {
        s_tell_refused(call, engine, now_us);
    } else if (call->final.status != WEFT_OK) {
        weft_error_body_read(call->final.body, &error);
        s_tell_error(call, call->final.status, &error, call->final.body, engine, now_us);
    } else if (call->final.body.size > WEFT_JOB_RESULT_MAX &&
               !weft_meta_get(call->final.meta, "job.completed", &completed)) {
        s_tell_too_large(call, engine, now_us);
    } else {
        s_tell_result(self, call, engine, now_us);
    }
    weft_reply_fini(&call->final);
    s_remove(self, call);
}

static void
s_tell_partial(calls_t *self, call_t *call, engine_t *engine, int64_t now_us)
{
    pthread_mutex_lock(&self->lock);
    weft_reply_t partial = call->partial;
    call->partial = (weft_reply_t){ 0 };
    call->partial_waits = false;
    pthread_mutex_unlock(&self->lock);
    const engine_reply_t told = { .status = WEFT_OK, .executed_maybe = true, .body = partial.body };
    if (partial.body.size <= PARTIAL_MAX)
        engine_replied(engine, call->token, &told, now_us);
    weft_reply_fini(&partial);
}

void
calls_reply(calls_t *self, inbox_node_t *node, int kind, engine_t *engine, int64_t now_us)
{
    if (kind == self->config.kind_final)
        s_tell_final(self, (call_t *) ((char *) node - offsetof(call_t, final_node)), engine, now_us);
    else
        s_tell_partial(self, (call_t *) ((char *) node - offsetof(call_t, partial_node)), engine, now_us);
}
