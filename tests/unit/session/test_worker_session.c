/* Each rule of SPEC.md, Worker session: registration, requests held, cancel, drain. */
#include "fixture.h"

#include "session/worker_session.h"

static const char DESCRIPTOR[] = "\x81\xa4name\xa4"
                                 "echo";

typedef struct {
    wire_t wire;
    worker_session_t *session;
    int64_t now;
    worker_request_t requests[256];
    unsigned request_count;
    uint64_t cancelled[256];
    unsigned cancel_count;
    bool reply_in_cancel;
    unsigned registered;
    weft_status_t registered_status;
} fixture_t;

static void
s_reply(fixture_t *self, uint64_t token)
{
    zmq_msg_t frame;
    frame_of(&(weft_message_t){ .kind = WEFT_REPLY, .id = 1, .load = 99 }, &frame);
    worker_session_reply(self->session, token, &frame, self->now);
    zmq_msg_close(&frame);
}

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
s_on_request(void *context, worker_request_t *request)
{
    fixture_t *self = context;
    self->requests[self->request_count++] = *request;
}

static void
s_on_cancel(void *context, uint64_t token)
{
    fixture_t *self = context;
    self->cancelled[self->cancel_count++] = token;
    if (self->reply_in_cancel)
        s_reply(self, token);
}

static void
s_on_registered(void *context, uint32_t link, const char *service, weft_status_t status, weft_span_t message)
{
    fixture_t *self = context;
    assert_true(link < LINKS);
    assert_string_equal(service, "echo");
    assert_true(status == WEFT_OK || weft_span_equal(message, WEFT_SPAN("no")));
    self->registered++;
    self->registered_status = status;
}

static const worker_session_callbacks_t CALLBACKS = { s_send, s_drop, s_on_request, s_on_cancel,
                                                      s_on_registered };

static void
s_offer(fixture_t *self, uint32_t capacity)
{
    assert_int_equal(worker_session_offer(self->session, WEFT_SPAN("echo"),
                                          (weft_span_t){ DESCRIPTOR, sizeof DESCRIPTOR - 1 }, capacity,
                                          self->now),
                     WEFT_OK);
    worker_session_check(self->session);
}

static int
s_setup(void **state)
{
    fixture_t *self = calloc(1, sizeof *self);
    self->now = 1000;
    self->session = worker_session_new(&WORKER_SESSION_DEFAULTS, &CALLBACKS, self);
    assert_non_null(self->session);
    s_offer(self, 4);
    *state = self;
    return 0;
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    worker_session_destroy(&self->session);
    worker_session_destroy(&self->session);
    wire_fini(&self->wire);
    free(self);
    return 0;
}

static void
s_feed(fixture_t *self, uint32_t link, zmq_msg_t *frame)
{
    worker_session_receive(self->session, link, frame, self->now);
    zmq_msg_close(frame);
    worker_session_check(self->session);
}

static void
s_feed_message(fixture_t *self, uint32_t link, weft_message_t message)
{
    zmq_msg_t frame;
    frame_of(&message, &frame);
    s_feed(self, link, &frame);
}

static int64_t
s_advance(fixture_t *self, int64_t ms)
{
    self->now += ms;
    const int64_t next = worker_session_tick(self->session, self->now);
    assert_true(next > self->now);
    worker_session_check(self->session);
    return next;
}

/* Up and registered. */
static void
s_serve(fixture_t *self, uint32_t link)
{
    worker_session_up(self->session, link, self->now);
    const weft_message_t ready = wire_next(&self->wire, link, WEFT_READY);
    s_feed_message(self, link, (weft_message_t){ .kind = WEFT_REPLY, .id = ready.id });
    assert_int_equal(self->registered_status, WEFT_OK);
}

static uint64_t
s_request(fixture_t *self, uint32_t link, uint64_t id)
{
    zmq_msg_t frame;
    frame_request(&frame, id, 1000);
    const unsigned before = self->request_count;
    s_feed(self, link, &frame);
    assert_int_equal(self->request_count, before + 1);
    assert_true(self->requests[before].deadline_ms == self->now + 1000);
    return self->requests[before].token;
}

