/* log - one event, one line: JSON for machines, text for a terminal */
#ifndef WEFT_LOG_H
#define WEFT_LOG_H

#include <stdbool.h>

#include <weft/buf.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    WEFT_LOG_DEBUG,
    WEFT_LOG_INFO,
    WEFT_LOG_WARNING,
    WEFT_LOG_ERROR,
    WEFT_LOG_OFF
} weft_log_level_t;
typedef enum { WEFT_LOG_AUTO, WEFT_LOG_JSON, WEFT_LOG_TEXT } weft_log_format_t;

/* A field of a line.  Made by the macros below; strings are borrowed until the call returns. */
typedef struct {
    const char *name;
    enum { WEFT_FIELD_STR, WEFT_FIELD_INT, WEFT_FIELD_UINT, WEFT_FIELD_FLOAT, WEFT_FIELD_BOOL } type;
    union {
        weft_span_t s;
        int64_t i;
        uint64_t u;
        double f;
        bool b;
    } v;
} weft_field_t;

#define WEFT_STR(name, text) ((weft_field_t){ (name), WEFT_FIELD_STR, { .s = weft_span(text) } })
#define WEFT_BYTES(name, span) ((weft_field_t){ (name), WEFT_FIELD_STR, { .s = (span) } })
#define WEFT_INT(name, number) ((weft_field_t){ (name), WEFT_FIELD_INT, { .i = (number) } })
#define WEFT_UINT(name, number) ((weft_field_t){ (name), WEFT_FIELD_UINT, { .u = (number) } })
#define WEFT_FLOAT(name, number) ((weft_field_t){ (name), WEFT_FIELD_FLOAT, { .f = (number) } })
#define WEFT_BOOL(name, flag) ((weft_field_t){ (name), WEFT_FIELD_BOOL, { .b = (flag) } })

/* Before the first thread.  `component` ("broker") stands in every line and is borrowed for ever. */
void weft_log_setup(const char *component, weft_log_level_t level, weft_log_format_t format);
bool weft_log_enabled(weft_log_level_t level);

/* Writes one line to standard error with one write(2): lines of threads never mix.  A line is cut at 8 KiB
 * with a field "cut": true.  Values are escaped; a value that is not UTF-8 is shown with U+FFFD.
 * error = someone must act, warning = degraded, info = lifecycle, debug = per message.
 * `message`: "could not <what was tried>: <reason>", lower case.  Any thread. */
void weft_log_write(weft_log_level_t level, const char *message, const weft_field_t *fields, size_t count);

/* weft_log(WEFT_LOG_INFO, "worker ready", WEFT_STR("service", name), WEFT_UINT("capacity", n)); */
#define weft_log(level, message, ...)                                                                        \
    do {                                                                                                     \
        if (weft_log_enabled(level)) {                                                                       \
            const weft_field_t weft_fields_[] = { { 0 }, ##__VA_ARGS__ };                                    \
            weft_log_write((level), (message), weft_fields_ + 1,                                             \
                           sizeof weft_fields_ / sizeof weft_fields_[0] - 1);                                \
        }                                                                                                    \
    } while (0)
#define weft_log_debug(message, ...) weft_log(WEFT_LOG_DEBUG, message, ##__VA_ARGS__)
#define weft_log_info(message, ...) weft_log(WEFT_LOG_INFO, message, ##__VA_ARGS__)
#define weft_log_warning(message, ...) weft_log(WEFT_LOG_WARNING, message, ##__VA_ARGS__)
#define weft_log_error(message, ...) weft_log(WEFT_LOG_ERROR, message, ##__VA_ARGS__)

/* Fields that every line of the calling thread carries until cleared: the request at hand.  Copied
 * (64 bytes each at most).  NULL or empty clears. */
void weft_log_context(weft_span_t request_id, weft_span_t trace_id);

/* A printf into a caller's array, for messages with a reason in them; returns `text`. */
const char *weft_format(char *text, size_t size, const char *format, ...) WEFT_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
