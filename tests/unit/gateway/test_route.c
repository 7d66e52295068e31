/* test_route - the compiled route table */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "gateway/route.h"

static char scratch[512];

static route_t
s_route(const char *verb, const char *path, const char *target)
{
    return (route_t){ .verb = weft_span(verb), .path = weft_span(path), .target = target };
}

static route_result_t
s_find(const route_table_t *table, route_verb_t verb, const char *target, route_match_t *match)
{
    path_t path;
    assert_null(path_read(&path, weft_span(target), WEFT_SPAN(""), scratch, sizeof scratch));
    return route_find(table, verb, &path, match);
}

static void
test_literal_beats_parameter_and_steps_back(void **state)
{
    (void) state;
    route_t routes[] = {
        s_route("GET", "/v1/notes/{id}", "get"),        s_route("GET", "/v1/notes/search", "search"),
        s_route("GET", "/v1/{any}/tail/end", "tail"),   s_route("POST", "/v1/notes", "create"),
        s_route("GET", "/v1/notes/{id}/parts", "part"), s_route("DELETE", "/v1/notes/{name}", "delete"),
    };
    route_table_t *table = route_table_new(routes, 6);
    route_match_t match;
    assert_int_equal(s_find(table, ROUTE_GET, "/v1/notes/search", &match), ROUTE_FOUND);
    assert_string_equal(match.target, "search");
    assert_int_equal(match.param_count, 0);
    assert_int_equal(s_find(table, ROUTE_GET, "/v1/notes/a%2Fb", &match), ROUTE_FOUND);
    assert_string_equal(match.target, "get");
    assert_int_equal(match.param_count, 1);
    assert_true(weft_span_equal(match.params[0].name, WEFT_SPAN("id")));
    assert_true(weft_span_equal(match.params[0].value, WEFT_SPAN("a/b")));
    /* "notes" is a literal, but only the parameter edge leads on to tail/end. */
    assert_int_equal(s_find(table, ROUTE_GET, "/v1/notes/tail/end", &match), ROUTE_FOUND);
    assert_string_equal(match.target, "tail");
    /* The literal child has no DELETE, the parameter beside it has. */
    assert_int_equal(s_find(table, ROUTE_DELETE, "/v1/notes/search", &match), ROUTE_FOUND);
    assert_string_equal(match.target, "delete");
    assert_true(weft_span_equal(match.params[0].name, WEFT_SPAN("name")));
    route_table_destroy(&table);
    route_table_destroy(&table);
}

static void
test_tells_unknown_from_wrong_verb(void **state)
{
    (void) state;
    route_t routes[] = { s_route("GET", "/v1/a/{x}", "1"), s_route("PUT", "/v1/a/{x}", "2"),
                         s_route("POST", "/v1/a/b", "3") };
    route_table_t *table = route_table_new(routes, 3);
    route_match_t match;
    assert_int_equal(s_find(table, ROUTE_DELETE, "/v1/a/b", &match), ROUTE_WRONG_VERB);
    assert_int_equal(match.allow, 1u << ROUTE_GET | 1u << ROUTE_PUT | 1u << ROUTE_POST);
    assert_int_equal(s_find(table, ROUTE_POST, "/v1/a/c", &match), ROUTE_WRONG_VERB);
    assert_int_equal(match.allow, 1u << ROUTE_GET | 1u << ROUTE_PUT);
    static const char *const UNKNOWN[] = { "/",        "/v1",    "/v1/a",   "/v1/a/",
                                           "/v1/a/b/", "/v1//b", "/V1/a/b", "/v2/a/b" };
    for (size_t i = 0; i < sizeof UNKNOWN / sizeof UNKNOWN[0]; i++) {
        assert_int_equal(s_find(table, ROUTE_POST, UNKNOWN[i], &match), ROUTE_UNKNOWN);
    }
    route_table_destroy(&table);
}

static void
test_first_registered_keeps_a_contested_route(void **state)
{
    (void) state;
    route_t routes[] = {
        s_route("GET", "/v1/a/{x}", "first"), s_route("GET", "/v1/a/{y}", "second"),
        s_route("GET", "/v1/a/x{y}", "bad"),  s_route("GET", "/v1//a", "bad"),
        s_route("TRACE", "/v1/a", "bad"),     s_route("GET", "v1", "bad"),
    };
    route_table_t *table = route_table_new(routes, 6);
    assert_false(routes[0].shadowed);
    assert_true(routes[1].shadowed);
    assert_string_equal(routes[1].winner, "first");
    for (int i = 2; i < 6; i++) {
        assert_true(routes[i].shadowed);
        assert_null(routes[i].winner);
    }
    route_match_t match;
    assert_int_equal(s_find(table, ROUTE_GET, "/v1/a/1", &match), ROUTE_FOUND);
    assert_string_equal(match.target, "first");
    route_table_destroy(&table);
}

static void
test_holds_many_routes(void **state)
{
    (void) state;
    enum { MANY = 2000 };
    static char paths[MANY][32];
    static route_t routes[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof paths[i], "/v1/s%d/{id}/x", i);
        routes[i] = s_route("GET", paths[i], paths[i]);
    }
    route_table_t *table = route_table_new(routes, MANY);
    route_match_t match;
    for (int i = 0; i < MANY; i++) {
        char target[32];
        snprintf(target, sizeof target, "/v1/s%d/7/x", i);
        assert_int_equal(s_find(table, ROUTE_GET, target, &match), ROUTE_FOUND);
        assert_ptr_equal(match.target, paths[i]);
    }
    assert_int_equal(s_find(table, ROUTE_GET, "/v1/s2000/7/x", &match), ROUTE_UNKNOWN);
    route_table_destroy(&table);
    table = route_table_new(NULL, 0);
    assert_int_equal(s_find(table, ROUTE_GET, "/v1", &match), ROUTE_UNKNOWN);
    route_table_destroy(&table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literal_beats_parameter_and_steps_back),
        cmocka_unit_test(test_tells_unknown_from_wrong_verb),
        cmocka_unit_test(test_first_registered_keeps_a_contested_route),
        cmocka_unit_test(test_holds_many_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
