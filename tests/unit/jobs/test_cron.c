/* test_cron - expressions, their errors, and the next time against a search minute by minute */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <weft/clock.h>
#include <weft/log.h>

#include "handlers/jobs/cron.h"

/* "2026-01-31 12:00" as civil minutes, by the C library. */
static int64_t
s_at(const char *text)
{
    struct tm tm = { 0 };
    assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
    return timegm(&tm) / 60;
}

static const char *
s_text(int64_t at)
{
    static char text[32];
    struct tm tm;
    time_t seconds = at * 60;
    assert_non_null(gmtime_r(&seconds, &tm));
    assert_true(strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm) > 0);
    return text;
}

static cron_t
s_parse(const char *text)
{
    cron_t cron;
    char why[400] = "";
    if (!cron_parse(weft_span(text), &cron, why, sizeof why))
        fail_msg("%s: %s", text, why);
    return cron;
}

static void
test_next_finds_the_documented_times(void **state)
{
    (void) state;
    static const struct {
        const char *cron, *after, *next;
    } cases[] = {
        { "* * * * *", "2026-01-31 12:00", "2026-01-31 12:01" },
        { "* * * * *", "2026-12-31 23:59", "2027-01-01 00:00" },
        { "*/15 * * * *", "2026-01-31 12:00", "2026-01-31 12:15" },
        { "*/15 * * * *", "2026-01-31 23:45", "2026-02-01 00:00" },
        { "10-30/10 * * * *", "2026-01-31 12:30", "2026-01-31 13:10" },
        { "0 9-17 * * MON-FRI", "2026-01-30 17:00", "2026-02-02 09:00" },
        { "0 9 * * mon,wed", "2026-02-02 09:00", "2026-02-04 09:00" },
        { "30 4 1,15 * 5", "2026-01-01 04:30", "2026-01-02 04:30" }, /* either: 1st, 15th, every Friday */
        { "30 4 1,15 * 5", "2026-01-09 04:30", "2026-01-15 04:30" },
        { "30 4 */2 * 5", "2026-01-01 04:30", "2026-01-09 04:30" }, /* both: begins with *; Friday and odd */
        { "30 4 1 * */2", "2026-01-01 04:30", "2026-02-01 04:30" }, /* both: 1st, and Su Tu Th Sa */
        { "0 0 * * 0", "2026-01-01 00:00", "2026-01-04 00:00" },
        { "0 0 * * 7", "2026-01-01 00:00", "2026-01-04 00:00" },
        { "0 0 * * FRI-SUN", "2026-01-02 00:00", "2026-01-03 00:00" },
        { "0 0 * * 5-7", "2026-01-03 00:00", "2026-01-04 00:00" },
        { "0 0 31 * *", "2026-01-31 00:00", "2026-03-31 00:00" },
        { "0 0 30 * *", "2026-01-30 00:00", "2026-03-30 00:00" },
        { "0 0 L * *", "2026-01-31 00:00", "2026-02-28 00:00" },
        { "0 0 L * *", "2028-01-31 00:00", "2028-02-29 00:00" },
        { "0 0 15,L 2 *", "2028-02-15 00:00", "2028-02-29 00:00" },
        { "0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00" },
        { "0 0 29 2 *", "2096-02-29 00:00", "2104-02-29 00:00" },     /* 2100 is no leap year */
        { "0 0 29 2 *", "1996-02-29 00:00", "2000-02-29 00:00" },     /* 2000 was one */
        { "0 0 29 FEB */6", "2020-03-01 00:00", "2032-02-29 00:00" }, /* a Sunday or a Saturday */
        { "59 23 31 DEC *", "2026-12-31 23:59", "2027-12-31 23:59" },
        { "0 0 1 jan *", "2026-01-01 00:00", "2027-01-01 00:00" },
        { "  5\t4  * * *  ", "2026-01-31 12:00", "2026-02-01 04:05" },
        { "@hourly", "2026-01-31 12:00", "2026-01-31 13:00" },
        { "@daily", "2026-01-31 12:00", "2026-02-01 00:00" },
        { "@midnight", "2026-01-31 12:00", "2026-02-01 00:00" },
        { "@weekly", "2026-01-31 12:00", "2026-02-01 00:00" },
        { "@monthly", "2026-01-31 12:00", "2026-02-01 00:00" },
        { "@Yearly", "2026-01-31 12:00", "2027-01-01 00:00" },
        { "@annually", "2026-01-31 12:00", "2027-01-01 00:00" },
        { "0 0 1 1 *", "1968-12-31 23:58", "1969-01-01 00:00" }, /* before the epoch */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cron_t cron = s_parse(cases[i].cron);
        int64_t next = 0;
        assert_true(cron_next(&cron, s_at(cases[i].after), &next));
        if (next != s_at(cases[i].next))
            fail_msg("%s after %s: %s", cases[i].cron, cases[i].after, s_text(next));
        assert_true(cron_matches(&cron, next));
    }
}

