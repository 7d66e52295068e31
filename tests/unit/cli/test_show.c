/* show: tables, maps and JSON of what brokers say, harmless whatever they say */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/json.h>

#include "captured.h"
#include "cli/show.h"

static const show_column_t COLUMNS[] = {
    { "NAME", "name" }, { "N", "n" }, { "LIST", "list" }, { .title = NULL }
};

static weft_span_t
s_pack(weft_buf_t *out, const char *json)
{
    weft_json_error_t error;
    weft_buf_init(out, 65536);
    assert_int_equal(weft_json_to_mp(weft_span(json), out, &error), WEFT_OK);
    return weft_buf_span(out);
}

static void
s_check_table(const char *json, const char *expected)
{
    weft_buf_t packed;
    captured_t captured;
    weft_span_t rows = s_pack(&packed, json);
    captured_begin(&captured, STDOUT_FILENO);
    show_table(rows, COLUMNS, "none");
    assert_string_equal(captured_end(&captured), expected);
    weft_buf_fini(&packed);
}

static void
test_tables(void **state)
{
    (void) state;
    s_check_table("[]", "none\n");
    s_check_table("{}", "none\n");
    s_check_table("[{\"name\":\"a\",\"n\":12345,\"list\":[\"x\",\"y\"]},{\"name\":\"longer\",\"n\":true}]",
                  "NAME    N      LIST\n"
                  "a       12345  x, y\n"
                  "longer  yes    -\n");
    s_check_table("[{\"name\":null,\"n\":-1.5,\"list\":[{\"name\":\"s\",\"version\":\"1\",\"capacity\":6,"
                  "\"outstanding\":2},[1],7]},3]",
                  "NAME  N     LIST\n"
                  "-     -1.5  s@1 2/6, ..., 7\n"
                  "-     -     -\n");
}

static void
test_control_characters_are_made_harmless(void **state)
{
    (void) state;
    s_check_table("[{\"name\":\"a\\u001b[2Jb\\u0007\\u009bc\\u00e9\",\"n\":1,\"list\":\"\\r\\n\"}]",
                  "NAME         N  LIST\n"
                  "a?[2Jb??c\xc3\xa9  1  ??\n");
}

static void
test_maps_are_indented(void **state)
{
    (void) state;
    weft_buf_t packed;
    captured_t captured;
    weft_span_t map = s_pack(&packed, "{\"a\":1,\"b\":{\"c\":\"d\"}}");
    captured_begin(&captured, STDOUT_FILENO);
    show_map(map, 0);
    assert_string_equal(captured_end(&captured), "a                                        1\n"
                                                 "b\n"
                                                 "  c                                        d\n");
    weft_buf_fini(&packed);
    map = s_pack(&packed, "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}");
    captured_begin(&captured, STDOUT_FILENO);
    show_map(map, 0); /* not deeper than it may be */
    assert_non_null(strstr(captured_end(&captured), "..."));
    weft_buf_fini(&packed);
}

static void
test_json(void **state)
{
    (void) state;
    weft_buf_t packed;
    captured_t captured;
    weft_span_t value = s_pack(&packed, "{\"a\":[1,2.5,\"\\u001b\"]}");
    captured_begin(&captured, STDOUT_FILENO);
    bool shown = show_json(value);
    assert_string_equal(captured_end(&captured), "{\"a\":[1,2.5,\"\\u001b\"]}\n");
    assert_true(shown);
    weft_buf_fini(&packed);
    captured_begin(&captured, STDERR_FILENO);
    shown = show_json(WEFT_SPAN("\xd4\x05x")); /* an extension type */
    assert_non_null(strstr(captured_end(&captured), "weft: the result has no JSON form"));
    assert_false(shown);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_control_characters_are_made_harmless),
        cmocka_unit_test(test_maps_are_indented),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
