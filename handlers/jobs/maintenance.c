/* maintenance - keeps the tables small and tells how deep the queues are: a chore */
#include "maintenance.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/clock.h>

#define DAYS_AHEAD 9 /* partitions: the default of keep_ms is 7 days */
#define PARTITIONS_MS 600000
#define PARTITIONS_AGAIN_MS 5000 /* while they come and go */
#define EXPIRED_MS 60000
#define EXPIRED_ROWS 1000 /* deleted at once */
#define DEPTH_MS 5000
#define DEPTH_COST 50 /* counting takes a fiftieth of the time at most */
#define SNAPSHOT_MS 15000
#define SNAPSHOT_WARN_S 60 /* dead rows that nobody can clear away since then slow the queue down */
#define SNAPSHOT_WARN_AGAIN_MS 600000
#define FAILED_MS 1000
#define SHORTEST_MS 100

struct maintenance {
    int64_t key_keep_ms;
    int64_t partitions_at, keys_at, unique_at, depth_at, snapshot_at, warned_at; /* mono, ms */
    weft_metric_t *snapshot;
};

maintenance_t *
maintenance_new(int64_t key_keep_ms)
{
    maintenance_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->key_keep_ms = key_keep_ms;
    self->snapshot = weft_metric(
        WEFT_GAUGE, "weft_jobs_oldest_snapshot_seconds", "",
        "Age of the oldest transaction that keeps dead rows from being cleared away.");
    self->warned_at = -SNAPSHOT_WARN_AGAIN_MS;
    return self;
}

void
maintenance_destroy(maintenance_t **self_p)
{
    assert(self_p);
    free(*self_p);
    *self_p = NULL;
}

/* Each of the following returns in how many milliseconds it wants to run again. */

static int64_t
s_partitions(clockwork_db_t *db)
{
    const weft_pg_param_t params[] = { weft_pg_int(DAYS_AHEAD) };
    PGresult *rows = clockwork_db_query(db, "SELECT weft_job_partitions($1::integer)", params, 1);
    bool changed = rows && weft_pg_get_int(rows, 0, 0, 0) > 0;
    PQclear(rows);
    return rows ? (changed ? PARTITIONS_AGAIN_MS : PARTITIONS_MS) : FAILED_MS;
}

static int64_t
s_delete(clockwork_db_t *db, const char *sql, const weft_pg_param_t *params, int count)
{
    PGresult *rows = clockwork_db_query(db, sql, params, count);
    int64_t deleted = 0;
    bool read = rows && weft_parse_int(PQcmdTuples(rows), 0, INT64_MAX, &deleted);
    PQclear(rows);
    if (!read)
        return FAILED_MS;
    return deleted >= EXPIRED_ROWS ? SHORTEST_MS : EXPIRED_MS;
}

static int64_t
s_keys(const maintenance_t *self, clockwork_db_t *db)
{
    static const char sql[] =
        "DELETE FROM weft_job_key WHERE ctid = ANY(ARRAY(SELECT ctid FROM weft_job_key WHERE created_at <"
        " now() - $1::bigint * interval '1 millisecond' ORDER BY created_at LIMIT $2::bigint FOR UPDATE SKIP"
        " LOCKED))";
    const weft_pg_param_t params[] = { weft_pg_int(self->key_keep_ms), weft_pg_int(EXPIRED_ROWS) };
    return s_delete(db, sql, params, 2);
}

static int64_t
s_unique(clockwork_db_t *db)
{
    static const char sql[] = "DELETE FROM weft_job_unique WHERE ctid = ANY(ARRAY(SELECT ctid FROM"
                              " weft_job_unique WHERE until <= now() ORDER BY until LIMIT $1::bigint FOR"
                              " UPDATE SKIP LOCKED))";
    const weft_pg_param_t params[] = { weft_pg_int(EXPIRED_ROWS) };
    return s_delete(db, sql, params, 1);
}

static void
s_gauge(const char *name, const char *help, weft_span_t service, const char *state, int64_t value)
{
    char labels[192], text[WEFT_SERVICE_MAX + 1];
    weft_format(text, sizeof text, "%.*s", (int) service.size, service.data);
    if (state)
        weft_metric_labels(labels, sizeof labels, "service", text, "state", state, NULL);
    else
        weft_metric_labels(labels, sizeof labels, "service", text, NULL);
    weft_metric_set(weft_metric(WEFT_GAUGE, name, labels, help), value);
}

