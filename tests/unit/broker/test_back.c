/* test_back - what workers say */
#include "unit/broker/harness.h"

#include <string.h>

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
test_garbage_registrations_are_refused_with_a_reason(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready_version(h, 1, "echo", "not a version", "echo", 4);
    weft_message_t reply = harness_expect(h, BACK, 1, WEFT_REPLY);
    assert_int_equal(reply.status, WEFT_INVALID_ARGUMENT);
    harness_ready_version(h, 1, "weft.broker", "1.0.0", "stats", 4);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_REPLY).status, WEFT_INVALID_ARGUMENT);
    harness_ready_version(h, 1, "echo", "1.0.0", "echo,echo", 4);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_REPLY).status, WEFT_INVALID_ARGUMENT);
    assert_int_equal(dispatcher_workers(h->dispatcher), 0);
    assert_int_equal(dispatcher_services(h->dispatcher), 0);
    assert_int_equal(harness_counter(h, "registrations_refused", ""), 3);
    harness_free(h);
}

static void
test_refused_change_leaves_the_registration_as_it_was(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready_version(h, 1, "echo", "?", "echo", 4);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_REPLY).status, WEFT_INVALID_ARGUMENT);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_free(h);
}

static void
test_capacity_can_be_changed_and_zero_takes_the_service_out(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 60000);
    harness_request(h, 5, 2, "echo", "echo", 60000);
    harness_request(h, 5, 3, "echo", "echo", 60000);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_ready(h, 1, "echo", "echo", 2);
    uint64_t second = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_expect_nothing(h, BACK, 1);
    harness_ready(h, 1, "echo", "echo", 1); /* less than it holds */
    harness_reply(h, 1, first, WEFT_OK, 0);
    harness_expect_nothing(h, BACK, 1);
    harness_ready(h, 1, "echo", "echo", 0);
    harness_reply(h, 1, second, WEFT_OK, 0); /* what it holds it may still answer */
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_expect_reply(h, 5, 2, WEFT_OK, NULL);
    harness_wait(h, 1000);
    harness_expect_reply(h, 5, 3, WEFT_UNAVAILABLE, "no");
    assert_int_equal(dispatcher_workers(h->dispatcher), 1);
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 4, "echo", "echo", 1000);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_free(h);
}

static void
test_one_worker_may_offer_several_services(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_ready(h, 1, "notes", "get", 1);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 5, 2, "notes", "get", 1000);
    assert_true(weft_span_equal(harness_expect(h, BACK, 1, WEFT_REQUEST).service, WEFT_SPAN("echo")));
    assert_true(weft_span_equal(harness_expect(h, BACK, 1, WEFT_REQUEST).service, WEFT_SPAN("notes")));
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    harness_expect_reply(h, 5, 2, WEFT_UNAVAILABLE, "maybe");
    harness_free(h);
}

static void
test_only_the_holder_may_answer(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready(h, 2, "echo", "echo", 4);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_reply(h, 2, id, WEFT_OK, 0);
    harness_partial(h, 2, id);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "replies_forged", ""), 2);
    for (uint64_t guess = 0; guess < 1000; guess++)
        harness_reply(h, 1, id + (guess << 32) + 1, WEFT_OK, 0);
    assert_int_equal(harness_counter(h, "replies_late", ""), 1000);
    harness_reply(h, 1, id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_reply(h, 1, id, WEFT_OK, 0);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "replies_late", ""), 1001);
    harness_free(h);
}

static void
test_unknown_worker_is_asked_who_it_is(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_say(h, BACK, 1, WEFT_PING, 1, 0);
    weft_message_t who = harness_expect(h, BACK, 1, WEFT_WHO);
    assert_int_equal(who.epoch, 77);
    harness_reply(h, 1, 1, WEFT_OK, 0);
    harness_expect(h, BACK, 1, WEFT_WHO);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_nothing(h, BACK, 1);
    harness_say(h, BACK, 1, WEFT_DRAIN, 8, 0); /* knows nothing of it, so it may leave */
    weft_message_t reply = harness_expect(h, BACK, 1, WEFT_REPLY);
    assert_int_equal(reply.id, 8);
    assert_int_equal(reply.status, WEFT_OK);
    assert_int_equal(dispatcher_workers(h->dispatcher), 0);
    harness_free(h);
}

static void
test_ping_of_a_worker_is_answered(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    for (int i = 0; i < 20; i++) {
        harness_wait(h, 3000);
        harness_say(h, BACK, 1, WEFT_PING, 8, 0);
        weft_message_t pong = harness_expect(h, BACK, 1, WEFT_PONG);
        assert_int_equal(pong.epoch, 77);
        assert_int_equal(pong.id, 8);
    }
    harness_free(h);
}

