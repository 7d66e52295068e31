/* test_path - splitting and decoding of raw request targets */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "gateway/path.h"

static char scratch[512];

static const char *
s_read(path_t *path, const char *target, const char *query)
{
    return path_read(path, weft_span(target), weft_span(query), scratch, sizeof scratch);
}

#define assert_span(span, text) assert_true(weft_span_equal((span), weft_span(text)))

static void
test_splits_before_it_decodes(void **state)
{
    (void) state;
    path_t path;
    assert_null(s_read(&path, "/v1/notes/a%2Fb%20c+d", "q=x%26y+z&empty=&bare&&last=%C3%A4"));
    assert_int_equal(path.segment_count, 3);
    assert_span(path.segments[0], "v1");
    assert_span(path.segments[2], "a/b c+d");
    assert_int_equal(path.query_count, 4);
    assert_span(path.query[0].name, "q");
    assert_span(path.query[0].value, "x&y z");
    assert_span(path.query[1].value, "");
    assert_span(path.query[2].name, "bare");
    assert_span(path.query[2].value, "");
    assert_span(path.query[3].value, "\xc3\xa4");
}

static void
test_keeps_empty_segments(void **state)
{
    (void) state;
    path_t path;
    assert_null(s_read(&path, "/", ""));
    assert_int_equal(path.segment_count, 1);
    assert_span(path.segments[0], "");
    assert_null(s_read(&path, "//v1/", ""));
    assert_int_equal(path.segment_count, 3);
    assert_span(path.segments[1], "v1");
}

static void
test_refuses_what_others_may_read_differently(void **state)
{
    (void) state;
    static const struct {
        const char *path;
        const char *query;
    } BAD[] = {
        { "", "" },           { "v1", "" },      { "/%00", "" },  { "/a%0", "" },    { "/a%", "" },
        { "/%zz", "" },       { "/%c0%af", "" }, { "/%ff", "" },  { "/a/../b", "" }, { "/a/%2e%2E/b", "" },
        { "/./a", "" },       { "/%2e", "" },    { "/\xff", "" }, { "/a", "=x" },    { "/a", "a=%00" },
        { "/a", "a=%e0%80" }, { "/a", "%=1" },
    };
    path_t path;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        if (!s_read(&path, BAD[i].path, BAD[i].query)) {
            fail_msg("accepted %s?%s", BAD[i].path, BAD[i].query);
        }
    }
}

static void
test_bounds_segments_pairs_and_memory(void **state)
{
    (void) state;
    path_t path;
    char many[2 * PATH_SEGMENTS_MAX + 3];
    for (size_t i = 0; i < sizeof many - 1; i++) {
        many[i] = i % 2 ? 'a' : '/';
    }
    many[2 * PATH_SEGMENTS_MAX] = '\0';
    assert_null(s_read(&path, many, ""));
    assert_int_equal(path.segment_count, PATH_SEGMENTS_MAX);
    many[2 * PATH_SEGMENTS_MAX] = '/';
    many[2 * PATH_SEGMENTS_MAX + 2] = '\0';
    assert_non_null(s_read(&path, many, ""));

    char pairs[4 * PATH_QUERY_MAX + 8] = "";
    for (size_t i = 0; i <= PATH_QUERY_MAX; i++) {
        memcpy(pairs + 4 * i, "a=1&", 5);
    }
    assert_non_null(s_read(&path, "/", pairs));
    pairs[4 * PATH_QUERY_MAX] = '\0';
    assert_null(s_read(&path, "/", pairs));
    assert_int_equal(path.query_count, PATH_QUERY_MAX);
    assert_non_null(path_read(&path, WEFT_SPAN("/abc"), WEFT_SPAN("x=1"), scratch, 6));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits_before_it_decodes),
        cmocka_unit_test(test_keeps_empty_segments),
        cmocka_unit_test(test_refuses_what_others_may_read_differently),
        cmocka_unit_test(test_bounds_segments_pairs_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
