/* schedule - a schedule as a row of the database and as a value on the wire */
#include "schedule.h"

#include "instant.h"

enum {
    NAME,
    CRON,
    ZONE,
    SERVICE,
    METHOD,
    MISSED,
    PAUSED,
    LAST_JOB,
    NEXT_US,
    LAST_US,
    CREATED_US,
    UPDATED_US,
    OPTIONS,
    INPUT,
    COLUMNS
}; /* the order of SCHEDULE_COLUMNS */
_Static_assert(COLUMNS == SCHEDULE_COLUMN_COUNT, "a name for each column");

bool
schedule_unhex(weft_span_t hex, weft_buf_t *out)
{
    bool good = true;
    for (size_t i = 0; good && i + 1 < hex.size; i += 2) {
        unsigned byte = 0;
        for (size_t j = i; j < i + 2; j++)
            byte = byte << 4 | (unsigned) (hex.data[j] <= '9' ? hex.data[j] - '0' : hex.data[j] - 'a' + 10);
        good = weft_buf_add_char(out, (char) byte);
    }
    return good;
}

/* ---- packing ---- */

typedef struct {
    weft_buf_t *pairs;
    msgpack_packer pk;
    uint32_t count;
} map_t;

static void
s_key(map_t *self, const char *key)
{
    weft_pack_text(&self->pk, key);
    self->count++;
}

static void
s_text(map_t *self, const char *key, weft_span_t text)
{
    if (text.data) {
        s_key(self, key);
        weft_pack_str(&self->pk, text);
    }
}

static void
s_instant(map_t *self, const char *key, const PGresult *rows, int row, int column)
{
    char text[INSTANT_TEXT];
    int64_t us = weft_pg_get_int(rows, row, column, INSTANT_NONE);
    if (us != INSTANT_NONE)
        s_text(self, key, weft_span(instant_text(us, text)));
}

/* What the options say to callers; who made the schedule stays inside. */
static void
s_options(map_t *self, weft_span_t options)
{
    static const char *const numbers[] = { "priority", "max_attempts", "timeout_ms" };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (weft_mp_get(options, numbers[i]).data) {
            s_key(self, numbers[i]);
            msgpack_pack_int64(&self->pk, weft_mp_get_int(options, numbers[i], 0));
        }
    }
    s_text(self, "unique_key", weft_mp_get_str(options, "unique_key"));
    s_text(self, "callback_url", weft_mp_get_str(options, "callback_url"));
}

void
schedule_pack(weft_buf_t *out, const PGresult *rows, int row)
{
    weft_buf_t pairs, options;
    weft_buf_init(&pairs, WEFT_FRAME_MAX);
    weft_buf_init(&options, WEFT_FRAME_MAX);
    map_t map = { &pairs, { 0 }, 0 };
    msgpack_packer_init(&map.pk, &pairs, weft_buf_write);
    s_text(&map, "name", weft_pg_get_text(rows, row, NAME));
    s_text(&map, "cron", weft_pg_get_text(rows, row, CRON));
    s_text(&map, "zone", weft_pg_get_text(rows, row, ZONE));
    s_text(&map, "service", weft_pg_get_text(rows, row, SERVICE));
    s_text(&map, "method", weft_pg_get_text(rows, row, METHOD));
    s_key(&map, "input");
    bool good = schedule_unhex(weft_pg_get_text(rows, row, INPUT), &pairs) &&
                schedule_unhex(weft_pg_get_text(rows, row, OPTIONS), &options);
    s_text(&map, "missed", weft_pg_get_text(rows, row, MISSED));
    s_key(&map, "paused");
    if (weft_pg_get_bool(rows, row, PAUSED))
        msgpack_pack_true(&map.pk);
    else
        msgpack_pack_false(&map.pk);
    s_options(&map, weft_buf_span(&options));
    s_instant(&map, "next_at", rows, row, NEXT_US);
    s_instant(&map, "last_at", rows, row, LAST_US);
    s_text(&map, "last_job", weft_pg_get_text(rows, row, LAST_JOB));
    s_instant(&map, "created_at", rows, row, CREATED_US);
    s_instant(&map, "updated_at", rows, row, UPDATED_US);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, map.count);
    if (!good || pairs.failed || !weft_buf_add(out, pairs.data, pairs.size))
        out->failed = true;
    weft_buf_fini(&pairs);
    weft_buf_fini(&options);
}

/* ---- what the methods share ---- */

weft_status_t
schedule_not_found(weft_request_t *request)
{
    weft_span_t name = weft_mp_get_str(weft_input(request), "name");
    return weft_fail(request, WEFT_NOT_FOUND, "there is no schedule \"%.*s\"", (int) name.size, name.data);
}

weft_status_t
schedule_answer(weft_request_t *request, const char *sql)
{
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_text(weft_mp_get_str(weft_input(request), "name")) };
    PGresult *rows = weft_pg_query(request, sql, params, 1, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        schedule_pack(weft_result_buf(request), rows, 0);
    else
        status = schedule_not_found(request);
    PQclear(rows);
    return status;
}

PGresult *
schedule_query(void *context, const char *sql, const weft_pg_param_t *params, int count)
{
    schedule_query_t *self = context;
    return weft_pg_query(self->request, sql, params, count, &self->status);
}

weft_status_t
schedule_next(weft_request_t *request, const cron_t *cron, weft_span_t zone, weft_pg_param_t *next)
{
    schedule_query_t query = { request, WEFT_OK };
    const schedule_sql_t sql = { schedule_query, &query };
    schedule_plan_t plan;
    PGresult *rows = weft_pg_query(request, "SELECT " SCHEDULE_US("now()"), NULL, 0, &query.status);
    if (!rows)
        return query.status;
    int64_t now_us = weft_pg_get_int(rows, 0, 0, 0);
    PQclear(rows);
    if (!schedule_plan(&sql, cron, zone, INT64_MAX, now_us, &plan))
        return query.status != WEFT_OK ? query.status : weft_fail(request, WEFT_INTERNAL, "out of memory");
    *next = plan.next_us == INT64_MAX ? weft_pg_null() : weft_pg_int(plan.next_us);
    return WEFT_OK;
}
