/* test_catalog - what registry events make of routes and services */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <weft/json.h>

#include "gateway/catalog.h"

static catalog_t *catalog;
static weft_buf_t mp;

static int
s_setup(void **state)
{
    (void) state;
    weft_buf_init(&mp, 65536);
    catalog = catalog_new();
    return catalog ? 0 : -1;
}

static int
s_teardown(void **state)
{
    (void) state;
    catalog_destroy(&catalog);
    weft_buf_fini(&mp);
    return 0;
}

static bool
s_apply(const char *json, int64_t now_ms)
{
    weft_json_error_t error;
    weft_buf_reset(&mp);
    assert_int_equal(weft_json_to_mp(weft_span(json), &mp, &error), WEFT_OK);
    return catalog_apply(catalog, weft_buf_span(&mp), now_ms);
}

/* A service with one method "get", bound to GET /v1/things/{id}. */
static bool
s_service(const char *name, const char *version, int workers, const char *input, int64_t now_ms)
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"event\":\"service\",\"name\":\"%s\",\"version\":\"%s\",\"workers\":%d,\"capacity\":6,"
             "\"conflict\":false,"
             "\"descriptor\":{\"name\":\"%s\",\"version\":\"%s\",\"instance\":\"i\",\"methods\":[{\"name\":"
             "\"get\",\"input\":%s,"
             "\"http\":[\"GET /v1/things/{id}\"]}]}}",
             name, version, workers, name, version, input);
    return s_apply(json, now_ms);
}

static void
test_services_come_and_go(void **state)
{
    (void) state;
    assert_true(s_service("b", "1.0.0", 2, "{}", 100));
    assert_true(s_service("a", "1.0.0", 1, "{}", 100));
    snapshot_t *snapshot = catalog_snapshot(catalog);
    assert_false(snapshot->synced);
    assert_true(s_apply("{\"event\":\"synced\",\"epoch\":7}", 100));
    assert_true(s_service("b", "1.0.0", 0, "{}", 200));
    assert_true(s_apply("{\"event\":\"gone\",\"name\":\"a\"}", 300));
    assert_false(s_apply("{\"event\":\"gone\",\"name\":\"a\"}", 300));
    snapshot_t *later = catalog_snapshot(catalog);
    /* The older snapshot still has what it had. */
    const catalog_row_t *row = snapshot_find(snapshot, WEFT_SPAN("a"));
    assert_non_null(row);
    assert_non_null(catalog_row_method(row, WEFT_SPAN("get")));
    assert_null(catalog_row_method(row, WEFT_SPAN("set")));
    assert_int_equal(snapshot_find(snapshot, WEFT_SPAN("b"))->workers, 2);
    assert_true(later->synced);
    assert_null(snapshot_find(later, WEFT_SPAN("a")));
    assert_int_equal(snapshot_find(later, WEFT_SPAN("b"))->workers, 0);
    assert_int_equal(snapshot_find(later, WEFT_SPAN("b"))->idle_at, 200);
    snapshot_destroy(&snapshot);
    snapshot_destroy(&later);
}

static void
test_what_one_of_several_brokers_forgets_is_missing(void **state)
{
    (void) state;
    assert_false(catalog_wanting(catalog));
    assert_true(s_service("a", "1.0.0", 1, "{}", 0));
    assert_true(s_apply("{\"event\":\"synced\",\"epoch\":7}", 0));
    assert_false(catalog_wanting(catalog));
    catalog_set_others(catalog, true);
    assert_true(s_service("a", "1.0.0", 0, "{}", 100));
    assert_true(catalog_wanting(catalog));
    assert_true(s_apply("{\"event\":\"gone\",\"name\":\"a\"}", 200));
    assert_false(catalog_expire(catalog, 199 + CATALOG_GRACE_MS));
    assert_true(catalog_wanting(catalog));
    catalog_listing(catalog); /* the other has workers of it */
    assert_true(s_service("a", "1.0.0", 1, "{}", 5000));
    assert_true(s_apply("{\"event\":\"synced\",\"epoch\":8}", 5000));
    assert_false(catalog_wanting(catalog));
    assert_false(catalog_expire(catalog, 200 + 10 * CATALOG_GRACE_MS));
    assert_true(s_apply("{\"event\":\"gone\",\"name\":\"a\"}", 6000));
    assert_true(catalog_expire(catalog, 6000 + CATALOG_GRACE_MS));
    assert_false(catalog_wanting(catalog));
}

