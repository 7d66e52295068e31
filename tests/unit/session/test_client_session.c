/* Each rule of SPEC.md, Client session: what the session sends, when, and the one final reply of each call.
 */
#include "fixture.h"

#include "session/client_session.h"
#include "session/lacks.h"

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

static weft_status_t
s_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    fixture_t *self = context;
    return wire_send(&self->wire, link, frame);
}

static void
s_drop(void *context, uint32_t link)
{
    fixture_t *self = context;
    self->wire.links[link].dropped++;
}

static void
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

static int
s_setup_with(void **state, client_session_config_t config)
{
    fixture_t *self = calloc(1, sizeof *self);
    self->now = 1000;
    self->session = client_session_new(&config, &CALLBACKS, self);
    assert_non_null(self->session);
    *state = self;
    return 0;
}

static int
s_setup(void **state)
{
    return s_setup_with(state, CLIENT_SESSION_DEFAULTS);
}

static int
s_setup_small(void **state)
{
    client_session_config_t config = CLIENT_SESSION_DEFAULTS;
    config.in_flight_max = 2;
    return s_setup_with(state, config);
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    client_session_destroy(&self->session);
    client_session_destroy(&self->session);
    wire_fini(&self->wire);
    free(self);
    return 0;
}

static uint64_t
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

static void
s_feed(fixture_t *self, uint32_t link, zmq_msg_t *frame)
{
    client_session_receive(self->session, link, frame, self->now);
    zmq_msg_close(frame);
    client_session_check(self->session);
}

static void
s_feed_message(fixture_t *self, uint32_t link, weft_message_t message)
{
    zmq_msg_t frame;
    frame_of(&message, &frame);
    s_feed(self, link, &frame);
}

static void
s_feed_error(fixture_t *self, uint32_t link, uint64_t id, weft_status_t status, bool maybe,
             weft_span_t details)
{
    zmq_msg_t frame;
    frame_error(&frame, id, status, maybe, details);
    s_feed(self, link, &frame);
}

static void
s_feed_ok(fixture_t *self, uint32_t link, uint64_t id)
{
    s_feed_message(self, link, (weft_message_t){ .kind = WEFT_REPLY, .id = id, .load = 17 });
}

static int64_t
s_advance(fixture_t *self, int64_t ms)
{
    self->now += ms;
    const int64_t next = client_session_tick(self->session, self->now);
    assert_true(next > self->now);
    client_session_check(self->session);
    return next;
}

static void
s_up(fixture_t *self, uint32_t link)
{
    client_session_up(self->session, link, self->now);
    s_advance(self, 0);
}

static void
s_down(fixture_t *self, uint32_t link)
{
    client_session_down(self->session, link, self->now);
    client_session_check(self->session);
}

static void
s_ended(const caller_t *caller, unsigned count, weft_status_t status, bool maybe)
{
    assert_int_equal(caller->count, count);
    assert_true(caller->answers[count - 1].final);
    assert_int_equal(caller->answers[count - 1].status, status);
    assert_int_equal(caller->answers[count - 1].maybe, maybe);
}

/* ---- */

static void
test_call_and_reply(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    assert_int_equal(client_session_links_up(self->session), 1);
    s_submit(self, &caller, false, 5000);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    assert_true(request.id != 42);
    assert_int_equal(request.ttl_ms, 5000);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PARTIAL, .id = request.id });
    assert_int_equal(caller.count, 1);
    assert_false(caller.answers[0].final);
    s_feed_ok(self, 1, request.id);
    s_ended(&caller, 2, WEFT_OK, false);
    assert_int_equal(caller.answers[1].attempts, 1);
    assert_int_equal(caller.answers[1].queue_us, 17);
    s_feed_ok(self, 1, request.id); /* repeated */
    assert_int_equal(caller.count, 2);
    assert_int_equal(client_session_stats(self->session)->late_replies, 1);
    assert_int_equal(client_session_in_flight(self->session), 0);
}

static void
test_reply_of_another_link_finds_nothing(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, false, 5000);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    s_up(self, 2);
    s_feed_ok(self, 2, request.id);
    s_feed_ok(self, 3, request.id);
    s_feed_ok(self, 1, request.id ^ UINT64_C(1) << 40);
    assert_int_equal(caller.count, 0);
    s_feed_ok(self, 1, request.id);
    s_ended(&caller, 1, WEFT_OK, false);
}

