/* test_routing - requests find workers, or wait for one */
#include "unit/broker/harness.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core.h"

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
test_request_reaches_the_worker_and_the_reply_its_client(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 42, "echo", "echo", 1000);
    weft_message_t request = harness_expect(h, BACK, 1, WEFT_REQUEST);
    assert_true(weft_span_equal(request.service, WEFT_SPAN("echo")));
    assert_int_equal(request.ttl_ms, 1000);
    assert_int_not_equal(request.id, 42);
    harness_reply(h, 1, request.id, WEFT_OK, 0);
    weft_message_t reply = harness_expect_reply(h, 5, 42, WEFT_OK, NULL);
    assert_int_equal(reply.load, 0);
    assert_int_equal(harness_counter(h, "replies", ""), 1);
    harness_free(h);
}

static void
test_partials_go_before_the_final_reply(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "stream", 4);
    harness_request(h, 5, 42, "echo", "stream", 1000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    for (int i = 0; i < 3; i++) {
        harness_partial(h, 1, id);
        assert_int_equal(harness_expect(h, FRONT, 5, WEFT_PARTIAL).id, 42);
    }
    harness_reply(h, 1, id, WEFT_ABORTED, 0);
    harness_expect_reply(h, 5, 42, WEFT_ABORTED, NULL);
    harness_partial(h, 1, id);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "replies_late", ""), 1);
    harness_free(h);
}

static void
test_without_credit_requests_wait_and_time_is_taken_off(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 5, 2, "echo", "echo", 1000);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_expect_nothing(h, BACK, 1);
    assert_int_equal(dispatcher_queued(h->dispatcher), 1);
    harness_wait(h, 300);
    harness_reply(h, 1, first, WEFT_OK, 0);
    weft_message_t second = harness_expect(h, BACK, 1, WEFT_REQUEST);
    assert_int_equal(second.ttl_ms, 700);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_reply(h, 1, second.id, WEFT_OK, 0);
    assert_int_equal(harness_expect_reply(h, 5, 2, WEFT_OK, NULL).load, 300000);
    harness_free(h);
}

static void
test_expired_in_the_queue_is_never_handed_out(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_request(h, 5, 2, "echo", "echo", 100);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_wait(h, 100);
    harness_expect_reply(h, 5, 2, WEFT_DEADLINE_EXCEEDED, "no");
    harness_reply(h, 1, first, WEFT_OK, 0);
    harness_expect_nothing(h, BACK, 1);
    harness_free(h);
}

/* The reply that frees the credit comes at the very moment of the deadline, before any tick. */
static void
test_due_request_is_not_handed_out_even_without_a_tick(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_request(h, 5, 2, "echo", "echo", 100);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    h->now_us += 100000;
    harness_reply(h, 1, first, WEFT_OK, 0);
    harness_expect_nothing(h, BACK, 1);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_expect_reply(h, 5, 2, WEFT_DEADLINE_EXCEEDED, "no");
    harness_free(h);
}

static void
test_unknown_service_and_method_are_refused_at_once(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "no");
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 2, "echo", "other", 1000);
    harness_expect_reply(h, 5, 2, WEFT_UNIMPLEMENTED, "no");
    harness_expect_nothing(h, BACK, 1);
    harness_free(h);
}

static void
test_full_queue_refuses_with_a_time_to_wait(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.queue_max = 3;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 1);
    for (uint64_t id = 1; id <= 5; id++)
        harness_request(h, 5, id, "echo", "echo", 1000);
    weft_message_t reply = harness_expect_reply(h, 5, 5, WEFT_RESOURCE_EXHAUSTED, "no");
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_in_range(weft_mp_get_uint(error.details, "retry_after_ms", 0), 1, 5000);
    assert_int_equal(dispatcher_queued(h->dispatcher), 3);
    harness_free(h);
}

static void
test_queue_is_bounded_in_bytes(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.queue_bytes_max = 100000;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    const harness_call_t large = {
        .service = "echo", .method = "echo", .ttl_ms = 1000, .priority = 1, .body_size = 40000
    };
    harness_call(h, 5, 2, &large);
    harness_call(h, 5, 3, &large);
    assert_true(dispatcher_bytes(h->dispatcher) > 80000);
    harness_call(h, 5, 4, &large);
    harness_expect_reply(h, 5, 4, WEFT_RESOURCE_EXHAUSTED, "no");
    harness_free(h);
}

