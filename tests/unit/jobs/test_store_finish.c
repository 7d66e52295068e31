/* test_store_finish - what ends an attempt, and progress; what is old changes nothing */
#include "store_fixture.h"

#include <stdlib.h>

static batch_t *
s_batch(void)
{
    batch_t *batch = batch_new(BATCH_FINISH, LANE_FINISH, OWNER);
    assert_non_null(batch);
    return batch;
}

static int64_t
s_state(int64_t id)
{
    return sql_number("SELECT state FROM weft_job WHERE id = %lld", (long long) id);
}

static void
s_check_done(bool prepare)
{
    store_t *store = store_open(prepare);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    for (int i = 0; i < 3; i++)
        store_add(batch, true);
    /* {"keep_ms": 7, "callback_url": "http://x/"} */
    static const char options[] = "\x82\xa7keep_ms\x07\xac"
                                  "callback_url\xa9http://x/";
    assert_true(weft_buf_add(&batch->inserts[0].job->options, options, sizeof options - 1));
    batch->inserts[0].job->flags = JOB_FLAG_CALLBACK;
    assert_true(weft_buf_add_text(&batch->inserts[0].unique_key, "u"));
    store_run(store, batch);
    int64_t ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = batch->inserts[i].id;
    batch_destroy(&batch);
    batch = s_batch();
    finish_row_t *row = store_finish(batch, FINISH_PROGRESS, ids[0], 1);
    row->sequence = 1;
    assert_true(weft_buf_add(&row->value, "\x01", 1));
    store_run(store, batch);
    assert_true(batch->finishes[0].applied);
    batch_destroy(&batch);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_progress"), 1);
    batch = s_batch();
    row = store_finish(batch, FINISH_DONE, ids[0], 1);
    row->keep_ms = 3600000;
    assert_true(weft_buf_add(&row->meta, "\x80", 1));
    row = store_finish(batch, FINISH_DONE, ids[1], 1);
    row->state = JOB_FAILED;
    row->keep_input = true;
    weft_buf_reset(&row->value);
    assert_true(weft_buf_add(&row->error, "\x81", 1) && weft_buf_add(&row->errors, "\x91", 1));
    (void) store_finish(batch, FINISH_DONE, ids[2], 0); /* an old fence */
    (void) store_finish(batch, FINISH_DONE, 999999, 1);
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    assert_true(batch->finishes[0].applied && batch->finishes[1].applied);
    assert_false(batch->finishes[2].applied || batch->finishes[3].applied);
    assert_false(batch->finishes[2].blocked || batch->finishes[3].blocked);
    batch_destroy(&batch);
    assert_string_equal(
        sql_value("SELECT concat_ws('|', state, fence, attempts, input IS NULL, result, result_meta,"
                  " error IS NULL, round(extract(epoch FROM expires_at - finished_at)), priority, timeout_ms)"
                  " FROM weft_job_done WHERE id = %lld",
                  (long long) ids[0]),
        "4|1|1|t|\\xc3|\\x80|t|3600|1|60000");
    assert_string_equal(sql_value("SELECT concat_ws('|', state, input, result IS NULL, error, errors,"
                                  " round(extract(epoch FROM expires_at - finished_at))) FROM weft_job_done"
                                  " WHERE id = %lld",
                                  (long long) ids[1]),
                        "5|\\x81a16e02|t|\\x81|\\x91|604800");
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job"), 1);
    assert_int_equal(s_state(ids[2]), JOB_RUNNING);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_unique"), 0);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_progress"), 0);
    assert_string_equal(sql_value("SELECT string_agg(job || url, ',') FROM weft_job_callback"),
                        sql_value("SELECT '%lldhttp://x/'", (long long) ids[0]));
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done_rest"), 0);
    /* The answer got lost and it is sent again; or it failed after all, as a stale owner thinks. */
    batch = s_batch();
    store_finish(batch, FINISH_DONE, ids[0], 1);
    store_finish(batch, FINISH_DONE, ids[0], 1)->state = JOB_FAILED;
    store_finish(batch, FINISH_DONE, ids[0], 2);
    store_run(store, batch);
    assert_true(batch->finishes[0].applied);
    assert_false(batch->finishes[1].applied || batch->finishes[2].applied);
    batch_destroy(&batch);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done"), 2);
    store_destroy(&store);
}

