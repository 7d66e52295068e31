/* check_simple - the keywords that look at one value by itself, and what they say when they fail */
#include "check.h"

#include "number.h"
#include "value.h"

#include <math.h>
#include <stdio.h>

static unsigned
s_types(const weft_mp_token_t *token)
{
    switch (token->type) {
    case WEFT_MP_NIL:
        return WEFT_SCHEMA_NULL;
    case WEFT_MP_BOOL:
        return WEFT_SCHEMA_BOOLEAN;
    case WEFT_MP_UINT:
    case WEFT_MP_INT:
        return WEFT_SCHEMA_INTEGER | WEFT_SCHEMA_NUMBER;
    case WEFT_MP_FLOAT:
        if (!isfinite(token->v.f))
            return 0;
        return WEFT_SCHEMA_NUMBER | (value_is_integer(token) ? WEFT_SCHEMA_INTEGER : 0);
    case WEFT_MP_STR:
    case WEFT_MP_BIN:
    case WEFT_MP_EXT:
        return WEFT_SCHEMA_STRING;
    case WEFT_MP_ARRAY:
        return WEFT_SCHEMA_ARRAY;
    case WEFT_MP_MAP:
        return WEFT_SCHEMA_OBJECT;
    }
    return 0;
}

static void
s_type_message(unsigned types, char *message)
{
    static const char *const NAMES[] = { "null",     "a boolean", "an integer", "a number",
                                         "a string", "an array",  "an object" };
    size_t used = (size_t) snprintf(message, CHECK_MESSAGE_MAX, "must be ");
    bool first = true;
    for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        unsigned bit = 1u << i;
        if (!(types & bit) || (bit == WEFT_SCHEMA_INTEGER && types & WEFT_SCHEMA_NUMBER))
            continue;
        used += (size_t) snprintf(message + used, CHECK_MESSAGE_MAX - used, "%s%s", first ? "" : " or ",
                                  NAMES[i]);
        first = false;
    }
}

/* "must be at least 1.5" */
static bool
s_number_message(const char *rule, const weft_mp_token_t *number, char *message)
{
    char text[NUMBER_TEXT_MAX + 2];
    size_t size = 0;
    if (number->type == WEFT_MP_FLOAT) {
        size = number_write(number->v.f, text);
    } else if (number->type == WEFT_MP_INT) {
        text[0] = '-';
        size = 1 + number_write_uint(~(uint64_t) number->v.i + 1, text + 1);
    } else {
        size = number_write_uint(number->v.u, text);
    }
    snprintf(message, CHECK_MESSAGE_MAX, "%s %.*s", rule, (int) size, text);
    return false;
}

static bool
s_count_message(const char *rule, uint64_t count, const char *unit, char *message)
{
    snprintf(message, CHECK_MESSAGE_MAX, "%s %llu %s%s", rule, (unsigned long long) count, unit,
             count == 1 ? "" : "s");
    return false;
}

/* Characters of a string; those of bin are the base64 that JSON would have.  A timestamp has none that count.
 */
static bool
s_length(const weft_mp_token_t *token, uint64_t *length)
{
    if (token->type == WEFT_MP_STR)
        *length = value_text_length(token->v.bytes);
    else if (token->type == WEFT_MP_BIN)
        *length = ((uint64_t) token->v.bytes.size + 2) / 3 * 4;
    else
        return false;
    return true;
}

static bool
s_pattern(check_t *self, uint32_t pattern, const weft_mp_token_t *token, char *message)
{
    if (token->type != WEFT_MP_STR && token->type != WEFT_MP_BIN && token->type != WEFT_MP_EXT)
        return true;
    if (!self->memory && !(self->memory = pattern_memory_new())) {
        self->memory_failed = true;
        return false;
    }
    if (token->type == WEFT_MP_STR &&
        pattern_matches(PROGRAM_ROW(self->schema, patterns, pattern_t *, pattern), token->v.bytes,
                        self->memory, &self->budget))
        return true;
    snprintf(message, CHECK_MESSAGE_MAX, "must match the pattern");
    return false;
}

