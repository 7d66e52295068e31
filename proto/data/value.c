/* value - compares msgpack values as JSON Schema does: 1 is 1.0, objects have no order */
#include "value.h"

#include "number.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* Arrays up to so many elements are looked through without the heap. */
#define UNIQUE_INLINE 32

bool
value_is_integer(const weft_mp_token_t *token)
{
    if (token->type == WEFT_MP_FLOAT)
        return isfinite(token->v.f) && trunc(token->v.f) == token->v.f;
    return token->type == WEFT_MP_UINT || token->type == WEFT_MP_INT;
}

/* Orders an unsigned integer and a float that is no NaN. */
static int
s_compare_mixed(uint64_t u, double f)
{
    if (f < 0)
        return 1;
    if (f >= 18446744073709551616.0)
        return -1;
    uint64_t whole = (uint64_t) f;
    if (u != whole)
        return u < whole ? -1 : 1;
    return f > (double) whole ? -1 : 0; /* a fraction leaves f below 2^53, where this is exact */
}

static int
s_compare_int_float(int64_t i, double f)
{
    if (f >= 0)
        return -1;
    return -s_compare_mixed(~(uint64_t) i + 1, -f);
}

int
value_compare_numbers(const weft_mp_token_t *a, const weft_mp_token_t *b)
{
    if (a->type == WEFT_MP_FLOAT && b->type == WEFT_MP_FLOAT) {
        if (isnan(a->v.f) || isnan(b->v.f))
            return isnan(b->v.f) - isnan(a->v.f);
        return (a->v.f > b->v.f) - (a->v.f < b->v.f);
    }
    if (b->type == WEFT_MP_FLOAT) {
        if (isnan(b->v.f))
            return 1;
        return a->type == WEFT_MP_UINT ? s_compare_mixed(a->v.u, b->v.f)
                                       : s_compare_int_float(a->v.i, b->v.f);
    }
    if (a->type == WEFT_MP_FLOAT)
        return -value_compare_numbers(b, a);
    if (a->type != b->type)
        return a->type == WEFT_MP_INT ? -1 : 1; /* an INT is below zero */
    if (a->type == WEFT_MP_UINT)
        return (a->v.u > b->v.u) - (a->v.u < b->v.u);
    return (a->v.i > b->v.i) - (a->v.i < b->v.i);
}

/* The absolute value as mantissa * 10^exponent, without zeros at the mantissa's end. */
typedef struct {
    uint64_t mantissa;
    int exponent;
} s_decimal_t;

static s_decimal_t
s_decimal(const weft_mp_token_t *token)
{
    s_decimal_t decimal = { 0, 0 };
    if (token->type == WEFT_MP_UINT) {
        decimal.mantissa = token->v.u;
    } else if (token->type == WEFT_MP_INT) {
        decimal.mantissa = ~(uint64_t) token->v.i + 1;
    } else {
        char text[NUMBER_TEXT_MAX];
        size_t size = number_write(fabs(token->v.f), text);
        bool fraction = false;
        size_t at = 0;
        for (; at < size && text[at] != 'e'; at++) {
            if (text[at] == '.') {
                fraction = true;
                continue;
            }
            decimal.mantissa = decimal.mantissa * 10 + (uint64_t) (text[at] - '0'); /* at most 17 digits */
            decimal.exponent -= fraction;
        }
        if (at < size) {
            int written = 0;
            bool negative = text[at + 1] == '-';
            for (at += 2; at < size; at++)
                written = written * 10 + (text[at] - '0');
            decimal.exponent += negative ? -written : written;
        }
    }
    while (decimal.mantissa > 0 && decimal.mantissa % 10 == 0) {
        decimal.mantissa /= 10;
        decimal.exponent++;
    }
    return decimal;
}

static uint64_t
s_multiply_modulo(uint64_t a, uint64_t b, uint64_t modulus)
{
    return (uint64_t) ((unsigned __int128) a * b % modulus);
}

bool
value_is_multiple(const weft_mp_token_t *a, const weft_mp_token_t *b)
{
    if ((a->type == WEFT_MP_FLOAT && !isfinite(a->v.f)) || (b->type == WEFT_MP_FLOAT && !isfinite(b->v.f)))
        return false;
    s_decimal_t left = s_decimal(a);
    s_decimal_t right = s_decimal(b);
    if (left.mantissa == 0 || right.mantissa == 0)
        return left.mantissa == 0;
    /* With fewer powers of ten in it than b, a would need a zero at its end, and has none. */
    if (left.exponent < right.exponent)
        return false;
    uint64_t rest = left.mantissa % right.mantissa;
    uint64_t base = 10 % right.mantissa;
    for (int power = left.exponent - right.exponent; power > 0; power >>= 1) {
        if (power & 1)
            rest = s_multiply_modulo(rest, base, right.mantissa);
        base = s_multiply_modulo(base, base, right.mantissa);
    }
    return rest == 0;
}

