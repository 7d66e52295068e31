/* test_table - the table against a plain array */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <weft/clock.h>

#include "broker/hash.h"
#include "broker/table.h"

enum { COUNT = 500 };

/* Keys with few low bits, so that they collide and wrap around. */
static uint64_t
s_key(size_t i)
{
    return hash_mix(i) << 7 | (i % 3);
}

static void
test_random_changes_agree_with_an_array(void **state)
{
    (void) state;
    table_t table;
    bool in[COUNT] = { false };
    char items[COUNT];
    weft_rng_t rng;
    uint32_t count = 0;
    table_init(&table);
    weft_rng_seed(&rng, 6);
    for (int step = 0; step < 20000; step++) {
        size_t i = weft_rng_below(&rng, COUNT);
        if (in[i]) {
            table_remove(&table, s_key(i));
            count--;
        } else {
            assert_true(table_add(&table, s_key(i), &items[i]));
            count++;
        }
        in[i] = !in[i];
        assert_int_equal(table.count, count);
        size_t j = weft_rng_below(&rng, COUNT);
        assert_ptr_equal(table_find(&table, s_key(j)), in[j] ? &items[j] : NULL);
        if (step % 1000 == 0)
            for (j = 0; j < COUNT; j++)
                assert_ptr_equal(table_find(&table, s_key(j)), in[j] ? &items[j] : NULL);
    }
    table_remove(&table, 12345678); /* not in it */
    for (size_t i = 0; i < COUNT; i++)
        if (in[i])
            table_remove(&table, s_key(i));
    assert_int_equal(table_bytes(&table), 0); /* empty: the memory is back */
    table_remove(&table, 1);
    assert_null(table_find(&table, 1));
    table_fini(&table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_changes_agree_with_an_array) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
