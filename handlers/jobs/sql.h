/* sql - how the batches are said in SQL: statements, their parameters as binary arrays, their results
 *
 * Each kind of batch has a file: sql_insert.c, sql_claim.c, sql_finish.c, sql_lease.c.  It encodes the batch
 * into the statements of one transaction and reads the outcome back.  Nothing here waits or knows a socket.
 */
#ifndef JOBS_SQL_H
#define JOBS_SQL_H

#include <libpq-fe.h>

#include "batch.h"

#define SQL_PARAMS_MAX 20
#define SQL_STATEMENTS_MAX 8 /* in one transaction */

typedef struct {
    const char *name; /* when prepared; unique */
    const char *text;
} sql_statement_t;

/* ---- parameters ---- */
/* Built one after the other in one buffer.  All in binary form. */
typedef struct {
    weft_buf_t bytes;
    int count;
    size_t offset[SQL_PARAMS_MAX];
    int length[SQL_PARAMS_MAX]; /* -1: NULL */
    uint32_t left;              /* elements of the open array */
} sql_params_t;

/* Of array elements. */
#define SQL_BOOL 16
#define SQL_BYTEA 17
#define SQL_INT8 20
#define SQL_INT2 21
#define SQL_INT4 23
#define SQL_TEXT 25
#define SQL_TIMESTAMPTZ 1184

void sql_params_init(sql_params_t *self);
void sql_params_fini(sql_params_t *self);
void sql_params_reset(sql_params_t *self); /* keeps the memory */
/* Everything fitted. */
bool sql_params_good(const sql_params_t *self);

void sql_put_int4(sql_params_t *self, int32_t value);
void sql_put_int8(sql_params_t *self, int64_t value);
void sql_put_text(sql_params_t *self, weft_span_t text);
/* An array of `count` elements, which sql_add_* give then, all of them. */
void sql_put_array(sql_params_t *self, uint32_t type, uint32_t count);
void sql_add_bool(sql_params_t *self, bool value);
void sql_add_int2(sql_params_t *self, int16_t value);
void sql_add_int4(sql_params_t *self, int32_t value);
void sql_add_int8(sql_params_t *self, int64_t value);
void sql_add_bytes(sql_params_t *self, const weft_buf_t *bytes); /* bytea, text; empty: NULL */
void sql_add_span(sql_params_t *self, weft_span_t bytes);        /* as it is, empty too */
/* Microseconds as PostgreSQL counts them; INT64_MIN stays: -infinity there. */
int64_t sql_pg_time(int64_t unix_us);
/* `unix_us` INT64_MIN: NULL. */
void sql_add_time(sql_params_t *self, int64_t unix_us);

/* ---- results, binary ---- */
bool sql_null(const PGresult *rows, int row, int column);
bool sql_bool(const PGresult *rows, int row, int column);
int16_t sql_int2(const PGresult *rows, int row, int column);
int32_t sql_int4(const PGresult *rows, int row, int column);
int64_t sql_int8(const PGresult *rows, int row, int column);
weft_span_t sql_bytes(const PGresult *rows, int row, int column);
/* Unix microseconds; `fallback` for NULL. */
int64_t sql_time(const PGresult *rows, int row, int column, int64_t fallback);

/* ---- the transaction of a batch ---- */
typedef struct sql_sink sql_sink_t;
/* Where statements go: the lane.  False: the connection broke or memory ended. */
struct sql_sink {
    void *context;
    bool (*statement)(void *context, const sql_statement_t *statement, const sql_params_t *params);
    sql_params_t params; /* of the statement that is being built */
};

/* What the store remembers of a lane between batches, and how the batch at hand is to be run. */
typedef struct {
    uint32_t from, to; /* INSERT, FINISH: these rows alone */
    bool careful; /* FINISH: pass over rows that another transaction holds, instead of waiting for them */
    bool sweep;   /* REAP: look for jobs of owners that are no replica, too */
    int64_t due_from_us; /* PROMOTE, BEAT: look at scheduled jobs from this time on; INT64_MIN: all */
} sql_run_t;

/* Sends the statements; their results come in the same order to the reader, when all succeeded.  Both false
 * when memory ended. */
typedef struct {
    const sql_statement_t *const *statements; /* all that it uses, NULL at the end: prepared beforehand */
    bool (*send)(sql_sink_t *sink, const batch_t *batch, const sql_run_t *run);
    bool (*read)(batch_t *batch, const sql_run_t *run, PGresult *const *results, uint32_t count);
} sql_kind_t;

extern const sql_kind_t sql_insert, sql_claim, sql_recover, sql_finish, sql_join, sql_beat, sql_reap,
    sql_promote, sql_leave;
/* After a FINISH of which something was not applied: why. */
extern const sql_kind_t sql_look;
const sql_kind_t *sql_kind(batch_kind_t kind);

/* Fills batch->jobs from rows with the columns of SQL_JOB_COLUMNS. */
#define SQL_JOB_COLUMNS                                                                                      \
    "j.id, j.fence, j.queue, j.method, j.attempts, j.max_attempts, j.lost, j.priority, j.flags,"             \
    " j.timeout_ms, j.run_at, j.input, j.options, j.errors, j.concurrency_key"
bool sql_read_jobs(batch_t *batch, const PGresult *rows);

#endif
