/* test_engine_claim - what is asked of the database, and what it left of lost commits */
#include <stdlib.h>

#include "unit/jobs/engine_fixture.h"

static const engine_queue_t QUEUE = { .queue = 1, .workers = 2, .capacity = 8 };

/* A job that is queued because it is for later: now. */
static void
s_queue_one(fixture_t *f, uint8_t priority)
{
    insert_row_t row;
    fixture_row(&row, 1, priority);
    row.run_at_us = 1;
    engine_enqueue(f->engine, &row, f->now);
    batch_t *batch = fixture_take(f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(f, batch);
}

static void
test_claims_go_on_from_the_last_one_taken(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_queue(&f, QUEUE);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_int_equal(batch->ask_count, 4);
    uint32_t limit = 0;
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(batch->asks[i].since_us == INT64_MIN);
        limit += batch->asks[i].limit;
    }
    assert_int_equal(limit, 18 + 8); /* window and stock */
    assert_true(batch->asks[0].limit > batch->asks[1].limit);
    /* Priority 0 had more than was asked for. */
    const uint32_t taken = batch->asks[0].limit;
    batch->asks[0].taken = taken;
    batch->asks[0].last_us = 4711;
    for (uint32_t i = 0; i < taken; i++)
        fixture_claimed(batch, 200 + i, 1, 1, 0);
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.call_count, taken);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_int_equal(batch->ask_count, 1);
    assert_true(batch->asks[0].since_us == 4711);
    assert_int_equal(batch->asks[0].limit, 18 + taken + 8 - taken); /* the others leave theirs to it */
    batch->asks[0].taken = 0;
    fixture_give(&f, batch, BATCH_OK);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_fini(&f);
}

static void
test_own_late_commit_lowers_the_bound(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    s_queue_one(&f, 1);
    insert_row_t row;
    fixture_row(&row, 1, 1);
    row.run_at_us = 1;
    engine_enqueue(f.engine, &row, f.now);
    const int64_t sent_at = f.now;
    batch_t *insert = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    fixture_pass(&f, 100000);
    /* Meanwhile a claim passes the time at which it began. */
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    fixture_commit(&f, insert);
    batch->asks[0].taken = 1;
    batch->asks[0].last_us = 1700000000000000 + f.now;
    fixture_claimed(batch, 100, 1, 1, 1);
    fixture_give(&f, batch, BATCH_OK);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_true(batch->asks[0].since_us <= 1700000000000000 + sent_at);
    assert_true(batch->asks[0].since_us > 1700000000000000 + sent_at - 10000);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

/* Heartbeats, and looks for the dead that find none. */
static void
s_lease(fixture_t *f)
{
    batch_t *batch = NULL;
    while ((batch = engine_take_batch(f->engine, LANE_LEASE, f->now)) != NULL) {
        batch->lease.alive = true;
        batch->lease.now_us = 1700000000000000 + f->now;
        fixture_give(f, batch, BATCH_OK);
    }
}

static void
test_full_look_comes_each_second_or_seldom_when_it_costs(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_pass(&f, 1100000);
    s_lease(&f);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_int_equal(batch->ask_count, 4);
    fixture_pass(&f, 100000);
    fixture_give(&f, batch, BATCH_OK);
    /* 100 ms: not before 5 s have passed. */
    for (int i = 0; i < 4; i++) {
        fixture_pass(&f, 900000);
        s_lease(&f);
        fixture_nothing(&f, LANE_CLAIM);
    }
    fixture_pass(&f, 999999);
    s_lease(&f);
    fixture_pass(&f, 700000);
    fixture_give(&f, fixture_take(&f, LANE_CLAIM, BATCH_CLAIM), BATCH_OK);
    engine_poke(f.engine, 1, f.now);
    fixture_give(&f, fixture_take(&f, LANE_CLAIM, BATCH_CLAIM), BATCH_OK);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_fini(&f);
}

static void
test_lost_claim_is_recovered_again_and_again(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    engine_poke(f.engine, 1, f.now);
    fixture_give(&f, fixture_take(&f, LANE_CLAIM, BATCH_CLAIM), BATCH_LOST);
    /* Until that is known nothing is born running. */
    fixture_enqueue(&f, 1, 1);
    batch_t *insert = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(insert->inserts[0].leased);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_RECOVER);
    assert_int_equal(batch->known_count, 1);
    assert_int_equal(batch->known[0], 100);
    fixture_commit(&f, insert);
    fixture_give(&f, batch, BATCH_LOST);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_RECOVER);
    fixture_claimed(batch, 300, 2, 1, 1);
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).recovered, 1);
    assert_int_equal(f.call_count, 2);
    assert_int_equal(f.calls[1].fence, 2);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    fixture_give(&f, batch, BATCH_OK);
    fixture_pass(&f, 1000000);
    fixture_beat(&f, true, 1);
    fixture_give(&f, fixture_take(&f, LANE_CLAIM, BATCH_RECOVER), BATCH_OK);
    fixture_fini(&f);
}

