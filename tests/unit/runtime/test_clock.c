/* test_clock - clocks that go forward, and a generator that gives what its authors say */
#include "unit/runtime/cmocka_all.h"

#include <string.h>

#include <weft/clock.h>

static void
test_monotonic_never_goes_back(void **state)
{
    (void) state;
    int64_t last = weft_mono_us();
    for (int i = 0; i < 10000; i++) {
        const int64_t now = weft_mono_us();
        assert_true(now >= last);
        last = now;
    }
    const int64_t before_ms = weft_mono_us() / 1000;
    const int64_t now_ms = weft_mono_ms();
    assert_true(now_ms >= before_ms && now_ms <= weft_mono_us() / 1000);
    assert_true(weft_wall_us() > INT64_C(1700000000000000)); /* 2023 */
}

/* First outputs of xoshiro256** seeded by splitmix64(0), as the authors' C code gives them. */
static void
test_generator_against_reference(void **state)
{
    (void) state;
    static const uint64_t EXPECTED[] = { UINT64_C(0x99ec5f36cb75f2b4), UINT64_C(0xbf6e1f784956452a),
                                         UINT64_C(0x1a5f849d4933e6e0) };
    weft_rng_t rng;
    weft_rng_seed(&rng, 0);
    for (size_t i = 0; i < sizeof EXPECTED / sizeof EXPECTED[0]; i++)
        assert_true(weft_rng_next(&rng) == EXPECTED[i]);
}

static void
test_same_seed_same_numbers(void **state)
{
    (void) state;
    weft_rng_t a;
    weft_rng_t b;
    weft_rng_seed(&a, 42);
    weft_rng_seed(&b, 42);
    for (int i = 0; i < 100; i++)
        assert_true(weft_rng_next(&a) == weft_rng_next(&b));
    weft_rng_seed(&b, 43);
    assert_false(weft_rng_next(&a) == weft_rng_next(&b));
}

static void
test_below_is_uniform_and_below(void **state)
{
    (void) state;
    weft_rng_t rng;
    unsigned counts[7] = { 0 };
    weft_rng_seed(&rng, 1);
    assert_int_equal(weft_rng_below(&rng, 0), 0);
    assert_int_equal(weft_rng_below(&rng, 1), 0);
    for (int i = 0; i < 70000; i++) {
        const uint64_t number = weft_rng_below(&rng, 7);
        assert_true(number < 7);
        counts[number]++;
    }
    /* 10,000 each; 5 standard deviations are 463.  The seed is fixed: no chance is left. */
    for (size_t i = 0; i < 7; i++)
        assert_in_range(counts[i], 9537, 10463);
    for (int i = 0; i < 100; i++)
        assert_true(weft_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void
test_random_fills_all_bytes(void **state)
{
    (void) state;
    unsigned char seen[64] = { 0 };
    unsigned char data[65];
    /* A byte that stays 0 in 32 draws: 1 in 2^256. */
    for (int i = 0; i < 32; i++) {
        data[64] = 0xa5;
        weft_random(data, 64);
        assert_int_equal(data[64], 0xa5);
        for (size_t n = 0; n < 64; n++)
            seen[n] |= data[n];
    }
    for (size_t n = 0; n < 64; n++)
        assert_int_not_equal(seen[n], 0);
    assert_false(weft_random_u64() == weft_random_u64());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic_never_goes_back), cmocka_unit_test(test_generator_against_reference),
        cmocka_unit_test(test_same_seed_same_numbers),    cmocka_unit_test(test_below_is_uniform_and_below),
        cmocka_unit_test(test_random_fills_all_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
