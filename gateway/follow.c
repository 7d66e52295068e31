/* follow - makes a job of a call, and waits for its end */
#include "gateway/follow.h"

#include <msgpack.h>
#include <stdio.h>

#include <weft/mp.h>

#include "gateway/call.h"

#define FIRST_MS 2000   /* of waiting within jobs.enqueue */
#define SLICE_S 30      /* of waiting within one jobs.get */
#define COMMIT_MS 10000 /* what jobs.enqueue may take beyond its wait */
#define TRIES 3         /* of an enqueue whose end is not known and that has a key */
#define PAUSE_MS 200    /* behind an answer that came without waiting */

static void
s_pack(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

static void
s_pack_number(msgpack_packer *pk, const char *key, uint32_t number)
{
    s_pack(pk, weft_span(key));
    msgpack_pack_uint32(pk, number);
}

static uint32_t
s_left_ms(int64_t until_ms)
{
    int64_t left_ms = until_ms - weft_mono_ms();
    return left_ms > 0 ? (uint32_t) left_ms : 0;
}

bool
follow_take_id(exchange_t *self, weft_span_t job)
{
    weft_span_t id = weft_mp_get_str(job, "id");
    bool sound = id.size > 0 && id.size < sizeof self->job;
    for (size_t i = 0; i < id.size && sound; i++) {
        sound = id.data[i] >= '0' && id.data[i] <= '9';
    }
    if (sound) {
        memcpy(self->job, id.data, id.size);
        self->job[id.size] = '\0';
    }
    return sound;
}

/* The key counts for the method, by whichever route it is called.  The jobs service adds who calls. */
void
follow_pack_key(weft_buf_t *out, weft_span_t service, weft_span_t method, weft_span_t key)
{
    char scope[WEFT_SERVICE_MAX + WEFT_METHOD_MAX + 2];
    int size = snprintf(scope, sizeof scope, "%.*s.%.*s", (int) service.size, service.data, (int) method.size,
                        method.data);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    s_pack(&pk, WEFT_SPAN("idempotency"));
    msgpack_pack_map(&pk, 2);
    s_pack(&pk, WEFT_SPAN("scope"));
    s_pack(&pk, (weft_span_t){ scope, (size_t) size });
    s_pack(&pk, WEFT_SPAN("key"));
    s_pack(&pk, key);
}

/* The input of jobs.enqueue, into slot->out. */
static void
s_pack_enqueue(exchange_t *self, const weft_call_t *call, uint32_t wait_ms, uint32_t timeout_ms)
{
    weft_buf_t *out = &self->slot->out;
    weft_span_t key = self->slot->head.idempotency_key;
    msgpack_packer pk;
    weft_buf_reset(out);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, 3u + (wait_ms > 0) + (timeout_ms > 0) + (key.size > 0));
    s_pack(&pk, WEFT_SPAN("service"));
    s_pack(&pk, call->service);
    s_pack(&pk, WEFT_SPAN("method"));
    s_pack(&pk, call->method);
    s_pack(&pk, WEFT_SPAN("input"));
    (void) weft_buf_add(out, call->body.data, call->body.size);
    if (wait_ms > 0) {
        s_pack_number(&pk, "wait_ms", wait_ms);
    }
    if (timeout_ms > 0) {
        s_pack_number(&pk, "timeout_ms", timeout_ms);
    }
    if (key.size > 0) {
        follow_pack_key(out, call->service, call->method, key);
    }
}

/* Lets time pass, with an eye on the caller.  False when he left. */
static bool
s_pause(exchange_t *self)
{
    weft_reply_t none;
    waiter_begin(&self->slot->waiter, false);
    if (waiter_next(&self->slot->waiter, PAUSE_MS, call_find_socket, self, &none) != WAITER_HANGUP) {
        return true;
    }
    call_hung_up(self);
    return false;
}

static bool
s_may_have_been_made(const weft_reply_t *reply)
{
    weft_error_body_t error;
    weft_error_body_read(reply->body, &error);
    return reply->status == WEFT_UNAVAILABLE && error.executed_maybe;
}

