/* test_backlog - whose turn it is */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <weft/clock.h>

#include "broker/backlog.h"
#include "broker/hash.h"

enum { COUNT = 1000 };

typedef struct {
    backlog_shared_t shared;
    backlog_t backlog;
    slab_t slab;
    request_t *requests[COUNT];
    uint32_t count;
} fixture_t;

static void
s_setup(fixture_t *self, uint32_t queue_max)
{
    memset(self, 0, sizeof *self);
    self->shared = (backlog_shared_t){
        .queue_max = queue_max, .bytes_max = 100000000, .total_bytes_max = 100000000, .age_step_us = 1000000
    };
    backlog_init(&self->backlog, &self->shared);
    assert_true(slab_init(&self->slab, COUNT, 1));
}

static request_t *
s_add(fixture_t *self, uint64_t caller, uint8_t priority, uint32_t bytes, int64_t now_us)
{
    request_t *request = slab_new(&self->slab);
    assert_non_null(request);
    request->caller = hash_mix(caller);
    request->priority = priority;
    request->bytes = bytes;
    request->client_key = caller;
    if (backlog_add(&self->backlog, request, now_us) != BACKLOG_TAKEN) {
        slab_free(&self->slab, request);
        return NULL;
    }
    slab_set_state(&self->slab, request, REQUEST_QUEUED);
    backlog_check(&self->backlog);
    return request;
}

static request_t *
s_next(fixture_t *self, int64_t now_us)
{
    request_t *request = backlog_next(&self->backlog, NULL, NULL, now_us);
    if (request) {
        backlog_take(&self->backlog, request, now_us);
        slab_set_state(&self->slab, request, REQUEST_SENT);
        slab_free(&self->slab, request);
        backlog_check(&self->backlog);
    }
    return request;
}

static void
s_teardown(fixture_t *self)
{
    while (s_next(self, 0))
        continue;
    assert_int_equal(self->backlog.count, 0);
    assert_int_equal(self->shared.total_bytes, 0);
    assert_int_equal(backlog_memory(&self->backlog), 0);
    backlog_fini(&self->backlog);
    slab_fini(&self->slab);
}

static void
test_first_come_first_served_for_one_caller(void **state)
{
    (void) state;
    fixture_t f;
    request_t *requests[10];
    s_setup(&f, 100);
    for (int i = 0; i < 10; i++)
        requests[i] = s_add(&f, 1, 1, 100, i);
    for (int i = 0; i < 10; i++)
        assert_ptr_equal(s_next(&f, 20), requests[i]);
    assert_null(s_next(&f, 20));
    s_teardown(&f);
}

static void
test_higher_priority_first(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 100);
    request_t *low = s_add(&f, 1, 3, 100, 0);
    request_t *usual = s_add(&f, 1, 1, 100, 0);
    request_t *high = s_add(&f, 1, 0, 100, 0);
    assert_ptr_equal(s_next(&f, 1), high);
    assert_ptr_equal(s_next(&f, 1), usual);
    assert_ptr_equal(s_next(&f, 1), low);
    s_teardown(&f);
}

/* A level per second: after two seconds a 3 stands among the 1s. */
static void
test_waiting_gains_a_level_per_step(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 100);
    request_t *old = s_add(&f, 1, 3, 100, 0);
    request_t *fresh = s_add(&f, 2, 2, 100, 1900000);
    assert_non_null(backlog_next(&f.backlog, NULL, NULL, 1950000));
    assert_int_equal(old->level, 2); /* they take turns there */
    assert_ptr_equal(s_next(&f, 2000000), old);
    assert_int_equal(old->level, 1);
    assert_ptr_equal(s_next(&f, 2000000), fresh);

    old = s_add(&f, 1, 3, 100, 0);
    fresh = s_add(&f, 2, 0, 100, 2999999);
    assert_ptr_equal(s_next(&f, 2999999), fresh);
    assert_non_null(s_add(&f, 2, 0, 100, 2999999));
    (void) backlog_next(&f.backlog, NULL, NULL, 3000000);
    assert_int_equal(old->level, 0); /* all three steps at once, none came between */
    backlog_check(&f.backlog);
    s_teardown(&f);
}

