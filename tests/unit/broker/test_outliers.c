/* test_outliers - workers that fail or are slow get less, and get it back */
#include "unit/broker/harness.h"
#include "unit/broker/queueing.h"

#include <stdlib.h>
#include <string.h>

#include <weft/log.h>
#include <weft/mp.h>

enum { CLIENT = 1, WORKERS = 3, CAPACITY = 10 };

typedef struct {
    harness_t *h;
    uint64_t id;
    uint32_t ttl_ms;
    uint32_t last; /* who got the last request, and under what id */
    uint64_t last_id;
} fixture_t;

static void
s_setup(fixture_t *f, dispatcher_config_t *config, uint32_t workers)
{
    config->silence_ms = 1000000; /* nobody pings here */
    f->h = harness_new(config);
    f->id = 0;
    f->ttl_ms = 1000;
    for (uint32_t worker = 1; worker <= workers; worker++)
        harness_ready(f->h, worker, "notes", "get", CAPACITY);
}

/* Sends a request, and says which worker got it; 0: none. */
static uint32_t
s_call(fixture_t *f, const char *method, const char *affinity)
{
    const harness_call_t call = {
        .service = "notes", .method = method, .ttl_ms = f->ttl_ms, .priority = 1, .affinity = affinity
    };
    weft_message_t message;
    harness_call(f->h, CLIENT, ++f->id, &call);
    f->last = 0;
    for (uint32_t worker = 1; worker < HARNESS_PEERS && f->last == 0; worker++)
        while (f->last == 0 && harness_take_any(f->h, BACK, worker, &message, NULL))
            if (message.kind == WEFT_REQUEST) {
                f->last = worker;
                f->last_id = message.id;
            }
    return f->last;
}

static void
s_answer(fixture_t *f, weft_status_t status)
{
    harness_reply(f->h, f->last, f->last_id, status, 0);
    harness_expect_reply(f->h, CLIENT, f->id, status, NULL);
}

/* Requests of which that worker answers its own so, all others OK; how many it got. */
static uint32_t
s_serve(fixture_t *f, uint32_t worker, weft_status_t status, uint32_t count)
{
    uint32_t got = 0;
    while (count-- > 0) {
        uint32_t at = s_call(f, "get", NULL);
        got += at == worker;
        s_answer(f, at == worker ? status : WEFT_OK);
    }
    return got;
}

/* The field of the worker's only service, as `weft.broker` `workers` shows it. */
static void
s_expect_state(fixture_t *f, uint32_t worker, const char *state)
{
    char instance[32];
    weft_mp_token_t list;
    weft_mp_t cursor;
    const harness_call_t call = { .service = "weft.broker", .method = "workers", .ttl_ms = 1000 };
    (void) weft_format(instance, sizeof instance, "instance-%u", worker);
    harness_call(f->h, CLIENT, ++f->id, &call);
    weft_message_t reply = harness_expect_reply(f->h, CLIENT, f->id, WEFT_OK, NULL);
    cursor = weft_mp(weft_mp_get(reply.body, "workers"));
    assert_true(weft_mp_next(&cursor, &list));
    for (uint32_t i = 0; i < list.count; i++) {
        const char *at = cursor.at;
        assert_true(weft_mp_skip(&cursor));
        weft_span_t entry = { at, (size_t) (cursor.at - at) };
        if (!weft_span_equal(weft_mp_get_str(entry, "instance"), weft_span(instance)))
            continue;
        weft_mp_t services = weft_mp(weft_mp_get(entry, "services"));
        assert_true(weft_mp_next(&services, &list));
        weft_span_t first = { services.at, (size_t) (services.end - services.at) };
        weft_span_t shown = weft_mp_get_str(first, "state");
        assert_int_equal(shown.size, strlen(state));
        assert_memory_equal(shown.data, state, shown.size);
        return;
    }
    fail_msg("worker %u is not shown", worker);
}

static uint64_t
s_ejections(const fixture_t *f)
{
    return harness_counter(f->h, "ejections", "cause=\"streak\"") +
           harness_counter(f->h, "ejections", "cause=\"ratio\"") +
           harness_counter(f->h, "ejections", "cause=\"probation\"");
}

/* ---- failing */