static int64_t
s_depth(clockwork_db_t *db)
{
    static const char sql[] =
        "SELECT q.service, coalesce(c.queued, 0), coalesce(c.scheduled, 0), coalesce(c.running, 0),"
        " coalesce(greatest(extract(epoch FROM now() - c.oldest)::bigint, 0), 0) FROM weft_job_queue q"
        " LEFT JOIN (SELECT queue, count(*) FILTER (WHERE state IN (0, 3)) AS queued, count(*) FILTER"
        " (WHERE state = 2) AS scheduled, count(*) FILTER (WHERE state = 1) AS running, min(run_at) FILTER"
        " (WHERE state IN (0, 3)) AS oldest FROM weft_job GROUP BY queue) c ON c.queue = q.id";
    static const char depth[] = "weft_jobs_queue_depth";
    static const char depth_help[] = "Jobs that are not done, by service and state.";
    int64_t begun_ms = weft_mono_ms();
    PGresult *rows = clockwork_db_query(db, sql, NULL, 0);
    for (int i = 0; rows && i < PQntuples(rows); i++) {
        weft_span_t service = weft_pg_get_text(rows, i, 0);
        s_gauge(depth, depth_help, service, "queued", weft_pg_get_int(rows, i, 1, 0));
        s_gauge(depth, depth_help, service, "scheduled", weft_pg_get_int(rows, i, 2, 0));
        s_gauge(depth, depth_help, service, "running", weft_pg_get_int(rows, i, 3, 0));
        s_gauge("weft_jobs_oldest_seconds", "Age of the oldest queued job, by service.", service, NULL,
                weft_pg_get_int(rows, i, 4, 0));
    }
    PQclear(rows);
    int64_t cost_ms = (weft_mono_ms() - begun_ms) * DEPTH_COST;
    return rows ? (cost_ms > DEPTH_MS ? cost_ms : DEPTH_MS) : FAILED_MS;
}

/* Whoever holds a snapshot (a dump, a forgotten BEGIN) keeps the dead rows of all tables from being cleared
 * away. */
static int64_t
s_snapshots(maintenance_t *self, clockwork_db_t *db)
{
    static const char sql[] =
        "SELECT extract(epoch FROM now() - xact_start)::bigint, pid, application_name FROM pg_stat_activity"
        " WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
        " ORDER BY xact_start LIMIT 1";
    PGresult *rows = clockwork_db_query(db, sql, NULL, 0);
    int64_t age_s = rows && PQntuples(rows) > 0 ? weft_pg_get_int(rows, 0, 0, 0) : 0;
    weft_metric_set(self->snapshot, age_s);
    if (age_s >= SNAPSHOT_WARN_S && weft_mono_ms() - SNAPSHOT_WARN_AGAIN_MS >= self->warned_at) {
        self->warned_at = weft_mono_ms();
        weft_log_warning("an old transaction keeps dead rows of the queue from being cleared away",
                         WEFT_INT("age_s", age_s), WEFT_INT("pid", weft_pg_get_int(rows, 0, 1, 0)),
                         WEFT_BYTES("application", weft_pg_get_text(rows, 0, 2)));
    }
    PQclear(rows);
    return rows ? SNAPSHOT_MS : FAILED_MS;
}

static bool
s_due(int64_t at_ms)
{
    return weft_mono_ms() >= at_ms;
}

int64_t
maintenance_run(void *context, clockwork_db_t *db)
{
    maintenance_t *self = context;
    if (s_due(self->partitions_at))
        self->partitions_at = weft_mono_ms() + s_partitions(db);
    if (s_due(self->keys_at))
        self->keys_at = weft_mono_ms() + s_keys(self, db);
    if (s_due(self->unique_at))
        self->unique_at = weft_mono_ms() + s_unique(db);
    if (s_due(self->depth_at))
        self->depth_at = weft_mono_ms() + s_depth(db);
    if (s_due(self->snapshot_at))
        self->snapshot_at = weft_mono_ms() + s_snapshots(self, db);
    int64_t next = self->partitions_at;
    const int64_t others[] = { self->keys_at, self->unique_at, self->depth_at, self->snapshot_at };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        next = others[i] < next ? others[i] : next;
    int64_t left = next - weft_mono_ms();
    return left > SHORTEST_MS ? left : SHORTEST_MS;
}
