/* compile_keywords - one schema's keywords to operations
 *
 * A keyword that is not in the table below is an error.  To ignore what one does not know, as the
 * specification would have it, turns each typing error into a rule that is never checked. */
#include "compile_keywords.h"

#include "value.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum {
    KW_SCHEMA,
    KW_ID,
    KW_ANCHOR,
    KW_DEFS,
    KW_TYPE,
    KW_CONST,
    KW_ENUM,
    KW_MINIMUM,
    KW_MAXIMUM,
    KW_EXCLUSIVE_MINIMUM,
    KW_EXCLUSIVE_MAXIMUM,
    KW_MULTIPLE_OF,
    KW_MIN_LENGTH,
    KW_MAX_LENGTH,
    KW_PATTERN,
    KW_FORMAT,
    KW_MIN_ITEMS,
    KW_MAX_ITEMS,
    KW_UNIQUE_ITEMS,
    KW_MIN_PROPERTIES,
    KW_MAX_PROPERTIES,
    KW_PREFIX_ITEMS,
    KW_ITEMS,
    KW_MIN_CONTAINS,
    KW_MAX_CONTAINS,
    KW_CONTAINS,
    KW_PROPERTIES,
    KW_PATTERN_PROPERTIES,
    KW_ADDITIONAL_PROPERTIES,
    KW_PROPERTY_NAMES,
    KW_REQUIRED,
    KW_DEPENDENT_REQUIRED,
    KW_DEPENDENT_SCHEMAS,
    KW_REF,
    KW_ALL_OF,
    KW_ANY_OF,
    KW_ONE_OF,
    KW_NOT,
    KW_IF,
    KW_THEN,
    KW_ELSE,
    KW_ANNOTATION, /* any of those that say something and check nothing */
    KW_COUNT
} s_keyword_t;

/* A schema whose keywords have been told apart. */
typedef struct {
    compile_t *compile;
    uint32_t schema;
    weft_span_t values[KW_COUNT]; /* data NULL: not there */
} s_context_t;

typedef bool s_handler_t(s_context_t *self, s_keyword_t keyword);

static s_handler_t s_schema_uri, s_id, s_anchor, s_defs, s_type, s_value, s_number, s_limit, s_pattern,
    s_format, s_unique, s_array, s_contains, s_object, s_dependent_required, s_dependent_schemas, s_ref,
    s_branches, s_not, s_if;

/* In the order in which a value is checked: cheap and telling things first.  Where several keywords make one
 * operation, the handler stands at the last of them and serves all. */
