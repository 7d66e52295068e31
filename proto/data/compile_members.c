/* compile_members - the keywords that look into arrays and objects */
#include "compile_context.h"

#include <stdlib.h>

/* Arrays */

bool
members_unique(context_t *self, keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t token = context_token(self->values[keyword], &cursor);
    if (token.type != WEFT_MP_BOOL)
        return context_fail(self, keyword, "must be true or false");
    return !token.v.b || context_add_op(self, (op_t){ .code = OP_UNIQUE }) != PROGRAM_NONE;
}

/* prefixItems and items */
bool
members_array(context_t *self, keyword_t keyword)
{
    if (keyword == KW_PREFIX_ITEMS && context_has(self, KW_ITEMS))
        return true;
    program_array_t array = { .items = PROGRAM_NONE };
    bool valid = true;
    if (context_has(self, KW_PREFIX_ITEMS) &&
        !context_add_list(self, KW_PREFIX_ITEMS, &array.prefix, &array.prefix_count))
        return false;
    if (context_has(self, KW_ITEMS)) {
        weft_mp_t cursor;
        if (context_token(self->values[KW_ITEMS], &cursor).type == WEFT_MP_ARRAY)
            return context_fail(self, KW_ITEMS, "must be a schema; a list of schemas is prefixItems");
        array.items = context_schema_or_none(self, KW_ITEMS, self->values[KW_ITEMS], (weft_span_t){ NULL, 0 },
                                             &valid);
    }
    if (!valid || (array.prefix_count == 0 && array.items == PROGRAM_NONE))
        return valid;
    program_array_t *added = program_add(&self->compile->program->arrays, sizeof array, 1);
    if (!added)
        return compile_fail_memory(self->compile);
    *added = array;
    return context_add_op(self, (op_t){ .code = OP_ARRAY, .a = self->compile->program->arrays.count - 1 }) !=
           PROGRAM_NONE;
}

/* contains, minContains and maxContains, of which the latter two are nothing without the first */
bool
members_contains(context_t *self, keyword_t keyword)
{
    program_contains_t contains = { .min = 1, .max = UINT64_MAX };
    if (keyword != KW_CONTAINS) {
        uint64_t ignored;
        return context_count(self, keyword, &ignored);
    }
    if ((context_has(self, KW_MIN_CONTAINS) && !context_count(self, KW_MIN_CONTAINS, &contains.min)) ||
        (context_has(self, KW_MAX_CONTAINS) && !context_count(self, KW_MAX_CONTAINS, &contains.max)))
        return false;
    contains.schema = context_schema_at(self, keyword, self->values[keyword], (weft_span_t){ NULL, 0 });
    if (contains.schema == PROGRAM_NONE)
        return false;
    program_contains_t *added = program_add(&self->compile->program->contains, sizeof contains, 1);
    if (!added)
        return compile_fail_memory(self->compile);
    *added = contains;
    return context_add_op(self, (op_t){ .code = OP_CONTAINS,
                                        .a = self->compile->program->contains.count - 1 }) != PROGRAM_NONE;
}

/* Objects */

static int
s_compare_names(const void *a, const void *b)
{
    return program_compare(((const program_name_t *) a)->name, ((const program_name_t *) b)->name);
}

/* Appends the names of `properties`, unsorted. */
static bool
s_add_properties(context_t *self)
{
    weft_mp_t cursor;
    weft_mp_token_t map = context_token(self->values[KW_PROPERTIES], &cursor);
    bool valid = true;
    if (map.type != WEFT_MP_MAP)
        return context_fail(self, KW_PROPERTIES, "must be an object of schemas");
    for (uint32_t left = map.count; left > 0 && valid; left--) {
        program_name_t *entry = program_add(&self->compile->program->names, sizeof *entry, 1);
        if (!entry)
            return compile_fail_memory(self->compile);
        entry->name = context_key(&cursor);
        entry->is_property = true;
        entry->schema = context_schema_or_none(self, KW_PROPERTIES, context_member(&cursor), entry->name,
                                               &valid);
    }
    return valid;
}

