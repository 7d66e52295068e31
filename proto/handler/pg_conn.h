/* pg_conn - a pool thread's connection to PostgreSQL: made when needed, made anew when lost
 *
 * Everything here runs on the thread that owns the connection: also cancelling, since the wait for a result
 * listens to an eventfd as well (HTTP callers that hang up, deadlines).  No second thread ever touches a
 * PGconn. */
#ifndef WEFT_HANDLER_PG_CONN_H
#define WEFT_HANDLER_PG_CONN_H

#include <stdatomic.h>

#include <weft/clock.h>
#include <weft/pg.h>

#define PG_STATEMENTS_MAX 128u /* prepared per connection; the least recently used goes first */

typedef struct pg_config pg_config_t;
struct pg_config {
    const char *url;
    const char *application; /* application_name */
    bool prepare;            /* false behind a pooler in transaction mode */
    bool several_hosts;
    int64_t once_keep_s;
    _Atomic bool up;               /* what the last attempt of any thread found */
    _Atomic int64_t down_since_ms; /* the first failed attempt of this outage, mono; 0: none */
    _Atomic int64_t purge_at_ms;   /* when old idempotency keys are next looked for, mono */
    weft_metric_t *reconnects, *failures;
};
/* Checks the URL.  False with the reason in `why`.  Strings are borrowed. */
bool pg_config_init(pg_config_t *self, const char *url, const char *application, char *why, size_t why_size);

typedef struct {
    char *sql;
    uint64_t hash;
    uint64_t used; /* turn of its last use */
    char name[16];
} pg_statement_t;

typedef enum {
    PG_TX_NONE,
    PG_TX_OPEN,
    PG_TX_LOST /* its connection is gone: nothing may run until it has been ended */
} pg_tx_t;

struct weft_pg {
    pg_config_t *config;
    PGconn *conn; /* NULL: not connected */
    int wake_fd;  /* borrowed: readable when the request may have been cancelled */
    weft_request_t *request;
    pg_tx_t tx;
    char sqlstate[6]; /* of the last failure */
    bool lost;        /* the last failure was the connection's */
    bool doomed;      /* the server announced that it closes this one */
    weft_rng_t rng;

    uint32_t failures; /* in a row */
    int64_t retry_at_ms;
    int64_t stray_cancel_until_ms; /* a cancel that came too late may still hit a statement */

    pg_statement_t statements[PG_STATEMENTS_MAX];
    uint32_t statement_count;
    uint64_t turn;     /* counts uses */
    uint32_t prepared; /* statements so far: makes names */
};

/* Not connected yet.  NULL when out of memory.  `config` is borrowed.  Caller destroys. */
weft_pg_t *pg_new(pg_config_t *config, int wake_fd);
void pg_destroy(weft_pg_t **self_p);

/* The request that uses it from now on, and no more. */
void pg_lend(weft_pg_t *self, weft_request_t *request);
void pg_take_back(weft_pg_t *self);

/* When an idle thread should call pg_repair; INT64_MAX: never.  pg_repair makes one attempt to connect. */
int64_t pg_repair_at(const weft_pg_t *self);
void pg_repair(weft_pg_t *self);
/* What can wait until a request has been answered: deleting old idempotency keys. */
void pg_chores(weft_pg_t *self);

/* Connects if needed: waits out back-offs and makes attempts while the deadline allows, but at most 2 s after
 * the database was last there, so that an outage costs threads little.  WEFT_OK, or WEFT_UNAVAILABLE and such
 * with weft_fail set. */
weft_status_t pg_connect(weft_pg_t *self);
/* True when the server has closed the connection while nothing ran on it. */
bool pg_is_stale(weft_pg_t *self);
/* Closes a connection that is of no use any more. */
void pg_drop(weft_pg_t *self);

#endif
