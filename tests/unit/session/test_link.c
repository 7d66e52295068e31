/* Pings about every second, lost after four of silence, not when this process itself was away. */
#include "fixture.h"

#include "session/link.h"

static void
test_pings_jittered_then_lost(void **state)
{
    (void) state;
    heartbeat_t heartbeat = { .ping_ms = 1000, .silence_ms = 4000 };
    weft_rng_t rng;
    weft_rng_seed(&rng, 1);
    link_t link = { .state = LINK_DOWN };
    assert_int_equal(link_due(&link, &heartbeat, &rng, 0), LINK_NOTHING);
    assert_true(link_next(&link, &heartbeat) == INT64_MAX);
    link_up(&link, 1, 1000);
    assert_int_equal(link_due(&link, &heartbeat, &rng, 1000), LINK_PING);
    int64_t now = 1000;
    for (int i = 0; i < 100; i++) {
        const int64_t next = link_next(&link, &heartbeat);
        assert_in_range(next - now, 800, 1200);
        link.heard_at = now;
        assert_int_equal(link_due(&link, &heartbeat, &rng, next - 1), LINK_NOTHING);
        assert_int_equal(link_due(&link, &heartbeat, &rng, next), LINK_PING);
        now = next;
    }
    link.heard_at = now;
    link.ping_at = now + 10000;
    assert_int_equal(link_due(&link, &heartbeat, &rng, now + 3999), LINK_NOTHING);
    assert_true(link_next(&link, &heartbeat) == now + 4000);
    assert_int_equal(link_due(&link, &heartbeat, &rng, now + 4000), LINK_LOST);
}

static void
test_own_absence_is_no_silence(void **state)
{
    (void) state;
    heartbeat_t heartbeat = { .ping_ms = 1000, .silence_ms = 4000 };
    weft_rng_t rng;
    weft_rng_seed(&rng, 1);
    link_t link;
    heartbeat_turn(&heartbeat, 1000);
    link_up(&link, 1, 1000);
    heartbeat_turn(&heartbeat, 61000);
    assert_int_equal(link_due(&link, &heartbeat, &rng, 61000), LINK_PING);
    heartbeat_turn(&heartbeat, 61999);
    assert_int_not_equal(link_due(&link, &heartbeat, &rng, 61999), LINK_LOST);
    heartbeat_turn(&heartbeat, 62000);
    assert_int_equal(link_due(&link, &heartbeat, &rng, 62000), LINK_LOST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pings_jittered_then_lost),
                                        cmocka_unit_test(test_own_absence_is_no_silence) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
