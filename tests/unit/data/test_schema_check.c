/* Tests of schema_check: what is reported and where, and that nobody can make it expensive */
#include "schemas.h"

static const char NOTE[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"title\",\"text\"],"
    "\"properties\":{\"title\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":5},"
    "\"text\":{\"type\":\"string\"},\"tags\":{\"type\":\"array\",\"uniqueItems\":true,"
    "\"maxItems\":3,\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}},"
    "\"price\":{\"type\":\"number\",\"multipleOf\":0.01,\"minimum\":0.5}}}";

static void
test_reports_each_error_at_its_place(void **state)
{
    (void) state;
    static const struct {
        const char *schema;
        const char *value;
        const char *report; /* "pointer message" lines */
    } CASES[] = {
        { NOTE, "{\"title\":\"a\",\"text\":\"\",\"tags\":[\"x\",\"y\"],\"price\":19.99}", "" },
        { NOTE, "[]", " must be an object\n" },
        { NOTE, "{\"title\":\"\"}", "/title must have at least 1 character\n/text is required\n" },
        { NOTE, "{\"title\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\",\"text\":\"\"}", "" },
        { NOTE, "{\"title\":\"123456\",\"text\":1,\"more\":0}",
          "/title must have at most 5 characters\n/text must be a string\n/more is not allowed\n" },
        { NOTE, "{\"title\":\"a\",\"text\":\"b\",\"tags\":[\"x\",\"X\",\"x\"],\"price\":0.005}",
          "/tags must not have an element twice\n/tags/1 must match the pattern\n/price must be at least "
          "0.5\n"
          "/price must be a multiple of 0.01\n" },
        { "{\"type\":[\"integer\",\"null\"]}", "1.5", " must be null or an integer\n" },
        { "{\"type\":[\"integer\",\"number\"]}", "\"\"", " must be a number\n" },
        { "{\"properties\":{\"a/b~\":{\"items\":false}}}", "{\"a/b~\":[1]}", "/a~1b~0/0 is not allowed\n" },
        { "{\"propertyNames\":{\"maxLength\":2}}", "{\"ab\":1,\"abc\":1}",
          "/abc must have at most 2 characters\n" },
        { "{\"dependentRequired\":{\"card\":[\"address\"]}}", "{\"card\":1}",
          "/address is required where card is given\n" },
        { "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "1",
          " must match at least one of the alternatives\n" },
        { "{\"oneOf\":[{\"minimum\":1},{\"minimum\":2}]}", "3",
          " must match exactly one of the alternatives, and matches several\n" },
        { "{\"oneOf\":[{\"minimum\":1},{\"minimum\":2}]}", "0", " must match one of the alternatives\n" },
        { "{\"not\":{\"type\":\"string\"}}", "\"\"", " must not match the schema under \"not\"\n" },
        { "{\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]},\"else\":{\"required\":[\"c\"]}}",
          "{\"a\":1}", "/b is required\n" },
        { "{\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]},\"else\":{\"required\":[\"c\"]}}",
          "{}", "/c is required\n" },
        { "{\"contains\":{\"const\":1},\"minContains\":2,\"maxContains\":2}", "[1,2]",
          " has too few elements that match \"contains\"\n" },
        { "{\"contains\":{\"const\":1},\"minContains\":2,\"maxContains\":2}", "[1,1.0,1]",
          " has too many elements that match \"contains\"\n" },
        { "{\"$defs\":{\"node\":{\"properties\":{\"next\":{\"$ref\":\"#/$defs/"
          "node\"},\"v\":{\"type\":\"integer\"}}}},"
          "\"$ref\":\"#/$defs/node\"}",
          "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":\"3\"}}}", "/next/next/v must be an integer\n" },
        { "{\"minimum\":18446744073709551615}", "18446744073709551614",
          " must be at least 18446744073709551615\n" },
        { "{\"exclusiveMaximum\":-9223372036854775808}", "-9223372036854775808",
          " must be below -9223372036854775808\n" },
        { "{\"const\":{\"a\":[1,{\"b\":2}],\"c\":null}}", "{\"c\":null,\"a\":[1.0,{\"b\":2}]}", "" },
        { "{\"const\":{\"a\":[1,{\"b\":2}],\"c\":null}}", "{\"c\":null,\"a\":[1.0,{\"b\":3}]}",
          " must be the one value allowed\n" },
        { "{\"format\":\"date-time\"}", "\"2026-02-29T00:00:00Z\"",
          " must be a date and time such as 2026-07-31T12:00:00Z\n" },
        { "false", "1", " is not allowed\n" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        weft_schema_t *schema = schemas_new(CASES[i].schema);
        weft_schema_report_t report;
        weft_status_t status = schemas_check(schema, CASES[i].value, &report);
        assert_int_equal(status, *CASES[i].report ? WEFT_INVALID_ARGUMENT : WEFT_OK);
        assert_int_equal(schemas_check(schema, CASES[i].value, NULL), status);
        weft_buf_t text;
        weft_buf_init(&text, 100000);
        for (uint32_t n = 0; n < report.count; n++)
            assert_true(weft_buf_addf(&text, "%s %s\n", report.errors[n].pointer, report.errors[n].message));
        assert_true(weft_buf_add_char(&text, '\0'));
        assert_string_equal(text.data, CASES[i].report);
        assert_false(report.more);
        weft_buf_fini(&text);
        weft_schema_destroy(&schema);
    }
}

static void
test_a_report_is_bounded(void **state)
{
    (void) state;
    weft_schema_t *schema = schemas_new("{\"items\":{\"type\":\"string\"}}");
    weft_schema_report_t report;
    assert_int_equal(schemas_check(schema, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", &report),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(report.count, WEFT_SCHEMA_ERRORS_MAX);
    assert_false(report.more);
    assert_string_equal(report.errors[15].pointer, "/15");
    assert_int_equal(schemas_check(schema, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", &report),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(report.count, WEFT_SCHEMA_ERRORS_MAX);
    assert_true(report.more);
    weft_schema_destroy(&schema);
}

static void
test_a_long_pointer_is_cut(void **state)
{
    (void) state;
    weft_schema_t *schema = schemas_new("{\"additionalProperties\":false}");
    for (size_t size = 100; size < 200; size++) {
        weft_buf_t text;
        weft_schema_report_t report;
        weft_buf_init(&text, 10000);
        assert_true(weft_buf_add_text(&text, "{\""));
        for (size_t i = 0; i < size; i++)
            assert_true(weft_buf_add_text(&text, i % 2 ? "\xc3\xa9" : "/"));
        assert_true(weft_buf_add(&text, "\":1}", 5));
        assert_int_equal(schemas_check(schema, text.data, &report), WEFT_INVALID_ARGUMENT);
        size_t length = strlen(report.errors[0].pointer);
        assert_true(length < sizeof report.errors[0].pointer && length > 120);
        assert_string_equal(report.errors[0].pointer + length - 3, "...");
        assert_true(weft_utf8_valid(weft_span(report.errors[0].pointer)));
        weft_buf_fini(&text);
    }
    weft_schema_destroy(&schema);
}

static void
test_more_than_64_required_names(void **state)
{
    (void) state;
    weft_buf_t text, value;
    weft_buf_init(&text, 100000);
    weft_buf_init(&value, 100000);
    assert_true(weft_buf_add_text(&text, "{\"required\":["));
    for (int i = 0; i < 100; i++)
        assert_true(weft_buf_addf(&text, "%s\"n%d\"", i ? "," : "", i));
    assert_true(weft_buf_add(&text, "]}", 3));
    weft_schema_t *schema = schemas_new(text.data);
    for (int missing = -1; missing < 100; missing++) {
        weft_schema_report_t report;
        weft_buf_reset(&value);
        assert_true(weft_buf_add_text(&value, "{\"\":0"));
        for (int i = 99; i >= 0; i--)
            assert_true(i == missing || weft_buf_addf(&value, ",\"n%d\":1", i));
        assert_true(weft_buf_add(&value, "}", 2));
        assert_int_equal(schemas_check(schema, value.data, &report),
                         missing < 0 ? WEFT_OK : WEFT_INVALID_ARGUMENT);
        if (missing >= 0) {
            char pointer[20];
            snprintf(pointer, sizeof pointer, "/n%d", missing);
            assert_int_equal(report.count, 1);
            assert_string_equal(report.errors[0].pointer, pointer);
        }
    }
    weft_schema_destroy(&schema);
    weft_buf_fini(&text);
    weft_buf_fini(&value);
}

static void
test_a_name_given_twice_is_not_two_names(void **state)
{
    (void) state;
    weft_schema_t *schema = schemas_new("{\"required\":[\"a\",\"b\"]}");
    static const char TWICE[] = "\x82\xa1\x61\x01\xa1\x61\x02";
    assert_int_equal(weft_schema_check(schema, (weft_span_t){ TWICE, sizeof TWICE - 1 }, NULL),
                     WEFT_INVALID_ARGUMENT);
    weft_schema_destroy(&schema);
}

static void
test_values_that_json_does_not_have(void **state)
{
    (void) state;
    weft_schema_t *text = schemas_new("{\"type\":\"string\",\"maxLength\":4}");
    weft_schema_t *when = schemas_new("{\"type\":\"string\",\"format\":\"date-time\"}");
    weft_schema_t *number = schemas_new("{\"type\":\"number\"}");
    static const weft_span_t BIN3 = { "\xc4\x03\x01\x02\x03", 5 };
    static const weft_span_t BIN4 = { "\xc4\x04\x01\x02\x03\x04", 6 };
    static const weft_span_t STAMP = { "\xd6\xff\x00\x00\x00\x00", 6 };
    static const weft_span_t NAN = { "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 9 };
    assert_int_equal(weft_schema_check(text, BIN3, NULL), WEFT_OK);
    assert_int_equal(weft_schema_check(text, BIN4, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_schema_check(when, STAMP, NULL), WEFT_OK);
    assert_int_equal(weft_schema_check(when, BIN3, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_schema_check(number, NAN, NULL), WEFT_INVALID_ARGUMENT);
    weft_schema_destroy(&text);
    weft_schema_destroy(&when);
    weft_schema_destroy(&number);
}

/* What explodes ends with the budget, and says so. */
static void
s_assert_exhausted(const char *schema_text, const char *value)
{
    weft_schema_t *schema = schemas_new(schema_text);
    weft_schema_report_t report;
    assert_int_equal(schemas_check(schema, value, &report), WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.errors[0].message, "too much work"));
    assert_int_equal(schemas_check(schema, value, NULL), WEFT_RESOURCE_EXHAUSTED);
    weft_schema_destroy(&schema);
}

static void
test_explosions_end_with_the_budget(void **state)
{
    (void) state;
    /* 2^40 paths through a chain of pairs of references. */
    weft_buf_t text;
    weft_buf_init(&text, 100000);
    assert_true(weft_buf_add_text(&text, "{\"$ref\":\"#/$defs/0\",\"$defs\":{"));
    for (int i = 0; i < 25; i++)
        assert_true(weft_buf_addf(&text,
                                  "\"%d\":{\"allOf\":[{\"$ref\":\"#/$defs/%d\"},{\"$ref\":\"#/$defs/%d\"}]},",
                                  i, i + 1, i + 1));
    assert_true(weft_buf_add_text(&text, "\"25\":{\"type\":\"integer\"}}}"));
    assert_true(weft_buf_add_char(&text, '\0'));
    s_assert_exhausted(text.data, "1");
    /* A pattern that backtracks exponentially. */
    s_assert_exhausted("{\"pattern\":\"^(a+)+$\"}",
                       "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"");
    s_assert_exhausted("{\"patternProperties\":{\"^(a|a)*$\":false}}",
                       "{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\":1}");
    weft_buf_fini(&text);
}

static void
test_many_elements_stay_cheap(void **state)
{
    (void) state;
    weft_schema_t *schema = schemas_new("{\"uniqueItems\":true,\"items\":{\"type\":\"array\"}}");
    weft_buf_t text;
    weft_buf_init(&text, 10000000);
    for (int last = 7; last < 60000; last += 59000) {
        weft_buf_reset(&text);
        assert_true(weft_buf_add_char(&text, '['));
        for (int i = 0; i < 50000; i++)
            assert_true(weft_buf_addf(&text, "[%d,\"x\"],", i));
        assert_true(weft_buf_addf(&text, "[%d,\"x\"]]", last));
        assert_true(weft_buf_add_char(&text, '\0'));
        assert_int_equal(schemas_check(schema, text.data, NULL),
                         last < 50000 ? WEFT_INVALID_ARGUMENT : WEFT_OK);
    }
    weft_buf_fini(&text);
    weft_schema_destroy(&schema);
}

static void
test_deep_values_and_schemas_need_no_recursion(void **state)
{
    (void) state;
    /* 32 levels of value, each through a chain of references. */
    weft_buf_t text;
    char value[80];
    weft_buf_init(&text, 100000);
    assert_true(weft_buf_add_text(&text, "{\"$ref\":\"#/$defs/0\",\"$defs\":{"));
    for (int i = 0; i < 50; i++)
        assert_true(weft_buf_addf(&text, "\"%d\":{\"$ref\":\"#/$defs/%d\"},", i, i + 1));
    assert_true(weft_buf_add_text(&text, "\"50\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}}}"));
    assert_true(weft_buf_add_char(&text, '\0'));
    weft_schema_t *schema = schemas_new(text.data);
    memset(value, '[', 32);
    memset(value + 32, ']', 32);
    value[64] = '\0';
    assert_int_equal(schemas_check(schema, value, NULL), WEFT_OK);
    weft_schema_report_t report;
    memset(value, '[', 31);
    value[31] = '1';
    memset(value + 32, ']', 31);
    value[63] = '\0';
    assert_int_equal(schemas_check(schema, value, &report), WEFT_INVALID_ARGUMENT);
    assert_int_equal(report.count, 1);
    assert_int_equal(strlen(report.errors[0].pointer), 62);
    weft_buf_fini(&text);
    weft_schema_destroy(&schema);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports_each_error_at_its_place),
        cmocka_unit_test(test_a_report_is_bounded),
        cmocka_unit_test(test_a_long_pointer_is_cut),
        cmocka_unit_test(test_more_than_64_required_names),
        cmocka_unit_test(test_a_name_given_twice_is_not_two_names),
        cmocka_unit_test(test_values_that_json_does_not_have),
        cmocka_unit_test(test_explosions_end_with_the_budget),
        cmocka_unit_test(test_many_elements_stay_cheap),
        cmocka_unit_test(test_deep_values_and_schemas_need_no_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
