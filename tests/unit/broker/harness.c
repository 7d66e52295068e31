/* harness - a dispatcher with a network of arrays around it: what tests of the broker say and expect */
#include "unit/broker/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>
#include <weft/log.h>

dispatcher_config_t
harness_config(void)
{
    dispatcher_config_t config = DISPATCHER_DEFAULTS;
    config.epoch = 77;
    config.seed = 4711;
    config.in_flight_max = 4096;
    return config;
}

static weft_status_t
s_send(void *context, peer_t to, zmq_msg_t *frame)
{
    harness_t *self = context;
    assert_true(to.number < HARNESS_PEERS);
    harness_peer_t peer = self->peers[to.side][to.number];
    if (peer == PEER_GONE)
        return WEFT_UNAVAILABLE;
    if (peer == PEER_FULL)
        return WEFT_RESOURCE_EXHAUSTED;
    assert_true(self->sent_count < HARNESS_SENT);
    harness_sent_t *sent = &self->sent[self->sent_count++];
    sent->to = to;
    sent->taken = false;
    assert_int_equal(zmq_msg_init(&sent->frame), 0);
    assert_int_equal(zmq_msg_move(&sent->frame, frame), 0);
    return WEFT_OK;
}

static void
s_check(harness_t *self)
{
    if (!self->unchecked)
        dispatcher_check(self->dispatcher);
}

harness_t *
harness_new(const dispatcher_config_t *config)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    harness_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->now_us = 1000000;
    self->dispatcher = dispatcher_new(config, s_send, self);
    assert_non_null(self->dispatcher);
    self->empty_bytes = dispatcher_bytes(self->dispatcher);
    (void) dispatcher_tick(self->dispatcher, self->now_us);
    s_check(self);
    return self;
}

void
harness_free(harness_t *self)
{
    for (int side = FRONT; side <= BACK; side++) {
        for (uint32_t peer = 0; peer < HARNESS_PEERS; peer++) {
            if (self->peers[side][peer] == PEER_FULL)
                self->peers[side][peer] = PEER_WELL;
            harness_say(self, (side_t) side, peer, WEFT_BYE, 0, 0);
        }
    }
    harness_wait(self, 120000);
    assert_int_equal(dispatcher_in_flight(self->dispatcher), 0);
    assert_int_equal(dispatcher_workers(self->dispatcher), 0);
    assert_int_equal(dispatcher_clients(self->dispatcher), 0);
    assert_int_equal(dispatcher_services(self->dispatcher), 0);
    assert_int_equal(dispatcher_bytes(self->dispatcher), self->empty_bytes);
    dispatcher_destroy(&self->dispatcher);
    assert_null(self->dispatcher);
    for (uint32_t i = 0; i < self->sent_count; i++)
        assert_int_equal(zmq_msg_close(&self->sent[i].frame), 0);
    free(self);
}

void
harness_bytes(harness_t *self, peer_t from, const void *data, size_t size, unsigned parts)
{
    zmq_msg_t frame;
    assert_int_equal(zmq_msg_init_size(&frame, size), 0);
    if (size > 0)
        memcpy(zmq_msg_data(&frame), data, size);
    dispatcher_receive(self->dispatcher, from, &frame, parts, self->now_us);
    assert_int_equal(zmq_msg_close(&frame), 0);
    s_check(self);
}

static void
s_say(harness_t *self, peer_t from, const weft_message_t *message)
{
    weft_buf_t buf;
    weft_buf_init(&buf, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&buf, message), WEFT_OK);
    harness_bytes(self, from, buf.data, buf.size, 1);
    weft_buf_fini(&buf);
}

static void
s_text(msgpack_packer *packer, const char *text, size_t size)
{
    (void) msgpack_pack_str(packer, size);
    (void) msgpack_pack_str_body(packer, text, size);
}

static void
s_pair(msgpack_packer *packer, const char *key, const char *value)
{
    s_text(packer, key, strlen(key));
    s_text(packer, value, strlen(value));
}