static void
test_waits_for_a_broker_with_the_ttl_that_is_left(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_submit(self, &caller, false, 5000);
    s_advance(self, 1200);
    s_up(self, 1);
    assert_int_equal(wire_next(&self->wire, 1, WEFT_REQUEST).ttl_ms, 3800);
}

static void
test_deadline_without_broker_is_not_executed(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_submit(self, &caller, false, 300);
    assert_true(s_advance(self, 0) == self->now + 300);
    s_advance(self, 299);
    assert_int_equal(caller.count, 0);
    s_advance(self, 1);
    s_ended(&caller, 1, WEFT_DEADLINE_EXCEEDED, false);
    assert_string_equal(caller.answers[0].hop, "client");
}

static void
test_deadline_after_sending_is_maybe_and_cancels(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, false, 300);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    s_advance(self, 300);
    s_ended(&caller, 1, WEFT_DEADLINE_EXCEEDED, true);
    assert_true(wire_next(&self->wire, 1, WEFT_CANCEL).id == request.id);
    s_feed_ok(self, 1, request.id);
    assert_int_equal(caller.count, 1);
}

static void
test_cancel_ends_at_once(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    const uint64_t ticket = s_submit(self, &caller, false, 5000);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    client_session_cancel(self->session, ticket, self->now);
    s_ended(&caller, 1, WEFT_CANCELLED, true);
    assert_true(wire_next(&self->wire, 1, WEFT_CANCEL).id == request.id);
    client_session_cancel(self->session, ticket, self->now);
    assert_int_equal(caller.count, 1);
    wire_quiet(&self->wire, 1);
}

static void
test_cancel_from_within_a_reply(void **state)
{
    fixture_t *self = *state;
    static caller_t caller, other; /* outlive the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, true, 5000);
    self->cancel_in_reply = s_submit(self, &other, true, 5000);
    s_feed_ok(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id);
    s_ended(&caller, 1, WEFT_OK, false);
    s_ended(&other, 1, WEFT_CANCELLED, true);
    const uint64_t ticket = s_submit(self, &caller, true, 5000);
    wire_next(&self->wire, 1, WEFT_REQUEST);
    wire_next(&self->wire, 1, WEFT_CANCEL);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    self->cancel_in_reply = ticket; /* itself, on a PARTIAL */
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PARTIAL, .id = request.id });
    s_ended(&caller, 3, WEFT_CANCELLED, true);
}

static void
test_full_pipe_keeps_cancel_for_later(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    const uint64_t ticket = s_submit(self, &caller, false, 5000);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    self->wire.links[1].status = WEFT_RESOURCE_EXHAUSTED;
    client_session_cancel(self->session, ticket, self->now);
    s_ended(&caller, 1, WEFT_CANCELLED, true);
    s_advance(self, 10);
    self->wire.links[1].status = WEFT_OK;
    s_advance(self, 10);
    assert_true(wire_next(&self->wire, 1, WEFT_CANCEL).id == request.id);
}

static void
test_loss_resends_idempotent_elsewhere(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, true, 5000);
    const weft_message_t first = wire_next(&self->wire, 1, WEFT_REQUEST);
    s_up(self, 2);
    s_advance(self, 100);
    s_down(self, 1);
    const weft_message_t second = wire_next(&self->wire, 2, WEFT_REQUEST);
    assert_true(second.id != first.id);
    assert_true(weft_span_equal(second.body, WEFT_SPAN("\xa5hello")));
    assert_int_equal(second.ttl_ms, 4900);
    assert_int_equal(first.ttl_ms, 5000); /* the first attempt's bytes were left alone */
    s_feed_ok(self, 2, second.id);
    s_ended(&caller, 1, WEFT_OK, false);
    assert_int_equal(caller.answers[0].attempts, 2);
}

static void
test_loss_ends_others_as_maybe(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_up(self, 2);
    s_submit(self, &caller, false, 5000);
    const uint32_t used = wire_waiting(&self->wire, 1) > 1 ? 1 : 2;
    s_down(self, used);
    s_ended(&caller, 1, WEFT_UNAVAILABLE, true);
    assert_string_equal(caller.answers[0].hop, "client");
    wire_quiet(&self->wire, used == 1 ? 2 : 1);
}