static bool
s_next(weft_mp_t *cursor, weft_mp_token_t *token)
{
    bool read = weft_mp_next(cursor, token);
    assert(read && "the value was checked");
    return read;
}

static inline bool
s_is_container(const weft_mp_token_t *token)
{
    return token->type == WEFT_MP_ARRAY || token->type == WEFT_MP_MAP;
}

/* Two tokens that are no containers. */
static bool
s_scalars_equal(const weft_mp_token_t *a, const weft_mp_token_t *b)
{
    if (value_is_number(a) && value_is_number(b))
        return value_compare_numbers(a, b) == 0;
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case WEFT_MP_NIL:
        return true;
    case WEFT_MP_BOOL:
        return a->v.b == b->v.b;
    case WEFT_MP_STR:
    case WEFT_MP_BIN:
        return weft_span_equal(a->v.bytes, b->v.bytes);
    case WEFT_MP_EXT:
        return a->ext_type == b->ext_type && weft_span_equal(a->v.bytes, b->v.bytes);
    case WEFT_MP_UINT:
    case WEFT_MP_INT:
    case WEFT_MP_FLOAT:
    case WEFT_MP_ARRAY:
    case WEFT_MP_MAP:
        break;
    }
    return false;
}

/* Moves `cursor`, which stands behind a map's header, to the value of `key`. */
static bool
s_find(weft_mp_t *cursor, uint32_t pairs, weft_span_t key, budget_t *budget)
{
    for (; pairs > 0; pairs--) {
        weft_mp_token_t name;
        if (!budget_spend(budget, 1) || !s_next(cursor, &name))
            return false;
        if (weft_span_equal(name.v.bytes, key))
            return true;
        const char *begin = cursor->at;
        if (!weft_mp_skip(cursor) || !budget_spend(budget, (uint64_t) (cursor->at - begin) >> 5))
            return false;
    }
    return false;
}

bool
value_equal(weft_span_t a, weft_span_t b, budget_t *budget)
{
    /* Containers that are being compared: what is left of a's, and b's: its next element, or a map's first
     * pair. */
    struct {
        weft_mp_t b;
        uint32_t left;
        uint32_t pairs;
        bool is_map;
    } frames[WEFT_MP_DEPTH_MAX];
    uint32_t depth = 0;
    weft_mp_t left = weft_mp(a);
    weft_mp_t right = weft_mp(b);
    for (;;) {
        weft_mp_token_t x, y;
        if (!budget_spend(budget, 1) || !s_next(&left, &x) || !s_next(&right, &y))
            return false;
        if (s_is_container(&x)) {
            if (x.type != y.type || x.count != y.count || depth == WEFT_MP_DEPTH_MAX)
                return false;
            frames[depth].b = right;
            frames[depth].left = x.count;
            frames[depth].pairs = y.count;
            frames[depth].is_map = x.type == WEFT_MP_MAP;
            depth++;
        } else {
            if (!budget_spend(budget, x.type == WEFT_MP_STR ? x.v.bytes.size >> 6 : 0) ||
                !s_scalars_equal(&x, &y))
                return false;
            if (depth > 0 && !frames[depth - 1].is_map)
                frames[depth - 1].b = right;
        }
        /* To the next element of a, and what it is to be compared with. */
        while (depth > 0 && frames[depth - 1].left == 0) {
            depth--;
            if (depth > 0 && !frames[depth - 1].is_map) {
                /* b's array goes on behind the container that was just done. */
                if (!weft_mp_skip(&frames[depth - 1].b))
                    return false;
            }
        }
        if (depth == 0)
            return true;
        frames[depth - 1].left--;
        right = frames[depth - 1].b;
        if (frames[depth - 1].is_map) {
            weft_mp_token_t key;
            if (!s_next(&left, &key) || !s_find(&right, frames[depth - 1].pairs, key.v.bytes, budget))
                return false;
        }
    }
}

static uint64_t
s_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ hash >> 32;
}

static uint64_t
s_hash_bytes(weft_span_t bytes)
{
    uint64_t hash = s_mix(UINT64_C(0x9e3779b97f4a7c15), bytes.size);
    const char *at = bytes.data;
    size_t left = bytes.size;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = s_mix(hash, word);
    }
    uint64_t tail = 0;
    if (left > 0)
        memcpy(&tail, at, left);
    return s_mix(hash, tail);
}

