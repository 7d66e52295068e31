/* test_http_binding - splitting and comparing routes; what is refused stands in the descriptor vectors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/http_binding.h"

static weft_http_binding_t
s_parse(const char *text)
{
    weft_http_binding_t binding;
    assert_null(http_binding_parse(weft_span(text), &binding));
    return binding;
}

static int
s_compare(const char *a, const char *b)
{
    weft_http_binding_t left = s_parse(a), right = s_parse(b);
    int order = http_binding_compare(&left, &right), back = http_binding_compare(&right, &left);
    assert_int_equal((order > 0) - (order < 0), (back < 0) - (back > 0));
    return order;
}

static void
test_parse_splits_verb_and_path(void **state)
{
    (void) state;
    weft_http_binding_t binding = s_parse("PATCH /v1/notes/{id}/tags/{tag_2}");
    assert_true(weft_span_equal(binding.verb, WEFT_SPAN("PATCH")));
    assert_true(weft_span_equal(binding.path, WEFT_SPAN("/v1/notes/{id}/tags/{tag_2}")));
}

static void
test_parse_leaves_the_binding_untouched_when_it_refuses(void **state)
{
    (void) state;
    weft_http_binding_t binding = { WEFT_SPAN("kept"), WEFT_SPAN("kept") };
    assert_non_null(http_binding_parse(WEFT_SPAN("GET /v1/jobs/"), &binding));
    assert_non_null(http_binding_parse((weft_span_t){ NULL, 0 }, &binding));
    assert_true(weft_span_equal(binding.verb, WEFT_SPAN("kept")));
}

static bool
s_reserved(const char *text, const char *service)
{
    weft_http_binding_t binding = s_parse(text);
    return http_binding_reserved(&binding, weft_span(service));
}

static void
test_what_the_gateway_serves_is_reserved_for_all(void **state)
{
    (void) state;
    static const char *const OWN[] = { "GET /v1/call", "POST /v1/call/{x}", "GET /v1/services",
                                       "GET /v1/services/a/b" };
    for (size_t i = 0; i < sizeof OWN / sizeof OWN[0]; i++) {
        assert_true(s_reserved(OWN[i], "notes"));
        assert_true(s_reserved(OWN[i], "call"));
        assert_true(s_reserved(OWN[i], "jobs"));
    }
}

static void
test_paths_of_jobs_are_for_jobs(void **state)
{
    (void) state;
    static const char *const THEIRS[] = { "GET /v1/jobs", "POST /v1/jobs/{id}/cancel", "GET /v1/schedules",
                                          "PUT /v1/schedules/{name}" };
    for (size_t i = 0; i < sizeof THEIRS / sizeof THEIRS[0]; i++) {
        assert_false(s_reserved(THEIRS[i], "jobs"));
        assert_true(s_reserved(THEIRS[i], "job"));
        assert_true(s_reserved(THEIRS[i], "jobs2"));
        assert_true(s_reserved(THEIRS[i], "a.jobs"));
        assert_true(s_reserved(THEIRS[i], "schedules"));
    }
}

static void
test_what_only_looks_reserved_is_allowed(void **state)
{
    (void) state;
    assert_false(s_reserved("GET /v1/callers", "notes"));
    assert_false(s_reserved("GET /v1/call-centre", "notes"));
    assert_false(s_reserved("GET /v1/notes/jobs", "notes"));
    assert_false(s_reserved("GET /v1/jobs-done", "notes"));
}

static void
test_compare_ignores_names_of_parameters(void **state)
{
    (void) state;
    assert_int_equal(s_compare("GET /v1/n/{id}", "GET /v1/n/{key}"), 0);
    assert_int_equal(s_compare("GET /v1/n/{id}/x", "GET /v1/n/{k}/x"), 0);
    assert_int_not_equal(s_compare("GET /v1/n/{id}", "PUT /v1/n/{id}"), 0);
    assert_int_not_equal(s_compare("GET /v1/n/{id}", "GET /v1/n/id"), 0);
    assert_int_not_equal(s_compare("GET /v1/n", "GET /v1/n/{id}"), 0);
    assert_int_not_equal(s_compare("GET /v1/n", "GET /v1/m"), 0);
    assert_int_not_equal(s_compare("GET /v1/n/{a}/x", "GET /v1/n/{a}/y"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_splits_verb_and_path),
        cmocka_unit_test(test_parse_leaves_the_binding_untouched_when_it_refuses),
        cmocka_unit_test(test_what_the_gateway_serves_is_reserved_for_all),
        cmocka_unit_test(test_paths_of_jobs_are_for_jobs),
        cmocka_unit_test(test_what_only_looks_reserved_is_allowed),
        cmocka_unit_test(test_compare_ignores_names_of_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
