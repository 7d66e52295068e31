/* schedule_fire - fires schedules when they are due: each time once, however many replicas look */
#include "schedule_fire.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "job.h"

#define LOOK_MS 500      /* between looks, for what others changed */
#define LOOK_AGAIN_MS 20 /* there is more, or it is about to come */
#define OUTAGE_MS 1000   /* the database is away */
#define BATCH "100"      /* schedules of one look */

struct schedule_fire {
    schedule_fire_config_t config;
    weft_metric_t *fired, *missed, *collapsed;
};

schedule_fire_t *
schedule_fire_new(const schedule_fire_config_t *config)
{
    schedule_fire_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->fired = weft_metric(WEFT_COUNTER, "weft_jobs_schedule_jobs_total", "", "Jobs made by schedules.");
    self->missed = weft_metric(WEFT_COUNTER, "weft_jobs_schedule_missed_total", "",
                               "Times of schedules that made no job because they were noticed too late.");
    self->collapsed = weft_metric(WEFT_COUNTER, "weft_jobs_schedule_unique_total", "",
                                  "Times of schedules that made no job because their unique_key was in use.");
    return self;
}

void
schedule_fire_destroy(schedule_fire_t **self_p)
{
    assert(self_p);
    free(*self_p);
    *self_p = NULL;
}

/* ---- a job of a schedule ---- */

void
schedule_job_read(weft_span_t options, schedule_job_t *job)
{
    job->priority = (int32_t) weft_mp_get_int(options, "priority", JOB_PRIORITY_DEFAULT);
    int64_t max_attempts = weft_mp_get_int(options, "method.max_attempts", JOB_MAX_ATTEMPTS_DEFAULT);
    int64_t timeout_ms = weft_mp_get_int(options, "method.timeout_ms", JOB_TIMEOUT_DEFAULT_MS);
    job->max_attempts = (int32_t) weft_mp_get_int(options, "max_attempts", max_attempts);
    job->timeout_ms = (int32_t) weft_mp_get_int(options, "timeout_ms", timeout_ms);
    job->unique_key = weft_mp_get_str(options, "unique_key");
    job->flags = (job->unique_key.data ? JOB_FLAG_UNIQUE : 0) |
                 (weft_mp_get_str(options, "callback_url").data ? JOB_FLAG_CALLBACK : 0);
}

static void
s_pack_pair(msgpack_packer *pk, const char *key, weft_span_t value)
{
    weft_pack_text(pk, key);
    weft_pack_str(pk, value);
}

bool
schedule_job_options(weft_span_t options, weft_span_t name, int64_t due_us, weft_buf_t *out)
{
    static const char *const kept[] = { "unique_key", "callback_url", "tenant", "auth.sub", "auth.scopes" };
    char key[256], due[32] = "";
    weft_buf_t bytes;
    msgpack_packer pk;
    struct tm tm;
    time_t seconds = (time_t) (due_us / 1000000);
    size_t count = 2;
    if (gmtime_r(&seconds, &tm))
        (void) strftime(due, sizeof due, "%Y-%m-%dT%H:%M:%SZ", &tm);
    weft_buf_init(&bytes, 65536);
    msgpack_packer_init(&pk, &bytes, weft_buf_write);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        count += weft_mp_get_str(options, kept[i]).data != NULL;
    msgpack_pack_map(&pk, count);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        weft_span_t value = weft_mp_get_str(options, kept[i]);
        if (value.data)
            s_pack_pair(&pk, kept[i], value);
    }
    s_pack_pair(&pk, "schedule", name);
    /* Tells the handler which time it was; the same however often that one is attempted. */
    s_pack_pair(&pk, "idempotency.key",
                weft_span(weft_format(key, sizeof key, "schedule:%.*s:%s", (int) name.size, name.data, due)));
    bool good = !bytes.failed;
    for (size_t i = 0; good && i < bytes.size; i++)
        good = weft_buf_addf(out, "%02x", (unsigned) (unsigned char) bytes.data[i]);
    weft_buf_fini(&bytes);
    return good;
}

/* ---- firing ---- */

