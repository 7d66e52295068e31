/* test_engine_insert - enqueues are answered once and truly, and born running only where that is right */
#include <stdlib.h>

#include "unit/jobs/engine_fixture.h"

static const engine_queue_t QUEUE = { .queue = 1, .workers = 2, .capacity = 8 };

static bool
s_leased(fixture_t *f, uint8_t priority)
{
    fixture_enqueue(f, 1, priority);
    batch_t *batch = fixture_take(f, LANE_INSERT, BATCH_INSERT);
    assert_int_equal(batch->insert_count, 1);
    const bool leased = batch->inserts[0].leased;
    fixture_commit(f, batch);
    return leased;
}

static void
test_enqueue_without_database_is_refused_in_two_seconds(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_enqueue(&f, 1, 1);
    fixture_pass(&f, 1000000);
    fixture_enqueue(&f, 1, 1);
    fixture_pass(&f, 999999);
    assert_int_equal(f.answer_count, 0);
    fixture_pass(&f, 1);
    assert_int_equal(f.answer_count, 1);
    assert_int_equal(f.answers[0].status, WEFT_UNAVAILABLE);
    assert_false(f.answers[0].maybe);
    fixture_pass(&f, 1000000);
    assert_int_equal(f.answer_count, 2);
    fixture_nothing(&f, LANE_INSERT);
    fixture_fini(&f);
}

static void
test_enqueue_is_refused_sooner_when_the_connection_is_known_to_be_lost(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_enqueue(&f, 1, 1);
    engine_lane(f.engine, LANE_INSERT, false, f.now);
    fixture_pass(&f, 300000);
    assert_int_equal(f.answer_count, 1);
    assert_int_equal(f.answers[0].status, WEFT_UNAVAILABLE);
    fixture_enqueue(&f, 1, 1); /* at once */
    assert_int_equal(f.answer_count, 2);
    engine_lane(f.engine, LANE_INSERT, true, f.now);
    fixture_enqueue(&f, 1, 1);
    assert_int_equal(f.answer_count, 2);
    fixture_fini(&f);
}

static void
test_lost_commit_is_answered_maybe(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    fixture_enqueue(&f, 1, 1);
    fixture_give(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT), BATCH_LOST);
    assert_int_equal(f.answers[0].status, WEFT_UNAVAILABLE);
    assert_true(f.answers[0].maybe);
    assert_int_equal(engine_stats(f.engine).owned, 0);
    batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_RECOVER);
    fixture_give(&f, batch, BATCH_OK);
    fixture_fini(&f);
}

static void
test_refused_insert_is_answered_no(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_enqueue(&f, 1, 1);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    memcpy(batch->sqlstate, "53100", 6);
    fixture_give(&f, batch, BATCH_REFUSED);
    assert_int_equal(f.answers[0].status, WEFT_UNAVAILABLE);
    assert_false(f.answers[0].maybe);
    fixture_enqueue(&f, 1, 1);
    fixture_nothing(&f, LANE_INSERT); /* not at once again */
    fixture_pass(&f, 60000);
    batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    memcpy(batch->sqlstate, "22021", 6);
    fixture_give(&f, batch, BATCH_REFUSED);
    assert_int_equal(f.answers[1].status, WEFT_INTERNAL);
    fixture_fini(&f);
}

static void
test_existing_jobs_leave_nothing_behind(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    for (int i = 0; i < 3; i++)
        fixture_enqueue(&f, 1, 1);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    batch->inserts[0].end = INSERT_EXISTING;
    batch->inserts[0].id = 55;
    batch->inserts[1].end = INSERT_MISMATCH;
    batch->inserts[2].end = INSERT_BAD;
    fixture_give(&f, batch, BATCH_OK);
    assert_int_equal(f.answer_count, 3);
    assert_int_equal(f.answers[0].end, INSERT_EXISTING);
    assert_int_equal(f.answers[0].id, 55);
    assert_int_equal(f.answers[1].status, WEFT_OK);
    assert_int_equal(f.answers[1].end, INSERT_MISMATCH);
    assert_int_equal(f.answers[2].status, WEFT_INTERNAL);
    assert_int_equal(engine_stats(f.engine).owned, 0);
    assert_int_equal(engine_stats(f.engine).deduplicated, 1);
    assert_int_equal(f.call_count, 0);
    fixture_fini(&f);
}

