/* clockwork_db - a background thread's connection to PostgreSQL: made when needed, given up when the process
 * stops
 *
 * One thread.  Nothing is prepared and nothing kept in the session, so a pooler in transaction mode may stand
 * between.  Statements are ended by the server after 10 s (by us after 15 s). */
#ifndef JOBS_CLOCKWORK_DB_H
#define JOBS_CLOCKWORK_DB_H

#include <weft/pg.h>

typedef struct clockwork_db clockwork_db_t;

typedef struct {
    const char *url;         /* libpq URI; borrowed */
    const char *application; /* application_name; borrowed */
    bool prepare;            /* false behind a pooler in transaction mode: no options are sent */
    int stop_fd;             /* readable: give up whatever is waited for; borrowed */
} clockwork_db_config_t;

/* Not connected yet.  NULL when out of memory.  Caller destroys. */
clockwork_db_t *clockwork_db_new(const clockwork_db_config_t *config);
void clockwork_db_destroy(clockwork_db_t **self_p);

/* Runs one statement, which is its own transaction, and connects before where needed (with back-off: within
 * it, it fails at once).  Results are text.  The rows (caller runs PQclear), or NULL: logged (an outage
 * once), and clockwork_db_sqlstate tells the server's reason, "" where the connection was at fault: then the
 * statement was perhaps executed. */
PGresult *clockwork_db_query(clockwork_db_t *self, const char *sql, const weft_pg_param_t *params, int count);
/* The connection itself, made where needed; NULL while it cannot be.  What runs on it directly is not given
 * up when the process stops, and must leave no transaction open; after a failure call clockwork_db_check. */
PGconn *clockwork_db_conn(clockwork_db_t *self);
void clockwork_db_check(clockwork_db_t *self);
const char *clockwork_db_sqlstate(const clockwork_db_t *self);
/* False while the last attempt to reach the database failed. */
bool clockwork_db_up(const clockwork_db_t *self);

#endif
