/* store_fixture - a database with the tables of the queue, stores on it, and batches run to their end */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include <weft/pg.h>

int
store_fixture_init(void **state)
{
    (void) state;
    pg_fixture_init(false);
    assert_int_equal(weft_pg_migrate(pg_fixture_url(), "jobs", JOBS_MIGRATIONS), WEFT_OK);
    pg_fixture_sql(
        "ALTER TABLE weft_job_replica ALTER COLUMN number RESTART WITH 100"); /* apart from OWNER */
    return 0;
}

int
store_fixture_fini(void **state)
{
    (void) state;
    pg_fixture_fini();
    return 0;
}

int
store_fixture_clear(void **state)
{
    (void) state;
    pg_fixture_sql("TRUNCATE weft_job, weft_job_done, weft_job_unique, weft_job_key, weft_job_progress,"
                   " weft_job_callback, weft_job_replica");
    pg_fixture_sql("INSERT INTO weft_job_replica (number, instance, lease_until) OVERRIDING SYSTEM VALUE"
                   " VALUES (7, 'test', now() + interval '1 hour')");
    return 0;
}

void
store_turn(store_t *store, int timeout_ms)
{
    struct pollfd fds[LANES];
    int64_t deadline_us, now_us = weft_mono_us();
    uint32_t count = store_poll(store, fds, &deadline_us);
    if (deadline_us < now_us + timeout_ms * 1000)
        timeout_ms = deadline_us > now_us ? (int) ((deadline_us - now_us) / 1000 + 1) : 0;
    (void) poll(fds, count, timeout_ms);
    store_step(store, weft_mono_us());
}

void
store_wait_up(store_t *store)
{
    int64_t until_ms = weft_mono_ms() + 60000;
    while (!store_up(store)) {
        assert_true(weft_mono_ms() < until_ms);
        store_turn(store, 1000);
    }
}

store_t *
store_open(bool prepare)
{
    const store_config_t config = { .database_url = pg_fixture_url(), .prepare = prepare, .seed = 1 };
    store_t *store = store_new(&config);
    assert_non_null(store);
    store_wait_up(store);
    return store;
}

void
store_run(store_t *store, batch_t *batch)
{
    batch_t *sent = batch, *done = NULL;
    int64_t until_ms = weft_mono_ms() + 60000;
    while (!store_idle(store, batch->lane)) {
        assert_true(weft_mono_ms() < until_ms);
        store_turn(store, 1000);
    }
    store_send(store, &sent);
    assert_null(sent);
    while (!(done = store_next_done(store))) {
        assert_true(weft_mono_ms() < until_ms);
        store_turn(store, 1000);
    }
    assert_ptr_equal(done, batch);
}

insert_row_t *
store_add(batch_t *batch, bool leased)
{
    insert_row_t *row = batch_add_insert(batch);
    assert_non_null(row);
    row->job = job_new(0, 0);
    assert_non_null(row->job);
    row->job->queue = row->job->method = 1;
    row->job->priority = JOB_PRIORITY_DEFAULT;
    row->job->max_attempts = JOB_MAX_ATTEMPTS_DEFAULT;
    row->job->timeout_ms = JOB_TIMEOUT_DEFAULT_MS;
    row->leased = leased;
    char input[] = { (char) 0x81, (char) 0xa1, 'n', (char) (batch->insert_count & 0x7f) };
    assert_true(weft_buf_add(&row->job->input, input, sizeof input));
    return row;
}

finish_row_t *
store_finish(batch_t *batch, finish_kind_t kind, int64_t id, int32_t fence)
{
    finish_row_t *row = batch_add_finish(batch);
    assert_non_null(row);
    row->kind = kind;
    row->id = id;
    row->fence = fence;
    if (kind == FINISH_DONE) {
        row->state = JOB_SUCCEEDED;
        assert_true(weft_buf_add(&row->value, "\xc3", 1));
    }
    return row;
}

int64_t
store_insert(store_t *store, bool leased)
{
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, OWNER);
    store_add(batch, leased);
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    assert_int_equal(batch->inserts[0].end, INSERT_CREATED);
    int64_t id = batch->inserts[0].id;
    batch_destroy(&batch);
    return id;
}

void
batch_add_ask(batch_t *batch, int32_t queue, uint8_t priority, uint32_t limit, int64_t since_us)
{
    batch->asks = reallocarray(batch->asks, batch->ask_count + 1, sizeof *batch->asks);
    assert_non_null(batch->asks);
    batch->asks[batch->ask_count++] = (claim_ask_t){
        .queue = queue, .priority = priority, .limit = limit, .since_us = since_us
    };
}

batch_t *
store_claim(store_t *store, int32_t owner, uint32_t limit)
{
    batch_t *batch = batch_new(BATCH_CLAIM, LANE_CLAIM, owner);
    batch_add_ask(batch, 1, 1, limit, INT64_MIN);
    store_run(store, batch);
    assert_int_equal(batch->end, BATCH_OK);
    return batch;
}

const char *
sql_value(const char *format, ...)
{
    char sql[2048];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(sql, sizeof sql, format, arguments); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    va_end(arguments);
    return pg_fixture_sql(sql);
}

int64_t
sql_number(const char *format, ...)
{
    char sql[2048];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(sql, sizeof sql, format, arguments); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    va_end(arguments);
    return strtoll(pg_fixture_sql(sql), NULL, 10);
}
