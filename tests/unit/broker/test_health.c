/* test_health - how a worker's times and failures are held against those of the others */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/health.h"

enum { CHEAP, DEAR, SLOW_MAX = 16 };

static void
s_took(health_t *self, health_service_t *service, uint8_t method, int64_t ms, int times)
{
    while (times-- > 0)
        health_took(self, service, method, ms * 1000, 0);
}

static void
test_one_of_which_nothing_is_known_is_as_good_as_any(void **state)
{
    (void) state;
    health_t worker = { 0 };
    health_service_t service = { .compared = 2 };
    health_weigh(&worker, &service, SLOW_MAX, 1000, 0);
    assert_int_equal(worker.penalty, 0);
    assert_int_equal(health_factor(&worker, &service), HEALTH_ONE);
    assert_int_equal(health_capacity(&worker, 7), 7);
    assert_false(health_out(&worker));
}

static void
test_ten_times_as_slow_is_ten_times_the_load(void **state)
{
    (void) state;
    health_t fast = { 0 };
    health_t slow = { 0 };
    health_service_t service = { .compared = 2 };
    for (int i = 0; i < 400; i++) {
        s_took(&fast, &service, CHEAP, 99, 8);
        s_took(&slow, &service, CHEAP, 999, 1);
    }
    service.slowness = fast.slowness.mean;
    health_weigh(&fast, &service, SLOW_MAX, 0, 0);
    health_weigh(&slow, &service, SLOW_MAX, 0, 0);
    assert_int_equal(fast.penalty, 0);
    assert_true(slow.slow);
    assert_in_range(slow.penalty, 8 * HEALTH_ONE, 11 * HEALTH_ONE);
    health_weigh(&slow, &service, 4, 0, 0);
    assert_int_equal(slow.penalty, 3 * HEALTH_ONE);
    health_weigh(&slow, &service, 0, 0, 0); /* off */
    assert_int_equal(slow.penalty, 0);
    assert_false(slow.slow);
}

/* The mix of methods is not the worker's doing. */
static void
test_expensive_methods_do_not_make_a_worker_slow(void **state)
{
    (void) state;
    health_t cheap = { 0 };
    health_t dear = { 0 };
    health_service_t service = { .compared = 2 };
    for (int i = 0; i < 100; i++) {
        s_took(&cheap, &service, CHEAP, 5, 9);
        s_took(&cheap, &service, DEAR, 500, 1);
        s_took(&dear, &service, CHEAP, 5, 1);
        s_took(&dear, &service, DEAR, 500, 9);
    }
    health_weigh(&cheap, &service, SLOW_MAX, 0, 0);
    health_weigh(&dear, &service, SLOW_MAX, 0, 0);
    assert_int_equal(cheap.penalty, 0);
    assert_int_equal(dear.penalty, 0);
    assert_in_range(health_factor(&dear, &service), HEALTH_ONE * 9 / 10, HEALTH_ONE * 11 / 10);
}

static void
test_few_long_ones_weigh_little(void **state)
{
    (void) state;
    health_t worker = { 0 };
    health_t other = { 0 };
    health_service_t service = { .compared = 2 };
    for (int i = 0; i < 50; i++) {
        s_took(&other, &service, CHEAP, 10, 20);
        s_took(&worker, &service, CHEAP, 10, 19);
        s_took(&worker, &service, CHEAP, 10000, 1);
    }
    health_weigh(&worker, &service, SLOW_MAX, 0, 0);
    assert_false(worker.slow);
}

static void
test_below_a_millisecond_all_are_alike(void **state)
{
    (void) state;
    health_t fast = { 0 };
    health_t slow = { 0 };
    health_service_t service = { .compared = 2 };
    for (int i = 0; i < 100; i++) {
        health_took(&fast, &service, CHEAP, 5, 0);
        health_took(&slow, &service, CHEAP, 200, 0); /* forty times as long: the scheduler's noise */
    }
    service.slowness = fast.slowness.mean;
    health_weigh(&slow, &service, SLOW_MAX, 0, 0);
    assert_false(slow.slow);
}

static void
test_few_times_are_no_reason(void **state)
{
    (void) state;
    health_t worker = { 0 };
    health_t other = { 0 };
    health_service_t service = { .compared = 2 };
    s_took(&other, &service, CHEAP, 1, 100);
    s_took(&worker, &service, CHEAP, 1000, HEALTH_TIMES_MIN - 1);
    health_weigh(&worker, &service, SLOW_MAX, 0, 0);
    assert_false(worker.slow);
    s_took(&worker, &service, CHEAP, 1000, 1);
    health_weigh(&worker, &service, SLOW_MAX, 0, 0);
    assert_true(worker.slow);
}

