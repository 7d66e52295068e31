/* Keys of the past find nothing; the maximum holds. */
#include "fixture.h"

#include "session/slots.h"

typedef struct {
    slots_item_t head;
    int number;
} item_t;

static void
test_old_key_finds_nothing(void **state)
{
    (void) state;
    slots_t slots;
    assert_true(slots_init(&slots, sizeof(item_t), 100, UINT32_MAX));
    item_t *item = slots_take(&slots);
    item->number = 5;
    const uint64_t key = slots_key(item);
    assert_true(key != 0);
    assert_ptr_equal(slots_find(&slots, key), item);
    slots_give(&slots, item);
    assert_null(slots_find(&slots, key));
    item_t *again = slots_take(&slots);
    assert_ptr_equal(again, item);
    assert_int_equal(again->number, 0);
    assert_true(slots_key(again) != key);
    assert_true(again->head.generation != 0); /* it wrapped */
    assert_null(slots_find(&slots, key));
    assert_null(slots_find(&slots, UINT64_MAX));
    slots_fini(&slots);
}

static void
test_maximum_holds_and_items_stay_put(void **state)
{
    (void) state;
    slots_t slots;
    item_t *items[100];
    assert_true(slots_init(&slots, sizeof(item_t), 100, 1));
    for (int i = 0; i < 100; i++) {
        items[i] = slots_take(&slots);
        assert_non_null(items[i]);
        items[i]->number = i;
    }
    assert_null(slots_take(&slots));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(items[i]->number, i);
        assert_ptr_equal(slots_find(&slots, slots_key(items[i])), items[i]);
        slots_give(&slots, items[i]);
    }
    assert_int_equal(slots.used, 0);
    assert_null(slots_at(&slots, 0));
    slots_fini(&slots);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_old_key_finds_nothing),
                                        cmocka_unit_test(test_maximum_holds_and_items_stay_put) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
