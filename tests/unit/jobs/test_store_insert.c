/* test_store_insert - rows become jobs */
#include "store_fixture.h"

#include <stdlib.h>

static batch_t *
s_batch(void)
{
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    assert_non_null(batch);
    return batch;
}

static void
s_check_plain(bool prepare)
{
    store_t *store = store_open(prepare);
    batch_t *batch = s_batch();
    for (int i = 0; i < 40; i++)
        store_add(batch, i % 2 == 0)->context = batch;
    batch->inserts[2].job->priority = 3;
    batch->inserts[3].run_at_us = weft_wall_us() + 3600000000;
    batch->inserts[5].delay_ms = 60000;
    batch->inserts[7].run_at_us = 1000000; /* long ago: now */
    assert_true(weft_buf_add_text(&batch->inserts[9].job->key, "k\xc3\xa4y"));
    assert_true(weft_buf_add(&batch->inserts[11].job->options, "\x80", 1));
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    for (uint32_t i = 0; i < 40; i++) {
        const insert_row_t *row = &batch->inserts[i];
        assert_int_equal(row->end, INSERT_CREATED);
        assert_int_equal(row->id, batch->inserts[0].id + i); /* in the order of the rows */
        assert_int_equal(row->job->id, row->id);
        assert_int_equal(row->job->fence, row->leased);
        assert_int_equal(row->job->attempts, row->leased);
        int expected = row->leased ? JOB_RUNNING : i == 3 || i == 5 ? JOB_SCHEDULED : JOB_QUEUED;
        assert_int_equal(sql_number("SELECT state FROM weft_job WHERE id = %lld", (long long) row->id),
                         expected);
        assert_int_equal(
            sql_number("SELECT get_byte(input, 3) FROM weft_job WHERE id = %lld", (long long) row->id),
            i + 1);
    }
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job WHERE owner = 7 AND fence = 1 AND attempts = 1"
                                " AND started_at IS NOT NULL"),
                     20);
    assert_int_equal(
        sql_number("SELECT count(*) FROM weft_job WHERE owner IS NULL AND fence = 0 AND attempts = 0"), 20);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job WHERE priority = 3"), 1);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job WHERE run_at < created_at"), 0);
    assert_string_equal(
        sql_value("SELECT concurrency_key FROM weft_job WHERE id = %lld", (long long) batch->inserts[9].id),
        "k\xc3\xa4y");
    assert_string_equal(
        sql_value("SELECT options FROM weft_job WHERE id = %lld", (long long) batch->inserts[11].id),
        "\\x80");
    assert_string_equal(
        sql_value("SELECT round(extract(epoch FROM run_at - created_at)) FROM weft_job WHERE id = %lld",
                  (long long) batch->inserts[5].id),
        "60");
    assert_int_equal(
        sql_number("SELECT (extract(epoch FROM max(created_at)) * 1000000)::bigint FROM weft_job"),
        batch->now_us);
    batch_destroy(&batch);
    store_destroy(&store);
}

static void
test_rows_become_jobs_in_order(void **state)
{
    (void) state;
    s_check_plain(true);
}

static void
test_nothing_is_prepared_behind_a_pooler(void **state)
{
    (void) state;
    s_check_plain(false);
    assert_int_equal(sql_number("SELECT count(*) FROM pg_prepared_statements"), 0);
}

static void
test_one_bad_row_costs_no_other(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = s_batch();
    for (int i = 0; i < 100; i++)
        store_add(batch, false);
    assert_true(weft_buf_add(&batch->inserts[37].job->key, "a\0b", 3));       /* no text of PostgreSQL */
    assert_true(weft_buf_add(&batch->inserts[90].unique_key, "\xff\xfe", 2)); /* no UTF-8 */
    assert_true(weft_buf_add(&batch->inserts[91].unique_key, "fine", 4));
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(batch->inserts[i].end, i == 37 || i == 90 ? INSERT_BAD : INSERT_CREATED);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job"), 98);
    batch_destroy(&batch);
    /* Alone, it is the batch that is refused. */
    batch = s_batch();
    store_add(batch, true);
    assert_true(weft_buf_add(&batch->inserts[0].job->key, "\0", 1));
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_REFUSED);
    assert_int_equal(batch->inserts[0].end, INSERT_BAD);
    assert_string_equal(batch->sqlstate, "22021");
    batch_destroy(&batch);
    assert_true(store_insert(store, true) > 0); /* the lane goes on */
    store_destroy(&store);
}

