/* test_log - lines of both formats, hostile values, the cut, the context */
#include "unit/runtime/cmocka_all.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include <weft/log.h>

#include "runtime/log_counts.h"
#include "unit/runtime/child.h"

static void
s_plain(void *argument)
{
    weft_log_setup("broker", WEFT_LOG_INFO, *(weft_log_format_t *) argument);
    weft_log_info("worker ready", WEFT_STR("service", "notes"), WEFT_INT("n", -3), WEFT_UINT("u", UINT64_MAX),
                  WEFT_BOOL("b", true), WEFT_FLOAT("f", 0.25), WEFT_FLOAT("nan", (double) NAN),
                  WEFT_STR("none", NULL), WEFT_STR("hostile", "a\"b\\c\n\x1b[31m\xff \xc2\x9b"));
    weft_log_debug("not shown");
}

/* Behind the time, which is checked for its form alone. */
static const char *
s_behind_time(const char *line, const char *before)
{
    int year;
    int ms;
    char z;
    assert_memory_equal(line, before, strlen(before));
    line += strlen(before);
    assert_int_equal(sscanf(line, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%3d%c", &year, &ms, &z), 3);
    assert_in_range(year, 2024, 9999);
    assert_int_equal(z, 'Z');
    return line + strlen("2026-11-22T19:12:54.123Z");
}

static void
test_json(void **state)
{
    (void) state;
    child_t child;
    weft_log_format_t format = WEFT_LOG_JSON;
    child_run(&child, s_plain, &format);
    assert_string_equal(
        s_behind_time(child.err, "{\"time\": \""),
        "\", \"level\": \"info\", \"component\": \"broker\", \"message\": \"worker ready\", "
        "\"service\": \"notes\", \"n\": -3, \"u\": 18446744073709551615, \"b\": true, \"f\": 0.25, "
        "\"nan\": null, \"none\": \"\", "
        "\"hostile\": \"a\\\"b\\\\c\\n\\u001b[31m\xef\xbf\xbd \\u009b\"}\n");
    assert_string_equal(child.out, "");
}

static void
test_text(void **state)
{
    (void) state;
    child_t child;
    weft_log_format_t format = WEFT_LOG_TEXT;
    child_run(&child, s_plain, &format);
    assert_string_equal(
        s_behind_time(child.err, ""),
        " info broker: worker ready service=notes n=-3 u=18446744073709551615 b=true f=0.25 nan=null "
        "none=\"\" hostile=\"a\\\"b\\\\c\\n\\u001b[31m\xef\xbf\xbd \\u009b\"\n");
}

static void
test_no_terminal_means_json(void **state)
{
    (void) state;
    child_t child;
    weft_log_format_t format = WEFT_LOG_AUTO;
    child_run(&child, s_plain, &format);
    assert_int_equal(child.err[0], '{');
}

static void
s_every_level(void *argument)
{
    weft_log_setup("x", *(weft_log_level_t *) argument, WEFT_LOG_TEXT);
    weft_log_debug("D");
    weft_log_info("I");
    weft_log_warning("W");
    weft_log_error("E");
    weft_log(WEFT_LOG_OFF, "never");
}

static void
test_levels(void **state)
{
    (void) state;
    static const char *const EXPECTED[] = { "DIWE", "IWE", "WE", "E", "" };
    for (int level = WEFT_LOG_DEBUG; level <= WEFT_LOG_OFF; level++) {
        child_t child;
        weft_log_level_t argument = (weft_log_level_t) level;
        char seen[8] = "";
        size_t count = 0;
        child_run(&child, s_every_level, &argument);
        for (const char *at = child.err; *at; at++) {
            if (at[1] == '\n')
                seen[count++] = *at;
        }
        assert_string_equal(seen, EXPECTED[level]);
    }
}

/* Cut wherever the end falls, the line stays one well-formed object of at most 8 KiB. */
static void
s_too_long(void *argument)
{
    static char value[10000];
    const size_t size = *(size_t *) argument;
    for (size_t i = 0; i < sizeof value; i += 2) {
        value[i] = '\xc3';
        value[i + 1] = '\xa9';
    }
    const weft_span_t span = { value, size };
    weft_log_setup("x", WEFT_LOG_INFO, WEFT_LOG_JSON);
    weft_log_info("long", WEFT_BYTES("value", span), WEFT_UINT("behind", 7));
}

static void
test_long_line_is_cut(void **state)
{
    (void) state;
    for (size_t size = 8000; size < 8200; size += 2) {
        child_t child;
        child_run(&child, s_too_long, &size);
        const size_t length = strlen(child.err);
        assert_in_range(length, 8000, 8192);
        assert_memory_equal(child.err + length - 2, "}\n", 2);
        assert_ptr_equal(strchr(child.err, '\n'), child.err + length - 1);
        const bool cut = strstr(child.err, "\"cut\": true") != NULL;
        const bool whole = strstr(child.err, "\"behind\": 7}") != NULL;
        assert_true(cut != whole);
        /* The value ends with a whole character and its quote. */
        const char *end = strstr(child.err, "\xa9\"");
        assert_non_null(end);
        assert_true(strncmp(end + 2, ", \"cut\": true}", 14) == 0 ||
                    strncmp(end + 2, ", \"behind\": 7}", 14) == 0);
    }
}

static void
s_context(void *argument)
{
    static char huge[100];
    (void) argument;
    memset(huge, 'h', sizeof huge);
    const weft_span_t too_long = { huge, sizeof huge };
    const weft_span_t none = { NULL, 0 };
    weft_log_setup("x", WEFT_LOG_INFO, WEFT_LOG_TEXT);
    weft_log_context(WEFT_SPAN("r1"), none);
    weft_log_info("one");
    weft_log_context(too_long, WEFT_SPAN("t1"));
    weft_log_info("two");
    weft_log_context(none, none);
    weft_log_info("three");
}

static void
test_context_stands_in_every_line(void **state)
{
    (void) state;
    child_t child;
    char expected[200] = " info x: two request_id=";
    child_run(&child, s_context, NULL);
    assert_non_null(strstr(child.err, " info x: one request_id=r1\n"));
    memset(expected + strlen(expected), 'h', 64);
    assert_non_null(strstr(child.err, expected));
    assert_non_null(strstr(child.err, "hhhh trace_id=t1\n"));
    assert_null(
        strstr(child.err, "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh")); /* 65 */
    assert_non_null(strstr(child.err, " info x: three\n"));
}

static void *
s_log_many(void *argument)
{
    for (int i = 0; i < 20; i++)
        weft_log_info("line", WEFT_STR("who", argument));
    return NULL;
}

static void
s_threads(void *argument)
{
    (void) argument;
    pthread_t threads[4];
    static char names[4][2] = { "a", "b", "c", "d" };
    weft_log_setup("x", WEFT_LOG_INFO, WEFT_LOG_TEXT);
    for (size_t i = 0; i < 4; i++) {
        if (pthread_create(&threads[i], NULL, s_log_many, names[i]) != 0)
            exit(1);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    exit(log_lines(WEFT_LOG_INFO) == 80 ? 0 : 1);
}

static void
test_threads_do_not_mix_lines(void **state)
{
    (void) state;
    child_t child;
    child_run(&child, s_threads, NULL);
    assert_int_equal(child.code, 0);
    size_t lines = 0;
    for (char *line = child.err; *line; lines++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        const char *rest = s_behind_time(line, "");
        assert_int_equal(end - rest, strlen(" info x: line who=a"));
        line = end + 1;
    }
    assert_int_equal(lines, 80);
}

static void
s_closed(void *argument)
{
    (void) argument;
    close(STDERR_FILENO);
    weft_log_setup("x", WEFT_LOG_INFO, WEFT_LOG_TEXT);
    errno = ENOENT;
    weft_log_info("into nothing");
    exit(log_lines_lost() == 1 && errno == ENOENT ? 0 : 1);
}

static void
test_lost_line_is_counted_and_errno_kept(void **state)
{
    (void) state;
    child_t child;
    child_run(&child, s_closed, NULL);
    assert_int_equal(child.code, 0);
}

static void
test_format_cuts(void **state)
{
    (void) state;
    char text[4];
    assert_string_equal(weft_format(text, sizeof text, "%d", 12345), "123");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_no_terminal_means_json),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long_line_is_cut),
        cmocka_unit_test(test_context_stands_in_every_line),
        cmocka_unit_test(test_threads_do_not_mix_lines),
        cmocka_unit_test(test_lost_line_is_counted_and_errno_kept),
        cmocka_unit_test(test_format_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