/* ---- */

static void
test_registers_on_up_and_on_who(void **state)
{
    fixture_t *self = *state;
    worker_session_up(self->session, 1, self->now);
    const weft_message_t ready = wire_next(&self->wire, 1, WEFT_READY);
    assert_int_equal(ready.capacity, 4);
    assert_int_equal(worker_session_links_serving(self->session), 0);
    /* A WHO that crossed the READY changes nothing. */
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_WHO, .id = 1, .epoch = 5 });
    wire_quiet(&self->wire, 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_REPLY, .id = ready.id });
    assert_int_equal(self->registered, 1);
    assert_int_equal(worker_session_links_serving(self->session), 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_WHO, .id = 1, .epoch = 5 });
    assert_true(wire_next(&self->wire, 1, WEFT_READY).id != ready.id);
    assert_int_equal(worker_session_links_serving(self->session), 0);
    s_serve(self, 2);
    assert_int_equal(worker_session_links_serving(self->session), 1);
}

static void
test_who_orphans_what_is_held(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    const uint64_t token = s_request(self, 1, 7);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_WHO, .id = 1, .epoch = 5 });
    wire_next(&self->wire, 1, WEFT_READY);
    assert_int_equal(self->cancel_count, 1);
    assert_true(self->cancelled[0] == token);
    const uint64_t again = s_request(self, 1, 7); /* the same id means another now */
    s_reply(self, token);
    wire_quiet(&self->wire, 1);
    assert_int_equal(worker_session_stats(self->session)->replies_dropped, 1);
    s_reply(self, again);
    assert_true(wire_next(&self->wire, 1, WEFT_REPLY).id == 7);
}

static void
test_other_epoch_registers_anew(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 5 });
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 5 });
    wire_quiet(&self->wire, 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 6 });
    wire_next(&self->wire, 1, WEFT_READY);
}

static void
test_refused_ready_backs_off(void **state)
{
    fixture_t *self = *state;
    zmq_msg_t frame;
    worker_session_up(self->session, 1, self->now);
    int64_t waited[3];
    for (int round = 0; round < 3; round++) {
        frame_error(&frame, wire_next(&self->wire, 1, WEFT_READY).id, WEFT_INVALID_ARGUMENT, false,
                    WEFT_SPAN(""));
        s_feed(self, 1, &frame);
        assert_int_equal(self->registered_status, WEFT_INVALID_ARGUMENT);
        waited[round] = 0;
        while (true) {
            s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 5 });
            s_advance(self, 50);
            waited[round] += 50;
            const unsigned taken = self->wire.links[1].taken;
            weft_message_t message;
            if (wire_try(&self->wire, 1, WEFT_READY, &message)) {
                self->wire.links[1].taken = taken;
                break;
            }
            assert_true(waited[round] < 10000);
        }
    }
    assert_in_range(waited[0], 500, 1050);
    assert_in_range(waited[1], 1000, 2050);
    assert_in_range(waited[2], 2000, 4050);
    /* A new offer is sent at once. */
    s_offer(self, 5);
    wire_next(&self->wire, 1, WEFT_READY);
}

static void
test_unanswered_or_unsent_ready_is_sent_again(void **state)
{
    fixture_t *self = *state;
    self->wire.links[1].status = WEFT_RESOURCE_EXHAUSTED;
    worker_session_up(self->session, 1, self->now);
    self->wire.links[1].status = WEFT_OK;
    s_advance(self, 10);
    wire_next(&self->wire, 1, WEFT_READY);
    s_advance(self, 2000);
    wire_quiet(&self->wire, 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PONG, .id = 1, .epoch = 5 });
    s_advance(self, 2000);
    wire_next(&self->wire, 1, WEFT_READY);
}