static void
test_refusals_name_field_and_rule(void **state)
{
    (void) state;
    static const struct {
        const char *cron, *why;
    } cases[] = {
        { "", "expected five fields (minute, hour, day of month, month, day of week), got 0" },
        { "* * * *", "expected five fields (minute, hour, day of month, month, day of week), got 4" },
        { "0 * * * * *", "expected five fields (minute, hour, day of month, month, day of week), got 6" },
        { "60 * * * *", "minute: 60 is not within 0 to 59" },
        { "* 24 * * *", "hour: 24 is not within 0 to 23" },
        { "* * 0 * *", "day of month: 0 is not within 1 to 31" },
        { "* * 32 * *", "day of month: 32 is not within 1 to 31" },
        { "* * * 13 *", "month: 13 is not within 1 to 12" },
        { "* * * * 8", "day of week: 8 is not within 0 to 7" },
        { "* * * FOO *", "month: \"FOO\" is no number and no name" },
        { "MON * * * *", "minute: \"MON\" is no number" },
        { "-1 * * * *", "minute: \"\" is no number" },
        { "1- * * * *", "minute: \"\" is no number" },
        { "1-2-3 * * * *", "minute: \"2-3\" is no number" },
        { "+1 * * * *", "minute: \"+1\" is no number" },
        { "99999999999 * * * *", "minute: \"99999999999\" is no number" },
        { "1, * * * *", "minute: an item of the list is empty" },
        { ",1 * * * *", "minute: an item of the list is empty" },
        { "1,,2 * * * *", "minute: an item of the list is empty" },
        { "30-10 * * * *", "minute: the range 30-10 ends before it begins" },
        { "* * * NOV-FEB *", "month: the range NOV-FEB ends before it begins" },
        { "5/15 * * * *", "minute: the step in 5/15 needs * or a range before it" },
        { "*/0 * * * *", "minute: the step in */0 is not within 1 to 59" },
        { "*/60 * * * *", "minute: the step in */60 is not within 1 to 59" },
        { "*/ * * * *", "minute: the step in */ is not within 1 to 59" },
        { "*/1/2 * * * *", "minute: the step in */1/2 is not within 1 to 59" },
        { "** * * * *", "minute: \"**\" is no number" },
        { "? * * * *", "minute: \"?\" is no number" },
        { "L * * * *", "minute: \"L\" is no number" },
        { "* * 1-L * *", "day of month: \"L\" is no number" },
        { "0 0 30 2 *", "never matches: no such day of month in these months" },
        { "0 0 31 4,6,9,11 *", "never matches: no such day of month in these months" },
        { "@reboot", "\"@reboot\" is none of @hourly, @daily, @weekly, @monthly, @yearly, @every PERIOD" },
        { "@", "\"@\" is none of @hourly, @daily, @weekly, @monthly, @yearly, @every PERIOD" },
        { "@every", "\"@every\" is none of @hourly, @daily, @weekly, @monthly, @yearly, @every PERIOD" },
        { "@every 90", "@every: \"90\" is no period such as 90s, 15m or 1h30m" },
        { "@every s", "@every: \"s\" is no period such as 90s, 15m or 1h30m" },
        { "@every 1h 30m", "@every: \"1h 30m\" is no period such as 90s, 15m or 1h30m" },
        { "@every -5s", "@every: \"-5s\" is no period such as 90s, 15m or 1h30m" },
        { "@every 0s", "@every: a period is at least one second" },
        { "@every 367d", "@every: a period is at most 366 days" },
        { "@every 366d1s", "@every: a period is at most 366 days" },
        { "@every 99999999999999999999s",
          "@every: \"99999999999999999999s\" is no period such as 90s, 15m or "
          "1h30m" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cron_t cron = { .every_s = -7 };
        char why[400] = "";
        if (cron_parse(weft_span(cases[i].cron), &cron, why, sizeof why))
            fail_msg("%s was accepted", cases[i].cron);
        assert_string_equal(why, cases[i].why);
        assert_int_equal(cron.every_s, -7); /* untouched */
    }
    char text[CRON_TEXT_MAX + 2], why[400];
    cron_t cron;
    memset(text, '1', sizeof text);
    assert_false(cron_parse((weft_span_t){ text, sizeof text - 1 }, &cron, why, sizeof why));
    assert_string_equal(why, "longer than 256 bytes");
}

static void
test_thirtieth_of_february_or_a_monday_does_come(void **state)
{
    (void) state;
    cron_t cron = s_parse("0 0 30 2 1");
    int64_t next;
    assert_true(cron_next(&cron, s_at("2026-01-01 00:00"), &next));
    assert_int_equal(next, s_at("2026-02-02 00:00"));
}

static void
test_every_is_a_period_and_no_civil_time(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        { "@every 1s", 1 },        { "@every 90s", 90 },         { "@every\t15m", 900 },
        { "@EVERY  1h30m", 5400 }, { "@every 1d2h3m4s", 93784 }, { "@every 366d", CRON_EVERY_MAX_S }
    };
    int64_t next;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cron_t cron = s_parse(cases[i].text);
        assert_int_equal(cron.every_s, cases[i].seconds);
        assert_false(cron_next(&cron, 0, &next));
        assert_false(cron_matches(&cron, 0));
        assert_false(cron_is_hourly(&cron));
    }
}

