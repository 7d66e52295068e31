/* compile_keywords - one schema's keywords to operations
 *
 * A keyword that is not in the table below is an error.  To ignore what one does not know, as the
 * specification would have it, turns each typing error into a rule that is never checked. */
#include "compile_keywords.h"

#include "compile_context.h"
#include "value.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static keyword_handler_t s_schema_uri, s_id, s_anchor, s_defs, s_type, s_value, s_number, s_limit, s_pattern,
    s_format, s_ref, s_branches, s_not, s_if;

/* In the order in which a value is checked: cheap and telling things first.  Where several keywords make one
 * operation, the handler stands at the last of them and serves all. */
static const struct {
    const char *name;
    keyword_handler_t *handler;
    op_code_t code;
} KEYWORDS[KW_COUNT] = {
    [KW_SCHEMA] = { "$schema", s_schema_uri, 0 },
    [KW_ID] = { "$id", s_id, 0 },
    [KW_ANCHOR] = { "$anchor", s_anchor, 0 },
    [KW_DEFS] = { "$defs", s_defs, 0 },
    [KW_TYPE] = { "type", s_type, OP_TYPE },
    [KW_CONST] = { "const", s_value, OP_CONST },
    [KW_ENUM] = { "enum", s_value, OP_ENUM },
    [KW_MINIMUM] = { "minimum", s_number, OP_MINIMUM },
    [KW_MAXIMUM] = { "maximum", s_number, OP_MAXIMUM },
    [KW_EXCLUSIVE_MINIMUM] = { "exclusiveMinimum", s_number, OP_ABOVE },
    [KW_EXCLUSIVE_MAXIMUM] = { "exclusiveMaximum", s_number, OP_BELOW },
    [KW_MULTIPLE_OF] = { "multipleOf", s_number, OP_MULTIPLE },
    [KW_MIN_LENGTH] = { "minLength", s_limit, OP_MIN_LENGTH },
    [KW_MAX_LENGTH] = { "maxLength", s_limit, OP_MAX_LENGTH },
    [KW_PATTERN] = { "pattern", s_pattern, OP_PATTERN },
    [KW_FORMAT] = { "format", s_format, OP_FORMAT },
    [KW_MIN_ITEMS] = { "minItems", s_limit, OP_MIN_ITEMS },
    [KW_MAX_ITEMS] = { "maxItems", s_limit, OP_MAX_ITEMS },
    [KW_UNIQUE_ITEMS] = { "uniqueItems", members_unique, OP_UNIQUE },
    [KW_MIN_PROPERTIES] = { "minProperties", s_limit, OP_MIN_PROPERTIES },
    [KW_MAX_PROPERTIES] = { "maxProperties", s_limit, OP_MAX_PROPERTIES },
    [KW_PREFIX_ITEMS] = { "prefixItems", members_array, OP_ARRAY },
    [KW_ITEMS] = { "items", members_array, OP_ARRAY },
    [KW_MIN_CONTAINS] = { "minContains", members_contains, OP_CONTAINS },
    [KW_MAX_CONTAINS] = { "maxContains", members_contains, OP_CONTAINS },
    [KW_CONTAINS] = { "contains", members_contains, OP_CONTAINS },
    [KW_PROPERTIES] = { "properties", members_object, OP_OBJECT },
    [KW_PATTERN_PROPERTIES] = { "patternProperties", members_object, OP_OBJECT },
    [KW_ADDITIONAL_PROPERTIES] = { "additionalProperties", members_object, OP_OBJECT },
    [KW_PROPERTY_NAMES] = { "propertyNames", members_object, OP_OBJECT },
    [KW_REQUIRED] = { "required", members_object, OP_OBJECT },
    [KW_DEPENDENT_REQUIRED] = { "dependentRequired", members_dependent_required, OP_DEPENDENT },
    [KW_DEPENDENT_SCHEMAS] = { "dependentSchemas", members_dependent_schemas, OP_DEPENDENT_SCHEMA },
    [KW_REF] = { "$ref", s_ref, OP_REF },
    [KW_ALL_OF] = { "allOf", s_branches, OP_ALL_OF },
    [KW_ANY_OF] = { "anyOf", s_branches, OP_ANY_OF },
    [KW_ONE_OF] = { "oneOf", s_branches, OP_ONE_OF },
    [KW_NOT] = { "not", s_not, OP_NOT },
    [KW_IF] = { "if", s_if, OP_IF },
    [KW_THEN] = { "then", s_if, OP_IF },
    [KW_ELSE] = { "else", s_if, OP_IF },
    [KW_ANNOTATION] = { NULL, NULL, 0 },
};

const char *
context_name(keyword_t keyword)
{
    return KEYWORDS[keyword].name;
}

