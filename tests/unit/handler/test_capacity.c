/* test_capacity - what a worker asks for follows from how long its methods take */
#include "fixture.h"

#include "handler/capacity.h"

static void
test_wanted_is_littles_law_within_bounds(void **state)
{
    (void) state;
    const struct {
        uint32_t threads;
        double service_us;
        uint32_t wanted;
    } cases[] = {
        { 4, 0, 4 + 128 },      { 4, 1, 4 + 128 },         { 4, 20, 4 + 100 },      { 4, 100, 4 + 20 },
        { 4, 1000, 4 + 2 },     { 4, 10000, 4 + 2 },       { 1, 500, 1 + 2 },       { 1, 100, 1 + 5 },
        { 64, 10000, 64 + 16 }, { 1024, 1e9, 1024 + 256 }, { 1024, 1, 1024 + 256 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t wanted = capacity_wanted(cases[i].threads, cases[i].service_us);
        if (wanted != cases[i].wanted)
            fail_msg("%u threads, %g us: %u", cases[i].threads, cases[i].service_us, wanted);
    }
}

static void
test_the_first_guess_is_generous(void **state)
{
    (void) state;
    capacity_t self;
    capacity_init(&self, 4, 0);
    assert_int_equal(self.announced, 68);
    capacity_init(&self, 1024, 0);
    assert_int_equal(self.announced, 1024 + 256);
}

static void
test_slow_methods_bring_it_down_within_a_window(void **state)
{
    (void) state;
    capacity_t self;
    capacity_init(&self, 4, 0);
    assert_false(capacity_update(&self, 400000, 44, 40, CAPACITY_WINDOW_MS - 1));
    assert_true(capacity_update(&self, 400000, 44, 40, CAPACITY_WINDOW_MS)); /* 40 of 10 ms */
    assert_int_equal(self.announced, 6);
    assert_false(
        capacity_update(&self, 800000, 84, 80, 2 * CAPACITY_WINDOW_MS)); /* the same again: no news */
}

static void
test_methods_that_do_not_end_count_as_slow(void **state)
{
    (void) state;
    capacity_t self;
    capacity_init(&self, 4, 0);
    assert_true(capacity_update(&self, 0, 4, 0, CAPACITY_WINDOW_MS));
    assert_int_equal(self.announced, 6);
}

static void
test_idleness_says_nothing(void **state)
{
    (void) state;
    capacity_t self;
    capacity_init(&self, 4, 0);
    assert_false(capacity_update(&self, 0, 0, 0, CAPACITY_WINDOW_MS));
    assert_false(capacity_update(&self, 0, 0, 0, 60 * CAPACITY_WINDOW_MS));
    assert_int_equal(self.announced, 68);
}

static void
test_fast_methods_bring_it_up_again(void **state)
{
    (void) state;
    capacity_t self;
    uint64_t busy_us = 400000, runs = 40;
    int64_t now_ms = CAPACITY_WINDOW_MS;
    int windows = 0;
    capacity_init(&self, 4, 0);
    assert_true(capacity_update(&self, busy_us, runs, runs, now_ms));
    assert_int_equal(self.announced, 6);
    while (self.announced < 68) {
        assert_true(++windows < 5);
        busy_us += 50000;
        runs += 10000; /* 5 us each */
        now_ms += CAPACITY_WINDOW_MS;
        (void) capacity_update(&self, busy_us, runs, runs, now_ms);
    }
}

static void
test_small_changes_are_kept_to_itself(void **state)
{
    (void) state;
    capacity_t self;
    uint64_t busy_us = 0, runs = 0;
    int changes = 0;
    capacity_init(&self, 4, 0);
    for (int i = 1; i <= 50; i++) {
        runs += 1000;
        busy_us += i % 2 ? 100000 : 115000; /* about 100 us each, and a little more */
        changes += capacity_update(&self, busy_us, runs, runs, (int64_t) i * CAPACITY_WINDOW_MS);
    }
    assert_int_equal(changes, 1);
    assert_in_range(self.announced, 20, 26);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted_is_littles_law_within_bounds),
        cmocka_unit_test(test_the_first_guess_is_generous),
        cmocka_unit_test(test_slow_methods_bring_it_down_within_a_window),
        cmocka_unit_test(test_methods_that_do_not_end_count_as_slow),
        cmocka_unit_test(test_idleness_says_nothing),
        cmocka_unit_test(test_fast_methods_bring_it_up_again),
        cmocka_unit_test(test_small_changes_are_kept_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
