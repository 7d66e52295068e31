/* test_meta - looking up keys of a meta map */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/wire.h>

static const weft_span_t S_META = { "\x83\xa1"
                                    "a\xa1x\xa2"
                                    "ab\xa0\xa1"
                                    "b\xa2yz",
                                    15 };

static void
test_get_finds_whole_keys_only(void **state)
{
    (void) state;
    weft_span_t value;
    assert_true(weft_meta_get(S_META, "a", &value));
    assert_true(weft_span_equal(value, WEFT_SPAN("x")));
    assert_true(weft_meta_get(S_META, "ab", &value));
    assert_int_equal(value.size, 0);
    assert_true(weft_meta_get(S_META, "b", &value));
    assert_true(weft_span_equal(value, WEFT_SPAN("yz")));
}

static void
test_get_leaves_the_value_untouched_when_absent(void **state)
{
    (void) state;
    weft_span_t value = WEFT_SPAN("kept");
    assert_false(weft_meta_get(S_META, "c", &value));
    assert_false(weft_meta_get(S_META, "", &value));
    assert_false(weft_meta_get(WEFT_SPAN("\x80"), "a", &value));
    assert_false(weft_meta_get((weft_span_t){ NULL, 0 }, "a", &value));
    assert_true(weft_span_equal(value, WEFT_SPAN("kept")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_finds_whole_keys_only),
        cmocka_unit_test(test_get_leaves_the_value_untouched_when_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
