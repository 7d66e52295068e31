/* schedule_change - deletes, pauses and resumes a schedule */
#include "jobs.h"
#include "schedule.h"
#include "schedule_methods.h"

static const char s_delete_sql[] = "DELETE FROM weft_job_schedule WHERE name = $1 RETURNING name";
static const char s_pause_sql[] =
    "UPDATE weft_job_schedule s SET paused = true, next_at = NULL, serial = nextval('weft_job_serial'),"
    " updated_at = CASE WHEN s.paused THEN s.updated_at ELSE now() END WHERE name = $1"
    " RETURNING " SCHEDULE_COLUMNS;
/* What was due meanwhile was not missed: it was not wanted.  One that is not paused is left as it is. */
#define AT(us) "(timestamptz 'epoch' + " us "::bigint * interval '1 microsecond')"
static const char s_resume_sql[] =
    "UPDATE weft_job_schedule s SET paused = false, serial = nextval('weft_job_serial'),"
    " next_at = CASE WHEN s.paused THEN " AT(
        "$2") " ELSE s.next_at END,"
              " updated_at = CASE WHEN s.paused THEN now() ELSE s.updated_at END"
              " WHERE name = $1 AND s.cron = $3 AND s.zone = $4 RETURNING " SCHEDULE_COLUMNS;
static const char s_times_sql[] = "SELECT cron, zone FROM weft_job_schedule WHERE name = $1";

weft_status_t
schedule_delete(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_text(weft_mp_get_str(weft_input(request), "name")) };
    PGresult *rows = weft_pg_query(request, s_delete_sql, params, 1, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        weft_result_meta(request, "http.status", "204");
    else
        status = schedule_not_found(request);
    PQclear(rows);
    return status;
}

weft_status_t
schedule_pause(weft_request_t *request, void *app)
{
    (void) app;
    return schedule_answer(request, s_pause_sql);
}

weft_status_t
schedule_resume(weft_request_t *request, void *app)
{
    struct jobs *jobs = app;
    weft_status_t status;
    weft_pg_param_t next = weft_pg_null();
    cron_t cron;
    char why[512];
    weft_pg_param_t params[4] = { weft_pg_text(weft_mp_get_str(weft_input(request), "name")) };
    PGresult *times = weft_pg_query(request, s_times_sql, params, 1, &status);
    if (!times)
        return status;
    if (PQntuples(times) == 0)
        status = schedule_not_found(request);
    else if (!cron_parse(weft_pg_get_text(times, 0, 0), &cron, why, sizeof why))
        status = weft_fail(request, WEFT_FAILED_PRECONDITION, "cron: %s", why);
    else
        status = schedule_next(request, &cron, weft_pg_get_text(times, 0, 1), &next);
    if (status == WEFT_OK) {
        params[1] = next;
        params[2] = weft_pg_text(weft_pg_get_text(times, 0, 0));
        params[3] = weft_pg_text(weft_pg_get_text(times, 0, 1));
        PGresult *rows = weft_pg_query(request, s_resume_sql, params, 4, &status);
        if (rows && PQntuples(rows) > 0)
            schedule_pack(weft_result_buf(request), rows, 0);
        else if (rows)
            status = weft_fail(request, WEFT_ABORTED, "the schedule has just been changed: try again");
        PQclear(rows);
    }
    PQclear(times);
    if (status == WEFT_OK)
        clockwork_wake(jobs->clockwork);
    return status;
}
