/* test_ending - how requests end: cancelled, expired, cut off */
#include "unit/broker/harness.h"

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
test_expired_at_the_worker_is_cancelled_and_keeps_its_credit(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 100);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_wait(h, 100);
    harness_expect_reply(h, 5, 1, WEFT_DEADLINE_EXCEEDED, "maybe");
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, id);
    assert_int_equal(dispatcher_in_flight(h->dispatcher), 0);
    assert_true(dispatcher_idle(h->dispatcher));

    harness_request(h, 5, 2, "echo", "echo", 5000);
    harness_expect_nothing(h, BACK, 1); /* it is busy with what nobody wants any more */
    harness_reply(h, 1, id, WEFT_CANCELLED, 0);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "replies_unwanted", ""), 1);
    uint64_t second = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_reply(h, 1, second, WEFT_OK, 0);
    harness_expect_reply(h, 5, 2, WEFT_OK, NULL);
    harness_free(h);
}

static void
test_credit_of_a_worker_that_never_answers_comes_back_in_the_end(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 100);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    for (int i = 0; i < 31; i++) { /* it lives and pings, only this request hangs */
        harness_wait(h, 1000);
        harness_say(h, BACK, 1, WEFT_PING, 1, 1);
    }
    assert_int_equal(harness_counter(h, "abandon_expired", ""), 1);
    harness_request(h, 5, 2, "echo", "echo", 5000);
    harness_expect_reply(h, 5, 1, WEFT_DEADLINE_EXCEEDED, "maybe");
    harness_expect(h, BACK, 1, WEFT_CANCEL);
    weft_message_t message;
    do
        message = harness_take(h, BACK, 1);
    while (message.kind == WEFT_PONG);
    assert_int_equal(message.kind, WEFT_REQUEST);
    harness_free(h);
}

static void
test_cancel_in_the_queue_and_at_the_worker(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 5, 2, "echo", "echo", 1000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_say(h, FRONT, 5, WEFT_CANCEL, 2, 0);
    harness_expect_reply(h, 5, 2, WEFT_CANCELLED, "no");
    harness_say(h, FRONT, 5, WEFT_CANCEL, 1, 0);
    harness_say(h, FRONT, 5, WEFT_CANCEL, 1, 0);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, id);
    harness_expect_nothing(h, BACK, 1);
    harness_expect_nothing(h, FRONT, 5); /* the worker's reply ends it */
    harness_reply(h, 1, id, WEFT_CANCELLED, 0);
    harness_expect_reply(h, 5, 1, WEFT_CANCELLED, NULL);
    harness_say(h, FRONT, 5, WEFT_CANCEL, 1, 0);
    harness_say(h, FRONT, 6, WEFT_CANCEL, 1, 0);
    assert_int_equal(harness_counter(h, "cancels_unknown", ""), 3);
    harness_free(h);
}

static void
test_cancel_for_a_full_worker_is_sent_later(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    h->peers[BACK][1] = PEER_FULL;
    harness_say(h, FRONT, 5, WEFT_CANCEL, 1, 0);
    harness_wait(h, 100);
    harness_expect_nothing(h, BACK, 1);
    h->peers[BACK][1] = PEER_WELL;
    harness_wait(h, 100);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, id);
    harness_free(h);
}

static void
test_slow_reader_is_cut_off_and_told_as_soon_as_there_is_room(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "stream", 4);
    harness_request(h, 5, 1, "echo", "stream", 10000);
    harness_request(h, 6, 1, "echo", "stream", 10000);
    uint64_t slow = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    uint64_t well = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    h->peers[FRONT][5] = PEER_FULL;
    harness_partial(h, 1, slow);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, slow);
    harness_partial(h, 1, slow);
    harness_partial(h, 1, well);
    harness_expect(h, FRONT, 6, WEFT_PARTIAL);
    harness_wait(h, 500);
    harness_reply(h, 1, slow, WEFT_CANCELLED, 0);
    harness_expect_nothing(h, FRONT, 5);
    h->peers[FRONT][5] = PEER_WELL;
    harness_wait(h, 50);
    harness_expect_reply(h, 5, 1, WEFT_RESOURCE_EXHAUSTED, "maybe");
    assert_int_equal(harness_counter(h, "streams_cut", ""), 1);
    harness_free(h);
}