/* Two of six credits; the rest waits, whoever of the workers has room, and a retry waits as well. */
static void
test_no_more_than_the_limit_of_a_service_is_at_workers(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    char why[80];
    assert_true(limits_parse(&config.limits, "echo=2", why, sizeof why));
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo!", 3);
    harness_ready(h, 2, "echo", "echo!", 3);
    harness_ready(h, 2, "other", "echo", 3);
    for (uint64_t id = 1; id <= 4; id++)
        harness_request(h, 5, id, "echo", "echo", 60000);
    const uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    const uint64_t second = harness_expect(h, BACK, 2, WEFT_REQUEST).id;
    assert_int_equal(dispatcher_queued(h->dispatcher), 2);
    harness_expect_nothing(h, BACK, 1);
    harness_expect_nothing(h, BACK, 2);
    for (uint64_t id = 11; id <= 13; id++) { /* what others may is not touched */
        harness_request(h, 5, id, "other", "echo", 60000);
        harness_expect(h, BACK, 2, WEFT_REQUEST);
    }
    harness_reply(h, 1, first, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    assert_int_equal(dispatcher_queued(h->dispatcher), 1);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_reply(h, 2, second, WEFT_OK, 0);
    harness_expect_reply(h, 5, 2, WEFT_OK, NULL);
    assert_int_equal(dispatcher_queued(h->dispatcher), 0);
    harness_request(h, 5, 5, "echo", "echo", 60000);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(dispatcher_queued(h->dispatcher), 1);
    /* Cancelled, but still at its worker: it counts until that has answered. */
    harness_say(h, FRONT, 5, WEFT_CANCEL, 3, 0);
    assert_int_equal(dispatcher_queued(h->dispatcher), 1);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    assert_int_equal(dispatcher_queued(h->dispatcher), 0);
    harness_free(h);
}

static void
test_full_worker_is_passed_over_for_a_while(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready(h, 2, "echo", "echo", 4);
    h->peers[BACK][1] = PEER_FULL;
    for (uint64_t id = 1; id <= 4; id++) {
        harness_request(h, 5, id, "echo", "echo", 1000);
        harness_expect(h, BACK, 2, WEFT_REQUEST);
    }
    harness_request(h, 5, 5, "echo", "echo", 1000);
    assert_int_equal(dispatcher_queued(h->dispatcher), 1);
    h->peers[BACK][1] = PEER_WELL;
    harness_wait(h, 50);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    assert_int_equal(harness_counter(h, "pipe_full", "side=\"worker\""), 1);
    harness_free(h);
}

static void
test_request_refused_by_a_dead_worker_goes_to_another(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready(h, 2, "echo", "echo", 4);
    h->peers[BACK][1] = PEER_GONE;
    harness_request(h, 5, 1, "echo", "echo", 1000);
    uint64_t id = harness_expect(h, BACK, 2, WEFT_REQUEST).id;
    harness_reply(h, 2, id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_wait(h, 50);
    assert_int_equal(dispatcher_workers(h->dispatcher), 1);
    assert_int_equal(harness_counter(h, "retries", ""), 0); /* it never reached the first */
    harness_free(h);
}

static void
test_methods_of_a_rollout_go_to_workers_that_have_them(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get", 2);
    harness_ready_version(h, 2, "notes", "1.1.0", "get,search", 1);
    harness_expect(h, BACK, 2, WEFT_REPLY);
    harness_request(h, 5, 1, "notes", "search", 1000);
    harness_request(h, 5, 2, "notes", "search", 1000);
    uint64_t id = harness_expect(h, BACK, 2, WEFT_REQUEST).id;
    harness_expect_nothing(h, BACK, 1);
    assert_int_equal(dispatcher_queued(h->dispatcher), 1);
    harness_request(h, 5, 3, "notes", "get", 1000); /* is not held up by the search before it */
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_REQUEST).ttl_ms, 1000);
    harness_reply(h, 2, id, WEFT_OK, 0);
    harness_expect(h, BACK, 2, WEFT_REQUEST);
    /* The new worker leaves again: nobody has the method that one request waits for. */
    harness_request(h, 5, 4, "notes", "search", 1000);
    harness_say(h, BACK, 2, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_expect_reply(h, 5, 2, WEFT_UNAVAILABLE, "maybe");
    harness_expect_reply(h, 5, 4, WEFT_UNIMPLEMENTED, "no");
    harness_free(h);
}

/* A rollout says that a method may be done twice.  The request was tried at the new worker, which was full
 * and left; the old one that gets it never promised that. */
static void
test_method_is_what_its_worker_says(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready_version(h, 2, "echo", "1.0.0", "put", 1);
    harness_expect(h, BACK, 2, WEFT_REPLY);
    harness_request(h, 5, 1, "echo", "put", 60000);
    const uint64_t first = harness_expect(h, BACK, 2, WEFT_REQUEST).id;
    harness_ready_version(h, 1, "echo", "1.1.0", "put!", 1);
    h->peers[BACK][1] = PEER_FULL;
    harness_request(h, 5, 2, "echo", "put", 60000);
    harness_say(h, BACK, 1, WEFT_BYE, 9, 0);
    harness_reply(h, 2, first, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_expect(h, BACK, 2, WEFT_REQUEST);
    harness_say(h, BACK, 2, WEFT_BYE, 9, 0);
    harness_expect_reply(h, 5, 2, WEFT_UNAVAILABLE, "maybe");
    harness_free(h);
}

static void
test_affinity_finds_the_same_worker_while_it_has_credit(void **state)
{
    (void) state;
    harness_t *h = s_new();
    for (uint32_t worker = 1; worker <= 5; worker++)
        harness_ready(h, worker, "echo", "echo", 3);
    const harness_call_t call = {
        .service = "echo", .method = "echo", .ttl_ms = 1000, .priority = 1, .affinity = "user-7"
    };
    uint32_t chosen[4] = { 0 };
    for (uint64_t id = 0; id < 4; id++) {
        harness_call(h, 5, id, &call);
        weft_message_t message;
        for (uint32_t worker = 1; worker <= 5; worker++)
            if (harness_take_any(h, BACK, worker, &message, NULL))
                chosen[id] = worker;
    }
    assert_int_equal(chosen[0], chosen[1]);
    assert_int_equal(chosen[0], chosen[2]);
    assert_int_not_equal(chosen[0], chosen[3]); /* three credits */
    harness_free(h);
}

static void
test_service_without_worker_waits_a_little(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_expect_nothing(h, FRONT, 5);
    harness_wait(h, 999);
    harness_expect_nothing(h, FRONT, 5);
    harness_request(h, 5, 2, "echo", "echo", 5000);
    harness_wait(h, 1);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "no");
    harness_ready(h, 2, "echo", "echo", 4); /* the restarted worker finds the other one waiting */
    harness_reply(h, 2, harness_expect(h, BACK, 2, WEFT_REQUEST).id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 2, WEFT_OK, NULL);
    harness_free(h);
}

static void
test_service_is_forgotten_after_a_while(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_wait(h, 9999);
    assert_int_equal(dispatcher_services(h->dispatcher), 1);
    harness_wait(h, 1);
    assert_int_equal(dispatcher_services(h->dispatcher), 0);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "no");
    harness_free(h);
}

