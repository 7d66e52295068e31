/* job_options - key `job` of a method: how its jobs are run */
#include "wire/job_options.h"

#include <stdarg.h>
#include <stdio.h>

#include <msgpack.h>

#define BACKOFF_MAX_MS 86400000u
#define CODES_MAX 32 /* of `final`, repeated ones counted */

/* Where the reader is, for the text of an error. */
typedef struct {
    char *field;
    size_t field_size;
    char *rule;
    size_t rule_size;
} place_t;

static bool s_refuse(const place_t *place, const char *key, const char *format, ...) WEFT_PRINTF(3, 4);

static bool
s_refuse(const place_t *place, const char *key, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(place->rule, place->rule_size, format, arguments);
    va_end(arguments);
    (void) snprintf(place->field, place->field_size, "job%s%s", key[0] ? "." : "", key);
    return false;
}

/* ---- numbers ---- */

typedef enum {
    MAX_ATTEMPTS,
    TIMEOUT,
    BACKOFF,
    BACKOFF_MAX,
    KEEP,
    CONCURRENCY,
    NUMBERS,
    FINAL = NUMBERS,
    OTHER
} option_t;

static const struct {
    const char *name;
    uint64_t max;
} NUMBER[NUMBERS] = {
    [MAX_ATTEMPTS] = { "max_attempts", WEFT_JOB_ATTEMPTS_MAX },
    [TIMEOUT] = { "timeout_ms", WEFT_TTL_MAX_MS },
    [BACKOFF] = { "backoff_ms", BACKOFF_MAX_MS },
    [BACKOFF_MAX] = { "backoff_max_ms", BACKOFF_MAX_MS },
    [KEEP] = { "keep_ms", WEFT_JOB_KEEP_MAX_MS },
    [CONCURRENCY] = { "concurrency", WEFT_CAPACITY_MAX },
};

static option_t
s_option(weft_span_t key)
{
    for (option_t option = 0; option < NUMBERS; option++) {
        if (weft_span_equal(key, weft_span(NUMBER[option].name)))
            return option;
    }
    return weft_span_equal(key, WEFT_SPAN("final")) ? FINAL : OTHER;
}

static bool
s_take_number(const place_t *place, option_t option, weft_span_t value, uint64_t *number)
{
    if (weft_mp_uint(value, number) && *number > 0 && *number <= NUMBER[option].max)
        return true;
    return s_refuse(place, NUMBER[option].name, "must be an integer from 1 to %llu",
                    (unsigned long long) NUMBER[option].max);
}

/* ---- codes ---- */

static bool
s_code(weft_span_t text, weft_status_t *status)
{
    char name[32];
    if (text.size >= sizeof name || memchr(text.data, '\0', text.size))
        return false;
    memcpy(name, text.data, text.size);
    name[text.size] = '\0';
    return weft_status_from_name(name, status) && *status != WEFT_OK;
}

static bool
s_take_codes(const place_t *place, weft_span_t value, uint32_t *codes)
{
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_ARRAY)
        return s_refuse(place, "final", "must be an array of code names");
    if (token.count > CODES_MAX)
        return s_refuse(place, "final", "more than %d codes", CODES_MAX);
    *codes = token.count == 0 ? WEFT_FINAL_NONE : 0;
    for (uint32_t left = token.count; left > 0; left--) {
        weft_span_t item, text;
        weft_status_t status = WEFT_OK;
        if (!weft_mp_value(&cursor, &item) || !weft_mp_str(item, &text) || !s_code(text, &status))
            return s_refuse(place, "final", "must name codes of errors, such as NOT_FOUND");
        *codes |= WEFT_CODE(status);
    }
    return true;
}

/* ---- public ---- */

bool
job_options_parse(weft_span_t value, weft_job_options_t *options, char *field, size_t field_size, char *rule,
                  size_t rule_size)
{
    const place_t place = { field, field_size, rule, rule_size };
    uint64_t numbers[NUMBERS] = { 0 };
    unsigned seen = 0;
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_MAP)
        return s_refuse(&place, "", "must be a map");
    for (uint32_t pairs = token.count; pairs > 0; pairs--) {
        weft_span_t item;
        if (!weft_mp_next(&cursor, &token) || !weft_mp_value(&cursor, &item))
            return s_refuse(&place, "", "not valid msgpack");
        option_t option = s_option(token.v.bytes);
        if (option == OTHER)
            continue;
        const char *name = option == FINAL ? "final" : NUMBER[option].name;
        if (seen & 1u << option)
            return s_refuse(&place, name, "given twice");
        seen |= 1u << option;
        if (option == FINAL ? !s_take_codes(&place, item, &options->final_codes)
                            : !s_take_number(&place, option, item, &numbers[option]))
            return false;
    }
    if (numbers[BACKOFF_MAX] > 0 && numbers[BACKOFF_MAX] < numbers[BACKOFF])
        return s_refuse(&place, NUMBER[BACKOFF_MAX].name, "must not be below backoff_ms");
    options->max_attempts = (uint32_t) numbers[MAX_ATTEMPTS];
    options->timeout_ms = (uint32_t) numbers[TIMEOUT];
    options->backoff_ms = (uint32_t) numbers[BACKOFF];
    options->backoff_max_ms = (uint32_t) numbers[BACKOFF_MAX];
    options->keep_ms = numbers[KEEP];
    options->concurrency = (uint32_t) numbers[CONCURRENCY];
    return true;
}

/* How many keys the map has. */
static uint32_t
s_count(const weft_job_options_t *options)
{
    return (uint32_t) ((options->max_attempts > 0) + (options->timeout_ms > 0) + (options->backoff_ms > 0) +
                       (options->backoff_max_ms > 0) + (options->keep_ms > 0) + (options->concurrency > 0) +
                       (options->final_codes > 0));
}

bool
job_options_given(const weft_job_options_t *options)
{
    return s_count(options) > 0;
}

static void
s_pack_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str_with_body(pk, text, strlen(text));
}

static void
s_pack_codes(msgpack_packer *pk, uint32_t codes)
{
    uint32_t count = 0;
    for (unsigned status = 1; status < 32; status++)
        count += (codes & WEFT_CODE(status)) != 0;
    s_pack_text(pk, "final");
    msgpack_pack_array(pk, count);
    for (unsigned status = 1; status < 32; status++) {
        if (codes & WEFT_CODE(status))
            s_pack_text(pk, status <= WEFT_STATUS_MAX ? weft_status_name((weft_status_t) status) : "");
    }
}

bool
job_options_write(weft_buf_t *out, const weft_job_options_t *options)
{
    const uint64_t numbers[NUMBERS] = {
        [MAX_ATTEMPTS] = options->max_attempts,
        [TIMEOUT] = options->timeout_ms,
        [BACKOFF] = options->backoff_ms,
        [BACKOFF_MAX] = options->backoff_max_ms,
        [KEEP] = options->keep_ms,
        [CONCURRENCY] = options->concurrency,
    };
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, s_count(options));
    for (option_t option = 0; option < NUMBERS; option++) {
        if (numbers[option] == 0)
            continue;
        s_pack_text(&pk, NUMBER[option].name);
        msgpack_pack_uint64(&pk, numbers[option]);
    }
    if (options->final_codes > 0)
        s_pack_codes(&pk, options->final_codes);
    return !out->failed;
}
