/* test_instant - RFC 3339 texts to microseconds and back, against the C library */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include <weft/clock.h>

#include "handlers/jobs/instant.h"

static void
test_reads_what_rfc_3339_allows(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        int64_t us;
    } rows[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01T00:00:00.000001Z", 1 },
        { "1969-12-31T23:59:59.5Z", -500000 },
        { "2026-01-31T12:00:00.123+02:00", 1769853600123000 },
        { "2026-01-31t12:00:00z", 1769860800000000 },
        { "2000-02-29T00:00:00-00:30", 951784200000000 },
        { "2016-12-31T23:59:60Z", 1483228800000000 },
        { "0000-01-01T00:00:00Z", -62167219200000000 },
        { "9999-12-31T23:59:59.999999999Z", 253402300799999999 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t us = 7;
        assert_true(instant_parse(weft_span(rows[i].text), &us));
        assert_int_equal(us, rows[i].us);
    }
}

static void
test_refuses_anything_else_untouched(void **state)
{
    (void) state;
    static const char *const texts[] = { "",
                                         "2026",
                                         "2026-01-31",
                                         "2026-01-31T12:00:00",
                                         "2026-01-31T12:00Z",
                                         "2026-13-01T00:00:00Z",
                                         "2026-02-29T00:00:00Z",
                                         "1900-02-29T00:00:00Z",
                                         "2026-01-31T24:00:00Z",
                                         "2026-01-31T12:60:00Z",
                                         "2026-01-31T12:00:61Z",
                                         "2026-01-31T12:00:00.Z",
                                         "2026-01-31T12:00:00+2:00",
                                         "2026-01-31T12:00:00+24:00",
                                         "2026-01-31T12:00:00Zx",
                                         "+026-01-31T12:00:00Z" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t us = 7;
        assert_false(instant_parse(weft_span(texts[i]), &us));
        assert_int_equal(us, 7);
    }
    int64_t us = 7;
    assert_false(instant_parse((weft_span_t){ NULL, 0 }, &us));
}

static void
test_writes_what_it_reads(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        char text[INSTANT_TEXT], expected[40];
        struct tm tm;
        int64_t ms = (int64_t) weft_rng_below(&rng, 315569520000000ull) - 62167219200000ll;
        int64_t back;
        instant_text(ms * 1000 + (int64_t) weft_rng_below(&rng, 1000), text);
        assert_true(instant_parse(weft_span(text), &back));
        assert_int_equal(back, ms * 1000);
        time_t seconds = (time_t) (ms / 1000 - (ms % 1000 < 0));
        assert_non_null(gmtime_r(&seconds, &tm));
        assert_true(strftime(expected, sizeof expected, "%m-%dT%H:%M:%S", &tm) > 0);
        assert_memory_equal(text + 5, expected, strlen(expected));
    }
}

static void
test_shows_what_has_no_text_as_the_nearest(void **state)
{
    (void) state;
    char text[INSTANT_TEXT];
    assert_string_equal(instant_text(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(instant_text(INT64_MIN, text), "0000-01-01T00:00:00.000Z");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_rfc_3339_allows),
        cmocka_unit_test(test_refuses_anything_else_untouched),
        cmocka_unit_test(test_writes_what_it_reads),
        cmocka_unit_test(test_shows_what_has_no_text_as_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