static void
test_loss_after_a_partial_is_not_resent(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, true, 5000);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PARTIAL, .id = request.id });
    s_up(self, 2);
    s_down(self, 1);
    s_ended(&caller, 2, WEFT_UNAVAILABLE, true);
}

static void
test_attempts_are_bounded(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_submit(self, &caller, true, 5000);
    for (uint32_t link = 1; link <= 3; link++) {
        assert_int_equal(caller.count, 0);
        s_up(self, link);
        wire_next(&self->wire, link, WEFT_REQUEST);
        s_down(self, link);
    }
    s_ended(&caller, 1, WEFT_UNAVAILABLE, true);
    assert_int_equal(caller.answers[0].attempts, 3);
}

static void
test_refusal_is_retried_at_another_broker_after_back_off(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, false, 5000);
    s_up(self, 2);
    /* {"retry_after_ms": 100} */
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_RESOURCE_EXHAUSTED, false,
                 WEFT_SPAN("\x81\xaeretry_after_ms\x64"));
    assert_int_equal(caller.count, 0);
    s_advance(self, 100);
    wire_quiet(&self->wire, 1);
    wire_quiet(&self->wire, 2);
    s_advance(self, 20);
    wire_quiet(&self->wire, 1);
    s_feed_ok(self, 2, wire_next(&self->wire, 2, WEFT_REQUEST).id);
    s_ended(&caller, 1, WEFT_OK, false);
    assert_int_equal(client_session_stats(self->session)->retries, 1);
}

static void
test_refusal_is_final_when_maybe_or_no_time_or_no_budget(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, false, 5000);
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, true, WEFT_SPAN(""));
    s_ended(&caller, 1, WEFT_UNAVAILABLE, true);
    s_submit(self, &caller, true, 5000);
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_NOT_FOUND, false, WEFT_SPAN(""));
    s_ended(&caller, 2, WEFT_NOT_FOUND, false);
    s_submit(self, &caller, true, 10);
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false,
                 WEFT_SPAN("\x81\xaeretry_after_ms\x64"));
    s_ended(&caller, 3, WEFT_UNAVAILABLE, false);
    unsigned retried = 0;
    for (unsigned i = 0; i < 40; i++) {
        s_submit(self, &caller, true, 5000);
        s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false,
                     WEFT_SPAN(""));
        if (caller.count == 4 + i - retried)
            continue;
        retried++;
        s_advance(self, 30);
        wire_next(&self->wire, 1, WEFT_REQUEST);
    }
    assert_in_range(retried, 10, 14);
    assert_true(client_session_stats(self->session)->retries_denied > 0);
}

/* The broker lost the worker that had it, and the second one as well. */
static void
test_idempotent_call_whose_workers_were_lost_is_sent_again(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, true, 5000);
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, true, WEFT_SPAN(""));
    assert_int_equal(caller.count, 0);
    s_advance(self, 30);
    /* What is said of the second attempt does not undo the first. */
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_NOT_FOUND, false, WEFT_SPAN(""));
    s_ended(&caller, 1, WEFT_NOT_FOUND, true);
    assert_int_equal(client_session_stats(self->session)->retries, 1);
}

/* A broker that came back before its workers: it refuses quickly, so it always has least in flight. */
static void
test_broker_that_cannot_do_a_service_is_left_out(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    for (unsigned i = 0; i < 40; i++) /* more than the budget of retries has */
        s_submit(self, &caller, false, 60000);
    s_up(self, 2);
    for (unsigned i = 0; i < 40; i++)
        s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false,
                     WEFT_SPAN(""));
    for (unsigned i = 0; i < 40; i++)
        wire_next(&self->wire, 2, WEFT_REQUEST); /* at once */
    for (unsigned i = 0; i < 5; i++) {
        s_submit(self, &caller, false, 60000);
        wire_next(&self->wire, 2, WEFT_REQUEST);
    }
    wire_quiet(&self->wire, 1);
    assert_int_equal(caller.count, 0);
    s_advance(self, 1001);
    s_submit(self, &caller, false, 60000);
    wire_next(&self->wire, 1, WEFT_REQUEST);
}