static void
test_request_and_reply(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    s_serve(self, 2);
    const uint64_t one = s_request(self, 1, 7), two = s_request(self, 2, 7);
    assert_int_equal(worker_session_held(self->session), 2);
    zmq_msg_t frame;
    frame_of(&(weft_message_t){ .kind = WEFT_PARTIAL, .id = 1 }, &frame);
    assert_int_equal(worker_session_partial(self->session, one, &frame, self->now), WEFT_OK);
    zmq_msg_close(&frame);
    weft_message_t message = wire_next(&self->wire, 1, WEFT_PARTIAL);
    assert_true(message.id == 7);
    assert_int_equal(message.load, 2);
    s_reply(self, two);
    message = wire_next(&self->wire, 2, WEFT_REPLY);
    assert_true(message.id == 7);
    assert_int_equal(message.load, 1);
    s_reply(self, two); /* twice: dropped */
    wire_quiet(&self->wire, 2);
    s_reply(self, one);
    wire_next(&self->wire, 1, WEFT_REPLY);
    assert_int_equal(worker_session_held(self->session), 0);
    frame_of(&(weft_message_t){ .kind = WEFT_PARTIAL, .id = 1 }, &frame);
    assert_int_equal(worker_session_partial(self->session, one, &frame, self->now), WEFT_CANCELLED);
    zmq_msg_close(&frame);
}

static void
test_repeated_id_is_counted_not_begun(void **state)
{
    fixture_t *self = *state;
    zmq_msg_t frame;
    s_serve(self, 1);
    s_request(self, 1, 7);
    frame_request(&frame, 7, 1000);
    s_feed(self, 1, &frame);
    assert_int_equal(self->request_count, 1);
    assert_int_equal(worker_session_stats(self->session)->duplicates, 1);
    wire_quiet(&self->wire, 1);
}

static void
test_malformed_request_is_answered(void **state)
{
    fixture_t *self = *state;
    zmq_msg_t frame;
    s_serve(self, 1);
    frame_request(&frame, 7, 1000);
    ((unsigned char *) zmq_msg_data(&frame))[zmq_msg_size(&frame) - 6] = 0xc1; /* the body */
    s_feed(self, 1, &frame);
    weft_message_t reply = wire_next(&self->wire, 1, WEFT_REPLY);
    assert_true(reply.id == 7);
    assert_int_equal(reply.status, WEFT_INVALID_ARGUMENT);
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_false(error.executed_maybe);
    assert_true(weft_span_equal(error.hop, WEFT_SPAN("worker")));
    frame_request(&frame, 8, 1000);
    ((unsigned char *) zmq_msg_data(&frame))[13] = 0xc0; /* service: nil */
    s_feed(self, 1, &frame);
    reply = wire_next(&self->wire, 1, WEFT_REPLY);
    assert_true(reply.id == 8);
    assert_int_equal(self->request_count, 0);
    zmq_msg_init_size(&frame, 3);
    memset(zmq_msg_data(&frame), 0, 3);
    s_feed(self, 1, &frame);
    wire_quiet(&self->wire, 1);
    assert_int_equal(worker_session_stats(self->session)->malformed, 3);
}

static void
test_refusal_waits_for_room_like_any_reply(void **state)
{
    fixture_t *self = *state;
    zmq_msg_t frame;
    s_serve(self, 1);
    self->wire.links[1].status = WEFT_RESOURCE_EXHAUSTED;
    for (uint64_t id = 7; id < 9; id++) {
        frame_request(&frame, id, 1000);
        ((unsigned char *) zmq_msg_data(&frame))[zmq_msg_size(&frame) - 6] = 0xc1; /* the body */
        s_feed(self, 1, &frame);
    }
    self->wire.links[1].status = WEFT_OK;
    s_advance(self, 10);
    assert_true(wire_next(&self->wire, 1, WEFT_REPLY).id == 7);
    assert_true(wire_next(&self->wire, 1, WEFT_REPLY).id == 8);
    assert_int_equal(worker_session_held(self->session), 0);
    assert_int_equal(self->cancel_count, 0);
    assert_int_equal(worker_session_stats(self->session)->replies_dropped, 0);
}

