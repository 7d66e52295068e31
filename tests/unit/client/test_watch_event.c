/* watch_event: what a broker's event says, and what is none */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/json.h>
#include <weft/log.h>
#include <weft/watch.h>

static weft_buf_t mp;

static bool
s_read(const char *json, weft_watch_event_t *event)
{
    weft_json_error_t error;
    weft_buf_reset(&mp);
    assert_int_equal(weft_json_to_mp(weft_span(json), &mp, &error), WEFT_OK);
    return weft_watch_event_read(weft_buf_span(&mp), event);
}

static void
test_a_service(void **state)
{
    (void) state;
    weft_watch_event_t event;
    assert_true(
        s_read("{\"event\":\"service\",\"name\":\"notes\",\"version\":\"1.2.3\",\"workers\":2,\"capacity\":9,"
               "\"conflict\":true,\"descriptor\":{\"name\":\"notes\"},\"later\":[]}",
               &event));
    assert_int_equal(event.kind, WEFT_WATCH_SERVICE);
    assert_true(weft_span_equal(event.name, WEFT_SPAN("notes")));
    assert_true(weft_span_equal(event.version, WEFT_SPAN("1.2.3")));
    assert_true(weft_span_equal(event.descriptor, WEFT_SPAN("\x81\xa4name\xa5notes")));
    assert_int_equal(event.workers, 2);
    assert_int_equal(event.capacity, 9);
    assert_true(event.conflict);
}

static void
test_counts_are_held_to_their_range(void **state)
{
    (void) state;
    weft_watch_event_t event;
    assert_true(
        s_read("{\"event\":\"service\",\"name\":\"notes\",\"workers\":18446744073709551615,\"capacity\":-1,"
               "\"descriptor\":{}}",
               &event));
    assert_int_equal(event.workers, UINT32_MAX);
    assert_int_equal(event.capacity, 0);
    assert_false(event.conflict);
}

static void
test_gone_and_synced(void **state)
{
    (void) state;
    weft_watch_event_t event;
    assert_true(s_read("{\"event\":\"gone\",\"name\":\"notes\"}", &event));
    assert_int_equal(event.kind, WEFT_WATCH_GONE);
    assert_true(weft_span_equal(event.name, WEFT_SPAN("notes")));
    assert_int_equal(event.descriptor.size, 0);
    assert_true(s_read("{\"event\":\"synced\",\"epoch\":7}", &event));
    assert_int_equal(event.kind, WEFT_WATCH_SYNCED);
    assert_int_equal(event.name.size, 0);
}

static void
test_what_is_none_leaves_the_event_alone(void **state)
{
    (void) state;
    static const char *const CASES[] = { "null",
                                         "[]",
                                         "{}",
                                         "\"synced\"",
                                         "{\"event\":\"later\",\"name\":\"notes\"}",
                                         "{\"event\":1}",
                                         "{\"event\":\"gone\"}",
                                         "{\"event\":\"gone\",\"name\":\"No\"}",
                                         "{\"event\":\"service\",\"descriptor\":{}}",
                                         "{\"event\":\"service\",\"name\":\"notes\"}",
                                         "{\"event\":\"service\",\"name\":7,\"descriptor\":{}}" };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        weft_watch_event_t event = { .workers = 77 };
        assert_false(s_read(CASES[i], &event));
        assert_int_equal(event.workers, 77);
    }
}

int
main(void)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    weft_buf_init(&mp, 65536);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_service),
        cmocka_unit_test(test_counts_are_held_to_their_range),
        cmocka_unit_test(test_gone_and_synced),
        cmocka_unit_test(test_what_is_none_leaves_the_event_alone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_buf_fini(&mp);
    return failed;
}
