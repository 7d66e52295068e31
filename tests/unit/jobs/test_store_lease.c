/* test_store_lease - heartbeats, and what becomes of the jobs of those that lack one */
#include "store_fixture.h"

#include <stdlib.h>

static batch_t *
s_run(store_t *store, batch_kind_t kind, int32_t number)
{
    batch_t *batch = batch_new(kind, LANE_LEASE, number);
    assert_non_null(batch);
    batch->lease.number = number;
    batch->lease.lease_ms = 60000;
    batch->lease.instance = "abc";
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    return batch;
}

static int32_t
s_join(store_t *store)
{
    batch_t *batch = s_run(store, BATCH_JOIN, 0);
    int32_t number = batch->lease.number;
    assert_true(number > 0);
    batch_destroy(&batch);
    return number;
}

static void
test_a_lease_is_kept_and_left(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int32_t first = s_join(store), second = s_join(store);
    assert_int_not_equal(first, second);
    pg_fixture_sql("UPDATE weft_job_replica SET lease_until = now() - interval '1 second'");
    batch_t *batch = s_run(store, BATCH_BEAT, second);
    assert_true(batch->lease.alive);            /* late, but nobody took it */
    assert_int_equal(batch->lease.replicas, 0); /* as it was before this heartbeat */
    batch_destroy(&batch);
    batch = s_run(store, BATCH_BEAT, second);
    assert_int_equal(batch->lease.replicas, 1);
    assert_true(llabs(batch->lease.now_us - weft_wall_us()) < 60000000); /* one machine, one clock */
    assert_int_equal(batch->lease.next_due_us, INT64_MAX);
    assert_int_equal(batch->lease.cancel_count, 0);
    batch_destroy(&batch);
    assert_string_equal(sql_value("SELECT instance FROM weft_job_replica WHERE number = %d"
                                  " AND lease_until BETWEEN now() AND now() + interval '60 s'",
                                  second),
                        "abc");
    batch = s_run(store, BATCH_LEAVE, second);
    batch_destroy(&batch);
    batch = s_run(store, BATCH_BEAT, second);
    assert_false(batch->lease.alive);
    batch_destroy(&batch);
    store_destroy(&store);
}

static void
test_a_beat_tells_what_is_new(void **state)
{
    (void) state;
    store_t *store = store_open(false);
    int64_t cancelled = store_insert(store, true);
    (void) store_insert(store, true);
    pg_fixture_sql("INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, "
                   "owner, timeout_ms,"
                   " flags, run_at, input) VALUES (1, 1, 1, 1, 1, 10, 1, 8, 1000, 4, now(), '\\xc0'),"
                   " (1, 1, 2, 1, 1, 10, 1, NULL, 1000, 0, now() + interval '1 hour', '\\xc0'),"
                   " (1, 1, 2, 1, 1, 10, 1, NULL, 1000, 0, '2999-01-01Z', '\\xc0')");
    (void) sql_value("UPDATE weft_job SET flags = 5 WHERE id = %lld", (long long) cancelled);
    batch_t *batch = s_run(store, BATCH_BEAT, OWNER);
    assert_int_equal(batch->lease.cancel_count, 1);
    assert_int_equal(batch->lease.cancels[0], cancelled);
    assert_int_equal(
        batch->lease.next_due_us,
        sql_number(
            "SELECT (extract(epoch FROM min(run_at)) * 1000000)::bigint FROM weft_job WHERE state = 2"));
    int64_t serial = batch->lease.serial;
    batch_destroy(&batch);
    static const char *const changes[] = {
        "INSERT INTO weft_job_queue (service, descriptor, version, serial) VALUES ('s', '', '1', "
        "nextval('weft_job_serial'))",
        "UPDATE weft_job_queue SET paused = true, serial = nextval('weft_job_serial')",
        "INSERT INTO weft_job_schedule (name, service, method, cron, input, options)"
        " VALUES ('n', 's', 'm', '* * * * *', '', '')",
        "DELETE FROM weft_job_schedule",
        "DELETE FROM weft_job_queue",
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        pg_fixture_sql(changes[i]);
        batch = s_run(store, BATCH_BEAT, OWNER);
        assert_int_not_equal(batch->lease.serial, serial);
        serial = batch->lease.serial;
        batch_destroy(&batch);
    }
    store_destroy(&store);
}

