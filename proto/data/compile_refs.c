/* compile_refs - where schemas stand, and what a $ref leads to */
#include "compile.h"

#include <stdio.h>
#include <stdlib.h>

/* Longest pointer of a $ref after decoding. */
#define POINTER_MAX 512
/* Schemas within schemas, as far as 32 levels of maps and arrays allow. */
#define PLACES_MAX 40

static size_t
s_append(char *text, size_t size, size_t used, const char *bytes, size_t count, bool escape)
{
    for (size_t i = 0; i < count && used + 1 < size; i++) {
        const char *piece = bytes + i;
        size_t length = 1;
        if (escape && (*piece == '~' || *piece == '/')) {
            piece = *piece == '~' ? "~0" : "~1";
            length = 2;
        }
        if (used + length + 1 > size)
            break;
        memcpy(text + used, piece, length);
        used += length;
    }
    if (size > 0)
        text[used] = '\0';
    return used;
}

void
compile_pointer(const compile_t *self, uint32_t schema, const char *keyword, char *text, size_t size)
{
    const compile_place_t *way[PLACES_MAX];
    size_t steps = 0;
    uint32_t at = schema;
    while (at != PROGRAM_NONE && steps < PLACES_MAX) {
        const compile_place_t *place = &((const compile_place_t *) self->places.rows)[at];
        way[steps++] = place;
        at = place->parent;
    }
    size_t used = s_append(text, size, 0, "", 0, false);
    while (steps > 0) {
        const compile_place_t *place = way[--steps];
        if (!place->keyword) {
            /* The root has neither; a place that only a $ref named has that pointer. */
            if (place->step.data)
                used = s_append(text, size, used, place->step.data, place->step.size, false);
            continue;
        }
        used = s_append(text, size, used, "/", 1, false);
        used = s_append(text, size, used, place->keyword, strlen(place->keyword), false);
        if (place->step.data) {
            used = s_append(text, size, used, "/", 1, false);
            used = s_append(text, size, used, place->step.data, place->step.size, true);
        }
    }
    if (keyword) {
        used = s_append(text, size, used, "/", 1, false);
        used = s_append(text, size, used, keyword, strlen(keyword), true);
    }
    if (used == 0)
        (void) s_append(text, size, 0, "(root)", 6, false);
}

bool
compile_fail(compile_t *self, uint32_t schema, const char *keyword, const char *rule)
{
    if (!self->failed) {
        char pointer[200];
        compile_pointer(self, schema, keyword, pointer, sizeof pointer);
        if (self->why_size > 0)
            snprintf(self->why, self->why_size, "%s: %s", pointer, rule);
        self->failed = true;
    }
    return false;
}

bool
compile_fail_memory(compile_t *self)
{
    if (!self->failed && self->why_size > 0)
        snprintf(self->why, self->why_size, "out of memory");
    self->failed = true;
    return false;
}

uint32_t
compile_schema_at(compile_t *self, weft_span_t value, uint32_t parent, const char *keyword, weft_span_t step)
{
    size_t offset = (size_t) (value.data - self->program->source);
    if (self->index[offset] != 0)
        return self->index[offset] - 1;
    uint32_t schema = self->program->schemas.count;
    if (!program_add(&self->program->schemas, sizeof(program_schema_t), 1)) {
        compile_fail_memory(self);
        return PROGRAM_NONE;
    }
    compile_place_t *place = program_add(&self->places, sizeof *place, 1);
    if (!place) {
        compile_fail_memory(self);
        return PROGRAM_NONE;
    }
    *place = (compile_place_t){ .value = value, .parent = parent, .keyword = keyword, .step = step };
    self->index[offset] = schema + 1;
    return schema;
}

static int
s_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Takes %XX out of a fragment. */
static bool
s_decode(weft_span_t text, char *decoded, size_t *size)
{
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = text.size - i > 2 ? s_hex(text.data[i + 1]) : -1;
            int low = text.size - i > 2 ? s_hex(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char) (high << 4 | low);
            i += 2;
        }
        if (used == POINTER_MAX)
            return false;
        decoded[used++] = c;
    }
    *size = used;
    return true;
}