static void
test_failures_in_a_row_eject_then_trials_bring_back(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    assert_int_equal(s_serve(&f, 2, WEFT_INTERNAL, 12), 4);
    s_expect_state(&f, 2, "well");
    assert_int_equal(s_serve(&f, 2, WEFT_INTERNAL, 3), 1);
    assert_int_equal(harness_counter(f.h, "ejections", "cause=\"streak\""), 1);
    s_expect_state(&f, 2, "ejected");
    assert_int_equal(s_serve(&f, 2, WEFT_OK, 50), 0);

    harness_wait(f.h, config.eject_ms + 300);
    s_expect_state(&f, 2, "probation");
    assert_int_equal(s_call(&f, "get", NULL), 2); /* the trial goes first, */
    uint64_t trial = f.last_id;
    uint64_t id = f.id;
    for (int i = 0; i < 5; i++) { /* and there is only one at a time */
        assert_int_not_equal(s_call(&f, "get", NULL), 2);
        s_answer(&f, WEFT_OK);
    }
    harness_reply(f.h, 2, trial, WEFT_NOT_FOUND, 0); /* which says that it works */
    harness_expect_reply(f.h, CLIENT, id, WEFT_NOT_FOUND, NULL);
    assert_int_equal(s_serve(&f, 2, WEFT_OK, 30), 0);
    for (int i = 0; i < 2; i++) {
        harness_wait(f.h, 1300);
        assert_int_equal(s_serve(&f, 2, WEFT_OK, 30), 1);
    }
    assert_int_equal(harness_counter(f.h, "returns", "cause=\"probation\""), 1);
    s_expect_state(&f, 2, "ramp");
    assert_int_equal(s_serve(&f, 2, WEFT_OK, 30), 0); /* others are idle */
    harness_wait(f.h, config.ramp_ms + 300);
    s_expect_state(&f, 2, "well");
    assert_int_equal(s_serve(&f, 2, WEFT_OK, 30), 10);
    harness_free(f.h);
}

static void
test_each_ejection_is_twice_as_long(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    assert_int_equal(s_serve(&f, 1, WEFT_UNAVAILABLE, 15), 5);
    for (uint32_t times = 1, doubled = 1; times < 8; times++) {
        s_expect_state(&f, 1, "ejected");
        harness_wait(f.h, (int64_t) config.eject_ms * doubled - 300);
        s_expect_state(&f, 1, "ejected");
        harness_wait(f.h, 600);
        s_expect_state(&f, 1, "probation");
        assert_int_equal(s_serve(&f, 1, WEFT_UNAVAILABLE, 1), 1); /* the first failure is enough */
        assert_int_equal(harness_counter(f.h, "ejections", "cause=\"probation\""), times);
        doubled = doubled < 16 ? doubled * 2 : 16;
    }
    harness_free(f.h);
}

static void
test_a_large_share_of_failures_ejects_too(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    for (int i = 0; i < 10; i++) {
        (void) s_serve(&f, 3, WEFT_DATA_LOSS, 6);
        (void) s_serve(&f, 3, WEFT_OK, 3);
        if (i == 4) { /* 15 results are too few */
            harness_wait(f.h, 300);
            s_expect_state(&f, 3, "well");
        }
    }
    harness_wait(f.h, 300);
    s_expect_state(&f, 3, "ejected");
    assert_int_equal(harness_counter(f.h, "ejections", "cause=\"ratio\""), 1);
    harness_free(f.h);
}

static void
test_what_callers_bring_about_does_not_count(void **state)
{
    (void) state;
    const weft_status_t theirs[] = { WEFT_INVALID_ARGUMENT, WEFT_NOT_FOUND, WEFT_ABORTED,
                                     WEFT_RESOURCE_EXHAUSTED, WEFT_CANCELLED };
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++)
        assert_int_equal(s_serve(&f, 2, theirs[i], 30), 10);
    harness_wait(f.h, 300);
    assert_int_equal(s_ejections(&f), 0);
    harness_free(f.h);
}

static void
test_a_single_worker_is_never_ejected(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    config.eject_max_percent = 100;
    s_setup(&f, &config, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(s_serve(&f, 1, WEFT_INTERNAL, 20), 20);
        harness_wait(f.h, 300);
    }
    assert_int_equal(s_ejections(&f), 0);
    harness_free(f.h);
}

static void
test_only_a_share_of_the_workers_is_out(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    for (int i = 0; i < 60; i++) {
        uint32_t at = s_call(&f, "get", NULL);
        s_answer(&f, at == 3 ? WEFT_OK : WEFT_INTERNAL);
        harness_wait(f.h, 10);
    }
    assert_int_equal(s_ejections(&f), 1);
    assert_int_equal(harness_counter(f.h, "ejections_spared", ""), 1);
    harness_free(f.h);
}