static void
test_reap_takes_from_the_dead_and_from_nobody_else(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    int32_t dead = s_join(store);
    int64_t ours = store_insert(store, true);
    (void) sql_value(
        "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, lost, owner,"
        " timeout_ms, run_at, input) SELECT n %% 2 + 1, 1, 1, 1, 2, 10, 5, CASE WHEN n > 8 THEN 100 ELSE 0 "
        "END,"
        " CASE WHEN n = 1 THEN 1000000 ELSE %d END, 1000, now() - interval '1 hour', '\\xc0'"
        " FROM generate_series(1, 10) n",
        dead);
    batch_t *batch = s_run(store, BATCH_REAP, OWNER);
    assert_int_equal(batch->moved, 1); /* of an owner that is nobody */
    batch_destroy(&batch);
    (void) sql_value(
        "UPDATE weft_job_replica SET lease_until = now() - interval '1 millisecond' WHERE number = %d", dead);
    batch = batch_new(BATCH_REAP, LANE_LEASE, OWNER);
    batch->limit = 6;
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    assert_int_equal(batch->moved, 6);
    assert_true(batch->moved_since_us > weft_wall_us() - 60000000); /* run_at is now */
    batch_destroy(&batch);
    uint32_t moved = 0;
    for (int64_t until_ms = weft_mono_ms() + 60000; moved < 3;) { /* at once, or when it looks again */
        assert_true(weft_mono_ms() < until_ms);
        batch = s_run(store, BATCH_REAP, OWNER);
        moved += batch->moved;
        assert_true(batch->moved_queue_count <= 2);
        batch_destroy(&batch);
    }
    assert_int_equal(moved, 3);
    assert_int_equal(
        sql_number("SELECT count(*) FROM weft_job WHERE state = 0 AND owner IS NULL AND fence = 6"
                   " AND lost = 1 AND attempts = 1"),
        8);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job WHERE state = 0 AND fence = 6 AND lost = 100"
                                " AND attempts = 2"),
                     2); /* too often: now they count */
    assert_int_equal(sql_number("SELECT owner FROM weft_job WHERE id = %lld", (long long) ours), OWNER);
    batch = s_run(store, BATCH_BEAT, dead);
    assert_false(batch->lease.alive);
    batch_destroy(&batch);
    store_destroy(&store);
}

static void
test_what_a_stale_owner_says_changes_nothing(void **state)
{
    (void) state;
    store_t *stale = store_open(true), *store = store_open(true);
    int32_t number = s_join(stale);
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, number);
    for (int i = 0; i < 2; i++)
        store_add(batch, true);
    store_run(stale, batch);
    int64_t first = batch->inserts[0].id, second = batch->inserts[1].id;
    batch_destroy(&batch);
    (void) sql_value("UPDATE weft_job_replica SET lease_until = now() - interval '1 s' WHERE number = %d",
                     number);
    batch = s_run(store, BATCH_REAP, OWNER);
    assert_int_equal(batch->moved, 2);
    batch_destroy(&batch);
    /* It wakes up: its completions are of an old fence, also when another has the job already. */
    batch_t *claim = store_claim(store, OWNER, 1);
    assert_int_equal(claim->jobs[0]->id, first);
    assert_int_equal(claim->jobs[0]->fence, 3);
    assert_int_equal(claim->jobs[0]->attempts, 1);
    batch_destroy(&claim);
    batch = batch_new(BATCH_FINISH, LANE_FINISH, number);
    store_finish(batch, FINISH_DONE, first, 1);
    store_finish(batch, FINISH_LATER, second, 1);
    store_run(stale, batch);
    assert_false(batch->finishes[0].applied || batch->finishes[1].applied);
    assert_false(batch->finishes[0].blocked || batch->finishes[1].blocked);
    batch_destroy(&batch);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done"), 0);
    /* What it inserts and claims late is taken from it as well. */
    batch = batch_new(BATCH_INSERT, LANE_INSERT, number);
    store_add(batch, true);
    store_run(stale, batch);
    assert_int_equal(batch->end, BATCH_OK);
    batch_destroy(&batch);
    claim = store_claim(stale, number, 10);
    assert_int_equal(claim->job_count, 1);
    batch_destroy(&claim);
    uint32_t moved = 0;
    for (int64_t until_ms = weft_mono_ms() + 60000; moved < 2;) {
        assert_true(weft_mono_ms() < until_ms);
        batch = s_run(store, BATCH_REAP, OWNER);
        moved += batch->moved;
        batch_destroy(&batch);
    }
    assert_int_equal(moved, 2);
    store_destroy(&stale);
    store_destroy(&store);
}

