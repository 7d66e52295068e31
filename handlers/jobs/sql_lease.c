/* sql_lease - this process's heartbeat, and taking over from those that lack one.  The clock is the
 * database's */
#include "sql.h"

#include <stdlib.h>

#define LIMIT_DEFAULT 2000 /* jobs moved in one transaction */
#define LEASE "now() + $2::bigint * interval '1 millisecond'"

static const sql_statement_t s_join = {
    "join",
    "INSERT INTO weft_job_replica (instance, lease_until) VALUES ($1::text, " LEASE ") RETURNING number"
};
/* A lease that ended may be renewed as long as nobody has deleted its row: that is what takes the jobs away.
 * The fingerprint changes with every committed change of a queue or schedule; the last value of the sequence
 * would be seen before its row is. */
static const sql_statement_t s_beat = {
    "beat", "WITH me AS (UPDATE weft_job_replica SET lease_until = " LEASE " WHERE number = $1::integer"
            " RETURNING number) SELECT EXISTS (SELECT FROM me), (SELECT count(*) FROM weft_job_replica"
            " WHERE lease_until > now()), ((SELECT coalesce(sum(serial), 0) + count(*) FROM weft_job_queue)"
            " + (SELECT coalesce(sum(serial), 0) + count(*) FROM weft_job_schedule))::bigint, now(),"
            " (SELECT w.run_at FROM weft_job w WHERE w.state = 2 AND w.run_at >= $3::timestamptz"
            " ORDER BY w.run_at LIMIT 1)"
};
static const sql_statement_t s_cancels = {
    "cancels", "SELECT w.id FROM weft_job w WHERE w.owner = $1::integer AND w.state = 1"
               " AND w.flags & 4 <> 0 LIMIT 1000"
};
static const sql_statement_t s_leave = { "leave", "DELETE FROM weft_job_replica WHERE number = $1::integer" };

/* A late heartbeat waits for this transaction and then finds its row gone. */
static const sql_statement_t s_bury = {
    "bury", "DELETE FROM weft_job_replica WHERE number = ANY(ARRAY(SELECT r.number FROM weft_job_replica r"
            " WHERE r.lease_until < now() FOR UPDATE SKIP LOCKED)) RETURNING number"
};
/* Jobs of owners that are no replica: buried ones, and those that wrote after they were buried.  They lie in
 * the gaps between the numbers of the living, so the entries of the living, most of them dead ones under an
 * old snapshot, are never read.  Rows that are locked (their handler completes them just now) are for the
 * next time.  The fence keeps a row out that changed hands since the snapshot: its owner may have joined
 * since. */
static const sql_statement_t s_sweep = {
    "sweep",
    "WITH gaps AS MATERIALIZED (SELECT n.number AS after, coalesce(lead(n.number) OVER (ORDER BY n.number),"
    " 2147483647) AS before FROM (SELECT r.number FROM weft_job_replica r UNION ALL SELECT 0) n),"
    " m AS (UPDATE weft_job j SET state = 0, owner = NULL, fence = j.fence + 1, run_at = now(),"
    " attempts = greatest(j.attempts - CASE WHEN j.lost < $1::integer THEN 1 ELSE 0 END, 0),"
    " lost = j.lost + CASE WHEN j.lost < $1::integer THEN 1 ELSE 0 END WHERE j.id = ANY(ARRAY(SELECT w.id"
    " FROM gaps g, LATERAL (SELECT s.id, s.fence FROM weft_job s WHERE s.state = 1 AND s.owner > g.after"
    " AND s.owner < g.before LIMIT $2::integer) a, LATERAL (SELECT w.id FROM weft_job w WHERE w.id = a.id"
    " AND w.fence = a.fence FOR UPDATE SKIP LOCKED) w LIMIT $2::integer))"
    " RETURNING j.queue, j.run_at) SELECT m.queue, count(*), min(m.run_at) FROM m GROUP BY m.queue"
};
static const sql_statement_t s_promote = {
    "promote", "WITH m AS (UPDATE weft_job j SET state = 0 WHERE j.id = ANY(ARRAY(SELECT w.id"
               " FROM weft_job w WHERE w.state = 2 AND w.run_at <= now() AND w.run_at >= $1::timestamptz"
               " ORDER BY w.run_at LIMIT $2::integer FOR UPDATE SKIP LOCKED)) RETURNING j.queue, j.run_at)"
               " SELECT m.queue, count(*), min(m.run_at) FROM m GROUP BY m.queue"
};
static const sql_statement_t s_next_due = { "next_due",
                                            "SELECT now(), (SELECT w.run_at FROM weft_job w WHERE w.state = 2"
                                            " AND w.run_at >= $1::timestamptz ORDER BY w.run_at LIMIT 1)" };

static const sql_statement_t *const s_join_statements[] = { &s_join, NULL };
static const sql_statement_t *const s_beat_statements[] = { &s_beat, &s_cancels, NULL };
static const sql_statement_t *const s_reap_statements[] = { &s_bury, &s_sweep, NULL };
static const sql_statement_t *const s_promote_statements[] = { &s_promote, &s_next_due, NULL };
static const sql_statement_t *const s_leave_statements[] = { &s_leave, NULL };

