/* test_front - what clients say */
#include "unit/broker/harness.h"

#include <string.h>

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
test_ping_is_answered_with_the_epoch(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_say(h, FRONT, 5, WEFT_PING, 33, 0);
    weft_message_t pong = harness_expect(h, FRONT, 5, WEFT_PONG);
    assert_int_equal(pong.id, 33);
    assert_int_equal(pong.epoch, 77);
    harness_free(h);
}

static void
test_client_that_pinged_and_fell_silent_is_gone(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_say(h, FRONT, 5, WEFT_PING, 1, 0);
    harness_request(h, 5, 1, "echo", "echo", 60000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    for (int i = 0; i < 4; i++) {
        harness_wait(h, 1000);
        harness_say(h, BACK, 1, WEFT_PING, 1, 1);
        harness_expect(h, BACK, 1, i < 3 ? WEFT_PONG : WEFT_CANCEL);
    }
    (void) id;
    assert_int_equal(dispatcher_clients(h->dispatcher), 0);
    harness_free(h);
}

/* It may only have been stopped: then it waits for answers that nobody will send. */
static void
test_client_that_is_given_up_is_told(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_say(h, FRONT, 5, WEFT_PING, 1, 0);
    harness_expect(h, FRONT, 5, WEFT_PONG);
    harness_wait(h, 3999);
    harness_expect_nothing(h, FRONT, 5);
    harness_wait(h, 1);
    harness_expect(h, FRONT, 5, WEFT_BYE);
    harness_expect_nothing(h, FRONT, 5);
    harness_free(h);
}

static uint64_t
s_retry_after_ms(harness_t *h, uint64_t id)
{
    weft_error_body_t error;
    harness_request(h, 5, id, "nobody", "echo", 1000);
    weft_message_t reply = harness_expect_reply(h, 5, id, WEFT_UNAVAILABLE, "no");
    weft_error_body_read(reply.body, &error);
    return weft_mp_get_uint(error.details, "retry_after_ms", 0);
}

static void
test_young_broker_does_not_know_yet(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_wait(h, 1);
    assert_int_equal(s_retry_after_ms(h, 1), 200);
    harness_wait(h, 2990);
    assert_int_equal(s_retry_after_ms(h, 2), 200);
    harness_wait(h, 10);
    assert_int_equal(s_retry_after_ms(h, 3), 0);
    harness_free(h);
}

static void
test_client_that_never_pings_keeps_its_requests(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 1, "echo", "echo", 100000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    for (int i = 0; i < 90; i++) {
        harness_wait(h, 1000);
        harness_say(h, BACK, 1, WEFT_PONG, 0, 0);
    }
    harness_reply(h, 1, id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_free(h);
}

static void
test_silent_client_without_requests_is_forgotten(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_request(h, 5, 1, "nobody", "echo", 1000);
    assert_int_equal(dispatcher_clients(h->dispatcher), 1);
    harness_wait(h, 59999);
    assert_int_equal(dispatcher_clients(h->dispatcher), 1);
    harness_wait(h, 1);
    assert_int_equal(dispatcher_clients(h->dispatcher), 0);
    harness_free(h);
}

static void
test_waiting_clients_are_probed_but_never_a_req_socket(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_call_t call = { .service = "echo", .method = "echo", .ttl_ms = 100000 };
    harness_call(h, 5, 1, &call);
    call.framed = true;
    harness_call(h, 6, 1, &call);
    harness_wait(h, 1100);
    weft_message_t message;
    int probes = 0;
    while (harness_take_any(h, FRONT, 5, &message, NULL))
        probes += message.kind == WEFT_PING;
    assert_int_equal(probes, 4);
    for (int i = 0; i < 70; i++) { /* longer than a silent client without requests would be remembered */
        harness_wait(h, 1000);
        harness_say(h, BACK, 1, WEFT_PONG, 0, 0);
    }
    assert_false(harness_take_any(h, FRONT, 6, &message, NULL));
    harness_free(h);
}

static void
test_req_socket_gets_its_delimiter_back(void **state)
{
    (void) state;
    harness_t *h = s_new();
    weft_message_t message;
    peer_t to;
    harness_ready(h, 1, "echo", "echo", 4);
    const harness_call_t call = { .service = "echo", .method = "echo", .ttl_ms = 1000, .framed = true };
    harness_call(h, 6, 1, &call);
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    assert_true(harness_take_any(h, FRONT, 6, &message, &to));
    assert_true(to.framed);
    harness_request(h, 7, 1, "echo", "echo", 1000);
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    assert_true(harness_take_any(h, FRONT, 7, &message, &to));
    assert_false(to.framed);
    harness_free(h);
}

static void
test_id_in_flight_already_is_dropped(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 6, 1, "echo", "echo", 1000); /* the same id of another client is another request */
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_expect_nothing(h, BACK, 1);
    assert_int_equal(harness_counter(h, "dropped", "reason=\"duplicate_id\""), 1);
    harness_free(h);
}

static void
test_bye_of_a_client_cancels_its_requests(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 5, 2, "echo", "echo", 1000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_say(h, FRONT, 5, WEFT_BYE, 0, 0);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, id);
    harness_expect_nothing(h, FRONT, 5);
    harness_free(h);
}