/* Its database is away: nobody is the outlier. */
static void
test_where_all_fail_nobody_is_ejected(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    for (int i = 0; i < 100; i++) {
        (void) s_call(&f, "get", NULL);
        s_answer(&f, WEFT_INTERNAL);
        harness_wait(f.h, 30);
    }
    assert_int_equal(s_ejections(&f), 0);
    harness_free(f.h);
}

static void
test_who_does_not_answer_in_time_is_ejected(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, 2);
    for (int i = 0; i < 10; i++) {
        if (s_call(&f, "get", NULL) == 1) {
            harness_wait(f.h, 1001);
            harness_expect_reply(f.h, CLIENT, f.id, WEFT_DEADLINE_EXCEEDED, "maybe");
            harness_reply(f.h, 1, f.last_id, WEFT_CANCELLED, 0);
        } else {
            s_answer(&f, WEFT_OK);
        }
    }
    s_expect_state(&f, 1, "ejected");
    harness_free(f.h);
}

static void
test_credits_never_given_back_count(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    config.eject_failures = 1;
    s_setup(&f, &config, 2);
    assert_int_equal(s_call(&f, "get", NULL), 1);
    harness_say(f.h, FRONT, CLIENT, WEFT_BYE, 0, 0); /* nobody waits, but the worker does not end */
    harness_wait(f.h, 29000);
    s_expect_state(&f, 1, "well");
    harness_wait(f.h, 2000);
    assert_int_equal(harness_counter(f.h, "abandon_expired", ""), 1);
    s_expect_state(&f, 1, "ejected");
    harness_free(f.h);
}

static void
test_affinity_goes_elsewhere_and_comes_back(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    uint32_t home = s_call(&f, "get", "user-7");
    s_answer(&f, WEFT_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(s_call(&f, "get", "user-7"), home);
        s_answer(&f, WEFT_INTERNAL);
    }
    uint32_t guest = s_call(&f, "get", "user-7");
    assert_int_not_equal(guest, home);
    s_answer(&f, WEFT_OK);
    harness_wait(f.h, config.eject_ms + 300);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(s_call(&f, "get", "user-7"), home);
        s_answer(&f, WEFT_OK);
    }
    harness_free(f.h);
}

/* ---- who is needed stays, or is taken back */

static void
test_the_last_with_a_method_stays(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    harness_ready_version(f.h, 9, "notes", "1.1.0", "get,put", CAPACITY);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(s_call(&f, "put", NULL), 9);
        s_answer(&f, WEFT_INTERNAL);
    }
    assert_int_equal(s_ejections(&f), 0);
    assert_int_equal(harness_counter(f.h, "ejections_spared", ""), 1);
    harness_free(f.h);
}

static void
test_taken_back_when_the_others_leave(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, 2);
    (void) s_serve(&f, 1, WEFT_INTERNAL, 10);
    s_expect_state(&f, 1, "ejected");
    assert_int_equal(s_serve(&f, 1, WEFT_OK, 10), 0);
    harness_say(f.h, BACK, 2, WEFT_BYE, 0, 0);
    s_expect_state(&f, 1, "ramp");
    assert_int_equal(harness_counter(f.h, "returns", "cause=\"needed\""), 1);
    assert_int_equal(s_serve(&f, 1, WEFT_OK, 10), 10);
    harness_free(f.h);
}

static void
test_an_ejected_worker_may_leave_and_come_back(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, WORKERS);
    (void) s_serve(&f, 1, WEFT_INTERNAL, 15);
    s_expect_state(&f, 1, "ejected");
    harness_ready(f.h, 1, "notes", "get", CAPACITY * 2); /* another capacity is no new beginning */
    s_expect_state(&f, 1, "ejected");
    harness_say(f.h, BACK, 1, WEFT_DRAIN, 1, 0);
    harness_say(f.h, BACK, 1, WEFT_BYE, 1, 0);
    (void) s_serve(&f, 2, WEFT_INTERNAL, 10);
    s_expect_state(&f, 2, "ejected"); /* the place is free */
    harness_free(f.h);
}