static bool
s_send_join(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    (void) run;
    sql_params_reset(&sink->params);
    sql_put_text(&sink->params, weft_span(batch->lease.instance));
    sql_put_int8(&sink->params, batch->lease.lease_ms);
    return sink->statement(sink->context, &s_join, &sink->params);
}

static bool
s_read_join(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    (void) run;
    if (count != 1 || PQntuples(results[0]) != 1)
        return false;
    batch->lease.number = sql_int4(results[0], 0, 0);
    batch->lease.alive = true;
    return true;
}

static void
s_put_time(sql_params_t *self, int64_t unix_us)
{
    sql_put_int8(self, sql_pg_time(unix_us));
}

static bool
s_send_beat(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    sql_params_reset(&sink->params);
    sql_put_int4(&sink->params, batch->lease.number);
    sql_put_int8(&sink->params, batch->lease.lease_ms);
    s_put_time(&sink->params, run->due_from_us);
    if (!sink->statement(sink->context, &s_beat, &sink->params))
        return false;
    sql_params_reset(&sink->params);
    sql_put_int4(&sink->params, batch->lease.number);
    return sink->statement(sink->context, &s_cancels, &sink->params);
}

static bool
s_read_beat(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    (void) run;
    lease_t *lease = &batch->lease;
    if (count != 2 || PQntuples(results[0]) != 1)
        return false;
    lease->alive = sql_bool(results[0], 0, 0);
    lease->replicas = (uint32_t) sql_int8(results[0], 0, 1);
    lease->serial = sql_int8(results[0], 0, 2);
    lease->now_us = batch->now_us = sql_time(results[0], 0, 3, 0);
    lease->next_due_us = sql_time(results[0], 0, 4, INT64_MAX);
    int cancels = PQntuples(results[1]);
    if (cancels > 0) {
        lease->cancels = calloc((size_t) cancels, sizeof *lease->cancels);
        if (!lease->cancels)
            return false;
        for (int i = 0; i < cancels; i++)
            lease->cancels[i] = sql_int8(results[1], i, 0);
        lease->cancel_count = (uint32_t) cancels;
    }
    return true;
}

static int32_t
s_limit(const batch_t *batch)
{
    return batch->limit > 0 && batch->limit < INT32_MAX ? (int32_t) batch->limit : LIMIT_DEFAULT;
}

/* Rows of (queue, count, first run_at). */
static bool
s_read_moved(batch_t *batch, const PGresult *rows)
{
    int count = PQntuples(rows);
    batch->moved = 0;
    batch->moved_since_us = INT64_MAX;
    if (count == 0)
        return true;
    batch->moved_queues = calloc((size_t) count, sizeof *batch->moved_queues);
    if (!batch->moved_queues)
        return false;
    for (int i = 0; i < count; i++) {
        batch->moved_queues[i] = sql_int4(rows, i, 0);
        batch->moved += (uint32_t) sql_int8(rows, i, 1);
        int64_t first_us = sql_time(rows, i, 2, INT64_MAX);
        if (first_us < batch->moved_since_us)
            batch->moved_since_us = first_us;
    }
    batch->moved_queue_count = (uint32_t) count;
    return true;
}

static bool
s_send_reap(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    sql_params_reset(&sink->params);
    if (!sink->statement(sink->context, &s_bury, &sink->params))
        return false;
    if (!run->sweep)
        return true;
    sql_put_int4(&sink->params, JOB_LOST_MAX);
    sql_put_int4(&sink->params, s_limit(batch));
    return sink->statement(sink->context, &s_sweep, &sink->params);
}

static bool
s_read_reap(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    if (!run->sweep)
        return count == 1;
    return count == 2 && s_read_moved(batch, results[1]);
}

static bool
s_send_promote(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    sql_params_reset(&sink->params);
    s_put_time(&sink->params, run->due_from_us);
    sql_put_int4(&sink->params, s_limit(batch));
    if (!sink->statement(sink->context, &s_promote, &sink->params))
        return false;
    sql_params_reset(&sink->params);
    s_put_time(&sink->params, run->due_from_us);
    return sink->statement(sink->context, &s_next_due, &sink->params);
}

static bool
s_read_promote(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    (void) run;
    if (count != 2 || PQntuples(results[1]) != 1 || !s_read_moved(batch, results[0]))
        return false;
    batch->lease.now_us = batch->now_us = sql_time(results[1], 0, 0, 0);
    batch->lease.next_due_us = sql_time(results[1], 0, 1, INT64_MAX);
    return true;
}

static bool
s_send_leave(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run)
{
    (void) run;
    sql_params_reset(&sink->params);
    sql_put_int4(&sink->params, batch->lease.number);
    return sink->statement(sink->context, &s_leave, &sink->params);
}

static bool
s_read_leave(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count)
{
    (void) batch;
    (void) run;
    (void) results;
    return count == 1;
}

const sql_kind_t sql_join = { s_join_statements, s_send_join, s_read_join };
const sql_kind_t sql_beat = { s_beat_statements, s_send_beat, s_read_beat };
const sql_kind_t sql_reap = { s_reap_statements, s_send_reap, s_read_reap };
const sql_kind_t sql_promote = { s_promote_statements, s_send_promote, s_read_promote };
const sql_kind_t sql_leave = { s_leave_statements, s_send_leave, s_read_leave };