static const struct {
    const char *name;
    s_handler_t *handler;
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
    [KW_UNIQUE_ITEMS] = { "uniqueItems", s_unique, OP_UNIQUE },
    [KW_MIN_PROPERTIES] = { "minProperties", s_limit, OP_MIN_PROPERTIES },
    [KW_MAX_PROPERTIES] = { "maxProperties", s_limit, OP_MAX_PROPERTIES },
    [KW_PREFIX_ITEMS] = { "prefixItems", s_array, OP_ARRAY },
    [KW_ITEMS] = { "items", s_array, OP_ARRAY },
    [KW_MIN_CONTAINS] = { "minContains", s_contains, OP_CONTAINS },
    [KW_MAX_CONTAINS] = { "maxContains", s_contains, OP_CONTAINS },
    [KW_CONTAINS] = { "contains", s_contains, OP_CONTAINS },
    [KW_PROPERTIES] = { "properties", s_object, OP_OBJECT },
    [KW_PATTERN_PROPERTIES] = { "patternProperties", s_object, OP_OBJECT },
    [KW_ADDITIONAL_PROPERTIES] = { "additionalProperties", s_object, OP_OBJECT },
    [KW_PROPERTY_NAMES] = { "propertyNames", s_object, OP_OBJECT },
    [KW_REQUIRED] = { "required", s_object, OP_OBJECT },
    [KW_DEPENDENT_REQUIRED] = { "dependentRequired", s_dependent_required, OP_DEPENDENT },
    [KW_DEPENDENT_SCHEMAS] = { "dependentSchemas", s_dependent_schemas, OP_DEPENDENT_SCHEMA },
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

static const char *const ANNOTATIONS[] = {
    "title",     "description", "default",         "examples",         "deprecated",    "readOnly",
    "writeOnly", "$comment",    "contentEncoding", "contentMediaType", "contentSchema",
};

static bool
s_fail(s_context_t *self, s_keyword_t keyword, const char *rule)
{
    return compile_fail(self->compile, self->schema, KEYWORDS[keyword].name, rule);
}

static bool
s_has(const s_context_t *self, s_keyword_t keyword)
{
    return self->values[keyword].data != NULL;
}

static weft_mp_token_t
s_token(weft_span_t value, weft_mp_t *cursor)
{
    weft_mp_token_t token;
    *cursor = weft_mp(value);
    bool read = weft_mp_next(cursor, &token);
    assert(read && "the schema was checked");
    (void) read;
    return token;
}

/* The next value of a container that is being passed through. */
static weft_span_t
s_member(weft_mp_t *cursor)
{
    weft_span_t value = { NULL, 0 };
    bool read = weft_mp_value(cursor, &value);
    assert(read && "the schema was checked");
    (void) read;
    return value;
}

static weft_span_t
s_key(weft_mp_t *cursor)
{
    weft_mp_token_t token;
    bool read = weft_mp_next(cursor, &token);
    assert(read && token.type == WEFT_MP_STR && "the schema was checked");
    (void) read;
    return token.v.bytes;
}

/* Appends an operation of this schema; its index, PROGRAM_NONE when memory ended. */
static uint32_t
s_add_op(s_context_t *self, op_t op)
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

static uint32_t
s_offset(const s_context_t *self, weft_span_t part)
{
    return (uint32_t) (part.data - self->compile->program->source);
}

static uint32_t
s_schema_at(s_context_t *self, s_keyword_t keyword, weft_span_t value, weft_span_t step)
{
    return compile_schema_at(self->compile, value, self->schema, KEYWORDS[keyword].name, step);
}

/* The schema at `value`, or PROGRAM_NONE with *valid still true where it lets everything pass. */
static uint32_t
s_schema_or_none(s_context_t *self, s_keyword_t keyword, weft_span_t value, weft_span_t step, bool *valid)
{
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(value, &cursor);
    if ((token.type == WEFT_MP_BOOL && token.v.b) || (token.type == WEFT_MP_MAP && token.count == 0))
        return PROGRAM_NONE;
    uint32_t schema = s_schema_at(self, keyword, value, step);
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
    return index < 10 ? (weft_span_t){ DIGITS + index * 2 + 1, 1 } : (weft_span_t){ DIGITS + index * 2, 2 };
}

/* $schema, $id, $anchor and $defs check nothing of a value. */

static bool
s_schema_uri(s_context_t *self, s_keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return s_fail(self, keyword, "must be a string");
    if (!weft_span_equal(text, weft_span("https://json-schema.org/draft/2020-12/schema")) &&
        !weft_span_equal(text, weft_span("https://json-schema.org/draft/2020-12/schema#")))
        return s_fail(self, keyword, "must be https://json-schema.org/draft/2020-12/schema");
    return true;
}

static bool
s_id(s_context_t *self, s_keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return s_fail(self, keyword, "must be a string");
    if (self->schema != 0)
        return s_fail(self, keyword, "is supported at the root only");
    if (text.size > 0 && text.data[text.size - 1] == '#')
        text.size--;
    if (text.size > 0 && memchr(text.data, '#', text.size))
        return s_fail(self, keyword, "must have no fragment");
    self->compile->id = text;
    return true;
}

static bool
s_anchor(s_context_t *self, s_keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text) || text.size == 0)
        return s_fail(self, keyword, "must be a string that is not empty");
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '-' || c == '.')))
            return s_fail(self, keyword, "must be letters, digits, '-', '_' and '.', a letter or '_' first");
    }
    return compile_anchor(self->compile, self->schema, text);
}

