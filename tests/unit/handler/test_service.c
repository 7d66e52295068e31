/* test_service - what a method table becomes, and what is wrong with a bad one */
#include "fixture.h"

static weft_status_t
s_run(weft_request_t *request, void *app)
{
    (void) request;
    (void) app;
    return WEFT_OK;
}

static const weft_method_t s_good[] = {
    { .name = "zeta", .run = s_run },
    { .name = "get",
      .run = s_run,
      .summary = "gets",
      .input = "{\"type\":\"object\",\"required\":[\"id\"]}",
      .output = "{\"type\":\"object\"}",
      .http = "GET /v1/things/{id}, POST /v1/things/get",
      .scope = "things:read",
      .timeout_ms = 1500,
      .idempotent = true,
      .job = { .max_attempts = 3,
               .timeout_ms = 4,
               .backoff_ms = 5,
               .backoff_max_ms = 6,
               .keep_ms = 7000000000,
               .concurrency = 8,
               .final_codes = WEFT_CODE(WEFT_NOT_FOUND) | WEFT_CODE(WEFT_UNAUTHENTICATED) } },
    { .name = "get-all", .run = s_run, .streaming = true, .job = { .final_codes = WEFT_FINAL_NONE } },
    { .name = NULL },
};

static void
test_new_describes_every_row(void **state)
{
    (void) state;
    char why[512] = "";
    const weft_service_t row = { .name = "things", .version = "1.2.3", .summary = "all", .methods = s_good };
    service_t *self = service_new(&row, why, sizeof why);
    assert_string_equal(why, "");
    assert_non_null(self);
    const weft_descriptor_t *descriptor = self->descriptor;
    assert_span(descriptor->name, "things");
    assert_span(descriptor->version, "1.2.3");
    assert_int_equal(descriptor->instance.size, 16);
    assert_int_equal(descriptor->method_count, 3);
    const weft_descriptor_method_t *get = weft_descriptor_method(descriptor, weft_span("get"));
    assert_non_null(get);
    assert_span(get->summary, "gets");
    assert_span(get->scope, "things:read");
    assert_int_equal(get->http_count, 2);
    assert_span(get->http[0].verb, "GET");
    assert_span(get->http[0].path, "/v1/things/{id}");
    assert_span(get->http[1].verb, "POST");
    assert_span(get->http[1].path, "/v1/things/get");
    assert_int_equal(get->timeout_ms, 1500);
    assert_true(get->idempotent);
    assert_false(get->streaming);
    const weft_descriptor_method_t *all = weft_descriptor_method(descriptor, weft_span("get-all"));
    assert_true(all->streaming);
    assert_memory_equal(&get->job, &s_good[1].job, sizeof get->job);
    assert_memory_equal(&all->job, &s_good[2].job, sizeof all->job);
    assert_false(all->idempotent);
    service_destroy(&self);
    assert_null(self);
    service_destroy(&self);
}

static void
test_method_is_found_by_its_whole_name(void **state)
{
    (void) state;
    fixture_t fixture;
    const weft_service_t row = { .name = "things", .version = "1.2.3", .methods = s_good };
    fixture_init(&fixture, &row);
    service_t *self = fixture.service;
    assert_string_equal(service_method(self, weft_span("get"))->name, "get");
    assert_non_null(service_method(self, weft_span("get"))->input);
    assert_string_equal(service_method(self, weft_span("get-all"))->name, "get-all");
    assert_string_equal(service_method(self, weft_span("zeta"))->name, "zeta");
    const char *const unknown[] = { "ge", "gets", "get-", "a", "zz", "get-all2" };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_ptr_equal(service_method(self, weft_span(unknown[i])), &self->unknown);
    fixture_fini(&fixture);
}

static void
test_new_names_what_is_wrong(void **state)
{
    (void) state;
    const struct {
        weft_method_t method;
        const char *said[3];
    } cases[] = {
        { { .name = "bad", .run = s_run, .input = "{\"type\":" }, { "method bad", "input schema", "byte" } },
        { { .name = "bad", .run = s_run, .input = "{\"properties\":{\"x\":{\"type\":\"strnig\"}}}" },
          { "method bad", "input schema", "/properties/x" } },
        { { .name = "bad", .run = s_run, .output = "{\"frobnicate\":1}" },
          { "method bad", "output schema", "frobnicate" } },
        { { .name = "Bad", .run = s_run }, { "name", "", "" } },
        { { .name = "bad", .run = s_run, .http = "GET /other/bad" }, { "bad", "", "" } },
        { { .name = "bad", .run = s_run, .job = { .max_attempts = 1001 } },
          { "method bad", "job.max_attempts", "1000" } },
        { { .name = "bad", .run = s_run, .job = { .final_codes = WEFT_CODE(17) } },
          { "method bad", "job.final", "" } },
        { { .name = "bad", .run = NULL }, { "method bad", "function", "" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[512] = "";
        const weft_method_t methods[] = { cases[i].method, { .name = NULL } };
        const weft_service_t row = { .name = "things", .version = "1.0.0", .methods = methods };
        assert_null(service_new(&row, why, sizeof why));
        for (size_t j = 0; j < 3; j++) {
            if (!strstr(why, cases[i].said[j]))
                fail_msg("case %zu: \"%s\" does not say \"%s\"", i, why, cases[i].said[j]);
        }
    }
}

static void
test_count_counts_by_code(void **state)
{
    (void) state;
    fixture_t fixture;
    const weft_service_t row = { .name = "counted", .version = "1.2.3", .methods = s_good };
    fixture_init(&fixture, &row);
    method_t *method = service_method(fixture.service, weft_span("get"));
    service_count(fixture.service, method, WEFT_OK, 100);
    service_count(fixture.service, method, WEFT_OK, 100);
    service_count(fixture.service, method, WEFT_NOT_FOUND, -1);
    service_count(fixture.service, method, (weft_status_t) 99, -1);
    weft_buf_t text;
    weft_buf_init(&text, 1 << 20);
    weft_metrics_render(&text);
    assert_true(weft_buf_add_char(&text, '\0'));
    assert_non_null(strstr(text.data, "method=\"get\",code=\"OK\"} 2"));
    assert_non_null(strstr(text.data, "method=\"get\",code=\"NOT_FOUND\"} 1"));
    assert_non_null(strstr(text.data, "method=\"get\",code=\"UNKNOWN\"} 1"));
    weft_buf_fini(&text);
    fixture_fini(&fixture);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_describes_every_row),
        cmocka_unit_test(test_method_is_found_by_its_whole_name),
        cmocka_unit_test(test_new_names_what_is_wrong),
        cmocka_unit_test(test_count_counts_by_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