void
harness_ready_version(harness_t *self, uint32_t worker, const char *service, const char *version,
                      const char *methods, uint32_t capacity)
{
    weft_buf_t buf;
    msgpack_packer packer;
    char instance[32];
    uint32_t count = 1;
    weft_buf_init(&buf, 65536);
    msgpack_packer_init(&packer, &buf, weft_buf_write);
    for (const char *at = methods; *at; at++)
        count += *at == ',';
    (void) weft_format(instance, sizeof instance, "instance-%u", worker);
    (void) msgpack_pack_map(&packer, 4);
    s_pair(&packer, "name", service);
    s_pair(&packer, "version", version);
    s_pair(&packer, "instance", instance);
    s_text(&packer, "methods", 7);
    (void) msgpack_pack_array(&packer, count);
    for (const char *at = methods;;) {
        size_t size = strcspn(at, ",");
        bool idempotent = at[size - 1] == '!';
        (void) msgpack_pack_map(&packer, 2);
        s_text(&packer, "name", 4);
        s_text(&packer, at, size - idempotent);
        s_text(&packer, "idempotent", 10);
        (void) (idempotent ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
        if (at[size] == '\0')
            break;
        at += size + 1;
    }
    weft_message_t message = {
        .kind = WEFT_READY, .id = 900 + worker, .descriptor = weft_buf_span(&buf), .capacity = capacity
    };
    peer_t from = { BACK, worker, false };
    s_say(self, from, &message);
    weft_buf_fini(&buf);
}

void
harness_ready(harness_t *self, uint32_t worker, const char *service, const char *methods, uint32_t capacity)
{
    harness_ready_version(self, worker, service, "1.0.0", methods, capacity);
    weft_message_t reply = harness_expect(self, BACK, worker, WEFT_REPLY);
    assert_int_equal(reply.status, WEFT_OK);
    assert_int_equal(reply.id, 900 + worker);
}

void
harness_call(harness_t *self, uint32_t client, uint64_t id, const harness_call_t *call)
{
    weft_buf_t meta;
    weft_buf_t body;
    msgpack_packer packer;
    weft_buf_init(&meta, WEFT_META_MAX);
    weft_buf_init(&body, WEFT_FRAME_MAX);
    msgpack_packer_init(&packer, &meta, weft_buf_write);
    (void) msgpack_pack_map(&packer, (size_t) (call->tenant != NULL) + (call->affinity != NULL));
    if (call->tenant)
        s_pair(&packer, "tenant", call->tenant);
    if (call->affinity)
        s_pair(&packer, "affinity", call->affinity);
    if (call->body_size > 0) {
        msgpack_packer_init(&packer, &body, weft_buf_write);
        (void) msgpack_pack_bin(&packer, call->body_size);
        memset(weft_buf_reserve(&body, call->body_size), 'x', call->body_size);
        body.size += call->body_size;
    }
    weft_message_t message = { .kind = WEFT_REQUEST,
                               .id = id,
                               .service = weft_span(call->service),
                               .method = weft_span(call->method),
                               .ttl_ms = call->ttl_ms,
                               .priority = call->priority,
                               .meta = weft_buf_span(&meta),
                               .body = weft_buf_span(&body) };
    peer_t from = { FRONT, client, call->framed };
    s_say(self, from, &message);
    weft_buf_fini(&meta);
    weft_buf_fini(&body);
}

void
harness_request(harness_t *self, uint32_t client, uint64_t id, const char *service, const char *method,
                uint32_t ttl_ms)
{
    const harness_call_t call = { .service = service, .method = method, .ttl_ms = ttl_ms, .priority = 1 };
    harness_call(self, client, id, &call);
}

void
harness_reply(harness_t *self, uint32_t worker, uint64_t id, weft_status_t status, uint32_t load)
{
    weft_message_t message = { .kind = WEFT_REPLY, .id = id, .status = status, .load = load };
    peer_t from = { BACK, worker, false };
    s_say(self, from, &message);
}

void
harness_partial(harness_t *self, uint32_t worker, uint64_t id)
{
    weft_message_t message = { .kind = WEFT_PARTIAL, .id = id };
    peer_t from = { BACK, worker, false };
    s_say(self, from, &message);
}

void
harness_say(harness_t *self, side_t side, uint32_t peer, weft_kind_t kind, uint64_t id, uint32_t number)
{
    weft_message_t message = { .kind = kind, .id = id, .load = number, .epoch = kind == WEFT_WHO };
    peer_t from = { side, peer, false };
    s_say(self, from, &message);
}

void
harness_wait(harness_t *self, int64_t ms)
{
    int64_t end_us = self->now_us + ms * 1000;
    for (;;) {
        int64_t next_us = dispatcher_tick(self->dispatcher, self->now_us);
        s_check(self);
        assert_true(next_us > self->now_us);
        if (next_us > end_us)
            break;
        self->now_us = next_us;
    }
    self->now_us = end_us;
    (void) dispatcher_tick(self->dispatcher, self->now_us);
    s_check(self);
}

bool
harness_take_any(harness_t *self, side_t side, uint32_t peer, weft_message_t *message, peer_t *to)
{
    for (uint32_t i = 0; i < self->sent_count; i++) {
        harness_sent_t *sent = &self->sent[i];
        const char *why;
        if (sent->taken || sent->to.side != side || sent->to.number != peer)
            continue;
        sent->taken = true;
        assert_int_equal(
            weft_wire_decode(zmq_msg_data(&sent->frame), zmq_msg_size(&sent->frame), message, &why), WEFT_OK);
        if (to)
            *to = sent->to;
        return true;
    }
    return false;
}

weft_message_t
harness_take(harness_t *self, side_t side, uint32_t peer)
{
    weft_message_t message;
    do
        if (!harness_take_any(self, side, peer, &message, NULL))
            fail_msg("nothing was sent to peer %u of side %d", peer, (int) side);
    while (message.kind == WEFT_PING);
    return message;
}

weft_message_t
harness_expect(harness_t *self, side_t side, uint32_t peer, weft_kind_t kind)
{
    weft_message_t message = harness_take(self, side, peer);
    assert_int_equal(message.kind, kind);
    return message;
}

weft_message_t
harness_expect_reply(harness_t *self, uint32_t client, uint64_t id, weft_status_t status,
                     const char *executed)
{
    weft_message_t message = harness_expect(self, FRONT, client, WEFT_REPLY);
    assert_int_equal(message.id, id);
    assert_int_equal(message.status, status);
    if (executed) {
        weft_error_body_t error;
        weft_error_body_read(message.body, &error);
        assert_true(error.message.size > 0);
        assert_int_equal(error.executed_maybe, strcmp(executed, "maybe") == 0);
    }
    return message;
}

void
harness_expect_nothing(harness_t *self, side_t side, uint32_t peer)
{
    weft_message_t message;
    while (harness_take_any(self, side, peer, &message, NULL))
        if (message.kind != WEFT_PING)
            fail_msg("kind %d was sent to peer %u of side %d", (int) message.kind, peer, (int) side);
}

uint64_t
harness_counter(const harness_t *self, const char *name, const char *labels)
{
    size_t count;
    const dispatcher_counter_t *counters = dispatcher_counters(self->dispatcher, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(counters[i].name, name) == 0 && strcmp(counters[i].labels, labels) == 0)
            return counters[i].value;
    fail_msg("no counter %s{%s}", name, labels);
    return 0;
}
