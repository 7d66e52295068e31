/* instant - points in time as RFC 3339 texts and as microseconds since 1970 */
#include "instant.h"

#include <weft/log.h>

#define DAY_S 86400
#define YEAR_0_S (-62167219200ll) /* 0000-01-01T00:00:00Z */
#define YEAR_10000_S 253402300800ll

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Hinnant, "chrono-Compatible Low-Level
 * Date Algorithms", days_from_civil), for years from 0. */
static int64_t
s_days(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Reads exactly `digits` digits within [min, max] at *at. */
static bool
s_number(const char **at, const char *end, int digits, int min, int max, int64_t *number)
{
    int value = 0;
    if (end - *at < digits)
        return false;
    for (int i = 0; i < digits; i++) {
        if ((*at)[i] < '0' || (*at)[i] > '9')
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    if (value < min || value > max)
        return false;
    *at += digits;
    *number = value;
    return true;
}

static bool
s_sign(const char **at, const char *end, const char *allowed)
{
    if (*at >= end || !strchr(allowed, **at) || **at == '\0')
        return false;
    (*at)++;
    return true;
}

static int
s_month_days(int64_t year, int64_t month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* The part of a second behind the point, in microseconds. */
static bool
s_fraction(const char **at, const char *end, int64_t *us)
{
    int64_t scale = 100000;
    const char *first = *at + 1;
    *us = 0;
    if (*at >= end || **at != '.')
        return true;
    for (*at = first; *at < end && **at >= '0' && **at <= '9'; (*at)++, scale /= 10)
        *us += (**at - '0') * scale;
    return *at > first;
}

static bool
s_offset(const char **at, const char *end, int64_t *seconds)
{
    int64_t hours, minutes;
    *seconds = 0;
    if (s_sign(at, end, "Zz"))
        return true;
    if (*at >= end)
        return false;
    int64_t sign = **at == '-' ? -1 : 1;
    if (!s_sign(at, end, "+-") || !s_number(at, end, 2, 0, 23, &hours) || !s_sign(at, end, ":") ||
        !s_number(at, end, 2, 0, 59, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool
instant_parse(weft_span_t text, int64_t *us)
{
    const char *at = text.data;
    const char *end = at + text.size;
    int64_t year, month, day, hour, minute, second, fraction_us, offset_s;
    if (!at || !s_number(&at, end, 4, 0, 9999, &year) || !s_sign(&at, end, "-") ||
        !s_number(&at, end, 2, 1, 12, &month) || !s_sign(&at, end, "-") ||
        !s_number(&at, end, 2, 1, s_month_days(year, month), &day) || !s_sign(&at, end, "Tt ") ||
        !s_number(&at, end, 2, 0, 23, &hour) || !s_sign(&at, end, ":") ||
        !s_number(&at, end, 2, 0, 59, &minute) || !s_sign(&at, end, ":") ||
        !s_number(&at, end, 2, 0, 60, &second) || !s_fraction(&at, end, &fraction_us) ||
        !s_offset(&at, end, &offset_s) || at != end)
        return false;
    int64_t seconds = s_days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset_s;
    *us = seconds * 1000000 + fraction_us;
    return true;
}

const char *
instant_text(int64_t us, char text[INSTANT_TEXT])
{
    int64_t seconds = us / 1000000 - (us % 1000000 < 0);
    int64_t ms = (us % 1000000 + (us % 1000000 < 0 ? 1000000 : 0)) / 1000;
    if (seconds >= YEAR_10000_S) {
        seconds = YEAR_10000_S - 1;
        ms = 999;
    }
    if (seconds < YEAR_0_S) {
        seconds = YEAR_0_S;
        ms = 0;
    }
    int64_t days = seconds / DAY_S - (seconds % DAY_S < 0);
    int64_t of_day = seconds - days * DAY_S;
    /* civil_from_days of the same source */
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t shifted = (5 * of_year + 2) / 153; /* months from March */
    int64_t day = of_year - (153 * shifted + 2) / 5 + 1;
    int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    year += era * 400 + (month <= 2);
    return weft_format(text, INSTANT_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int) year, (int) month,
                       (int) day, (int) (of_day / 3600), (int) (of_day / 60 % 60), (int) (of_day % 60),
                       (int) ms);
}