enum { NAME, CRON, ZONE, MISSED, OPTIONS, NEXT_US, SERIAL, NOW_US };
static const char s_due_sql[] = "SELECT s.name, s.cron, s.zone, s.missed, encode(s.options, 'hex'),"
                                " (extract(epoch FROM s.next_at) * 1000000)::bigint, s.serial,"
                                " (extract(epoch FROM now()) * 1000000)::bigint"
                                " FROM weft_job_schedule s JOIN weft_job_queue q ON q.service = s.service"
                                " JOIN weft_job_method m ON m.queue = q.id AND m.name = s.method"
                                " WHERE NOT s.paused AND s.next_at <= now() ORDER BY s.next_at LIMIT " BATCH;

static const char s_wait_sql[] =
    "SELECT ceil(extract(epoch FROM min(next_at) - clock_timestamp()) * 1000)::bigint"
    " FROM weft_job_schedule WHERE NOT paused";

/* $1 name, $2 next_at as it was seen, $3 serial, $10 the new next_at or NULL, $11 last_at or NULL. */
#define AT(us) "(timestamptz 'epoch' + " us "::bigint * interval '1 microsecond')"
static const char s_fire_sql[] =
    "WITH due AS MATERIALIZED (SELECT s.name, q.id AS queue, m.id AS method, s.input"
    " FROM weft_job_schedule s JOIN weft_job_queue q ON q.service = s.service"
    " JOIN weft_job_method m ON m.queue = q.id AND m.name = s.method"
    " WHERE s.name = $1 AND s.next_at = " AT(
        "$2") " AND s.serial = $3::bigint AND NOT s.paused"
              " FOR UPDATE OF s SKIP LOCKED)" SCHEDULE_INSERT
              " UPDATE weft_job_schedule s SET next_at = " AT("$10") ", last_at = coalesce(" AT(
                  "$11") ", s.last_at),"
                         " last_job = coalesce((SELECT max(id) FROM made), s.last_job) FROM due WHERE s.name "
                         "= due.name"
                         " RETURNING due.queue, (SELECT count(*) FROM made)";

static const char s_stop_sql[] =
    "UPDATE weft_job_schedule SET next_at = NULL WHERE name = $1 AND serial = $2::bigint";

/* Hexadecimal text (of encode) in place. */
static weft_span_t
s_bytes(char *hex)
{
    size_t size = strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        unsigned byte = 0;
        for (size_t j = 2 * i; j < 2 * i + 2; j++)
            byte = byte << 4 | (unsigned) (hex[j] <= '9' ? hex[j] - '0' : hex[j] - 'a' + 10);
        hex[i] = (char) byte;
    }
    return (weft_span_t){ hex, size };
}

/* A schedule whose next time cannot be found: stopped, or it would be tried for ever. */
static void
s_stop(clockwork_db_t *db, const PGresult *rows, int row, const char *why)
{
    const weft_pg_param_t params[] = { weft_pg_text(weft_pg_get_text(rows, row, NAME)),
                                       weft_pg_text(weft_pg_get_text(rows, row, SERIAL)) };
    weft_log_error("could not find the next time of a schedule: it is stopped",
                   WEFT_BYTES("schedule", weft_pg_get_text(rows, row, NAME)), WEFT_STR("reason", why));
    PQclear(clockwork_db_query(db, s_stop_sql, params, 2));
}

/* Leaves of the times that are due those that make a job; returns how many do not. */
static uint32_t
s_apply_policy(weft_span_t missed, int64_t now_us, schedule_plan_t *plan)
{
    uint32_t before = plan->due_count;
    if (weft_span_equal(missed, weft_span("all")))
        return 0;
    plan->due_us[0] = plan->due_us[plan->due_count - 1];
    plan->due_count = 1;
    if (weft_span_equal(missed, weft_span("skip")) && plan->due_us[0] < now_us - SCHEDULE_LATE_MS * 1000ll)
        plan->due_count = 0;
    return before - plan->due_count;
}

static bool
s_options_array(weft_span_t options, weft_span_t name, const schedule_plan_t *plan, weft_buf_t *out)
{
    bool good = weft_buf_add_char(out, '{');
    for (uint32_t i = 0; good && i < plan->due_count; i++)
        good = (i == 0 || weft_buf_add_char(out, ',')) &&
               schedule_job_options(options, name, plan->due_us[i], out);
    return good && weft_buf_add_char(out, '}');
}

