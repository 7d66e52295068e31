/* resource - a job as callers see it: read from a row, written as msgpack (README.md, "The job")
 *
 * One form for get, list, watch, waits and callbacks. */
#ifndef JOBS_RESOURCE_H
#define JOBS_RESOURCE_H

#include <weft/pg.h>

#include "instant.h"
#include "job.h"

/* Statements that give jobs name these columns: SELECT RESOURCE_LIVE FROM RESOURCE_LIVE_FROM WHERE j.id =
 * ..., and DONE likewise; both fit a UNION ALL.  j is the job's row, q its queue's, m its method's. */
/* clang-format off */
#define RESOURCE_US(column) "(extract(epoch FROM " column ") * 1000000)::bigint"
#define RESOURCE_HEAD                                                                                         \
    "j.id, q.service, m.name, j.state, j.fence, j.priority, j.attempts, j.max_attempts, j.timeout_ms, "
#define RESOURCE_TIMES                                                                                        \
    RESOURCE_US("j.created_at") ", " RESOURCE_US("j.run_at") ", " RESOURCE_US("j.started_at") ", "
#define RESOURCE_LIVE                                                                                         \
    RESOURCE_HEAD "j.flags, " RESOURCE_TIMES "NULL::bigint, NULL::bigint, "                                   \
    "j.concurrency_key, j.input, j.options, j.errors, NULL::bytea, NULL::bytea, NULL::bytea, "                \
    "p.value, p.sequence, NULL::smallint, NULL::bigint, NULL::boolean, NULL::text"
#define RESOURCE_LIVE_FROM                                                                                    \
    "weft_job j JOIN weft_job_queue q ON q.id = j.queue JOIN weft_job_method m ON m.id = j.method "           \
    "LEFT JOIN weft_job_progress p ON p.job = j.id AND p.fence = j.fence"
#define RESOURCE_DONE                                                                                         \
    RESOURCE_HEAD "0::smallint, " RESOURCE_TIMES RESOURCE_US("j.finished_at") ", "                            \
    RESOURCE_US("j.expires_at") ", j.concurrency_key, j.input, j.options, j.errors, "                         \
    "j.result, j.result_meta, j.error, NULL::bytea, NULL::integer, "                  \
    "c.attempts, " RESOURCE_US("c.next_at") ", c.given_up_at IS NOT NULL, c.last_error"
#define RESOURCE_DONE_FROM                                                                                    \
    "weft_job_done j JOIN weft_job_queue q ON q.id = j.queue JOIN weft_job_method m ON m.id = j.method "      \
    "LEFT JOIN weft_job_callback c ON c.job = j.id"
/* clang-format on */

/* A job; spans belong to whoever filled it. */
typedef struct {
    int64_t id;
    weft_span_t service, method;
    job_state_t state;
    int32_t fence;
    int32_t priority;
    int32_t attempts;
    int32_t max_attempts;
    int32_t timeout_ms;
    int32_t flags;
    /* INSTANT_NONE: not yet */
    int64_t created_us, run_us, started_us, finished_us, expires_us;
    weft_span_t concurrency_key, unique_key, callback_url; /* empty: none */
    /* encoded values; empty: none */
    weft_span_t input, options, errors, result, result_meta, error, progress;
    int32_t sequence; /* of progress */
    /* The delivery to callback_url: "pending", "delivered", "given_up"; NULL: not begun, or not to be shown.
     */
    const char *callback_state;
    int32_t callback_attempts;
    int64_t callback_us;        /* pending: the next attempt */
    weft_span_t callback_error; /* of the last attempt; empty: none */
    weft_buf_t memory;          /* behind the encoded values, where they were read from a row */
} resource_t;

/* Reads a row of the columns above, in text format.  False without memory.  Texts are borrowed from `rows`;
 * the caller runs resource_fini. */
bool resource_read(const PGresult *rows, int row, resource_t *self) WEFT_MUST_CHECK;
void resource_fini(resource_t *self);

/* Appends the pairs of the job's map, without the map's header and without `input` and `replayed`; returns
 * their count. */
uint32_t resource_pack_pairs(const resource_t *self, msgpack_packer *pk);
/* The whole map. */
void resource_pack_map(const resource_t *self, msgpack_packer *pk, bool include_input);
/* The same of a row.  False without memory. */
bool resource_pack(msgpack_packer *pk, const PGresult *rows, int row, bool include_input) WEFT_MUST_CHECK;

/* ---- events: which of two states of a job is newer, over all replicas ---- */

/* Within a fence a job is scheduled, then queued, then running, makes progress, and is done; a change of
 * hands makes a new fence. */
typedef struct {
    int32_t fence;
    int64_t position;
} resource_event_t;

resource_event_t resource_event(const resource_t *self);
/* It is about progress, not about another state. */
bool resource_event_is_progress(resource_event_t event, job_state_t state);
/* < 0, 0, > 0 */
int resource_event_compare(resource_event_t a, resource_event_t b);
/* Behind all of its fence: the end of a watch. */
resource_event_t resource_event_over(resource_event_t event);
#define RESOURCE_EVENT_TEXT 40
/* "3.12", "3.end" when it is done, "3.over" */
const char *resource_event_text(resource_event_t event, char text[RESOURCE_EVENT_TEXT]);
/* False where it is none: *event is then before all. */
bool resource_event_parse(weft_span_t text, resource_event_t *event);

#endif
