/* test_deadlines - the heap against a plain array */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <weft/clock.h>

#include "runtime/deadlines.h"

enum { COUNT = 300 };

static void
test_first_is_the_nearest(void **state)
{
    (void) state;
    deadlines_t heap = { 0 };
    deadline_t a = { 0 };
    deadline_t b = { 0 };
    assert_true(deadlines_reserve(&heap, 2));
    assert_true(deadlines_next(&heap) == INT64_MAX);
    assert_null(deadlines_pop(&heap, INT64_MAX));
    assert_true(deadlines_at(&heap, &a) == INT64_MAX);
    deadlines_set(&heap, &a, 20);
    deadlines_set(&heap, &b, 10);
    assert_int_equal(deadlines_next(&heap), 10);
    assert_null(deadlines_pop(&heap, 9));
    deadlines_set(&heap, &b, 30);
    assert_int_equal(deadlines_at(&heap, &b), 30);
    assert_ptr_equal(deadlines_pop(&heap, 20), &a);
    deadlines_clear(&heap, &a); /* not set: nothing */
    deadlines_clear(&heap, &b);
    assert_true(deadlines_next(&heap) == INT64_MAX);
    deadlines_fini(&heap);
}

static void
test_random_changes_agree_with_an_array(void **state)
{
    (void) state;
    deadlines_t heap = { 0 };
    deadline_t deadlines[COUNT] = { 0 };
    int64_t at[COUNT];
    weft_rng_t rng;
    weft_rng_seed(&rng, 5);
    for (int i = 0; i < COUNT; i++) {
        at[i] = INT64_MAX;
        assert_true(deadlines_reserve(&heap, (uint32_t) i + 1));
    }
    for (int step = 0; step < 20000; step++) {
        size_t i = weft_rng_below(&rng, COUNT);
        if (weft_rng_below(&rng, 3) == 0) {
            deadlines_clear(&heap, &deadlines[i]);
            at[i] = INT64_MAX;
        } else {
            at[i] = (int64_t) weft_rng_below(&rng, 1000);
            deadlines_set(&heap, &deadlines[i], at[i]);
        }
        if (step % 10 == 0)
            deadlines_check(&heap);
        int64_t nearest = INT64_MAX;
        for (int j = 0; j < COUNT; j++)
            nearest = at[j] < nearest ? at[j] : nearest;
        assert_true(deadlines_next(&heap) == nearest);
    }
    int64_t last = INT64_MIN;
    deadline_t *deadline;
    while ((deadline = deadlines_pop(&heap, 2000)) != NULL) {
        assert_true(at[deadline - deadlines] >= last);
        last = at[deadline - deadlines];
        at[deadline - deadlines] = INT64_MAX;
    }
    for (int i = 0; i < COUNT; i++)
        assert_true(at[i] == INT64_MAX);
    deadlines_fini(&heap);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_is_the_nearest),
        cmocka_unit_test(test_random_changes_agree_with_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
