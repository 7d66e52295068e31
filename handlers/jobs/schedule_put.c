/* schedule_put - PUT /v1/schedules/{name}, POST /v1/schedules: makes a schedule, or replaces it */
#include "callback.h"
#include "jobs.h"
#include "schedule.h"
#include "schedule_methods.h"

#define OPTIONS_MAX 65536 /* bytes */

/* The same schedule put again, as each deploy does, keeps its next time: what is due just now is not lost.  A
 * paused one has none.  `paused` left out: as it was. */
#define AT(us) "(timestamptz 'epoch' + " us "::bigint * interval '1 microsecond')"
static const char s_put_sql[] =
    "INSERT INTO weft_job_schedule AS s (name, cron, zone, service, method, missed, paused, input, options, "
    "next_at)"
    " SELECT $1, $2, $3, $4, $5, $6, coalesce($7::boolean, false), $8, $9,"
    " CASE WHEN coalesce($7::boolean, false) THEN NULL ELSE " AT(
        "$10") " END"
               " ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, zone = excluded.zone, service = "
               "excluded.service,"
               " method = excluded.method, missed = excluded.missed, paused = coalesce($7::boolean, "
               "s.paused),"
               " input = excluded.input, options = excluded.options, updated_at = now(),"
               " serial = nextval('weft_job_serial'),"
               " next_at = CASE WHEN coalesce($7::boolean, s.paused) THEN NULL"
               " WHEN s.next_at IS NOT NULL AND s.cron = excluded.cron AND s.zone = excluded.zone THEN "
               "s.next_at"
               " ELSE " AT("$10") " END RETURNING " SCHEDULE_COLUMNS ", xmax = 0";

/* Zones by name only: what PostgreSQL takes beyond ("UTC+3", which lies west) surprises.  As it is written
 * there. */
static weft_status_t
s_zone(weft_request_t *request, char *zone, size_t size)
{
    weft_status_t status;
    weft_span_t wanted = weft_mp_get_str(weft_input(request), "zone");
    weft_format(zone, size, "UTC");
    if (!wanted.data || weft_span_equal(wanted, weft_span("UTC")))
        return WEFT_OK;
    const weft_pg_param_t params[] = { weft_pg_text(wanted) };
    PGresult *rows = weft_pg_query(request,
                                   "SELECT name FROM pg_timezone_names WHERE lower(name) = lower($1) LIMIT 1",
                                   params, 1, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        weft_format(zone, size, "%s", PQgetvalue(rows, 0, 0));
    else
        status = weft_fail(request, WEFT_INVALID_ARGUMENT, "zone: there is no time zone \"%.*s\"",
                           (int) wanted.size, wanted.data);
    PQclear(rows);
    return status;
}

static void
s_pack_raw(weft_buf_t *out, msgpack_packer *pk, const char *key, weft_span_t value)
{
    weft_pack_text(pk, key);
    weft_buf_add(out, value.data, value.size);
}

/* What its jobs will have, and on whose behalf: that of the one who put it. */
static bool
s_options(weft_request_t *request, const weft_job_options_t *method, weft_buf_t *out)
{
    static const char *const fields[] = { "priority", "max_attempts", "timeout_ms", "unique_key",
                                          "callback_url" };
    static const char *const caller[] = { "tenant", "auth.sub", "auth.scopes" };
    weft_span_t input = weft_input(request);
    msgpack_packer pk;
    size_t count = (size_t) (method->max_attempts > 0) + (size_t) (method->timeout_ms > 0);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        count += weft_mp_get(input, fields[i]).data != NULL;
    for (size_t i = 0; i < sizeof caller / sizeof caller[0]; i++)
        count += weft_request_meta(request, caller[i]).data != NULL;
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, count);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        weft_span_t value = weft_mp_get(input, fields[i]);
        if (value.data)
            s_pack_raw(out, &pk, fields[i], value);
    }
    for (size_t i = 0; i < sizeof caller / sizeof caller[0]; i++) {
        weft_span_t value = weft_request_meta(request, caller[i]);
        if (value.data) {
            weft_pack_text(&pk, caller[i]);
            weft_pack_str(&pk, value);
        }
    }
    /* What the method says of its jobs, for what is not said here; it can tell no more when a time has come.
     */
    if (method->max_attempts > 0) {
        weft_pack_text(&pk, "method.max_attempts");
        msgpack_pack_uint32(&pk, method->max_attempts);
    }
    if (method->timeout_ms > 0) {
        weft_pack_text(&pk, "method.timeout_ms");
        msgpack_pack_uint32(&pk, method->timeout_ms);
    }
    return !out->failed;
}

