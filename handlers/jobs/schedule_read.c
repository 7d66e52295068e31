/* schedule_read - GET /v1/schedules/{name}, GET /v1/schedules: one schedule, or all by name */
#include "schedule.h"
#include "schedule_methods.h"

#define LIMIT_DEFAULT 20

static const char s_get_sql[] = "SELECT " SCHEDULE_COLUMNS " FROM weft_job_schedule s WHERE s.name = $1";
/* The cursor is the last name seen. */
static const char s_list_sql[] = "SELECT " SCHEDULE_COLUMNS " FROM weft_job_schedule s"
                                 " WHERE $1::text IS NULL OR s.name > $1::text ORDER BY s.name LIMIT $2";

weft_status_t
schedule_get(weft_request_t *request, void *app)
{
    (void) app;
    return schedule_answer(request, s_get_sql);
}

weft_status_t
schedule_list(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    weft_span_t input = weft_input(request);
    int limit = (int) weft_mp_get_int(input, "limit", LIMIT_DEFAULT);
    const weft_pg_param_t params[] = { weft_pg_text(weft_mp_get_str(input, "cursor")),
                                       weft_pg_int(limit + 1) }; /* one more: there is another page */
    PGresult *rows = weft_pg_query(request, s_list_sql, params, 2, &status);
    if (!rows)
        return status;
    bool more = PQntuples(rows) > limit;
    int count = more ? limit : PQntuples(rows);
    msgpack_packer *pk = weft_result(request);
    msgpack_pack_map(pk, more ? 2 : 1);
    weft_pack_text(pk, "schedules");
    msgpack_pack_array(pk, (size_t) count);
    for (int row = 0; row < count; row++)
        schedule_pack(weft_result_buf(request), rows, row);
    if (more) {
        weft_pack_text(pk, "cursor");
        weft_pack_str(pk, weft_pg_get_text(rows, count - 1, 0));
    }
    PQclear(rows);
    return WEFT_OK;
}
