/* Retries stay a fraction of calls; back-off grows, is jittered and honours the peer's wish. */
#include "fixture.h"

#include <weft/wire.h>

#include "session/retry.h"

static void
test_budget_is_a_tenth(void **state)
{
    (void) state;
    retry_t retry;
    retry_init(&retry, 10);
    for (int i = 0; i < 10; i++)
        assert_true(retry_spend(&retry));
    assert_false(retry_spend(&retry));
    for (int i = 0; i < 9; i++)
        retry_earn(&retry);
    assert_false(retry_spend(&retry));
    retry_earn(&retry);
    assert_true(retry_spend(&retry));
    for (int i = 0; i < 1000000; i++)
        retry_earn(&retry);
    int spent = 0;
    while (retry_spend(&retry))
        spent++;
    assert_int_equal(spent, 1000);
    retry_init(&retry, 0);
    assert_false(retry_spend(&retry));
}

static void
test_delay_grows_and_honours_the_peer(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 1);
    for (int i = 0; i < 200; i++) {
        assert_in_range(retry_delay_ms(&rng, 1, 0), 10, 20);
        assert_in_range(retry_delay_ms(&rng, 3, 0), 40, 80);
        assert_in_range(retry_delay_ms(&rng, 4000000, 0), 500, 1000);
        assert_in_range(retry_delay_ms(&rng, 1, 300), 310, 320);
        assert_in_range(retry_delay_ms(&rng, 1, UINT64_MAX), WEFT_TTL_MAX_MS, WEFT_TTL_MAX_MS + 1000u);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_budget_is_a_tenth),
                                        cmocka_unit_test(test_delay_grows_and_honours_the_peer) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
