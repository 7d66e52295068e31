/* log - one event, one line on standard error, written at once */
#include <weft/log.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <weft/clock.h>

#include "runtime/log_counts.h"
#include "runtime/text.h"

#define LINE_MAX_BYTES ((size_t) 8192)
/* Kept free for what ends a cut line: a quote, `, "cut": true}` and the newline. */
#define TAIL_BYTES ((size_t) 32)
#define CONTEXT_MAX ((size_t) 64)
/* A pipe that nobody reads: how long a line waits before it is counted as lost. */
#define WRITE_WAIT_MS 100

static const char *const LEVELS[] = { "debug", "info", "warning", "error" };
#define LEVEL_COUNT (sizeof LEVELS / sizeof LEVELS[0])

/* Logging is the one thing that belongs to the process and not to an object: its settings are written once,
 * before the first thread. */
static struct {
    const char *component;
    weft_log_level_t level;
    bool json;
} s_settings = { "weft", WEFT_LOG_INFO, false };

static _Atomic uint64_t s_lines[LEVEL_COUNT];
static _Atomic uint64_t s_lost;

typedef struct {
    char text[CONTEXT_MAX];
    size_t size;
} context_t;

static _Thread_local context_t s_request_id;
static _Thread_local context_t s_trace_id;

/* A line in the making.  `limit` is where content ends; once something did not fit, `cut` is set and nothing
 * is added any more. */
typedef struct {
    char text[LINE_MAX_BYTES];
    size_t size;
    size_t limit;
    bool cut;
} line_t;

void
weft_log_setup(const char *component, weft_log_level_t level, weft_log_format_t format)
{
    s_settings.component = component;
    s_settings.level = level;
    s_settings.json = format == WEFT_LOG_JSON || (format == WEFT_LOG_AUTO && !isatty(STDERR_FILENO));
}

bool
weft_log_enabled(weft_log_level_t level)
{
    return level >= s_settings.level && level < WEFT_LOG_OFF;
}

/* All of it or nothing. */
static bool
s_add(line_t *line, const char *data, size_t size)
{
    if (line->cut || size > line->limit - line->size) {
        line->cut = true;
        return false;
    }
    memcpy(line->text + line->size, data, size);
    line->size += size;
    return true;
}

static bool
s_add_text(line_t *line, const char *text)
{
    return s_add(line, text, strlen(text));
}

/* One character (or one broken byte) of a value, as it may stand between quotes. */
static bool
s_add_character(line_t *line, const char *at, size_t length)
{
    char escaped[8];
    if (length == 0)
        return s_add_text(line, TEXT_REPLACEMENT);
    if (*at == '"' || *at == '\\') {
        escaped[0] = '\\';
        escaped[1] = *at;
        return s_add(line, escaped, 2);
    }
    if (*at == '\n')
        return s_add_text(line, "\\n");
    if (*at == '\t')
        return s_add_text(line, "\\t");
    if (text_is_control(at, length)) {
        const unsigned code = (unsigned char) at[length - 1]; /* of C1 the second byte is the code */
        return s_add_text(line, weft_format(escaped, sizeof escaped, "\\u%04x", code));
    }
    return s_add(line, at, length);
}

/* Cut at a whole character where it does not fit. */
static void
s_add_escaped(line_t *line, weft_span_t value)
{
    for (size_t i = 0; i < value.size && !line->cut;) {
        const size_t length = text_character(value.data + i, value.size - i);
        s_add_character(line, value.data + i, length);
        i += length ? length : 1;
    }
}

static void
s_add_quoted(line_t *line, weft_span_t value)
{
    if (!s_add_text(line, "\""))
        return;
    s_add_escaped(line, value);
    line->text[line->size++] = '"'; /* TAIL_BYTES keep room */
}

