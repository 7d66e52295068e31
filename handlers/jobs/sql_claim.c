/* sql_claim - queued jobs become ours; orphans of a lost commit too */
#include "sql.h"

#include <stdlib.h>

/* The ids are chosen in an array of their own: as a join the planner once hashed the whole table.  Room (the
 * lower bound, the limit) differs by queue and priority.  The order of the rows is lost on the way and made
 * again in s_sort. */
static const sql_statement_t s_claim = {
    "claim",
    "UPDATE weft_job j SET state = 1, owner = $1::integer, fence = j.fence + 1, attempts = j.attempts + 1,"
    " started_at = now() WHERE j.id = ANY(ARRAY(SELECT c.id"
    " FROM unnest($2::integer[], $3::smallint[], $4::integer[], $5::timestamptz[])"
    " AS a (queue, priority, room, since), LATERAL (SELECT w.id FROM weft_job w WHERE w.state = 0"
    " AND w.queue = a.queue AND w.priority = a.priority AND w.run_at >= a.since"
    " ORDER BY w.run_at, w.id LIMIT a.room FOR UPDATE SKIP LOCKED) c)) RETURNING " SQL_JOB_COLUMNS
};
static const sql_statement_t *const s_claim_statements[] = { &s_claim, NULL };

/* Rows that another transaction holds are passed over: they are being finished, or come next time. */
static const sql_statement_t s_recover = {
    "recover",
    "UPDATE weft_job j SET fence = j.fence + 1, started_at = now() WHERE j.id = ANY(ARRAY(SELECT w.id"
    " FROM weft_job w WHERE w.state = 1 AND w.owner = $1::integer"
    " AND w.id NOT IN (SELECT k FROM unnest($2::bigint[]) k) FOR UPDATE SKIP LOCKED))"
    " RETURNING " SQL_JOB_COLUMNS
};
static const sql_statement_t *const s_recover_statements[] = { &s_recover, NULL };

enum {
    ID,
    FENCE,
    QUEUE,
    METHOD,
    ATTEMPTS,
    MAX_ATTEMPTS,
    LOST,
    PRIORITY,
    FLAGS,
    TIMEOUT_MS,
    RUN_AT,
    INPUT,
    OPTIONS,
    ERRORS,
    KEY
};

typedef struct {
    int64_t run_at_us, id;
    int row;
} order_t;

static int
s_compare(const void *a, const void *b)
{
    const order_t *left = a, *right = b;
    if (left->run_at_us != right->run_at_us)
        return left->run_at_us < right->run_at_us ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

static job_t *
s_job(const PGresult *rows, int row)
{
    job_t *job = job_new(sql_int8(rows, row, ID), sql_int4(rows, row, FENCE));
    if (!job)
        return NULL;
    job->queue = sql_int4(rows, row, QUEUE);
    job->method = sql_int4(rows, row, METHOD);
    job->attempts = sql_int2(rows, row, ATTEMPTS);
    job->max_attempts = sql_int2(rows, row, MAX_ATTEMPTS);
    job->lost = sql_int2(rows, row, LOST);
    job->priority = (uint8_t) sql_int2(rows, row, PRIORITY);
    job->flags = (uint8_t) sql_int2(rows, row, FLAGS);
    job->timeout_ms = sql_int4(rows, row, TIMEOUT_MS);
    job->due_us = sql_time(rows, row, RUN_AT, 0);
    const struct {
        weft_buf_t *buf;
        int column;
    } fields[] = {
        { &job->input, INPUT }, { &job->options, OPTIONS }, { &job->errors, ERRORS }, { &job->key, KEY }
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        weft_span_t bytes = sql_bytes(rows, row, fields[i].column);
        if (bytes.size > 0 && !weft_buf_add(fields[i].buf, bytes.data, bytes.size)) {
            job_destroy(&job);
            return NULL;
        }
    }
    return job;
}

bool
sql_read_jobs(batch_t *batch, const PGresult *rows)
{
    int count = PQntuples(rows);
    if (count == 0)
        return true;
    order_t *order = calloc((size_t) count, sizeof *order);
    batch->jobs = calloc((size_t) count, sizeof(job_t *));
    bool good = order && batch->jobs;
    if (good) {
        batch->job_capacity = (uint32_t) count;
        for (int i = 0; i < count; i++)
            order[i] = (order_t){ sql_time(rows, i, RUN_AT, 0), sql_int8(rows, i, ID), i };
        qsort(order, (size_t) count, sizeof *order, s_compare);
    }
    for (int i = 0; good && i < count; i++) {
        job_t *job = s_job(rows, order[i].row);
        good = job != NULL;
        if (job)
            batch->jobs[batch->job_count++] = job;
        for (uint32_t at = 0; good && at < batch->ask_count; at++) {
            claim_ask_t *ask = &batch->asks[at];
            if (ask->queue == job->queue && ask->priority == job->priority) {
                ask->taken++;
                ask->last_us = order[i].run_at_us;
                break;
            }
        }
    }
    free(order);
    return good;
}

static bool
s_send_claim(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    (void) run;
    sql_params_t *p = &sink->params;
    sql_params_reset(p);
    sql_put_int4(p, batch->owner);
    sql_put_array(p, SQL_INT4, batch->ask_count);
    for (uint32_t i = 0; i < batch->ask_count; i++)
        sql_add_int4(p, batch->asks[i].queue);
    sql_put_array(p, SQL_INT2, batch->ask_count);
    for (uint32_t i = 0; i < batch->ask_count; i++)
        sql_add_int2(p, batch->asks[i].priority);
    sql_put_array(p, SQL_INT4, batch->ask_count);
    for (uint32_t i = 0; i < batch->ask_count; i++)
        sql_add_int4(p, (int32_t) batch->asks[i].limit);
    sql_put_array(p, SQL_TIMESTAMPTZ, batch->ask_count);
    for (uint32_t i = 0; i < batch->ask_count; i++) /* INT64_MIN is -infinity there */
        sql_add_int8(p, sql_pg_time(batch->asks[i].since_us));
    return sink->statement(sink->context, &s_claim, p);
}

static bool
s_read_jobs(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    (void) run;
    for (uint32_t i = 0; i < batch->ask_count; i++) {
        batch->asks[i].taken = 0;
        batch->asks[i].last_us = batch->asks[i].since_us;
    }
    return count == 1 && sql_read_jobs(batch, results[0]);
}

static bool
s_send_recover(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    (void) run;
    sql_params_t *p = &sink->params;
    sql_params_reset(p);
    sql_put_int4(p, batch->owner);
    sql_put_array(p, SQL_INT8, batch->known_count);
    for (uint32_t i = 0; i < batch->known_count; i++)
        sql_add_int8(p, batch->known[i]);
    return sink->statement(sink->context, &s_recover, p);
}

const sql_kind_t sql_claim = { s_claim_statements, s_send_claim, s_read_jobs };
const sql_kind_t sql_recover = { s_recover_statements, s_send_recover, s_read_jobs };
