/* backoff: steps grow, stay under the cap, are jittered fully, and begin anew after a connection that lived
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/backoff.h"

static uint32_t
s_largest_of(uint32_t failures, weft_rng_t *rng)
{
    uint32_t largest = 0;
    for (int i = 0; i < 2000; i++) {
        backoff_t backoff = { .failures = failures };
        uint32_t pause = backoff_next(&backoff, rng);
        assert_int_equal(backoff.failures, failures + 1);
        largest = pause > largest ? pause : largest;
    }
    return largest;
}

static void
test_steps_double_up_to_the_cap(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 1);
    uint32_t step = BACKOFF_BASE_MS;
    for (uint32_t failures = 0; failures < 40; failures++) {
        uint32_t expected = step > BACKOFF_CAP_MS ? BACKOFF_CAP_MS : step;
        uint32_t largest = s_largest_of(failures, &rng);
        assert_in_range(largest, expected * 95 / 100, expected);
        if (step < BACKOFF_CAP_MS) {
            step *= 2;
        }
    }
}

static void
test_jitter_is_full(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 2);
    unsigned low = 0;
    for (int i = 0; i < 2000; i++) {
        backoff_t backoff = { .failures = 30 };
        low += backoff_next(&backoff, &rng) < BACKOFF_CAP_MS / 4;
    }
    assert_in_range(low, 400, 600);
}

static void
test_only_a_connection_that_lived_begins_anew(void **state)
{
    (void) state;
    backoff_t backoff;
    backoff_init(&backoff);
    backoff.failures = 7;
    backoff_lived(&backoff, BACKOFF_LIVED_MS - 1);
    assert_int_equal(backoff.failures, 7);
    backoff_lived(&backoff, BACKOFF_LIVED_MS);
    assert_int_equal(backoff.failures, 0);
}

/* When peers that lost their broker at one moment find it again, which is away for `away_ms`: how many of a
 * thousand in the busiest tenth of a second, and when the last. */
static void
s_return(uint32_t away_ms, unsigned *most, uint32_t *last_ms)
{
    enum { PEERS = 1000, SLOT_MS = 100 };
    unsigned slots[BACKOFF_CAP_MS / SLOT_MS + 1] = { 0 };
    weft_rng_t rng;
    weft_rng_seed(&rng, away_ms);
    *most = 0;
    *last_ms = 0;
    for (int i = 0; i < PEERS; i++) {
        backoff_t backoff;
        uint32_t at_ms = 0;
        backoff_init(&backoff);
        do
            at_ms += backoff_next(&backoff, &rng);
        while (at_ms < away_ms);
        const uint32_t late_ms = at_ms - away_ms;
        assert_in_range(late_ms, 0, BACKOFF_CAP_MS);
        *last_ms = late_ms > *last_ms ? late_ms : *last_ms;
        const unsigned now = ++slots[late_ms / SLOT_MS];
        *most = now > *most ? now : *most;
    }
}

static void
test_a_thousand_peers_do_not_come_back_together(void **state)
{
    (void) state;
    /* The longer it was away the more evenly; one that is back within half a second had no time to be missed.
     */
    static const struct {
        uint32_t away_ms;
        unsigned most;
    } ROWS[] = { { 500, 300 }, { 1000, 220 }, { 3000, 180 }, { 30000, 180 } };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        unsigned most;
        uint32_t last_ms;
        s_return(ROWS[i].away_ms, &most, &last_ms);
        assert_in_range(most, 1, ROWS[i].most);
        assert_in_range(last_ms, BACKOFF_CAP_MS / 2, BACKOFF_CAP_MS);
    }
}

static void
test_counting_does_not_wrap(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 3);
    backoff_t backoff = { .failures = UINT32_MAX };
    assert_in_range(backoff_next(&backoff, &rng), 0, BACKOFF_CAP_MS);
    assert_int_equal(backoff.failures, UINT32_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_double_up_to_the_cap),
        cmocka_unit_test(test_jitter_is_full),
        cmocka_unit_test(test_only_a_connection_that_lived_begins_anew),
        cmocka_unit_test(test_a_thousand_peers_do_not_come_back_together),
        cmocka_unit_test(test_counting_does_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
