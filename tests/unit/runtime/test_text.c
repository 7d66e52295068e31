/* test_text - lengths of characters, and what drives a terminal */
#include "unit/runtime/cmocka_all.h"

#include <string.h>

#include "runtime/text.h"

static void
test_characters(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        size_t size;
        size_t length;
    } CASES[] = {
        { "a", 1, 1 },
        { "\0", 1, 1 },
        { "\x7f", 1, 1 },
        { "\xc3\xa9", 2, 2 },
        { "\xe2\x82\xac", 3, 3 },
        { "\xf0\x9f\x98\x80", 4, 4 },
        { "\xf4\x8f\xbf\xbf", 4, 4 }, /* U+10FFFF */
        { "\xf4\x90\x80\x80", 4, 0 }, /* beyond */
        { "\xc3", 1, 0 },
        { "\xe2\x82", 2, 0 },
        { "\x80", 1, 0 },
        { "\xc0\xaf", 2, 0 },     /* overlong */
        { "\xe0\x9f\xbf", 3, 0 }, /* overlong */
        { "\xf0\x8f\xbf\xbf", 4, 0 },
        { "\xed\xa0\x80", 3, 0 }, /* surrogate */
        { "\xff", 1, 0 },
        { "\xc3\x41", 2, 0 },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_int_equal(text_character(CASES[i].text, CASES[i].size), CASES[i].length);
}

static void
test_controls(void **state)
{
    (void) state;
    assert_true(text_is_control("\x1b", 1));
    assert_true(text_is_control("\0", 1));
    assert_true(text_is_control("\x7f", 1));
    assert_true(text_is_control("\xc2\x9b", 2)); /* C1: CSI */
    assert_false(text_is_control("\xc2\xa0", 2));
    assert_false(text_is_control("\xc3\x9b", 2));
    assert_false(text_is_control(" ", 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
