/* sql_insert - new jobs: plain ones in one statement, those with a unique_key or an idempotency key in
 * another */
#include "sql.h"

/* The identity is assigned, and RETURNING answers, in the order of the rows. */
static const sql_statement_t s_plain = {
    "insert_plain",
    "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, owner, timeout_ms,"
    " flags, run_at, started_at, concurrency_key, input, options)"
    " SELECT u.queue, u.method, CASE WHEN u.leased THEN 1 WHEN u.run_at > now() THEN 2 ELSE 0 END,"
    " u.priority, u.leased::integer, u.max_attempts, u.leased::integer, CASE WHEN u.leased THEN $1::integer"
    " END, u.timeout_ms, u.flags, CASE WHEN u.leased THEN now() ELSE greatest(u.run_at, now()) END,"
    " CASE WHEN u.leased THEN now() END, u.concurrency_key, u.input, u.options"
    " FROM (SELECT t.queue, t.method, t.leased, t.priority, t.max_attempts, t.timeout_ms, t.flags,"
    " coalesce(t.run_at, now() + t.delay_ms * interval '1 millisecond') AS run_at, t.concurrency_key,"
    " t.input, t.options, t.ord"
    " FROM unnest($2::integer[], $3::integer[], $4::boolean[], $5::smallint[], $6::smallint[], $7::integer[],"
    " $8::smallint[], $9::timestamptz[], $10::bigint[], $11::text[], $12::bytea[], $13::bytea[])"
    " WITH ORDINALITY AS t (queue, method, leased, priority, max_attempts, timeout_ms, flags, run_at,"
    " delay_ms, concurrency_key, input, options, ord)) u ORDER BY u.ord RETURNING id, created_at"
};
static const sql_statement_t s_keyed = {
    "insert_keyed",
    "SELECT f.ending, f.job, now() FROM weft_job_insert_keyed($1::integer, $2::integer[], $3::integer[],"
    " $4::boolean[], $5::smallint[], $6::smallint[], $7::integer[], $8::smallint[], $9::timestamptz[],"
    " $10::bigint[], $11::text[], $12::bytea[], $13::bytea[], $14::text[], $15::bigint[], $16::text[],"
    " $17::text[]) f ORDER BY f.ord"
};
static const sql_statement_t *const s_statements[] = { &s_plain, &s_keyed, NULL };

static bool
s_is_keyed(const insert_row_t *row)
{
    return row->unique_key.size > 0 || row->idem_scope.size > 0 || row->idem_key.size > 0;
}

static uint32_t
s_count(const batch_t *batch, const sql_run_t *run, bool keyed)
{
    uint32_t count = 0;
    for (uint32_t i = run->from; i < run->to; i++)
        count += s_is_keyed(&batch->inserts[i]) == keyed;
    return count;
}

/* An array with a value of each row, or of each row's job. */
#define PUT(type, add, value)                                                                                \
    do {                                                                                                     \
        sql_put_array(p, type, count);                                                                       \
        for (uint32_t i = run->from; i < run->to; i++) {                                                     \
            const insert_row_t *row = &batch->inserts[i];                                                    \
            if (s_is_keyed(row) == keyed)                                                                    \
                add(p, value);                                                                               \
        }                                                                                                    \
    } while (0)

static void
s_put_rows(sql_params_t *p, const batch_t *batch, const sql_run_t *run, bool keyed, uint32_t count)
{
    sql_put_int4(p, batch->owner);
    PUT(SQL_INT4, sql_add_int4, row->job->queue);
    PUT(SQL_INT4, sql_add_int4, row->job->method);
    PUT(SQL_BOOL, sql_add_bool, row->leased);
    PUT(SQL_INT2, sql_add_int2, row->job->priority);
    PUT(SQL_INT2, sql_add_int2, row->job->max_attempts);
    PUT(SQL_INT4, sql_add_int4, row->job->timeout_ms);
    PUT(SQL_INT2, sql_add_int2, row->job->flags);
    PUT(SQL_TIMESTAMPTZ, sql_add_time, row->run_at_us);
    PUT(SQL_INT8, sql_add_int8, row->delay_ms);
    PUT(SQL_TEXT, sql_add_bytes, &row->job->key);
    PUT(SQL_BYTEA, sql_add_span, weft_buf_span(&row->job->input));
    PUT(SQL_BYTEA, sql_add_bytes, &row->job->options);
    if (keyed) {
        PUT(SQL_TEXT, sql_add_bytes, &row->unique_key);
        PUT(SQL_INT8, sql_add_int8, row->unique_for_ms);
        PUT(SQL_TEXT, sql_add_bytes, &row->idem_scope);
        PUT(SQL_TEXT, sql_add_bytes, &row->idem_key);
    }
}

static bool
s_send(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    for (int keyed = 0; keyed < 2; keyed++) {
        uint32_t count = s_count(batch, run, keyed);
        if (count == 0)
            continue;
        sql_params_reset(&sink->params);
        s_put_rows(&sink->params, batch, run, keyed, count);
        if (!sink->statement(sink->context, keyed ? &s_keyed : &s_plain, &sink->params))
            return false;
    }
    return true;
}

static void
s_created(insert_row_t *row, int64_t id)
{
    row->end = INSERT_CREATED;
    row->id = row->job->id = id;
    row->job->fence = row->leased ? 1 : 0;
    row->job->attempts = row->leased ? 1 : 0;
}

static bool
s_read(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    uint32_t at = 0;
    for (int keyed = 0; keyed < 2; keyed++) {
        uint32_t expected = s_count(batch, run, keyed);
        if (expected == 0)
            continue;
        if (at == count || (uint32_t) PQntuples(results[at]) != expected)
            return false;
        batch->now_us = sql_time(results[at], 0, keyed ? 2 : 1, 0);
        int tuple = 0;
        for (uint32_t i = run->from; i < run->to; i++) {
            insert_row_t *row = &batch->inserts[i];
            if (s_is_keyed(row) != keyed)
                continue;
            if (!keyed) {
                s_created(row, sql_int8(results[at], tuple, 0));
            } else if (sql_int2(results[at], tuple, 0) == INSERT_CREATED) {
                s_created(row, sql_int8(results[at], tuple, 1));
            } else {
                row->end = sql_int2(results[at], tuple, 0) == INSERT_EXISTING ? INSERT_EXISTING
                                                                              : INSERT_MISMATCH;
                row->id = sql_int8(results[at], tuple, 1);
            }
            tuple++;
        }
        at++;
    }
    return true;
}

const sql_kind_t sql_insert = { s_statements, s_send, s_read };
