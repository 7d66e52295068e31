/* sql_finish - what ends an attempt, and progress: one statement for each kind that a batch has
 *
 * All are guarded by (id, fence) and by nothing else.  A guard on `state` would match a partial index's
 * predicate, and the planner would then read that index, dead entries and all, for a handful of ids. */
#include "sql.h"

/* Rows that others hold (a handler that was stopped within the transaction that completes its job) would be
 * waited for, and with them the lane: the careful forms pass over them, at the cost of a lock for each row.
 */
#define DONE_TABLE                                                                                           \
    "unnest($1::bigint[], $2::integer[], $3::smallint[], $4::boolean[], $5::bigint[], $6::bytea[],"          \
    " $7::bytea[], $8::bytea[], $9::bytea[], $10::integer[])"                                                \
    " AS u (id, fence, state, keep_input, keep_ms, result, meta, error, errors, ord)"
#define DONE_MOVE                                                                                            \
    " RETURNING j.*, u.state AS end_state, u.keep_input, u.keep_ms, u.result, u.meta, u.error,"              \
    " u.errors AS end_errors, u.ord),"                                                                       \
    " done AS (INSERT INTO weft_job_done (id, queue, method, state, priority, attempts, max_attempts, "      \
    "fence,"                                                                                                 \
    " timeout_ms, run_at, created_at, started_at, expires_at, concurrency_key, input, options, errors,"      \
    " result, result_meta, error) SELECT id, queue, method, end_state, priority, attempts, max_attempts,"    \
    " fence, timeout_ms, run_at, created_at, started_at, now() + keep_ms * interval '1 millisecond',"        \
    " concurrency_key, CASE WHEN keep_input THEN input END, options, coalesce(end_errors, errors), result,"  \
    " meta, error FROM d),"                                                                                  \
    " keys AS (DELETE FROM weft_job_unique x USING d WHERE d.flags & 1 <> 0 AND x.job = d.id"                \
    " AND x.until IS NULL),"                                                                                 \
    " progress AS (DELETE FROM weft_job_progress p USING d WHERE p.job = d.id),"                             \
    " callbacks AS (INSERT INTO weft_job_callback (job, url) SELECT id, url FROM (SELECT d.id, "             \
    "weft_job_option(d.options, 'callback_url') AS url FROM d WHERE d.flags & 2 <> 0) c WHERE url IS NOT "   \
    "NULL"                                                                                                   \
    " ON CONFLICT (job) DO UPDATE SET url = EXCLUDED.url, attempts = 0, next_at = now(),"                    \
    " given_up_at = NULL, last_error = NULL)"                                                                \
    " SELECT ord FROM d"
static const sql_statement_t s_done = { "done", "WITH d AS (DELETE FROM weft_job j USING " DONE_TABLE
                                                " WHERE j.id = u.id AND j.fence = u.fence" DONE_MOVE };
static const sql_statement_t s_done_careful = {
    "done_careful",
    "WITH u AS MATERIALIZED (SELECT u.* FROM " DONE_TABLE ", LATERAL (SELECT FROM weft_job w"
    " WHERE w.id = u.id AND w.fence = u.fence FOR UPDATE SKIP LOCKED) w),"
    " d AS (DELETE FROM weft_job j USING u WHERE j.id = u.id AND j.fence = u.fence" DONE_MOVE
};

/* AGAIN, LATER, RELEASE, HOLD. */
#define CHANGE_TABLE                                                                                         \
    "unnest($1::bigint[], $2::integer[], $3::smallint[], $4::smallint[], $5::smallint[], $6::bigint[],"      \
    " $7::bytea[], $8::integer[]) AS u (id, fence, state, attempts, lost, delay_ms, errors, ord)"
#define CHANGE_SET                                                                                           \
    "UPDATE weft_job j SET state = u.state, owner = CASE WHEN u.state = 1 THEN j.owner END,"                 \
    " fence = j.fence + 1, attempts = greatest(j.attempts + u.attempts, 0), lost = j.lost + u.lost,"         \
    " run_at = CASE WHEN u.delay_ms < 0 THEN j.run_at WHEN j.flags & 4 <> 0 THEN now()"                      \
    " ELSE now() + u.delay_ms * interval '1 millisecond' END, started_at = CASE WHEN u.state = 1 THEN "      \
    "now() ELSE j.started_at END,"                                                                           \
    " errors = coalesce(u.errors, j.errors) FROM "