/* Moves from a container to its member that `name` (as in a JSON pointer, unescaped) stands for. */
static bool
s_step(weft_span_t *value, weft_span_t name)
{
    weft_mp_t cursor = weft_mp(*value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token))
        return false;
    uint32_t count = token.count;
    if (token.type == WEFT_MP_ARRAY) {
        if (name.size == 0 || name.size > 9 || (name.data[0] == '0' && name.size > 1))
            return false;
        uint32_t index = 0;
        for (size_t i = 0; i < name.size; i++) {
            if (name.data[i] < '0' || name.data[i] > '9')
                return false;
            index = index * 10 + (uint32_t) (name.data[i] - '0');
        }
        if (index >= count)
            return false;
        while (index-- > 0) {
            if (!weft_mp_skip(&cursor))
                return false;
        }
        return weft_mp_value(&cursor, value);
    }
    if (token.type != WEFT_MP_MAP)
        return false;
    for (; count > 0; count--) {
        weft_mp_token_t key;
        if (!weft_mp_next(&cursor, &key))
            return false;
        if (weft_span_equal(key.v.bytes, name))
            return weft_mp_value(&cursor, value);
        if (!weft_mp_skip(&cursor))
            return false;
    }
    return false;
}

/* What a pointer (RFC 6901, percent-decoded already) leads to. */
static bool
s_follow(const compile_t *self, char *pointer, size_t size, weft_span_t *value)
{
    *value = (weft_span_t){ self->program->source, self->program->source_size };
    size_t at = 0;
    while (at < size) {
        size_t begin = ++at; /* behind the slash */
        size_t used = begin;
        while (at < size && pointer[at] != '/') {
            char c = pointer[at++];
            if (c == '~') {
                if (at == size || (pointer[at] != '0' && pointer[at] != '1'))
                    return false;
                c = pointer[at++] == '0' ? '~' : '/';
            }
            pointer[used++] = c; /* never ahead of `at` */
        }
        if (!s_step(value, (weft_span_t){ pointer + begin, used - begin }))
            return false;
    }
    return true;
}

static op_t *
s_op(compile_t *self, uint32_t op)
{
    return &PROGRAM_ROW(self->program, ops, op_t, op);
}

bool
compile_ref(compile_t *self, uint32_t schema, uint32_t op, weft_span_t text)
{
    /* The root's own name is the root. */
    if (self->id.size > 0 && text.size >= self->id.size &&
        memcmp(text.data, self->id.data, self->id.size) == 0 &&
        (text.size == self->id.size || text.data[self->id.size] == '#')) {
        text.data += self->id.size;
        text.size -= self->id.size;
    } else if (text.size == 0 || text.data[0] != '#') {
        return compile_fail(self, schema, "$ref", "must be local, such as #/$defs/name");
    }
    if (text.size <= 1) {
        s_op(self, op)->a = 0;
        return true;
    }
    weft_span_t fragment = { text.data + 1, text.size - 1 };
    if (fragment.data[0] != '/') {
        compile_pending_t *pending = program_add(&self->pending, sizeof *pending, 1);
        if (!pending)
            return compile_fail_memory(self);
        *pending = (compile_pending_t){ .op = op, .schema = schema, .name = fragment };
        return true;
    }
    char pointer[POINTER_MAX];
    size_t size;
    weft_span_t value;
    if (!s_decode(fragment, pointer, &size) || !s_follow(self, pointer, size, &value))
        return compile_fail(self, schema, "$ref", "leads nowhere");
    uint32_t target = compile_schema_at(self, value, PROGRAM_NONE, NULL, fragment);
    if (target == PROGRAM_NONE)
        return false;
    s_op(self, op)->a = target;
    return true;
}

bool
compile_anchor(compile_t *self, uint32_t schema, weft_span_t name)
{
    for (uint32_t i = 0; i < self->anchors.count; i++) {
        if (weft_span_equal(((compile_anchor_t *) self->anchors.rows)[i].name, name))
            return compile_fail(self, schema, "$anchor", "comes twice");
    }
    if (self->anchors.count >= 256)
        return compile_fail(self, schema, "$anchor", "there are more than 256 of them");
    compile_anchor_t *anchor = program_add(&self->anchors, sizeof *anchor, 1);
    if (!anchor)
        return compile_fail_memory(self);
    *anchor = (compile_anchor_t){ .name = name, .schema = schema };
    return true;
}

bool
compile_finish_refs(compile_t *self)
{
    for (uint32_t i = 0; i < self->pending.count; i++) {
        const compile_pending_t *pending = &((compile_pending_t *) self->pending.rows)[i];
        bool found = false;
        for (uint32_t j = 0; j < self->anchors.count && !found; j++) {
            const compile_anchor_t *anchor = &((compile_anchor_t *) self->anchors.rows)[j];
            found = weft_span_equal(anchor->name, pending->name);
            if (found)
                s_op(self, pending->op)->a = anchor->schema;
        }
        if (!found)
            return compile_fail(self, pending->schema, "$ref", "leads nowhere");
    }
    return true;
}
