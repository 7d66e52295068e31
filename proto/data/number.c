/* number - decimal text to numbers and back, exact, whatever the locale says */
#include "number.h"

#include <assert.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The powers of ten that a double holds exactly. */
static const double POWERS[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
#define POWER_MAX 22
#define EXACT_MAX (UINT64_C(1) << 53) /* integers up to here are doubles exactly */

/* No more than 767 significant digits decide between two doubles; one more that is not zero tells whether
 * anything follows. */
#define DIGITS_MAX 770
#define EXPONENT_MAX 100000

/* A number's text, taken apart: [-] digits [. digits] [e exponent] */
typedef struct {
    bool negative;
    bool fraction_or_exponent;
    const char *digits; /* of integer and fraction, with the point somewhere */
    const char *digits_end;
    int64_t point;    /* how many of the digits stand before the point */
    int64_t exponent; /* as written, cut at +-EXPONENT_MAX */
} s_parts_t;

static inline bool
s_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of the text, 0 when it is no number. */
static inline size_t
s_split(weft_span_t text, s_parts_t *parts)
{
    const char *at = text.data;
    const char *end = at + text.size;
    *parts = (s_parts_t){ .negative = at < end && *at == '-' };
    if (parts->negative)
        at++;
    parts->digits = at;
    if (at == end || !s_is_digit(*at))
        return 0;
    if (*at == '0') {
        at++;
    } else {
        while (at < end && s_is_digit(*at))
            at++;
    }
    parts->point = at - parts->digits;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (at < end && s_is_digit(*at))
            at++;
        if (at == fraction)
            return 0;
        parts->fraction_or_exponent = true;
    }
    parts->digits_end = at;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        bool negative = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+'))
            at++;
        const char *exponent = at;
        while (at < end && s_is_digit(*at)) {
            if (parts->exponent < EXPONENT_MAX)
                parts->exponent = parts->exponent * 10 + (*at - '0');
            at++;
        }
        if (at == exponent)
            return 0;
        if (negative)
            parts->exponent = -parts->exponent;
        parts->fraction_or_exponent = true;
    }
    return (size_t) (at - text.data);
}