static void
test_an_end_of_an_ejection_empties_the_queue(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    config.eject_ms = 300;
    s_setup(&f, &config, 2);
    (void) s_serve(&f, 1, WEFT_INTERNAL, 10);
    s_expect_state(&f, 1, "ejected");
    uint64_t held[CAPACITY];
    for (int i = 0; i < CAPACITY; i++) {
        assert_int_equal(s_call(&f, "get", NULL), 2);
        held[i] = f.last_id;
    }
    assert_int_equal(s_call(&f, "get", NULL), 0); /* waits, though one has credit */
    harness_wait(f.h, 700);
    weft_message_t request = harness_expect(f.h, BACK, 1, WEFT_REQUEST);
    harness_reply(f.h, 1, request.id, WEFT_OK, 0);
    for (int i = 0; i < CAPACITY; i++)
        harness_reply(f.h, 2, held[i], WEFT_OK, 0);
    harness_free(f.h);
}

static void
test_nothing_is_done_where_it_is_off(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    config.eject_failures = config.slow_max = config.ramp_ms = 0;
    s_setup(&f, &config, WORKERS);
    assert_int_equal(s_serve(&f, 1, WEFT_INTERNAL, 300), 100);
    harness_wait(f.h, 6000);
    harness_ready(f.h, 4, "notes", "get", CAPACITY);
    s_expect_state(&f, 4, "well");
    assert_int_equal(s_ejections(&f), 0);
    harness_free(f.h);
}

/* ---- slow start */

static void
test_who_joins_others_begins_slowly(void **state)
{
    (void) state;
    fixture_t f;
    dispatcher_config_t config = harness_config();
    s_setup(&f, &config, 2);
    f.ttl_ms = 600000;
    s_expect_state(&f, 1, "well"); /* the first have nobody to compare with */
    s_expect_state(&f, 2, "well");
    harness_wait(f.h, config.ramp_ms);
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(s_call(&f, "get", NULL), 3);
    harness_ready(f.h, 3, "notes", "get", CAPACITY);
    s_expect_state(&f, 3, "ramp");
    assert_int_not_equal(s_call(&f, "get", NULL), 3); /* though the others hold two each */
    assert_int_not_equal(s_call(&f, "get", NULL), 3);
    assert_int_equal(s_call(&f, "get", NULL), 3); /* but not for ever */
    harness_wait(f.h, config.ramp_ms + 300);
    s_expect_state(&f, 3, "well");
    harness_free(f.h);
}

/* ---- slow workers, in virtual time */

typedef struct {
    uint32_t p99_us;    /* of the requests that the odd one did not serve */
    uint32_t all_us;    /* of all */
    uint32_t share;     /* of the odd one, in 1/1,000 */
    uint32_t recovered; /* its share when it was well again for a while */
    uint64_t slowed;
} outcome_t;

/* Four workers of four threads, 10 ms each: one of them takes `times` as long, and later no longer. */
static outcome_t
s_four(uint32_t slow_max, int64_t times, double per_second, uint32_t dear)
{
    outcome_t out;
    dispatcher_config_t config = DISPATCHER_DEFAULTS;
    config.slow_max = slow_max;
    queueing_t *q = queueing_new(&config);
    queueing_worker_t *odd = NULL;
    for (int i = 0; i < 4; i++)
        odd = queueing_worker(q, 4, 8, 10000);
    q->dear = dear;
    odd->service_us *= times;
    (void) queueing_run(q, per_second, 10);
    uint32_t first = queueing_run(q, per_second, 40);
    out.p99_us = queueing_percentile(q, first, 99, odd);
    out.all_us = queueing_percentile(q, first, 99, NULL);
    out.share = queueing_share(q, first, odd);
    out.slowed = queueing_counter(q, "slow", "change=\"begin\"");
    odd->service_us /= times;
    (void) queueing_run(q, per_second, 30);
    out.recovered = queueing_share(q, queueing_run(q, per_second, 20), odd);
    queueing_free(q);
    return out;
}

/* 400 a second are a quarter of what four can do, and nearly a third of what three can. */
static void
test_a_slow_worker_gets_no_more_than_its_share(void **state)
{
    (void) state;
    outcome_t equal = s_four(16, 1, 400, 0);
    outcome_t slow = s_four(16, 10, 400, 0);
    outcome_t off = s_four(0, 10, 400, 0);
    print_message("p99 of the others: %u us with four equal, %u with a slow one, %u without weighing\n"
                  "share of the slow one: %u, %u without weighing, then %u\n",
                  equal.p99_us, slow.p99_us, off.p99_us, slow.share, off.share, slow.recovered);
    print_message("p99 of all: %u us, %u, %u\n", equal.all_us, slow.all_us, off.all_us);
    assert_int_equal(equal.slowed, 0);
    assert_in_range(equal.share, 230, 270);
    assert_true(slow.p99_us <= equal.p99_us * 3 / 2);
    assert_true(slow.all_us <= equal.all_us * 3 / 2);
    assert_true(off.all_us > equal.all_us * 3);
    assert_in_range(slow.share, 1, 1000 / 31); /* a tenth beside three times one */
    assert_true(off.share > 3 * slow.share);
    assert_in_range(slow.recovered, 200, 300);
}

