/* schedule_run - POST /v1/schedules/{name}/run: a job of a schedule, now; its times stay as they are */
#include "jobs.h"
#include "resource.h"
#include "schedule.h"
#include "schedule_fire.h"
#include "schedule_methods.h"

enum { SERVICE, METHOD, INPUT, OPTIONS, NOW_US };
static const char s_read_sql[] =
    "SELECT s.service, s.method, encode(s.input, 'hex'), encode(s.options, 'hex'), " SCHEDULE_US(
        "now()") " FROM weft_job_schedule s WHERE s.name = $1 FOR UPDATE";

/* $2, $3: ids of the queue and the method, as $1 is not used by SCHEDULE_INSERT. */
static const char s_run_sql[] =
    "WITH due AS MATERIALIZED (SELECT $2::integer AS queue, $3::integer AS method, s.input"
    " FROM weft_job_schedule s WHERE s.name = $1)" SCHEDULE_INSERT
    " UPDATE weft_job_schedule s SET last_job = made.id FROM made WHERE s.name = $1 RETURNING made.id";
static const char s_holder_sql[] = "SELECT job FROM weft_job_unique WHERE queue = $1::integer AND key = $2";

static const char s_job_sql[] = "SELECT " RESOURCE_LIVE " FROM " RESOURCE_LIVE_FROM " WHERE j.id = $1::bigint"
                                " UNION ALL SELECT " RESOURCE_DONE " FROM " RESOURCE_DONE_FROM
                                " WHERE j.id = $1::bigint LIMIT 1";

typedef struct {
    struct jobs *jobs;
    int32_t queue; /* out */
} run_t;

static weft_status_t
s_answer(weft_request_t *request, int64_t id, bool replayed)
{
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_int(id) };
    PGresult *rows = weft_pg_query(request, s_job_sql, params, 1, &status);
    if (!rows)
        return status;
    resource_t job;
    if (PQntuples(rows) == 0) {
        status = weft_fail(request, WEFT_ABORTED,
                           "the job that has the unique_key has just ended: try again");
    } else if (!resource_read(rows, 0, &job)) {
        status = weft_fail(request, WEFT_INTERNAL, "out of memory");
    } else {
        char location[64];
        weft_buf_t pairs;
        msgpack_packer inner;
        weft_buf_init(&pairs, WEFT_FRAME_MAX);
        msgpack_packer_init(&inner, &pairs, weft_buf_write);
        uint32_t count = resource_pack_pairs(&job, &inner);
        if (replayed) {
            weft_pack_text(&inner, "replayed");
            msgpack_pack_true(&inner);
        }
        msgpack_pack_map(weft_result(request), count + replayed);
        weft_buf_add(weft_result_buf(request), pairs.data, pairs.size);
        weft_buf_fini(&pairs);
        resource_fini(&job);
        weft_result_meta(request, "http.status", "202");
        weft_result_meta(request, "http.location",
                         weft_format(location, sizeof location, "/v1/jobs/%lld", (long long) id));
    }
    PQclear(rows);
    return status;
}

static weft_status_t
s_insert(weft_request_t *request, run_t *run, const directory_target_t *target, weft_span_t options,
         int64_t now_us)
{
    weft_status_t status;
    weft_span_t name = weft_mp_get_str(weft_input(request), "name");
    schedule_job_t job;
    weft_buf_t array;
    schedule_job_read(options, &job);
    weft_buf_init(&array, 1u << 20);
    if (!weft_buf_add_char(&array, '{') || !schedule_job_options(options, name, now_us, &array) ||
        !weft_buf_add_char(&array, '}')) {
        weft_buf_fini(&array);
        return weft_fail(request, WEFT_INTERNAL, "out of memory");
    }
    const weft_pg_param_t params[] = {
        weft_pg_text(name),        weft_pg_int(target->queue),    weft_pg_int(target->method),
        weft_pg_int(job.priority), weft_pg_int(job.max_attempts), weft_pg_int(job.timeout_ms),
        weft_pg_int(job.flags),    weft_pg_text(job.unique_key),  weft_pg_text(weft_buf_span(&array)),
    };
    PGresult *rows = weft_pg_query(request, s_run_sql, params, sizeof params / sizeof params[0], &status);
    weft_buf_fini(&array);
    if (!rows)
        return status;
    bool replayed = PQntuples(rows) == 0;
    if (replayed) { /* the unique_key is in use */
        const weft_pg_param_t holder[] = { weft_pg_int(target->queue), weft_pg_text(job.unique_key) };
        PQclear(rows);
        rows = weft_pg_query(request, s_holder_sql, holder, 2, &status);
        if (!rows)
            return status;
    } else {
        run->queue = target->queue;
    }
    status = s_answer(request, PQntuples(rows) > 0 ? weft_pg_get_int(rows, 0, 0, 0) : 0, replayed);
    PQclear(rows);
    return status;
}

/* In a transaction: the job is read before anybody can have run it. */
static weft_status_t
s_run(weft_request_t *request, void *app)
{
    run_t *run = app;
    weft_status_t status;
    directory_target_t target;
    weft_buf_t input, options;
    const weft_pg_param_t params[] = { weft_pg_text(weft_mp_get_str(weft_input(request), "name")) };
    PGresult *rows = weft_pg_query(request, s_read_sql, params, 1, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) == 0) {
        PQclear(rows);
        return schedule_not_found(request);
    }
    weft_buf_init(&input, WEFT_FRAME_MAX);
    weft_buf_init(&options, WEFT_FRAME_MAX);
    run->queue = 0;
    if (!schedule_unhex(weft_pg_get_text(rows, 0, INPUT), &input) ||
        !schedule_unhex(weft_pg_get_text(rows, 0, OPTIONS), &options))
        status = weft_fail(request, WEFT_INTERNAL, "out of memory");
    if (status == WEFT_OK)
        status = directory_check(run->jobs->directory, request, weft_pg_get_text(rows, 0, SERVICE),
                                 weft_pg_get_text(rows, 0, METHOD), weft_buf_span(&input), &target);
    if (status == WEFT_OK)
        status = s_insert(request, run, &target, weft_buf_span(&options),
                          weft_pg_get_int(rows, 0, NOW_US, 0));
    weft_buf_fini(&input);
    weft_buf_fini(&options);
    PQclear(rows);
    return status;
}

weft_status_t
schedule_run(weft_request_t *request, void *app)
{
    run_t run = { app, 0 };
    weft_status_t status = weft_pg_transaction(request, s_run, &run);
    if (status == WEFT_OK && run.queue > 0)
        loop_poke(run.jobs->loop, run.queue);
    return status;
}
