/* test_metrics - series, their text, and what happens beyond the limit */
#include "unit/runtime/cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <weft/metrics.h>

/* The whole text; the caller gives it back with weft_buf_fini. */
static const char *
s_render(weft_buf_t *text)
{
    weft_buf_init(text, 64 << 20);
    weft_metrics_render(text);
    assert_true(weft_buf_add_char(text, '\0'));
    return text->data;
}

static void
s_expect(const char *part)
{
    weft_buf_t text;
    if (!strstr(s_render(&text), part))
        fail_msg("\"%s\" is not in the metrics", part);
    weft_buf_fini(&text);
}

static void
test_counter_and_gauge(void **state)
{
    (void) state;
    weft_metric_t *counter = weft_metric(WEFT_COUNTER, "weft_test_total", "code=\"OK\"", "Tests,\nall.");
    weft_metric_t *plain = weft_metric(WEFT_COUNTER, "weft_plain_total", "", "Plain.");
    weft_metric_t *gauge = weft_metric(WEFT_GAUGE, "weft_depth", "", "Depth.");
    assert_ptr_equal(counter, weft_metric(WEFT_COUNTER, "weft_test_total", "code=\"OK\"", "Tests."));
    assert_ptr_not_equal(counter, weft_metric(WEFT_COUNTER, "weft_test_total", "code=\"NO\"", "Tests."));
    weft_metric_add(counter, 2);
    weft_metric_add(counter, 3);
    weft_metric_add(plain, 1);
    weft_metric_set(gauge, -4);
    assert_int_equal(weft_metric_value(counter), 5);
    s_expect("# HELP weft_test_total Tests,\\nall.\n# TYPE weft_test_total counter\n"
             "weft_test_total{code=\"OK\"} 5\nweft_test_total{code=\"NO\"} 0\n");
    s_expect("# TYPE weft_plain_total counter\nweft_plain_total 1\n");
    s_expect("# TYPE weft_depth gauge\nweft_depth -4\n");
}

static void
test_histogram(void **state)
{
    (void) state;
    weft_metric_t *histogram = weft_metric(WEFT_HISTOGRAM, "weft_wait_seconds", "s=\"a\"", "Wait.");
    weft_metric_observe_us(histogram, -5);
    weft_metric_observe_us(histogram, 100); /* bounds belong to their bucket */
    weft_metric_observe_us(histogram, 101);
    weft_metric_observe_us(histogram, 60000000);
    weft_metric_observe_us(histogram, 60000001);
    assert_int_equal(weft_metric_value(histogram), 5);
    s_expect("weft_wait_seconds_bucket{s=\"a\",le=\"0.0001\"} 2\n"
             "weft_wait_seconds_bucket{s=\"a\",le=\"0.00025\"} 3\n");
    s_expect("weft_wait_seconds_bucket{s=\"a\",le=\"30\"} 3\nweft_wait_seconds_bucket{s=\"a\",le=\"60\"} 4\n"
             "weft_wait_seconds_bucket{s=\"a\",le=\"+Inf\"} 5\nweft_wait_seconds_sum{s=\"a\"} 120.000202\n"
             "weft_wait_seconds_count{s=\"a\"} 5\n");
    weft_metric_t *bare = weft_metric(WEFT_HISTOGRAM, "weft_bare_seconds", "", "Bare.");
    weft_metric_observe_us(bare, 1);
    s_expect("weft_bare_seconds_bucket{le=\"0.0001\"} 1\n");
    s_expect("weft_bare_seconds_sum 0.000001\nweft_bare_seconds_count 1\n");
}