static void
test_done_moves_the_job(void **state)
{
    (void) state;
    s_check_done(true);
}

static void
test_done_behind_a_pooler(void **state)
{
    (void) state;
    s_check_done(false);
}

static void
test_the_other_ends(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int64_t ids[6];
    for (int i = 0; i < 6; i++)
        ids[i] = store_insert(store, true);
    pg_fixture_sql(
        "UPDATE weft_job SET run_at = now() - interval '1 hour', started_at = now() - interval '1 hour'");
    (void) sql_value("UPDATE weft_job SET flags = 4 WHERE id = %lld", (long long) ids[5]);
    batch_t *batch = s_batch();
    finish_row_t *row = store_finish(batch, FINISH_AGAIN, ids[0], 1);
    assert_true(weft_buf_add(&row->errors, "\x91\x80", 2));
    store_finish(batch, FINISH_AGAIN, ids[1], 1)->uncounted = true;
    row = store_finish(batch, FINISH_LATER, ids[2], 1);
    row->delay_ms = 60000;
    row->uncounted = true;
    store_finish(batch, FINISH_RELEASE, ids[3], 1);
    store_finish(batch, FINISH_HOLD, ids[4], 1);
    store_finish(batch, FINISH_LATER, ids[5], 1)->delay_ms = 60000; /* its cancel was asked for: at once */
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    for (int i = 0; i < 6; i++)
        assert_true(batch->finishes[i].applied);
    assert_int_equal(batch->finishes[0].new_fence, 2);
    assert_int_equal(batch->finishes[0].attempts, 2);
    assert_int_equal(batch->finishes[1].new_fence, 2);
    assert_int_equal(batch->finishes[1].attempts, 1);
    batch_destroy(&batch);
    static const char *const expected[] = {
        "1|2|2|0|7|0|-3600|\\x9180", "1|2|1|1|7|0|-3600|",    "2|2|0|1||-3600|60|",
        "0|2|0|0||-3600|0|",         "3|2|0|0||-3600|-3600|", "2|2|1|0||-3600|0|",
    };
    for (int i = 0; i < 6; i++)
        assert_string_equal(
            sql_value("SELECT concat_ws('|', state, fence, attempts, lost, coalesce(owner::text, ''),"
                      " round(extract(epoch FROM started_at - now()) / 60) * 60,"
                      " round(extract(epoch FROM run_at - now()) / 60) * 60, coalesce(errors::text, ''))"
                      " FROM weft_job WHERE id = %lld",
                      (long long) ids[i]),
            expected[i]);
    /* All of it was of fence 1. */
    batch = s_batch();
    for (int i = 0; i < 6; i++)
        store_finish(batch, i % 2 ? FINISH_DONE : FINISH_RELEASE, ids[i], 1);
    store_run(store, batch);
    for (int i = 0; i < 6; i++)
        assert_false(batch->finishes[i].applied);
    batch_destroy(&batch);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job"), 6);
    store_destroy(&store);
}

static void
test_progress_goes_forward_only(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int64_t id = store_insert(store, true);
    batch_t *batch = s_batch();
    for (int i = 0; i < 3; i++) {
        finish_row_t *row = store_finish(batch, FINISH_PROGRESS, id, i == 2 ? 0 : 1);
        row->sequence = 2 + i;
        assert_true(weft_buf_add_char(&row->value, (char) (2 + i)));
    }
    store_run(store, batch);
    assert_true(batch->finishes[0].applied && batch->finishes[1].applied);
    assert_false(batch->finishes[2].applied);
    batch_destroy(&batch);
    assert_string_equal(sql_value("SELECT concat_ws('|', fence, sequence, value) FROM weft_job_progress"),
                        "1|3|\\x03");
    batch = s_batch();
    finish_row_t *row = store_finish(batch, FINISH_PROGRESS, id, 1);
    row->sequence = 1;
    assert_true(weft_buf_add_char(&row->value, 1));
    store_run(store, batch);
    batch_destroy(&batch);
    assert_string_equal(sql_value("SELECT concat_ws('|', fence, sequence, value) FROM weft_job_progress"),
                        "1|3|\\x03");
    store_destroy(&store);
}

