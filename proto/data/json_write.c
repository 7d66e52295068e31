/* json_write - msgpack bytes to JSON text in one pass, with an explicit stack */
#include <weft/json.h>

#include "ascii.h"
#include "number.h"

#include <assert.h>
#include <math.h>

typedef struct {
    uint32_t left; /* values still to come; of a map: keys and values */
    bool is_map;
} s_frame_t;

/* What stopped a translation: NULL for "what weft_mp_check says", which is asked only then. */
typedef struct {
    const char *wrong;
    size_t offset;
    bool failed;
} s_fault_t;

static bool
s_fail(s_fault_t *fault, const char *wrong, size_t offset)
{
    *fault = (s_fault_t){ .wrong = wrong, .offset = offset, .failed = true };
    return false;
}

static bool
s_add_escape(weft_buf_t *out, unsigned char byte)
{
    static const char HEX[] = "0123456789abcdef";
    static const char SHORT[32] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
    char text[6] = { '\\', 'u', '0', '0', 0, 0 };
    if (byte >= 0x20) {
        text[1] = (char) byte;
        return weft_buf_add(out, text, 2);
    }
    if (SHORT[byte]) {
        text[1] = SHORT[byte];
        return weft_buf_add(out, text, 2);
    }
    text[4] = HEX[byte >> 4];
    text[5] = HEX[byte & 0x0f];
    return weft_buf_add(out, text, 6);
}

/* Everything of a string but its quotes, from text that is UTF-8. */
static bool
s_add_text(weft_buf_t *out, const unsigned char *at, const unsigned char *end)
{
    while (at < end) {
        const unsigned char *run = at;
        at += ascii_plain(at, end);
        while (at < end && *at >= 0x80)
            at++;
        if (!weft_buf_add(out, run, (size_t) (at - run)))
            return false;
        if (at < end && !ascii_is_plain(*at) && *at < 0x80) {
            if (!s_add_escape(out, *at++))
                return false;
        }
    }
    return true;
}

/* True when `text` is UTF-8, with its quotes added, or when the buffer was full (which it remembers). */
static inline bool
s_add_string(weft_buf_t *out, weft_span_t text)
{
    const unsigned char *at = (const unsigned char *) text.data;
    const unsigned char *end = at + text.size;
    size_t plain = ascii_plain(at, end);
    /* Nearly always that was all of it. */
    char *to = weft_buf_reserve(out, plain + 2);
    if (!to)
        return true;
    to[0] = '"';
    memcpy(to + 1, at, plain);
    out->size += 1 + plain;
    if (plain < text.size) {
        weft_span_t rest = { (const char *) at + plain, text.size - plain };
        if (!weft_utf8_valid(rest))
            return false;
        if (!s_add_text(out, at + plain, end))
            return true;
        (void) weft_buf_add_char(out, '"');
        return true;
    }
    to[1 + plain] = '"';
    out->size++;
    return true;
}

void
weft_json_add_string(weft_buf_t *out, weft_span_t text)
{
    assert(out);
    size_t before = out->size;
    if (text.size == 0) {
        (void) weft_buf_add(out, "\"\"", 2);
        return;
    }
    if (s_add_string(out, text))
        return;
    /* Not UTF-8: once more, sequence by sequence. */
    out->size = before;
    const unsigned char *at = (const unsigned char *) text.data;
    const unsigned char *end = at + text.size;
    (void) weft_buf_add_char(out, '"');
    while (at < end && !out->failed) {
        size_t size = 1;
        while (size <= 4 && size <= (size_t) (end - at) &&
               !weft_utf8_valid((weft_span_t){ (const char *) at, size }))
            size++;
        if (size > 4 || size > (size_t) (end - at)) {
            (void) weft_buf_add(out, "\xef\xbf\xbd", 3);
            size = 1;
        } else {
            (void) s_add_text(out, at, at + size);
        }
        at += size;
    }
    (void) weft_buf_add_char(out, '"');
}