static void
test_only_broker_that_asks_for_time_gets_it(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    for (unsigned i = 0; i < 40; i++)
        s_submit(self, &caller, false, 5000);
    for (unsigned i = 0; i < 40; i++) /* {"retry_after_ms": 100} */
        s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false,
                     WEFT_SPAN("\x81\xaeretry_after_ms\x64"));
    s_advance(self, 100);
    wire_quiet(&self->wire, 1);
    s_advance(self, 20);
    for (unsigned i = 0; i < 40; i++)
        s_feed_ok(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id);
    s_ended(&caller, 40, WEFT_OK, false);
    assert_int_equal(client_session_stats(self->session)->retries_denied, 0);
}

static void
test_moves_are_bounded(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    unsigned sent = 0;
    s_up(self, 1);
    s_submit(self, &caller, false, 60000);
    while (caller.count == 0 && sent < 100) {
        sent++;
        s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false,
                     WEFT_SPAN("\x81\xaeretry_after_ms\x64"));
        s_advance(self, 150); /* behind the last moves come the attempts that cost something */
    }
    s_ended(&caller, 1, WEFT_UNAVAILABLE, false);
    assert_int_equal(sent, 32 + 3);
    assert_int_equal(caller.answers[0].attempts, sent);
}

static void
test_silent_broker_is_chosen_last(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_up(self, 2);
    for (unsigned i = 0; i < 21; i++) {
        s_advance(self, 100);
        s_feed_message(self, 2, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 7 });
    }
    for (unsigned i = 0; i < 10; i++) {
        s_submit(self, &caller, false, 60000);
        wire_next(&self->wire, 2, WEFT_REQUEST);
    }
    wire_quiet(&self->wire, 1);
    assert_int_equal(self->wire.links[1].dropped, 0);
    /* Not even behind one that has just come back without its workers: waiting costs less. */
    s_submit(self, &caller, false, 60000);
    s_feed_error(self, 2, wire_next(&self->wire, 2, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false,
                 WEFT_SPAN("\x81\xaeretry_after_ms\x64"));
    wire_quiet(&self->wire, 1);
    s_feed_message(self, 2, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 7 });
    s_advance(self, 120);
    s_feed_ok(self, 2, wire_next(&self->wire, 2, WEFT_REQUEST).id);
    s_ended(&caller, 1, WEFT_OK, false);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 7 });
    s_submit(self, &caller, false, 60000);
    wire_next(&self->wire, 1, WEFT_REQUEST);
    /* Where nobody was heard for a while, nobody is to blame. */
    s_advance(self, 2100);
    s_submit(self, &caller, false, 60000);
    wire_next(&self->wire, 1, WEFT_REQUEST);
}

/* Submits calls, link 1 refusing with UNAVAILABLE what it gets, link 2 doing it; says how many link 1 got. */
static unsigned
s_one_lacks(fixture_t *self, caller_t *caller, unsigned calls)
{
    unsigned refused = 0;
    for (unsigned i = 0; i < calls; i++) {
        weft_message_t request;
        s_submit(self, caller, false, 5000);
        if (wire_try(&self->wire, 1, WEFT_REQUEST, &request)) {
            s_feed_error(self, 1, request.id, WEFT_UNAVAILABLE, false, WEFT_SPAN(""));
            refused++;
        }
        s_feed_ok(self, 2, wire_next(&self->wire, 2, WEFT_REQUEST).id);
        s_ended(caller, caller->count, WEFT_OK, false);
        wire_quiet(&self->wire, 1);
    }
    return refused;
}

static void
test_broker_without_the_service_is_passed_over(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_up(self, 2);
    /* At once and beyond any budget; link 1 has least in flight all the time, and gets one per second. */
    assert_int_equal(s_one_lacks(self, &caller, 100), 1);
    assert_int_equal(caller.count, 100);
    s_advance(self, LACKS_MS);
    assert_int_equal(s_one_lacks(self, &caller, 50), 1);
    assert_int_equal(client_session_stats(self->session)->retries, 2);
    assert_int_equal(client_session_stats(self->session)->retries_denied, 0);
    /* One, also where many wait for the answer. */
    s_advance(self, LACKS_MS);
    static caller_t many;
    weft_message_t next;
    for (unsigned i = 0; i < 20; i++)
        s_submit(self, &many, false, 5000);
    s_feed_error(self, 1, wire_next(&self->wire, 1, WEFT_REQUEST).id, WEFT_UNAVAILABLE, false, WEFT_SPAN(""));
    wire_quiet(&self->wire, 1);
    while (wire_try(&self->wire, 2, WEFT_REQUEST, &next))
        s_feed_ok(self, 2, next.id);
    assert_int_equal(many.count, 20);
    /* It answers one: it is as good as the other. */
    s_advance(self, LACKS_MS);
    unsigned first = 0;
    for (unsigned i = 0; i < 40; i++) {
        weft_message_t request;
        s_submit(self, &caller, false, 5000);
        const bool at_first = wire_try(&self->wire, 1, WEFT_REQUEST, &request);
        first += at_first;
        s_feed_ok(self, at_first ? 1 : 2, at_first ? request.id : wire_next(&self->wire, 2, WEFT_REQUEST).id);
    }
    assert_in_range(first, 5, 39);
}

