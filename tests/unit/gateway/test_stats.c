/* test_stats - what is counted shows under the right name, and the number of series is bounded */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gateway/stats.h"

/* The value of the line that begins so in the rendered metrics; -1: there is none. */
static int64_t
s_value(const char *series)
{
    weft_buf_t text;
    int64_t value = -1;
    weft_buf_init(&text, (size_t) 16 << 20);
    weft_metrics_render(&text);
    assert_int_equal(weft_buf_write(&text, "", 1), 0);
    size_t size = strlen(series);
    for (const char *line = text.data; line; line = strchr(line, '\n'), line += line != NULL) {
        long long number;
        if (strncmp(line, series, size) == 0 && sscanf(line + size, " %lld", &number) == 1)
            value = number;
    }
    weft_buf_fini(&text);
    return value;
}

static void
test_counts_by_method_and_status(void **state)
{
    (void) state;
    stats_method_t get;
    stats_method_t put;
    stats_method_init(&get, WEFT_SPAN("notes"), WEFT_SPAN("get"));
    stats_method_init(&put, WEFT_SPAN("notes"), WEFT_SPAN("put"));
    stats_method_count(&get, 200, 1000);
    stats_method_count(&get, 200, 1000);
    stats_method_count(&get, 404, 1000);
    stats_method_count(&put, 200, 1000);
#define SERIES "weft_gateway_requests_total{service=\"notes\",method="
    assert_int_equal(s_value(SERIES "\"get\",code=\"200\"}"), 2);
    assert_int_equal(s_value(SERIES "\"get\",code=\"404\"}"), 1);
    assert_int_equal(s_value(SERIES "\"put\",code=\"200\"}"), 1);
    assert_int_equal(s_value(SERIES "\"put\",code=\"404\"}"), -1);
#undef SERIES
    assert_int_equal(s_value("weft_gateway_request_duration_seconds_count{service=\"notes\",method=\"get\"}"),
                     3);
}

/* A handler may answer with any status: they must not each make a series. */
static void
test_rare_statuses_share_one_series(void **state)
{
    (void) state;
    stats_method_t method;
    stats_method_init(&method, WEFT_SPAN("rare"), WEFT_SPAN("m"));
    stats_method_count(&method, 418, 1);
    stats_method_count(&method, 599, 1);
    stats_method_count(&method, 0, 1);
    stats_method_count(&method, -7, 1);
    assert_int_equal(s_value("weft_gateway_requests_total{service=\"rare\",method=\"m\",code=\"other\"}"), 4);
    assert_int_equal(s_value("weft_gateway_requests_total{service=\"rare\",method=\"m\",code=\"418\"}"), -1);
}

static void
test_each_common_status_has_its_own(void **state)
{
    (void) state;
    static const int COMMON[] = { 200, 201, 202, 204, 400, 404, 405, 409, 412,
                                  413, 415, 422, 429, 499, 500, 503, 504 };
    stats_method_t method;
    stats_method_init(&method, WEFT_SPAN("common"), WEFT_SPAN("m"));
    for (size_t i = 0; i < sizeof COMMON / sizeof *COMMON; i++)
        stats_method_count(&method, COMMON[i], 1);
    for (size_t i = 0; i < sizeof COMMON / sizeof *COMMON; i++) {
        char series[128];
        (void) snprintf(series, sizeof series,
                        "weft_gateway_requests_total{service=\"common\",method=\"m\",code=\"%d\"}",
                        COMMON[i]);
        assert_int_equal(s_value(series), 1);
    }
}

static void
test_long_names_are_cut(void **state)
{
    (void) state;
    char name[200];
    char series[256];
    stats_method_t method;
    memset(name, 'a', sizeof name);
    stats_method_init(&method, (weft_span_t){ name, sizeof name }, WEFT_SPAN("m"));
    assert_int_equal(strlen(method.service), sizeof method.service - 1);
    stats_method_count(&method, 200, 1);
    (void) snprintf(series, sizeof series,
                    "weft_gateway_requests_total{service=\"%.63s\",method=\"m\",code=\"200\"}", name);
    assert_int_equal(s_value(series), 1);
}

enum { THREADS = 4, COUNTS = 10000 };

static void *
s_count(void *method)
{
    for (int i = 0; i < COUNTS; i++)
        stats_method_count(method, i % 2 ? 200 : 503, 1);
    return NULL;
}

static void
test_threads_that_meet_at_the_first_count(void **state)
{
    (void) state;
    stats_method_t method;
    pthread_t threads[THREADS];
    stats_method_init(&method, WEFT_SPAN("threads"), WEFT_SPAN("m"));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, s_count, &method), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(s_value("weft_gateway_requests_total{service=\"threads\",method=\"m\",code=\"200\"}"),
                     THREADS * COUNTS / 2);
    assert_int_equal(s_value("weft_gateway_requests_total{service=\"threads\",method=\"m\",code=\"503\"}"),
                     THREADS * COUNTS / 2);
}

static void
test_every_reason_has_a_series(void **state)
{
    (void) state;
    stats_t stats;
    stats_init(&stats);
    assert_null(stats.refused[0]); /* no reason */
    for (unsigned i = 1; i < GUARD_REASONS; i++) {
        assert_non_null(stats.refused[i]);
        for (unsigned other = 1; other < i; other++)
            assert_ptr_not_equal(stats.refused[i], stats.refused[other]);
    }
    weft_metric_add(stats.overload_bodies, 3);
    assert_int_equal(s_value("weft_gateway_overload_total{reason=\"bodies\"}"), 3);
    assert_int_equal(s_value("weft_gateway_overload_total{reason=\"streams\"}"), 0);
    weft_metric_set(stats.connections, 7);
    assert_int_equal(s_value("weft_gateway_connections"), 7);
    stats_method_count(&stats.own, 404, 1);
    assert_int_equal(s_value("weft_gateway_requests_total{service=\"\",method=\"\",code=\"404\"}"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_by_method_and_status),
        cmocka_unit_test(test_rare_statuses_share_one_series),
        cmocka_unit_test(test_each_common_status_has_its_own),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_threads_that_meet_at_the_first_count),
        cmocka_unit_test(test_every_reason_has_a_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
