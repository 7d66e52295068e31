/* test_version - the order of semver.org and what is no version; the descriptor vectors have more of those */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/descriptor.h>

static void
test_order_is_that_of_semver(void **state)
{
    (void) state;
    static const char *const ascending[] = {
        "",
        "1.0",
        "not a version", /* no versions: below all that are, by their bytes */
        "0.0.0",
        "0.0.1",
        "0.1.0",
        "1.0.0-0",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.2.0",
        "1.10.0",
        "2.0.0",
        "10.0.0",
        "18446744073709551616.0.0",
        "99999999999999999999.0.0"
    };
    const size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = weft_version_compare(weft_span(ascending[i]), weft_span(ascending[j]));
            if ((order > 0) - (order < 0) != (i > j) - (i < j))
                fail_msg("%s and %s: %d", ascending[i], ascending[j], order);
        }
    }
}

static void
test_build_does_not_count(void **state)
{
    (void) state;
    assert_int_equal(weft_version_compare(WEFT_SPAN("1.0.0+a"), WEFT_SPAN("1.0.0+b.7")), 0);
    assert_int_equal(weft_version_compare(WEFT_SPAN("1.0.0-x+a"), WEFT_SPAN("1.0.0-x")), 0);
}

static void
test_valid(void **state)
{
    (void) state;
    assert_true(weft_version_valid(WEFT_SPAN("1.4.2")));
    assert_true(weft_version_valid(WEFT_SPAN("1.4.2-a.0.0x+001.z-")));
    assert_false(weft_version_valid(WEFT_SPAN("1.4.2-a.00")));
    assert_false(weft_version_valid(WEFT_SPAN("1.4.02")));
    assert_false(weft_version_valid(WEFT_SPAN("1.4.2\0")));
    assert_false(weft_version_valid((weft_span_t){ NULL, 0 }));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_that_of_semver),
        cmocka_unit_test(test_build_does_not_count),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