static void
test_call_for_another_broker(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    zmq_msg_t frame;
    uint64_t ticket = 0;
    s_up(self, 1);
    for (unsigned i = 0; i < 20; i++) { /* one is up, then the other as well */
        const uint32_t link = i == 0 ? 1 : 2;
        frame_request(&frame, 42, 5000);
        assert_int_equal(
            client_session_submit_elsewhere(self->session, &frame, false, 1, &caller, self->now, &ticket),
            WEFT_OK);
        zmq_msg_close(&frame);
        s_feed_ok(self, link, wire_next(&self->wire, link, WEFT_REQUEST).id);
        assert_int_equal(caller.answers[i].broker, link);
        s_up(self, 2);
    }
}

static void
test_service_that_all_brokers_lack(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_up(self, 2);
    s_submit(self, &caller, false, 5000);
    unsigned sent = 0;
    for (unsigned turn = 0; turn < 20 && caller.count == 0; turn++) {
        for (uint32_t link = 1; link <= 2; link++) {
            weft_message_t request;
            if (wire_try(&self->wire, link, WEFT_REQUEST, &request)) {
                s_feed_error(self, link, request.id, WEFT_UNAVAILABLE, false, WEFT_SPAN(""));
                sent++;
            }
        }
        s_advance(self, 100);
    }
    assert_int_equal(sent, 1 + CLIENT_SESSION_DEFAULTS.attempts_max); /* the first move costs nothing */
    s_ended(&caller, 1, WEFT_UNAVAILABLE, false);
}

static void
test_unavailable_of_a_worker_says_nothing_of_its_broker(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, false, 5000);
    s_up(self, 2);
    /* {"executed": "no", "hop": "worker"}: as a worker that is full or leaves */
    s_feed_message(self, 1,
                   (weft_message_t){ .kind = WEFT_REPLY,
                                     .id = wire_next(&self->wire, 1, WEFT_REQUEST).id,
                                     .status = WEFT_UNAVAILABLE,
                                     .body = WEFT_SPAN("\x82\xa8"
                                                       "executed\xa2no\xa3hop\xa6worker") });
    wire_quiet(&self->wire, 2); /* with back-off, and of the budget */
    s_advance(self, 30);
    s_feed_ok(self, 2, wire_next(&self->wire, 2, WEFT_REQUEST).id);
    s_ended(&caller, 1, WEFT_OK, false);
    unsigned first = 0;
    for (unsigned i = 0; i < 40; i++) {
        weft_message_t request;
        s_submit(self, &caller, false, 5000);
        const bool at_first = wire_try(&self->wire, 1, WEFT_REQUEST, &request);
        first += at_first;
        s_feed_ok(self, at_first ? 1 : 2, at_first ? request.id : wire_next(&self->wire, 2, WEFT_REQUEST).id);
    }
    assert_in_range(first, 5, 35);
}

static void
test_doubt_of_an_earlier_attempt_stays(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_submit(self, &caller, true, 5000);
    s_up(self, 1);
    wire_next(&self->wire, 1, WEFT_REQUEST);
    s_down(self, 1);
    s_up(self, 2);
    s_feed_error(self, 2, wire_next(&self->wire, 2, WEFT_REQUEST).id, WEFT_UNIMPLEMENTED, false,
                 WEFT_SPAN(""));
    s_ended(&caller, 1, WEFT_UNIMPLEMENTED, true);
    assert_string_equal(caller.answers[0].hop, "broker");
}