/* The same for equal scalars: numbers by their nearest double. */
static uint64_t
s_hash_scalar(const weft_mp_token_t *token)
{
    double f = 0;
    switch (token->type) {
    case WEFT_MP_NIL:
        return 1;
    case WEFT_MP_BOOL:
        return token->v.b ? 3 : 2;
    case WEFT_MP_UINT:
        f = (double) token->v.u;
        break;
    case WEFT_MP_INT:
        f = (double) token->v.i;
        break;
    case WEFT_MP_FLOAT:
        f = token->v.f + 0.0; /* -0.0 + 0.0 is 0.0 */
        break;
    case WEFT_MP_STR:
    case WEFT_MP_BIN:
    case WEFT_MP_EXT:
        return s_hash_bytes(token->v.bytes);
    case WEFT_MP_ARRAY:
    case WEFT_MP_MAP:
        return 0;
    }
    uint64_t bits;
    memcpy(&bits, &f, sizeof bits);
    return s_mix(5, bits);
}

/* Hash of the value at `cursor`, which moves behind it.  Pairs of an object are summed up: no order. */
static uint64_t
s_hash(weft_mp_t *cursor, budget_t *budget)
{
    struct {
        uint64_t hash;
        uint64_t key;
        uint32_t left;
        bool is_map;
    } frames[WEFT_MP_DEPTH_MAX];
    uint32_t depth = 0;
    for (;;) {
        weft_mp_token_t token;
        if (!budget_spend(budget, 1) || !s_next(cursor, &token))
            return 0;
        uint64_t hash;
        if (s_is_container(&token) && token.count > 0 && depth < WEFT_MP_DEPTH_MAX) {
            frames[depth].hash = token.type == WEFT_MP_MAP ? 11 : 7;
            frames[depth].left = token.count;
            frames[depth].is_map = token.type == WEFT_MP_MAP;
            depth++;
        } else {
            hash = s_is_container(&token) ? (token.type == WEFT_MP_MAP ? 11 : 7) : s_hash_scalar(&token);
            for (;;) {
                if (depth == 0)
                    return hash;
                if (frames[depth - 1].is_map)
                    frames[depth - 1].hash += s_mix(frames[depth - 1].key, hash);
                else
                    frames[depth - 1].hash = s_mix(frames[depth - 1].hash, hash);
                if (frames[depth - 1].left > 0)
                    break;
                hash = frames[--depth].hash;
            }
        }
        frames[depth - 1].left--;
        if (frames[depth - 1].is_map) {
            weft_mp_token_t key;
            if (!s_next(cursor, &key))
                return 0;
            frames[depth - 1].key = s_hash_bytes(key.v.bytes);
        }
    }
}

typedef struct {
    uint64_t hash;
    weft_span_t bytes;
} s_element_t;

/* Heapsort by hash: in place, no recursion. */
static void
s_sort(s_element_t *elements, uint32_t count)
{
    for (uint32_t begin = count / 2, end = count; end > 1;) {
        s_element_t moving;
        if (begin > 0) {
            moving = elements[--begin];
        } else {
            moving = elements[--end];
            elements[end] = elements[0];
        }
        uint32_t root = begin;
        for (uint32_t child; (child = root * 2 + 1) < end; root = child) {
            if (child + 1 < end && elements[child].hash < elements[child + 1].hash)
                child++;
            if (elements[child].hash <= moving.hash)
                break;
            elements[root] = elements[child];
        }
        elements[root] = moving;
    }
}

bool
value_unique(weft_mp_t cursor, uint32_t count, budget_t *budget, bool *failed)
{
    s_element_t few[UNIQUE_INLINE];
    s_element_t *elements = few;
    bool unique = true;
    if (count > UNIQUE_INLINE) {
        elements = malloc(count * sizeof *elements);
        if (!elements) {
            *failed = true;
            return false;
        }
    }
    for (uint32_t i = 0; i < count && !budget->spent; i++) {
        const char *begin = cursor.at;
        elements[i].hash = s_hash(&cursor, budget);
        elements[i].bytes = (weft_span_t){ begin, (size_t) (cursor.at - begin) };
    }
    if (budget->spent)
        goto out;
    s_sort(elements, count);
    for (uint32_t i = 0; i + 1 < count && unique && !budget->spent; i++) {
        for (uint32_t j = i + 1;
             j < count && elements[j].hash == elements[i].hash && unique && !budget->spent; j++)
            unique = !value_equal(elements[i].bytes, elements[j].bytes, budget);
    }
out:
    if (elements != few)
        free(elements);
    return unique;
}

uint64_t
value_text_length(weft_span_t text)
{
    uint64_t length = 0;
    for (size_t i = 0; i < text.size; i++)
        length += ((unsigned char) text.data[i] & 0xc0) != 0x80;
    return length;
}
