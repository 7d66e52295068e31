/* When memory is worth giving back, and that it is. */
#include "unit/runtime/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/metrics_process.h"
#include "runtime/trim.h"

enum { MIB = 1 << 20 };

static void
test_due_only_beyond_what_is_usual(void **state)
{
    (void) state;
    trim_t trim = { 0 };
    assert_false(trim_due(&trim, 100 * MIB, 5));
    assert_false(trim_due(&trim, 900 * MIB, 6)); /* looked a moment ago */
    assert_false(trim_due(&trim, 100 * MIB + TRIM_WORTH - 1, 5 + TRIM_EVERY_MS));
    assert_true(trim_due(&trim, 100 * MIB + TRIM_WORTH, 5 + 2 * TRIM_EVERY_MS));
    trim_done(&trim, 100 * MIB + TRIM_WORTH, 90 * MIB, 5 + 2 * TRIM_EVERY_MS);
    assert_false(trim_due(&trim, 89 * MIB + TRIM_WORTH, 5 + 3 * TRIM_EVERY_MS));
    assert_true(trim_due(&trim, 90 * MIB + TRIM_WORTH, 5 + 4 * TRIM_EVERY_MS));
}

static void
test_what_is_in_use_is_looked_at_less_often(void **state)
{
    (void) state;
    trim_t trim = { 0 };
    int64_t now_ms = 1000;
    assert_false(trim_due(&trim, 10 * MIB, now_ms));
    unsigned trims = 0;
    for (int64_t end_ms = now_ms + 600000; now_ms < end_ms; now_ms += 250) {
        if (trim_due(&trim, 500 * MIB, now_ms)) {
            trims++;
            trim_done(&trim, 500 * MIB, 499 * MIB, now_ms);
        }
    }
    assert_in_range(trims, 10, 20);
    now_ms += TRIM_EVERY_MAX_MS;
    assert_true(trim_due(&trim, 500 * MIB, now_ms)); /* and once it helps, as often as before */
    trim_done(&trim, 500 * MIB, 20 * MIB, now_ms);
    assert_true(trim_due(&trim, 500 * MIB, now_ms + TRIM_EVERY_MS));
}

static void
test_gives_back(void **state)
{
    (void) state;
    enum { COUNT = 40000, SIZE = 2000 };
    static char *blocks[COUNT];
    trim_t trim = { 0 };
    trim_look(&trim, 1000);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(SIZE);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, SIZE);
    }
    for (size_t i = 0; i + 1 < COUNT; i++) {
        free(blocks[i]); /* below one that lives */
    }
    const int64_t before = metrics_process_resident();
    assert_true(before > (int64_t) COUNT * SIZE);
    trim_look(&trim, 1000 + TRIM_EVERY_MS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose malloc gives nothing back */
    assert_true(metrics_process_resident() < before / 2);
#endif
    free(blocks[COUNT - 1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_due_only_beyond_what_is_usual),
                                        cmocka_unit_test(test_what_is_in_use_is_looked_at_less_often),
                                        cmocka_unit_test(test_gives_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
