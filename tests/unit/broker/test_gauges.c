/* test_gauges - what the operator sees */
#include "unit/broker/harness.h"

#include <string.h>
#include <weft/metrics.h>

#include "broker/gauges.h"

static bool
s_shows(const char *line)
{
    weft_buf_t buf;
    weft_buf_init(&buf, 1 << 20);
    weft_metrics_render(&buf);
    assert_true(weft_buf_add_char(&buf, '\0'));
    bool shows = strstr(buf.data, line) != NULL;
    weft_buf_fini(&buf);
    return shows;
}

static void
test_counters_gauges_and_services_are_published(void **state)
{
    (void) state;
    dispatcher_config_t config = harness_config();
    char why[80];
    config.queue_max = 1;
    assert_true(limits_parse(&config.limits, "echo=1", why, sizeof why));
    harness_t *h = harness_new(&config);
    sockets_t sockets = { .strangers = 3 };
    gauges_t *gauges = gauges_new(h->dispatcher, 1);
    assert_non_null(gauges);
    dispatcher_on_wait(h->dispatcher, gauges_on_wait, gauges);
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready(h, 1, "second", "echo", 4); /* beyond the largest number: not shown on its own */
    harness_request(h, 5, 1, "echo", "echo", 1000);
    harness_request(h, 5, 2, "unknown", "echo", 1000);
    harness_request(h, 5, 7, "echo", "echo", 1000);
    harness_request(h, 5, 8, "echo", "echo", 1000);
    gauges_publish(gauges, h->dispatcher, &sockets);
    assert_true(s_shows("weft_broker_requests_total 4\n"));
    assert_true(s_shows("weft_broker_refused_total{reason=\"unknown_service\"} 1\n"));
    assert_true(s_shows("weft_broker_refused_total{reason=\"queue_full\"} 1\n"));
    assert_true(s_shows("weft_broker_service_refused_total{service=\"echo\"} 1\n"));
    assert_true(s_shows("weft_broker_service_limit{service=\"echo\"} 1\n"));
    assert_true(s_shows("weft_broker_in_flight 2\n"));
    assert_true(s_shows("weft_broker_strangers_total 3\n"));
    assert_true(s_shows("weft_broker_queue_seconds_count 1\n"));
    assert_true(s_shows("weft_broker_service_requests_total{service=\"echo\"} 3\n"));
    assert_true(s_shows("weft_broker_service_workers{service=\"echo\"} 1\n"));
    assert_true(s_shows("weft_broker_service_ejected{service=\"echo\"} 0\n"));
    assert_true(s_shows("weft_broker_service_slow{service=\"echo\"} 0\n"));
    assert_false(s_shows("service=\"second\""));

    /* Forgotten and back: gauges fall to 0 between, counters never fall. */
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_wait(h, 10000);
    gauges_publish(gauges, h->dispatcher, &sockets);
    assert_true(s_shows("weft_broker_service_workers{service=\"echo\"} 0\n"));
    harness_ready(h, 2, "echo", "echo", 4);
    gauges_publish(gauges, h->dispatcher, &sockets);
    assert_true(s_shows("weft_broker_service_requests_total{service=\"echo\"} 3\n"));
    harness_request(h, 5, 3, "echo", "echo", 1000);
    gauges_publish(gauges, h->dispatcher, &sockets);
    assert_true(s_shows("weft_broker_service_requests_total{service=\"echo\"} 4\n"));
    harness_free(h);
    gauges_destroy(&gauges);
    gauges_destroy(&gauges);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_counters_gauges_and_services_are_published) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
