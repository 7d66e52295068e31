/* test_broker_service - weft.broker: what a broker tells about itself */
#include "unit/broker/harness.h"

static weft_span_t
s_ask(harness_t *h, const char *method)
{
    harness_request(h, 5, 1, "weft.broker", method, 1000);
    weft_message_t reply = harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    const char *why;
    assert_int_equal(weft_wire_check(&reply, &why), WEFT_OK);
    return reply.body;
}

/* The n-th element of the array. */
static weft_span_t
s_element(weft_span_t array, uint32_t n)
{
    weft_mp_t cursor = weft_mp(array);
    weft_mp_token_t token;
    weft_span_t value = { 0 };
    assert_true(weft_mp_next(&cursor, &token));
    assert_int_equal(token.type, WEFT_MP_ARRAY);
    assert_true(n < token.count);
    for (uint32_t i = 0; i <= n; i++)
        assert_true(weft_mp_value(&cursor, &value));
    return value;
}

static void
test_services_workers_and_stats(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    char why[80];
    assert_true(limits_parse(&config.limits, "echo=5", why, sizeof why));
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo,fail", 4);
    harness_ready(h, 2, "echo", "echo,fail", 2);
    harness_request(h, 6, 1, "echo", "echo", 1000);

    weft_span_t body = s_ask(h, "services");
    assert_int_equal(weft_mp_get_uint(body, "epoch", 0), 77);
    weft_span_t service = s_element(weft_mp_get(body, "services"), 0);
    assert_true(weft_span_equal(weft_mp_get_str(service, "name"), WEFT_SPAN("echo")));
    assert_int_equal(weft_mp_get_uint(service, "workers", 0), 2);
    assert_int_equal(weft_mp_get_uint(service, "capacity", 0), 6);
    assert_int_equal(weft_mp_get_uint(service, "outstanding", 0), 1);
    assert_int_equal(weft_mp_get_uint(service, "ejected", 9), 0);
    assert_int_equal(weft_mp_get_uint(service, "slow", 9), 0);
    assert_int_equal(weft_mp_get_uint(service, "limit", 0), 5);
    assert_int_equal(weft_mp_get_uint(service, "refused", 9), 0);
    weft_span_t method;
    assert_true(weft_mp_str(s_element(weft_mp_get(service, "methods"), 1), &method));
    assert_true(weft_span_equal(method, WEFT_SPAN("fail")));

    body = s_ask(h, "workers");
    weft_span_t worker = s_element(weft_mp_get(body, "workers"), 1);
    assert_true(weft_span_equal(weft_mp_get_str(worker, "instance"), WEFT_SPAN("instance-2")));
    service = s_element(weft_mp_get(worker, "services"), 0);
    assert_int_equal(weft_mp_get_uint(service, "capacity", 0), 2);
    assert_true(weft_span_equal(weft_mp_get_str(service, "state"), WEFT_SPAN("well")));
    assert_int_equal(weft_mp_get_uint(service, "time_percent", 0), 100);
    assert_int_equal(weft_mp_get_uint(service, "weight_percent", 0), 100);
    assert_int_equal(weft_mp_get_uint(service, "failing_percent", 9), 0);

    body = s_ask(h, "stats");
    assert_int_equal(weft_mp_get_uint(body, "workers", 0), 2);
    assert_int_equal(weft_mp_get_uint(body, "clients", 0), 2);
    assert_int_equal(weft_mp_get_uint(weft_mp_get(body, "counters"), "registrations", 0), 2);
    assert_int_equal(weft_mp_get_uint(weft_mp_get(body, "counters"), "expired{where=\"queue\"}", 9), 0);
    harness_free(h);
}

static void
test_unknown_method_is_unimplemented(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    harness_t *h = harness_new(&config);
    harness_request(h, 5, 1, "weft.broker", "reboot", 1000);
    harness_expect_reply(h, 5, 1, WEFT_UNIMPLEMENTED, "no");
    harness_free(h);
}

static void
test_drain_answers_first(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    harness_t *h = harness_new(&config);
    harness_ready(h, 1, "echo", "echo", 4);
    (void) s_ask(h, "drain");
    harness_expect(h, FRONT, 5, WEFT_DRAIN);
    harness_expect(h, BACK, 1, WEFT_DRAIN);
    assert_true(dispatcher_draining(h->dispatcher));
    harness_free(h);
}

static void
test_answer_to_a_full_client_is_owed(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    harness_t *h = harness_new(&config);
    h->peers[FRONT][5] = PEER_FULL;
    harness_request(h, 5, 1, "weft.broker", "stats", 1000);
    h->peers[FRONT][5] = PEER_WELL;
    harness_wait(h, 50);
    harness_expect_reply(h, 5, 1, WEFT_RESOURCE_EXHAUSTED, "no");
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_services_workers_and_stats),
        cmocka_unit_test(test_unknown_method_is_unimplemented),
        cmocka_unit_test(test_drain_answers_first),
        cmocka_unit_test(test_answer_to_a_full_client_is_owed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
