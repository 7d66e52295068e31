/* program - a compiled JSON Schema: flat tables that refer to each other by index */
#include "program.h"

#include <assert.h>
#include <stdlib.h>

void *
program_add(program_table_t *table, size_t size, uint32_t count)
{
    if (count > table->capacity - table->count) {
        uint32_t capacity = table->capacity ? table->capacity : 8;
        while (capacity - table->count < count) {
            if (capacity > UINT32_MAX / 2)
                return NULL;
            capacity *= 2;
        }
        void *rows = realloc(table->rows, capacity * size);
        if (!rows)
            return NULL;
        table->rows = rows;
        table->capacity = capacity;
    }
    char *first = (char *) table->rows + table->count * size;
    memset(first, 0, count * size);
    table->count += count;
    return first;
}

int
program_compare(weft_span_t a, weft_span_t b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size == 0 ? 0 : memcmp(a.data, b.data, a.size);
}

const program_name_t *
program_find(const weft_schema_t *self, const program_object_t *object, weft_span_t name)
{
    uint32_t low = 0;
    uint32_t high = object->name_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const program_name_t *entry = &PROGRAM_ROW(self, names, program_name_t, object->names + middle);
        int order = program_compare(name, entry->name);
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void
weft_schema_destroy(weft_schema_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        weft_schema_t *self = *self_p;
        for (uint32_t i = 0; i < self->patterns.count; i++)
            pattern_destroy(&PROGRAM_ROW(self, patterns, pattern_t *, i));
        free(self->patterns.rows);
        free(self->lists.rows);
        free(self->contains.rows);
        free(self->arrays.rows);
        free(self->objects.rows);
        free(self->names.rows);
        free(self->ops.rows);
        free(self->schemas.rows);
        free(self->source);
        free(self);
        *self_p = NULL;
    }
}

/* The `index`th schema that `op` applies to the very value it stands for; PROGRAM_NONE behind the last. */
static uint32_t
s_in_place(const weft_schema_t *self, const op_t *op, uint32_t index)
{
    switch (op->code) {
    case OP_REF:
    case OP_NOT:
    case OP_DEPENDENT_SCHEMA:
        return index == 0 ? op->a : PROGRAM_NONE;
    case OP_ALL_OF:
    case OP_ANY_OF:
    case OP_ONE_OF:
        return index < op->b ? PROGRAM_ROW(self, lists, uint32_t, op->a + index) : PROGRAM_NONE;
    case OP_IF: {
        /* Those that are there come first. */
        const uint32_t branches[] = { op->a, op->b, op->c };
        for (size_t i = 0; i < 3; i++) {
            if (branches[i] != PROGRAM_NONE && index-- == 0)
                return branches[i];
        }
        return PROGRAM_NONE;
    }
    default:
        return PROGRAM_NONE;
    }
}