/* With a steady stream of urgent requests the lowest is still served. */
static void
test_lowest_is_not_starved(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 100);
    request_t *low = s_add(&f, 1, 3, 100, 0);
    int64_t now_us = 0;
    bool served = false;
    for (int i = 0; i < 400 && !served; i++) {
        now_us += 10000;
        assert_non_null(s_add(&f, 2, 0, 100, now_us));
        assert_non_null(s_add(&f, 2, 0, 100, now_us));
        served = s_next(&f, now_us) == low;
        if (!served)
            served = s_next(&f, now_us) == low;
    }
    assert_true(served);
    assert_in_range(now_us, 3000000, 3100000);
    s_teardown(&f);
}

static void
test_callers_take_turns_however_much_one_sends(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, COUNT);
    for (int i = 0; i < 300; i++)
        s_add(&f, 1, 1, 100, 0);
    for (int i = 0; i < 10; i++) {
        s_add(&f, 2, 1, 100, 0);
        s_add(&f, 3, 1, 100, 0);
    }
    uint32_t got[4] = { 0 };
    for (int i = 0; i < 30; i++)
        got[s_next(&f, 0)->client_key]++;
    assert_int_equal(got[1], 10);
    assert_int_equal(got[2], 10);
    assert_int_equal(got[3], 10);
    s_teardown(&f);
}

static void
test_large_requests_weigh_more(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, COUNT);
    for (int i = 0; i < 20; i++)
        s_add(&f, 1, 1, 16 * 1024 * 9, 0); /* ten units each */
    for (int i = 0; i < 400; i++)
        s_add(&f, 2, 1, 100, 0);
    uint32_t got[3] = { 0 };
    for (int i = 0; i < 110; i++)
        got[s_next(&f, 0)->client_key]++;
    assert_in_range(got[1], 9, 11);
    s_teardown(&f);
}

static void
test_bounds_and_room_for_newcomers(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 90);
    int accepted = 0;
    for (int i = 0; i < 200; i++)
        accepted += s_add(&f, 1, 1, 100, 0) != NULL;
    assert_int_equal(accepted, 80); /* eight ninths */
    for (uint64_t caller = 2; caller < 10; caller++)
        assert_non_null(s_add(&f, caller, 1, 100, 0));
    accepted = 0;
    for (uint64_t caller = 10; caller < 100; caller++)
        accepted += s_add(&f, caller, 1, 100, 0) != NULL;
    assert_int_equal(f.backlog.count, 90);
    s_teardown(&f);

    s_setup(&f, 90);
    f.shared.bytes_max = 1000;
    f.shared.total_bytes_max = 900;
    assert_non_null(s_add(&f, 1, 1, 900, 0));
    assert_null(s_add(&f, 1, 1, 1, 0)); /* in all */
    assert_non_null(s_next(&f, 0));
    f.shared.total_bytes_max = 2000;
    assert_null(s_add(&f, 1, 1, 1001, 0)); /* of this one */
    assert_non_null(s_add(&f, 1, 1, 1000, 0));
    s_teardown(&f);
}

static void
test_each_bound_is_told_apart(void **state)
{
    (void) state;
    fixture_t f;
    request_t probe = { .caller = hash_mix(1), .priority = 1, .bytes = 100 };
    s_setup(&f, 90);
    for (int i = 0; i < 80; i++)
        assert_non_null(s_add(&f, 1, 1, 100, 0));
    assert_int_equal(backlog_add(&f.backlog, &probe, 0), BACKLOG_SHARE);
    f.shared.total_bytes_max = 8001;
    assert_int_equal(backlog_add(&f.backlog, &probe, 0), BACKLOG_TOTAL_BYTES);
    f.shared.bytes_max = 8001;
    assert_int_equal(backlog_add(&f.backlog, &probe, 0), BACKLOG_BYTES);
    f.shared.queue_max = 80;
    assert_int_equal(backlog_add(&f.backlog, &probe, 0), BACKLOG_FULL);
    f.shared.queue_max = 90;
    s_teardown(&f);
}

