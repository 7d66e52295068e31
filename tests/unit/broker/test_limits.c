/* test_limits - limits by service: what is read, and which row counts */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <weft/log.h>

#include "broker/limits.h"

static void
s_of(const char *text, const char *service, uint32_t most)
{
    limits_t limits;
    char why[128];
    if (!limits_parse(&limits, text, why, sizeof why))
        fail_msg("%s: %s", text, why);
    if (limits_of(&limits, weft_span(service)) != most)
        fail_msg("%s: %u for %s", text, limits_of(&limits, weft_span(service)), service);
}

static void
test_the_closest_row_counts(void **state)
{
    (void) state;
    static const char *const TEXT = "*=256,reports.*=4,reports.daily=2,notes=32,reports.old.*=1";
    s_of("", "notes", 0);
    s_of("notes=32", "notes", 32);
    s_of("notes=32", "note", 0);
    s_of("notes=32", "notes.x", 0);
    s_of(TEXT, "notes", 32);
    s_of(TEXT, "reports.daily", 2);
    s_of(TEXT, "reports.daily.x", 4);
    s_of(TEXT, "reports.weekly", 4);
    s_of(TEXT, "reports.old.x", 1);
    s_of(TEXT, "reports", 256);
    s_of(TEXT, "other", 256);
    s_of("a=1000000", "a", 1000000);
    s_of("a-b.c_d=1", "a-b.c_d", 1);
}

static void
test_what_is_malformed_is_said(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *why;
    } CASES[] = {
        { "notes", "\"notes\" is not NAME=NUMBER" },
        { "notes=", "\"notes=\" needs a number of 1 to 1000000" },
        { "notes=0", "\"notes=0\" needs a number of 1 to 1000000" },
        { "notes=1000001", "\"notes=1000001\" needs a number of 1 to 1000000" },
        { "notes=-1", "\"notes=-1\" needs a number of 1 to 1000000" },
        { "notes=4x", "\"notes=4x\" needs a number of 1 to 1000000" },
        { "notes=4=4", "\"notes=4=4\" needs a number of 1 to 1000000" },
        { "notes=99999999999999999999", "\"notes=99999999999999999999\" needs a number of 1 to 1000000" },
        { "=4", "\"=4\" is no name of a service" },
        { "Notes=4", "\"Notes=4\" is no name of a service" },
        { "notes =4", "\"notes =4\" is no name of a service" },
        { "a=1, b=2", "\" b=2\" is no name of a service" },
        { "a..b=4", "\"a..b=4\" is no name of a service" },
        { ".*=4", "\".*=4\" is no name of a service" },
        { "rep*=4", "\"rep*=4\" has a * that does not stand for whole parts, as in reports.*" },
        { "a.*.b=4", "\"a.*.b=4\" is no name of a service" },
        { "**=4", "\"**=4\" has a * that does not stand for whole parts, as in reports.*" },
        { "a=1,b=2,a=3", "\"a=3\" stands twice" },
        { "a.*=1,a.*=2", "\"a.*=2\" stands twice" },
        { "*=1,*=2", "\"*=2\" stands twice" },
        { ",a=1", "\"\" is empty: a comma too many" },
        { "a=1,,b=2", "\"\" is empty: a comma too many" },
        { "a=1,", "\"a=1\" is followed by a comma and nothing" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        limits_t limits;
        char why[128] = "nothing";
        if (limits_parse(&limits, CASES[i].text, why, sizeof why) || strcmp(why, CASES[i].why) != 0)
            fail_msg("%s: %s", CASES[i].text, why);
    }
}

static void
test_names_and_rows_are_bounded(void **state)
{
    (void) state;
    char text[2000] = "";
    char why[128];
    limits_t limits;
    size_t size = 0;
    for (int i = 0; i <= LIMITS_MAX; i++) {
        assert_int_equal(limits_parse(&limits, text, why, sizeof why), true);
        assert_int_equal(limits.count, i);
        size += strlen(weft_format(text + size, sizeof text - size, "%ss%d=%d", i ? "," : "", i, i + 1));
    }
    assert_false(limits_parse(&limits, text, why, sizeof why));
    assert_string_equal(why, "\"s64=65\" is one too many: there may be 64");

    char name[80];
    memset(name, 'a', sizeof name);
    memcpy(name + 63, "=5", 3);
    s_of(name, "b", 0);
    assert_true(limits_parse(&limits, name, why, sizeof why));
    assert_int_equal(limits_of(&limits, (weft_span_t){ name, 63 }), 5);
    memcpy(name + 63, ".*=5", 5); /* nothing can match it, and nothing breaks */
    assert_true(limits_parse(&limits, name, why, sizeof why));
    assert_int_equal(limits_of(&limits, (weft_span_t){ name, 63 }), 0);
    memcpy(name + 63, "a=5", 4);
    assert_false(limits_parse(&limits, name, why, sizeof why));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_closest_row_counts),
        cmocka_unit_test(test_what_is_malformed_is_said),
        cmocka_unit_test(test_names_and_rows_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