static void
test_a_freed_key_lets_the_next_one_go(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    for (int i = 0; i < 5; i++)
        assert_true(weft_buf_add_text(&store_add(batch, true)->job->key, i == 4 ? "other" : "key"));
    store_run(store, batch);
    int64_t ids[5];
    for (int i = 0; i < 5; i++)
        ids[i] = batch->inserts[i].id;
    batch_destroy(&batch);
    batch = s_batch();
    for (int i = 1; i < 5; i++)
        store_finish(batch, FINISH_HOLD, ids[i], 1);
    finish_row_t *row = store_finish(batch, FINISH_DONE, ids[0], 1);
    row->queue = 1;
    assert_true(weft_buf_add_text(&row->release_key, "key"));
    row = store_finish(batch, FINISH_DONE, ids[0], 0); /* frees one as well */
    row->queue = 1;
    assert_true(weft_buf_add_text(&row->release_key, "key"));
    row = store_finish(batch, FINISH_DONE, ids[0], 0);
    row->queue = 2;
    assert_true(weft_buf_add_text(&row->release_key, "key"));
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    assert_int_equal(s_state(ids[1]), JOB_QUEUED); /* held in this very batch */
    assert_int_equal(s_state(ids[2]), JOB_QUEUED);
    assert_int_equal(s_state(ids[3]), JOB_HELD);
    assert_int_equal(s_state(ids[4]), JOB_HELD);
    int64_t run_at_us = sql_number(
        "SELECT (extract(epoch FROM run_at) * 1000000)::bigint FROM weft_job WHERE id = %lld",
        (long long) ids[1]);
    assert_int_equal(batch->finishes[4].released_us, run_at_us);
    assert_int_equal(batch->finishes[5].released_us, run_at_us);
    assert_int_equal(batch->finishes[6].released_us, INT64_MAX);
    assert_int_equal(batch->finishes[0].released_us, INT64_MAX);
    batch_destroy(&batch);
    store_destroy(&store);
}

/* A handler stopped within the transaction that completes its job must not stop the completions of others. */
static void
test_a_row_that_is_held_costs_no_other(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int64_t held = store_insert(store, true), free = store_insert(store, true);
    PGconn *handler = PQconnectdb(pg_fixture_url());
    PQclear(PQexec(handler, "BEGIN"));
    char sql[128];
    PGresult *result = PQexec(
        handler,
        weft_format(sql, sizeof sql, "SELECT weft_job_complete(%lld, 1, '\\xc2')", (long long) held));
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    for (int round = 0; round < 2; round++) {
        batch_t *batch = s_batch();
        store_finish(batch, FINISH_DONE, held, 1);
        store_finish(batch, round ? FINISH_DONE : FINISH_AGAIN, free, 1 + round);
        finish_row_t *row = store_finish(batch, FINISH_PROGRESS, held, 1);
        assert_true(weft_buf_add_char(&row->value, 1));
        int64_t begun_ms = weft_mono_ms();
        store_run(store, batch);
        assert_int_equal(batch->end, BATCH_OK);
        assert_true(weft_mono_ms() - begun_ms < 30000); /* not the minute that the handler may take */
        assert_false(batch->finishes[0].applied);
        assert_true(batch->finishes[0].blocked);
        assert_true(batch->finishes[1].applied);
        assert_false(batch->finishes[1].blocked);
        assert_false(batch->finishes[2].applied);
        assert_true(batch->finishes[2].blocked);
        batch_destroy(&batch);
    }
    PQclear(PQexec(handler, "COMMIT"));
    PQfinish(handler);
    batch_t *batch = s_batch();
    store_finish(batch, FINISH_DONE, held, 1);
    store_run(store, batch);
    assert_true(batch->finishes[0].applied); /* the handler did it */
    batch_destroy(&batch);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done"), 2);
    store_destroy(&store);
}

