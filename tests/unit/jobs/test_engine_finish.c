/* test_engine_finish - rows that end attempts: lost, refused, blocked, old, and what they free */
#include <stdlib.h>

#include "unit/jobs/engine_fixture.h"

static const engine_queue_t QUEUE = { .queue = 1, .workers = 2, .capacity = 8 };

/* `count` jobs at work: ids from 100 on, calls from 0 on. */
static void
s_run(fixture_t *f, uint32_t count)
{
    fixture_init(f);
    fixture_join(f, 5);
    fixture_idle_queue(f, QUEUE);
    for (uint32_t i = 0; i < count; i++)
        fixture_enqueue(f, 1, 1);
    fixture_commit(f, fixture_take(f, LANE_INSERT, BATCH_INSERT));
    assert_int_equal(f->call_count, count);
}

static engine_reply_t
s_worker_died(void)
{
    return (engine_reply_t){ .status = WEFT_UNAVAILABLE, .mesh = true, .executed_maybe = true };
}

static void
test_lost_rows_go_again_in_their_order(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 3);
    fixture_ok(&f, 0);
    fixture_ok(&f, 1);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    fixture_ok(&f, 2);
    fixture_give(&f, batch, BATCH_LOST);
    batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(batch->finishes[i].id, 100 + i);
        assert_true(weft_span_equal(weft_buf_span(&batch->finishes[i].value), WEFT_SPAN("\x01")));
    }
    /* The first was done by the commit that was lost, and is gone since; that is no rejection. */
    batch->finishes[1].applied = batch->finishes[2].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).fence_rejections, 0);
    assert_int_equal(engine_stats(f.engine).owned, 0);
    fixture_fini(&f);
}

static void
test_old_fence_is_counted_and_the_job_forgotten(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, false);
    const engine_stats_t stats = engine_stats(f.engine);
    assert_int_equal(stats.fence_rejections, 1);
    assert_int_equal(stats.owned, 0);
    assert_int_equal(stats.succeeded, 0);
    assert_int_equal(f.change_count, 1);
    assert_false(f.changes[0].done);
    fixture_fini(&f);
}

static void
test_dead_worker_begins_anew_with_the_new_fence(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    fixture_reply(&f, 0, s_worker_died());
    assert_int_equal(f.call_count, 1);
    fixture_finish(&f, FINISH_AGAIN, true);
    assert_int_equal(f.call_count, 2);
    assert_int_equal(f.calls[1].fence, 2);
    assert_int_equal(f.calls[1].attempts, 2);
    /* The old call's reply, once more. */
    fixture_ok(&f, 0);
    assert_int_equal(engine_stats(f.engine).late_replies, 1);
    /* A second time not at once. */
    fixture_reply(&f, 1, s_worker_died());
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finishes[0].kind, FINISH_LATER);
    assert_true(batch->finishes[0].delay_ms > 0 && batch->finishes[0].delay_ms <= 2001);
    assert_true(batch->finishes[0].errors.size > 0);
    batch->finishes[0].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).owned, 0);
    fixture_fini(&f);
}

static void
test_again_that_may_have_been_done_before_is_recovered(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    fixture_reply(&f, 0, s_worker_died());
    fixture_give(&f, fixture_take(&f, LANE_FINISH, BATCH_FINISH), BATCH_LOST);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_finish(&f, FINISH_AGAIN, false);
    assert_int_equal(engine_stats(f.engine).owned, 0);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_RECOVER);
    assert_int_equal(batch->known_count, 0);
    fixture_claimed(batch, 100, 3, 1, 1)->attempts = 2;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.call_count, 2);
    assert_int_equal(f.calls[1].fence, 3);
    fixture_fini(&f);
}

static void
test_row_that_the_database_refuses_is_found_and_stripped(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 4);
    for (uint32_t i = 0; i < 4; i++)
        fixture_ok(&f, i);
    uint32_t batches = 0;
    while (engine_stats(f.engine).owned > 0 && batches++ < 20) {
        fixture_pass(&f, 600000);
        batch_t *batch = NULL;
        while ((batch = engine_take_batch(f.engine, LANE_LEASE, f.now)) != NULL) {
            batch->lease.alive = true;
            fixture_give(&f, batch, BATCH_OK);
        }
        batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
        bool bad = false;
        for (uint32_t i = 0; i < batch->finish_count; i++) {
            bad = bad || (batch->finishes[i].id == 102 && batch->finishes[i].value.size > 0);
            batch->finishes[i].applied = true;
        }
        memcpy(batch->sqlstate, "22021", 6);
        fixture_give(&f, batch, bad ? BATCH_REFUSED : BATCH_OK);
    }
    assert_int_equal(engine_stats(f.engine).owned, 0);
    assert_int_equal(engine_stats(f.engine).succeeded, 4);
    assert_in_range(batches, 4, 8);
    fixture_fini(&f);
}