static const char *const ANNOTATIONS[] = {
    "title",     "description", "default",         "examples",         "deprecated",    "readOnly",
    "writeOnly", "$comment",    "contentEncoding", "contentMediaType", "contentSchema",
};

/* $schema, $id, $anchor and $defs check nothing of a value. */

static bool
s_schema_uri(context_t *self, keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return context_fail(self, keyword, "must be a string");
    if (!weft_span_equal(text, weft_span("https://json-schema.org/draft/2020-12/schema")) &&
        !weft_span_equal(text, weft_span("https://json-schema.org/draft/2020-12/schema#")))
        return context_fail(self, keyword, "must be https://json-schema.org/draft/2020-12/schema");
    return true;
}

static bool
s_id(context_t *self, keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return context_fail(self, keyword, "must be a string");
    if (self->schema != 0)
        return context_fail(self, keyword, "is supported at the root only");
    if (text.size > 0 && text.data[text.size - 1] == '#')
        text.size--;
    if (text.size > 0 && memchr(text.data, '#', text.size))
        return context_fail(self, keyword, "must have no fragment");
    self->compile->id = text;
    return true;
}

static bool
s_anchor(context_t *self, keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text) || text.size == 0)
        return context_fail(self, keyword, "must be a string that is not empty");
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '-' || c == '.')))
            return context_fail(self, keyword,
                                "must be letters, digits, '-', '_' and '.', a letter or '_' first");
    }
    return compile_anchor(self->compile, self->schema, text);
}

static bool
s_defs(context_t *self, keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t map = context_token(self->values[keyword], &cursor);
    if (map.type != WEFT_MP_MAP)
        return context_fail(self, keyword, "must be an object of schemas");
    for (uint32_t left = map.count; left > 0; left--) {
        weft_span_t name = context_key(&cursor);
        if (context_schema_at(self, keyword, context_member(&cursor), name) == PROGRAM_NONE)
            return false;
    }
    return true;
}

/* Any value */

static bool
s_type(context_t *self, keyword_t keyword)
{
    static const char *const NAMES[] = {
        "null", "boolean", "integer", "number", "string", "array", "object"
    };
    weft_mp_t cursor = weft_mp(self->values[keyword]);
    weft_mp_t inside;
    weft_mp_token_t token = context_token(self->values[keyword], &inside);
    uint32_t left = 1;
    if (token.type == WEFT_MP_ARRAY) {
        left = token.count;
        cursor = inside;
    }
    unsigned bits = 0;
    for (; left > 0; left--) {
        weft_span_t name;
        unsigned bit = 0;
        if (weft_mp_str(context_member(&cursor), &name)) {
            for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
                if (weft_span_equal(name, weft_span(NAMES[i])))
                    bit = 1u << i;
            }
        }
        if (bit == 0 || bits & bit)
            return context_fail(self, keyword, "must be a type or a list of different types");
        bits |= bit;
    }
    if (bits == 0)
        return context_fail(self, keyword, "must name a type");
    return context_add_op(self, (op_t){ .code = OP_TYPE, .a = bits }) != PROGRAM_NONE;
}

/* const and enum */
static bool
s_value(context_t *self, keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(self->values[keyword], &cursor);
    if (keyword == KW_ENUM && (token.type != WEFT_MP_ARRAY || token.count == 0))
        return context_fail(self, keyword, "must be an array that is not empty");
    op_t op = { .code = KEYWORDS[keyword].code, .v.value = self->values[keyword] };
    return context_add_op(self, op) != PROGRAM_NONE;
}

/* Numbers */

static bool
s_number(context_t *self, keyword_t keyword)
{
    static const weft_mp_token_t ZERO = { .type = WEFT_MP_UINT };
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(self->values[keyword], &cursor);
    if (!value_is_number(&token) || (token.type == WEFT_MP_FLOAT && token.v.f - token.v.f != 0))
        return context_fail(self, keyword, "must be a number");
    if (keyword == KW_MULTIPLE_OF && value_compare_numbers(&token, &ZERO) <= 0)
        return context_fail(self, keyword, "must be above 0");
    return context_add_op(self, (op_t){ .code = KEYWORDS[keyword].code, .v.number = token }) != PROGRAM_NONE;
}

/* The lengths and counts of strings, arrays and objects */
static bool
s_limit(context_t *self, keyword_t keyword)
{
    uint64_t count;
    if (!context_count(self, keyword, &count))
        return false;
    return context_add_op(self, (op_t){ .code = KEYWORDS[keyword].code, .v.limit = count }) != PROGRAM_NONE;
}

/* Strings */

