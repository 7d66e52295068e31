/* store - runs batches on the database: one connection per lane, pipelined, never blocking
 *
 * One thread.  The owner polls store_poll's descriptors and calls store_step. */
#ifndef JOBS_STORE_H
#define JOBS_STORE_H

#include <poll.h>

#include "batch.h"

typedef struct store store_t;

typedef struct {
    const char *database_url; /* libpq URI; borrowed */
    bool prepare;  /* false behind a pooler in transaction mode: nothing is prepared, nothing set for the
                      session */
    uint64_t seed; /* of back-off */
} store_config_t;

/* Connects in the background, again and again with back-off and jitter (50 ms doubled to 2 s); a host name in
 * the URL is resolved off this thread.  NULL with the reason logged when the URL is malformed or memory
 * ended. */
store_t *store_new(const store_config_t *config);
void store_destroy(store_t **self_p);

/* Connected, and no batch on the way. */
bool store_idle(const store_t *self, lane_t lane);
bool store_connected(const store_t *self, lane_t lane);
bool store_up(const store_t *self); /* all lanes are connected */

/* Sends a batch on its idle lane; takes *batch_p. */
void store_send(store_t *self, batch_t **batch_p);
/* A batch that ended (its fields and `end` filled in); NULL: none.  Caller owns it. */
batch_t *store_next_done(store_t *self);

/* Fills at most LANES entries with what to wait for; returns their count.  *deadline_us: when to call
 * store_step at the latest (mono; INT64_MAX: never). */
uint32_t store_poll(const store_t *self, struct pollfd *fds, int64_t *deadline_us);
/* Reads, writes, connects: whatever is possible without waiting. */
void store_step(store_t *self, int64_t now_us);

#endif
