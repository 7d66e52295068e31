/* lookup - reads one job on a pool thread */
#include "lookup.h"

#include "answer.h"

static const char s_sql[] = "SELECT " RESOURCE_LIVE " FROM " RESOURCE_LIVE_FROM
                            " WHERE j.id = $1::bigint UNION ALL SELECT " RESOURCE_DONE
                            " FROM " RESOURCE_DONE_FROM " WHERE j.id = $1::bigint AND j.expires_at > now()"
                            " LIMIT 1";

int64_t
lookup_id(const weft_request_t *request)
{
    char text[24];
    int64_t id;
    weft_span_t value = weft_mp_get_str(weft_input(request), "id");
    if (value.size == 0 || value.size >= sizeof text)
        return 0;
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    return weft_parse_int(text, 1, INT64_MAX, &id) ? id : 0;
}

PGresult *
lookup_job(weft_request_t *request, int64_t id, weft_status_t *status)
{
    const weft_pg_param_t params[] = { weft_pg_int(id) };
    PGresult *rows = weft_pg_query(request, s_sql, params, 1, status);
    if (rows && PQntuples(rows) == 0) {
        *status = answer_not_found(request, id);
        PQclear(rows);
        return NULL;
    }
    return rows;
}

weft_status_t
lookup_answer(weft_request_t *request, int64_t id, bool include_input)
{
    weft_status_t status;
    resource_t job;
    PGresult *rows = lookup_job(request, id, &status);
    if (!rows)
        return status;
    if (resource_read(rows, 0, &job)) {
        answer_resource(request, &job, false, include_input);
        resource_fini(&job);
    } else {
        status = weft_fail(request, WEFT_INTERNAL, "out of memory");
    }
    PQclear(rows);
    return status;
}