static void
test_the_function_for_handlers(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    store_add(batch, true);
    static const char options[] = "\x82\xa7keep_ms\xce\x00\x36\xee\x80\xac"
                                  "callback_url\xd9\x09http://x/";
    assert_true(weft_buf_add(&batch->inserts[0].job->options, options, sizeof options - 1));
    batch->inserts[0].job->flags = JOB_FLAG_CALLBACK;
    assert_true(weft_buf_add_text(&batch->inserts[0].unique_key, "u"));
    store_run(store, batch);
    long long id = batch->inserts[0].id;
    batch_destroy(&batch);
    int64_t queued = store_insert(store, false);
    PGconn *handler = PQconnectdb(pg_fixture_url());
    const char *const wrong[] = { "0", "2" };
    char sql[128];
    for (int i = 0; i < 3; i++) {
        PGresult *result = PQexec(
            handler,
            i < 2 ? weft_format(sql, sizeof sql, "SELECT weft_job_complete(%lld, %s, '\\xc2')", id, wrong[i])
                  : weft_format(sql, sizeof sql, "SELECT weft_job_complete(%lld, 0, '\\xc2')",
                                (long long) queued));
        assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "WF001");
        PQclear(result);
    }
    PGresult *result = PQexec(
        handler, weft_format(sql, sizeof sql, "SELECT weft_job_complete(%lld, 1, '\\xc2', '\\x80')", id));
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(handler);
    assert_string_equal(
        sql_value("SELECT concat_ws('|', state, fence, attempts, input IS NULL, result, result_meta,"
                  " round(extract(epoch FROM expires_at - finished_at))) FROM weft_job_done WHERE id = %lld",
                  id),
        "4|1|1|t|\\xc2|\\x80|3600");
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_unique"), 0);
    assert_string_equal(sql_value("SELECT url FROM weft_job_callback"), "http://x/");
    /* What the engine then says finds it done; that it failed is too late. */
    batch = s_batch();
    store_finish(batch, FINISH_DONE, id, 1);
    store_finish(batch, FINISH_DONE, id, 1)->state = JOB_FAILED;
    store_run(store, batch);
    assert_true(batch->finishes[0].applied);
    assert_false(batch->finishes[1].applied);
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

/* With 100,000 running jobs a completion of three reads three: no scan, and no index of running ones. */
static void
test_a_completion_reads_what_it_ends(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int64_t ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = store_insert(store, true);
    pg_fixture_sql("INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, "
                   "owner, timeout_ms,"
                   " run_at, input) SELECT 1, 1, 1, 1, 1, 10, 1, 7, 1000, now(), '\\xc0' FROM "
                   "generate_series(1, 100000)");
    pg_fixture_sql("ANALYZE weft_job");
    store_destroy(&store);
    s_wait_gone();
    for (int prepare = 0; prepare < 2; prepare++) {
        int64_t scans = sql_number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'weft_job'");
        int64_t read = sql_number(
            "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'weft_job'");
        store = store_open(prepare);
        for (int kind = 0; kind < 2; kind++) {
            batch_t *batch = s_batch();
            for (int i = 0; i < 3; i++)
                store_finish(batch, prepare && kind ? FINISH_DONE : FINISH_AGAIN, ids[i],
                             1 + 2 * prepare + kind);
            store_run(store, batch);
            for (int i = 0; i < 3; i++)
                assert_true(batch->finishes[i].applied);
            batch_destroy(&batch);
        }
        store_destroy(&store);
        s_wait_gone();
        assert_int_equal(sql_number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'weft_job'"),
                         scans);
        read = sql_number("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'weft_job'") -
               read;
        assert_in_range(read, 6, 60);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_done_moves_the_job, store_fixture_clear),
        cmocka_unit_test_setup(test_done_behind_a_pooler, store_fixture_clear),
        cmocka_unit_test_setup(test_the_other_ends, store_fixture_clear),
        cmocka_unit_test_setup(test_progress_goes_forward_only, store_fixture_clear),
        cmocka_unit_test_setup(test_a_freed_key_lets_the_next_one_go, store_fixture_clear),
        cmocka_unit_test_setup(test_a_row_that_is_held_costs_no_other, store_fixture_clear),
        cmocka_unit_test_setup(test_the_function_for_handlers, store_fixture_clear),
        cmocka_unit_test_setup(test_a_completion_reads_what_it_ends, store_fixture_clear),
    };
    return cmocka_run_group_tests(tests, store_fixture_init, store_fixture_fini);
}