static void
s_fire(schedule_fire_t *self, clockwork_db_t *db, const PGresult *rows, int row, weft_span_t options,
       const schedule_plan_t *plan, uint32_t dropped, int64_t last_us)
{
    weft_span_t name = weft_pg_get_text(rows, row, NAME);
    schedule_job_t job;
    schedule_job_read(options, &job);
    weft_buf_t array;
    weft_buf_init(&array, 16u << 20);
    if (s_options_array(options, name, plan, &array)) {
        const weft_pg_param_t params[] = {
            weft_pg_text(name),
            weft_pg_text(weft_pg_get_text(rows, row, NEXT_US)),
            weft_pg_text(weft_pg_get_text(rows, row, SERIAL)),
            weft_pg_int(job.priority),
            weft_pg_int(job.max_attempts),
            weft_pg_int(job.timeout_ms),
            weft_pg_int(job.flags),
            weft_pg_text(job.unique_key),
            weft_pg_text(weft_buf_span(&array)),
            plan->next_us == INT64_MAX ? weft_pg_null() : weft_pg_int(plan->next_us),
            weft_pg_int(last_us),
        };
        PGresult *fired = clockwork_db_query(db, s_fire_sql, params, sizeof params / sizeof params[0]);
        if (fired && PQntuples(fired) > 0) { /* else another replica did it */
            int64_t made = weft_pg_get_int(fired, 0, 1, 0);
            weft_metric_add(self->fired, made);
            weft_metric_add(self->missed, dropped);
            weft_metric_add(self->collapsed, plan->due_count - made);
            if (dropped > 0 || plan->more)
                weft_log_warning("schedule was late: times were left out", WEFT_BYTES("schedule", name),
                                 WEFT_UINT("left_out", dropped), WEFT_BOOL("more", plan->more),
                                 WEFT_INT("jobs", made));
            if (made > 0 && self->config.poke)
                self->config.poke(self->config.context, (int32_t) weft_pg_get_int(fired, 0, 0, 0));
        }
        PQclear(fired);
    }
    weft_buf_fini(&array);
}

static PGresult *
s_query(void *context, const char *sql, const weft_pg_param_t *params, int count)
{
    return clockwork_db_query(context, sql, params, count);
}

static void
s_look_at(schedule_fire_t *self, clockwork_db_t *db, const PGresult *rows, int row)
{
    const schedule_sql_t sql = { s_query, db };
    schedule_plan_t plan;
    cron_t cron;
    char why[512];
    if (!cron_parse(weft_pg_get_text(rows, row, CRON), &cron, why, sizeof why)) {
        s_stop(db, rows, row, why);
        return;
    }
    int64_t now_us = weft_pg_get_int(rows, row, NOW_US, 0), next_us = weft_pg_get_int(rows, row, NEXT_US, 0);
    if (!schedule_plan(&sql, &cron, weft_pg_get_text(rows, row, ZONE), next_us, now_us, &plan)) {
        if (strncmp(clockwork_db_sqlstate(db), "22", 2) == 0) /* a zone that is known no more */
            s_stop(db, rows, row, "the database does not know its zone");
        return;
    }
    if (plan.due_count == 0) /* the rules of the zone have changed since: what was planned counts */
        plan.due_us[plan.due_count++] = next_us;
    int64_t last_us = plan.due_us[plan.due_count - 1];
    uint32_t dropped = s_apply_policy(weft_pg_get_text(rows, row, MISSED), now_us, &plan);
    char *hex = strdup(PQgetvalue(rows, row, OPTIONS));
    if (hex)
        s_fire(self, db, rows, row, s_bytes(hex), &plan, dropped, last_us);
    free(hex);
}

int64_t
schedule_fire_run(void *context, clockwork_db_t *db)
{
    schedule_fire_t *self = context;
    PGresult *rows = clockwork_db_query(db, s_due_sql, NULL, 0);
    if (!rows)
        return OUTAGE_MS;
    int count = PQntuples(rows);
    for (int row = 0; row < count; row++)
        s_look_at(self, db, rows, row);
    PQclear(rows);
    rows = clockwork_db_query(db, s_wait_sql, NULL, 0);
    int64_t wait_ms = rows ? weft_pg_get_int(rows, 0, 0, LOOK_MS) : OUTAGE_MS;
    PQclear(rows);
    if (wait_ms > LOOK_MS)
        return LOOK_MS;
    return wait_ms > 0 ? wait_ms : LOOK_AGAIN_MS;
}
