/* test_engine_lease - joining, heartbeats, taking over, losing the lease, due jobs, leaving */
#include <stdlib.h>

#include "unit/jobs/engine_fixture.h"

static const engine_queue_t QUEUE = { .queue = 1, .workers = 2, .capacity = 8 };

/* A beat is due a third of a lease later; nothing else may be asked for before. */
static void
test_heartbeat_comes_each_third_of_the_lease(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_nothing(&f, LANE_LEASE);
    fixture_pass(&f, 999999);
    fixture_nothing(&f, LANE_LEASE);
    fixture_pass(&f, 1);
    batch_t *batch = fixture_take(&f, LANE_LEASE, BATCH_BEAT);
    assert_int_equal(batch->lease.number, 5);
    assert_int_equal(batch->lease.lease_ms, 3000);
    fixture_give(&f, batch, BATCH_LOST);
    fixture_beat(&f, true, 1); /* at once again */
    fixture_nothing(&f, LANE_LEASE);
    fixture_fini(&f);
}

static void
test_join_is_asked_again_until_it_is_heard(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_JOIN), BATCH_LOST);
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_JOIN), BATCH_REFUSED);
    fixture_nothing(&f, LANE_LEASE); /* a little later */
    fixture_pass(&f, 60000);
    fixture_join(&f, 9);
    assert_true(engine_stats(f.engine).joined);
    fixture_fini(&f);
}

static void
test_nobody_is_reaped_before_the_own_lease_was_held_long_enough(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    for (int i = 0; i < 2; i++) {
        fixture_pass(&f, 1000000);
        fixture_beat(&f, true, 2);
        fixture_nothing(&f, LANE_LEASE);
    }
    fixture_pass(&f, 1000000);
    fixture_beat(&f, true, 2);
    batch_t *batch = fixture_take(&f, LANE_LEASE, BATCH_REAP);
    assert_true(batch->limit > 0);
    batch->moved = 2;
    batch->moved_queues = calloc(1, sizeof *batch->moved_queues);
    batch->moved_queues[0] = 1;
    batch->moved_queue_count = 1;
    batch->moved_since_us = 5000;
    fixture_queue(&f, QUEUE);
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).takeovers, 2);
    fixture_nothing(&f, LANE_LEASE);
    /* Within half a second again. */
    fixture_pass(&f, 500000);
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_REAP), BATCH_OK);
    /* An outage that may have kept others from their heartbeat. */
    fixture_pass(&f, 1600000);
    fixture_beat(&f, true, 2);
    fixture_nothing(&f, LANE_LEASE);
    fixture_fini(&f);
}

