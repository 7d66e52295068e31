/* schedule_time - which instants of a schedule are due, and which is next
 *
 * Cron expressions speak of wall clocks, PostgreSQL knows the zones.  When a clock is changed:
 * - a schedule that matches in every hour follows real time: *\/15 * * * * comes each quarter of an hour,
 * also in the hour that is repeated, and not in the one that is left out;
 * - any other happens once on each day: what falls into the hour that is left out comes at its end (several
 *   such times together once), what falls into the one that is repeated comes the first time.
 * That is what cron has done since Paul Vixie's, see cron(8) of Debian and cronie. */
#ifndef JOBS_SCHEDULE_TIME_H
#define JOBS_SCHEDULE_TIME_H

#include <weft/pg.h>

#include "cron.h"

#define SCHEDULE_DUE_MAX 100 /* runs that one look finds due: the newest */
/* Runs that were due longer ago are not counted any more. */
#define SCHEDULE_PAST_MAX_US (INT64_C(366) * 86400 * 1000000)

/* How SQL is run: with weft_pg_query in a method, with clockwork_db_query behind. */
typedef struct {
    PGresult *(*query)(void *context, const char *sql, const weft_pg_param_t *params, int count);
    void *context;
} schedule_sql_t;

/* Instants are Unix microseconds. */
typedef struct {
    int64_t due_us[SCHEDULE_DUE_MAX]; /* ascending; from the first one due up to now */
    uint32_t due_count;
    bool more;       /* there were older ones, too */
    int64_t next_us; /* the first one after now; INT64_MAX: never */
} schedule_plan_t;

/* first_us: the first one that is due, which was planned before; INT64_MAX: nothing is, only next_us is asked
 * for.  zone: a name that PostgreSQL knows.  False when a query failed; *plan is then undefined. */
bool schedule_plan(const schedule_sql_t *sql, const cron_t *cron, weft_span_t zone, int64_t first_us,
                   int64_t now_us, schedule_plan_t *plan) WEFT_MUST_CHECK;

/* Pure, for schedule_plan: the candidates, as civil minutes, ascending: the matches within [from, until] (of
 * too many the newest SCHEDULE_CANDIDATES_MAX / 2), and behind `until` the next one with those of three hours
 * behind that. */
#define SCHEDULE_CANDIDATES_MAX 1024
uint32_t schedule_candidates(const cron_t *cron, int64_t from, int64_t until, int64_t *times, bool *cut);

#endif
