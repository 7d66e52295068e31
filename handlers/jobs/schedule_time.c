/* schedule_time - which instants of a schedule are due, and which is next */
#include "schedule_time.h"

#include <inttypes.h>

/* No clock is changed by more than three hours but for a change of sides of the date line: then the search
 * begins again behind what found nothing. */
#define SLACK_MIN 180
#define ROUNDS_MAX 64
#define AHEAD_MAX (SCHEDULE_CANDIDATES_MAX / 2)
#define SECOND_US INT64_C(1000000)

#define AT(us) "(timestamptz 'epoch' + " us "::bigint * interval '1 microsecond')"
static const char s_local_sql[] = "SELECT floor(extract(epoch FROM " AT(
    "$1") " AT TIME ZONE $3) / 60)::bigint,"
          " floor(extract(epoch FROM " AT("$2") " AT TIME ZONE $3) / 60)::bigint";
static const char s_instants_sql[] =
    "SELECT DISTINCT (extract(epoch FROM at) * 1000000)::bigint FROM unnest($1::bigint[]) AS minute,"
    " LATERAL weft_job_civil_at(timestamp 'epoch' + minute * interval '1 minute', $2, $3::boolean) AS at"
    " ORDER BY 1";

/* ---- @every ---- */

static void
s_plan_every(int64_t every_us, int64_t first_us, int64_t now_us, schedule_plan_t *plan)
{
    if (first_us > now_us) {
        plan->next_us = first_us == INT64_MAX ? now_us + every_us : first_us;
        return;
    }
    int64_t last = (now_us - first_us) / every_us; /* of those due, counted from 0 */
    int64_t begin = last >= SCHEDULE_DUE_MAX ? last - SCHEDULE_DUE_MAX + 1 : 0;
    for (int64_t i = begin; i <= last; i++)
        plan->due_us[plan->due_count++] = first_us + i * every_us;
    plan->more = begin > 0;
    plan->next_us = first_us + (last + 1) * every_us;
}

/* ---- cron ---- */

uint32_t
schedule_candidates(const cron_t *cron, int64_t from, int64_t until, int64_t *times, bool *cut)
{
    int64_t ring[AHEAD_MAX], at = from - 1;
    uint64_t found = 0;
    bool more = cron_next(cron, at, &at);
    for (; more && at <= until; more = cron_next(cron, at, &at))
        ring[found++ % AHEAD_MAX] = at;
    uint32_t count = 0;
    *cut = found > AHEAD_MAX;
    for (uint64_t i = *cut ? found - AHEAD_MAX : 0; i < found; i++)
        times[count++] = ring[i % AHEAD_MAX];
    for (int64_t last = at + SLACK_MIN; more && at <= last && count < SCHEDULE_CANDIDATES_MAX;
         more = cron_next(cron, at, &at))
        times[count++] = at;
    return count;
}

/* Asks for the instants of civil times and sorts them into due and next. */
static bool
s_instants(const schedule_sql_t *sql, const cron_t *cron, weft_span_t zone, const int64_t *times,
           uint32_t count, int64_t first_us, int64_t now_us, schedule_plan_t *plan)
{
    weft_buf_t list;
    weft_buf_init(&list, (size_t) SCHEDULE_CANDIDATES_MAX * 16);
    for (uint32_t i = 0; i < count; i++)
        weft_buf_addf(&list, "%s%" PRId64, i == 0 ? "{" : ",", times[i]);
    weft_buf_add_char(&list, '}');
    const weft_pg_param_t params[] = { weft_pg_text(weft_buf_span(&list)), weft_pg_text(zone),
                                       weft_pg_bool(cron_is_hourly(cron)) };
    PGresult *rows = list.failed ? NULL : sql->query(sql->context, s_instants_sql, params, 3);
    weft_buf_fini(&list);
    if (!rows)
        return false;
    int begin = 0, end = PQntuples(rows);
    for (int i = 0; i < PQntuples(rows); i++) {
        int64_t at_us = weft_pg_get_int(rows, i, 0, 0);
        begin += at_us < first_us;
        if (at_us > now_us && end == PQntuples(rows)) {
            end = i;
            plan->next_us = at_us;
        }
    }
    plan->more = plan->more || end - begin > SCHEDULE_DUE_MAX;
    if (end - begin > SCHEDULE_DUE_MAX)
        begin = end - SCHEDULE_DUE_MAX;
    for (int i = begin; i < end; i++)
        plan->due_us[plan->due_count++] = weft_pg_get_int(rows, i, 0, 0);
    PQclear(rows);
    return true;
}

bool
schedule_plan(const schedule_sql_t *sql, const cron_t *cron, weft_span_t zone, int64_t first_us,
              int64_t now_us, schedule_plan_t *plan)
{
    bool due = first_us <= now_us;
    plan->due_count = 0;
    plan->more = false;
    plan->next_us = INT64_MAX;
    if (due && first_us < now_us - SCHEDULE_PAST_MAX_US) {
        first_us = cron->every_s > 0 ? first_us
                                     : now_us - SCHEDULE_PAST_MAX_US; /* @every keeps its beat, at no cost */
        plan->more = true;
    }
    if (cron->every_s > 0) {
        s_plan_every(cron->every_s * SECOND_US, first_us, now_us, plan);
        return true;
    }
    int64_t begin_us = due ? first_us : now_us;
    const weft_pg_param_t params[] = { weft_pg_int(begin_us), weft_pg_int(now_us), weft_pg_text(zone) };
    PGresult *rows = sql->query(sql->context, s_local_sql, params, 3);
    if (!rows)
        return false;
    int64_t from = weft_pg_get_int(rows, 0, 0, 0) - SLACK_MIN,
            until = weft_pg_get_int(rows, 0, 1, 0) + SLACK_MIN;
    PQclear(rows);
    for (int round = 0; round < ROUNDS_MAX && plan->next_us == INT64_MAX; round++) {
        int64_t times[SCHEDULE_CANDIDATES_MAX];
        bool cut;
        uint32_t count = schedule_candidates(cron, from, until, times, &cut);
        if (count == 0)
            break;
        if (round == 0)
            plan->more = plan->more || (due && cut);
        else
            first_us = INT64_MAX; /* what is due was found */
        if (!s_instants(sql, cron, zone, times, count, due && round == 0 ? first_us : INT64_MAX, now_us,
                        plan))
            return false;
        from = until = times[count - 1] + 1;
    }
    return true;
}
