/* schedule - a schedule as a row of the database and as a value on the wire (README.md, "Methods") */
#ifndef JOBS_SCHEDULE_H
#define JOBS_SCHEDULE_H

#include <weft/pg.h>

#include "schedule_time.h"

/* clang-format off */
#define SCHEDULE_US(column) "(extract(epoch FROM " column ") * 1000000)::bigint"
/* Every statement that gives schedules back names these columns, so that schedule_pack can read them. */
#define SCHEDULE_COLUMNS                                                                                      \
    "s.name, s.cron, s.zone, s.service, s.method, s.missed, s.paused, s.last_job, " SCHEDULE_US("s.next_at")  \
    ", " SCHEDULE_US("s.last_at") ", " SCHEDULE_US("s.created_at") ", " SCHEDULE_US("s.updated_at")           \
    ", encode(s.options, 'hex'), encode(s.input, 'hex')"
#define SCHEDULE_COLUMN_COUNT 14
/* clang-format on */

/* Packs the schedule of one row as a map. */
void schedule_pack(weft_buf_t *out, const PGresult *rows, int row);

/* Runs a statement with the schedule's name as $1 that gives SCHEDULE_COLUMNS, and makes the one row the
 * result; NOT_FOUND where there is none. */
weft_status_t schedule_answer(weft_request_t *request, const char *sql);
weft_status_t schedule_not_found(weft_request_t *request);

/* Bytes of hexadecimal text as encode(..., 'hex') writes it, appended.  False when `out` is full. */
bool schedule_unhex(weft_span_t hex, weft_buf_t *out);

/* weft_pg_query for schedule_plan; `context` is one of these. */
typedef struct {
    weft_request_t *request;
    weft_status_t status; /* of the last query */
} schedule_query_t;
PGresult *schedule_query(void *context, const char *sql, const weft_pg_param_t *params, int count);

/* The first time of a schedule after now, as a parameter (SQL NULL: never). */
weft_status_t schedule_next(weft_request_t *request, const cron_t *cron, weft_span_t zone,
                            weft_pg_param_t *next);

#endif
