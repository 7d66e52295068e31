/* test_engine_keys - limits: of a queue, of a concurrency_key, and who keeps them */
#include <stdlib.h>

#include "unit/jobs/engine_fixture.h"

static const engine_queue_t KEYED = {
    .queue = 1, .workers = 2, .capacity = 8, .keeper = 5, .key_concurrency = 1
};

/* Claims jobs first, first + 1, ... all with the key "k". */
static void
s_claim(fixture_t *f, int64_t first, uint32_t count)
{
    engine_poke(f->engine, 1, f->now);
    batch_t *batch = fixture_take(f, LANE_CLAIM, BATCH_CLAIM);
    for (uint32_t i = 0; i < count; i++)
        assert_true(weft_buf_add_char(&fixture_claimed(batch, first + i, 1, 1, 1)->key, 'k'));
    fixture_give(f, batch, BATCH_OK);
}

static void
test_one_runs_two_wait_the_rest_is_held(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, KEYED);
    s_claim(&f, 10, 5);
    assert_int_equal(f.call_count, 1);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 2);
    assert_int_equal(batch->finishes[0].kind, FINISH_HOLD);
    assert_int_equal(batch->finishes[0].id, 13);
    assert_int_equal(batch->finishes[1].id, 14);
    batch->finishes[0].applied = batch->finishes[1].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(engine_stats(f.engine).held, 2);
    /* The end of the first begins the second without a claim, and frees a held one. */
    fixture_ok(&f, 0);
    assert_int_equal(f.call_count, 2);
    assert_int_equal(f.calls[1].id, 11);
    batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_true(weft_span_equal(weft_buf_span(&batch->finishes[0].release_key), WEFT_SPAN("k")));
    batch->finishes[0].applied = true;
    batch->finishes[0].released_us = 123;
    fixture_give(&f, batch, BATCH_OK);
    batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
    assert_true(batch->asks[0].since_us <= 123);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_key_is_free_only_when_the_fence_of_a_doubtful_end_is_old(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, KEYED);
    s_claim(&f, 10, 2);
    /* Its time ran out: it may be at work still. */
    fixture_reply(&f, 0,
                  (engine_reply_t){ .status = WEFT_DEADLINE_EXCEEDED, .mesh = true, .executed_maybe = true });
    assert_int_equal(f.call_count, 1);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finishes[0].kind, FINISH_LATER);
    assert_int_equal(batch->finishes[0].release_key.size, 1); /* whatever ends it frees the key */
    batch->finishes[0].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.call_count, 2);
    fixture_fini(&f);
}

static void
test_limit_of_a_queue_counts_what_may_be_at_work(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(
        &f, (engine_queue_t){ .queue = 1, .workers = 2, .capacity = 8, .keeper = 5, .concurrency = 2 });
    for (int i = 0; i < 4; i++)
        fixture_enqueue(&f, 1, 1);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    assert_int_equal(f.call_count, 2);
    fixture_reply(&f, 0,
                  (engine_reply_t){ .status = WEFT_UNAVAILABLE, .mesh = true, .executed_maybe = true });
    assert_int_equal(f.call_count, 2);
    fixture_ok(&f, 1); /* that one has ended for sure */
    assert_int_equal(f.call_count, 3);
    fixture_fini(&f);
}

static void
test_what_another_keeps_is_not_run_here(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    engine_queue_t queue = KEYED;
    fixture_idle_queue(&f, queue);
    s_claim(&f, 10, 3);
    assert_int_equal(f.call_count, 1);
    queue.keeper = 6;
    fixture_queue(&f, queue);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 2);
    assert_int_equal(batch->finishes[0].kind, FINISH_RELEASE);
    batch->finishes[0].applied = batch->finishes[1].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    fixture_nothing(&f, LANE_CLAIM);
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, true);
    assert_int_equal(engine_stats(f.engine).owned, 0);
    fixture_fini(&f);
}

static void
test_keyed_jobs_wait_for_a_keeper(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, (engine_queue_t){ .queue = 1, .workers = 2, .capacity = 8 });
    insert_row_t row;
    fixture_row(&row, 1, 1);
    assert_true(weft_buf_add_char(&row.job->key, 'k'));
    engine_enqueue(f.engine, &row, f.now);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    s_claim(&f, 100, 1);
    assert_int_equal(f.call_count, 0);
    fixture_finish(&f, FINISH_RELEASE, true);
    fixture_nothing(&f, LANE_CLAIM); /* not again and again */
    fixture_queue(&f, KEYED);
    s_claim(&f, 100, 1);
    assert_int_equal(f.call_count, 1);
    fixture_fini(&f);
}

static void
test_wider_limit_lets_those_that_wait_begin(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    engine_queue_t queue = KEYED;
    fixture_idle_queue(&f, queue);
    s_claim(&f, 10, 3);
    assert_int_equal(f.call_count, 1);
    queue.key_concurrency = 3;
    fixture_queue(&f, queue);
    assert_int_equal(f.call_count, 3);
    fixture_fini(&f);
}

static void
test_drain_with_jobs_that_wait_for_a_key(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, KEYED);
    s_claim(&f, 10, 3);
    engine_drain(f.engine, f.now);
    engine_check(f.engine);
    batch_t *batch = fixture_take(&f, LANE_FINISH, BATCH_FINISH);
    assert_int_equal(batch->finish_count, 2);
    batch->finishes[0].applied = batch->finishes[1].applied = true;
    fixture_give(&f, batch, BATCH_OK);
    fixture_ok(&f, 0);
    fixture_finish(&f, FINISH_DONE, true);
    fixture_give(&f, fixture_take(&f, LANE_LEASE, BATCH_LEAVE), BATCH_OK);
    assert_true(engine_drained(f.engine));
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_runs_two_wait_the_rest_is_held),
        cmocka_unit_test(test_key_is_free_only_when_the_fence_of_a_doubtful_end_is_old),
        cmocka_unit_test(test_limit_of_a_queue_counts_what_may_be_at_work),
        cmocka_unit_test(test_what_another_keeps_is_not_run_here),
        cmocka_unit_test(test_keyed_jobs_wait_for_a_keeper),
        cmocka_unit_test(test_wider_limit_lets_those_that_wait_begin),
        cmocka_unit_test(test_drain_with_jobs_that_wait_for_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
