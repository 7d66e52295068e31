/* cron - five-field cron expressions: when is the next time? */
#include "cron.h"

#include <ctype.h>
#include <strings.h>

#include <weft/log.h>
#include <weft/status.h>

#define DAY_MINUTES 1440

typedef struct {
    const char *name; /* in errors */
    int min, max;
    const char *const *values; /* names of values, `first` onwards; NULL: none */
    int first, count;
} field_t;

static const char *const s_month_names[] = { "JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                             "JUL", "AUG", "SEP", "OCT", "NOV", "DEC" };
static const char *const s_weekday_names[] = { "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT" };

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };
static const field_t s_fields[FIELDS] = {
    [MINUTE] = { "minute", 0, 59, NULL, 0, 0 },
    [HOUR] = { "hour", 0, 23, NULL, 0, 0 },
    [DAY] = { "day of month", 1, 31, NULL, 0, 0 },
    [MONTH] = { "month", 1, 12, s_month_names, 1, 12 },
    [WEEKDAY] = { "day of week", 0, 7, s_weekday_names, 0, 7 },
};

static const struct {
    const char *name, *expression;
} s_macros[] = {
    { "@hourly", "0 * * * *" },   { "@daily", "0 0 * * *" },   { "@midnight", "0 0 * * *" },
    { "@weekly", "0 0 * * 0" },   { "@monthly", "0 0 1 * *" }, { "@yearly", "0 0 1 1 *" },
    { "@annually", "0 0 1 1 *" },
};

typedef struct {
    char *why;
    size_t size;
} fault_t;

/* False, with the reason written. */
#define s_refuse(fault, ...) (weft_format((fault)->why, (fault)->size, __VA_ARGS__), false)

/* ---- civil time ---- */

