/* schedule_fire - fires schedules when they are due: each time once, however many replicas look
 *
 * A chore of the clockwork.  What decides is one statement that moves next_at ahead where it is still the
 * time that was seen, and inserts the jobs: whoever comes second changes nothing.  Only the database's clock
 * counts. */
#ifndef JOBS_SCHEDULE_FIRE_H
#define JOBS_SCHEDULE_FIRE_H

#include "clockwork.h"
#include "schedule_time.h"

/* Of times that are due at the same look only the newest makes a job, but for the policy `all`; with `skip`
 * not even that one when it is later than this. */
#define SCHEDULE_LATE_MS 60000

typedef struct schedule_fire schedule_fire_t;

typedef struct {
    /* A job was queued: look soon.  On the clockwork's thread. */
    void (*poke)(void *context, int32_t queue);
    void *context;
} schedule_fire_config_t;

/* NULL when out of memory.  Caller destroys, after the clockwork. */
schedule_fire_t *schedule_fire_new(const schedule_fire_config_t *config);
void schedule_fire_destroy(schedule_fire_t **self_p);

/* The chore: clockwork_add(clockwork, schedule_fire_run, self). */
int64_t schedule_fire_run(void *self, clockwork_db_t *db);

/* ---- for schedule_run, too ---- */

/* What becomes of a schedule's row: parameters of SCHEDULE_INSERT. */
typedef struct {
    int32_t priority, max_attempts, timeout_ms, flags;
    weft_span_t unique_key; /* {NULL, 0}: none; points into the options */
} schedule_job_t;
/* Reads them from the schedule's options. */
void schedule_job_read(weft_span_t options, schedule_job_t *job);
/* Appends, as hexadecimal text, the options of a job of the schedule `name` that was due at `due_us`. */
bool schedule_job_options(weft_span_t options, weft_span_t name, int64_t due_us, weft_buf_t *out);

/* Inserts jobs for a CTE `due` (queue, method, input): $4 priority, $5 max_attempts, $6 timeout_ms, $7 flags,
 * $8 unique_key or NULL, $9 array of options.  Gives CTEs `run` (all), `made` (id, queue: those that have no
 * unique_key in use). */
#define SCHEDULE_INSERT                                                                                      \
    ", run AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('weft_job', 'id')) AS id, due.queue,"      \
    " due.method, due.input, decode(one.options, 'hex') AS options FROM due,"                                \
    " unnest($9::text[]) WITH ORDINALITY AS one (options, place) ORDER BY one.place),"                       \
    " taken AS (INSERT INTO weft_job_unique (queue, key, job) SELECT queue, $8::text, min(id) FROM run"      \
    " WHERE $8::text IS NOT NULL GROUP BY queue ON CONFLICT (queue, key) DO UPDATE"                          \
    " SET job = excluded.job, until = NULL WHERE weft_job_unique.until <= now() RETURNING job),"             \
    " made AS (INSERT INTO weft_job (id, queue, method, state, priority, attempts, max_attempts, fence,"     \
    " timeout_ms, flags, run_at, input, options) OVERRIDING SYSTEM VALUE"                                    \
    " SELECT id, queue, method, 0, $4::smallint, 0, $5::smallint, 0, $6::integer, $7::smallint, now(),"      \
    " input, options FROM run WHERE $8::text IS NULL OR id IN (SELECT job FROM taken)"                       \
    " RETURNING id, queue)"

#endif