static void
s_unique(insert_row_t *row, const char *key, int64_t for_ms)
{
    assert_true(weft_buf_add_text(&row->unique_key, key));
    row->unique_for_ms = for_ms;
}

static void
test_unique_key_gives_the_living_job(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = s_batch();
    s_unique(store_add(batch, true), "a", 0);
    s_unique(store_add(batch, true), "a", 0);
    s_unique(store_add(batch, true), "b", 3600000);
    store_add(batch, true);
    store_run(store, batch);
    assert_int_equal(batch->inserts[0].end, INSERT_CREATED);
    assert_int_equal(batch->inserts[1].end, INSERT_EXISTING);
    assert_int_equal(batch->inserts[1].id, batch->inserts[0].id);
    assert_int_equal(batch->inserts[2].end, INSERT_CREATED);
    assert_int_equal(batch->inserts[3].end, INSERT_CREATED);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job WHERE flags & 1 <> 0"), 2);
    int64_t first = batch->inserts[0].id, second = batch->inserts[2].id;
    batch_destroy(&batch);
    /* Done: the key is free, but that with a period. */
    batch = batch_new(BATCH_FINISH, LANE_FINISH, OWNER);
    store_finish(batch, FINISH_DONE, first, 1);
    store_finish(batch, FINISH_DONE, second, 1);
    store_run(store, batch);
    assert_true(batch->finishes[0].applied && batch->finishes[1].applied);
    batch_destroy(&batch);
    batch = s_batch();
    s_unique(store_add(batch, true), "a", 0);
    s_unique(store_add(batch, true), "b", 3600000);
    store_add(batch, true)->job->queue = 2; /* of another queue: its own */
    s_unique(&batch->inserts[2], "b", 0);
    store_run(store, batch);
    assert_int_equal(batch->inserts[0].end, INSERT_CREATED);
    assert_int_equal(batch->inserts[1].end, INSERT_EXISTING);
    assert_int_equal(batch->inserts[1].id, second);
    assert_int_equal(batch->inserts[2].end, INSERT_CREATED);
    batch_destroy(&batch);
    /* Its period is over. */
    pg_fixture_sql("UPDATE weft_job_unique SET until = now() - interval '1 second' WHERE until IS NOT NULL");
    batch = s_batch();
    s_unique(store_add(batch, true), "b", 3600000);
    s_unique(store_add(batch, true), "b", 3600000);
    store_run(store, batch);
    assert_int_equal(batch->inserts[0].end, INSERT_CREATED);
    assert_int_equal(batch->inserts[1].end, INSERT_EXISTING);
    assert_int_equal(batch->inserts[1].id, batch->inserts[0].id);
    batch_destroy(&batch);
    store_destroy(&store);
}

static insert_row_t *
s_keyed(batch_t *batch, const char *scope, const char *key)
{
    insert_row_t *row = store_add(batch, false);
    assert_true(weft_buf_add_text(&row->idem_scope, scope) && weft_buf_add_text(&row->idem_key, key));
    weft_buf_reset(&row->job->input);
    assert_true(weft_buf_add(&row->job->input, "\x01", 1));
    return row;
}