static const sql_statement_t s_change = { "change",
                                          CHANGE_SET CHANGE_TABLE " WHERE j.id = u.id AND j.fence = u.fence"
                                                                  " RETURNING u.ord, j.fence, j.attempts" };
static const sql_statement_t s_change_careful = {
    "change_careful", "WITH u AS MATERIALIZED (SELECT u.* FROM " CHANGE_TABLE
                      ", LATERAL (SELECT FROM weft_job w WHERE w.id = u.id AND w.fence = u.fence"
                      " FOR UPDATE SKIP LOCKED) w) " CHANGE_SET
                      "u WHERE j.id = u.id AND j.fence = u.fence RETURNING u.ord, j.fence, j.attempts"
};

/* The lock on the job's row keeps a row of progress from being left behind by a job that ends meanwhile. */
static const sql_statement_t s_progress = {
    "progress",
    "WITH u AS MATERIALIZED (SELECT u.* FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::bytea[],"
    " $5::integer[]) AS u (id, fence, sequence, value, ord), LATERAL (SELECT FROM weft_job w"
    " WHERE w.id = u.id AND w.fence = u.fence FOR KEY SHARE SKIP LOCKED) w),"
    " p AS (INSERT INTO weft_job_progress AS o (job, fence, sequence, value)"
    " SELECT DISTINCT ON (id) id, fence, sequence, value FROM u ORDER BY id, sequence DESC"
    " ON CONFLICT (job) DO UPDATE SET fence = EXCLUDED.fence, sequence = EXCLUDED.sequence,"
    " value = EXCLUDED.value WHERE (o.fence, o.sequence) < (EXCLUDED.fence, EXCLUDED.sequence))"
    " SELECT ord FROM u"
};

/* As many of the held ones with that key as let it go. */
static const sql_statement_t s_free = {
    "free",
    "UPDATE weft_job j SET state = 0 WHERE j.id = ANY(ARRAY(SELECT h.id"
    " FROM (SELECT queue, key, count(*) AS room FROM unnest($1::integer[], $2::text[]) AS t (queue, key)"
    " GROUP BY queue, key) u, LATERAL (SELECT w.id FROM weft_job w WHERE w.state = 3 AND w.queue = u.queue"
    " AND w.concurrency_key = u.key ORDER BY w.priority, w.run_at, w.id LIMIT u.room FOR UPDATE SKIP LOCKED)"
    " h)) RETURNING j.queue, j.concurrency_key, j.run_at"
};

/* What changed nothing: is it done already by this very attempt, or does somebody hold its row?  A
 * transaction of its own after those above, for the few that need it. */
static const sql_statement_t s_look = {
    "look",
    "SELECT u.ord, EXISTS (SELECT FROM weft_job_done f WHERE f.id = u.id AND f.fence = u.fence"
    " AND f.state = u.state), EXISTS (SELECT FROM weft_job w WHERE w.id = u.id AND w.fence = u.fence)"
    " FROM unnest($1::bigint[], $2::integer[], $3::smallint[], $4::integer[]) AS u (id, fence, state, ord)"
};

static const sql_statement_t *const s_statements[] = {
    &s_done, &s_done_careful, &s_change, &s_change_careful, &s_progress, &s_free, NULL
};
static const sql_statement_t *const s_look_statements[] = { &s_look, NULL };

typedef enum { DONES, CHANGES, PROGRESSES, FREES, GROUPS } group_t;

static bool
s_is(const finish_row_t *row, group_t group)
{
    switch (group) {
    case DONES:
        return row->kind == FINISH_DONE;
    case CHANGES:
        return row->kind == FINISH_AGAIN || row->kind == FINISH_LATER || row->kind == FINISH_RELEASE ||
               row->kind == FINISH_HOLD;
    case PROGRESSES:
        return row->kind == FINISH_PROGRESS;
    case FREES:
        return row->release_key.size > 0;
    case GROUPS:
        break;
    }
    return false;
}

