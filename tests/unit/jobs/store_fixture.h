/* store_fixture - a database with the tables of the queue, stores on it, and batches run to their end */
#ifndef TEST_JOBS_STORE_FIXTURE_H
#define TEST_JOBS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../handler/pg_fixture.h"
#include "jobs/store.h"

#define OWNER 7 /* of batches where no other is said; a living replica */

/* Group set-up and tear-down: the database.  Before each test all tables are emptied by store_fixture_clear,
 * and the replica OWNER joins. */
int store_fixture_init(void **state);
int store_fixture_fini(void **state);
int store_fixture_clear(void **state);

/* Connected in all lanes. */
store_t *store_open(bool prepare);
void store_wait_up(store_t *store);
/* Sends, and waits for its end. */
void store_run(store_t *store, batch_t *batch);
/* Steps once, waiting at most timeout_ms for something to happen. */
void store_turn(store_t *store, int timeout_ms);

/* A row for a job of queue 1, method 1, input "\x81\xa1n" with a number; caller may change it. */
insert_row_t *store_add(batch_t *batch, bool leased);
finish_row_t *store_finish(batch_t *batch, finish_kind_t kind, int64_t id, int32_t fence);
/* One job, by a batch of its own: its id. */
int64_t store_insert(store_t *store, bool leased);
/* Claims from queue 1, priority 1. Caller destroys. */
batch_t *store_claim(store_t *store, int32_t owner, uint32_t limit);
void batch_add_ask(batch_t *batch, int32_t queue, uint8_t priority, uint32_t limit, int64_t since_us);

/* A value of SQL as text; printf. */
const char *sql_value(const char *format, ...) WEFT_PRINTF(1, 2);
int64_t sql_number(const char *format, ...) WEFT_PRINTF(1, 2);

#endif
