/* program - a compiled JSON Schema: flat tables that refer to each other by index */
#ifndef WEFT_PROGRAM_H
#define WEFT_PROGRAM_H

#include <weft/schema.h>

#include "format.h"
#include "pattern.h"

#define PROGRAM_NONE UINT32_MAX

/* Longest encoded schema, most subschemas in place of one another ($ref, allOf, ... without a step into the
 * value), most names of `required` that an object's bitmap holds. */
#define PROGRAM_SIZE_MAX ((size_t) 1 << 20)
#define PROGRAM_CHAIN_MAX 64
#define PROGRAM_REQUIRED_MAX 64

/* What a subschema does to a value, in the order of its list of operations. */
typedef enum {
    OP_FALSE,           /* nothing is valid */
    OP_TYPE,            /* a: bits of WEFT_SCHEMA_* */
    OP_CONST,           /* value */
    OP_ENUM,            /* value: the array */
    OP_MINIMUM,         /* number */
    OP_MAXIMUM,         /* number */
    OP_ABOVE,           /* number: exclusiveMinimum */
    OP_BELOW,           /* number: exclusiveMaximum */
    OP_MULTIPLE,        /* number */
    OP_MIN_LENGTH,      /* limit */
    OP_MAX_LENGTH,      /* limit */
    OP_PATTERN,         /* a: pattern */
    OP_FORMAT,          /* format */
    OP_MIN_ITEMS,       /* limit */
    OP_MAX_ITEMS,       /* limit */
    OP_UNIQUE,          /* */
    OP_MIN_PROPERTIES,  /* limit */
    OP_MAX_PROPERTIES,  /* limit */
    OP_DEPENDENT,       /* where name (c: offset, b: size) is, value: those of the list must be, too */
    OP_REQUIRED,        /* name (c, b) must be: those that the bitmap of OP_OBJECT does not hold */
    OP_ARRAY,           /* a: arrays[] */
    OP_CONTAINS,        /* a: contains[] */
    OP_OBJECT,          /* a: objects[] */
    OP_REF,             /* a: schema */
    OP_ALL_OF,          /* a: first of lists[], b: count */
    OP_ANY_OF,          /* a, b */
    OP_ONE_OF,          /* a, b */
    OP_NOT,             /* a: schema */
    OP_IF,              /* a: if, b: then, c: else; schemas or PROGRAM_NONE */
    OP_DEPENDENT_SCHEMA /* where name (c, b) is, a: schema */
} op_code_t;

typedef struct {
    op_code_t code;
    uint32_t a;
    uint32_t b;
    uint32_t c;
    union {
        weft_mp_token_t number;
        weft_span_t value; /* in the program's copy of the schema */
        uint64_t limit;
        const format_t *format;
    } v;
} op_t;

/* A name of `properties` or `required`; a list of them is sorted by size, then bytes. */
typedef struct {
    weft_span_t name;
    uint32_t schema;  /* PROGRAM_NONE: any value */
    bool is_property; /* else only required */
    bool is_required;
    uint8_t required; /* its bit among the object's required names */
} program_name_t;

typedef struct {
    uint32_t names; /* first of names[] */
    uint32_t name_count;
    uint32_t required_count;
    uint32_t patterns; /* first of lists[]: pairs of pattern and schema */
    uint32_t pattern_count;
    uint32_t additional;
    uint32_t property_names;
} program_object_t;

typedef struct {
    uint32_t prefix; /* first of lists[] */
    uint32_t prefix_count;
    uint32_t items; /* for those behind the prefix */
} program_array_t;

typedef struct {
    uint32_t schema;
    uint64_t min;
    uint64_t max;
} program_contains_t;

typedef struct {
    uint32_t ops; /* first of ops[] */
    uint32_t op_count;
    uint16_t types;  /* WEFT_SCHEMA_* that it may accept, so far as known */
    uint16_t height; /* longest chain of subschemas in place below it */
} program_schema_t;

/* A table that grows; `size` of one row is known where it is used. */
typedef struct {
    void *rows;
    uint32_t count;
    uint32_t capacity;
} program_table_t;

struct weft_schema {
    char *source; /* the encoded schema; names, constants and pointers point into it */
    size_t source_size;
    program_table_t schemas;  /* program_schema_t; 0 is the root */
    program_table_t ops;      /* op_t */
    program_table_t names;    /* program_name_t */
    program_table_t objects;  /* program_object_t */
    program_table_t arrays;   /* program_array_t */
    program_table_t contains; /* program_contains_t */
    program_table_t lists;    /* uint32_t */
    program_table_t patterns; /* pattern_t * */
};

/* A row of a table: PROGRAM_ROW(self, ops, op_t, 3).type */
#define PROGRAM_ROW(self, table, type, index) (((type *) (self)->table.rows)[index])

/* Appends `count` zeroed rows of `size` bytes; the first one, NULL when memory ended. */
void *program_add(program_table_t *table, size_t size, uint32_t count);

/* The entry for `name`; NULL when there is none. */
const program_name_t *program_find(const weft_schema_t *self, const program_object_t *object,
                                   weft_span_t name);

/* Orders names as lists of them are: shorter first. */
int program_compare(weft_span_t a, weft_span_t b);

/* Orders the in-place references, sets heights and types of all schemas.  False with the index of one that
 * leads back to itself, or whose chain is longer than PROGRAM_CHAIN_MAX; *memory_failed where memory ended.
 */
bool program_order(weft_schema_t *self, uint32_t *culprit, bool *memory_failed);

#endif
