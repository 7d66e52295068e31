/* test_watch - the stream of changes of the registry */
#include "unit/broker/harness.h"

#include <stdio.h>

#include <weft/log.h>

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
s_expect_event(harness_t *h, uint32_t client, const char *event, const char *name, uint64_t workers)
{
    weft_message_t message = harness_expect(h, FRONT, client, WEFT_PARTIAL);
    const char *why;
    assert_int_equal(weft_wire_check(&message, &why), WEFT_OK);
    assert_true(weft_span_equal(weft_mp_get_str(message.body, "event"), weft_span(event)));
    if (name)
        assert_true(weft_span_equal(weft_mp_get_str(message.body, "name"), weft_span(name)));
    assert_int_equal(weft_mp_get_uint(message.body, "workers", 0), workers);
}

static void
test_first_listing_then_changes(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_ready(h, 1, "notes", "get", 4);
    harness_request(h, 5, 9, "weft.broker", "watch", 60000);
    s_expect_event(h, 5, "service", "echo", 1);
    s_expect_event(h, 5, "service", "notes", 1);
    s_expect_event(h, 5, "synced", NULL, 0);
    harness_expect_nothing(h, FRONT, 5);
    harness_ready(h, 2, "echo", "echo", 4);
    harness_ready(h, 3, "echo", "echo", 4);
    harness_expect_nothing(h, FRONT, 5);
    harness_wait(h, 50);
    s_expect_event(h, 5, "service", "echo", 3); /* two changes, one event */
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_wait(h, 50);
    s_expect_event(h, 5, "service", "echo", 2);
    s_expect_event(h, 5, "service", "notes", 0);
    for (int i = 0; i < 10; i++) {
        harness_wait(h, 1000);
        harness_say(h, BACK, 2, WEFT_PONG, 0, 0);
        harness_say(h, BACK, 3, WEFT_PONG, 0, 0);
    }
    s_expect_event(h, 5, "gone", "notes", 0);
    harness_expect_nothing(h, FRONT, 5);
    harness_free(h);
}

static void
test_changes_of_capacity_are_told_within_a_second(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 4);
    harness_request(h, 5, 9, "weft.broker", "watch", 60000);
    s_expect_event(h, 5, "service", "echo", 1);
    s_expect_event(h, 5, "synced", NULL, 0);
    for (uint32_t capacity = 5; capacity < 10; capacity++) {
        harness_ready(h, 1, "echo", "echo", capacity);
        harness_wait(h, 150);
    }
    harness_expect_nothing(h, FRONT, 5);
    harness_wait(h, 250);
    weft_message_t message = harness_expect(h, FRONT, 5, WEFT_PARTIAL);
    assert_int_equal(weft_mp_get_uint(message.body, "capacity", 0), 9);
    harness_ready(h, 1, "echo", "echo", 9); /* nothing new */
    harness_wait(h, 2000);
    harness_expect_nothing(h, FRONT, 5);
    harness_ready(h, 1, "echo", "echo,more", 9);
    harness_wait(h, 50);
    s_expect_event(h, 5, "service", "echo", 1);
    harness_free(h);
}

static void
test_event_carries_the_whole_description(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready_version(h, 1, "echo", "1.2.3", "echo!", 4);
    harness_request(h, 5, 9, "weft.broker", "watch", 60000);
    weft_message_t message = harness_expect(h, FRONT, 5, WEFT_PARTIAL);
    assert_true(weft_span_equal(weft_mp_get_str(message.body, "version"), WEFT_SPAN("1.2.3")));
    assert_int_equal(weft_mp_get_uint(message.body, "capacity", 0), 4);
    assert_false(weft_mp_get_bool(message.body, "conflict", true));
    weft_span_t descriptor = weft_mp_get(message.body, "descriptor");
    assert_true(weft_span_equal(weft_mp_get_str(descriptor, "name"), WEFT_SPAN("echo")));
    harness_expect(h, FRONT, 5, WEFT_PARTIAL);
    harness_ready_version(h, 2, "echo", "1.2.3", "echo!,more", 4);
    harness_wait(h, 50);
    message = harness_expect(h, FRONT, 5, WEFT_PARTIAL);
    assert_true(weft_mp_get_bool(message.body, "conflict", false));
    harness_free(h);
}

