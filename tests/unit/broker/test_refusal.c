/* test_refusal - who may not wait hears why, that nothing was done, and when to try again */
#include "unit/broker/harness.h"

#include <string.h>

#include "broker/core.h"

/* The refusal of a request: nothing was done, by the broker, and a time to wait. */
static uint64_t
s_expect_refusal(harness_t *h, uint32_t client, uint64_t id, const char *labels, uint64_t counted)
{
    weft_message_t reply = harness_expect_reply(h, client, id, WEFT_RESOURCE_EXHAUSTED, "no");
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_true(weft_span_equal(error.hop, WEFT_SPAN("broker")));
    assert_int_equal(harness_counter(h, "refused", labels), counted);
    const uint64_t after_ms = weft_mp_get_uint(error.details, "retry_after_ms", 0);
    assert_in_range(after_ms, 20, 60000);
    return after_ms;
}

static void
s_call(harness_t *h, uint32_t client, uint64_t id, uint32_t ttl_ms, uint8_t priority)
{
    const harness_call_t call = {
        .service = "echo", .method = "echo", .ttl_ms = ttl_ms, .priority = priority
    };
    harness_call(h, client, id, &call);
}

/* The worker answers what it holds, and is given the next; false when it holds nothing. */
static bool
s_serve(harness_t *h)
{
    weft_message_t message;
    while (harness_take_any(h, BACK, 1, &message, NULL)) {
        if (message.kind == WEFT_REQUEST) {
            harness_reply(h, 1, message.id, WEFT_OK, 0);
            return true;
        }
    }
    return false;
}

/* As many callers' requests as are there, one each 10 ms: the pace is known then. */
static void
s_serve_some(harness_t *h, int count)
{
    for (int i = 0; i < count; i++) {
        harness_wait(h, 10);
        assert_true(s_serve(h));
    }
}

static void
s_forget_sent(harness_t *h, uint32_t client)
{
    weft_message_t message;
    while (harness_take_any(h, FRONT, client, &message, NULL))
        continue;
}

static void
test_each_bound_has_its_cause(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.queue_max = 18;
    config.queue_bytes_max = 100000;
    config.total_bytes_max = 150000;
    harness_t *h = harness_new(&config);
    const harness_call_t large = {
        .service = "echo", .method = "echo", .ttl_ms = 60000, .priority = 1, .body_size = 60000
    };
    const harness_call_t other = {
        .service = "other", .method = "echo", .ttl_ms = 60000, .priority = 1, .body_size = 60000
    };
    const harness_call_t third = {
        .service = "third", .method = "echo", .ttl_ms = 60000, .priority = 1, .body_size = 60000
    };
    harness_ready(h, 1, "echo", "echo", 1);
    harness_ready(h, 1, "other", "echo", 1);
    harness_ready(h, 1, "third", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 60000);
    harness_request(h, 5, 2, "other", "echo", 60000);
    harness_request(h, 5, 3, "third", "echo", 60000);
    harness_call(h, 5, 10, &large);
    harness_call(h, 5, 11, &large);
    (void) s_expect_refusal(h, 5, 11, "reason=\"queue_bytes\"", 1);
    harness_call(h, 5, 12, &other);
    harness_call(h, 5, 13, &third);
    (void) s_expect_refusal(h, 5, 13, "reason=\"total_bytes\"", 1);
    for (uint64_t id = 20; id < 35; id++)
        harness_request(h, 5, id, "echo", "echo", 60000);
    harness_expect_nothing(h, FRONT, 5);
    harness_request(h, 5, 40, "echo", "echo", 60000); /* sixteen of its own, room for two: eight times that */
    (void) s_expect_refusal(h, 5, 40, "reason=\"caller_share\"", 1);
    harness_request(h, 6, 41, "echo", "echo", 60000);
    harness_request(h, 7, 42, "echo", "echo", 60000);
    harness_request(h, 8, 43, "echo", "echo", 60000);
    (void) s_expect_refusal(h, 8, 43, "reason=\"queue_full\"", 1);
    assert_int_equal(dispatcher_queued(h->dispatcher), 19);
    harness_free(h);
}

/* One leaves each 10 ms; what would have to wait for longer than it lives is not taken. */
static void
test_what_cannot_be_reached_is_refused_at_once(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 1);
    for (uint64_t id = 1; id <= 101; id++)
        s_call(h, 5, id, 60000, 1);
    s_call(h, 5, 200, 50, 1); /* nothing is known yet: it waits, in vain */
    harness_wait(h, 50);
    harness_expect_reply(h, 5, 200, WEFT_DEADLINE_EXCEEDED, "no");
    assert_true(s_serve(h));
    s_serve_some(h, 20);
    s_forget_sent(h, 5);
    const uint32_t left = dispatcher_queued(h->dispatcher);
    assert_int_equal(left, 79);
    s_call(h, 5, 300, 700, 1);
    const uint64_t after_ms = s_expect_refusal(h, 5, 300, "reason=\"deadline\"", 1);
    assert_in_range(after_ms, 50, 250); /* about 790 less 700 */
    s_call(h, 5, 301, 1000, 1);
    harness_expect_nothing(h, FRONT, 5);
    /* Another caller has a turn of its own, and one that is more urgent goes first: both are soon served. */
    s_call(h, 6, 302, 60, 1);
    s_call(h, 5, 303, 60, 0);
    harness_expect_nothing(h, FRONT, 6);
    harness_expect_nothing(h, FRONT, 5);
    s_serve_some(h, 4);
    harness_expect_reply(h, 6, 302, WEFT_OK, NULL);
    assert_int_equal(harness_counter(h, "expired", "where=\"queue\""), 1);
    /* What is less urgent than all of those has to wait for them until it is as old as they are. */
    s_call(h, 6, 304, 500, 2);
    (void) s_expect_refusal(h, 6, 304, "reason=\"deadline\"", 2);
    s_call(h, 6, 305, 1500, 2);
    harness_expect_nothing(h, FRONT, 6);
    harness_free(h);
}