/* Appends the names of `required`, unsorted; those beyond the bitmap get an operation each. */
static bool
s_add_required(context_t *self)
{
    weft_mp_t cursor;
    weft_mp_token_t array = context_token(self->values[KW_REQUIRED], &cursor);
    if (array.type != WEFT_MP_ARRAY)
        return context_fail(self, KW_REQUIRED, "must be an array of strings");
    for (uint32_t i = 0; i < array.count; i++) {
        weft_span_t name;
        if (!weft_mp_str(context_member(&cursor), &name))
            return context_fail(self, KW_REQUIRED, "must be an array of strings");
        if (i >= PROGRAM_REQUIRED_MAX) {
            op_t op = { .code = OP_REQUIRED, .c = context_offset(self, name), .b = (uint32_t) name.size };
            if (context_add_op(self, op) == PROGRAM_NONE)
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
s_merge_names(context_t *self, program_object_t *object)
{
    program_table_t *table = &self->compile->program->names;
    uint32_t count = table->count - object->names;
    uint32_t kept = 0;
    if (count == 0)
        return true;
    program_name_t *names = (program_name_t *) table->rows + object->names;
    qsort(names, count, sizeof *names, s_compare_names);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && s_compare_names(&names[kept - 1], &names[i]) == 0) {
            program_name_t *entry = &names[kept - 1];
            if (entry->is_property && names[i].is_property)
                return context_fail(self, KW_PROPERTIES, "has a name twice");
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
s_add_pattern_properties(context_t *self, program_object_t *object)
{
    weft_mp_t cursor;
    weft_mp_token_t map = context_token(self->values[KW_PATTERN_PROPERTIES], &cursor);
    program_table_t *lists = &self->compile->program->lists;
    if (map.type != WEFT_MP_MAP)
        return context_fail(self, KW_PATTERN_PROPERTIES, "must be an object of schemas");
    object->patterns = lists->count;
    object->pattern_count = map.count;
    if (map.count > 0 && !program_add(lists, sizeof(uint32_t), map.count * 2))
        return compile_fail_memory(self->compile);
    bool valid = true;
    for (uint32_t i = 0; i < map.count && valid; i++) {
        weft_span_t name = context_key(&cursor);
        uint32_t pattern = context_add_pattern(self, KW_PATTERN_PROPERTIES, name);
        if (pattern == PROGRAM_NONE)
            return false;
        uint32_t schema = context_schema_or_none(self, KW_PATTERN_PROPERTIES, context_member(&cursor), name,
                                                 &valid);
        ((uint32_t *) lists->rows)[object->patterns + i * 2] = pattern;
        ((uint32_t *) lists->rows)[object->patterns + i * 2 + 1] = schema;
    }
    return valid;
}

/* properties, patternProperties, additionalProperties, propertyNames and required: one pass over an object */
bool
members_object(context_t *self, keyword_t keyword)
{
    for (keyword_t later = keyword + 1; later <= KW_REQUIRED; later++) {
        if (context_has(self, later))
            return true;
    }
    weft_schema_t *program = self->compile->program;
    program_object_t object = { .names = program->names.count,
                                .additional = PROGRAM_NONE,
                                .property_names = PROGRAM_NONE };
    bool valid = (!context_has(self, KW_PROPERTIES) || s_add_properties(self)) &&
                 (!context_has(self, KW_REQUIRED) || s_add_required(self)) && s_merge_names(self, &object) &&
                 (!context_has(self, KW_PATTERN_PROPERTIES) || s_add_pattern_properties(self, &object));
    if (!valid)
        return false;
    static const weft_span_t NO_STEP = { NULL, 0 };
    if (context_has(self, KW_ADDITIONAL_PROPERTIES))
        object.additional = context_schema_or_none(self, KW_ADDITIONAL_PROPERTIES,
                                                   self->values[KW_ADDITIONAL_PROPERTIES], NO_STEP, &valid);
    if (context_has(self, KW_PROPERTY_NAMES))
        object.property_names = context_schema_or_none(self, KW_PROPERTY_NAMES,
                                                       self->values[KW_PROPERTY_NAMES], NO_STEP, &valid);
    program_object_t *added = valid ? program_add(&program->objects, sizeof object, 1) : NULL;
    if (!added)
        return compile_fail_memory(self->compile);
    *added = object;
    return context_add_op(self, (op_t){ .code = OP_OBJECT, .a = program->objects.count - 1 }) != PROGRAM_NONE;
}

bool
members_dependent_required(context_t *self, keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t map = context_token(self->values[keyword], &cursor);
    if (map.type != WEFT_MP_MAP)
        return context_fail(self, keyword, "must be an object of arrays of strings");
    for (uint32_t left = map.count; left > 0; left--) {
        weft_span_t name = context_key(&cursor);
        weft_span_t list = context_member(&cursor);
        weft_mp_t inside;
        weft_mp_token_t array = context_token(list, &inside);
        for (uint32_t i = array.type == WEFT_MP_ARRAY ? array.count : 0; i > 0; i--) {
            weft_span_t text;
            if (!weft_mp_str(context_member(&inside), &text))
                return context_fail(self, keyword, "must be an object of arrays of strings");
        }
        if (array.type != WEFT_MP_ARRAY)
            return context_fail(self, keyword, "must be an object of arrays of strings");
        op_t op = {
            .code = OP_DEPENDENT, .c = context_offset(self, name), .b = (uint32_t) name.size, .v.value = list
        };
        if (context_add_op(self, op) == PROGRAM_NONE)
            return false;
    }
    return true;
}

bool
members_dependent_schemas(context_t *self, keyword_t keyword)
{
    weft_mp_t cursor;
    weft_mp_token_t map = context_token(self->values[keyword], &cursor);
    if (map.type != WEFT_MP_MAP)
        return context_fail(self, keyword, "must be an object of schemas");
    for (uint32_t left = map.count; left > 0; left--) {
        weft_span_t name = context_key(&cursor);
        uint32_t schema = context_schema_at(self, keyword, context_member(&cursor), name);
        op_t op = { .code = OP_DEPENDENT_SCHEMA,
                    .a = schema,
                    .c = context_offset(self, name),
                    .b = (uint32_t) name.size };
        if (schema == PROGRAM_NONE || context_add_op(self, op) == PROGRAM_NONE)
            return false;
    }
    return true;
}