/* One leaves each 10 ms: 1 has eighty waiting, 2 three of them, which take turns with the first six of 1. */
static void
test_wait_is_estimated_by_share(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, COUNT);
    for (int i = 0; i < 100; i++)
        s_add(&f, 1, 1, 100, 0);
    for (int i = 0; i < 23; i++)
        s_add(&f, 2, 1, 100, 0);
    assert_int_equal(backlog_wait_us(&f.backlog, hash_mix(1), 1), 0);
    int64_t now_us = 1000;
    for (int i = 0; i < 40; i++)
        assert_non_null(s_next(&f, now_us += 10000));
    assert_in_range(backlog_wait_us(&f.backlog, hash_mix(1), 1), 1550000, 1650000);
    assert_in_range(backlog_wait_us(&f.backlog, hash_mix(2), 1), 50000, 70000);
    assert_int_equal(backlog_wait_us(&f.backlog, hash_mix(3), 1), 0);
    assert_int_equal(backlog_wait_us(&f.backlog, hash_mix(1), 0), 0);
    /* All of them go before one of less priority, but for a step of aging at most. */
    assert_in_range(backlog_wait_us(&f.backlog, hash_mix(3), 2), 800000, 850000);
    for (int i = 0; i < 100; i++)
        s_add(&f, 4, 1, 100, now_us);
    assert_int_equal(backlog_wait_us(&f.backlog, hash_mix(3), 2), 1000000);
    /* Where all places are taken it is about half of what waits, however few are one's own. */
    request_t probe = { .caller = hash_mix(3), .priority = 1 };
    assert_in_range(backlog_room_us(&f.backlog, &probe, BACKLOG_FULL), 850000, 950000);
    assert_int_equal(backlog_room_us(&f.backlog, &probe, BACKLOG_SHARE), 0);
    s_teardown(&f);
}

/* Times in milliseconds. */
static request_t *
s_add_at(fixture_t *self, uint64_t caller, uint8_t priority, uint32_t ttl_ms, int64_t now_ms)
{
    request_t *request = s_add(self, caller, priority, 100, now_ms * 1000);
    assert_non_null(request);
    request->arrived_at = request->queued_at = now_ms * 1000;
    request->deadline_at = request->arrived_at + (int64_t) ttl_ms * 1000;
    return request;
}

static bool
s_overdue(fixture_t *self, const request_t *request, int64_t now_ms)
{
    const bool overdue = backlog_overdue(&self->backlog, request, now_ms * 1000);
    backlog_check(&self->backlog);
    return overdue;
}