/* The types that a constant has. */
static unsigned
s_types_of(weft_mp_t *cursor)
{
    weft_mp_token_t token;
    weft_mp_t at = *cursor;
    if (!weft_mp_next(&at, &token) || !weft_mp_skip(cursor))
        return 0;
    switch (token.type) {
    case WEFT_MP_NIL:
        return WEFT_SCHEMA_NULL;
    case WEFT_MP_BOOL:
        return WEFT_SCHEMA_BOOLEAN;
    case WEFT_MP_UINT:
    case WEFT_MP_INT:
    case WEFT_MP_FLOAT:
        return WEFT_SCHEMA_NUMBER | WEFT_SCHEMA_INTEGER;
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

/* Types, given those of all schemas in place below. */
static unsigned
s_types(const weft_schema_t *self, const program_schema_t *schema)
{
    unsigned types = WEFT_SCHEMA_ANY;
    for (uint32_t i = 0; i < schema->op_count; i++) {
        const op_t *op = &PROGRAM_ROW(self, ops, op_t, schema->ops + i);
        unsigned these = op->code == OP_ANY_OF || op->code == OP_ONE_OF ? 0 : WEFT_SCHEMA_ANY;
        if (op->code == OP_FALSE) {
            these = 0;
        } else if (op->code == OP_TYPE) {
            these = op->a | (op->a & WEFT_SCHEMA_NUMBER ? WEFT_SCHEMA_INTEGER : 0);
        } else if (op->code == OP_CONST) {
            weft_mp_t cursor = weft_mp(op->v.value);
            these = s_types_of(&cursor);
        } else if (op->code == OP_ENUM) {
            weft_mp_t cursor = weft_mp(op->v.value);
            weft_mp_token_t header;
            these = 0;
            if (weft_mp_next(&cursor, &header)) {
                for (uint32_t left = header.count; left > 0; left--)
                    these |= s_types_of(&cursor);
            }
        } else if (op->code == OP_REF || op->code == OP_ALL_OF || op->code == OP_ANY_OF ||
                   op->code == OP_ONE_OF) {
            uint32_t below;
            for (uint32_t n = 0; (below = s_in_place(self, op, n)) != PROGRAM_NONE; n++) {
                unsigned other = PROGRAM_ROW(self, schemas, program_schema_t, below).types;
                these = op->code == OP_ANY_OF || op->code == OP_ONE_OF ? these | other : these & other;
            }
        }
        types &= these;
    }
    return types;
}

typedef struct {
    uint32_t schema;
    uint32_t op;    /* of the schema's, being looked at */
    uint32_t index; /* next in-place schema of that operation */
} s_visit_t;

bool
program_order(weft_schema_t *self, uint32_t *culprit, bool *memory_failed)
{
    enum { NEW, OPEN, DONE };
    bool ordered = false;
    unsigned char *state = calloc(self->schemas.count, 1);
    if (!state) {
        *memory_failed = true;
        return false;
    }
    /* Depth first; a chain longer than allowed needs no more room than this. */
    s_visit_t stack[PROGRAM_CHAIN_MAX + 1];
    for (uint32_t root = 0; root < self->schemas.count; root++) {
        if (state[root] != NEW)
            continue;
        uint32_t depth = 1;
        stack[0] = (s_visit_t){ .schema = root };
        state[root] = OPEN;
        while (depth > 0) {
            s_visit_t *top = &stack[depth - 1];
            program_schema_t *schema = &PROGRAM_ROW(self, schemas, program_schema_t, top->schema);
            if (top->op == schema->op_count) {
                schema->types = (uint16_t) s_types(self, schema);
                state[top->schema] = DONE;
                depth--;
                if (depth > 0) {
                    program_schema_t *above = &PROGRAM_ROW(self, schemas, program_schema_t,
                                                           stack[depth - 1].schema);
                    if (above->height < schema->height + 1)
                        above->height = (uint16_t) (schema->height + 1);
                }
                continue;
            }
            uint32_t below = s_in_place(self, &PROGRAM_ROW(self, ops, op_t, schema->ops + top->op),
                                        top->index);
            if (below == PROGRAM_NONE) {
                top->op++;
                top->index = 0;
                continue;
            }
            top->index++;
            *culprit = below;
            if (state[below] == OPEN)
                goto out;
            uint32_t height = PROGRAM_ROW(self, schemas, program_schema_t, below).height;
            if (state[below] == DONE) {
                if (schema->height < height + 1)
                    schema->height = (uint16_t) (height + 1);
                if (depth + height + 1 > PROGRAM_CHAIN_MAX)
                    goto out;
                continue;
            }
            if (depth == PROGRAM_CHAIN_MAX)
                goto out;
            stack[depth++] = (s_visit_t){ .schema = below };
            state[below] = OPEN;
        }
    }
    ordered = true;
out:
    free(state);
    return ordered;
}

/* The types that one schema by itself allows the property, or WEFT_SCHEMA_ANY. */
static unsigned
s_property(const weft_schema_t *self, const program_schema_t *schema, weft_span_t name)
{
    for (uint32_t i = 0; i < schema->op_count; i++) {
        const op_t *op = &PROGRAM_ROW(self, ops, op_t, schema->ops + i);
        if (op->code != OP_OBJECT)
            continue;
        const program_object_t *object = &PROGRAM_ROW(self, objects, program_object_t, op->a);
        const program_name_t *entry = program_find(self, object, name);
        if (entry && entry->is_property && entry->schema != PROGRAM_NONE)
            return PROGRAM_ROW(self, schemas, program_schema_t, entry->schema).types;
    }
    return WEFT_SCHEMA_ANY;
}

unsigned
weft_schema_property_types(const weft_schema_t *self, weft_span_t name)
{
    /* The same walk as in program_order, from the root only; `types` per level, alternatives gathered. */
    struct {
        s_visit_t visit;
        unsigned types;
        unsigned alternatives;
    } stack[PROGRAM_CHAIN_MAX + 1];
    uint32_t depth = 1;
    uint32_t visits_left = 1000; /* shared subschemas could make many paths out of few */
    stack[0].visit = (s_visit_t){ .schema = 0 };
    stack[0].types = s_property(self, &PROGRAM_ROW(self, schemas, program_schema_t, 0), name);
    stack[0].alternatives = 0;
    for (;;) {
        s_visit_t *visit = &stack[depth - 1].visit;
        const program_schema_t *schema = &PROGRAM_ROW(self, schemas, program_schema_t, visit->schema);
        if (visit->op == schema->op_count) {
            unsigned types = stack[depth - 1].types;
            if (--depth == 0)
                return types;
            const s_visit_t *above = &stack[depth - 1].visit;
            const program_schema_t *parent = &PROGRAM_ROW(self, schemas, program_schema_t, above->schema);
            op_code_t code = PROGRAM_ROW(self, ops, op_t, parent->ops + above->op).code;
            if (code == OP_ANY_OF || code == OP_ONE_OF)
                stack[depth - 1].alternatives |= types;
            else
                stack[depth - 1].types &= types;
            continue;
        }
        const op_t *op = &PROGRAM_ROW(self, ops, op_t, schema->ops + visit->op);
        bool looks = op->code == OP_REF || op->code == OP_ALL_OF || op->code == OP_ANY_OF ||
                     op->code == OP_ONE_OF;
        uint32_t below = looks ? s_in_place(self, op, visit->index) : PROGRAM_NONE;
        if (below == PROGRAM_NONE) {
            if (visit->index > 0 && (op->code == OP_ANY_OF || op->code == OP_ONE_OF))
                stack[depth - 1].types &= stack[depth - 1].alternatives;
            stack[depth - 1].alternatives = 0;
            visit->op++;
            visit->index = 0;
            continue;
        }
        visit->index++;
        if (depth > PROGRAM_CHAIN_MAX || visits_left-- == 0)
            return WEFT_SCHEMA_ANY;
        stack[depth].visit = (s_visit_t){ .schema = below };
        stack[depth].types = s_property(self, &PROGRAM_ROW(self, schemas, program_schema_t, below), name);
        stack[depth].alternatives = 0;
        depth++;
    }
}
