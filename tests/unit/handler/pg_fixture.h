/* pg_fixture - a PostgreSQL for tests: that of WEFT_TEST_PG, or a cluster of our own in a temporary folder */
#ifndef TEST_HANDLER_PG_FIXTURE_H
#define TEST_HANDLER_PG_FIXTURE_H

#include "fixture.h"

#include "handler/pg_conn.h"

/* Starts the server where there is none yet (once per program; it goes with the program) and makes an empty
 * database. `own`: a cluster of our own in any case, which may be stopped. */
void pg_fixture_init(bool own);
void pg_fixture_fini(void);
/* The connection string of the empty database. */
const char *pg_fixture_url(void);
/* Only with `own`. */
void pg_fixture_stop(void);
void pg_fixture_start(void);

/* Runs statements on a connection of the fixture's own; the first value of the result, "" for none.  Valid
 * until the next call. */
const char *pg_fixture_sql(const char *sql);

/* A pool thread's connection and a request that holds it, on the test's thread. */
typedef struct {
    fixture_t handler;
    pg_config_t config;
    int wake_fd;
    weft_pg_t *pg;
    weft_request_t *request;
} pg_context_t;

/* The service `s` with the method `m`; migrated.  Caller closes. */
pg_context_t *pg_context_new(void);
void pg_context_close(pg_context_t **self_p);
/* Begins a request with meta and input as JSON; the one before ends. */
weft_request_t *pg_context_begin(pg_context_t *self, const char *meta, const char *input, int64_t ttl_ms);
/* The backend that serves self->pg. */
const char *pg_context_backend(pg_context_t *self);
/* Terminates it and waits until it is gone. */
void pg_context_kill(pg_context_t *self);

#endif
