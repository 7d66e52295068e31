/* histogram: every duration falls into a bucket that is narrow enough, and percentiles are those of the list
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/clock.h>

#include "cli/histogram.h"

static void
test_an_empty_one_is_zero(void **state)
{
    (void) state;
    histogram_t histogram;
    histogram_init(&histogram);
    assert_int_equal(histogram_at(&histogram, 0.5), 0);
    assert_int_equal(histogram_at(&histogram, 1), 0);
}

static void
test_one_value_is_every_percentile(void **state)
{
    (void) state;
    static const int64_t VALUES[] = { 0, 1, 127, 128, 129, 255, 256, 1000, 1000000, INT64_C(1) << 38 };
    for (size_t i = 0; i < sizeof VALUES / sizeof VALUES[0]; i++) {
        histogram_t histogram;
        histogram_init(&histogram);
        histogram_add(&histogram, VALUES[i]);
        assert_int_equal(histogram_at(&histogram, 0), VALUES[i]);
        assert_int_equal(histogram_at(&histogram, 0.5), VALUES[i]);
        assert_int_equal(histogram_at(&histogram, 1), VALUES[i]);
        assert_int_equal(histogram.min_us, VALUES[i]);
        assert_int_equal(histogram.max_us, VALUES[i]);
    }
}

static int
s_compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void
test_percentiles_are_within_two_percent(void **state)
{
    (void) state;
    enum { COUNT = 20000 };
    static int64_t values[COUNT];
    static const double SHARES[] = { 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1 };
    weft_rng_t rng;
    weft_rng_seed(&rng, 7);
    histogram_t histogram;
    histogram_init(&histogram);
    for (int i = 0; i < COUNT; i++) {
        values[i] = (int64_t) weft_rng_below(&rng, UINT64_C(1) << (1 + weft_rng_below(&rng, 36)));
        histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof values[0], s_compare);
    for (size_t i = 0; i < sizeof SHARES / sizeof SHARES[0]; i++) {
        int64_t exact = values[(size_t) (SHARES[i] * COUNT) - 1];
        assert_in_range(histogram_at(&histogram, SHARES[i]), exact, exact + exact / 50);
    }
}

static void
test_extremes_do_not_overflow(void **state)
{
    (void) state;
    histogram_t histogram;
    histogram_init(&histogram);
    histogram_add(&histogram, -5); /* a clock that ran backwards */
    histogram_add(&histogram, INT64_MAX);
    assert_int_equal(histogram.count, 2);
    assert_int_equal(histogram_at(&histogram, 0.5), 0);
    assert_in_range(histogram_at(&histogram, 1), UINT64_C(1) << 40, INT64_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_one_is_zero),
        cmocka_unit_test(test_one_value_is_every_percentile),
        cmocka_unit_test(test_percentiles_are_within_two_percent),
        cmocka_unit_test(test_extremes_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
