/* compile_context - one schema on its way to operations: its keywords told apart, and what their handlers
 * share */
#ifndef WEFT_COMPILE_CONTEXT_H
#define WEFT_COMPILE_CONTEXT_H

#include "compile.h"

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
} keyword_t;

/* A schema whose keywords have been told apart. */
typedef struct {
    compile_t *compile;
    uint32_t schema;
    weft_span_t values[KW_COUNT]; /* data NULL: not there */
} context_t;

/* Compiles one keyword, or several that make one operation.  False when it failed. */
typedef bool keyword_handler_t(context_t *self, keyword_t keyword);

keyword_handler_t members_unique, members_array, members_contains, members_object, members_dependent_required,
    members_dependent_schemas;

const char *context_name(keyword_t keyword);

/* False, with the schema's place, keyword and rule noted as what is wrong. */
bool context_fail(context_t *self, keyword_t keyword, const char *rule);
bool context_has(const context_t *self, keyword_t keyword);

/* The first token of a value; `cursor` stands behind it.  Then, of a container: its keys and values. */
weft_mp_token_t context_token(weft_span_t value, weft_mp_t *cursor);
weft_span_t context_member(weft_mp_t *cursor);
weft_span_t context_key(weft_mp_t *cursor);

/* Appends an operation of this schema; its index, PROGRAM_NONE when memory ended. */
uint32_t context_add_op(context_t *self, op_t op);

/* Where a part of the source begins. */
uint32_t context_offset(const context_t *self, weft_span_t part);

/* The schema at `value`, registered; PROGRAM_NONE when memory ended. */
uint32_t context_schema_at(context_t *self, keyword_t keyword, weft_span_t value, weft_span_t step);

/* The same, but PROGRAM_NONE with *valid still true where the schema lets everything pass. */
uint32_t context_schema_or_none(context_t *self, keyword_t keyword, weft_span_t value, weft_span_t step,
                                bool *valid);

/* A count: an integer of at least 0, also as 2.0. */
bool context_count(context_t *self, keyword_t keyword, uint64_t *count);

/* Compiles a regular expression; its index, PROGRAM_NONE when it failed. */
uint32_t context_add_pattern(context_t *self, keyword_t keyword, weft_span_t text);

/* Registers the schemas of an array; *first in lists[], *count. */
bool context_add_list(context_t *self, keyword_t keyword, uint32_t *first, uint32_t *count);

#endif
