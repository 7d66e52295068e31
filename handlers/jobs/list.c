/* list - GET /v1/jobs: jobs, newest first, page by page */
#include <weft/wire.h>

#include "jobs.h"
#include "methods.h"
#include "resource.h"

#define LIMIT_DEFAULT 20
#define PAGE_BYTES 1048576u /* a page ends early rather than that it does not fit a frame */

/* The cursor is the id of the last job seen.  A queue that is asked for and unknown has the id 0: no rows.
 * States of one half of the union make the other empty at once. */
#define FILTERS                                                                                              \
    " WHERE ($1::bigint IS NULL OR j.id < $1::bigint) AND ($2::integer IS NULL OR j.queue = $2::integer)"    \
    " AND ($3::text IS NULL OR m.name = $3::text) AND ($4::smallint[] IS NULL OR j.state = ANY($4))"         \
    " AND ($5::timestamptz IS NULL OR j.created_at > $5) AND ($6::timestamptz IS NULL OR j.created_at < $6)"
static const char s_sql[] = "(SELECT " RESOURCE_LIVE " FROM " RESOURCE_LIVE_FROM FILTERS
                            " ORDER BY j.id DESC LIMIT $7) UNION ALL (SELECT " RESOURCE_DONE
                            " FROM " RESOURCE_DONE_FROM FILTERS
                            " AND j.expires_at > now() ORDER BY j.id DESC LIMIT $7) ORDER BY 1 DESC LIMIT $7";

/* As an array of weft_job.state; NULL: any. */
static const char *
s_states(weft_span_t state)
{
    static const struct {
        const char *name, *states;
    } rows[] = { { "queued", "{0,3}" },  { "running", "{1}" }, { "scheduled", "{2}" },
                 { "succeeded", "{4}" }, { "failed", "{5}" },  { "cancelled", "{6}" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (weft_span_equal(state, weft_span(rows[i].name)))
            return rows[i].states;
    }
    return NULL;
}

/* As many jobs as the page holds; their count.  *last_id is that of the last. */
static int
s_pack_jobs(const PGresult *rows, int limit, weft_buf_t *out, int64_t *last_id)
{
    int count = 0;
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    while (count < PQntuples(rows) && count < limit) {
        resource_t job;
        size_t before = out->size;
        if (!resource_read(rows, count, &job)) {
            out->failed = true;
            return count;
        }
        resource_pack_map(&job, &pk, false);
        int64_t id = job.id;
        resource_fini(&job);
        if (count > 0 && out->size > PAGE_BYTES) {
            out->size = before;
            break;
        }
        *last_id = id;
        count++;
    }
    return count;
}

static void
s_pack_page(weft_request_t *request, const PGresult *rows, int limit)
{
    weft_buf_t jobs;
    char cursor[24];
    int64_t last_id = 0;
    msgpack_packer *pk = weft_result(request);
    weft_buf_init(&jobs, WEFT_FRAME_MAX);
    int count = s_pack_jobs(rows, limit, &jobs, &last_id);
    bool more = PQntuples(rows) > count;
    msgpack_pack_map(pk, more ? 2 : 1);
    weft_pack_text(pk, "jobs");
    msgpack_pack_array(pk, (size_t) count);
    (void) weft_buf_add(weft_result_buf(request), jobs.data, jobs.size);
    if (jobs.failed)
        weft_result_buf(request)->failed = true; /* answered as an error by the SDK */
    if (more) {
        weft_pack_text(pk, "cursor");
        weft_pack_text(pk, weft_format(cursor, sizeof cursor, "%lld", (long long) last_id));
    }
    weft_buf_fini(&jobs);
}

weft_status_t
jobs_list(weft_request_t *request, void *app)
{
    struct jobs *jobs = app;
    weft_status_t status;
    weft_span_t input = weft_input(request);
    weft_span_t service = weft_mp_get_str(input, "service");
    int limit = (int) weft_mp_get_int(input, "limit", LIMIT_DEFAULT);
    const weft_pg_param_t params[] = {
        weft_pg_text(weft_mp_get_str(input, "cursor")), /* absent: SQL NULL, as all of these */
        service.data ? weft_pg_int(directory_queue(jobs->directory, service)) : weft_pg_null(),
        weft_pg_text(weft_mp_get_str(input, "method")),
        weft_pg_text(weft_span(s_states(weft_mp_get_str(input, "state")))),
        weft_pg_text(weft_mp_get_str(input, "created_after")),
        weft_pg_text(weft_mp_get_str(input, "created_before")),
        weft_pg_int(limit + 1),
    };
    PGresult *rows = weft_pg_query(request, s_sql, params, sizeof params / sizeof params[0], &status);
    if (!rows)
        return status;
    s_pack_page(request, rows, limit);
    PQclear(rows);
    return WEFT_OK;
}
