/* test_window - what a client has not confirmed to have read is bounded, and PONGs of its marks confirm it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/window.h"

enum { MAX = 8000 };

static void
test_is_full_until_it_is_confirmed(void **state)
{
    (void) state;
    window_t window = { 0 };
    assert_true(window_has_room(&window, 10 * MAX, MAX)); /* one of any size, to who has read all */
    assert_false(window_add(&window, 999, MAX));
    assert_true(window_add(&window, 1, MAX));
    window_mark(&window, 71);
    assert_false(window_add(&window, 999, MAX));
    assert_true(window_has_room(&window, MAX - 1999, MAX));
    assert_false(window_has_room(&window, MAX - 1998, MAX));
    window_confirm(&window, 70);
    assert_false(window_has_room(&window, MAX - 1998, MAX));
    window_confirm(&window, 71);
    assert_true(window_has_room(&window, MAX - 999, MAX));
    assert_false(window_has_room(&window, MAX - 998, MAX));
    window_confirm(&window, 71); /* once */
    assert_false(window_has_room(&window, MAX - 998, MAX));
    window_confirm_all(&window);
    assert_true(window_has_room(&window, 10 * MAX, MAX));
}

static void
test_slow_readers_confirm_the_oldest_marks(void **state)
{
    (void) state;
    window_t window = { 0 };
    for (uint64_t id = 1; id <= 100; id++) { /* probes go on, whatever comes back */
        (void) window_add(&window, 10, MAX);
        window_mark(&window, id);
    }
    assert_int_equal(window.mark_count, WINDOW_MARKS);
    window_confirm(&window, 1);
    assert_int_equal(window.confirmed, 10);
    window_confirm(&window, 3); /* the PONG of the second was lost */
    assert_int_equal(window.confirmed, 30);
    window_confirm(&window, 50); /* replaced */
    assert_int_equal(window.confirmed, 30);
    window_confirm(&window, 100);
    assert_int_equal(window.confirmed, 1000);
    assert_int_equal(window.mark_count, 0);
}

static void
test_one_beyond_the_bound_fills_it(void **state)
{
    (void) state;
    window_t window = { 0 };
    (void) window_add(&window, 3 * MAX, MAX);
    assert_false(window_has_room(&window, 0, MAX));
    window_mark(&window, 1);
    window_confirm(&window, 1);
    assert_true(window_has_room(&window, 0, MAX));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_full_until_it_is_confirmed),
        cmocka_unit_test(test_slow_readers_confirm_the_oldest_marks),
        cmocka_unit_test(test_one_beyond_the_bound_fills_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