static void
test_hourly_is_what_runs_in_every_hour(void **state)
{
    (void) state;
    static const char *const yes[] = { "* * * * *", "5 * * * *", "@hourly", "0 0-23 * * *", "0 */1 1 1 *" };
    static const char *const no[] = { "* 2 * * *", "@daily", "0 1-23 * * *", "0 */2 * * *" };
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        cron_t cron = s_parse(yes[i]);
        assert_true(cron_is_hourly(&cron));
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        cron_t cron = s_parse(no[i]);
        assert_false(cron_is_hourly(&cron));
    }
}

/* ---- against a search minute by minute, over expressions whose sets the test knows without parsing them
 * ---- */

typedef struct {
    bool minutes[60], hours[24], days[32], months[13], weekdays[7];
    bool last_day, either;
    char text[CRON_TEXT_MAX + 1];
} model_t;

/* Appends a random field over [min, max] to the text and marks its values. */
static void
s_random_field(weft_rng_t *rng, weft_buf_t *text, bool *set, int min, int max, bool *begins_with_star)
{
    uint64_t kind = weft_rng_below(rng, 6);
    *begins_with_star = kind < 3;
    if (kind < 3) {
        int step = kind < 2 ? 1 : 1 + (int) weft_rng_below(rng, (uint64_t) max);
        weft_buf_addf(text, step == 1 ? "*" : "*/%d", step);
        for (int v = min; v <= max; v += step)
            set[v] = true;
        return;
    }
    for (uint64_t items = 1 + weft_rng_below(rng, 3); items > 0; items--) {
        int a = min + (int) weft_rng_below(rng, (uint64_t) max - (uint64_t) min + 1);
        int b = a + (int) weft_rng_below(rng, (uint64_t) max - (uint64_t) a + 1);
        int step = 1 + (int) weft_rng_below(rng, 5);
        if (kind == 3)
            b = a, step = 1, weft_buf_addf(text, "%d", a);
        else if (kind == 4)
            step = 1, weft_buf_addf(text, "%d-%d", a, b);
        else
            weft_buf_addf(text, "%d-%d/%d", a, b, step);
        for (int v = a; v <= b; v += step)
            set[v] = true;
        if (items > 1)
            weft_buf_add_char(text, ',');
    }
}