static void
test_blocked_row_goes_again_a_little_later(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    fixture_ok(&f, 0);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    batch->finishes[0].blocked = true;
    fixture_give(&f, batch, BATCH_OK);
    fixture_nothing(&f, LANE_FINISH);
    fixture_pass(&f, 199999);
    fixture_nothing(&f, LANE_FINISH);
    fixture_pass(&f, 1);
    batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_false(batch->finishes[0].blocked);
    batch->finishes[0].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).succeeded, 1);
    fixture_fini(&f);
}

static void
test_result_that_is_too_large_fails_the_job(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    static char large[(1 << 20) + 1];
    fixture_reply(&f, 0, (engine_reply_t){ .body = { large, sizeof large } });
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finishes[0].state, JOB_FAILED);
    assert_int_equal(batch->finishes[0].value.size, 0);
    assert_true(batch->finishes[0].error.size > 0);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_progress_is_written_once_a_second_and_the_last_one_counts(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    int32_t sequence = 0;
    weft_span_t value;
    assert_false(engine_progress(f.engine, 100, &sequence, &value));
    const engine_reply_t one = { .body = WEFT_SPAN("\x01") };
    const engine_reply_t two = { .body = WEFT_SPAN("\x02") };
    engine_replied(f.engine, f.calls[0].token, &one, f.now);
    assert_int_equal(f.change_count, 1);
    fixture_finish(&f, FINISH_PROGRESS, true);
    engine_replied(f.engine, f.calls[0].token, &one, f.now);
    engine_replied(f.engine, f.calls[0].token, &two, f.now);
    assert_int_equal(f.change_count, 3);
    assert_true(engine_progress(f.engine, 100, &sequence, &value));
    assert_int_equal(sequence, 3);
    assert_true(weft_span_equal(value, WEFT_SPAN("\x02")));
    fixture_pass(&f, 999999);
    fixture_nothing(&f, LANE_FINISH);
    fixture_pass(&f, 1);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 1);
    assert_int_equal(batch->finishes[0].sequence, 3);
    assert_true(weft_span_equal(weft_buf_span(&batch->finishes[0].value), WEFT_SPAN("\x02")));
    /* It ends meanwhile; an old fence there is no end of it. */
    fixture_ok(&f, 0);
    fixture_give(&f, batch, BATCH_OK);
    fixture_finish(&f, FINISH_DONE, true);
    assert_int_equal(engine_stats(f.engine).succeeded, 1);
    fixture_fini(&f);
}

static void
test_call_that_reached_nobody_backs_the_queue_off(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 2);
    const engine_reply_t nobody = { .status = WEFT_UNAVAILABLE, .mesh = true };
    fixture_reply(&f, 0, nobody);
    fixture_reply(&f, 1, nobody); /* begun before: not twice as long */
    fixture_nothing(&f, LANE_FINISH);
    fixture_pass(&f, 49999);
    assert_int_equal(f.call_count, 2);
    fixture_enqueue(&f, 1, 1);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    fixture_pass(&f, 50002);
    assert_int_equal(f.call_count, 4);
    assert_int_equal(f.calls[2].fence, 1); /* the same attempts, in their order */
    fixture_ok(&f, 2);
    fixture_fini(&f);
}

static void
test_cancel_between_attempts_ends_what_waits(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    fixture_reply(&f, 0, (engine_reply_t){ .status = WEFT_INTERNAL, .executed_maybe = true });
    engine_cancel(f.engine, 100, f.now);
    engine_check(f.engine);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finishes[0].kind, FINISH_DONE);
    assert_int_equal(batch->finishes[0].state, JOB_CANCELLED);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_faster_success_wins_over_cancel(void **state)
{
    (void) state;
    fixture_t f;
    s_run(&f, 1);
    engine_cancel(f.engine, 100, f.now);
    assert_true(f.calls[0].cancelled);
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, true);
    assert_int_equal(engine_stats(f.engine).succeeded, 1);
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_rows_go_again_in_their_order),
        cmocka_unit_test(test_old_fence_is_counted_and_the_job_forgotten),
        cmocka_unit_test(test_dead_worker_begins_anew_with_the_new_fence),
        cmocka_unit_test(test_again_that_may_have_been_done_before_is_recovered),
        cmocka_unit_test(test_row_that_the_database_refuses_is_found_and_stripped),
        cmocka_unit_test(test_blocked_row_goes_again_a_little_later),
        cmocka_unit_test(test_result_that_is_too_large_fails_the_job),
        cmocka_unit_test(test_progress_is_written_once_a_second_and_the_last_one_counts),
        cmocka_unit_test(test_call_that_reached_nobody_backs_the_queue_off),
        cmocka_unit_test(test_cancel_between_attempts_ends_what_waits),
        cmocka_unit_test(test_faster_success_wins_over_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