static bool
s_defs(s_context_t *self, s_keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t map = s_token(self->values[keyword], &cursor);
    if (map.type != WEFT_MP_MAP)
        return s_fail(self, keyword, "must be an object of schemas");
    for (uint32_t left = map.count; left > 0; left--) {
        weft_span_t name = s_key(&cursor);
        if (s_schema_at(self, keyword, s_member(&cursor), name) == PROGRAM_NONE)
            return false;
    }
    return true;
}

/* Any value */

static bool
s_type(s_context_t *self, s_keyword_t keyword)
{
    static const char *const NAMES[] = {
        "null", "boolean", "integer", "number", "string", "array", "object"
    };
    weft_mp_t cursor = weft_mp(self->values[keyword]);
    weft_mp_t inside;
    weft_mp_token_t token = s_token(self->values[keyword], &inside);
    uint32_t left = 1;
    if (token.type == WEFT_MP_ARRAY) {
        left = token.count;
        cursor = inside;
    }
    unsigned bits = 0;
    for (; left > 0; left--) {
        weft_span_t name;
        unsigned bit = 0;
        if (weft_mp_str(s_member(&cursor), &name)) {
            for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
                if (weft_span_equal(name, weft_span(NAMES[i])))
                    bit = 1u << i;
            }
        }
        if (bit == 0 || bits & bit)
            return s_fail(self, keyword, "must be a type or a list of different types");
        bits |= bit;
    }
    if (bits == 0)
        return s_fail(self, keyword, "must name a type");
    return s_add_op(self, (op_t){ .code = OP_TYPE, .a = bits }) != PROGRAM_NONE;
}

/* const and enum */
static bool
s_value(s_context_t *self, s_keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(self->values[keyword], &cursor);
    if (keyword == KW_ENUM && (token.type != WEFT_MP_ARRAY || token.count == 0))
        return s_fail(self, keyword, "must be an array that is not empty");
    op_t op = { .code = KEYWORDS[keyword].code, .v.value = self->values[keyword] };
    return s_add_op(self, op) != PROGRAM_NONE;
}

/* Numbers */

static bool
s_number(s_context_t *self, s_keyword_t keyword)
{
    static const weft_mp_token_t ZERO = { .type = WEFT_MP_UINT };
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(self->values[keyword], &cursor);
    if (!value_is_number(&token) || (token.type == WEFT_MP_FLOAT && token.v.f - token.v.f != 0))
        return s_fail(self, keyword, "must be a number");
    if (keyword == KW_MULTIPLE_OF && value_compare_numbers(&token, &ZERO) <= 0)
        return s_fail(self, keyword, "must be above 0");
    return s_add_op(self, (op_t){ .code = KEYWORDS[keyword].code, .v.number = token }) != PROGRAM_NONE;
}

/* A count: an integer of at least 0, also as 2.0. */
static bool
s_count_of(s_context_t *self, s_keyword_t keyword, uint64_t *count)
{
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(self->values[keyword], &cursor);
    if (token.type == WEFT_MP_FLOAT && value_is_integer(&token) && token.v.f >= 0 && token.v.f < 0x1p63) {
        *count = (uint64_t) token.v.f;
        return true;
    }
    *count = token.type == WEFT_MP_UINT ? token.v.u : 0;
    return token.type == WEFT_MP_UINT || s_fail(self, keyword, "must be an integer of at least 0");
}

/* The lengths and counts of strings, arrays and objects */
static bool
s_limit(s_context_t *self, s_keyword_t keyword)
{
    uint64_t count;
    if (!s_count_of(self, keyword, &count))
        return false;
    return s_add_op(self, (op_t){ .code = KEYWORDS[keyword].code, .v.limit = count }) != PROGRAM_NONE;
}

/* Strings */

/* Compiles a regular expression; its index, PROGRAM_NONE when it failed. */
static uint32_t
s_add_pattern(s_context_t *self, s_keyword_t keyword, weft_span_t text)
{
    char why[200];
    pattern_t **place = program_add(&self->compile->program->patterns, sizeof *place, 1);
    if (!place) {
        compile_fail_memory(self->compile);
        return PROGRAM_NONE;
    }
    *place = pattern_new(text, why, sizeof why);
    if (!*place) {
        s_fail(self, keyword, why);
        return PROGRAM_NONE;
    }
    return self->compile->program->patterns.count - 1;
}

