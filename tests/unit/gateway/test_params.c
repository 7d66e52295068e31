/* test_params - parameters as typed fields of the input */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <weft/json.h>

#include "gateway/params.h"

static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"id\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"x\":{\"type\":\"number\"},"
    "\"on\":{\"type\":\"boolean\"},\"maybe\":{\"type\":[\"integer\",\"null\"]},\"any\":{},"
    "\"either\":{\"type\":[\"integer\",\"string\"]},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
    "\"ns\":{\"type\":\"array\",\"items\":{\"type\":[\"integer\",\"boolean\"]}},"
    "\"deep\":{\"type\":\"object\"}}}";

static weft_buf_t schema_mp, body_mp, input_mp, json;
static params_schema_t schema;
static weft_schema_t *compiled;

static void
s_to_mp(const char *text, weft_buf_t *out)
{
    weft_json_error_t error;
    weft_buf_reset(out);
    assert_int_equal(weft_json_to_mp(weft_span(text), out, &error), WEFT_OK);
}

static int
s_setup(void **state)
{
    (void) state;
    char why[256];
    weft_buf_t *const buffers[] = { &schema_mp, &body_mp, &input_mp, &json };
    for (size_t i = 0; i < 4; i++) {
        weft_buf_init(buffers[i], 4096);
    }
    s_to_mp(SCHEMA, &schema_mp);
    compiled = weft_schema_new(weft_buf_span(&schema_mp), why, sizeof why);
    schema = (params_schema_t){ compiled, weft_buf_span(&schema_mp) };
    return compiled ? 0 : -1;
}

static int
s_teardown(void **state)
{
    (void) state;
    weft_schema_destroy(&compiled);
    weft_buf_fini(&schema_mp);
    weft_buf_fini(&body_mp);
    weft_buf_fini(&input_mp);
    weft_buf_fini(&json);
    return 0;
}

/* Merges the pairs of a query string, of which the first path_count are from the path, with a body; the
 * result as JSON, or the error. */
static const char *
s_merge(const params_schema_t *input, const char *query, uint32_t path_count, const char *body)
{
    static char scratch[512];
    static char message[256];
    path_t path;
    params_error_t error;
    weft_json_error_t json_error;
    assert_null(path_read(&path, WEFT_SPAN("/"), weft_span(query), scratch, sizeof scratch));
    weft_span_t value = { NULL, 0 };
    if (body) {
        s_to_mp(body, &body_mp);
        value = weft_buf_span(&body_mp);
    }
    weft_buf_reset(&input_mp);
    weft_status_t status = params_merge(&input_mp, input, path.query, path_count, path.query + path_count,
                                        path.query_count - path_count, value, &error);
    if (status != WEFT_OK) {
        snprintf(message, sizeof message, "!%s", error.name);
        return message;
    }
    const char *why;
    size_t offset;
    assert_true(weft_mp_check(weft_buf_span(&input_mp), &WEFT_MP_LIMITS_DEFAULT, &why, &offset));
    weft_buf_reset(&json);
    assert_int_equal(weft_mp_to_json(weft_buf_span(&input_mp), &json, &json_error), WEFT_OK);
    weft_buf_add_char(&json, '\0');
    return json.data;
}

#define assert_merged(query, path_count, body, expected)                                                     \
    assert_string_equal(s_merge(&schema, (query), (path_count), (body)), (expected))

static void
test_types_follow_the_schema(void **state)
{
    (void) state;
    assert_merged("id=7", 1, NULL, "{\"id\":\"7\"}");
    assert_merged("n=7&x=7&on=true", 0, NULL, "{\"n\":7,\"x\":7,\"on\":true}");
    assert_merged("n=-9223372036854775808", 0, NULL, "{\"n\":-9223372036854775808}");
    assert_merged("n=18446744073709551615", 0, NULL, "{\"n\":18446744073709551615}");
    assert_merged("x=-1.5e3&on=false", 0, NULL, "{\"x\":-1500.0,\"on\":false}");
    assert_merged("maybe=null", 0, NULL, "{\"maybe\":null}");
    assert_merged("any=7", 0, NULL, "{\"any\":\"7\"}");
    assert_merged("either=7", 0, NULL, "{\"either\":7}");
    assert_merged("either=seven", 0, NULL, "{\"either\":\"seven\"}");
    assert_merged("id=", 0, NULL, "{\"id\":\"\"}");
}