static void
test_more_clients_than_allowed_are_answered(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.clients_max = 2;
    harness_t *h = harness_new(&config);
    for (uint32_t client = 1; client <= 3; client++)
        harness_request(h, client, 9, "nobody", "echo", 1000);
    harness_expect_reply(h, 1, 9, WEFT_UNAVAILABLE, "no");
    harness_expect_reply(h, 2, 9, WEFT_UNAVAILABLE, "no");
    harness_expect_reply(h, 3, 9, WEFT_RESOURCE_EXHAUSTED, "no");
    harness_say(h, FRONT, 4, WEFT_PING, 1, 0);
    harness_expect_nothing(h, FRONT, 4);
    assert_int_equal(harness_counter(h, "clients_refused", ""), 2);
    harness_free(h);
}

static void
test_more_requests_than_slots_are_refused(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    config.in_flight_max = 3;
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 100);
    for (uint64_t id = 1; id <= 4; id++)
        harness_request(h, 5, id, "echo", "echo", 1000);
    harness_expect_reply(h, 5, 4, WEFT_RESOURCE_EXHAUSTED, "no");
    harness_free(h);
}

static void
test_kinds_of_the_other_side_are_dropped(void **state)
{
    (void) state;
    harness_t *h = s_new();
    const weft_kind_t kinds[] = { WEFT_REPLY, WEFT_DRAIN, WEFT_WHO };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        harness_say(h, FRONT, 5, kinds[i], 1, 0);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "dropped", "reason=\"unknown_kind\""), 3);
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ping_is_answered_with_the_epoch),
        cmocka_unit_test(test_client_that_pinged_and_fell_silent_is_gone),
        cmocka_unit_test(test_client_that_is_given_up_is_told),
        cmocka_unit_test(test_young_broker_does_not_know_yet),
        cmocka_unit_test(test_client_that_never_pings_keeps_its_requests),
        cmocka_unit_test(test_silent_client_without_requests_is_forgotten),
        cmocka_unit_test(test_waiting_clients_are_probed_but_never_a_req_socket),
        cmocka_unit_test(test_req_socket_gets_its_delimiter_back),
        cmocka_unit_test(test_id_in_flight_already_is_dropped),
        cmocka_unit_test(test_bye_of_a_client_cancels_its_requests),
        cmocka_unit_test(test_more_clients_than_allowed_are_answered),
        cmocka_unit_test(test_more_requests_than_slots_are_refused),
        cmocka_unit_test(test_kinds_of_the_other_side_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