static void
test_recover_waits_for_inserts_that_are_born_running(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    engine_poke(f.engine, 1, f.now);
    batch_t *claim = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    fixture_enqueue(&f, 1, 1);
    batch_t *insert = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_true(insert->inserts[0].leased);
    fixture_give(&f, claim, BATCH_LOST);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_commit(&f, insert);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_RECOVER);
    assert_int_equal(batch->known_count, 1);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_claimed_again_before_its_release_was_heard_of(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    fixture_reply(&f, 0, (engine_reply_t){ .status = WEFT_INTERNAL, .executed_maybe = true });
    batch_t *finish = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(finish->finishes[0].kind, FINISH_LATER);
    engine_poke(f.engine, 1, f.now);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    fixture_claimed(batch, 100, 3, 1, 1)->attempts = 2;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.call_count, 2);
    assert_int_equal(engine_stats(f.engine).owned, 2);
    finish->finishes[0].applied = true;
    fixture_give(&f, finish, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).owned, 1);
    fixture_ok(&f, 1);
    fixture_finish(&f, FINISH_DONE, true);
    assert_int_equal(engine_stats(f.engine).succeeded, 1);
    fixture_fini(&f);
}

static void
test_memory_bounds_what_is_asked_for(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init_with(&f, (engine_config_t){ .memory_max = 6 });
    fixture_join(&f, 5);
    fixture_queue(&f, QUEUE);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    uint32_t limit = 0;
    for (uint32_t i = 0; i < batch->ask_count; i++)
        limit += batch->asks[i].limit;
    assert_int_equal(limit, 6);
    fixture_enqueue(&f, 1, 1);
    batch_t *insert = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(insert->inserts[0].leased);
    fixture_commit(&f, insert);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_used_up_attempts_end_a_claimed_job(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_queue(&f, QUEUE);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    fixture_claimed(batch, 7, 9, 1, 1)->attempts = 4;
    fixture_claimed(batch, 8, 9, 1, 1)->flags = JOB_FLAG_CANCEL;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.call_count, 0);
    batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 2);
    assert_int_equal(batch->finishes[0].state, JOB_FAILED);
    assert_true(batch->finishes[0].error.size > 0);
    assert_int_equal(batch->finishes[1].state, JOB_CANCELLED);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_go_on_from_the_last_one_taken),
        cmocka_unit_test(test_own_late_commit_lowers_the_bound),
        cmocka_unit_test(test_full_look_comes_each_second_or_seldom_when_it_costs),
        cmocka_unit_test(test_lost_claim_is_recovered_again_and_again),
        cmocka_unit_test(test_recover_waits_for_inserts_that_are_born_running),
        cmocka_unit_test(test_claimed_again_before_its_release_was_heard_of),
        cmocka_unit_test(test_memory_bounds_what_is_asked_for),
        cmocka_unit_test(test_used_up_attempts_end_a_claimed_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