static bool
s_pattern(s_context_t *self, s_keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return s_fail(self, keyword, "must be a string");
    uint32_t pattern = s_add_pattern(self, keyword, text);
    return pattern != PROGRAM_NONE &&
           s_add_op(self, (op_t){ .code = OP_PATTERN, .a = pattern }) != PROGRAM_NONE;
}

static bool
s_format(s_context_t *self, s_keyword_t keyword)
{
    weft_span_t name;
    if (!weft_mp_str(self->values[keyword], &name))
        return s_fail(self, keyword, "must be a string");
    const format_t *format = format_find(name);
    if (!format)
        return s_fail(self, keyword, "names a format that is not supported");
    return s_add_op(self, (op_t){ .code = OP_FORMAT, .v.format = format }) != PROGRAM_NONE;
}

/* Arrays */

static bool
s_unique(s_context_t *self, s_keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(self->values[keyword], &cursor);
    if (token.type != WEFT_MP_BOOL)
        return s_fail(self, keyword, "must be true or false");
    return !token.v.b || s_add_op(self, (op_t){ .code = OP_UNIQUE }) != PROGRAM_NONE;
}

/* Registers the schemas of an array; *first in lists[], *count. */
static bool
s_list(s_context_t *self, s_keyword_t keyword, uint32_t *first, uint32_t *count)
{
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(self->values[keyword], &cursor);
    program_table_t *lists = &self->compile->program->lists;
    if (token.type != WEFT_MP_ARRAY || token.count == 0)
        return s_fail(self, keyword, "must be an array of schemas that is not empty");
    *first = lists->count;
    *count = token.count;
    if (!program_add(lists, sizeof(uint32_t), token.count))
        return compile_fail_memory(self->compile);
    for (uint32_t i = 0; i < token.count; i++) {
        uint32_t schema = s_schema_at(self, keyword, s_member(&cursor), s_index_text(i));
        if (schema == PROGRAM_NONE)
            return false;
        ((uint32_t *) lists->rows)[*first + i] = schema;
    }
    return true;
}

/* prefixItems and items */
static bool
s_array(s_context_t *self, s_keyword_t keyword)
{
    if (keyword == KW_PREFIX_ITEMS && s_has(self, KW_ITEMS))
        return true;
    program_array_t array = { .items = PROGRAM_NONE };
    bool valid = true;
    if (s_has(self, KW_PREFIX_ITEMS) && !s_list(self, KW_PREFIX_ITEMS, &array.prefix, &array.prefix_count))
        return false;
    if (s_has(self, KW_ITEMS)) {
        weft_mp_t cursor;
        if (s_token(self->values[KW_ITEMS], &cursor).type == WEFT_MP_ARRAY)
            return s_fail(self, KW_ITEMS, "must be a schema; a list of schemas is prefixItems");
        array.items = s_schema_or_none(self, KW_ITEMS, self->values[KW_ITEMS], (weft_span_t){ NULL, 0 },
                                       &valid);
    }
    if (!valid || (array.prefix_count == 0 && array.items == PROGRAM_NONE))
        return valid;
    program_array_t *added = program_add(&self->compile->program->arrays, sizeof array, 1);
    if (!added)
        return compile_fail_memory(self->compile);
    *added = array;
    return s_add_op(self, (op_t){ .code = OP_ARRAY, .a = self->compile->program->arrays.count - 1 }) !=
           PROGRAM_NONE;
}

/* contains, minContains and maxContains, of which the latter two are nothing without the first */
static bool
s_contains(s_context_t *self, s_keyword_t keyword)
{
    program_contains_t contains = { .min = 1, .max = UINT64_MAX };
    if (keyword != KW_CONTAINS) {
        uint64_t ignored;
        return s_count_of(self, keyword, &ignored);
    }
    if ((s_has(self, KW_MIN_CONTAINS) && !s_count_of(self, KW_MIN_CONTAINS, &contains.min)) ||
        (s_has(self, KW_MAX_CONTAINS) && !s_count_of(self, KW_MAX_CONTAINS, &contains.max)))
        return false;
    contains.schema = s_schema_at(self, keyword, self->values[keyword], (weft_span_t){ NULL, 0 });
    if (contains.schema == PROGRAM_NONE)
        return false;
    program_contains_t *added = program_add(&self->compile->program->contains, sizeof contains, 1);
    if (!added)
        return compile_fail_memory(self->compile);
    *added = contains;
    return s_add_op(self, (op_t){ .code = OP_CONTAINS, .a = self->compile->program->contains.count - 1 }) !=
           PROGRAM_NONE;
}

