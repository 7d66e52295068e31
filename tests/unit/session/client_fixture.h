/* client_fixture - a client session with a wire of arrays before it and callers that note how their calls end
 */
#ifndef WEFT_TESTS_CLIENT_FIXTURE_H
#define WEFT_TESTS_CLIENT_FIXTURE_H

#include "fixture.h"

#include "session/client_session.h"

typedef struct {
    weft_status_t status;
    bool final, maybe;
    uint32_t attempts, queue_us, broker;
    char hop[16];
} answer_t;

typedef struct {
    answer_t answers[256];
    unsigned count;
} caller_t;

typedef struct {
    wire_t wire;
    client_session_t *session;
    int64_t now;
    uint64_t cancel_in_reply; /* a ticket to cancel from within the next reply */
} fixture_t;

static inline weft_status_t
s_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    fixture_t *self = context;
    return wire_send(&self->wire, link, frame);
}

static inline void
s_drop(void *context, uint32_t link)
{
    fixture_t *self = context;
    self->wire.links[link].dropped++;
}

static inline void
s_on_reply(void *context, void *call_context, weft_reply_t *reply)
{
    fixture_t *self = context;
    caller_t *caller = call_context;
    answer_t *answer = &caller->answers[caller->count++];
    *answer = (answer_t){ .status = reply->status,
                          .final = reply->final,
                          .attempts = reply->attempts,
                          .queue_us = reply->queue_us,
                          .broker = reply->broker };
    if (reply->status != WEFT_OK) {
        weft_error_body_t error;
        weft_error_body_read(reply->body, &error);
        answer->maybe = error.executed_maybe;
        assert_true(error.hop.size < sizeof answer->hop);
        memcpy(answer->hop, error.hop.data, error.hop.size);
    }
    if (self->cancel_in_reply) {
        const uint64_t ticket = self->cancel_in_reply;
        self->cancel_in_reply = 0;
        client_session_cancel(self->session, ticket, self->now);
    }
}

static const client_session_callbacks_t CALLBACKS = { s_send, s_drop, s_on_reply };

static inline int
s_setup_with(void **state, client_session_config_t config)
{
    fixture_t *self = calloc(1, sizeof *self);
    self->now = 1000;
    self->session = client_session_new(&config, &CALLBACKS, self);
    assert_non_null(self->session);
    *state = self;
    return 0;
}

static inline int
s_setup(void **state)
{
    return s_setup_with(state, CLIENT_SESSION_DEFAULTS);
}

static inline int
s_setup_small(void **state)
{
    client_session_config_t config = CLIENT_SESSION_DEFAULTS;
    config.in_flight_max = 2;
    return s_setup_with(state, config);
}

static inline int
s_teardown(void **state)
{
    fixture_t *self = *state;
    client_session_destroy(&self->session);
    client_session_destroy(&self->session);
    wire_fini(&self->wire);
    free(self);
    return 0;
}

static inline uint64_t
s_submit(fixture_t *self, caller_t *caller, bool idempotent, uint32_t ttl_ms)
{
    zmq_msg_t frame;
    uint64_t ticket = 0;
    frame_request(&frame, 42, ttl_ms);
    assert_int_equal(client_session_submit(self->session, &frame, idempotent, caller, self->now, &ticket),
                     WEFT_OK);
    assert_true(ticket != 0);
    assert_int_equal(zmq_msg_size(&frame), 0); /* moved away */
    zmq_msg_close(&frame);
    client_session_check(self->session);
    return ticket;
}

static inline void
s_feed(fixture_t *self, uint32_t link, zmq_msg_t *frame)
{
    client_session_receive(self->session, link, frame, self->now);
    zmq_msg_close(frame);
    client_session_check(self->session);
}

static inline void
s_feed_message(fixture_t *self, uint32_t link, weft_message_t message)
{
    zmq_msg_t frame;
    frame_of(&message, &frame);
    s_feed(self, link, &frame);
}

static inline void
s_feed_error(fixture_t *self, uint32_t link, uint64_t id, weft_status_t status, bool maybe,
             weft_span_t details)
{
    zmq_msg_t frame;
    frame_error(&frame, id, status, maybe, details);
    s_feed(self, link, &frame);
}

static inline void
s_feed_ok(fixture_t *self, uint32_t link, uint64_t id)
{
    s_feed_message(self, link, (weft_message_t){ .kind = WEFT_REPLY, .id = id, .load = 17 });
}

static inline int64_t
s_advance(fixture_t *self, int64_t ms)
{
    self->now += ms;
    const int64_t next = client_session_tick(self->session, self->now);
    assert_true(next > self->now);
    client_session_check(self->session);
    return next;
}

static inline void
s_up(fixture_t *self, uint32_t link)
{
    client_session_up(self->session, link, self->now);
    s_advance(self, 0);
}

static inline void
s_down(fixture_t *self, uint32_t link)
{
    client_session_down(self->session, link, self->now);
    client_session_check(self->session);
}

static inline void
s_ended(const caller_t *caller, unsigned count, weft_status_t status, bool maybe)
{
    assert_int_equal(caller->count, count);
    assert_true(caller->answers[count - 1].final);
    assert_int_equal(caller->answers[count - 1].status, status);
    assert_int_equal(caller->answers[count - 1].maybe, maybe);
}

#endif
