/* cron - five-field cron expressions: when is the next time?
 *
 * Pure logic over civil time: what a wall clock shows, without zone or summer time.  schedule_time.h joins it
 * with zones.
 *
 *     minute        0-59
 *     hour          0-23
 *     day of month  1-31, L: the last one
 *     month         1-12 or JAN-DEC
 *     day of week   0-7 or SUN-SAT; 0 and 7 are Sunday
 *
 * A field is a list of items separated by commas; an item is *, a value, a range a-b, and behind a range or *
 * perhaps a step: 0-30/10.  As in every cron since Paul Vixie's, a time matches when minute, hour and month
 * do and, where both day fields are restricted (neither begins with *), either of them; else both.
 * @hourly @daily @midnight @weekly @monthly @yearly @annually stand for what they say; @every 1h30m (units s,
 * m, h, d) is no civil time but a period. */
#ifndef JOBS_CRON_H
#define JOBS_CRON_H

#include <weft/buf.h>

#define CRON_TEXT_MAX 256                /* bytes of an expression */
#define CRON_EVERY_MAX_S (366 * 86400ll) /* the longest period; the shortest is a second */
#define CRON_SEARCH_YEARS 50 /* 29 February falls on a given weekday every 28 years, or 40 around 2100 */

typedef struct {
    int64_t every_s;  /* @every: the period, and nothing else is set; else 0 */
    uint64_t minutes; /* bit n: minute n */
    uint32_t hours;
    uint32_t days;    /* bits 1 to 31 */
    uint16_t months;  /* bits 1 to 12 */
    uint8_t weekdays; /* bits 0 to 6, Sunday first */
    bool last_day;    /* L */
    bool either_day;  /* both day fields are restricted: one of them is enough */
} cron_t;

/* Reads an expression.  False with a text that names field and rule in `why`; also for one that never comes,
 * as 30 February.  Any thread. */
bool cron_parse(weft_span_t text, cron_t *self, char *why, size_t why_size) WEFT_MUST_CHECK;

/* Civil times are minutes since 1970-01-01 00:00 on the wall clock in question. */

/* True when the minute `at` matches; never with @every. */
bool cron_matches(const cron_t *self, int64_t at);
/* The first match after `after`.  False with @every, and where none comes within CRON_SEARCH_YEARS. */
bool cron_next(const cron_t *self, int64_t after, int64_t *next) WEFT_MUST_CHECK;
/* True when it matches in every hour of the days that it matches: such a schedule follows real time when the
 * clock is changed, others happen once on each day. */
bool cron_is_hourly(const cron_t *self);

#endif