static bool
s_pattern(context_t *self, keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return context_fail(self, keyword, "must be a string");
    uint32_t pattern = context_add_pattern(self, keyword, text);
    return pattern != PROGRAM_NONE &&
           context_add_op(self, (op_t){ .code = OP_PATTERN, .a = pattern }) != PROGRAM_NONE;
}

static bool
s_format(context_t *self, keyword_t keyword)
{
    weft_span_t name;
    if (!weft_mp_str(self->values[keyword], &name))
        return context_fail(self, keyword, "must be a string");
    const format_t *format = format_find(name);
    if (!format)
        return context_fail(self, keyword, "names a format that is not supported");
    return context_add_op(self, (op_t){ .code = OP_FORMAT, .v.format = format }) != PROGRAM_NONE;
}

/* Other schemas for the same value */

static bool
s_ref(context_t *self, keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return context_fail(self, keyword, "must be a string");
    uint32_t op = context_add_op(self, (op_t){ .code = OP_REF });
    return op != PROGRAM_NONE && compile_ref(self->compile, self->schema, op, text);
}

/* allOf, anyOf and oneOf */
static bool
s_branches(context_t *self, keyword_t keyword)
{
    op_t op = { .code = KEYWORDS[keyword].code };
    return context_add_list(self, keyword, &op.a, &op.b) && context_add_op(self, op) != PROGRAM_NONE;
}

static bool
s_not(context_t *self, keyword_t keyword)
{
    uint32_t schema = context_schema_at(self, keyword, self->values[keyword], (weft_span_t){ NULL, 0 });
    return schema != PROGRAM_NONE &&
           context_add_op(self, (op_t){ .code = OP_NOT, .a = schema }) != PROGRAM_NONE;
}

/* if, then and else: alone they check nothing, but are compiled for their errors all the same */
static bool
s_if(context_t *self, keyword_t keyword)
{
    uint32_t schema = context_schema_at(self, keyword, self->values[keyword], (weft_span_t){ NULL, 0 });
    if (schema == PROGRAM_NONE)
        return false;
    if (keyword != KW_IF || (!context_has(self, KW_THEN) && !context_has(self, KW_ELSE)))
        return true;
    op_t op = { .code = OP_IF, .a = schema, .b = PROGRAM_NONE, .c = PROGRAM_NONE };
    bool valid = true;
    if (context_has(self, KW_THEN))
        op.b = context_schema_or_none(self, KW_THEN, self->values[KW_THEN], (weft_span_t){ NULL, 0 }, &valid);
    if (context_has(self, KW_ELSE))
        op.c = context_schema_or_none(self, KW_ELSE, self->values[KW_ELSE], (weft_span_t){ NULL, 0 }, &valid);
    return valid && context_add_op(self, op) != PROGRAM_NONE;
}

static keyword_t
s_find(weft_span_t name)
{
    for (keyword_t keyword = 0; keyword < KW_ANNOTATION; keyword++) {
        if (weft_span_equal(name, weft_span(KEYWORDS[keyword].name)))
            return keyword;
    }
    for (size_t i = 0; i < sizeof ANNOTATIONS / sizeof *ANNOTATIONS; i++) {
        if (weft_span_equal(name, weft_span(ANNOTATIONS[i])))
            return KW_ANNOTATION;
    }
    return KW_COUNT;
}

bool
compile_keywords(compile_t *compile, uint32_t schema)
{
    context_t self = { .compile = compile, .schema = schema };
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(((compile_place_t *) compile->places.rows)[schema].value, &cursor);
    PROGRAM_ROW(compile->program, schemas, program_schema_t, schema).ops = compile->program->ops.count;
    if (token.type == WEFT_MP_BOOL)
        return token.v.b || context_add_op(&self, (op_t){ .code = OP_FALSE }) != PROGRAM_NONE;
    if (token.type != WEFT_MP_MAP)
        return compile_fail(compile, schema, NULL, "must be a schema: an object, true or false");
    for (uint32_t left = token.count; left > 0; left--) {
        weft_span_t name = context_key(&cursor);
        weft_span_t value = context_member(&cursor);
        keyword_t keyword = s_find(name);
        if (keyword == KW_COUNT) {
            char text[80];
            snprintf(text, sizeof text, "%.*s", name.size < 60 ? (int) name.size : 60, name.data);
            return compile_fail(compile, schema, text, "this keyword is not supported");
        }
        if (keyword != KW_ANNOTATION && context_has(&self, keyword))
            return context_fail(&self, keyword, "comes twice");
        self.values[keyword] = value;
    }
    for (keyword_t keyword = 0; keyword < KW_ANNOTATION; keyword++) {
        if (context_has(&self, keyword) && !KEYWORDS[keyword].handler(&self, keyword))
            return false;
    }
    return true;
}