static void
test_full_pipe_takes_another_link_or_waits(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_up(self, 2);
    self->wire.links[1].status = WEFT_RESOURCE_EXHAUSTED;
    s_submit(self, &caller, false, 5000);
    wire_next(&self->wire, 2, WEFT_REQUEST);
    self->wire.links[2].status = WEFT_UNAVAILABLE; /* gone, its down is on the way */
    s_submit(self, &caller, false, 5000);
    s_submit(self, &caller, false, 4000);
    s_advance(self, 50);
    wire_quiet(&self->wire, 1);
    self->wire.links[1].status = WEFT_OK;
    assert_true(s_advance(self, 50) > self->now);
    assert_int_equal(wire_next(&self->wire, 1, WEFT_REQUEST).ttl_ms, 4900); /* in order */
    assert_int_equal(wire_next(&self->wire, 1, WEFT_REQUEST).ttl_ms, 3900);
    assert_int_equal(caller.count, 0);
}

static void
test_spreads_by_least_in_flight(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_up(self, 2);
    s_up(self, 3);
    for (int i = 0; i < 30; i++)
        s_submit(self, &caller, false, 5000);
    for (uint32_t link = 1; link <= 3; link++) {
        for (int i = 0; i < 10; i++)
            wire_next(&self->wire, link, WEFT_REQUEST);
        wire_quiet(&self->wire, link);
    }
}

static void
test_draining_broker_gets_nothing_new_and_answers_what_it_has(void **state)
{
    fixture_t *self = *state;
    static caller_t caller, late; /* outlive the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, false, 5000);
    s_submit(self, &late, false, 5000);
    const weft_message_t request = wire_next(&self->wire, 1, WEFT_REQUEST);
    const weft_message_t crossed = wire_next(&self->wire, 1, WEFT_REQUEST);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_DRAIN, .id = 9 });
    assert_int_equal(client_session_links_up(self->session), 0);
    s_submit(self, &caller, false, 5000);
    s_advance(self, 10);
    wire_quiet(&self->wire, 1);
    /* What crossed the DRAIN is refused and goes elsewhere without a back-off. */
    s_feed_error(self, 1, crossed.id, WEFT_UNAVAILABLE, false, WEFT_SPAN(""));
    assert_int_equal(late.count, 0);
    s_up(self, 2);
    wire_next(&self->wire, 2, WEFT_REQUEST);
    wire_next(&self->wire, 2, WEFT_REQUEST);
    s_feed_ok(self, 1, request.id);
    s_ended(&caller, 1, WEFT_OK, false);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_BYE, .id = 9 });
    assert_int_equal(self->wire.links[1].dropped, 1);
}

static void
test_heartbeat(void **state)
{
    fixture_t *self = *state;
    s_up(self, 1);
    wire_next(&self->wire, 1, WEFT_PING);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PING, .id = 5 });
    const weft_message_t pong = wire_next(&self->wire, 1, WEFT_PONG);
    assert_true(pong.id == 5);
    assert_true(pong.epoch == 0);
    for (int i = 0; i < 39; i++)
        s_advance(self, 100);
    assert_int_equal(self->wire.links[1].dropped, 0);
    s_advance(self, 100);
    assert_int_equal(self->wire.links[1].dropped, 1);
    assert_int_equal(client_session_links_up(self->session), 0);
    s_advance(self, 100);
    assert_int_equal(self->wire.links[1].dropped, 1);
    s_down(self, 1);
    assert_int_equal(client_session_stats(self->session)->broker_losses, 1);
}

static void
test_malformed_replies(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    zmq_msg_t frame;
    s_up(self, 1);
    s_submit(self, &caller, true, 5000);
    uint64_t id = wire_next(&self->wire, 1, WEFT_REQUEST).id;
    /* A body that is no msgpack. */
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_REPLY, .id = id, .body = WEFT_SPAN("\xc1") });
    s_ended(&caller, 1, WEFT_INTERNAL, true);
    s_submit(self, &caller, true, 5000);
    id = wire_next(&self->wire, 1, WEFT_REQUEST).id;
    frame_of(&(weft_message_t){ .kind = WEFT_PARTIAL, .id = id }, &frame);
    ((unsigned char *) zmq_msg_data(&frame))[13] = 3; /* a PARTIAL with a status */
    s_feed(self, 1, &frame);
    s_ended(&caller, 2, WEFT_INTERNAL, true);
    assert_true(wire_next(&self->wire, 1, WEFT_CANCEL).id == id);
    zmq_msg_init_size(&frame, 7);
    memset(zmq_msg_data(&frame), 0xff, 7);
    s_feed(self, 1, &frame);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_CANCEL, .id = 1 });
    assert_int_equal(client_session_stats(self->session)->malformed, 4);
    /* Another version is ignored, even where its id is known. */
    s_submit(self, &caller, true, 5000);
    frame_of(&(weft_message_t){ .kind = WEFT_REPLY, .id = wire_next(&self->wire, 1, WEFT_REQUEST).id },
             &frame);
    ((unsigned char *) zmq_msg_data(&frame))[1] = 2;
    s_feed(self, 1, &frame);
    assert_int_equal(caller.count, 2);
    wire_quiet(&self->wire, 1);
    assert_int_equal(client_session_links_up(self->session), 1);
}