/* Ten dead replicas, three reapers at once: each job is moved once. */
static void
test_reapers_at_once(void **state)
{
    (void) state;
    store_t *stores[3];
    for (int s = 0; s < 3; s++)
        stores[s] = store_open(true);
    pg_fixture_sql("INSERT INTO weft_job_replica (instance, lease_until)"
                   " SELECT 'dead', now() - interval '1 s' FROM generate_series(1, 10)");
    pg_fixture_sql(
        "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, owner, "
        "timeout_ms,"
        " run_at, input) SELECT 1, 1, 1, 1, 2, 10, 1, r.number, 1000, now(), '\\xc0' FROM weft_job_replica r,"
        " generate_series(1, 100) WHERE r.instance = 'dead'");
    batch_t *way[3] = { NULL, NULL, NULL };
    uint32_t moved = 0;
    for (int64_t until_ms = weft_mono_ms() + 20000; moved < 1000;) {
        assert_true(weft_mono_ms() < until_ms);
        for (int s = 0; s < 3; s++) {
            if (!way[s] && store_idle(stores[s], LANE_LEASE)) {
                batch_t *sent = way[s] = batch_new(BATCH_REAP, LANE_LEASE, OWNER);
                sent->limit = 70;
                store_send(stores[s], &sent);
            }
            store_turn(stores[s], 1);
            batch_t *done = store_next_done(stores[s]);
            if (done) {
                assert_int_equal(done->end, BATCH_OK);
                moved += done->moved;
                batch_destroy(&done);
                way[s] = NULL;
            }
        }
    }
    assert_int_equal(moved, 1000);
    assert_int_equal(
        sql_number(
            "SELECT count(*) FROM weft_job WHERE state = 0 AND fence = 2 AND attempts = 1 AND lost = 1"),
        1000);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_replica"), 1);
    for (int s = 0; s < 3; s++)
        store_destroy(&stores[s]);
}

static void
test_promote_queues_what_is_due(void **state)
{
    (void) state;
    store_t *store = store_open(true);
    pg_fixture_sql(
        "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, timeout_ms, "
        "run_at,"
        " input) SELECT n % 2 + 1, 1, 2, 1, 1, 10, 1, 1000, now() - n * interval '1 minute', '\\xc0'"
        " FROM generate_series(-2, 5) n");
    batch_t *batch = batch_new(BATCH_PROMOTE, LANE_LEASE, OWNER);
    batch->limit = 4;
    store_run(store, batch);
    assert_int_equal(batch->moved, 4); /* the four oldest */
    assert_int_equal(batch->moved_queue_count, 2);
    int64_t now_us = batch->lease.now_us;
    assert_in_range(now_us - batch->moved_since_us, 300 * 1000000ll, 330 * 1000000ll);
    assert_in_range(now_us - batch->lease.next_due_us, 60 * 1000000ll, 90 * 1000000ll);
    batch_destroy(&batch);
    batch = batch_new(BATCH_PROMOTE, LANE_LEASE, OWNER);
    batch->limit = 4;
    store_run(store, batch);
    assert_int_equal(batch->moved, 2);
    assert_in_range(batch->lease.next_due_us - now_us, 30 * 1000000ll, 60 * 1000000ll);
    batch_destroy(&batch);
    assert_int_equal(
        sql_number("SELECT count(*) FROM weft_job WHERE state = 0 AND fence = 1 AND run_at <= now()"), 6);
    /* Once all is done that is older, later looks begin a minute before; what commits now is found. */
    (void) store_insert(store, false);
    pg_fixture_sql("UPDATE weft_job SET state = 2 WHERE id = (SELECT max(id) FROM weft_job)");
    batch = batch_new(BATCH_PROMOTE, LANE_LEASE, OWNER);
    batch->limit = 4;
    store_run(store, batch);
    assert_int_equal(batch->moved, 1);
    batch_destroy(&batch);
    batch = s_run(store, BATCH_BEAT, OWNER);
    assert_in_range(batch->lease.next_due_us - now_us, 30 * 1000000ll, 60 * 1000000ll);
    batch_destroy(&batch);
    store_destroy(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_lease_is_kept_and_left, store_fixture_clear),
        cmocka_unit_test_setup(test_a_beat_tells_what_is_new, store_fixture_clear),
        cmocka_unit_test_setup(test_reap_takes_from_the_dead_and_from_nobody_else, store_fixture_clear),
        cmocka_unit_test_setup(test_what_a_stale_owner_says_changes_nothing, store_fixture_clear),
        cmocka_unit_test_setup(test_reapers_at_once, store_fixture_clear),
        cmocka_unit_test_setup(test_promote_queues_what_is_due, store_fixture_clear),
    };
    return cmocka_run_group_tests(tests, store_fixture_init, store_fixture_fini);
}