static void
test_a_class_stands_after_an_interval_and_until_half_the_target(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, COUNT);
    f.shared.target_us = 100000;
    f.shared.interval_us = 50000;
    request_t *usual = s_add_at(&f, 1, 1, 10000, 1000);
    assert_false(s_overdue(&f, usual, 1100)); /* in time */
    assert_false(s_overdue(&f, usual, 1101)); /* late from here on */
    assert_false(s_overdue(&f, usual, 1150));
    assert_true(s_overdue(&f, usual, 1151));
    request_t *later = s_add_at(&f, 1, 1, 10000, 1100);
    assert_false(s_overdue(&f, later, 1200)); /* in time, but no sign that it is over */
    assert_true(s_overdue(&f, usual, 1200));
    assert_false(s_overdue(&f, later, 1150)); /* half of that is */
    assert_false(s_overdue(&f, usual, 1150));
    assert_true(s_overdue(&f, usual, 1200));
    usual->handed = true; /* it cost something */
    assert_false(s_overdue(&f, usual, 1300));
    usual->handed = false;
    /* Another's, and another priority of the same caller, are in no queue that stands. */
    request_t *others = s_add_at(&f, 2, 1, 10000, 1000);
    request_t *urgent = s_add_at(&f, 1, 0, 10000, 1000);
    assert_false(s_overdue(&f, others, 1300));
    assert_false(s_overdue(&f, urgent, 1300));
    /* Half the ttl is the bound where that is less, or where it is meant to wait. */
    request_t *hasty = s_add_at(&f, 3, 1, 60, 1000);
    request_t *batch = s_add_at(&f, 3, 2, 10000, 1000);
    assert_false(s_overdue(&f, hasty, 1031));
    assert_true(s_overdue(&f, hasty, 1081));
    assert_false(s_overdue(&f, batch, 6000));
    assert_false(s_overdue(&f, batch, 6001));
    assert_true(s_overdue(&f, batch, 6051));
    f.shared.target_us = 0;
    assert_false(s_overdue(&f, batch, 7000));
    s_teardown(&f);
}

/* A queue that is empty stands no longer: what it was is not held against the next. */
static void
test_newcomers_are_refused_only_behind_a_queue_that_stands(void **state)
{
    (void) state;
    fixture_t f;
    int64_t over_us = 0;
    s_setup(&f, COUNT);
    f.shared.target_us = 100000;
    f.shared.interval_us = 50000;
    f.shared.estimate = true;
    request_t *first = s_add_at(&f, 1, 1, 10000, 1);
    for (int i = 0; i < 60; i++)
        (void) s_add_at(&f, 1, 1, 10000, 1);
    for (int64_t at = 10; at <= 300; at += 10)
        assert_non_null(s_next(&f, at * 1000));
    (void) first;
    /* Thirty wait, 10 ms each. */
    request_t probe = { .caller = hash_mix(1), .priority = 1, .arrived_at = 300000, .deadline_at = 10300000 };
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 0, 300000, &over_us), BACKLOG_TAKEN);
    probe.deadline_at = 500000;
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 0, 300000, &over_us), BACKLOG_DEADLINE);
    assert_in_range(over_us, 100000, 150000);
    probe.deadline_at = 700000; /* enough to wait, not to be served as well */
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 0, 300000, &over_us), BACKLOG_TAKEN);
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 200000, 300000, &over_us), BACKLOG_DEADLINE);
    request_t *next = backlog_next(&f.backlog, NULL, NULL, 310000);
    assert_false(s_overdue(&f, next, 310));
    assert_true(s_overdue(&f, next, 360));
    probe.deadline_at = 10300000;
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 0, 360000, &over_us), BACKLOG_DELAY);
    assert_in_range(over_us, 150000, 250000);
    probe.caller = hash_mix(2);
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 0, 360000, &over_us), BACKLOG_TAKEN);
    probe.caller = hash_mix(1);
    while (s_next(&f, 370000))
        continue;
    (void) s_add_at(&f, 1, 1, 10000, 1);
    assert_int_equal(backlog_hopeless(&f.backlog, &probe, 0, 370000, &over_us), BACKLOG_TAKEN);
    s_teardown(&f);
}

/* Old batch work goes before what is new and usual, unless that waits too long: then it goes back to its own
 * level, and nothing is lost. */