static void
test_more_than_offered_is_refused(void **state)
{
    fixture_t *self = *state;
    zmq_msg_t frame;
    s_serve(self, 1);
    for (uint64_t id = 0; id < 72; id++) /* 2 * 4 + 64 */
        s_request(self, 1, id);
    frame_request(&frame, 1000, 1000);
    s_feed(self, 1, &frame);
    assert_int_equal(self->request_count, 72);
    assert_int_equal(wire_next(&self->wire, 1, WEFT_REPLY).status, WEFT_RESOURCE_EXHAUSTED);
}

static void
test_cancel_and_deadline_reach_the_handler_once(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    const uint64_t one = s_request(self, 1, 7), two = s_request(self, 1, 8);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_CANCEL, .id = 7 });
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_CANCEL, .id = 7 });
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_CANCEL, .id = 1234 });
    assert_int_equal(self->cancel_count, 1);
    assert_true(self->cancelled[0] == one);
    s_advance(self, 999);
    assert_int_equal(self->cancel_count, 1);
    s_advance(self, 1);
    assert_int_equal(self->cancel_count, 2);
    assert_true(self->cancelled[1] == two);
    s_reply(self, one);
    s_reply(self, two);
    wire_next(&self->wire, 1, WEFT_REPLY);
    wire_next(&self->wire, 1, WEFT_REPLY);
}

static void
test_replies_wait_for_room_in_order(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    const uint64_t one = s_request(self, 1, 7), two = s_request(self, 1, 8);
    self->wire.links[1].status = WEFT_RESOURCE_EXHAUSTED;
    s_reply(self, one);
    worker_session_check(self->session);
    self->wire.links[1].status = WEFT_OK;
    s_reply(self, two);
    wire_quiet(&self->wire, 1);
    assert_int_equal(worker_session_held(self->session), 2);
    s_advance(self, 10);
    assert_true(wire_next(&self->wire, 1, WEFT_REPLY).id == 7);
    assert_true(wire_next(&self->wire, 1, WEFT_REPLY).id == 8);
    assert_int_equal(worker_session_held(self->session), 0);
}

static void
test_loss_cancels_and_drops(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    const uint64_t one = s_request(self, 1, 7), two = s_request(self, 1, 8);
    self->wire.links[1].status = WEFT_RESOURCE_EXHAUSTED;
    s_reply(self, one);
    self->wire.links[1].status = WEFT_OK;
    self->reply_in_cancel = true;
    worker_session_down(self->session, 1, self->now);
    worker_session_check(self->session);
    assert_int_equal(self->cancel_count, 1);
    assert_true(self->cancelled[0] == two);
    assert_int_equal(worker_session_held(self->session), 0);
    assert_int_equal(worker_session_stats(self->session)->replies_dropped, 2);
    assert_true(s_advance(self, 10) == INT64_MAX);
}

static void
test_heartbeat(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    s_request(self, 1, 7);
    s_advance(self, 0);
    assert_int_equal(wire_next(&self->wire, 1, WEFT_PING).load, 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_PING, .id = 5 });
    const weft_message_t pong = wire_next(&self->wire, 1, WEFT_PONG);
    assert_true(pong.id == 5 && pong.epoch == 0);
    for (int i = 0; i < 39; i++)
        s_advance(self, 100);
    assert_int_equal(self->wire.links[1].dropped, 0);
    s_advance(self, 100);
    assert_int_equal(self->wire.links[1].dropped, 1);
    assert_int_equal(worker_session_links_serving(self->session), 0);
}

