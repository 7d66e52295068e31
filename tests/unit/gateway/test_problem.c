/* test_problem - problem details and what replies become of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <weft/json.h>

#include "gateway/problem.h"

static weft_buf_t mp;
static weft_buf_t out;

static int
s_setup(void **state)
{
    (void) state;
    weft_buf_init(&mp, 4096);
    weft_buf_init(&out, 4096);
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    weft_buf_fini(&mp);
    weft_buf_fini(&out);
    return 0;
}

static weft_span_t
s_mp(const char *json)
{
    weft_json_error_t error;
    weft_buf_reset(&mp);
    assert_int_equal(weft_json_to_mp(weft_span(json), &mp, &error), WEFT_OK);
    return weft_buf_span(&mp);
}

static const char *
s_text(const problem_t *problem)
{
    weft_buf_reset(&out);
    assert_true(problem_write(problem, &out));
    assert_true(weft_buf_add_char(&out, '\0'));
    return out.data;
}

static void
test_writes_all_members(void **state)
{
    (void) state;
    problem_t problem = {
        .http = 404, .code = WEFT_NOT_FOUND, .detail = WEFT_SPAN("no \"x\""), .request_id = "r1"
    };
    assert_string_equal(s_text(&problem),
                        "{\"type\":\"urn:weft:problem:not-found\",\"title\":\"Not Found\",\"status\":404,"
                        "\"detail\":\"no \\\"x\\\"\",\"code\":\"NOT_FOUND\",\"request_id\":\"r1\","
                        "\"hop\":\"gateway\",\"executed\":\"no\"}");
    problem.kind = "schema-violation";
    problem.errors = s_mp("[{\"pointer\":\"/a\",\"message\":\"is required\"}]");
    problem.executed_maybe = true;
    assert_non_null(strstr(s_text(&problem), "\"type\":\"urn:weft:problem:schema-violation\""));
    assert_non_null(
        strstr(s_text(&problem),
               "\"executed\":\"maybe\",\"errors\":[{\"pointer\":\"/a\",\"message\":\"is required\"}]}"));
}

static void
test_leaves_out_what_json_cannot_say(void **state)
{
    (void) state;
    const weft_span_t nan = WEFT_SPAN("\xcb\x7f\xf8\0\0\0\0\0\0");
    problem_t problem = { .http = 500, .code = WEFT_INTERNAL, .detail = WEFT_SPAN("x"), .details = nan };
    assert_null(strstr(s_text(&problem), "details"));
    weft_buf_t small;
    weft_buf_init(&small, 64);
    assert_false(problem_write(&problem, &small));
    weft_buf_fini(&small);
}

static void
test_maps_replies_by_who_speaks(void **state)
{
    (void) state;
    static const struct {
        weft_status_t status;
        const char *body;
        int http;
        uint32_t retry_after_s;
    } CASES[] = {
        { WEFT_RESOURCE_EXHAUSTED, "{\"message\":\"slow down\",\"hop\":\"handler\",\"executed\":\"maybe\"}",
          429, 0 },
        { WEFT_RESOURCE_EXHAUSTED,
          "{\"message\":\"full\",\"hop\":\"broker\",\"executed\":\"no\",\"details\":{\"retry_after_ms\":1500}"
          "}",
          503, 2 },
        { WEFT_RESOURCE_EXHAUSTED, "{\"message\":\"full\",\"hop\":\"client\",\"executed\":\"no\"}", 503, 1 },
        { WEFT_RESOURCE_EXHAUSTED,
          "{\"message\":\"full\",\"hop\":\"broker\",\"details\":{\"retry_after_ms\":0}}", 503, 1 },
        { WEFT_RESOURCE_EXHAUSTED,
          "{\"message\":\"full\",\"hop\":\"broker\",\"details\":{\"retry_after_ms\":18446744073709551615}}",
          503, 3600 },
        { WEFT_UNAVAILABLE, "{\"message\":\"none\",\"hop\":\"broker\",\"executed\":\"no\"}", 503, 1 },
        { WEFT_INVALID_ARGUMENT, "{\"message\":\"bad\",\"hop\":\"handler\"}", 400, 0 },
        { WEFT_INVALID_ARGUMENT,
          "{\"message\":\"bad\",\"hop\":\"worker\",\"details\":{\"errors\":[{\"pointer\":\"\",\"message\":"
          "\"x\"}]}}",
          422, 0 },
        { WEFT_CANCELLED, "null", 499, 0 },
        { WEFT_DEADLINE_EXCEEDED, "{}", 504, 0 },
        { WEFT_ABORTED, "{\"message\":\"x\"}", 409, 0 },
        { WEFT_UNIMPLEMENTED, "{\"message\":\"x\",\"hop\":\"broker\",\"executed\":\"no\"}", 501, 0 },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        problem_t problem;
        problem_from_reply(&problem, CASES[i].status, s_mp(CASES[i].body));
        if (problem.http != CASES[i].http || problem.retry_after_s != CASES[i].retry_after_s) {
            fail_msg("case %zu: %d, retry after %u", i, problem.http, problem.retry_after_s);
        }
        assert_true(problem.detail.size > 0);
        assert_int_equal(problem.executed_maybe, strstr(CASES[i].body, "\"no\"") == NULL);
        assert_true(*problem_phrase(problem.http));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_writes_all_members, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_leaves_out_what_json_cannot_say, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_maps_replies_by_who_speaks, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
