/* clockwork - a thread that does chores at their times, with a database connection of its own */
#ifndef JOBS_CLOCKWORK_H
#define JOBS_CLOCKWORK_H

#include "clockwork_db.h"

typedef struct clockwork clockwork_t;

/* Does what is due and returns in how many milliseconds it wants to be called again (at least 1 is waited).
 * On the clockwork's thread: one chore runs at a time, so none should take long.  A statement fails at once
 * while the database is away: come again after a second, say. */
typedef int64_t (*clockwork_run_t)(void *context, clockwork_db_t *db);

#define CLOCKWORK_CHORES_MAX 8

/* url, application: as in clockwork_db_config_t, borrowed.  NULL when out of memory or descriptors.  Caller
 * destroys. */
clockwork_t *clockwork_new(const char *url, const char *application, bool prepare);
/* Stops the thread (a statement on the way is given up) and joins it. */
void clockwork_destroy(clockwork_t **self_p);

/* Before the start; called at once, then as it wishes. */
void clockwork_add(clockwork_t *self, clockwork_run_t run, void *context);
/* Starts the thread, with all signals blocked.  False when there is none to be had. */
bool clockwork_start(clockwork_t *self) WEFT_MUST_CHECK;
/* Calls all chores now.  Any thread. */
void clockwork_wake(clockwork_t *self);

#endif