static uint32_t
s_count(const batch_t *batch, const sql_run_t *run, group_t group)
{
    uint32_t count = 0;
    for (uint32_t i = run->from; i < run->to; i++)
        count += s_is(&batch->finishes[i], group);
    return count;
}

#define PUT(type, add, value)                                                                                \
    do {                                                                                                     \
        sql_put_array(p, type, count);                                                                       \
        for (uint32_t i = run->from; i < run->to; i++) {                                                     \
            const finish_row_t *row = &batch->finishes[i];                                                   \
            if (s_is(row, group))                                                                            \
                add(p, value);                                                                               \
        }                                                                                                    \
    } while (0)

static job_state_t
s_new_state(const finish_row_t *row)
{
    switch (row->kind) {
    case FINISH_AGAIN:
        return JOB_RUNNING;
    case FINISH_LATER:
        return JOB_SCHEDULED;
    case FINISH_HOLD:
        return JOB_HELD;
    case FINISH_RELEASE:
    case FINISH_DONE:
    case FINISH_PROGRESS:
        break;
    }
    return JOB_QUEUED;
}

/* What is added to `attempts`, which counts the one that ends here already. */
static int16_t
s_attempts(const finish_row_t *row)
{
    switch (row->kind) {
    case FINISH_AGAIN:
        return row->uncounted ? 0 : 1;
    case FINISH_LATER:
        return row->uncounted ? -1 : 0;
    case FINISH_RELEASE:
    case FINISH_HOLD:
        return -1;
    case FINISH_DONE:
    case FINISH_PROGRESS:
        break;
    }
    return 0;
}

static int16_t
s_lost(const finish_row_t *row)
{
    return row->uncounted && (row->kind == FINISH_AGAIN || row->kind == FINISH_LATER) ? 1 : 0;
}

/* -1: run_at stays. */
static int64_t
s_delay_ms(const finish_row_t *row)
{
    if (row->kind == FINISH_LATER)
        return row->delay_ms > 0 ? row->delay_ms : 0;
    return row->kind == FINISH_RELEASE ? 0 : -1;
}

static const sql_statement_t *
s_put(sql_params_t *p, const batch_t *batch, const sql_run_t *run, group_t group, uint32_t count)
{
    if (group == FREES) {
        PUT(SQL_INT4, sql_add_int4, row->queue);
        PUT(SQL_TEXT, sql_add_bytes, &row->release_key);
        return &s_free;
    }
    PUT(SQL_INT8, sql_add_int8, row->id);
    PUT(SQL_INT4, sql_add_int4, row->fence);
    switch (group) {
    case DONES:
        PUT(SQL_INT2, sql_add_int2, (int16_t) row->state);
        PUT(SQL_BOOL, sql_add_bool, row->keep_input);
        PUT(SQL_INT8, sql_add_int8, row->keep_ms > 0 ? row->keep_ms : JOB_KEEP_DEFAULT_MS);
        PUT(SQL_BYTEA, sql_add_bytes, &row->value);
        PUT(SQL_BYTEA, sql_add_bytes, &row->meta);
        PUT(SQL_BYTEA, sql_add_bytes, &row->error);
        PUT(SQL_BYTEA, sql_add_bytes, &row->errors);
        break;
    case CHANGES:
        PUT(SQL_INT2, sql_add_int2, (int16_t) s_new_state(row));
        PUT(SQL_INT2, sql_add_int2, s_attempts(row));
        PUT(SQL_INT2, sql_add_int2, s_lost(row));
        PUT(SQL_INT8, sql_add_int8, s_delay_ms(row));
        PUT(SQL_BYTEA, sql_add_bytes, &row->errors);
        break;
    case PROGRESSES:
        PUT(SQL_INT4, sql_add_int4, row->sequence);
        PUT(SQL_BYTEA, sql_add_span, weft_buf_span(&row->value));
        break;
    case FREES:
    case GROUPS:
        break;
    }
    PUT(SQL_INT4, sql_add_int4, (int32_t) i); /* which row of the batch: results come in no order */
    if (group == DONES)
        return run->careful ? &s_done_careful : &s_done;
    if (group == CHANGES)
        return run->careful ? &s_change_careful : &s_change;
    return &s_progress;
}