/* False when the request is answered, or its caller gone. */
static bool
s_enqueue(exchange_t *self, const weft_call_t *call, const follow_wish_t *wish, int64_t until_ms,
          followed_t *followed)
{
    for (unsigned tries = 1;; tries++) {
        uint32_t wait_ms = s_left_ms(until_ms);
        wait_ms = wait_ms < FIRST_MS ? wait_ms : FIRST_MS;
        s_pack_enqueue(self, call, wait_ms, wish->timeout_ms);
        if (self->slot->out.failed) {
            exchange_refuse(self, 413, WEFT_OUT_OF_RANGE, "body-too-large",
                            "the body is too large for one message");
            return false;
        }
        const weft_call_t enqueue = { .service = WEFT_SPAN("jobs"),
                                      .method = WEFT_SPAN("enqueue"),
                                      .meta = call->meta,
                                      .body = weft_buf_span(&self->slot->out),
                                      .timeout_ms = wait_ms + COMMIT_MS,
                                      .priority = call->priority };
        if (!call_has_broker(self, &enqueue) || !call_make(self, &enqueue, &followed->reply)) {
            return false;
        }
        if (followed->reply.status == WEFT_OK) {
            /* Found behind a try that may have made it, it is as good as our own. */
            followed->found = tries == 1 && weft_mp_get_bool(followed->reply.body, "replayed", false);
            return true;
        }
        /* Nobody knows whether that made a job.  With a key asking again finds it, or makes it. */
        bool again = self->slot->head.idempotency_key.size > 0 && tries < TRIES && s_left_ms(until_ms) > 0 &&
                     s_may_have_been_made(&followed->reply);
        if (!again) {
            return true;
        }
        weft_reply_fini(&followed->reply);
        if (!s_pause(self)) {
            return false;
        }
    }
}

/* Waits for the end of the job within one call. */
static call_end_t
s_get(exchange_t *self, int64_t until_ms, weft_reply_t *reply)
{
    weft_status_t why;
    uint32_t left_ms = s_left_ms(until_ms);
    uint32_t wait_s = left_ms / 1000 + 1 < SLICE_S ? left_ms / 1000 + 1 : SLICE_S;
    msgpack_packer pk;
    weft_buf_reset(&self->slot->out);
    msgpack_packer_init(&pk, &self->slot->out, weft_buf_write);
    msgpack_pack_map(&pk, 2);
    s_pack(&pk, WEFT_SPAN("id"));
    s_pack(&pk, weft_span(self->job));
    s_pack_number(&pk, "wait", wait_s);
    const weft_call_t get = { .service = WEFT_SPAN("jobs"),
                              .method = WEFT_SPAN("get"),
                              .meta = weft_buf_span(&self->slot->meta),
                              .body = weft_buf_span(&self->slot->out),
                              .timeout_ms = left_ms < wait_s * 1000 + COMMIT_MS ? left_ms + 1
                                                                                : wait_s * 1000 + COMMIT_MS,
                              .priority = WEFT_PRIORITY_DEFAULT,
                              .idempotent = true };
    return call_try(self, &get, true, reply, &why);
}

/* Takes over what jobs.get says.  False when asking on leads nowhere. */
static bool
s_take(followed_t *followed, weft_reply_t *reply)
{
    bool job = reply->status == WEFT_OK && weft_mp_get_str(reply->body, "id").size > 0;
    bool lost = reply->status == WEFT_NOT_FOUND;
    if (job) {
        weft_reply_fini(&followed->reply);
        followed->reply = *reply;
        followed->done = weft_mp_get_bool(reply->body, "done", false);
    } else {
        weft_reply_fini(reply);
    }
    return !lost;
}

bool
follow_job(exchange_t *self, const weft_call_t *call, const follow_wish_t *wish, followed_t *followed)
{
    int64_t until_ms = weft_mono_ms() + wish->wait_ms;
    memset(followed, 0, sizeof *followed);
    if (!s_enqueue(self, call, wish, until_ms, followed)) {
        return false;
    }
    if (followed->reply.status != WEFT_OK || !follow_take_id(self, followed->reply.body)) {
        return true;
    }
    followed->done = weft_mp_get_bool(followed->reply.body, "done", false);
    bool wait = wish->wait_found || !followed->found;
    while (wait && !followed->done && s_left_ms(until_ms) > 0) {
        weft_reply_t reply;
        int64_t asked_ms = weft_mono_ms();
        call_end_t end = s_get(self, until_ms, &reply);
        if (end == CALL_HANGUP) {
            weft_reply_fini(&followed->reply);
            return false;
        }
        wait = end == CALL_REPLIED ? s_take(followed, &reply) : end == CALL_REFUSED;
        if (wait && !followed->done && weft_mono_ms() - asked_ms < PAUSE_MS && !s_pause(self)) {
            weft_reply_fini(&followed->reply);
            return false;
        }
    }
    return true;
}