static void
test_labels(void **state)
{
    (void) state;
    char text[64];
    assert_string_equal(weft_metric_labels(text, sizeof text, "a", "1", "b", "x\"y\\z\n", NULL),
                        "a=\"1\",b=\"x\\\"y\\\\z\\n\"");
    assert_string_equal(weft_metric_labels(text, sizeof text, "a", "\xff\xc3", NULL),
                        "a=\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string_equal(weft_metric_labels(text, sizeof text, NULL), "");
}

/* Whatever the room, whole characters between whole quotes. */
static void
test_labels_cut(void **state)
{
    (void) state;
    for (size_t size = 1; size < 24; size++) {
        char text[25];
        memset(text, '#', sizeof text);
        weft_metric_labels(text, size, "ab", "\xc3\xa9\"\xc3\xa9", "c", "d", NULL);
        assert_int_equal(text[size], '#');
        const size_t length = strlen(text);
        assert_true(length < size);
        assert_true(length == 0 || (length >= 4 && text[length - 1] == '"'));
        assert_true(size < 5 || length >= 4);
    }
    char exact[19];
    assert_string_equal(weft_metric_labels(exact, 13, "ab", "\xc3\xa9\"\xc3\xa9", NULL),
                        "ab=\"\xc3\xa9\\\"\xc3\xa9\"");
    assert_string_equal(weft_metric_labels(exact, 11, "ab", "\xc3\xa9\"\xc3\xa9", NULL),
                        "ab=\"\xc3\xa9\\\"\"");
    assert_string_equal(weft_metric_labels(exact, 9, "ab", "\xc3\xa9\"\xc3\xa9", NULL), "ab=\"\xc3\xa9\"");
}

#define ROUNDS 20000

static void *
s_count(void *argument)
{
    weft_metric_t **metrics = argument;
    for (int i = 0; i < ROUNDS; i++) {
        weft_metric_add(metrics[0], 1);
        weft_metric_observe_us(metrics[1], i);
        (void) weft_metric(WEFT_COUNTER, "weft_threads_total", "", "T.");
    }
    return NULL;
}

static void
test_threads_lose_nothing(void **state)
{
    (void) state;
    pthread_t threads[4];
    weft_metric_t *metrics[2] = { weft_metric(WEFT_COUNTER, "weft_threads_total", "", "T."),
                                  weft_metric(WEFT_HISTOGRAM, "weft_threads_seconds", "", "T.") };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, s_count, metrics), 0);
    for (int i = 0; i < 5; i++)
        s_expect("weft_threads_total");
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(weft_metric_value(metrics[0]), 4 * ROUNDS);
    assert_int_equal(weft_metric_value(metrics[1]), 4 * ROUNDS);
}

static void
s_collect(void *context)
{
    weft_metric_set(context, weft_metric_value(context) + 1);
    (void) weft_metric(WEFT_GAUGE, "weft_made_while_collecting", "", "Must not lock up.");
}

static void
test_collectors_run_before_each_rendering(void **state)
{
    (void) state;
    weft_metric_t *gauge = weft_metric(WEFT_GAUGE, "weft_collected", "", "Collected.");
    weft_metrics_on_collect(s_collect, gauge);
    s_expect("weft_collected 1\n");
    s_expect("weft_collected 2\n");
    s_expect("weft_made_while_collecting 0\n");
}

/* Runs last: it fills the registry. */
static void
test_beyond_the_limit_series_are_shared_and_counted(void **state)
{
    (void) state;
    weft_metric_t *last = NULL;
    for (int i = 0; i < 10100; i++) {
        char labels[32];
        (void) snprintf(labels, sizeof labels, "n=\"%d\"", i);
        last = weft_metric(WEFT_COUNTER, "weft_many_total", labels, "Many.");
        assert_non_null(last);
    }
    assert_ptr_equal(last, weft_metric(WEFT_COUNTER, "weft_many_total", "n=\"another\"", "Many."));
    assert_ptr_equal(weft_metric(WEFT_COUNTER, "weft_many_total", "n=\"0\"", "Many."),
                     weft_metric(WEFT_COUNTER, "weft_many_total", "n=\"0\"", "Many."));
    weft_metric_add(last, 9);
    s_expect("weft_many_total{overflow=\"true\"} 9\n");
    weft_metric_t *other = weft_metric(WEFT_GAUGE, "weft_late", "", "Late.");
    assert_ptr_not_equal(other, last);
    weft_buf_t text;
    const char *found = strstr(s_render(&text), "\nweft_metrics_overflow_total ");
    assert_non_null(found);
    long overflows = 0;
    assert_int_equal(sscanf(found, "\nweft_metrics_overflow_total %ld", &overflows), 1);
    assert_in_range(overflows, 102, 200);
    weft_buf_fini(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter_and_gauge),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_labels_cut),
        cmocka_unit_test(test_threads_lose_nothing),
        cmocka_unit_test(test_collectors_run_before_each_rendering),
        cmocka_unit_test(test_beyond_the_limit_series_are_shared_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