static void
s_random_model(weft_rng_t *rng, model_t *model)
{
    weft_buf_t text;
    bool star, day_star, weekday_star, week[8] = { false };
    memset(model, 0, sizeof *model);
    weft_buf_init(&text, 4096);
    s_random_field(rng, &text, model->minutes, 0, 59, &star);
    weft_buf_add_char(&text, ' ');
    s_random_field(rng, &text, model->hours, 0, 23, &star);
    weft_buf_add_char(&text, ' ');
    s_random_field(rng, &text, model->days, 1, 31, &day_star);
    if (weft_rng_below(rng, 5) == 0) {
        model->last_day = true;
        weft_buf_add_text(&text, ",L");
    }
    weft_buf_add_char(&text, ' ');
    s_random_field(rng, &text, model->months, 1, 12, &star);
    weft_buf_add_char(&text, ' ');
    s_random_field(rng, &text, week, 0, 6, &weekday_star);
    for (int i = 0; i < 7; i++)
        model->weekdays[i] = week[i];
    model->either = !day_star && !weekday_star;
    assert_false(text.failed);
    assert_true(text.size <= CRON_TEXT_MAX);
    weft_format(model->text, sizeof model->text, "%.*s", (int) text.size, text.data);
    weft_buf_fini(&text);
}

static bool
s_model_matches(const model_t *model, int64_t at)
{
    time_t seconds = at * 60, tomorrow = seconds + 86400;
    struct tm tm, next;
    gmtime_r(&seconds, &tm);
    gmtime_r(&tomorrow, &next);
    bool of_month = model->days[tm.tm_mday] || (model->last_day && next.tm_mday == 1);
    bool of_week = model->weekdays[tm.tm_wday];
    return model->minutes[tm.tm_min] && model->hours[tm.tm_hour] && model->months[tm.tm_mon + 1] &&
           (model->either ? of_month || of_week : of_month && of_week);
}

static void
test_next_is_what_a_naive_search_finds(void **state)
{
    (void) state;
    weft_rng_t rng;
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
    int found = 0;
    weft_rng_seed(&rng, seed);
    for (int round = 0; round < 1200; round++) {
        model_t model;
        cron_t cron;
        char why[400];
        s_random_model(&rng, &model);
        int64_t after = (int64_t) weft_rng_below(&rng, 80ull * 366 * 1440), next = 0, naive = 0;
        bool parsed = cron_parse(weft_span(model.text), &cron, why, sizeof why);
        if (!parsed) {
            assert_string_equal(why, "never matches: no such day of month in these months");
            next = INT64_MAX;
        } else {
            assert_true(cron_next(&cron, after, &next));
        }
        /* Two months of minutes: most are found there; of the others at least that they are not. */
        for (naive = after + 1; naive < after + 60 * 1440 && !s_model_matches(&model, naive); naive++)
            ;
        if (naive < after + 60 * 1440) {
            found++;
            if (next != naive)
                fail_msg("seed %llu: %s after %lld: %s", (unsigned long long) seed, model.text,
                         (long long) after, s_text(next));
        } else {
            assert_true(next >= naive);
            assert_true(next == INT64_MAX || s_model_matches(&model, next));
        }
        for (int i = 0; parsed && i < 50; i++) {
            int64_t at = after + (int64_t) weft_rng_below(&rng, 400 * 1440);
            assert_int_equal(cron_matches(&cron, at), s_model_matches(&model, at));
        }
    }
    assert_true(found > 500);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_finds_the_documented_times),
        cmocka_unit_test(test_refusals_name_field_and_rule),
        cmocka_unit_test(test_thirtieth_of_february_or_a_monday_does_come),
        cmocka_unit_test(test_every_is_a_period_and_no_civil_time),
        cmocka_unit_test(test_hourly_is_what_runs_in_every_hour),
        cmocka_unit_test(test_next_is_what_a_naive_search_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
