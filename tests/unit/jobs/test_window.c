/* test_window - grows while workers are free, shrinks when they are not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jobs/window.h"

static void
test_starts_from_its_share_of_the_capacity(void **state)
{
    (void) state;
    window_t window = { 0 };
    window_share(&window, 8, 1);
    assert_int_equal(window.size, 8 + 2 + 8);
    window_share(&window, 8, 2);
    assert_int_equal(window.size, 4 + 1 + 8);
    window_share(&window, 100000, 1);
    assert_int_equal(window.size, WINDOW_MAX);
    window_share(&window, 0, 0);
    assert_int_equal(window.size, 8);
}

static void
test_same_share_keeps_what_was_learned(void **state)
{
    (void) state;
    window_t window = { 0 };
    window_share(&window, 8, 1);
    for (int i = 0; i < 8; i++)
        window_replied(&window, 0, true, 0);
    assert_int_equal(window.size, 19);
    window_share(&window, 8, 1);
    assert_int_equal(window.size, 19);
}

static void
test_grows_only_while_it_is_what_holds_calls_back(void **state)
{
    (void) state;
    window_t window = { 0 };
    window_share(&window, 8, 1);
    for (int i = 0; i < 1000; i++) {
        window_replied(&window, 0, false, 0);
        window_replied(&window, WINDOW_FREE_US, true, 0);
    }
    assert_int_equal(window.size, 18);
    for (int i = 0; i < 100000; i++)
        window_replied(&window, 0, true, 0);
    assert_int_equal(window.size, WINDOW_MAX);
}

static void
test_shrinks_once_per_wait_and_never_to_nothing(void **state)
{
    (void) state;
    window_t window = { 0 };
    window_share(&window, 44, 1);
    assert_int_equal(window.size, 63);
    window_replied(&window, 30000, true, 1000000);
    assert_int_equal(window.size, 56);
    window_replied(&window, 30000, true, 1029999);
    window_refused(&window, 1029999);
    assert_int_equal(window.size, 56);
    window_refused(&window, 1030000);
    assert_int_equal(window.size, 49);
    for (int64_t now = 2000000; now < 20000000; now += 100000)
        window_refused(&window, now);
    assert_int_equal(window.size, 1);
}

static void
test_stock_is_what_was_begun_lately(void **state)
{
    (void) state;
    window_t window = { 0 };
    assert_int_equal(window_stock(&window, 1000000), WINDOW_STOCK_MIN);
    for (int i = 0; i < 40; i++)
        window_begun(&window, 1000000);
    assert_int_equal(window_stock(&window, 1000000), 48);
    window_begun(&window, 1060000);
    assert_int_equal(window_stock(&window, 1060000), 48);
    window_begun(&window, 1120000);
    assert_int_equal(window_stock(&window, 1120000), 9);
    assert_int_equal(window_stock(&window, 1300000), WINDOW_STOCK_MIN);
    for (int i = 0; i < 5000; i++)
        window_begun(&window, 2000000);
    assert_int_equal(window_stock(&window, 2000000), WINDOW_STOCK_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_from_its_share_of_the_capacity),
        cmocka_unit_test(test_same_share_keeps_what_was_learned),
        cmocka_unit_test(test_grows_only_while_it_is_what_holds_calls_back),
        cmocka_unit_test(test_shrinks_once_per_wait_and_never_to_nothing),
        cmocka_unit_test(test_stock_is_what_was_begun_lately),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
