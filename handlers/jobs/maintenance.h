/* maintenance - keeps the tables small and tells how deep the queues are: a chore */
#ifndef JOBS_MAINTENANCE_H
#define JOBS_MAINTENANCE_H

#include "clockwork.h"

typedef struct maintenance maintenance_t;

/* key_keep_ms: how long an idempotency key is kept.  NULL without memory. */
maintenance_t *maintenance_new(int64_t key_keep_ms);
void maintenance_destroy(maintenance_t **self_p);

/* The chore: clockwork_add(clockwork, maintenance_run, self). */
int64_t maintenance_run(void *self, clockwork_db_t *db);

#endif
