/* compile_context - what the handlers of keywords share */
#include "compile_context.h"

#include "value.h"

#include <assert.h>

bool
context_fail(context_t *self, keyword_t keyword, const char *rule)
{
    return compile_fail(self->compile, self->schema, context_name(keyword), rule);
}

bool
context_has(const context_t *self, keyword_t keyword)
{
    return self->values[keyword].data != NULL;
}

weft_mp_token_t
context_token(weft_span_t value, weft_mp_t *cursor)
{
    weft_mp_token_t token;
    *cursor = weft_mp(value);
    bool read = weft_mp_next(cursor, &token);
    assert(read && "the schema was checked");
    (void) read;
    return token;
}

weft_span_t
context_member(weft_mp_t *cursor)
{
    weft_span_t value = { NULL, 0 };
    bool read = weft_mp_value(cursor, &value);
    assert(read && "the schema was checked");
    (void) read;
    return value;
}

weft_span_t
context_key(weft_mp_t *cursor)
{
    weft_mp_token_t token;
    bool read = weft_mp_next(cursor, &token);
    assert(read && token.type == WEFT_MP_STR && "the schema was checked");
    (void) read;
    return token.v.bytes;
}

uint32_t
context_add_op(context_t *self, op_t op)
{
    weft_schema_t *program = self->compile->program;
    op_t *added = program_add(&program->ops, sizeof op, 1);
    if (!added) {
        compile_fail_memory(self->compile);
        return PROGRAM_NONE;
    }
    *added = op;
    PROGRAM_ROW(program, schemas, program_schema_t, self->schema).op_count++;
    return program->ops.count - 1;
}

uint32_t
context_offset(const context_t *self, weft_span_t part)
{
    return (uint32_t) (part.data - self->compile->program->source);
}

uint32_t
context_schema_at(context_t *self, keyword_t keyword, weft_span_t value, weft_span_t step)
{
    return compile_schema_at(self->compile, value, self->schema, context_name(keyword), step);
}

uint32_t
context_schema_or_none(context_t *self, keyword_t keyword, weft_span_t value, weft_span_t step, bool *valid)
{
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(value, &cursor);
    if ((token.type == WEFT_MP_BOOL && token.v.b) || (token.type == WEFT_MP_MAP && token.count == 0))
        return PROGRAM_NONE;
    uint32_t schema = context_schema_at(self, keyword, value, step);
    *valid = *valid && schema != PROGRAM_NONE;
    return schema;
}

/* Text of an index, for pointers of array members; valid as long as the program. */
static weft_span_t
s_index_text(uint32_t index)
{
    static const char DIGITS[] =
        "000102030405060708091011121314151617181920212223242526272829303132333435363738394041424344"
        "4546474849505152535455565758596061626364656667686970717273747576777879808182838485868788"
        "8990919293949596979899";
    if (index > 99)
        return (weft_span_t){ "...", 3 };
    const char *digits = DIGITS + (size_t) index * 2;
    return index < 10 ? (weft_span_t){ digits + 1, 1 } : (weft_span_t){ digits, 2 };
}

bool
context_count(context_t *self, keyword_t keyword, uint64_t *count)
{
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(self->values[keyword], &cursor);
    if (token.type == WEFT_MP_FLOAT && value_is_integer(&token) && token.v.f >= 0 && token.v.f < 0x1p63) {
        *count = (uint64_t) token.v.f;
        return true;
    }
    *count = token.type == WEFT_MP_UINT ? token.v.u : 0;
    return token.type == WEFT_MP_UINT || context_fail(self, keyword, "must be an integer of at least 0");
}

uint32_t
context_add_pattern(context_t *self, keyword_t keyword, weft_span_t text)
{
    char why[200];
    pattern_t **place = program_add(&self->compile->program->patterns, sizeof *place, 1);
    if (!place) {
        compile_fail_memory(self->compile);
        return PROGRAM_NONE;
    }
    *place = pattern_new(text, why, sizeof why);
    if (!*place) {
        context_fail(self, keyword, why);
        return PROGRAM_NONE;
    }
    return self->compile->program->patterns.count - 1;
}

bool
context_add_list(context_t *self, keyword_t keyword, uint32_t *first, uint32_t *count)
{
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(self->values[keyword], &cursor);
    program_table_t *lists = &self->compile->program->lists;
    if (token.type != WEFT_MP_ARRAY || token.count == 0)
        return context_fail(self, keyword, "must be an array of schemas that is not empty");
    *first = lists->count;
    *count = token.count;
    if (!program_add(lists, sizeof(uint32_t), token.count))
        return compile_fail_memory(self->compile);
    for (uint32_t i = 0; i < token.count; i++) {
        uint32_t schema = context_schema_at(self, keyword, context_member(&cursor), s_index_text(i));
        if (schema == PROGRAM_NONE)
            return false;
        ((uint32_t *) lists->rows)[*first + i] = schema;
    }
    return true;
}