/* Reads digits as an integer.  False when it is beyond 2^64-1. */
static inline bool
s_integer(const s_parts_t *parts, uint64_t *number)
{
    uint64_t value = 0;
    for (const char *at = parts->digits; at < parts->digits_end; at++) {
        uint64_t digit = (uint64_t) (*at - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

/* strtod, but never with a decimal comma: it follows the process's LC_NUMERIC, which a library does not own.
 * glibc answers newlocale("C") with a constant, so this neither allocates nor fails there. */
static double
s_strtod(const char *text)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
    if (!c)
        return strtod(text, NULL);
    double f = strtod_l(text, NULL, c);
    freelocale(c);
    return f;
}

/* The nearest double, by way of a text of bounded length. */
static double
s_round(const s_parts_t *parts)
{
    char text[DIGITS_MAX + 32];
    size_t size = 0;
    int64_t dropped = 0; /* digits before the point that were left out, minus those after it that count */
    bool rest = false;
    int64_t index = 0;
    for (const char *at = parts->digits; at < parts->digits_end; at++) {
        if (*at == '.')
            continue;
        bool before = index++ < parts->point;
        if (size == 0 && *at == '0') {
            if (!before)
                dropped--;
        } else if (size < DIGITS_MAX) {
            text[size++] = *at;
            if (!before)
                dropped--;
        } else {
            rest = rest || *at != '0';
            if (before)
                dropped++;
        }
    }
    if (size == 0)
        return 0.0;
    int64_t exponent = parts->exponent + dropped;
    if (rest) {
        text[size++] = '1';
        exponent--;
    }
    int more = snprintf(text + size, sizeof text - size, "e%lld", (long long) exponent);
    assert(more > 0 && (size_t) more < sizeof text - size);
    (void) more;
    return s_strtod(text);
}

/* The usual case without any of that: up to 19 digits that make an integer below 2^53, times or by a power of
 * ten that is exact: one operation, so it rounds once (W. D. Clinger, How to Read Floating Point Numbers
 * Accurately, 1990). */
static bool
s_round_fast(const s_parts_t *parts, double *f)
{
    if (parts->digits_end - parts->digits > 20)
        return false;
    uint64_t mantissa = 0;
    int64_t exponent = parts->exponent;
    int count = 0;
    for (const char *at = parts->digits; at < parts->digits_end; at++) {
        if (*at == '.') {
            exponent -= parts->digits_end - at - 1;
            continue;
        }
        mantissa = mantissa * 10 + (uint64_t) (*at - '0');
        if (++count > 19)
            return false;
    }
    if (mantissa > EXACT_MAX || exponent < -POWER_MAX || exponent > POWER_MAX)
        return false;
    *f = (double) mantissa;
    if (exponent < 0)
        *f /= POWERS[-exponent];
    else
        *f *= POWERS[exponent];
    return true;
}

size_t
number_read(weft_span_t text, number_t *number)
{
    s_parts_t parts;
    number->kind = NUMBER_BAD;
    size_t size = s_split(text, &parts);
    if (size == 0)
        return 0;
    uint64_t value;
    if (!parts.fraction_or_exponent && s_integer(&parts, &value)) {
        if (!parts.negative || value == 0) {
            number->kind = NUMBER_UINT;
            number->v.u = value;
            return size;
        }
        if (value <= (uint64_t) INT64_MAX + 1) {
            number->kind = NUMBER_INT;
            number->v.i = (int64_t) (~value + 1);
            return size;
        }
    }
    double f;
    if (!s_round_fast(&parts, &f))
        f = s_round(&parts);
    number->kind = isfinite(f) ? NUMBER_FLOAT : NUMBER_OVERFLOW;
    number->v.f = parts.negative ? -f : f;
    return size;
}

size_t
number_write_uint(uint64_t u, char text[NUMBER_TEXT_MAX])
{
    char digits[20];
    size_t size = 0;
    do {
        digits[sizeof digits - ++size] = (char) ('0' + u % 10);
        u /= 10;
    } while (u > 0);
    memcpy(text, digits + sizeof digits - size, size);
    return size;
}

/* Writes mantissa / 10^places in plain notation, with a point. */
static size_t
s_write_fixed(uint64_t mantissa, size_t places, char *text)
{
    char digits[NUMBER_TEXT_MAX];
    size_t count = number_write_uint(mantissa, digits);
    size_t size = 0;
    if (count <= places) {
        text[size++] = '0';
    } else {
        memcpy(text, digits, count - places);
        size = count - places;
    }
    text[size++] = '.';
    for (size_t zero = count; zero < places; zero++)
        text[size++] = '0';
    size_t fraction = count < places ? count : places;
    memcpy(text + size, digits + count - fraction, fraction);
    size += fraction;
    if (places == 0)
        text[size++] = '0';
    return size;
}

/* The general case: the least of 15, 16 and 17 significant digits that reads back the same.  Each text of 15
 * digits is a double of its own, so fewer are among them, as zeros that %g leaves out; below DBL_MIN there
 * are fewer doubles than that. */
static size_t
s_write_any(double f, char text[NUMBER_TEXT_MAX])
{
    char raw[64];
    size_t size = 0;
    for (int digits = f < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        int length = snprintf(raw, sizeof raw, "%.*g", digits, f);
        assert(length > 0 && (size_t) length < sizeof raw);
        /* The locale's decimal point, of whatever bytes, becomes a point. */
        size = 0;
        for (int i = 0; i < length && size < NUMBER_TEXT_MAX - 4; i++) {
            bool is_number = s_is_digit(raw[i]) || raw[i] == '-' || raw[i] == '+' || raw[i] == 'e';
            if (is_number)
                text[size++] = raw[i];
            else if (size > 0 && text[size - 1] != '.')
                text[size++] = '.';
        }
        text[size] = '\0';
        if (digits == 17 || s_strtod(text) == f)
            break;
    }
    if (!memchr(text, '.', size) && !memchr(text, 'e', size)) {
        text[size++] = '.';
        text[size++] = '0';
    }
    return size;
}

size_t
number_write(double f, char text[NUMBER_TEXT_MAX])
{
    size_t sign = 0;
    if (signbit(f)) {
        text[sign++] = '-';
        f = -f;
    }
    /* What people write has few decimals: find m and the least k with f == m / 10^k, both exact, which is
     * then the text that reads back as f.  Fewer digits than 15 leave no shorter text. */
    if (f < 1e15 && (f >= 1e-5 || f == 0)) {
        for (size_t places = 0; places <= 15; places++) {
            double scaled = f * POWERS[places];
            if (scaled >= 1e15)
                break;
            uint64_t mantissa = (uint64_t) (scaled + 0.5);
            if ((double) mantissa / POWERS[places] == f)
                return sign + s_write_fixed(mantissa, places, text + sign);
        }
    }
    return sign + s_write_any(f, text + sign);
}