static weft_status_t
s_store(weft_request_t *request, const char *zone, const weft_pg_param_t *next, weft_span_t target_input,
        const weft_job_options_t *method)
{
    weft_status_t status;
    weft_span_t input = weft_input(request), missed = weft_mp_get_str(input, "missed");
    weft_buf_t options;
    weft_buf_init(&options, OPTIONS_MAX);
    if (!s_options(request, method, &options)) {
        weft_buf_fini(&options);
        return weft_fail(request, WEFT_INTERNAL, "out of memory");
    }
    const weft_pg_param_t params[] = {
        weft_pg_text(weft_mp_get_str(input, "name")),
        weft_pg_text(weft_mp_get_str(input, "cron")),
        weft_pg_text(weft_span(zone)),
        weft_pg_text(weft_mp_get_str(input, "service")),
        weft_pg_text(weft_mp_get_str(input, "method")),
        weft_pg_text(missed.data ? missed : weft_span("once")),
        weft_mp_get(input, "paused").data ? weft_pg_bool(weft_mp_get_bool(input, "paused", false))
                                          : weft_pg_null(),
        weft_pg_bytes(target_input),
        weft_pg_bytes(weft_buf_span(&options)),
        *next,
    };
    PGresult *rows = weft_pg_query(request, s_put_sql, params, sizeof params / sizeof params[0], &status);
    weft_buf_fini(&options);
    if (!rows)
        return status;
    schedule_pack(weft_result_buf(request), rows, 0);
    if (weft_pg_get_bool(rows, 0, SCHEDULE_COLUMN_COUNT)) {
        char location[160];
        weft_result_meta(request, "http.status", "201");
        weft_result_meta(request, "http.location",
                         weft_format(location, sizeof location, "/v1/schedules/%s", PQgetvalue(rows, 0, 0)));
    }
    PQclear(rows);
    return WEFT_OK;
}

weft_status_t
schedule_put(weft_request_t *request, void *app)
{
    static const char nothing[] = "\x80"; /* {} */
    struct jobs *jobs = app;
    weft_span_t input = weft_input(request), target_input = weft_mp_get(input, "input");
    weft_span_t url = weft_mp_get_str(input, "callback_url");
    directory_target_t target;
    weft_pg_param_t next;
    cron_t cron;
    char why[512], zone[80];
    if (!cron_parse(weft_mp_get_str(input, "cron"), &cron, why, sizeof why))
        return weft_fail(request, WEFT_INVALID_ARGUMENT, "cron: %s", why);
    if (!target_input.data)
        target_input = (weft_span_t){ nothing, 1 };
    weft_status_t status = directory_check(jobs->directory, request, weft_mp_get_str(input, "service"),
                                           weft_mp_get_str(input, "method"), target_input, &target);
    if (status == WEFT_OK && url.data)
        status = callback_admit(&jobs->policy, request, url);
    if (status == WEFT_OK)
        status = s_zone(request, zone, sizeof zone);
    if (status == WEFT_OK)
        status = schedule_next(request, &cron, weft_span(zone), &next);
    if (status == WEFT_OK)
        status = s_store(request, zone, &next, target_input, &target.job);
    if (status == WEFT_OK)
        clockwork_wake(jobs->clockwork); /* it may be due sooner than what is waited for */
    return status;
}
