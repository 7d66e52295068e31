/* store_lane - one connection to PostgreSQL that never blocks: pipelined transactions, and coming back after
 * a loss
 *
 * DOWN -its time has come-> CONNECTING -> SETUP -prepared-> IDLE <-> BUSY;  any -loss-> DOWN
 *
 * One thread. */
#ifndef JOBS_STORE_LANE_H
#define JOBS_STORE_LANE_H

#include <poll.h>

#include <weft/clock.h>

#include "sql.h"

typedef struct store_hosts store_hosts_t;
typedef struct store_lane store_lane_t;

typedef struct {
    const char *name;         /* as the database sees it: application_name */
    const char *database_url; /* borrowed */
    store_hosts_t *hosts;     /* borrowed */
    bool prepare;
    uint64_t seed;
    int64_t patience_ms; /* for one transaction; then the connection is given up */
    const sql_statement_t *const *const *statements; /* lists of what to prepare, NULL at the end */
} store_lane_config_t;

store_lane_t *store_lane_new(const store_lane_config_t *config);
void store_lane_destroy(store_lane_t **self_p);

bool store_lane_up(const store_lane_t *self);   /* connected and set up */
bool store_lane_idle(const store_lane_t *self); /* and no transaction on the way */

/* A transaction: begin, statements through the sink, end.  False: the connection broke or memory ended; call
 * store_lane_drop. */
bool store_lane_begin(store_lane_t *self, int64_t now_us);
sql_sink_t *store_lane_sink(store_lane_t *self);
bool store_lane_end(store_lane_t *self);

typedef enum {
    LANE_WAITS,   /* nothing ended */
    LANE_DONE,    /* committed: results hold */
    LANE_REFUSED, /* rolled back: sqlstate holds */
    LANE_BROKE    /* the connection is lost, with or without a transaction on the way */
} store_lane_end_t;
/* Reads, writes, connects. */
store_lane_end_t store_lane_step(store_lane_t *self, int64_t now_us);
/* Of the transaction that ended; until the next one begins. */
PGresult *const *store_lane_results(const store_lane_t *self, uint32_t *count);
const char *store_lane_sqlstate(const store_lane_t *self);
/* Gives the connection up; a new one is made after a pause. */
void store_lane_drop(store_lane_t *self, const char *reason, int64_t now_us);

/* What to wait for; fd -1: nothing.  *deadline_us is lowered to when step has to be called. */
struct pollfd store_lane_poll(const store_lane_t *self, int64_t *deadline_us);

#endif