static void
s_add_base64(weft_buf_t *out, weft_span_t bytes)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = weft_buf_reserve(out, (bytes.size + 2) / 3 * 4 + 2);
    if (!to)
        return;
    char *begin = to;
    const unsigned char *at = (const unsigned char *) bytes.data;
    size_t left = bytes.size;
    *to++ = '"';
    while (left > 0) {
        uint32_t triple = (uint32_t) at[0] << 16 | (left > 1 ? (uint32_t) at[1] << 8 : 0) |
                          (left > 2 ? (uint32_t) at[2] : 0);
        to[0] = DIGITS[triple >> 18];
        to[1] = DIGITS[triple >> 12 & 63];
        to[2] = left > 1 ? DIGITS[triple >> 6 & 63] : '=';
        to[3] = left > 2 ? DIGITS[triple & 63] : '=';
        to += 4;
        at += left > 2 ? 3 : left;
        left -= left > 2 ? 3 : left;
    }
    *to++ = '"';
    out->size += (size_t) (to - begin);
}

static uint64_t
s_be(const unsigned char *at, size_t size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | *at++;
    return value;
}

/* A timestamp as "YYYY-MM-DDThh:mm:ss[.nanoseconds]Z".  False when its year is not one of four digits. */
static bool
s_add_timestamp(weft_buf_t *out, weft_span_t bytes)
{
    const unsigned char *at = (const unsigned char *) bytes.data;
    int64_t seconds;
    uint32_t nanoseconds = 0;
    if (bytes.size == 4) {
        seconds = (int64_t) s_be(at, 4);
    } else if (bytes.size == 8) {
        uint64_t both = s_be(at, 8);
        nanoseconds = (uint32_t) (both >> 34);
        seconds = (int64_t) (both & ((UINT64_C(1) << 34) - 1));
    } else {
        nanoseconds = (uint32_t) s_be(at, 4);
        seconds = (int64_t) s_be(at + 4, 8);
    }
    /* 0000-01-01T00:00:00Z to 9999-12-31T23:59:59Z */
    if (seconds < INT64_C(-62167219200) || seconds > INT64_C(253402300799))
        return false;
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    /* Days to a date: H. Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days. */
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    int day = (int) (of_year - (153 * shifted + 2) / 5 + 1);
    int month = (int) (shifted < 10 ? shifted + 3 : shifted - 9);
    int year = (int) (year_of_era + era * 400 + (month <= 2));
    (void) weft_buf_addf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, (int) (rest / 3600),
                         (int) (rest / 60 % 60), (int) (rest % 60));
    if (nanoseconds > 0) {
        int digits = 9;
        while (nanoseconds % 10 == 0) {
            nanoseconds /= 10;
            digits--;
        }
        (void) weft_buf_addf(out, ".%0*u", digits, nanoseconds);
    }
    (void) weft_buf_add(out, "Z\"", 2);
    return true;
}

static bool
s_is_timestamp(const weft_mp_token_t *token)
{
    const unsigned char *at = (const unsigned char *) token->v.bytes.data;
    if (token->ext_type != -1)
        return false;
    switch (token->v.bytes.size) {
    case 4:
        return true;
    case 8:
        return s_be(at, 8) >> 34 < 1000000000;
    case 12:
        return s_be(at, 4) < 1000000000;
    default:
        return false;
    }
}

/* A token that is no container; `offset` is where it stands. */
static bool
s_scalar(weft_buf_t *out, const weft_mp_token_t *token, size_t offset, s_fault_t *fault)
{
    char text[NUMBER_TEXT_MAX + 1];
    switch (token->type) {
    case WEFT_MP_NIL:
        (void) weft_buf_add(out, "null", 4);
        return true;
    case WEFT_MP_BOOL:
        (void) (token->v.b ? weft_buf_add(out, "true", 4) : weft_buf_add(out, "false", 5));
        return true;
    case WEFT_MP_UINT:
        (void) weft_buf_add(out, text, number_write_uint(token->v.u, text));
        return true;
    case WEFT_MP_INT:
        text[0] = '-';
        (void) weft_buf_add(out, text, 1 + number_write_uint(~(uint64_t) token->v.i + 1, text + 1));
        return true;
    case WEFT_MP_FLOAT:
        if (!isfinite(token->v.f))
            return s_fail(fault, "float that is no number", offset);
        (void) weft_buf_add(out, text, number_write(token->v.f, text));
        return true;
    case WEFT_MP_STR:
        return s_add_string(out, token->v.bytes) || s_fail(fault, NULL, offset);
    case WEFT_MP_BIN:
        s_add_base64(out, token->v.bytes);
        return true;
    case WEFT_MP_EXT:
        if (!s_is_timestamp(token))
            return s_fail(fault, NULL, offset);
        return s_add_timestamp(out, token->v.bytes) ||
               s_fail(fault, "timestamp beyond the years 0000 to 9999", offset);
    case WEFT_MP_ARRAY:
    case WEFT_MP_MAP:
        break;
    }
    assert(false && "a container is no scalar");
    return false;
}