static void
test_what_aging_raised_yields_to_what_waits_too_long(void **state)
{
    (void) state;
    for (int on = 0; on < 2; on++) {
        fixture_t f;
        s_setup(&f, COUNT);
        f.shared.target_us = on ? 100000 : 0;
        f.shared.interval_us = 50000;
        for (int i = 0; i < 30; i++)
            (void) s_add_at(&f, 1, 3, 60000, 0);
        (void) s_next(&f, 3000000);
        request_t *usual = s_add_at(&f, 2, 1, 10000, 3000);
        for (int64_t at = 3010; at <= 3100; at += 10)
            assert_ptr_not_equal(s_next(&f, at * 1000), usual);
        request_t *next = s_next(&f, 3101000);
        assert_int_equal(next == usual, on);
        /* For an interval the next of its kind goes first at once. */
        usual = s_add_at(&f, 2, 1, 10000, 3110);
        assert_int_equal(s_next(&f, 3111000) == usual, on);
        assert_int_equal(f.backlog.count, 19);
        s_teardown(&f);
    }
}

static bool
s_is(void *context, const request_t *request)
{
    return request == context;
}

static void
test_scan_finds_one_that_somebody_can_take(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, COUNT);
    s_add(&f, 1, 0, 100, 0);
    s_add(&f, 1, 0, 100, 0);
    request_t *wanted = s_add(&f, 2, 2, 100, 0);
    assert_ptr_equal(backlog_next(&f.backlog, s_is, wanted, 0), wanted);
    backlog_take(&f.backlog, wanted, 0);
    slab_set_state(&f.slab, wanted, REQUEST_SENT);
    assert_null(backlog_next(&f.backlog, s_is, wanted, 0));
    slab_free(&f.slab, wanted);
    backlog_check(&f.backlog);
    s_teardown(&f);
}

static void
test_random_changes_keep_the_counts(void **state)
{
    (void) state;
    fixture_t f;
    weft_rng_t rng;
    request_t *waiting[COUNT] = { NULL };
    uint32_t count = 0;
    int64_t now_us = 0;
    weft_rng_seed(&rng, 9);
    s_setup(&f, 200);
    for (int step = 0; step < 10000; step++) {
        now_us += (int64_t) weft_rng_below(&rng, 100000);
        if (weft_rng_below(&rng, 2) == 0) {
            request_t *request = s_add(&f, weft_rng_below(&rng, 6), (uint8_t) weft_rng_below(&rng, 4),
                                       (uint32_t) weft_rng_below(&rng, 50000), now_us);
            if (request)
                waiting[count++] = request;
        } else if (count > 0 && weft_rng_below(&rng, 3) == 0) { /* cancelled or expired */
            uint32_t at = (uint32_t) weft_rng_below(&rng, count);
            backlog_remove(&f.backlog, waiting[at]);
            slab_set_state(&f.slab, waiting[at], REQUEST_SENT);
            slab_free(&f.slab, waiting[at]);
            waiting[at] = waiting[--count];
        } else if (count > 0) {
            request_t *next = s_next(&f, now_us);
            uint32_t at = 0;
            while (waiting[at] != next)
                assert_true(++at < count);
            waiting[at] = waiting[--count];
        }
        backlog_check(&f.backlog);
        assert_int_equal(f.backlog.count, count);
    }
    s_teardown(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_come_first_served_for_one_caller),
        cmocka_unit_test(test_higher_priority_first),
        cmocka_unit_test(test_waiting_gains_a_level_per_step),
        cmocka_unit_test(test_lowest_is_not_starved),
        cmocka_unit_test(test_callers_take_turns_however_much_one_sends),
        cmocka_unit_test(test_large_requests_weigh_more),
        cmocka_unit_test(test_bounds_and_room_for_newcomers),
        cmocka_unit_test(test_each_bound_is_told_apart),
        cmocka_unit_test(test_wait_is_estimated_by_share),
        cmocka_unit_test(test_a_class_stands_after_an_interval_and_until_half_the_target),
        cmocka_unit_test(test_newcomers_are_refused_only_behind_a_queue_that_stands),
        cmocka_unit_test(test_what_aging_raised_yields_to_what_waits_too_long),
        cmocka_unit_test(test_scan_finds_one_that_somebody_can_take),
        cmocka_unit_test(test_random_changes_keep_the_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
