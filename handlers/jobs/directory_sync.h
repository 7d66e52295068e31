/* directory_sync - brings directory and database together, and finds keepers for queues that want one: a
 * chore */
#ifndef JOBS_DIRECTORY_SYNC_H
#define JOBS_DIRECTORY_SYNC_H

#include <stdatomic.h>

#include "clockwork.h"
#include "directory.h"

typedef struct {
    directory_t *directory;
    _Atomic int32_t replica; /* our weft_job_replica.number, 0: not joined */
    int32_t told_replica;    /* what weft_job_replica.serial was written for, and with */
    int64_t told_serial;
} directory_sync_t;

/* context: directory_sync_t.  Reads what changed, stores what is new, a few times a second. */
int64_t directory_sync_run(void *context, clockwork_db_t *db);

/* Begins a statement that changes limits or keepers of queues: it updates, FROM behind it, rows of
 * weft_job_queue and returns id and key_concurrency; the held jobs that may now run are queued (the keeper
 * holds back what is too much). */
#define DIRECTORY_FREE_HELD                                                                                  \
    " freed AS (UPDATE weft_job j SET state = 0 FROM (SELECT h.id, c.key_concurrency AS room, row_number()"  \
    " OVER (PARTITION BY h.queue, h.concurrency_key ORDER BY h.priority, h.run_at, h.id) AS place"           \
    " FROM weft_job h JOIN changed c ON c.id = h.queue WHERE h.state = 3) held WHERE j.id = held.id"         \
    " AND j.state = 3 AND held.place <= coalesce(held.room, 1) RETURNING 1)"

#endif