/* It is measured rarely then, so each value counts for more. */
static void
test_a_slow_one_recovers_by_a_few_trials(void **state)
{
    (void) state;
    health_t worker = { 0 };
    health_service_t service = { .compared = 2 };
    health_t other = { 0 };
    int trials = 0;
    s_took(&other, &service, CHEAP, 10, 200);
    s_took(&worker, &service, CHEAP, 100, 50);
    health_weigh(&worker, &service, SLOW_MAX, 0, 0);
    assert_true(worker.slow);
    for (int64_t now_us = 1000000; worker.slow; now_us += 1000000, trials++) {
        s_took(&other, &service, CHEAP, 10, 20);
        health_took(&worker, &service, CHEAP, 10000, now_us);
        health_weigh(&worker, &service, SLOW_MAX, 0, now_us);
    }
    assert_in_range(trials, 2, 10);
}

static void
test_ramp_falls_with_time(void **state)
{
    (void) state;
    health_t worker = { .state = HEALTH_RAMP, .ramp_from = 4 * HEALTH_ONE, .until = 2000 };
    health_service_t service = { .compared = 2 };
    health_weigh(&worker, &service, SLOW_MAX, 1000, 1000);
    assert_int_equal(worker.penalty, 4 * HEALTH_ONE);
    health_weigh(&worker, &service, SLOW_MAX, 1000, 1750);
    assert_int_equal(worker.penalty, HEALTH_ONE);
    health_weigh(&worker, &service, SLOW_MAX, 1000, 2000);
    assert_int_equal(worker.penalty, 0);
}

static void
test_failures_in_a_row_and_their_share(void **state)
{
    (void) state;
    health_t worker = { 0 };
    for (int i = 0; i < 300; i++)
        health_ended(&worker, i % 4 == 3);
    assert_int_equal(worker.streak, 1);
    assert_in_range(worker.failing.mean, HEALTH_POINT / 5, HEALTH_POINT * 3 / 10);
    health_ended(&worker, true);
    assert_int_equal(worker.streak, 2);
    health_ended(&worker, false);
    assert_int_equal(worker.streak, 0);
    health_forget(&worker);
    assert_int_equal(worker.failing.mean, 0);
}

static void
test_whose_fault_a_status_is(void **state)
{
    (void) state;
    const weft_status_t own[] = { WEFT_UNKNOWN, WEFT_DEADLINE_EXCEEDED, WEFT_INTERNAL, WEFT_UNAVAILABLE,
                                  WEFT_DATA_LOSS };
    int count = 0;
    for (int status = WEFT_OK; status <= 16; status++)
        count += health_is_fault((weft_status_t) status);
    assert_int_equal(count, sizeof own / sizeof own[0]);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        assert_true(health_is_fault(own[i]));
}

static void
test_out_is_no_work_or_one_at_a_time(void **state)
{
    (void) state;
    health_t worker = { .state = HEALTH_EJECTED };
    assert_true(health_out(&worker));
    assert_int_equal(health_capacity(&worker, 9), 0);
    worker.state = HEALTH_PROBATION;
    assert_true(health_out(&worker));
    assert_int_equal(health_capacity(&worker, 9), 1);
    assert_int_equal(health_capacity(&worker, 0), 0);
    worker.state = HEALTH_RAMP;
    assert_false(health_out(&worker));
    assert_int_equal(health_capacity(&worker, 9), 9);
}

static void
test_median_is_the_lower_of_two(void **state)
{
    (void) state;
    health_median_t median;
    health_median_init(&median, 0, 1270);
    assert_int_equal(health_median(&median, -1), -1);
    health_median_add(&median, 500);
    assert_in_range(health_median(&median, -1), 490, 500);
    health_median_add(&median, 100);
    assert_in_range(health_median(&median, -1), 90, 100);
    health_median_add(&median, 99999);
    assert_in_range(health_median(&median, -1), 490, 500);
    health_median_add(&median, 99999);
    health_median_add(&median, 99999);
    assert_int_equal(health_median(&median, -1), 1270);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_which_nothing_is_known_is_as_good_as_any),
        cmocka_unit_test(test_ten_times_as_slow_is_ten_times_the_load),
        cmocka_unit_test(test_expensive_methods_do_not_make_a_worker_slow),
        cmocka_unit_test(test_few_long_ones_weigh_little),
        cmocka_unit_test(test_below_a_millisecond_all_are_alike),
        cmocka_unit_test(test_few_times_are_no_reason),
        cmocka_unit_test(test_a_slow_one_recovers_by_a_few_trials),
        cmocka_unit_test(test_ramp_falls_with_time),
        cmocka_unit_test(test_failures_in_a_row_and_their_share),
        cmocka_unit_test(test_whose_fault_a_status_is),
        cmocka_unit_test(test_out_is_no_work_or_one_at_a_time),
        cmocka_unit_test(test_median_is_the_lower_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