static void
test_a_listing_that_lacks_a_service_forgets_it_after_a_grace(void **state)
{
    (void) state;
    assert_true(s_service("a", "1.0.0", 1, "{}", 0));
    assert_true(s_service("b", "1.0.0", 1, "{}", 0));
    assert_true(s_apply("{\"event\":\"synced\",\"epoch\":7}", 0));
    catalog_listing(catalog); /* another broker, or the same one restarted */
    assert_true(s_service("b", "1.0.0", 1, "{}", 1000));
    assert_true(s_apply("{\"event\":\"synced\",\"epoch\":8}", 1000));
    snapshot_t *snapshot = catalog_snapshot(catalog);
    assert_int_equal(snapshot_find(snapshot, WEFT_SPAN("a"))->workers, 0);
    assert_int_equal(snapshot_find(snapshot, WEFT_SPAN("b"))->workers, 1);
    snapshot_destroy(&snapshot);
    assert_false(catalog_expire(catalog, 1000 + CATALOG_GRACE_MS - 1));
    assert_true(catalog_expire(catalog, 1000 + CATALOG_GRACE_MS));
    snapshot = catalog_snapshot(catalog);
    assert_null(snapshot_find(snapshot, WEFT_SPAN("a")));
    assert_non_null(snapshot_find(snapshot, WEFT_SPAN("b")));
    snapshot_destroy(&snapshot);
}

static void
test_who_came_first_keeps_a_route(void **state)
{
    (void) state;
    assert_true(s_service("m", "1.0.0", 1, "{}", 0)); /* before the first listing was complete: by name */
    assert_true(s_service("k", "1.0.0", 1, "{}", 0));
    assert_true(s_apply("{\"event\":\"synced\",\"epoch\":7}", 0));
    assert_true(s_service("a", "1.0.0", 1, "{}", 0)); /* later: behind them */
    snapshot_t *snapshot = catalog_snapshot(catalog);
    assert_int_equal(snapshot->route_count, 3);
    assert_int_equal(snapshot->shadowed_count, 2);
    char scratch[64];
    path_t path;
    route_match_t match;
    assert_null(path_read(&path, WEFT_SPAN("/v1/things/7"), WEFT_SPAN(""), scratch, sizeof scratch));
    assert_int_equal(route_find(snapshot->table, ROUTE_GET, &path, &match), ROUTE_FOUND);
    const method_t *method = match.target;
    assert_true(weft_span_equal(method->service->descriptor->name, WEFT_SPAN("k")));
    snapshot_destroy(&snapshot);
    /* A new version does not lose its place. */
    assert_true(s_service("k", "2.0.0", 1, "{}", 0));
    snapshot = catalog_snapshot(catalog);
    assert_int_equal(route_find(snapshot->table, ROUTE_GET, &path, &match), ROUTE_FOUND);
    method = match.target;
    assert_true(weft_span_equal(method->service->descriptor->version, WEFT_SPAN("2.0.0")));
    snapshot_destroy(&snapshot);
}

static void
test_a_method_whose_schema_does_not_compile_is_refused_alone(void **state)
{
    (void) state;
    assert_true(s_service("a", "1.0.0", 1, "{\"type\":\"nonsense\"}", 0));
    snapshot_t *snapshot = catalog_snapshot(catalog);
    const method_t *method = catalog_row_method(snapshot_find(snapshot, WEFT_SPAN("a")), WEFT_SPAN("get"));
    assert_non_null(method->refused);
    assert_null(method->input);
    assert_int_equal(snapshot->refused_count, 1);
    snapshot_destroy(&snapshot);
}

static void
test_nonsense_changes_nothing(void **state)
{
    (void) state;
    assert_false(s_apply("{\"event\":\"later\",\"name\":\"a\"}", 0));
    assert_false(s_apply("{\"event\":\"service\",\"name\":\"A B\"}", 0));
    assert_false(s_apply("{\"event\":\"service\",\"name\":\"a\"}", 0));
    assert_false(s_apply("[1]", 0));
    assert_false(s_apply("{\"event\":\"service\",\"name\":\"a\",\"workers\":1,\"descriptor\":{\"name\":\"b\","
                         "\"version\":\"1.0.0\","
                         "\"instance\":\"i\",\"methods\":[]}}",
                         0));
    snapshot_t *snapshot = catalog_snapshot(catalog);
    assert_int_equal(snapshot->row_count, 0);
    snapshot_destroy(&snapshot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_services_come_and_go, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_one_of_several_brokers_forgets_is_missing, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_a_listing_that_lacks_a_service_forgets_it_after_a_grace, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_who_came_first_keeps_a_route, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_method_whose_schema_does_not_compile_is_refused_alone, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_nonsense_changes_nothing, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