/* Progress first: the completion of the same job deletes it. */
static const group_t s_order[] = { PROGRESSES, DONES, CHANGES, FREES };

static bool
s_send(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    for (size_t at = 0; at < sizeof s_order / sizeof s_order[0]; at++) {
        uint32_t count = s_count(batch, run, s_order[at]);
        if (count == 0)
            continue;
        sql_params_reset(&sink->params);
        const sql_statement_t *statement = s_put(&sink->params, batch, run, s_order[at], count);
        if (!sink->statement(sink->context, statement, &sink->params))
            return false;
    }
    return true;
}

/* Which row freed which job is all one: any of those with its key. */
static void
s_read_freed(batch_t *batch, const sql_run_t *run, const PGresult *rows)
{
    for (int tuple = 0; tuple < PQntuples(rows); tuple++) {
        for (uint32_t i = run->from; i < run->to; i++) {
            finish_row_t *row = &batch->finishes[i];
            if (row->released_us == INT64_MAX && row->queue == sql_int4(rows, tuple, 0) &&
                row->release_key.size > 0 &&
                weft_span_equal(weft_buf_span(&row->release_key), sql_bytes(rows, tuple, 1))) {
                row->released_us = sql_time(rows, tuple, 2, 0);
                break;
            }
        }
    }
}

static bool
s_read_applied(batch_t *batch, const PGresult *rows, bool changes)
{
    for (int tuple = 0; tuple < PQntuples(rows); tuple++) {
        uint32_t index = (uint32_t) sql_int4(rows, tuple, 0);
        if (index >= batch->finish_count)
            return false;
        finish_row_t *row = &batch->finishes[index];
        row->applied = true;
        if (changes) {
            row->new_fence = sql_int4(rows, tuple, 1);
            row->attempts = sql_int2(rows, tuple, 2);
        }
    }
    return true;
}

static bool
s_read(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    uint32_t at = 0;
    for (uint32_t i = run->from; i < run->to; i++) {
        batch->finishes[i].applied = batch->finishes[i].blocked = false;
        batch->finishes[i].released_us = INT64_MAX;
    }
    for (size_t i = 0; i < sizeof s_order / sizeof s_order[0]; i++) {
        if (s_count(batch, run, s_order[i]) == 0)
            continue;
        if (at == count)
            return false;
        if (s_order[i] == FREES)
            s_read_freed(batch, run, results[at]);
        else if (!s_read_applied(batch, results[at], s_order[i] == CHANGES))
            return false;
        at++;
    }
    return true;
}

#undef PUT
#define PUT(type, add, value)                                                                                \
    do {                                                                                                     \
        sql_put_array(p, type, count);                                                                       \
        for (uint32_t i = run->from; i < run->to; i++) {                                                     \
            const finish_row_t *row = &batch->finishes[i];                                                   \
            if (!row->applied)                                                                               \
                add(p, value);                                                                               \
        }                                                                                                    \
    } while (0)

static bool
s_send_look(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    sql_params_t *p = &sink->params;
    uint32_t count = 0;
    for (uint32_t i = run->from; i < run->to; i++)
        count += !batch->finishes[i].applied;
    sql_params_reset(p);
    PUT(SQL_INT8, sql_add_int8, row->id);
    PUT(SQL_INT4, sql_add_int4, row->fence);
    PUT(SQL_INT2, sql_add_int2, row->kind == FINISH_DONE ? (int16_t) row->state : -1);
    PUT(SQL_INT4, sql_add_int4, (int32_t) i);
    return sink->statement(sink->context, &s_look, p);
}

static bool
s_read_look(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    (void) run;
    if (count != 1)
        return false;
    for (int tuple = 0; tuple < PQntuples(results[0]); tuple++) {
        uint32_t index = (uint32_t) sql_int4(results[0], tuple, 0);
        if (index >= batch->finish_count)
            return false;
        finish_row_t *row = &batch->finishes[index];
        row->applied = sql_bool(results[0], tuple, 1);
        row->blocked = !row->applied && sql_bool(results[0], tuple, 2);
    }
    return true;
}

const sql_kind_t sql_finish = { s_statements, s_send, s_read };
const sql_kind_t sql_look = { s_look_statements, s_send_look, s_read_look };
