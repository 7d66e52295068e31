/* job - one job in memory: what the database says of it, while this process owns it */
#ifndef JOBS_JOB_H
#define JOBS_JOB_H

#include <weft/buf.h>
#include <weft/status.h>

#define JOB_PRIORITIES 4
#define JOB_PRIORITY_DEFAULT 1
#define JOB_MAX_ATTEMPTS_DEFAULT 10
#define JOB_ATTEMPTS_LIMIT 1000
#define JOB_TIMEOUT_DEFAULT_MS 60000
#define JOB_KEEP_DEFAULT_MS (7 * 86400000ll) /* how long what became of a job can be read */
#define JOB_KEEP_LIMIT_MS (90 * 86400000ll)
#define JOB_BACKOFF_MS 1000        /* before the second attempt; doubled for each later one, full jitter */
#define JOB_BACKOFF_MAX_MS 3600000 /* and no longer than this */
#define JOB_LOST_MAX 100           /* attempts that do not count because the mesh lost them; then they do */
#define JOB_ERRORS_MAX 20          /* failed attempts that are remembered, the last ones */

/* As in weft_job.state and weft_job_done.state. */
typedef enum {
    JOB_QUEUED = 0,
    JOB_RUNNING = 1,
    JOB_SCHEDULED = 2,
    JOB_HELD = 3, /* shown as queued: its concurrency_key is in use */
    JOB_SUCCEEDED = 4,
    JOB_FAILED = 5,
    JOB_CANCELLED = 6
} job_state_t;

/* weft_job.flags */
#define JOB_FLAG_UNIQUE 1
#define JOB_FLAG_CALLBACK 2
#define JOB_FLAG_CANCEL 4

/* One attempt, owned by this process from the commit that says so until the one that ends it. */
typedef struct job job_t;
struct job {
    int64_t id;
    int32_t fence;
    int32_t queue;    /* weft_job_queue.id */
    int32_t method;   /* weft_job_method.id */
    int16_t attempts; /* this one included */
    int16_t max_attempts;
    int16_t lost;
    uint8_t priority;
    uint8_t flags;
    int32_t timeout_ms;
    int64_t due_us;     /* of a claimed one: its run_at by the database's clock; 0: born running */
    weft_buf_t input;   /* one msgpack value */
    weft_buf_t options; /* a msgpack map, or empty; keys in handlers/jobs/README.md */
    weft_buf_t errors;  /* a msgpack array of maps {attempt, at_ms, code, message}, or empty */
    weft_buf_t key;     /* concurrency_key, or empty */
};

/* All zero but for the ids; NULL when out of memory.  Caller destroys. */
job_t *job_new(int64_t id, int32_t fence);
void job_destroy(job_t **self_p);

/* "queued" for JOB_HELD too. */
const char *job_state_name(job_state_t state);
bool job_state_done(job_state_t state);

#endif