static void
test_least_loaded_gets_the_request_foreign_load_included(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 10);
    harness_ready(h, 2, "echo", "echo", 10);
    harness_say(h, BACK, 1, WEFT_PING, 1, 5); /* five for another broker */
    harness_expect(h, BACK, 1, WEFT_PONG);
    for (uint64_t id = 0; id < 5; id++) {
        harness_request(h, 5, id, "echo", "echo", 1000);
        harness_expect(h, BACK, 2, WEFT_REQUEST);
    }
    for (uint64_t id = 5; id < 9; id++)
        harness_request(h, 5, id, "echo", "echo", 1000);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_expect(h, BACK, 2, WEFT_REQUEST);
    harness_expect(h, BACK, 2, WEFT_REQUEST);
    harness_say(h, BACK, 1, WEFT_PING, 1, 2); /* only its own two now */
    harness_expect(h, BACK, 1, WEFT_PONG);
    for (uint64_t id = 9; id < 13; id++) {
        harness_request(h, 5, id, "echo", "echo", 1000);
        harness_expect(h, BACK, 1, WEFT_REQUEST);
    }
    harness_free(h);
}

static void
test_load_on_replies_counts_as_well(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 10);
    harness_ready(h, 2, "echo", "echo", 10);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 9);
    for (uint64_t id = 2; id < 8; id++) {
        harness_request(h, 5, id, "echo", "echo", 1000);
        harness_expect(h, BACK, 2, WEFT_REQUEST);
    }
    harness_free(h);
}

static void
test_drain_is_answered_behind_the_last_request(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_say(h, BACK, 1, WEFT_DRAIN, 8, 0);
    harness_request(h, 5, 2, "echo", "echo", 5000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    weft_message_t reply = harness_expect(h, BACK, 1, WEFT_REPLY);
    assert_int_equal(reply.id, 8);
    harness_ready(h, 2, "echo", "echo", 4);
    harness_expect(h, BACK, 2, WEFT_REQUEST); /* the one that came after */
    harness_expect_nothing(h, BACK, 1);
    harness_reply(h, 1, id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_ready_version(h, 1, "echo", "1.0.0", "echo", 4);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_REPLY).status, WEFT_FAILED_PRECONDITION);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    assert_int_equal(harness_counter(h, "workers_lost", ""), 0);
    harness_free(h);
}

static void
test_answer_to_drain_waits_for_room(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    h->peers[BACK][1] = PEER_FULL;
    harness_say(h, BACK, 1, WEFT_DRAIN, 8, 0);
    harness_wait(h, 100);
    harness_expect_nothing(h, BACK, 1);
    h->peers[BACK][1] = PEER_WELL;
    harness_wait(h, 100);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_REPLY).id, 8);
    harness_expect_nothing(h, BACK, 1);
    harness_free(h);
}

static void
test_more_workers_and_services_than_allowed_are_refused(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.workers_max = 2;
    config.services_max = 2;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "one", "echo", 4);
    harness_ready(h, 2, "two", "echo", 4);
    harness_ready_version(h, 3, "one", "1.0.0", "echo", 4);
    assert_int_equal(harness_expect(h, BACK, 3, WEFT_REPLY).status, WEFT_RESOURCE_EXHAUSTED);
    harness_ready_version(h, 2, "three", "1.0.0", "echo", 4);
    assert_int_equal(harness_expect(h, BACK, 2, WEFT_REPLY).status, WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(harness_counter(h, "workers_refused", ""), 1);
    harness_free(h);
}

static void
test_disagreement_at_one_version_is_counted_and_a_higher_version_ends_it(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready(h, 2, "echo", "echo", 4);
    assert_int_equal(harness_counter(h, "conflicts", ""),
                     0); /* `instance` differs, which is as it should be */
    harness_ready(h, 3, "echo", "echo,more", 4);
    assert_int_equal(harness_counter(h, "conflicts", ""), 1);
    harness_free(h);
}

static void
test_request_on_the_workers_port_is_answered(void **state)
{
    (void) state;
    harness_t *h = s_new();
    weft_message_t message = {
        .kind = WEFT_REQUEST, .id = 3, .service = WEFT_SPAN("echo"), .method = WEFT_SPAN("echo"), .ttl_ms = 1
    };
    weft_buf_t buf;
    weft_buf_init(&buf, 1000);
    assert_int_equal(weft_wire_encode(&buf, &message), WEFT_OK);
    peer_t from = { BACK, 1, false };
    harness_bytes(h, from, buf.data, buf.size, 1);
    weft_buf_fini(&buf);
    weft_message_t reply = harness_expect(h, BACK, 1, WEFT_REPLY);
    assert_int_equal(reply.status, WEFT_INVALID_ARGUMENT);
    assert_int_equal(reply.id, 3);
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_registrations_are_refused_with_a_reason),
        cmocka_unit_test(test_refused_change_leaves_the_registration_as_it_was),
        cmocka_unit_test(test_capacity_can_be_changed_and_zero_takes_the_service_out),
        cmocka_unit_test(test_one_worker_may_offer_several_services),
        cmocka_unit_test(test_only_the_holder_may_answer),
        cmocka_unit_test(test_unknown_worker_is_asked_who_it_is),
        cmocka_unit_test(test_ping_of_a_worker_is_answered),
        cmocka_unit_test(test_least_loaded_gets_the_request_foreign_load_included),
        cmocka_unit_test(test_load_on_replies_counts_as_well),
        cmocka_unit_test(test_drain_is_answered_behind_the_last_request),
        cmocka_unit_test(test_answer_to_drain_waits_for_room),
        cmocka_unit_test(test_more_workers_and_services_than_allowed_are_refused),
        cmocka_unit_test(test_disagreement_at_one_version_is_counted_and_a_higher_version_ends_it),
        cmocka_unit_test(test_request_on_the_workers_port_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
