/* test_engine - the life of a job from enqueue to its end */
#include <stdlib.h>

#include "unit/jobs/engine_fixture.h"

static const engine_queue_t QUEUE = { .queue = 1, .workers = 2, .capacity = 8 };

static void
test_enqueued_job_is_born_running_called_and_finished(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_enqueue(&f, 1, 1);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_int_equal(batch->insert_count, 1);
    assert_int_equal(batch->owner, 5);
    assert_true(batch->inserts[0].leased);
    assert_int_equal(f.answer_count, 0);
    fixture_commit(&f, batch);
    assert_int_equal(f.answer_count, 1);
    assert_int_equal(f.answers[0].status, WEFT_OK);
    assert_int_equal(f.answers[0].id, 100);
    assert_ptr_equal(f.answers[0].context, &f);
    assert_int_equal(f.call_count, 1);
    assert_int_equal(f.calls[0].fence, 1);
    assert_int_equal(f.calls[0].attempts, 1);
    fixture_ok(&f, 0);
    batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 1);
    const finish_row_t *row = &batch->finishes[0];
    assert_int_equal(row->kind, FINISH_DONE);
    assert_int_equal(row->state, JOB_SUCCEEDED);
    assert_int_equal(row->id, 100);
    assert_int_equal(row->fence, 1);
    assert_int_equal(row->keep_ms, JOB_KEEP_DEFAULT_MS);
    assert_false(row->keep_input);
    assert_true(weft_span_equal(weft_buf_span(&row->value), WEFT_SPAN("\x01")));
    batch->finishes[0].applied = true;
    assert_int_equal(engine_stats(f.engine).owned, 1);
    fixture_give(&f, batch, BATCH_OK);
    const engine_stats_t stats = engine_stats(f.engine);
    assert_int_equal(stats.owned, 0);
    assert_int_equal(stats.succeeded, 1);
    assert_int_equal(f.change_count, 1);
    assert_true(f.changes[0].done);
    fixture_fini(&f);
}

static void
test_without_workers_it_is_queued_and_claimed_when_they_come(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_enqueue(&f, 1, 2);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    assert_int_equal(f.answers[0].status, WEFT_OK);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_queue(&f, QUEUE);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_int_equal(batch->ask_count, 4);
    assert_true(batch->asks[2].since_us == INT64_MIN);
    batch->asks[2].taken = 1;
    batch->asks[2].last_us = 77;
    fixture_claimed(batch, 100, 1, 1, 2);
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.call_count, 1);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, true);
    assert_int_equal(engine_stats(f.engine).succeeded, 1);
    fixture_fini(&f);
}

static void
test_drain_releases_waits_and_leaves(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(
        &f, (engine_queue_t){ .queue = 1, .workers = 1, .capacity = 8, .concurrency = 1, .keeper = 5 });
    fixture_enqueue(&f, 1, 1);
    fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    assert_int_equal(f.call_count, 1);
    assert_int_equal(engine_stats(f.engine).owned, 2);
    fixture_enqueue(&f, 1, 1); /* promised nothing yet, but taken */
    engine_drain(f.engine, f.now);
    fixture_finish(&f, FINISH_RELEASE, true);
    fixture_enqueue(&f, 1, 1);
    assert_int_equal(f.answer_count, 3);
    assert_int_equal(f.answers[2].status, WEFT_UNAVAILABLE);
    assert_false(f.answers[2].maybe);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    assert_int_equal(f.answers[3].status, WEFT_OK);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_nothing(&f, LANE_LEASE);
    assert_false(engine_drained(f.engine));
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, true);
    assert_false(engine_drained(f.engine));
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_LEAVE), BATCH_LOST);
    assert_false(engine_drained(f.engine));
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_LEAVE), BATCH_OK);
    assert_true(engine_drained(f.engine));
    fixture_nothing(&f, LANE_LEASE);
    fixture_fini(&f);
}

static void
test_paused_queue_gives_back_what_has_not_begun(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    engine_queue_t queue = { .queue = 1, .workers = 1, .capacity = 8, .concurrency = 1, .keeper = 5 };
    fixture_idle_queue(&f, queue);
    fixture_enqueue(&f, 1, 1);
    fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    queue.paused = true;
    fixture_queue(&f, queue);
    fixture_finish(&f, FINISH_RELEASE, true);
    assert_int_equal(engine_stats(f.engine).owned, 1);
    fixture_enqueue(&f, 1, 1);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    fixture_nothing(&f, LANE_CLAIM);
    queue.paused = false;
    fixture_queue(&f, queue);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enqueued_job_is_born_running_called_and_finished),
        cmocka_unit_test(test_without_workers_it_is_queued_and_claimed_when_they_come),
        cmocka_unit_test(test_drain_releases_waits_and_leaves),
        cmocka_unit_test(test_paused_queue_gives_back_what_has_not_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