/* Where all are busy it works as much as it can. */
static void
test_a_slow_worker_is_used_when_all_are_busy(void **state)
{
    (void) state;
    outcome_t slow = s_four(16, 10, 1150, 0);
    print_message("busy: p99 of the others %u us, share %u\n", slow.p99_us, slow.share);
    assert_in_range(slow.share, 5, 1000 / 31 + 3);
}

static void
test_methods_of_different_cost_slow_nobody(void **state)
{
    (void) state;
    outcome_t mixed = s_four(16, 1, 300, 20);
    assert_int_equal(mixed.slowed, 0);
    outcome_t slow = s_four(16, 5, 300, 20);
    assert_in_range(slow.share, 1, 1000 / 16);
}

/* Alone, or together with all others, and back. */
static void
test_what_slows_a_service_slows_nobody(void **state)
{
    (void) state;
    for (int workers = 1; workers <= 4; workers += 3) {
        queueing_t *q = queueing_new(&DISPATCHER_DEFAULTS);
        for (int i = 0; i < workers; i++)
            (void) queueing_worker(q, 4, 8, 5000);
        for (int turn = 0; turn < 20; turn++) {
            for (int i = 0; i < workers; i++)
                q->workers[i].service_us = turn % 2 ? 50000 : 5000;
            (void) queueing_run(q, 40 * workers, 5);
        }
        assert_int_equal(queueing_counter(q, "slow", "change=\"begin\""), 0);
        queueing_free(q);
    }
}

/* One of four that always fails, at once: without ejection it is the least loaded, and fails a quarter of
 * all. */
static uint32_t
s_failing(uint32_t eject_failures)
{
    dispatcher_config_t config = DISPATCHER_DEFAULTS;
    config.eject_failures = eject_failures;
    queueing_t *q = queueing_new(&config);
    for (int i = 0; i < 3; i++)
        (void) queueing_worker(q, 4, 8, 10000);
    queueing_worker(q, 4, 8, 100)->failing = 100;
    uint32_t failed = queueing_failed(q, queueing_run(q, 400, 60));
    queueing_free(q);
    return failed;
}

static void
test_a_failing_worker_fails_few(void **state)
{
    (void) state;
    uint32_t off = s_failing(0);
    uint32_t on = s_failing(5);
    print_message("failed: %u of 1000 without ejection, %u with\n", off, on);
    assert_true(off >= 250);
    assert_in_range(on, 0, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_in_a_row_eject_then_trials_bring_back),
        cmocka_unit_test(test_each_ejection_is_twice_as_long),
        cmocka_unit_test(test_a_large_share_of_failures_ejects_too),
        cmocka_unit_test(test_what_callers_bring_about_does_not_count),
        cmocka_unit_test(test_a_single_worker_is_never_ejected),
        cmocka_unit_test(test_only_a_share_of_the_workers_is_out),
        cmocka_unit_test(test_where_all_fail_nobody_is_ejected),
        cmocka_unit_test(test_who_does_not_answer_in_time_is_ejected),
        cmocka_unit_test(test_credits_never_given_back_count),
        cmocka_unit_test(test_affinity_goes_elsewhere_and_comes_back),
        cmocka_unit_test(test_the_last_with_a_method_stays),
        cmocka_unit_test(test_taken_back_when_the_others_leave),
        cmocka_unit_test(test_an_ejected_worker_may_leave_and_come_back),
        cmocka_unit_test(test_an_end_of_an_ejection_empties_the_queue),
        cmocka_unit_test(test_nothing_is_done_where_it_is_off),
        cmocka_unit_test(test_who_joins_others_begins_slowly),
        cmocka_unit_test(test_a_slow_worker_gets_no_more_than_its_share),
        cmocka_unit_test(test_a_slow_worker_is_used_when_all_are_busy),
        cmocka_unit_test(test_methods_of_different_cost_slow_nobody),
        cmocka_unit_test(test_what_slows_a_service_slows_nobody),
        cmocka_unit_test(test_a_failing_worker_fails_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