static void
test_drain(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    s_serve(self, 2);
    const uint64_t token = s_request(self, 1, 7);
    worker_session_drain(self->session, self->now);
    const weft_message_t one = wire_next(&self->wire, 1, WEFT_DRAIN),
                         two = wire_next(&self->wire, 2, WEFT_DRAIN);
    const uint64_t crossed = s_request(self, 1, 8);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_REPLY, .id = one.id });
    s_reply(self, token);
    s_reply(self, crossed);
    assert_false(worker_session_drained(self->session));
    s_feed_message(self, 2, (weft_message_t){ .kind = WEFT_REPLY, .id = two.id });
    assert_true(worker_session_drained(self->session));
    worker_session_up(self->session, 3, self->now); /* nothing is offered any more */
    wire_quiet(&self->wire, 3);
    assert_true(worker_session_drained(self->session));
    worker_session_bye(self->session, self->now);
    wire_next(&self->wire, 1, WEFT_REPLY);
    wire_next(&self->wire, 1, WEFT_REPLY);
    wire_next(&self->wire, 1, WEFT_BYE);
    wire_next(&self->wire, 2, WEFT_BYE);
}

static void
test_drain_does_not_wait_for_the_lost_or_the_ignorant(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    s_serve(self, 2);
    s_serve(self, 3);
    self->wire.links[3].status = WEFT_RESOURCE_EXHAUSTED;
    worker_session_drain(self->session, self->now);
    self->wire.links[3].status = WEFT_OK;
    s_advance(self, 10);
    const weft_message_t drain = wire_next(&self->wire, 3, WEFT_DRAIN);
    wire_next(&self->wire, 1, WEFT_DRAIN);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_WHO, .id = 1, .epoch = 5 });
    wire_quiet(&self->wire, 1);
    worker_session_down(self->session, 2, self->now);
    assert_false(worker_session_drained(self->session));
    s_feed_message(self, 3, (weft_message_t){ .kind = WEFT_REPLY, .id = drain.id });
    assert_true(worker_session_drained(self->session));
}

static void
test_draining_broker_is_not_serving_and_bye_drops_it(void **state)
{
    fixture_t *self = *state;
    s_serve(self, 1);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_DRAIN, .id = 1 });
    assert_int_equal(worker_session_links_serving(self->session), 0);
    const uint64_t token = s_request(self, 1, 7);
    s_reply(self, token);
    wire_next(&self->wire, 1, WEFT_REPLY);
    s_feed_message(self, 1, (weft_message_t){ .kind = WEFT_BYE, .id = 1 });
    assert_int_equal(self->wire.links[1].dropped, 1);
}

static void
test_offer_is_checked(void **state)
{
    fixture_t *self = *state;
    const weft_span_t descriptor = { DESCRIPTOR, sizeof DESCRIPTOR - 1 };
    assert_int_equal(worker_session_offer(self->session, WEFT_SPAN("Echo"), descriptor, 1, 0),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(worker_session_offer(self->session, WEFT_SPAN("echo"), WEFT_SPAN("\xc1"), 1, 0),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(worker_session_offer(self->session, WEFT_SPAN("echo"), descriptor, 65536, 0),
                     WEFT_INVALID_ARGUMENT);
    s_serve(self, 1);
    s_offer(self, 0); /* taken out */
    assert_int_equal(wire_next(&self->wire, 1, WEFT_READY).capacity, 0);
    worker_session_up(self->session, 2, self->now);
    wire_quiet(&self->wire, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_registers_on_up_and_on_who),
        TEST(test_who_orphans_what_is_held),
        TEST(test_other_epoch_registers_anew),
        TEST(test_refused_ready_backs_off),
        TEST(test_unanswered_or_unsent_ready_is_sent_again),
        TEST(test_request_and_reply),
        TEST(test_repeated_id_is_counted_not_begun),
        TEST(test_malformed_request_is_answered),
        TEST(test_refusal_waits_for_room_like_any_reply),
        TEST(test_more_than_offered_is_refused),
        TEST(test_cancel_and_deadline_reach_the_handler_once),
        TEST(test_replies_wait_for_room_in_order),
        TEST(test_loss_cancels_and_drops),
        TEST(test_heartbeat),
        TEST(test_drain),
        TEST(test_drain_does_not_wait_for_the_lost_or_the_ignorant),
        TEST(test_draining_broker_is_not_serving_and_bye_drops_it),
        TEST(test_offer_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
