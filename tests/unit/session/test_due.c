/* The heap gives what is due in order, however it was set, moved and cleared. */
#include "fixture.h"

#include <weft/clock.h>

#include "session/due.h"

enum { ITEMS = 300 };

static void
test_pops_in_order_after_random_moves(void **state)
{
    (void) state;
    static due_t items[ITEMS];
    static int64_t at[ITEMS];
    due_heap_t heap = { 0 };
    weft_rng_t rng;
    weft_rng_seed(&rng, 7);
    assert_true(due_heap_reserve(&heap, ITEMS));
    for (unsigned round = 0; round < 5000; round++) {
        const uint64_t i = weft_rng_below(&rng, ITEMS);
        if (weft_rng_below(&rng, 3) == 0) {
            due_heap_clear(&heap, &items[i]);
        } else {
            at[i] = (int64_t) weft_rng_below(&rng, 1000);
            due_heap_set(&heap, &items[i], at[i]);
        }
        due_heap_check(&heap);
    }
    assert_null(due_heap_pop(&heap, -1));
    int64_t last = -1;
    uint32_t left = heap.count;
    for (due_t *due; (due = due_heap_pop(&heap, 1000)) != NULL; left--) {
        assert_true(at[due - items] >= last);
        last = at[due - items];
        assert_int_equal(due->place, 0);
    }
    assert_int_equal(left, 0);
    assert_true(due_heap_next(&heap) == INT64_MAX);
    due_heap_fini(&heap);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pops_in_order_after_random_moves) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
