/* test_drain - the pace of what waits */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/drain.h"

/* `count` leave, one each step_us. */
static int64_t
s_leave(drain_t *drain, int64_t now_us, int count, int64_t step_us)
{
    for (int i = 0; i < count; i++) {
        now_us += step_us;
        drain_leave(drain, now_us);
    }
    return now_us;
}

static void
test_nothing_is_known_at_first(void **state)
{
    (void) state;
    drain_t drain = { 0 };
    drain_begin(&drain);
    assert_int_equal(drain_us(&drain, 1000), 0);
    int64_t now_us = s_leave(&drain, 1000000, 4, 100000);
    assert_int_equal(drain_us(&drain, 1000), 0); /* three times between four */
    (void) s_leave(&drain, now_us, 1, 100000);
    assert_int_equal(drain_us(&drain, 10), 1000000);
    drain_forget(&drain);
    assert_int_equal(drain_us(&drain, 10), 0);
}

/* How long the first waited is not how far apart they leave; what was before nothing waited does not count.
 */
static void
test_only_the_time_between_two_that_wait_counts(void **state)
{
    (void) state;
    drain_t drain = { 0 };
    int64_t now_us = 1000000;
    for (int i = 0; i < 20; i++) {
        drain_begin(&drain);
        assert_int_equal(drain_us(&drain, 1000), 0);
        now_us = s_leave(&drain, now_us + 5000000, 30, 2000 + i);
        assert_in_range(drain_us(&drain, 1000), 1999000, 2021000);
    }
}

static void
test_batches_are_no_pace_of_zero(void **state)
{
    (void) state;
    drain_t drain = { 0 };
    int64_t now_us = 1000000;
    drain_begin(&drain);
    for (int i = 0; i < 40; i++) {
        now_us += 16000;
        (void) s_leave(&drain, now_us, 16, 0);
        if (i > 8)
            assert_in_range(drain_us(&drain, 1000), 800000, 1300000);
    }
}

static void
test_rises_slowly_and_falls_at_once_when_much_changed(void **state)
{
    (void) state;
    drain_t drain = { 0 };
    drain_begin(&drain);
    int64_t now_us = s_leave(&drain, 1000000, 5, 100000);
    assert_int_equal(drain.pace_ns, 100000000);
    now_us = s_leave(&drain, now_us, 4, 500000);
    assert_int_equal(drain.pace_ns, 200000000);
    now_us = s_leave(&drain, now_us, 4, 160000);
    assert_int_equal(drain.pace_ns, 190000000);
    (void) s_leave(&drain, now_us, 50, 1000);
    assert_int_equal(drain.pace_ns, 1000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known_at_first),
        cmocka_unit_test(test_only_the_time_between_two_that_wait_counts),
        cmocka_unit_test(test_batches_are_no_pace_of_zero),
        cmocka_unit_test(test_rises_slowly_and_falls_at_once_when_much_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