static bool
s_format(const format_t *format, const weft_mp_token_t *token, char *message)
{
    bool valid = true;
    if (token->type == WEFT_MP_STR)
        valid = format->check(token->v.bytes);
    else if (token->type == WEFT_MP_EXT)
        valid = weft_span_equal(weft_span(format->name), WEFT_SPAN("date-time")); /* a timestamp */
    else if (token->type == WEFT_MP_BIN)
        valid = false;
    if (!valid)
        snprintf(message, CHECK_MESSAGE_MAX, "%s", format->message);
    return valid;
}

static bool
s_enum(check_t *self, weft_span_t list, weft_span_t value, char *message)
{
    weft_mp_t cursor = weft_mp(list);
    weft_mp_token_t header;
    if (weft_mp_next(&cursor, &header)) {
        for (uint32_t left = header.count; left > 0; left--) {
            weft_span_t one;
            if (weft_mp_value(&cursor, &one) && value_equal(value, one, &self->budget))
                return true;
        }
    }
    snprintf(message, CHECK_MESSAGE_MAX, "must be one of the values listed");
    return false;
}

static bool
s_number(const op_t *op, const weft_mp_token_t *token, char *message)
{
    if (!value_is_number(token))
        return true;
    const weft_mp_token_t *limit = &op->v.number;
    switch (op->code) {
    case OP_MINIMUM:
        return value_compare_numbers(token, limit) >= 0 ||
               s_number_message("must be at least", limit, message);
    case OP_MAXIMUM:
        return value_compare_numbers(token, limit) <= 0 ||
               s_number_message("must be at most", limit, message);
    case OP_ABOVE:
        return value_compare_numbers(token, limit) > 0 || s_number_message("must be above", limit, message);
    case OP_BELOW:
        return value_compare_numbers(token, limit) < 0 || s_number_message("must be below", limit, message);
    case OP_MULTIPLE:
        return value_is_multiple(token, limit) || s_number_message("must be a multiple of", limit, message);
    default:
        return true;
    }
}

bool
check_simple(check_t *self, const op_t *op, const weft_mp_token_t *token, char message[CHECK_MESSAGE_MAX])
{
    const char *begin = self->frames[self->depth - 1].value;
    weft_span_t value = { begin, (size_t) (self->end - begin) };
    uint64_t limit = op->v.limit;
    uint64_t length;
    switch (op->code) {
    case OP_FALSE:
        snprintf(message, CHECK_MESSAGE_MAX, "is not allowed");
        return false;
    case OP_TYPE:
        if (op->a & s_types(token))
            return true;
        s_type_message(op->a, message);
        return false;
    case OP_CONST:
        if (value_equal(value, op->v.value, &self->budget))
            return true;
        snprintf(message, CHECK_MESSAGE_MAX, "must be the one value allowed");
        return false;
    case OP_ENUM:
        return s_enum(self, op->v.value, value, message);
    case OP_MIN_LENGTH:
        return !s_length(token, &length) || length >= limit ||
               s_count_message("must have at least", limit, "character", message);
    case OP_MAX_LENGTH:
        return !s_length(token, &length) || length <= limit ||
               s_count_message("must have at most", limit, "character", message);
    case OP_PATTERN:
        return s_pattern(self, op->a, token, message);
    case OP_FORMAT:
        return s_format(op->v.format, token, message);
    case OP_MIN_ITEMS:
        return token->type != WEFT_MP_ARRAY || token->count >= limit ||
               s_count_message("must have at least", limit, "element", message);
    case OP_MAX_ITEMS:
        return token->type != WEFT_MP_ARRAY || token->count <= limit ||
               s_count_message("must have at most", limit, "element", message);
    case OP_UNIQUE: {
        weft_mp_t cursor = weft_mp(value);
        weft_mp_token_t header;
        if (token->type != WEFT_MP_ARRAY || !weft_mp_next(&cursor, &header) ||
            value_unique(cursor, header.count, &self->budget, &self->memory_failed))
            return true;
        snprintf(message, CHECK_MESSAGE_MAX, "must not have an element twice");
        return false;
    }
    case OP_MIN_PROPERTIES:
        return token->type != WEFT_MP_MAP || token->count >= limit ||
               s_count_message("must have at least", limit, "member", message);
    case OP_MAX_PROPERTIES:
        return token->type != WEFT_MP_MAP || token->count <= limit ||
               s_count_message("must have at most", limit, "member", message);
    default:
        return s_number(op, token, message);
    }
}