/* Answers every PING that client 5 was sent. */
static void
s_pong(harness_t *h)
{
    weft_message_t message;
    peer_t to;
    while (harness_take_any(h, FRONT, 5, &message, &to))
        if (message.kind == WEFT_PING)
            harness_say(h, FRONT, 5, WEFT_PONG, message.id, 0);
}

static void
test_bytes_that_a_client_has_not_read_are_bounded(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.pipe_bytes = 400;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "stream", 4);
    harness_request(h, 5, 1, "echo", "stream", 10000);
    harness_request(h, 6, 1, "echo", "stream", 10000);
    const uint64_t stream = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    const uint64_t other = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    for (unsigned i = 0; i < 200; i++) { /* read as it comes: as much as it likes */
        harness_partial(h, 1, stream);
        s_pong(h);
    }
    assert_int_equal(harness_counter(h, "streams_cut", ""), 0);
    unsigned unread = 0;
    while (harness_counter(h, "streams_cut", "") == 0 && unread < 100) {
        harness_partial(h, 1, stream);
        unread++;
    }
    assert_in_range(unread, 10, 30);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, stream);
    harness_partial(h, 1, other);
    harness_expect(h, FRONT, 6, WEFT_PARTIAL);
    harness_wait(h, 500);
    harness_reply(h, 1, stream, WEFT_CANCELLED, 0);
    weft_message_t message;
    peer_t to;
    unsigned partials = 0;
    uint64_t pings[64];
    unsigned ping_count = 0;
    while (harness_take_any(h, FRONT, 5, &message, &to)) {
        assert_int_not_equal(message.kind, WEFT_REPLY); /* not even the error, nor by a made up PONG */
        partials += message.kind == WEFT_PARTIAL;
        if (message.kind == WEFT_PING && ping_count < 64)
            pings[ping_count++] = message.id;
    }
    assert_int_equal(partials, unread - 1);
    harness_say(h, FRONT, 5, WEFT_PONG, 0, 0);
    harness_wait(h, 100);
    harness_expect_nothing(h, FRONT, 5);
    for (unsigned i = 0; i < ping_count; i++) /* it has read */
        harness_say(h, FRONT, 5, WEFT_PONG, pings[i], 0);
    harness_wait(h, 50);
    harness_expect_reply(h, 5, 1, WEFT_RESOURCE_EXHAUSTED, "maybe");
    harness_free(h);
}

static void
test_script_that_knows_no_ping_goes_on_behind_its_answer(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.pipe_bytes = 100;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 4);
    for (uint64_t id = 1; id <= 100; id++) {
        harness_request(h, 5, id, "echo", "echo", 1000);
        harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
        harness_expect_reply(h, 5, id, WEFT_OK, NULL);
    }
    harness_free(h);
}

static void
test_client_that_never_reads_is_given_up_at_the_deadline(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    h->peers[FRONT][5] = PEER_FULL;
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    assert_false(dispatcher_idle(h->dispatcher));
    harness_wait(h, 1000);
    assert_true(dispatcher_idle(h->dispatcher));
    assert_int_equal(harness_counter(h, "undelivered", ""), 1);
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expired_at_the_worker_is_cancelled_and_keeps_its_credit),
        cmocka_unit_test(test_credit_of_a_worker_that_never_answers_comes_back_in_the_end),
        cmocka_unit_test(test_cancel_in_the_queue_and_at_the_worker),
        cmocka_unit_test(test_cancel_for_a_full_worker_is_sent_later),
        cmocka_unit_test(test_slow_reader_is_cut_off_and_told_as_soon_as_there_is_room),
        cmocka_unit_test(test_bytes_that_a_client_has_not_read_are_bounded),
        cmocka_unit_test(test_script_that_knows_no_ping_goes_on_behind_its_answer),
        cmocka_unit_test(test_client_that_never_reads_is_given_up_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