/* Objects */

static int
s_compare_names(const void *a, const void *b)
{
    return program_compare(((const program_name_t *) a)->name, ((const program_name_t *) b)->name);
}

/* Appends the names of `properties`, unsorted. */
static bool
s_add_properties(s_context_t *self)
{
    weft_mp_t cursor;
    weft_mp_token_t map = s_token(self->values[KW_PROPERTIES], &cursor);
    bool valid = true;
    if (map.type != WEFT_MP_MAP)
        return s_fail(self, KW_PROPERTIES, "must be an object of schemas");
    for (uint32_t left = map.count; left > 0 && valid; left--) {
        program_name_t *entry = program_add(&self->compile->program->names, sizeof *entry, 1);
        if (!entry)
            return compile_fail_memory(self->compile);
        entry->name = s_key(&cursor);
        entry->is_property = true;
        entry->schema = s_schema_or_none(self, KW_PROPERTIES, s_member(&cursor), entry->name, &valid);
    }
    return valid;
}

/* Appends the names of `required`, unsorted; those beyond the bitmap get an operation each. */
static bool
s_add_required(s_context_t *self)
{
    weft_mp_t cursor;
    weft_mp_token_t array = s_token(self->values[KW_REQUIRED], &cursor);
    if (array.type != WEFT_MP_ARRAY)
        return s_fail(self, KW_REQUIRED, "must be an array of strings");
    for (uint32_t i = 0; i < array.count; i++) {
        weft_span_t name;
        if (!weft_mp_str(s_member(&cursor), &name))
            return s_fail(self, KW_REQUIRED, "must be an array of strings");
        if (i >= PROGRAM_REQUIRED_MAX) {
            op_t op = { .code = OP_REQUIRED, .c = s_offset(self, name), .b = (uint32_t) name.size };
            if (s_add_op(self, op) == PROGRAM_NONE)
                return false;
            continue;
        }
        program_name_t *entry = program_add(&self->compile->program->names, sizeof *entry, 1);
        if (!entry)
            return compile_fail_memory(self->compile);
        entry->name = name;
        entry->schema = PROGRAM_NONE;
        entry->is_required = true;
    }
    return true;
}

/* Sorts the names from `first` on and makes one entry of a property and its requirement. */
static bool
s_merge_names(s_context_t *self, program_object_t *object)
{
    program_table_t *table = &self->compile->program->names;
    program_name_t *names = (program_name_t *) table->rows + object->names;
    uint32_t count = table->count - object->names;
    uint32_t kept = 0;
    if (count > 1)
        qsort(names, count, sizeof *names, s_compare_names);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && s_compare_names(&names[kept - 1], &names[i]) == 0) {
            program_name_t *entry = &names[kept - 1];
            if (entry->is_property && names[i].is_property)
                return s_fail(self, KW_PROPERTIES, "has a name twice");
            if (names[i].is_property) {
                entry->is_property = true;
                entry->schema = names[i].schema;
            }
            entry->is_required = entry->is_required || names[i].is_required;
        } else {
            names[kept++] = names[i];
        }
    }
    for (uint32_t i = 0; i < kept; i++) {
        if (names[i].is_required)
            names[i].required = (uint8_t) object->required_count++;
    }
    table->count = object->names + kept;
    object->name_count = kept;
    return true;
}