static int64_t
s_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool
s_is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
s_month_days(int64_t year, int month)
{
    static const int days[] = { 0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return days[month] + (month == 2 && s_is_leap(year));
}

/* Days since 1970-01-01, of the proleptic Gregorian calendar, and back: Howard Hinnant, "chrono-compatible
 * low-level date algorithms". */
static int64_t
s_days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = s_floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void
s_civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = s_floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153; /* March is 0 */
    *day = (int) (day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int) (shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int
s_weekday(int64_t days)
{
    return (int) (days + 4 - s_floor_div(days + 4, 7) * 7); /* 1970-01-01 was a Thursday */
}

/* ---- reading ---- */

static bool
s_is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The next piece of `*rest` up to the separator; *rest is moved behind that. */
static weft_span_t
s_split(weft_span_t *rest, char separator)
{
    const char *at = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
    weft_span_t piece = { rest->data, at ? (size_t) (at - rest->data) : rest->size };
    size_t taken = at ? piece.size + 1 : piece.size;
    rest->data += taken;
    rest->size -= taken;
    return piece;
}

static bool
s_number(weft_span_t text, int *number)
{
    if (text.size == 0 || text.size > 4)
        return false;
    int value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    *number = value;
    return true;
}

static bool
s_value(const field_t *field, weft_span_t text, int *value, const fault_t *fault)
{
    for (int i = 0; i < field->count; i++) {
        if (text.size == 3 && strncasecmp(text.data, field->values[i], 3) == 0) {
            *value = field->first + i;
            return true;
        }
    }
    if (!s_number(text, value))
        return s_refuse(fault, "%s: \"%.*s\" is no number%s", field->name, (int) text.size, text.data,
                        field->values ? " and no name" : "");
    if (*value < field->min || *value > field->max)
        return s_refuse(fault, "%s: %d is not within %d to %d", field->name, *value, field->min, field->max);
    return true;
}

static bool
s_range(const field_t *field, weft_span_t text, int *from, int *to, const fault_t *fault)
{
    weft_span_t last = text, first = s_split(&last, '-');
    bool single = first.size == text.size;
    if (!s_value(field, first, from, fault))
        return false;
    *to = *from;
    if (single)
        return true;
    if (!s_value(field, last, to, fault))
        return false;
    if (field == &s_fields[WEEKDAY] && *to == 0 && *from > 0)
        *to = 7; /* FRI-SUN */
    if (*to < *from)
        return s_refuse(fault, "%s: the range %.*s ends before it begins", field->name, (int) text.size,
                        text.data);
    return true;
}

/* One item of the list: adds its bits. */
static bool
s_item(const field_t *field, weft_span_t item, uint64_t *bits, bool *last_day, const fault_t *fault)
{
    weft_span_t step_text = item, range = s_split(&step_text, '/');
    bool stepped = range.size != item.size, star = weft_span_equal(range, weft_span("*"));
    int from = field->min, to = field == &s_fields[WEEKDAY] ? 6 : field->max, step = 1;
    if (item.size == 0)
        return s_refuse(fault, "%s: an item of the list is empty", field->name);
    if (field == &s_fields[DAY] && item.size == 1 && (*item.data == 'L' || *item.data == 'l')) {
        *last_day = true;
        return true;
    }
    if (!star && !s_range(field, range, &from, &to, fault))
        return false;
    if (stepped) {
        if (!star && !memchr(range.data, '-', range.size))
            return s_refuse(fault, "%s: the step in %.*s needs * or a range before it", field->name,
                            (int) item.size, item.data);
        if (!s_number(step_text, &step) || step < 1 || step > field->max)
            return s_refuse(fault, "%s: the step in %.*s is not within 1 to %d", field->name, (int) item.size,
                            item.data, field->max);
    }
    for (int value = from; value <= to; value += step)
        *bits |= UINT64_C(1) << value;
    return true;
}

static bool
s_field(const field_t *field, weft_span_t text, uint64_t *bits, bool *last_day, const fault_t *fault)
{
    *bits = 0;
    bool more = true;
    while (more) {
        weft_span_t item = s_split(&text, ',');
        more = item.data + item.size != text.data; /* a comma lay between */
        if (!s_item(field, item, bits, last_day, fault))
            return false;
    }
    return true;
}

static bool
s_fields_parse(weft_span_t text, cron_t *self, const fault_t *fault)
{
    weft_span_t parts[FIELDS];
    int count = 0;
    for (size_t i = 0; i < text.size;) {
        size_t begin = i;
        while (i < text.size && !s_is_space(text.data[i]))
            i++;
        if (count < FIELDS)
            parts[count] = (weft_span_t){ text.data + begin, i - begin };
        count++;
        while (i < text.size && s_is_space(text.data[i]))
            i++;
    }
    if (count != FIELDS)
        return s_refuse(
            fault, "expected five fields (minute, hour, day of month, month, day of week), got %d", count);
    uint64_t bits[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        if (!s_field(&s_fields[i], parts[i], &bits[i], &self->last_day, fault))
            return false;
    }
    self->minutes = bits[MINUTE];
    self->hours = (uint32_t) bits[HOUR];
    self->days = (uint32_t) bits[DAY];
    self->months = (uint16_t) bits[MONTH];
    self->weekdays = (uint8_t) ((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f);
    self->either_day = parts[DAY].data[0] != '*' && parts[WEEKDAY].data[0] != '*';
    return true;
}

/* "1h30m" in seconds. */
static bool
s_every(weft_span_t text, int64_t *seconds, const fault_t *fault)
{
    int64_t total = 0;
    size_t i = 0;
    while (i < text.size) {
        int64_t number = 0;
        size_t begin = i;
        for (; i < text.size && isdigit((unsigned char) text.data[i]) && number <= CRON_EVERY_MAX_S; i++)
            number = number * 10 + (text.data[i] - '0');
        char unit = i < text.size && i > begin ? text.data[i++] : '\0';
        if (unit != 's' && unit != 'm' && unit != 'h' && unit != 'd')
            return s_refuse(fault, "@every: \"%.*s\" is no period such as 90s, 15m or 1h30m", (int) text.size,
                            text.data);
        total += number * (unit == 'd' ? 86400 : unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
        if (number > CRON_EVERY_MAX_S || total > CRON_EVERY_MAX_S)
            return s_refuse(fault, "@every: a period is at most 366 days");
    }
    if (total < 1)
        return s_refuse(fault, "@every: a period is at least one second");
    *seconds = total;
    return true;
}

static bool
s_macro(weft_span_t text, cron_t *self, const fault_t *fault)
{
    static const char every[] = "@every";
    size_t size = sizeof every - 1;
    if (text.size > size && strncasecmp(text.data, every, size) == 0 && s_is_space(text.data[size])) {
        while (size < text.size && s_is_space(text.data[size]))
            size++;
        return s_every((weft_span_t){ text.data + size, text.size - size }, &self->every_s, fault);
    }
    for (size_t i = 0; i < sizeof s_macros / sizeof s_macros[0]; i++) {
        if (text.size == strlen(s_macros[i].name) && strncasecmp(text.data, s_macros[i].name, text.size) == 0)
            return s_fields_parse(weft_span(s_macros[i].expression), self, fault);
    }
    return s_refuse(fault, "\"%.*s\" is none of @hourly, @daily, @weekly, @monthly, @yearly, @every PERIOD",
                    (int) text.size, text.data);
}

bool
cron_parse(weft_span_t text, cron_t *self, char *why, size_t why_size)
{
    fault_t fault = { why, why_size };
    cron_t parsed = { 0 };
    int64_t next;
    while (text.size > 0 && s_is_space(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && s_is_space(text.data[text.size - 1]))
        text.size--;
    if (text.size > CRON_TEXT_MAX)
        return s_refuse(&fault, "longer than %d bytes", CRON_TEXT_MAX);
    bool good = text.size > 0 && text.data[0] == '@' ? s_macro(text, &parsed, &fault)
                                                     : s_fields_parse(text, &parsed, &fault);
    if (!good)
        return false;
    /* Any beginning will do: the calendar repeats well within the search. */
    if (parsed.every_s == 0 && !cron_next(&parsed, s_days_from_civil(2020, 1, 1) * DAY_MINUTES, &next))
        return s_refuse(&fault, "never matches: no such day of month in these months");
    *self = parsed;
    return true;
}

/* ---- searching ---- */

static bool
s_day_matches(const cron_t *self, int64_t year, int month, int day, int64_t days)
{
    bool of_month = (self->days >> day & 1) || (self->last_day && day == s_month_days(year, month));
    bool of_week = self->weekdays >> s_weekday(days) & 1;
    return self->either_day ? of_month || of_week : of_month && of_week;
}

bool
cron_matches(const cron_t *self, int64_t at)
{
    int64_t days = s_floor_div(at, DAY_MINUTES), year;
    int minute = (int) (at - days * DAY_MINUTES), month, day;
    s_civil_from_days(days, &year, &month, &day);
    return self->every_s == 0 && (self->months >> month & 1) && s_day_matches(self, year, month, day, days) &&
           (self->hours >> (minute / 60) & 1) && (self->minutes >> (minute % 60) & 1);
}

/* The first matching minute of a day at or after `from`; -1: none. */
static int
s_minute_of_day(const cron_t *self, int from)
{
    for (int hour = from / 60; hour < 24; hour++) {
        int first = hour == from / 60 ? from % 60 : 0;
        uint64_t left = self->minutes >> first;
        if ((self->hours >> hour & 1) && left)
            return hour * 60 + first + __builtin_ctzll(left);
    }
    return -1;
}

bool
cron_next(const cron_t *self, int64_t after, int64_t *next)
{
    int64_t days = s_floor_div(after + 1, DAY_MINUTES), year;
    int from = (int) (after + 1 - days * DAY_MINUTES), month, day;
    s_civil_from_days(days, &year, &month, &day);
    if (self->every_s > 0)
        return false;
    for (int64_t last = year + CRON_SEARCH_YEARS; year <= last;
         year += month == 12, month = month % 12 + 1, day = 1) {
        days = s_days_from_civil(year, month, day);
        for (int end = s_month_days(year, month); (self->months >> month & 1) && day <= end; day++, days++) {
            int minute = s_day_matches(self, year, month, day, days) ? s_minute_of_day(self, from) : -1;
            from = 0;
            if (minute >= 0) {
                *next = days * DAY_MINUTES + minute;
                return true;
            }
        }
        from = 0;
    }
    return false;
}

bool
cron_is_hourly(const cron_t *self)
{
    return self->every_s == 0 && self->hours == 0xffffff;
}
