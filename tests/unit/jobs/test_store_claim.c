/* test_store_claim - queued jobs become ours, once; orphans too; by an index, however many there are */
#include "store_fixture.h"

#include <stdlib.h>

static void
test_claims_the_oldest_and_all_of_the_job(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    for (int i = 0; i < 10; i++)
        store_add(batch, false);
    job_t *full = batch->inserts[1].job;
    full->method = 5;
    full->max_attempts = 3;
    full->timeout_ms = 1234;
    assert_true(weft_buf_add_text(&full->key, "key") && weft_buf_add(&full->options, "\x80", 1));
    store_run(store, batch);
    int64_t first = batch->inserts[0].id;
    batch_destroy(&batch);
    pg_fixture_sql(
        "UPDATE weft_job SET lost = 2, attempts = 1, flags = 6, errors = '\\x90' WHERE method = 5");
    batch = store_claim(store, OWNER, 4);
    assert_int_equal(batch->job_count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(batch->jobs[i]->id, first + i);
    const job_t *job = batch->jobs[1];
    assert_int_equal(job->fence, 1);
    assert_int_equal(job->queue, 1);
    assert_int_equal(job->method, 5);
    assert_int_equal(job->attempts, 2);
    assert_int_equal(job->max_attempts, 3);
    assert_int_equal(job->lost, 2);
    assert_int_equal(job->priority, 1);
    assert_int_equal(job->flags, 6);
    assert_int_equal(job->timeout_ms, 1234);
    assert_true(job->due_us > 0);
    assert_memory_equal(job->input.data, "\x81\xa1n\x02", 4);
    assert_memory_equal(job->options.data, "\x80", 1);
    assert_memory_equal(job->errors.data, "\x90", 1);
    assert_memory_equal(job->key.data, "key", 3);
    assert_int_equal(batch->asks[0].taken, 4);
    assert_int_equal(
        batch->asks[0].last_us,
        sql_number("SELECT (extract(epoch FROM run_at) * 1000000)::bigint FROM weft_job WHERE id = %lld",
                   (long long) first + 3));
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job WHERE state = 1 AND owner = 7"
                                " AND started_at IS NOT NULL"),
                     4);
    batch_destroy(&batch);
    store_destroy(&store);
}

static void
test_asks_are_taken_each_for_itself(void **state)
{
    (void) state;
    store_t *store = store_open(false);
    pg_fixture_sql(
        "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, timeout_ms, "
        "run_at,"
        " input) SELECT q, 1, 0, p, 0, 10, 0, 1000, '2026-01-01Z'::timestamptz + n * interval '1 second', "
        "'\\xc0'"
        " FROM generate_series(1, 2) q, generate_series(0, 3) p, generate_series(1, 5) n ORDER BY n DESC");
    int64_t third_us = sql_number(
        "SELECT (extract(epoch FROM '2026-01-01Z'::timestamptz) * 1000000)::bigint + 3000000");
    batch_t *batch = batch_new(BATCH_CLAIM, LANE_CLAIM, OWNER);
    batch_add_ask(batch, 1, 0, 2, INT64_MIN);
    batch_add_ask(batch, 2, 3, 100, third_us);
    batch_add_ask(batch, 1, 2, 0, INT64_MIN);
    batch_add_ask(batch, 3, 1, 10, INT64_MIN);
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    assert_int_equal(batch->asks[0].taken, 2);
    assert_int_equal(batch->asks[0].last_us, third_us - 1000000);
    assert_int_equal(batch->asks[1].taken, 3); /* the third second and later */
    assert_int_equal(batch->asks[1].last_us, third_us + 2000000);
    assert_int_equal(batch->asks[2].taken, 0);
    assert_int_equal(batch->asks[3].taken, 0);
    assert_int_equal(batch->job_count, 5);
    batch_destroy(&batch);
    store_destroy(&store);
}