static bool
s_add_pattern_properties(s_context_t *self, program_object_t *object)
{
    weft_mp_t cursor;
    weft_mp_token_t map = s_token(self->values[KW_PATTERN_PROPERTIES], &cursor);
    program_table_t *lists = &self->compile->program->lists;
    if (map.type != WEFT_MP_MAP)
        return s_fail(self, KW_PATTERN_PROPERTIES, "must be an object of schemas");
    object->patterns = lists->count;
    object->pattern_count = map.count;
    if (map.count > 0 && !program_add(lists, sizeof(uint32_t), map.count * 2))
        return compile_fail_memory(self->compile);
    bool valid = true;
    for (uint32_t i = 0; i < map.count && valid; i++) {
        weft_span_t name = s_key(&cursor);
        uint32_t pattern = s_add_pattern(self, KW_PATTERN_PROPERTIES, name);
        if (pattern == PROGRAM_NONE)
            return false;
        uint32_t schema = s_schema_or_none(self, KW_PATTERN_PROPERTIES, s_member(&cursor), name, &valid);
        ((uint32_t *) lists->rows)[object->patterns + i * 2] = pattern;
        ((uint32_t *) lists->rows)[object->patterns + i * 2 + 1] = schema;
    }
    return valid;
}

/* properties, patternProperties, additionalProperties, propertyNames and required: one pass over an object */
static bool
s_object(s_context_t *self, s_keyword_t keyword)
{
    for (s_keyword_t later = keyword + 1; later <= KW_REQUIRED; later++) {
        if (s_has(self, later))
            return true;
    }
    weft_schema_t *program = self->compile->program;
    program_object_t object = { .names = program->names.count,
                                .additional = PROGRAM_NONE,
                                .property_names = PROGRAM_NONE };
    bool valid = (!s_has(self, KW_PROPERTIES) || s_add_properties(self)) &&
                 (!s_has(self, KW_REQUIRED) || s_add_required(self)) && s_merge_names(self, &object) &&
                 (!s_has(self, KW_PATTERN_PROPERTIES) || s_add_pattern_properties(self, &object));
    if (!valid)
        return false;
    static const weft_span_t NO_STEP = { NULL, 0 };
    if (s_has(self, KW_ADDITIONAL_PROPERTIES))
        object.additional = s_schema_or_none(self, KW_ADDITIONAL_PROPERTIES,
                                             self->values[KW_ADDITIONAL_PROPERTIES], NO_STEP, &valid);
    if (s_has(self, KW_PROPERTY_NAMES))
        object.property_names = s_schema_or_none(self, KW_PROPERTY_NAMES, self->values[KW_PROPERTY_NAMES],
                                                 NO_STEP, &valid);
    program_object_t *added = valid ? program_add(&program->objects, sizeof object, 1) : NULL;
    if (!added)
        return compile_fail_memory(self->compile);
    *added = object;
    return s_add_op(self, (op_t){ .code = OP_OBJECT, .a = program->objects.count - 1 }) != PROGRAM_NONE;
}

static bool
s_dependent_required(s_context_t *self, s_keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t map = s_token(self->values[keyword], &cursor);
    if (map.type != WEFT_MP_MAP)
        return s_fail(self, keyword, "must be an object of arrays of strings");
    for (uint32_t left = map.count; left > 0; left--) {
        weft_span_t name = s_key(&cursor);
        weft_span_t list = s_member(&cursor);
        weft_mp_t inside;
        weft_mp_token_t array = s_token(list, &inside);
        for (uint32_t i = array.type == WEFT_MP_ARRAY ? array.count : 0; i > 0; i--) {
            weft_span_t text;
            if (!weft_mp_str(s_member(&inside), &text))
                return s_fail(self, keyword, "must be an object of arrays of strings");
        }
        if (array.type != WEFT_MP_ARRAY)
            return s_fail(self, keyword, "must be an object of arrays of strings");
        op_t op = {
            .code = OP_DEPENDENT, .c = s_offset(self, name), .b = (uint32_t) name.size, .v.value = list
        };
        if (s_add_op(self, op) == PROGRAM_NONE)
            return false;
    }
    return true;
}

static bool
s_dependent_schemas(s_context_t *self, s_keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t map = s_token(self->values[keyword], &cursor);
    if (map.type != WEFT_MP_MAP)
        return s_fail(self, keyword, "must be an object of schemas");
    for (uint32_t left = map.count; left > 0; left--) {
        weft_span_t name = s_key(&cursor);
        uint32_t schema = s_schema_at(self, keyword, s_member(&cursor), name);
        op_t op = {
            .code = OP_DEPENDENT_SCHEMA, .a = schema, .c = s_offset(self, name), .b = (uint32_t) name.size
        };
        if (schema == PROGRAM_NONE || s_add_op(self, op) == PROGRAM_NONE)
            return false;
    }
    return true;
}