static void
test_moved_jobs_are_claimed_from_their_time_on(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_queue(&f, QUEUE);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    for (uint32_t i = 0; i < batch->ask_count; i++) {
        batch->asks[i].taken = 1;
        batch->asks[i].last_us = 900000;
    }
    fixture_give(&f, batch, BATCH_OK);
    for (int i = 0; i < 3; i++) {
        fixture_pass(&f, 1000000);
        fixture_beat(&f, true, 1);
        while ((batch = engine_take_batch(f.engine, LANE_CLAIM, f.now)) != NULL)
            fixture_give(&f, batch, BATCH_OK);
    }
    batch = fixture_take(&f, LANE_LEASE, BATCH_REAP);
    batch->moved = 1;
    batch->moved_queues = calloc(1, sizeof *batch->moved_queues);
    batch->moved_queues[0] = 1;
    batch->moved_queue_count = 1;
    batch->moved_since_us = 5000;
    fixture_give(&f, batch, BATCH_OK);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_int_equal(batch->ask_count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(batch->asks[i].since_us == 5000);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_lost_lease_forgets_all_and_joins_anew(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    for (int i = 0; i < 3; i++)
        fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    assert_int_equal(f.call_count, 3);
    fixture_ok(&f, 0);
    batch_t *finish = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    fixture_ok(&f, 1); /* its row waits */
    fixture_enqueue(&f, 1, 1);
    batch_t *insert = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_true(insert->inserts[0].leased);
    fixture_pass(&f, 1000000);
    fixture_beat(&f, false, 0);
    engine_stats_t stats = engine_stats(f.engine);
    assert_int_equal(stats.owned, 0);
    assert_int_equal(stats.leases_lost, 1);
    assert_false(stats.joined);
    assert_true(f.calls[2].cancelled);
    assert_false(f.calls[0].cancelled);
    fixture_nothing(&f, LANE_FINISH);
    /* What comes in late does no harm. */
    fixture_ok(&f, 2);
    assert_int_equal(engine_stats(f.engine).late_replies, 1);
    fixture_commit(&f, insert);
    assert_int_equal(f.answer_count, 4);
    assert_int_equal(f.answers[3].status, WEFT_OK);
    assert_int_equal(f.call_count, 3);
    finish->finishes[0].applied = false;
    fixture_give(&f, finish, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).fence_rejections, 1);
    fixture_join(&f, 6);
    assert_true(engine_stats(f.engine).joined);
    fixture_fini(&f);
}

static void
test_nothing_begins_while_the_lease_is_in_doubt(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    fixture_enqueue(&f, 1, 1);
    batch_t *late = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_true(late->inserts[0].leased);
    fixture_pass(&f, 3000000); /* stopped, say */
    fixture_commit(&f, late);
    assert_int_equal(f.call_count, 1);
    assert_false(engine_stats(f.engine).joined);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_enqueue(&f, 1, 1);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    /* What runs goes on, and is finished. */
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, true);
    fixture_beat(&f, true, 1);
    assert_int_equal(f.call_count, 2);
    fixture_fini(&f);
}

static void
test_due_jobs_are_promoted_when_the_database_says_so(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_pass(&f, 1000000);
    batch_t *batch = fixture_take(&f, LANE_LEASE, BATCH_BEAT);
    batch->lease.alive = true;
    batch->lease.now_us = 1700000000000000;
    batch->lease.next_due_us = 1700000000500000;
    fixture_give(&f, batch, BATCH_OK);
    fixture_pass(&f, 500000);
    fixture_nothing(&f, LANE_LEASE);
    fixture_pass(&f, 6000);
    batch = fixture_take(&f, LANE_LEASE, BATCH_PROMOTE);
    batch->moved = batch->limit; /* more of them */
    fixture_give(&f, batch, BATCH_OK);
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_PROMOTE), BATCH_OK);
    fixture_nothing(&f, LANE_LEASE);
    fixture_fini(&f);
}

static void
test_cancels_come_with_the_heartbeat(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    for (int i = 0; i < 2; i++) {
        fixture_pass(&f, 1000000);
        batch_t *batch = fixture_take(&f, LANE_LEASE, BATCH_BEAT);
        batch->lease.alive = true;
        batch->lease.now_us = 1;
        batch->lease.cancels = calloc(2, sizeof *batch->lease.cancels);
        batch->lease.cancels[0] = 100;
        batch->lease.cancels[1] = 9999; /* not known here */
        batch->lease.cancel_count = 2;
        fixture_give(&f, batch, BATCH_OK);
        assert_true(f.calls[0].cancelled);
    }
    fixture_reply(&f, 0, (engine_reply_t){ .status = WEFT_CANCELLED, .mesh = true, .executed_maybe = true });
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finishes[0].state, JOB_CANCELLED);
    assert_true(batch->finishes[0].keep_input);
    batch->finishes[0].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).cancelled, 1);
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heartbeat_comes_each_third_of_the_lease),
        cmocka_unit_test(test_join_is_asked_again_until_it_is_heard),
        cmocka_unit_test(test_nobody_is_reaped_before_the_own_lease_was_held_long_enough),
        cmocka_unit_test(test_moved_jobs_are_claimed_from_their_time_on),
        cmocka_unit_test(test_lost_lease_forgets_all_and_joins_anew),
        cmocka_unit_test(test_nothing_begins_while_the_lease_is_in_doubt),
        cmocka_unit_test(test_due_jobs_are_promoted_when_the_database_says_so),
        cmocka_unit_test(test_cancels_come_with_the_heartbeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
