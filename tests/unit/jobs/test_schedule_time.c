/* test_schedule_time - times of schedules in zones whose clocks are changed, against a search minute by
 * minute */
#include "unit/handler/pg_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "handlers/jobs/schedule_time.h"

#define MINUTE_US (60 * INT64_C(1000000))

static PGconn *s_conn;

static PGresult *
s_query(void *context, const char *sql, const weft_pg_param_t *params, int count)
{
    const char *values[8];
    char texts[8][16384];
    (void) context;
    for (int i = 0; i < count; i++) {
        const weft_pg_param_t *param = &params[i];
        values[i] = param->kind == WEFT_PG_NULL ? NULL : texts[i];
        assert_true(param->size < sizeof texts[i]);
        if (param->kind == WEFT_PG_SHORT)
            weft_format(texts[i], sizeof texts[i], "%s", param->text);
        else if (param->data)
            weft_format(texts[i], sizeof texts[i], "%.*s", (int) param->size, param->data);
    }
    PGresult *rows = PQexecParams(s_conn, sql, count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(rows) != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(s_conn));
    return rows;
}
static const schedule_sql_t s_sql = { s_query, NULL };

/* "2026-03-29 00:59" (UTC) as microseconds. */
static int64_t
s_us(const char *text)
{
    struct tm tm = { 0 };
    assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
    return timegm(&tm) * INT64_C(1000000);
}

static const char *
s_text(int64_t us)
{
    static char text[4][32];
    static unsigned turn;
    char *out = text[turn++ % 4];
    struct tm tm;
    time_t seconds = us / 1000000;
    if (us == INT64_MAX)
        return "never";
    assert_non_null(gmtime_r(&seconds, &tm));
    assert_true(strftime(out, sizeof text[0], "%Y-%m-%d %H:%M", &tm) > 0);
    return out;
}

static cron_t
s_cron(const char *text)
{
    cron_t cron;
    char why[400];
    if (!cron_parse(weft_span(text), &cron, why, sizeof why))
        fail_msg("%s: %s", text, why);
    return cron;
}

static int64_t
s_next(const char *cron_text, const char *zone, int64_t now_us)
{
    cron_t cron = s_cron(cron_text);
    schedule_plan_t plan;
    assert_true(schedule_plan(&s_sql, &cron, weft_span(zone), INT64_MAX, now_us, &plan));
    assert_int_equal(plan.due_count, 0);
    return plan.next_us;
}

/* ---- what is documented ---- */