/* Other schemas for the same value */

static bool
s_ref(s_context_t *self, s_keyword_t keyword)
{
    weft_span_t text;
    if (!weft_mp_str(self->values[keyword], &text))
        return s_fail(self, keyword, "must be a string");
    uint32_t op = s_add_op(self, (op_t){ .code = OP_REF });
    return op != PROGRAM_NONE && compile_ref(self->compile, self->schema, op, text);
}

/* allOf, anyOf and oneOf */
static bool
s_branches(s_context_t *self, s_keyword_t keyword)
{
    op_t op = { .code = KEYWORDS[keyword].code };
    return s_list(self, keyword, &op.a, &op.b) && s_add_op(self, op) != PROGRAM_NONE;
}

static bool
s_not(s_context_t *self, s_keyword_t keyword)
{
    uint32_t schema = s_schema_at(self, keyword, self->values[keyword], (weft_span_t){ NULL, 0 });
    return schema != PROGRAM_NONE && s_add_op(self, (op_t){ .code = OP_NOT, .a = schema }) != PROGRAM_NONE;
}

/* if, then and else: alone they check nothing, but are compiled for their errors all the same */
static bool
s_if(s_context_t *self, s_keyword_t keyword)
{
    uint32_t schema = s_schema_at(self, keyword, self->values[keyword], (weft_span_t){ NULL, 0 });
    if (schema == PROGRAM_NONE)
        return false;
    if (keyword != KW_IF || (!s_has(self, KW_THEN) && !s_has(self, KW_ELSE)))
        return true;
    op_t op = { .code = OP_IF, .a = schema, .b = PROGRAM_NONE, .c = PROGRAM_NONE };
    bool valid = true;
    if (s_has(self, KW_THEN))
        op.b = s_schema_or_none(self, KW_THEN, self->values[KW_THEN], (weft_span_t){ NULL, 0 }, &valid);
    if (s_has(self, KW_ELSE))
        op.c = s_schema_or_none(self, KW_ELSE, self->values[KW_ELSE], (weft_span_t){ NULL, 0 }, &valid);
    return valid && s_add_op(self, op) != PROGRAM_NONE;
}

static s_keyword_t
s_find(weft_span_t name)
{
    for (s_keyword_t keyword = 0; keyword < KW_ANNOTATION; keyword++) {
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
    s_context_t self = { .compile = compile, .schema = schema };
    weft_mp_t cursor;
    weft_mp_token_t token = s_token(((compile_place_t *) compile->places.rows)[schema].value, &cursor);
    PROGRAM_ROW(compile->program, schemas, program_schema_t, schema).ops = compile->program->ops.count;
    if (token.type == WEFT_MP_BOOL)
        return token.v.b || s_add_op(&self, (op_t){ .code = OP_FALSE }) != PROGRAM_NONE;
    if (token.type != WEFT_MP_MAP)
        return compile_fail(compile, schema, NULL, "must be a schema: an object, true or false");
    for (uint32_t left = token.count; left > 0; left--) {
        weft_span_t name = s_key(&cursor);
        weft_span_t value = s_member(&cursor);
        s_keyword_t keyword = s_find(name);
        if (keyword == KW_COUNT) {
            char text[80];
            snprintf(text, sizeof text, "%.*s", name.size < 60 ? (int) name.size : 60, name.data);
            return compile_fail(compile, schema, text, "this keyword is not supported");
        }
        if (keyword != KW_ANNOTATION && s_has(&self, keyword))
            return s_fail(&self, keyword, "comes twice");
        self.values[keyword] = value;
    }
    for (s_keyword_t keyword = 0; keyword < KW_ANNOTATION; keyword++) {
        if (s_has(&self, keyword) && !KEYWORDS[keyword].handler(&self, keyword))
            return false;
    }
    return true;
}
