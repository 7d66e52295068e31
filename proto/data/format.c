/* format - the texts that JSON Schema's keyword `format` names, each by its own grammar */
#include "format.h"

#include "format_uri.h"

/* A text that is being read from its beginning. */
typedef struct {
    const char *at;
    const char *end;
} s_text_t;

static inline bool
s_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool
s_is_hex(char c)
{
    return s_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Exactly `digits` digits. */
static bool
s_number(s_text_t *text, int digits, int *number)
{
    if (text->end - text->at < digits)
        return false;
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!s_is_digit(text->at[i]))
            return false;
        value = value * 10 + (text->at[i] - '0');
    }
    text->at += digits;
    *number = value;
    return true;
}

static bool
s_char(s_text_t *text, char c)
{
    if (text->at == text->end || *text->at != c)
        return false;
    text->at++;
    return true;
}

/* RFC 3339, full-date */
static bool
s_date(s_text_t *text)
{
    static const int DAYS[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day;
    if (!s_number(text, 4, &year) || !s_char(text, '-') || !s_number(text, 2, &month) || !s_char(text, '-') ||
        !s_number(text, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1)
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= DAYS[month - 1] + (month == 2 && leap);
}

/* RFC 3339, full-time; second 60 only where it is 23:59:60 in UTC. */
static bool
s_time(s_text_t *text)
{
    int hour, minute, second;
    if (!s_number(text, 2, &hour) || !s_char(text, ':') || !s_number(text, 2, &minute) ||
        !s_char(text, ':') || !s_number(text, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (s_char(text, '.')) {
        const char *begin = text->at;
        while (text->at < text->end && s_is_digit(*text->at))
            text->at++;
        if (text->at == begin)
            return false;
    }
    int offset = 0;
    if (!s_char(text, 'Z') && !s_char(text, 'z')) {
        int sign = s_char(text, '+') ? 1 : s_char(text, '-') ? -1 : 0;
        int offset_hour, offset_minute;
        if (sign == 0 || !s_number(text, 2, &offset_hour) || !s_char(text, ':') ||
            !s_number(text, 2, &offset_minute) || offset_hour > 23 || offset_minute > 59)
            return false;
        offset = sign * (offset_hour * 60 + offset_minute);
    }
    int utc = ((hour * 60 + minute - offset) % 1440 + 1440) % 1440;
    return second < 60 || utc == 1439;
}

static bool
s_check_date(weft_span_t span)
{
    s_text_t text = { span.data, span.data + span.size };
    return s_date(&text) && text.at == text.end;
}

static bool
s_check_time(weft_span_t span)
{
    s_text_t text = { span.data, span.data + span.size };
    return s_time(&text) && text.at == text.end;
}

static bool
s_check_date_time(weft_span_t span)
{
    s_text_t text = { span.data, span.data + span.size };
    return s_date(&text) && (s_char(&text, 'T') || s_char(&text, 't')) && s_time(&text) &&
           text.at == text.end;
}

/* Reads "digits unit" parts whose units follow each other in `units` without a gap; how many there were, -1
 * when it is not so. */
static int
s_duration_parts(s_text_t *text, const char *units)
{
    int count = 0;
    const char *expected = NULL; /* any, at the beginning */
    while (text->at < text->end && s_is_digit(*text->at)) {
        while (text->at < text->end && s_is_digit(*text->at))
            text->at++;
        if (text->at == text->end || !*text->at)
            return -1;
        const char *unit = strchr(units, *text->at);
        if (!unit || (expected && unit != expected))
            return -1;
        text->at++;
        expected = unit + 1;
        count++;
    }
    return count;
}

/* RFC 3339, appendix A */
static bool
s_check_duration(weft_span_t span)
{
    s_text_t text = { span.data, span.data + span.size };
    if (!s_char(&text, 'P'))
        return false;
    s_text_t weeks = text;
    if (s_duration_parts(&weeks, "W") == 1)
        return weeks.at == weeks.end;
    int dates = s_duration_parts(&text, "YMD");
    if (dates < 0)
        return false;
    int times = 0;
    if (s_char(&text, 'T')) {
        times = s_duration_parts(&text, "HMS");
        if (times <= 0)
            return false;
    }
    return dates + times > 0 && text.at == text.end;
}

/* RFC 4122, section 3 */
static bool
s_check_uuid(weft_span_t text)
{
    if (text.size != 36)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? text.data[i] != '-' : !s_is_hex(text.data[i]))
            return false;
    }
    return true;
}

/* RFC 6901, section 3 */
static bool
s_check_json_pointer(weft_span_t text)
{
    if (text.size > 0 && text.data[0] != '/')
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '~' &&
            (i + 1 == text.size || (text.data[i + 1] != '0' && text.data[i + 1] != '1')))
            return false;
    }
    return true;
}

static const format_t FORMATS[] = {
    { "date", "must be a date such as 2026-07-31", s_check_date },
    { "date-time", "must be a date and time such as 2026-07-31T12:00:00Z", s_check_date_time },
    { "duration", "must be a duration such as P1DT12H", s_check_duration },
    { "email", "must be an e-mail address", format_email },
    { "hostname", "must be a host name", format_hostname },
    { "ipv4", "must be an IPv4 address", format_ipv4 },
    { "ipv6", "must be an IPv6 address", format_ipv6 },
    { "json-pointer", "must be a JSON pointer", s_check_json_pointer },
    { "time", "must be a time with offset such as 12:00:00Z", s_check_time },
    { "uri", "must be a URI", format_uri },
    { "uri-reference", "must be a URI or a relative reference", format_uri_reference },
    { "uuid", "must be a UUID", s_check_uuid },
};

const format_t *
format_find(weft_span_t name)
{
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++) {
        if (weft_span_equal(name, weft_span(FORMATS[i].name)))
            return &FORMATS[i];
    }
    return NULL;
}
