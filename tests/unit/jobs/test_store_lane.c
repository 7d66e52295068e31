/* test_store_lane - connections that break, and come back */
#include "store_fixture.h"

#include <stdlib.h>

static void
s_kill_all(void)
{
    (void) sql_value("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                     " WHERE application_name LIKE 'weft-jobs%%' AND datname = current_database()");
}

/* Backends of stores that wait for a lock. */
static bool
s_waits(void)
{
    return sql_number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                      "application_name LIKE 'weft-jobs%%'"
                      " AND wait_event_type = 'Lock'") > 0;
}

static void
test_an_idle_connection_comes_back(void **state)
{
    (void) state;
    for (int prepare = 0; prepare < 2; prepare++) {
        store_t *store = store_open(prepare);
        assert_true(store_insert(store, true) > 0);
        s_kill_all();
        int64_t until_ms = weft_mono_ms() + 60000;
        while (store_up(store)) { /* it is told, and says so */
            assert_true(weft_mono_ms() < until_ms);
            store_turn(store, 100);
        }
        store_wait_up(store);
        assert_true(store_insert(store, true) > 0);
        store_destroy(&store);
    }
}

/* The backend dies while the batch waits for a lock: nobody knows, says the store, and goes on. */
static void
test_a_batch_on_a_killed_connection_is_lost(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    PGconn *other = PQconnectdb(pg_fixture_url());
    PQclear(PQexec(other, "BEGIN"));
    PQclear(PQexec(other, "LOCK TABLE weft_job IN ACCESS EXCLUSIVE MODE"));
    int64_t until_ms = weft_mono_ms() + 60000;
    for (batch_end_t end = BATCH_REFUSED; end != BATCH_LOST;) { /* refused: it waited too long to be killed */
        batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER), *sent = batch, *done = NULL;
        store_add(batch, true);
        store_wait_up(store);
        store_send(store, &sent);
        assert_false(store_idle(store, LANE_INSERT));
        while (!s_waits() && !(done = store_next_done(store))) {
            assert_true(weft_mono_ms() < until_ms);
            store_turn(store, 1);
        }
        s_kill_all();
        while (!done && !(done = store_next_done(store))) {
            assert_true(weft_mono_ms() < until_ms);
            store_turn(store, 1000);
        }
        assert_ptr_equal(done, batch);
        end = batch->end;
        assert_true(end == BATCH_LOST || (end == BATCH_REFUSED && strcmp(batch->sqlstate, "55P03") == 0));
        batch_destroy(&batch);
    }
    PQclear(PQexec(other, "ROLLBACK"));
    PQfinish(other);
    store_wait_up(store);
    assert_true(store_insert(store, true) > 0);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job"), 1);
    store_destroy(&store);
}

/* A lock of others ends the batch in time, provably undone. */
static void
test_a_locked_table_refuses_the_batch(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    PGconn *other = PQconnectdb(pg_fixture_url());
    PQclear(PQexec(other, "BEGIN"));
    PQclear(PQexec(other, "LOCK TABLE weft_job IN ACCESS EXCLUSIVE MODE"));
    batch_t *batch = batch_new(BATCH_CLAIM, LANE_CLAIM, OWNER);
    batch_add_ask(batch, 1, 1, 10, INT64_MIN);
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_REFUSED);
    assert_string_equal(batch->sqlstate, "55P03");
    batch_destroy(&batch);
    PQclear(PQexec(other, "ROLLBACK"));
    PQfinish(other);
    batch = store_claim(store, OWNER, 10);
    batch_destroy(&batch);
    store_destroy(&store);
}

/* More than socket buffers hold, both ways, does not block. */
static void
test_large_batches_go_through(void **state)
{
    (void) state;
    const size_t size = 1 << 20;
    const int count = 24;
    store_t *store = store_open(true);
    char *input = malloc(size);
    assert_non_null(input);
    memset(input, 'x', size);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    for (int i = 0; i < count; i++) {
        insert_row_t *row = store_add(batch, false);
        weft_buf_reset(&row->job->input);
        assert_true(weft_buf_add(&row->job->input, input, size));
    }
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    batch_destroy(&batch);
    batch = store_claim(store, OWNER, 100);
    assert_int_equal(batch->job_count, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(batch->jobs[i]->input.size, size);
        assert_memory_equal(batch->jobs[i]->input.data, input, size);
    }
    batch_destroy(&batch);
    free(input);
    store_destroy(&store);
}

static void
test_a_server_that_is_not_there_is_tried_again(void **state)
{
    (void) state;
    const store_config_t config = { .database_url = "postgresql://127.0.0.1:1/none",
                                    .prepare = true,
                                    .seed = 2 };
    store_t *store = store_new(&config);
    assert_non_null(store);
    for (int i = 0; i < 200; i++) {
        struct pollfd fds[LANES];
        int64_t deadline_us;
        store_turn(store, 20);
        assert_true(store_poll(store, fds, &deadline_us) <= LANES);
        assert_true(deadline_us < weft_mono_us() + 10000000);
        assert_false(store_up(store));
        assert_false(store_idle(store, LANE_INSERT));
        assert_null(store_next_done(store));
    }
    store_destroy(&store);
    assert_null(store);
    const store_config_t malformed = { .database_url = "postgresql://host:port:port/", .prepare = true };
    assert_null(store_new(&malformed));
}

static void
test_destroy_in_the_midst(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    for (int i = 0; i < 100; i++)
        store_add(batch, true);
    store_send(store, &batch);
    store_destroy(&store); /* the address sanitizer judges */
    store_destroy(&store);
    assert_null(store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_idle_connection_comes_back, store_fixture_clear),
        cmocka_unit_test_setup(test_a_batch_on_a_killed_connection_is_lost, store_fixture_clear),
        cmocka_unit_test_setup(test_a_locked_table_refuses_the_batch, store_fixture_clear),
        cmocka_unit_test_setup(test_large_batches_go_through, store_fixture_clear),
        cmocka_unit_test_setup(test_a_server_that_is_not_there_is_tried_again, store_fixture_clear),
        cmocka_unit_test_setup(test_destroy_in_the_midst, store_fixture_clear),
    };
    return cmocka_run_group_tests(tests, store_fixture_init, store_fixture_fini);
}
