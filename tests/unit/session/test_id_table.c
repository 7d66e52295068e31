/* The table agrees with a plain array through random adding and removing. */
#include "fixture.h"

#include <weft/clock.h>

#include "session/id_table.h"

enum { IDS = 400 };

static void
test_agrees_with_an_array(void **state)
{
    (void) state;
    id_table_t table = { .seed = 3 };
    bool present[IDS] = { false };
    weft_rng_t rng;
    weft_rng_seed(&rng, 11);
    uint32_t slot;
    assert_false(id_table_find(&table, 1, &slot));
    id_table_remove(&table, 1);
    for (unsigned round = 0; round < 20000; round++) {
        const uint32_t i = (uint32_t) weft_rng_below(&rng, IDS);
        const uint64_t id = (uint64_t) i << 32 | 5;
        assert_int_equal(id_table_find(&table, id, &slot), present[i]);
        if (present[i])
            assert_int_equal(slot, i);
        if (!present[i])
            assert_true(id_table_add(&table, id, i));
        else
            id_table_remove(&table, id);
        present[i] = !present[i];
    }
    for (uint32_t i = 0; i < IDS; i++)
        assert_int_equal(id_table_find(&table, (uint64_t) i << 32 | 5, &slot), present[i]);
    id_table_fini(&table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_agrees_with_an_array) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