static void
test_claims_of_two_are_disjoint(void **state)
{
    (void) state;
    store_t *stores[2] = { store_open(true), store_open(true) };
    pg_fixture_sql("INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, "
                   "timeout_ms, run_at,"
                   " input) SELECT 1, 1, 0, 1, 0, 10, 0, 1000, now(), '\\xc0' FROM generate_series(1, 4000)");
    uint32_t taken[2] = { 0, 0 }, empty = 0;
    batch_t *way[2] = { NULL, NULL };
    for (int64_t until_ms = weft_mono_ms() + 60000; empty < 2;) {
        assert_true(weft_mono_ms() < until_ms);
        empty = 0;
        for (int s = 0; s < 2; s++) {
            /* Neither takes all while the other has no turn. */
            bool turn = taken[s] == 0 || taken[1 - s] > 0;
            if (turn && !way[s] && store_idle(stores[s], LANE_CLAIM)) {
                way[s] = batch_new(BATCH_CLAIM, LANE_CLAIM, s + 1);
                batch_add_ask(way[s], 1, 1, 100, INT64_MIN);
                batch_t *sent = way[s];
                store_send(stores[s], &sent);
            }
            store_turn(stores[s], 1);
            batch_t *done = store_next_done(stores[s]);
            if (done) {
                assert_int_equal(done->end, BATCH_OK);
                taken[s] += done->job_count;
                empty += done->job_count == 0;
                batch_destroy(&done);
                way[s] = NULL;
            }
        }
        if (taken[0] + taken[1] == 4000)
            break;
    }
    assert_int_equal(taken[0] + taken[1], 4000);
    assert_true(taken[0] > 0 && taken[1] > 0);
    for (int s = 0; s < 2; s++)
        assert_int_equal(
            sql_number("SELECT count(*) FROM weft_job WHERE owner = %d AND attempts = 1 AND fence = 1",
                       s + 1),
            taken[s]);
    store_destroy(&stores[0]);
    store_destroy(&stores[1]);
}

static void
test_recover_gives_what_we_do_not_know_of(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int64_t known = store_insert(store, true), lost = store_insert(store, true);
    (void) store_insert(store, false);
    pg_fixture_sql("INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, "
                   "owner, timeout_ms,"
                   " run_at, input) VALUES (1, 1, 1, 1, 1, 10, 1, 8, 1000, now(), '\\xc0')");
    batch_t *batch = batch_new(BATCH_RECOVER, LANE_CLAIM, OWNER);
    batch->known = malloc(sizeof *batch->known);
    assert_non_null(batch->known);
    batch->known[0] = known;
    batch->known_count = 1;
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    assert_int_equal(batch->job_count, 1);
    assert_int_equal(batch->jobs[0]->id, lost);
    assert_int_equal(batch->jobs[0]->fence, 2);
    assert_int_equal(batch->jobs[0]->attempts, 1);
    batch_destroy(&batch);
    store_destroy(&store);
}

/* Waits until the sessions of stores are gone: their counts are written then.  So are the fixture's own. */
static void
s_wait_gone(void)
{
    int64_t until_ms = weft_mono_ms() + 60000;
    while (sql_number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                      "application_name LIKE 'weft-jobs%%'") > 0)
        assert_true(weft_mono_ms() < until_ms);
    pg_fixture_sql("SELECT pg_stat_force_next_flush()");
}

/* The plan is made while the table is empty, and used when it has 100,000 rows. */
static void
s_check_cost(bool prepare)
{
    static const char scanned[] = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'weft_job'";
    static const char indexed[] =
        "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'weft_job'";
    s_wait_gone();
    int64_t scanned_before = sql_number(scanned), indexed_before = sql_number(indexed);
    store_t *store = store_open(prepare);
    for (int i = 0; i < 8; i++) {
        batch_t *empty = store_claim(store, OWNER, 10);
        assert_int_equal(empty->job_count, 0);
        batch_destroy(&empty);
    }
    pg_fixture_sql("INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, "
                   "timeout_ms, run_at,"
                   " input) SELECT 1, 1, 0, 1, 0, 10, 0, 1000, now() + n * interval '1 microsecond', '\\xc0'"
                   " FROM generate_series(1, 100000) n");
    batch_t *batch = store_claim(store, OWNER, 100);
    assert_int_equal(batch->job_count, 100);
    batch_destroy(&batch);
    store_destroy(&store);
    s_wait_gone();
    assert_int_equal(sql_number(scanned), scanned_before);
    assert_in_range(sql_number(indexed) - indexed_before, 200, 1000);
}

static void
test_a_claim_reads_an_index(void **state)
{
    (void) state;
    s_check_cost(true);
}

static void
test_a_claim_reads_an_index_behind_a_pooler(void **state)
{
    (void) state;
    s_check_cost(false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_claims_the_oldest_and_all_of_the_job, store_fixture_clear),
        cmocka_unit_test_setup(test_asks_are_taken_each_for_itself, store_fixture_clear),
        cmocka_unit_test_setup(test_claims_of_two_are_disjoint, store_fixture_clear),
        cmocka_unit_test_setup(test_recover_gives_what_we_do_not_know_of, store_fixture_clear),
        cmocka_unit_test_setup(test_a_claim_reads_an_index, store_fixture_clear),
        cmocka_unit_test_setup(test_a_claim_reads_an_index_behind_a_pooler, store_fixture_clear),
    };
    return cmocka_run_group_tests(tests, store_fixture_init, store_fixture_fini);
}