/* In text lines a value of plain characters stands without quotes. */
static bool
s_is_plain(weft_span_t value)
{
    for (size_t i = 0; i < value.size; i++) {
        const unsigned char c = (unsigned char) value.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return value.size > 0;
}

static void
s_add_value(line_t *line, const weft_field_t *field)
{
    char number[40];
    switch (field->type) {
    case WEFT_FIELD_STR:
        if (!s_settings.json && s_is_plain(field->v.s))
            s_add_escaped(line, field->v.s);
        else
            s_add_quoted(line, field->v.s);
        return;
    case WEFT_FIELD_INT:
        s_add_text(line, weft_format(number, sizeof number, "%" PRId64, field->v.i));
        return;
    case WEFT_FIELD_UINT:
        s_add_text(line, weft_format(number, sizeof number, "%" PRIu64, field->v.u));
        return;
    case WEFT_FIELD_FLOAT:
        /* JSON has no word for these. */
        if (isfinite(field->v.f))
            s_add_text(line, weft_format(number, sizeof number, "%.9g", field->v.f));
        else
            s_add_text(line, "null");
        return;
    case WEFT_FIELD_BOOL:
        s_add_text(line, field->v.b ? "true" : "false");
        return;
    }
}

/* Leaves the line as it was where the name does not fit together with the least value. */
static void
s_add_field(line_t *line, const weft_field_t *field)
{
    const size_t before = line->size;
    if (s_settings.json) {
        s_add_text(line, ", \"");
        s_add_escaped(line, weft_span(field->name));
        s_add_text(line, "\": ");
    } else {
        s_add_text(line, " ");
        s_add_text(line, field->name);
        s_add_text(line, "=");
    }
    const size_t value_at = line->size;
    if (!line->cut)
        s_add_value(line, field);
    if (line->size == value_at && line->cut)
        line->size = before;
}

static void
s_add_context(line_t *line, const char *name, const context_t *context)
{
    if (context->size > 0) {
        const weft_span_t value = { context->text, context->size };
        s_add_field(line, &WEFT_BYTES(name, value));
    }
}

/* RFC 3339, UTC, milliseconds: "2026-11-22T19:12:54.123Z". */
static void
s_add_time(line_t *line)
{
    const int64_t now_us = weft_wall_us();
    const time_t seconds = (time_t) (now_us / 1000000);
    struct tm utc;
    char text[48] = "";
    if (gmtime_r(&seconds, &utc))
        weft_format(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                    utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                    (int) (now_us / 1000 % 1000));
    s_add_text(line, text);
}

static void
s_write(const line_t *line)
{
    size_t done = 0;
    while (done < line->size) {
        const ssize_t got = write(STDERR_FILENO, line->text + done, line->size - done);
        if (got > 0) {
            done += (size_t) got;
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };
        if (got < 0 && errno == EAGAIN && poll(&fd, 1, WRITE_WAIT_MS) > 0 && (fd.revents & POLLOUT) != 0)
            continue;
        atomic_fetch_add_explicit(&s_lost, 1, memory_order_relaxed);
        return;
    }
}

void
weft_log_write(weft_log_level_t level, const char *message, const weft_field_t *fields, size_t count)
{
    if ((size_t) level >= LEVEL_COUNT)
        return;
    const int saved_errno = errno; /* callers log between a failure and their look at errno */
    line_t line;
    line.size = 0;
    line.limit = sizeof line.text - TAIL_BYTES;
    line.cut = false;
    if (s_settings.json) {
        s_add_text(&line, "{\"time\": \"");
        s_add_time(&line);
        s_add_text(&line, "\", \"level\": \"");
        s_add_text(&line, LEVELS[level]);
        s_add_text(&line, "\", \"component\": ");
        s_add_quoted(&line, weft_span(s_settings.component));
        s_add_text(&line, ", \"message\": ");
        s_add_quoted(&line, weft_span(message));
    } else {
        s_add_time(&line);
        s_add_text(&line, " ");
        s_add_text(&line, LEVELS[level]);
        s_add_text(&line, " ");
        s_add_text(&line, s_settings.component);
        s_add_text(&line, ": ");
        s_add_escaped(&line, weft_span(message));
    }
    s_add_context(&line, "request_id", &s_request_id);
    s_add_context(&line, "trace_id", &s_trace_id);
    for (size_t i = 0; i < count && !line.cut; i++)
        s_add_field(&line, &fields[i]);
    const bool cut = line.cut;
    line.limit = sizeof line.text;
    line.cut = false;
    if (cut)
        s_add_text(&line, s_settings.json ? ", \"cut\": true" : " cut=true");
    s_add_text(&line, s_settings.json ? "}\n" : "\n");
    atomic_fetch_add_explicit(&s_lines[level], 1, memory_order_relaxed);
    s_write(&line);
    errno = saved_errno;
}

static void
s_set_context(context_t *context, weft_span_t value)
{
    size_t size = value.data ? value.size : 0;
    if (size > CONTEXT_MAX)
        size = CONTEXT_MAX;
    if (size > 0)
        memcpy(context->text, value.data, size);
    context->size = size;
}

void
weft_log_context(weft_span_t request_id, weft_span_t trace_id)
{
    s_set_context(&s_request_id, request_id);
    s_set_context(&s_trace_id, trace_id);
}

const char *
weft_format(char *text, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, size, format, args) < 0 && size > 0)
        text[0] = '\0';
    va_end(args);
    return text;
}

uint64_t
log_lines(weft_log_level_t level)
{
    return (size_t) level < LEVEL_COUNT ? atomic_load_explicit(&s_lines[level], memory_order_relaxed) : 0;
}

uint64_t
log_lines_lost(void)
{
    return atomic_load_explicit(&s_lost, memory_order_relaxed);
}