static void
test_watch_ends_with_its_ttl_or_a_cancel(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_request(h, 5, 9, "weft.broker", "watch", 1000);
    harness_request(h, 6, 9, "weft.broker", "watch", 1000);
    s_expect_event(h, 5, "synced", NULL, 0);
    s_expect_event(h, 6, "synced", NULL, 0);
    harness_say(h, FRONT, 6, WEFT_CANCEL, 9, 0);
    harness_expect_reply(h, 6, 9, WEFT_CANCELLED, "no");
    harness_wait(h, 1000);
    harness_expect_reply(h, 5, 9, WEFT_DEADLINE_EXCEEDED, "no");
    harness_free(h);
}

static void
test_slow_watcher_is_cut_off(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_request(h, 5, 9, "weft.broker", "watch", 60000);
    s_expect_event(h, 5, "synced", NULL, 0);
    h->peers[FRONT][5] = PEER_FULL;
    harness_ready(h, 1, "echo", "echo", 4);
    harness_wait(h, 100);
    h->peers[FRONT][5] = PEER_WELL;
    harness_ready(h, 1, "notes", "get", 4);
    harness_wait(h, 100);
    harness_expect_reply(h, 5, 9, WEFT_RESOURCE_EXHAUSTED, "no");
    harness_expect_nothing(h, FRONT, 5);
    harness_free(h);
}

static void
test_watcher_that_is_gone_is_removed(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_request(h, 5, 9, "weft.broker", "watch", 60000);
    h->peers[FRONT][5] = PEER_GONE;
    harness_ready(h, 1, "echo", "echo", 4);
    harness_wait(h, 50);
    assert_int_equal(dispatcher_in_flight(h->dispatcher), 0);
    harness_free(h);
}

/* A listing longer than a pipe may hold goes out in portions. */
static void
test_long_listing_is_paced(void **state)
{
    (void) state;
    harness_t *h = s_new();
    h->unchecked = true;
    for (int i = 0; i < 450; i++) {
        char name[32];
        harness_ready(h, 1, weft_format(name, sizeof name, "service%d", i), "echo", 1);
    }
    h->unchecked = false;
    harness_request(h, 5, 9, "weft.broker", "watch", 60000);
    weft_message_t message;
    int events = 0;
    while (harness_take_any(h, FRONT, 5, &message, NULL))
        events++;
    assert_in_range(events, 1, 200);
    harness_wait(h, 50);
    weft_span_t last = { 0 };
    while (harness_take_any(h, FRONT, 5, &message, NULL)) {
        last = weft_mp_get_str(message.body, "event");
        events++;
    }
    assert_int_equal(events, 451);
    assert_true(weft_span_equal(last, WEFT_SPAN("synced")));
    harness_free(h);
}

static void
test_watchers_are_bounded(void **state)
{
    (void) state;
    harness_t *h = s_new();
    h->unchecked = true;
    for (uint64_t id = 0; id < 256; id++)
        harness_request(h, 5, id, "weft.broker", "watch", 60000);
    harness_request(h, 6, 1, "weft.broker", "watch", 60000);
    harness_expect_reply(h, 6, 1, WEFT_RESOURCE_EXHAUSTED, "no");
    h->unchecked = false;
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_listing_then_changes),
        cmocka_unit_test(test_changes_of_capacity_are_told_within_a_second),
        cmocka_unit_test(test_event_carries_the_whole_description),
        cmocka_unit_test(test_watch_ends_with_its_ttl_or_a_cancel),
        cmocka_unit_test(test_slow_watcher_is_cut_off),
        cmocka_unit_test(test_watcher_that_is_gone_is_removed),
        cmocka_unit_test(test_long_listing_is_paced),
        cmocka_unit_test(test_watchers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
