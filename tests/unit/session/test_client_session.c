/* Each rule of SPEC.md, Client session: what the session sends, when, and the one final reply of each call.
 */
#include "client_fixture.h"

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