/* All of the value at `cursor`. */
static bool
s_write(const char *begin, weft_mp_t *cursor, weft_buf_t *out, s_fault_t *fault)
{
    s_frame_t frames[WEFT_MP_DEPTH_MAX];
    uint32_t depth = 0;
    uint32_t nodes = 0;
    for (;;) {
        weft_mp_token_t token;
        size_t offset = (size_t) (cursor->at - begin);
        if (!weft_mp_next(cursor, &token) || nodes++ >= WEFT_MP_LIMITS_DEFAULT.nodes_max)
            return s_fail(fault, NULL, offset);
        bool is_key = false;
        if (depth > 0) {
            const s_frame_t *frame = &frames[depth - 1];
            is_key = frame->is_map && frame->left % 2 == 0;
            if (is_key && token.type != WEFT_MP_STR)
                return s_fail(fault, NULL, offset);
        }
        if (token.type == WEFT_MP_ARRAY || token.type == WEFT_MP_MAP) {
            bool is_map = token.type == WEFT_MP_MAP;
            if (depth == WEFT_MP_DEPTH_MAX)
                return s_fail(fault, NULL, offset);
            (void) weft_buf_add_char(out, is_map ? '{' : '[');
            if (token.count > 0) {
                /* A count is at most the bytes that are left, so twice it fits where they are below 2 GiB. */
                frames[depth++] = (s_frame_t){ is_map ? token.count * 2 : token.count, is_map };
                continue;
            }
            (void) weft_buf_add_char(out, is_map ? '}' : ']');
        } else if (!s_scalar(out, &token, offset, fault)) {
            return false;
        }
        if (out->failed)
            return true;
        if (is_key) {
            frames[depth - 1].left--;
            (void) weft_buf_add_char(out, ':');
            continue;
        }
        while (depth > 0 && --frames[depth - 1].left == 0) {
            (void) weft_buf_add_char(out, frames[depth - 1].is_map ? '}' : ']');
            depth--;
        }
        if (depth == 0)
            break;
        (void) weft_buf_add_char(out, ',');
    }
    return true;
}

weft_status_t
weft_mp_to_json(weft_span_t mp, weft_buf_t *out, weft_json_error_t *error)
{
    assert(out && error);
    if (out->failed) {
        *error = (weft_json_error_t){ .message = "too large" };
        return WEFT_RESOURCE_EXHAUSTED;
    }
    if (mp.size > INT32_MAX) {
        *error = (weft_json_error_t){ .message = "too long" };
        return WEFT_INVALID_ARGUMENT;
    }
    const size_t before = out->size;
    weft_mp_t cursor = weft_mp(mp);
    s_fault_t fault = { .failed = false };
    if (s_write(mp.data, &cursor, out, &fault) && !out->failed) {
        if (cursor.at == cursor.end)
            return WEFT_OK;
        s_fail(&fault, "bytes behind the value", (size_t) (cursor.at - mp.data));
    }
    weft_status_t status = fault.failed ? WEFT_INVALID_ARGUMENT : WEFT_RESOURCE_EXHAUSTED;
    if (!fault.failed)
        fault = (s_fault_t){ .wrong = "too large", .offset = (size_t) (cursor.at - mp.data) };
    if (!fault.wrong && weft_mp_check(mp, &WEFT_MP_LIMITS_DEFAULT, &fault.wrong, &fault.offset))
        fault.wrong = "invalid msgpack"; /* the two disagree about what is valid; the tests say they do not */
    out->size = before;
    out->failed = false;
    error->offset = fault.offset;
    error->message = fault.wrong;
    return status;
}