static void
test_idempotency_key_names_one_job_and_one_input(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = s_batch();
    s_keyed(batch, "alice", "1");
    s_keyed(batch, "alice", "1");
    s_keyed(batch, "bob", "1");
    s_unique(s_keyed(batch, "bob", "2"), "u", 0);
    s_unique(s_keyed(batch, "carol", "3"), "u", 0); /* finds bob's by its unique_key */
    s_keyed(batch, "alice", "1")->job->method = 2;
    weft_buf_reset(&s_keyed(batch, "alice", "1")->job->input);
    assert_true(weft_buf_add(&batch->inserts[6].job->input, "\x02", 1));
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    const insert_end_t expected[] = { INSERT_CREATED,  INSERT_EXISTING, INSERT_CREATED, INSERT_CREATED,
                                      INSERT_EXISTING, INSERT_MISMATCH, INSERT_MISMATCH };
    for (int i = 0; i < 7; i++)
        assert_int_equal(batch->inserts[i].end, expected[i]);
    assert_int_equal(batch->inserts[1].id, batch->inserts[0].id);
    assert_int_equal(batch->inserts[4].id, batch->inserts[3].id);
    int64_t shared = batch->inserts[3].id;
    batch_destroy(&batch);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job"), 3);
    /* carol's key names that job for good. */
    batch = s_batch();
    s_keyed(batch, "carol", "3");
    store_run(store, batch);
    assert_int_equal(batch->inserts[0].end, INSERT_EXISTING);
    assert_int_equal(batch->inserts[0].id, shared);
    batch_destroy(&batch);
    store_destroy(&store);
}

/* Two stores insert the same keys in opposite orders, again and again: nothing fails, and each key has one
 * job. */
static void
test_two_stores_with_the_same_keys(void **state)
{
    (void) state;
    store_t *stores[2] = { store_open(true), store_open(true) };
    for (int round = 0; round < 20; round++) {
        batch_t *batches[2], *done[2] = { NULL, NULL };
        for (int s = 0; s < 2; s++) {
            batches[s] = s_batch();
            for (int i = 0; i < 30; i++) {
                char key[32];
                int n = s == 0 ? i : 29 - i;
                insert_row_t *row = s_keyed(batches[s], "x", weft_format(key, sizeof key, "%d.%d", round, n));
                s_unique(row, weft_format(key, sizeof key, "%d.%d", round, 29 - n), 0);
            }
            batch_t *sent = batches[s];
            while (!store_idle(stores[s], LANE_INSERT))
                store_turn(stores[s], 1000);
            store_send(stores[s], &sent);
        }
        for (int64_t until_ms = weft_mono_ms() + 30000; !done[0] || !done[1];) {
            assert_true(weft_mono_ms() < until_ms);
            for (int s = 0; s < 2; s++) {
                store_turn(stores[s], 1);
                if (!done[s])
                    done[s] = store_next_done(stores[s]);
            }
        }
        uint32_t created = 0;
        for (int s = 0; s < 2; s++) {
            assert_int_equal(done[s]->end, BATCH_OK);
            for (int i = 0; i < 30; i++) {
                created += done[s]->inserts[i].end == INSERT_CREATED;
                assert_true(done[s]->inserts[i].end == INSERT_CREATED ||
                            done[s]->inserts[i].end == INSERT_EXISTING);
                assert_int_equal(done[s]->inserts[i].id, done[1 - s]->inserts[29 - i].id);
            }
            /* Keys cross: job n has idempotency key n and unique key 29 - n. */
        }
        assert_int_equal(created, 30);
        batch_destroy(&batches[0]);
        batch_destroy(&batches[1]);
    }
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job"), 600);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_key"), 600);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_unique"), 600);
    store_destroy(&stores[0]);
    store_destroy(&stores[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows_become_jobs_in_order, store_fixture_clear),
        cmocka_unit_test_setup(test_nothing_is_prepared_behind_a_pooler, store_fixture_clear),
        cmocka_unit_test_setup(test_one_bad_row_costs_no_other, store_fixture_clear),
        cmocka_unit_test_setup(test_unique_key_gives_the_living_job, store_fixture_clear),
        cmocka_unit_test_setup(test_idempotency_key_names_one_job_and_one_input, store_fixture_clear),
        cmocka_unit_test_setup(test_two_stores_with_the_same_keys, store_fixture_clear),
    };
    return cmocka_run_group_tests(tests, store_fixture_init, store_fixture_fini);
}