static void
test_limits_of_submit(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    zmq_msg_t frame;
    uint64_t ticket = 7;
    frame_of(&(weft_message_t){ .kind = WEFT_PING, .id = 6 }, &frame);
    assert_int_equal(client_session_submit(self->session, &frame, true, &caller, 0, &ticket),
                     WEFT_INVALID_ARGUMENT);
    zmq_msg_close(&frame);
    s_submit(self, &caller, true, 5000);
    s_submit(self, &caller, true, 5000);
    frame_request(&frame, 1, 5000);
    assert_int_equal(client_session_submit(self->session, &frame, true, &caller, 0, &ticket),
                     WEFT_RESOURCE_EXHAUSTED);
    assert_true(zmq_msg_size(&frame) > 0);
    assert_true(ticket == 7);
    client_session_bye(self->session, self->now);
    s_ended(&caller, 2, WEFT_CANCELLED, false);
    assert_int_equal(client_session_submit(self->session, &frame, true, &caller, 0, &ticket),
                     WEFT_UNAVAILABLE);
    zmq_msg_close(&frame);
}

static void
test_bye_and_destroy_end_calls(void **state)
{
    fixture_t *self = *state;
    static caller_t caller; /* outlives the test: teardown ends open calls */
    s_up(self, 1);
    s_submit(self, &caller, true, 5000);
    wire_next(&self->wire, 1, WEFT_REQUEST);
    client_session_bye(self->session, self->now);
    s_ended(&caller, 1, WEFT_CANCELLED, true);
    wire_next(&self->wire, 1, WEFT_BYE);
    client_session_destroy(&self->session);
    assert_int_equal(caller.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_call_and_reply),
        TEST(test_reply_of_another_link_finds_nothing),
        TEST(test_waits_for_a_broker_with_the_ttl_that_is_left),
        TEST(test_deadline_without_broker_is_not_executed),
        TEST(test_deadline_after_sending_is_maybe_and_cancels),
        TEST(test_cancel_ends_at_once),
        TEST(test_cancel_from_within_a_reply),
        TEST(test_full_pipe_keeps_cancel_for_later),
        TEST(test_loss_resends_idempotent_elsewhere),
        TEST(test_loss_ends_others_as_maybe),
        TEST(test_loss_after_a_partial_is_not_resent),
        TEST(test_attempts_are_bounded),
        TEST(test_refusal_is_retried_at_another_broker_after_back_off),
        TEST(test_refusal_is_final_when_maybe_or_no_time_or_no_budget),
        TEST(test_idempotent_call_whose_workers_were_lost_is_sent_again),
        TEST(test_broker_that_cannot_do_a_service_is_left_out),
        TEST(test_only_broker_that_asks_for_time_gets_it),
        TEST(test_moves_are_bounded),
        TEST(test_silent_broker_is_chosen_last),
        TEST(test_broker_without_the_service_is_passed_over),
        TEST(test_call_for_another_broker),
        TEST(test_service_that_all_brokers_lack),
        TEST(test_unavailable_of_a_worker_says_nothing_of_its_broker),
        TEST(test_doubt_of_an_earlier_attempt_stays),
        TEST(test_full_pipe_takes_another_link_or_waits),
        TEST(test_spreads_by_least_in_flight),
        TEST(test_draining_broker_gets_nothing_new_and_answers_what_it_has),
        TEST(test_heartbeat),
        TEST(test_malformed_replies),
        cmocka_unit_test_setup_teardown(test_limits_of_submit, s_setup_small, s_teardown),
        TEST(test_bye_and_destroy_end_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