static void
test_text_that_is_not_of_the_type_is_refused(void **state)
{
    (void) state;
    static const char *const BAD[] = { "n=",
                                       "n=a",
                                       "n=1.0",
                                       "n=1e3",
                                       "n=+1",
                                       "n=01",
                                       "n=-",
                                       "n= 1",
                                       "n=0x1",
                                       "n=18446744073709551616",
                                       "n=-9223372036854775809",
                                       "x=nan",
                                       "x=inf",
                                       "x=0x1p3",
                                       "x=1e999",
                                       "x=.",
                                       "on=1",
                                       "on=True",
                                       "on=",
                                       "deep=x",
                                       "maybe=x" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        const char *result = s_merge(&schema, BAD[i], 0, NULL);
        if (result[0] != '!') {
            fail_msg("%s became %s", BAD[i], result);
        }
    }
}

static void
test_repeated_keys_become_arrays(void **state)
{
    (void) state;
    assert_merged("tags=a&n=1&tags=b", 0, NULL, "{\"tags\":[\"a\",\"b\"],\"n\":1}");
    assert_merged("tags=a", 0, NULL, "{\"tags\":[\"a\"]}");
    assert_merged("ns=1&ns=true", 0, NULL, "{\"ns\":[1,true]}");
    assert_merged("ns=x", 0, NULL, "!ns");
    assert_merged("n=1&n=2", 0, NULL, "!n");
    assert_merged("any=1&any=2", 0, NULL, "{\"any\":[\"1\",\"2\"]}");
}

static void
test_unknown_query_parameters_are_named(void **state)
{
    (void) state;
    assert_merged("n=1&typo=2", 0, NULL, "!typo");
    /* The author of a path template vouches for its names. */
    assert_merged("other=2", 1, NULL, "{\"other\":\"2\"}");
    const params_schema_t none = { NULL, { NULL, 0 } };
    assert_string_equal(s_merge(&none, "a=1&b=2&b=3", 0, NULL), "{\"a\":\"1\",\"b\":[\"2\",\"3\"]}");
}

static void
test_body_and_parameters_must_agree(void **state)
{
    (void) state;
    assert_merged("id=a&n=1", 1, "{\"x\":2.5,\"deep\":{\"y\":[1]}}",
                  "{\"id\":\"a\",\"n\":1,\"x\":2.5,\"deep\":{\"y\":[1]}}");
    assert_merged("id=a", 1, "{\"id\":\"a\",\"n\":1}", "{\"id\":\"a\",\"n\":1}");
    assert_merged("id=a", 1, "{\"id\":\"b\"}", "!id");
    assert_merged("n=1", 0, "{\"n\":1.0}", "!n");
    assert_merged("id=a&id=b", 1, NULL, "!id");
    assert_merged("id=a", 1, "[1]", "!");
    assert_merged("id=a", 1, "{}", "{\"id\":\"a\"}");
}

static void
test_a_full_buffer_is_reported(void **state)
{
    (void) state;
    weft_buf_t tiny;
    weft_buf_init(&tiny, 8);
    params_error_t error;
    const path_pair_t pair = { WEFT_SPAN("id"), WEFT_SPAN("0123456789") };
    const weft_span_t none = { NULL, 0 };
    assert_int_equal(params_merge(&tiny, &schema, &pair, 1, NULL, 0, none, &error), WEFT_RESOURCE_EXHAUSTED);
    weft_buf_fini(&tiny);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_follow_the_schema),
        cmocka_unit_test(test_text_that_is_not_of_the_type_is_refused),
        cmocka_unit_test(test_repeated_keys_become_arrays),
        cmocka_unit_test(test_unknown_query_parameters_are_named),
        cmocka_unit_test(test_body_and_parameters_must_agree),
        cmocka_unit_test(test_a_full_buffer_is_reported),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
