/* test_engine_weights - turns are shared 8:4:2:1, and nobody starves */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jobs/engine_weights.h"

static void
test_turns_are_shared_by_weight(void **state)
{
    (void) state;
    weights_t weights = { 0 };
    uint32_t turns[JOB_PRIORITIES] = { 0 };
    for (int i = 0; i < 1500; i++)
        turns[weights_pick(&weights, 0xf)]++;
    assert_int_equal(turns[0], 800);
    assert_int_equal(turns[1], 400);
    assert_int_equal(turns[2], 200);
    assert_int_equal(turns[3], 100);
}

static void
test_the_lowest_comes_within_a_round(void **state)
{
    (void) state;
    weights_t weights = { 0 };
    int since = 0;
    for (int i = 0; i < 1000; i++) {
        since = weights_pick(&weights, 0x9) == 3 ? 0 : since + 1;
        assert_true(since <= 9);
    }
}

static void
test_what_one_does_not_use_goes_to_others(void **state)
{
    (void) state;
    weights_t weights = { 0 };
    for (int i = 0; i < 100; i++)
        assert_int_equal(weights_pick(&weights, 0x8), 3);
    /* And it has no debt from that. */
    uint32_t turns[JOB_PRIORITIES] = { 0 };
    for (int i = 0; i < 60; i++)
        turns[weights_pick(&weights, 0xf)]++;
    assert_in_range(turns[3], 3, 5);
}

static void
test_a_deal_is_as_many_picks(void **state)
{
    (void) state;
    weights_t weights = { 0 };
    uint32_t shares[JOB_PRIORITIES];
    weights_deal(&weights, 0x5, 20, shares);
    assert_int_equal(shares[0], 16);
    assert_int_equal(shares[2], 4);
    assert_int_equal(shares[1] + shares[3], 0);
    uint32_t sums[JOB_PRIORITIES] = { 0 };
    for (int i = 0; i < 150; i++) {
        weights_deal(&weights, 0xf, 1, shares);
        for (int j = 0; j < JOB_PRIORITIES; j++)
            sums[j] += shares[j];
    }
    assert_in_range(sums[3], 8, 11);
}

static void
test_a_share_is_at_least_one(void **state)
{
    (void) state;
    assert_int_equal(weights_share(0x8, 0, 90), 80);
    assert_int_equal(weights_share(0x1, 3, 90), 10);
    assert_int_equal(weights_share(0x1, 3, 2), 1);
    assert_int_equal(weights_share(0x2, 1, 10), 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_are_shared_by_weight),
        cmocka_unit_test(test_the_lowest_comes_within_a_round),
        cmocka_unit_test(test_what_one_does_not_use_goes_to_others),
        cmocka_unit_test(test_a_deal_is_as_many_picks),
        cmocka_unit_test(test_a_share_is_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