static void
test_waiting_requests_fail_when_the_last_worker_stays_away(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 60000);
    harness_request(h, 5, 2, "echo", "echo", 60000);
    harness_wait(h, 2000);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    harness_wait(h, 999);
    harness_expect_nothing(h, FRONT, 5);
    harness_wait(h, 1);
    harness_expect_reply(h, 5, 2, WEFT_UNAVAILABLE, "no");
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_reaches_the_worker_and_the_reply_its_client),
        cmocka_unit_test(test_partials_go_before_the_final_reply),
        cmocka_unit_test(test_without_credit_requests_wait_and_time_is_taken_off),
        cmocka_unit_test(test_expired_in_the_queue_is_never_handed_out),
        cmocka_unit_test(test_due_request_is_not_handed_out_even_without_a_tick),
        cmocka_unit_test(test_unknown_service_and_method_are_refused_at_once),
        cmocka_unit_test(test_full_queue_refuses_with_a_time_to_wait),
        cmocka_unit_test(test_queue_is_bounded_in_bytes),
        cmocka_unit_test(test_no_more_than_the_limit_of_a_service_is_at_workers),
        cmocka_unit_test(test_full_worker_is_passed_over_for_a_while),
        cmocka_unit_test(test_request_refused_by_a_dead_worker_goes_to_another),
        cmocka_unit_test(test_methods_of_a_rollout_go_to_workers_that_have_them),
        cmocka_unit_test(test_method_is_what_its_worker_says),
        cmocka_unit_test(test_affinity_finds_the_same_worker_while_it_has_credit),
        cmocka_unit_test(test_service_without_worker_waits_a_little),
        cmocka_unit_test(test_service_is_forgotten_after_a_while),
        cmocka_unit_test(test_waiting_requests_fail_when_the_last_worker_stays_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
