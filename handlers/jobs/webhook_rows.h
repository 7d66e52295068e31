/* webhook_rows - the rows of weft_job_callback: taken, ended, put off
 *
 * One thread, that of the webhooks. */
#ifndef JOBS_WEBHOOK_ROWS_H
#define JOBS_WEBHOOK_ROWS_H

#include "callback.h"
#include "clockwork_db.h"

#define WEBHOOK_LEASE_MS 60000 /* longer than any delivery */
#define WEBHOOK_PER_HOST 4     /* at once */
#define WEBHOOK_HOST_MAX 256   /* bytes that tell hosts apart */

/* A row that was taken. */
typedef struct {
    int64_t job;
    uint32_t attempt;
    int64_t lease_us; /* next_at: with `attempt` it proves that the row is still ours */
    char url[CALLBACK_URL_MAX + 1];
    char host[WEBHOOK_HOST_MAX];
} webhook_row_t;

/* Takes at most `limit` due rows; of each host only so many that WEBHOOK_PER_HOST are on the way together
 * with `busy` (count entries, a host each, as often as it is on the way).  Returns how many; -1: the database
 * is away. */
int webhook_rows_take(clockwork_db_t *db, const webhook_row_t *const *busy, uint32_t count,
                      webhook_row_t *rows, uint32_t limit);

/* The ends of a row.  Nothing changes where another replica has taken it since.  False: the database is away.
 */
bool webhook_rows_delivered(clockwork_db_t *db, const webhook_row_t *row);
bool webhook_rows_later(clockwork_db_t *db, const webhook_row_t *row, int64_t delay_ms, const char *error);
bool webhook_rows_give_up(clockwork_db_t *db, const webhook_row_t *row, const char *error);
/* As if it had not been taken. */
bool webhook_rows_give_back(clockwork_db_t *db, const webhook_row_t *row);

/* What is to be said. */
typedef struct {
    char id[64];     /* msg_JOB_FENCE: another one when a job is run again and completes again */
    int64_t now_s;   /* by the database's clock, as all times */
    weft_buf_t body; /* {"type", "timestamp", "data"} as JSON; the caller's */
} webhook_said_t;

typedef enum {
    WEBHOOK_BODY,
    WEBHOOK_GONE, /* the job is not done any more, or not kept any more: nothing to tell */
    WEBHOOK_AWAY  /* the database is */
} webhook_body_t;
webhook_body_t webhook_rows_body(clockwork_db_t *db, const webhook_row_t *row, webhook_said_t *said);

/* Deletes rows that were given up long ago. */
void webhook_rows_purge(clockwork_db_t *db);

#endif
