/* Which broker a call goes to: refusals for want of workers, brokers that come back before those, or fall
 * silent */
#include "client_fixture.h"

#include "session/lacks.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idempotent_call_whose_workers_were_lost_is_sent_again),
        TEST(test_broker_that_cannot_do_a_service_is_left_out),
        TEST(test_only_broker_that_asks_for_time_gets_it),
        TEST(test_moves_are_bounded),
        TEST(test_silent_broker_is_chosen_last),
        TEST(test_broker_without_the_service_is_passed_over),
        TEST(test_call_for_another_broker),
        TEST(test_service_that_all_brokers_lack),
        TEST(test_unavailable_of_a_worker_says_nothing_of_its_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