static void
test_born_running_only_where_nothing_waits_and_room_is(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    engine_queue_t queue = QUEUE;
    fixture_idle_queue(&f, queue);
    assert_true(s_leased(&f, 1));
    /* For later: not, however soon. */
    insert_row_t row;
    fixture_row(&row, 1, 1);
    row.delay_ms = 1;
    engine_enqueue(f.engine, &row, f.now);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_false(batch->inserts[0].leased);
    fixture_commit(&f, batch);
    assert_true(s_leased(&f, 1));
    /* Without workers. */
    queue.workers = 0;
    fixture_queue(&f, queue);
    assert_false(s_leased(&f, 1));
    queue.workers = 2;
    fixture_queue(&f, queue);
    /* That one waits in the database: no other of its priority goes before it, but of another one may. */
    assert_false(s_leased(&f, 1));
    assert_true(s_leased(&f, 0));
    while ((batch = engine_take_batch(f.engine, LANE_CLAIM, f.now)) != NULL)
        fixture_give(&f, batch, BATCH_OK);
    assert_true(s_leased(&f, 1));
    /* Until the window and the stock are full. */
    uint32_t more = 0;
    while (more < 100 && s_leased(&f, 1))
        more++;
    assert_true(more > 10 && more < 100);
    fixture_fini(&f);
}

static void
test_what_waits_in_the_database_keeps_its_share(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init(&f);
    fixture_join(&f, 5);
    fixture_idle_queue(&f, QUEUE);
    insert_row_t row;
    fixture_row(&row, 1, 3);
    row.run_at_us = 1;
    engine_enqueue(f.engine, &row, f.now);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    /* Its room is not taken by those that come straight in, and of what is claimed it has its part. */
    uint32_t leased = 0;
    while (leased < 100 && s_leased(&f, 0))
        leased++;
    assert_true(leased > 10 && leased < 100);
    uint32_t asked = 0;
    for (int round = 0; round < 9; round++) {
        batch_t *batch = fixture_take(&f, LANE_CLAIM, BATCH_CLAIM);
        for (uint32_t i = 0; i < batch->ask_count; i++) {
            asked += batch->asks[i].priority == 3 ? batch->asks[i].limit : 0;
            batch->asks[i].taken = batch->asks[i].limit; /* there is more */
            batch->asks[i].last_us = 1;
        }
        fixture_give(&f, batch, BATCH_OK);
    }
    assert_true(asked > 0);
    fixture_fini(&f);
}

static void
test_waiting_enqueues_are_bounded(void **state)
{
    (void) state;
    fixture_t f;
    fixture_init_with(&f, (engine_config_t){ .inserts_max = 3, .batch_max = 2 });
    for (int i = 0; i < 4; i++)
        fixture_enqueue(&f, 1, 1);
    assert_int_equal(f.answer_count, 1);
    assert_int_equal(f.answers[0].status, WEFT_RESOURCE_EXHAUSTED);
    batch_t *batch = fixture_take(&f, LANE_INSERT, BATCH_INSERT);
    assert_int_equal(batch->insert_count, 2);
    fixture_nothing(&f, LANE_INSERT);
    fixture_commit(&f, batch);
    fixture_commit(&f, fixture_take(&f, LANE_INSERT, BATCH_INSERT));
    assert_int_equal(f.answer_count, 4);
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enqueue_without_database_is_refused_in_two_seconds),
        cmocka_unit_test(test_enqueue_is_refused_sooner_when_the_connection_is_known_to_be_lost),
        cmocka_unit_test(test_lost_commit_is_answered_maybe),
        cmocka_unit_test(test_refused_insert_is_answered_no),
        cmocka_unit_test(test_existing_jobs_leave_nothing_behind),
        cmocka_unit_test(test_born_running_only_where_nothing_waits_and_room_is),
        cmocka_unit_test(test_what_waits_in_the_database_keeps_its_share),
        cmocka_unit_test(test_waiting_enqueues_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