static void
test_clock_changes_of_berlin(void **state)
{
    (void) state;
    /* 2026-03-29 01:00 UTC: 02:00 becomes 03:00.  2026-10-25 01:00 UTC: 03:00 becomes 02:00. */
    static const struct {
        const char *cron, *now, *next; /* UTC */
    } cases[] = {
        /* Once a day: in the hour that is left out, at its end. */
        { "30 2 * * *", "2026-03-28 01:30", "2026-03-29 01:00" },
        { "30 2 * * *", "2026-03-29 01:00", "2026-03-30 00:30" },
        { "0,15,30,45 2 * * *", "2026-03-28 01:45", "2026-03-29 01:00" }, /* several at once */
        { "0,15,30,45 2 * * *", "2026-03-29 01:00", "2026-03-30 00:00" },
        { "0 2,3 * * *", "2026-03-29 00:30", "2026-03-29 01:00" }, /* and with the one that does exist */
        { "0 2,3 * * *", "2026-03-29 01:00", "2026-03-30 00:00" },
        { "30 1 * * *", "2026-03-28 12:00", "2026-03-29 00:30" },
        { "30 3 * * *", "2026-03-28 12:00", "2026-03-29 01:30" },
        /* In the hour that is repeated: the first time. */
        { "30 2 * * *", "2026-10-24 12:00", "2026-10-25 00:30" },
        { "30 2 * * *", "2026-10-25 00:30", "2026-10-26 01:30" },
        { "30 2 * * *", "2026-10-25 01:10", "2026-10-26 01:30" }, /* asked within the repetition */
        { "*/15 2 * * *", "2026-10-25 00:45", "2026-10-26 01:00" },
        { "0 3 * * *", "2026-10-25 00:30", "2026-10-25 02:00" },
        /* Every hour: real time. */
        { "*/15 * * * *", "2026-03-29 00:45", "2026-03-29 01:00" },
        { "*/15 * * * *", "2026-10-25 00:45", "2026-10-25 01:00" },
        { "*/15 * * * *", "2026-10-25 01:45", "2026-10-25 02:00" },
        { "30 * * * *", "2026-03-29 00:30", "2026-03-29 01:30" },
        { "30 * * * *", "2026-10-25 00:30", "2026-10-25 01:30" },
        { "30 * * * *", "2026-10-25 01:30", "2026-10-25 02:30" },
        { "@hourly", "2026-03-29 00:00", "2026-03-29 01:00" },
        /* Far ahead, beyond changes. */
        { "0 12 1 7 *", "2026-01-01 00:00", "2026-07-01 10:00" },
        { "0 12 29 2 *", "2026-01-01 00:00", "2028-02-29 11:00" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t next = s_next(cases[i].cron, "Europe/Berlin", s_us(cases[i].now));
        if (next != s_us(cases[i].next))
            fail_msg("%s after %s: %s", cases[i].cron, cases[i].now, s_text(next));
    }
}

static void
test_a_day_that_does_not_exist(void **state)
{
    (void) state;
    /* Samoa left out 30 December 2011: 2011-12-30 10:00 UTC is 00:00 of the 31st. */
    assert_int_equal(s_next("0 12 30 12 *", "Pacific/Apia", s_us("2011-12-01 00:00")),
                     s_us("2011-12-30 10:00"));
    assert_int_equal(s_next("0 12 31 12 *", "Pacific/Apia", s_us("2011-12-30 10:00")),
                     s_us("2011-12-30 22:00"));
    /* Every hour of that day: not at all, so a year later. */
    assert_int_equal(s_next("0 * 30 12 *", "Pacific/Apia", s_us("2011-12-01 00:00")),
                     s_us("2012-12-29 10:00"));
}

/* ---- due ---- */

static schedule_plan_t
s_plan(const char *cron_text, const char *zone, int64_t first_us, int64_t now_us)
{
    cron_t cron = s_cron(cron_text);
    schedule_plan_t plan;
    assert_true(schedule_plan(&s_sql, &cron, weft_span(zone), first_us, now_us, &plan));
    for (uint32_t i = 0; i < plan.due_count; i++) {
        assert_in_range(plan.due_us[i], first_us, now_us);
        assert_true(i == 0 || plan.due_us[i] > plan.due_us[i - 1]);
    }
    assert_true(plan.next_us > now_us);
    return plan;
}

static void
test_due_times_in_order(void **state)
{
    (void) state;
    schedule_plan_t plan = s_plan("0 */6 * * *", "Europe/Berlin", s_us("2026-03-28 11:00"),
                                  s_us("2026-03-29 15:30"));
    assert_int_equal(plan.due_count, 5); /* 12, 18; 0, 6, 12 of the next day */
    assert_int_equal(plan.due_us[0], s_us("2026-03-28 11:00"));
    assert_int_equal(plan.due_us[2], s_us("2026-03-28 23:00"));
    assert_int_equal(plan.due_us[3], s_us("2026-03-29 04:00"));
    assert_int_equal(plan.due_us[4], s_us("2026-03-29 10:00"));
    assert_int_equal(plan.next_us, s_us("2026-03-29 16:00"));
}

static void
test_of_many_the_newest_hundred(void **state)
{
    (void) state;
    int64_t now_us = s_us("2026-06-15 12:00") + 30 * 1000000;
    schedule_plan_t plan = s_plan("* * * * *", "Europe/Berlin", s_us("2026-06-01 00:00"), now_us);
    assert_int_equal(plan.due_count, SCHEDULE_DUE_MAX);
    assert_true(plan.more);
    assert_int_equal(plan.due_us[99], s_us("2026-06-15 12:00"));
    assert_int_equal(plan.due_us[0], s_us("2026-06-15 10:21"));
    assert_int_equal(plan.next_us, s_us("2026-06-15 12:01"));
    plan = s_plan("* * * * *", "Europe/Berlin", s_us("2026-06-15 11:00"), now_us);
    assert_int_equal(plan.due_count, 61);
    assert_false(plan.more);
}

static void
test_years_in_the_past_cost_no_more(void **state)
{
    (void) state;
    schedule_plan_t plan = s_plan("* * * * *", "UTC", s_us("1990-01-01 00:00"), s_us("2026-06-15 12:00"));
    assert_int_equal(plan.due_count, SCHEDULE_DUE_MAX);
    assert_true(plan.more);
    plan = s_plan("@yearly", "UTC", s_us("1990-01-01 00:00"), s_us("2026-06-15 12:00"));
    assert_int_equal(plan.due_count, 1);
    assert_true(plan.more);
}

static void
test_every_keeps_its_beat(void **state)
{
    (void) state;
    int64_t first = s_us("2026-06-15 12:00") + 7;
    schedule_plan_t plan = s_plan("@every 90s", "UTC", first, first);
    assert_int_equal(plan.due_count, 1);
    assert_int_equal(plan.next_us, first + 90000000);
    plan = s_plan("@every 90s", "UTC", first, first + 90000000 * 3 + 1);
    assert_int_equal(plan.due_count, 4);
    assert_int_equal(plan.due_us[3], first + 90000000 * 3);
    assert_int_equal(plan.next_us, first + 90000000 * 4);
    plan = s_plan("@every 1s", "UTC", first - 40 * 366 * 86400 * INT64_C(1000000), first);
    assert_int_equal(plan.due_count, SCHEDULE_DUE_MAX);
    assert_true(plan.more);
    assert_int_equal(plan.due_us[99], first);
    assert_int_equal(plan.next_us, first + 1000000);
    cron_t cron = s_cron("@every 1h");
    assert_true(schedule_plan(&s_sql, &cron, weft_span("UTC"), INT64_MAX, first, &plan));
    assert_int_equal(plan.next_us, first + 3600 * INT64_C(1000000));
}

/* ---- against a search minute by minute ---- */

#define SPAN_MIN (5 * 1440)
typedef struct {
    int64_t begin_us;        /* of local[0] */
    int64_t local[SPAN_MIN]; /* what the clock shows, civil minutes */
} window_t;

static void
s_read_window(const char *zone, int64_t begin_us, window_t *window)
{
    char sql[512];
    window->begin_us = begin_us;
    PGresult *rows = PQexec(
        s_conn,
        weft_format(sql, sizeof sql,
                    "SELECT floor(extract(epoch FROM m AT TIME ZONE '%s') / 60)::bigint FROM generate_series("
                    "timestamptz 'epoch' + %" PRId64
                    " * interval '1 microsecond', timestamptz 'epoch' + %" PRId64
                    " * interval '1 microsecond', interval '1 minute') m ORDER BY m",
                    zone, begin_us, begin_us + (SPAN_MIN - 1) * MINUTE_US));
    assert_int_equal(PQntuples(rows), SPAN_MIN);
    for (int i = 0; i < SPAN_MIN; i++)
        window->local[i] = weft_pg_get_int(rows, i, 0, 0);
    PQclear(rows);
}

/* The rule as documented, in the plainest way: the index of the first time after `after`; -1: not within. */
static int
s_naive(const cron_t *cron, const window_t *window, int after)
{
    if (cron_is_hourly(cron)) {
        for (int i = after + 1; i < SPAN_MIN; i++) {
            if (cron_matches(cron, window->local[i]))
                return i;
        }
        return -1;
    }
    /* The first time that the clock shows a time, or something later where it never shows it. */
    int64_t shown = window->local[0];
    for (int i = 1; i < SPAN_MIN; i++) {
        bool due = false;
        for (int64_t local = shown + 1; local <= window->local[i]; local++)
            due = due || cron_matches(cron, local);
        if (window->local[i] > shown)
            shown = window->local[i];
        if (due && i > after)
            return i;
    }
    return -1;
}

static void
test_random_schedules_around_changes(void **state)
{
    (void) state;
    static const struct {
        const char *zone, *change; /* some two days before it, UTC */
    } places[] = {
        { "Europe/Berlin", "2026-03-27 01:00" },
        { "Europe/Berlin", "2026-10-23 01:00" },
        { "America/New_York", "2026-03-06 07:00" },
        { "America/New_York", "2026-10-30 06:00" },
        { "Australia/Lord_Howe", "2026-04-02 15:00" }, /* half an hour */
        { "Australia/Lord_Howe", "2026-10-01 15:00" },
        { "Africa/Cairo", "2025-04-22 22:00" }, /* at midnight */
        { "Africa/Cairo", "2025-10-28 21:00" },
        { "America/Sao_Paulo", "2018-11-02 03:00" },
        { "America/Sao_Paulo", "2018-02-15 02:00" },
        { "Africa/Casablanca", "2026-02-13 02:00" },
        { "Antarctica/Troll", "2026-03-27 01:00" }, /* two hours */
        { "Antarctica/Troll", "2026-10-23 01:00" },
        { "Asia/Kolkata", "2026-03-27 01:00" },
    };
    static const char *const minutes[] = { "*", "*/7", "0", "30", "5,35", "0-10", "59" };
    static const char *const hours[] = { "*", "*", "*/2", "2", "0", "1-3", "0,2,3", "1", "23", "*/1" };
    static window_t window;
    weft_rng_t rng;
    int found = 0;
    const char *given = getenv("SEED");
    weft_rng_seed(&rng, given ? strtoull(given, NULL, 10) : 1);
    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
        s_read_window(places[p].zone, s_us(places[p].change), &window);
        for (int round = 0; round < 60; round++) {
            char text[64];
            cron_t cron = s_cron(
                weft_format(text, sizeof text, "%s %s * * %s",
                            minutes[weft_rng_below(&rng, sizeof minutes / sizeof minutes[0])],
                            hours[weft_rng_below(&rng, sizeof hours / sizeof hours[0])],
                            weft_rng_below(&rng, 4) ? "*" : "0,6"));
            /* Mostly within three hours of the change. */
            int after = weft_rng_below(&rng, 4) ? 2 * 1440 - 180 + (int) weft_rng_below(&rng, 360)
                                                : 400 + (int) weft_rng_below(&rng, 3 * 1440);
            int naive = s_naive(&cron, &window, after);
            int64_t now_us = window.begin_us + after * MINUTE_US + (int64_t) weft_rng_below(&rng, MINUTE_US);
            int64_t next = s_next(text, places[p].zone, now_us);
            if (naive >= 0) {
                found++;
                int64_t expected = window.begin_us + naive * MINUTE_US;
                if (next != expected)
                    fail_msg("%s in %s after %s: %s, not %s", text, places[p].zone, s_text(now_us),
                             s_text(next), s_text(expected));
            } else {
                assert_true(next >= window.begin_us + SPAN_MIN * MINUTE_US);
            }
        }
    }
    assert_true(found > 500);
}

static int
s_begin(void **state)
{
    (void) state;
    pg_fixture_init(false);
    if (weft_pg_migrate(pg_fixture_url(), "jobs", JOBS_MIGRATIONS) != WEFT_OK)
        return -1;
    s_conn = PQconnectdb(pg_fixture_url());
    /* The zone of a session must not matter. */
    PQclear(PQexec(s_conn, "SET timezone = 'America/Los_Angeles'"));
    return PQstatus(s_conn) == CONNECTION_OK ? 0 : -1;
}

static int
s_end(void **state)
{
    (void) state;
    PQfinish(s_conn);
    pg_fixture_fini();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_changes_of_berlin),
        cmocka_unit_test(test_a_day_that_does_not_exist),
        cmocka_unit_test(test_due_times_in_order),
        cmocka_unit_test(test_of_many_the_newest_hundred),
        cmocka_unit_test(test_years_in_the_past_cost_no_more),
        cmocka_unit_test(test_every_keeps_its_beat),
        cmocka_unit_test(test_random_schedules_around_changes),
    };
    return cmocka_run_group_tests(tests, s_begin, s_end);
}
