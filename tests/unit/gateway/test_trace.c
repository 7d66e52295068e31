/* test_trace - request ids and trace context */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "gateway/trace.h"

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static void
test_continues_a_sound_traceparent(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 1);
    trace_t trace;
    trace_begin(&trace, WEFT_SPAN("abc-1.2_3"), WEFT_SPAN(PARENT), &rng);
    assert_string_equal(trace.request_id, "abc-1.2_3");
    assert_string_equal(trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_int_equal(strlen(trace.traceparent), 55);
    assert_memory_equal(trace.traceparent, PARENT, 36);
    assert_memory_not_equal(trace.traceparent + 36, &PARENT[36], 16);
    assert_string_equal(trace.traceparent + 52, "-01");
    /* A later version may add fields behind. */
    trace_begin(&trace, WEFT_SPAN(""),
                WEFT_SPAN("cc"
                          "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"),
                &rng);
    assert_string_equal(trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_memory_equal(trace.traceparent, "00-", 3);
}

static void
test_makes_what_is_missing_or_unsound(void **state)
{
    (void) state;
    static const char *const BAD[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        PARENT "x",
        PARENT "-more",
    };
    weft_rng_t rng;
    weft_rng_seed(&rng, 2);
    char last[33] = "";
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        trace_t trace;
        trace_begin(&trace, WEFT_SPAN(""), weft_span(BAD[i]), &rng);
        assert_string_not_equal(trace.trace_id, last);
        assert_string_not_equal(trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_string_equal(trace.request_id, trace.trace_id);
        assert_int_equal(strspn(trace.trace_id, "0123456789abcdef"), 32);
        assert_string_equal(trace.traceparent + 52, "-00");
        memcpy(last, trace.trace_id, sizeof last);
    }
}

static void
test_replaces_request_ids_that_could_forge_logs(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 3);
    static const char *const BAD[] = {
        "a b", "a\"b",     "a\nb",
        "<x>", "\xc3\xa4", "12345678901234567890123456789012345678901234567890123456789012345"
    };
    trace_t trace;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        trace_begin(&trace, weft_span(BAD[i]), WEFT_SPAN(""), &rng);
        assert_string_equal(trace.request_id, trace.trace_id);
    }
    trace_begin(&trace, weft_span(BAD[5] + 0), WEFT_SPAN(""), &rng);
    trace_begin(&trace, (weft_span_t){ BAD[5], TRACE_ID_MAX }, WEFT_SPAN(""), &rng);
    assert_int_equal(strlen(trace.request_id), TRACE_ID_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continues_a_sound_traceparent),
        cmocka_unit_test(test_makes_what_is_missing_or_unsound),
        cmocka_unit_test(test_replaces_request_ids_that_could_forge_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