static void
test_nothing_is_foreseen_where_that_is_off_or_workers_came(void **state)
{
    (void) state;
    for (int off = 0; off < 2; off++) {
        dispatcher_config_t config = harness_config();
        config.refuse_late = !off;
        harness_t *h = harness_new(&config);
        harness_ready(h, 1, "echo", "echo", 1);
        for (uint64_t id = 1; id <= 101; id++)
            s_call(h, 5, id, 60000, 1);
        s_serve_some(h, 20);
        s_forget_sent(h, 5);
        if (!off)
            harness_ready(h, 2, "echo", "echo", 1);
        s_call(h, 5, 300, 100, 1);
        harness_expect_nothing(h, FRONT, 5);
        harness_free(h);
    }
}

/* An incident made one wait for seconds; once it is over, and the queue was empty, nobody remembers. */
static void
test_what_was_slow_once_is_not_held_against_those_that_come_later(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.target_ms = 0;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 1);
    for (uint64_t id = 1; id <= 8; id++)
        s_call(h, 5, id, 60000, 1);
    for (int i = 0; i < 7; i++) {
        harness_wait(h, 3000);
        harness_say(h, BACK, 1, WEFT_PONG, 0, 0);
        assert_true(s_serve(h));
    }
    s_forget_sent(h, 5);
    s_call(h, 5, 20, 60000, 1);
    s_call(h, 5, 21, 2000, 1); /* the queue was empty before 20: nothing is known */
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "refused", "reason=\"deadline\""), 0);
    harness_free(h);
}

/* Twice what can be served, in a queue that may not be above 50 ms for 50 ms; a second caller beside it. */
static void
test_a_queue_that_stands_is_shed_at_its_owners_expense(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.target_ms = 50;
    config.interval_ms = 50;
    harness_t *h = harness_new(&config);
    h->unchecked = true;
    harness_ready(h, 1, "echo", "echo", 1);
    uint64_t id = 1;
    s_call(h, 5, id++, 60000, 1);
    for (int i = 0; i < 200; i++) {
        s_call(h, 5, id++, 60000, 1);
        s_call(h, 5, id++, 60000, 1);
        if (i % 5 == 0)
            s_call(h, 6, id++, 60000, 1);
        harness_wait(h, 10);
        assert_true(s_serve(h));
        dispatcher_check(h->dispatcher);
        /* 50 ms of this pace are five; it takes an interval to see that it stands. */
        if (i > 60)
            assert_in_range(dispatcher_queued(h->dispatcher), 1, 20);
    }
    weft_message_t message;
    weft_error_body_t error;
    uint32_t refused = 0;
    while (harness_take_any(h, FRONT, 5, &message, NULL)) {
        if (message.kind != WEFT_REPLY || message.status == WEFT_OK)
            continue;
        weft_error_body_read(message.body, &error);
        assert_int_equal(message.status, WEFT_RESOURCE_EXHAUSTED);
        assert_false(error.executed_maybe);
        assert_in_range(weft_mp_get_uint(error.details, "retry_after_ms", 0), 20, 500);
        refused++;
    }
    assert_in_range(refused, 200, 240);
    assert_int_equal(harness_counter(h, "refused", "reason=\"delay\""), refused);
    while (harness_take_any(h, FRONT, 6, &message, NULL))
        assert_true(message.kind != WEFT_REPLY || message.status == WEFT_OK);
    harness_free(h);
}

static void
test_a_burst_and_what_is_meant_to_wait_are_not_shed(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.target_ms = 50;
    config.interval_ms = 50;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 1);
    for (uint64_t id = 1; id <= 100; id++)
        s_call(h, 5, id, 10000, 2);
    for (uint64_t id = 101; id <= 109; id++)
        s_call(h, 6, id, 10000, 1);
    s_serve_some(h, 10); /* the last waited for 90 ms, above the target for 40 of them */
    s_serve_some(h, 90);
    assert_int_equal(harness_counter(h, "refused", "reason=\"delay\""), 0);
    assert_int_equal(harness_counter(h, "answers", ""), 0);
    harness_free(h);
}

static void
test_a_request_that_was_lost_with_its_worker_is_perhaps_done(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.queue_max = 1;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo!", 1);
    harness_ready(h, 2, "echo", "echo!", 1);
    for (uint64_t id = 1; id <= 3; id++)
        s_call(h, 5, id, 60000, 1);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    weft_message_t reply = harness_expect(h, FRONT, 5, WEFT_REPLY);
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_int_equal(reply.status, WEFT_UNAVAILABLE);
    assert_true(error.executed_maybe);
    assert_int_equal(harness_counter(h, "refused", "reason=\"queue_full\""), 1);
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_bound_has_its_cause),
        cmocka_unit_test(test_what_cannot_be_reached_is_refused_at_once),
        cmocka_unit_test(test_nothing_is_foreseen_where_that_is_off_or_workers_came),
        cmocka_unit_test(test_what_was_slow_once_is_not_held_against_those_that_come_later),
        cmocka_unit_test(test_a_queue_that_stands_is_shed_at_its_owners_expense),
        cmocka_unit_test(test_a_burst_and_what_is_meant_to_wait_are_not_shed),
        cmocka_unit_test(test_a_request_that_was_lost_with_its_worker_is_perhaps_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
