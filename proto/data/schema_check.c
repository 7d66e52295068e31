/* schema_check - runs a compiled schema over the bytes of one value, frame by frame */
#include "check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps for any value, and more for each of its bytes: some ten nanoseconds each. */
#define STEPS_BASE 100000
#define STEPS_PER_BYTE 64

static const weft_span_t NO_NAME = { NULL, 0 };

/* What an operation did. */
typedef enum { DONE, CALLED /* a frame was pushed: come back with its result */ } s_outcome_t;

/* What came back from a frame that an operation pushed. */
typedef enum { NOTHING, VALID, INVALID } s_result_t;

static size_t
s_add_step(char *pointer, size_t size, size_t used, const char *text, size_t count)
{
    if (used + 1 < size)
        pointer[used++] = '/';
    for (size_t i = 0; i < count && used + 3 < size; i++) {
        if (text[i] == '~' || text[i] == '/') {
            pointer[used++] = '~';
            pointer[used++] = text[i] == '~' ? '0' : '1';
        } else {
            pointer[used++] = text[i];
        }
    }
    return used;
}

/* The pointer to the top frame's value, and to its member `name`. */
static void
s_write_pointer(const check_t *self, weft_span_t name, char *pointer, size_t size)
{
    size_t used = 0;
    char digits[12];
    for (uint32_t i = 0; i < self->depth; i++) {
        const check_frame_t *frame = &self->frames[i];
        if (frame->step == CHECK_MEMBER)
            used = s_add_step(pointer, size, used, frame->key, frame->key_size);
        else if (frame->step == CHECK_ELEMENT)
            used = s_add_step(pointer, size, used, digits,
                              (size_t) snprintf(digits, sizeof digits, "%u", (unsigned) frame->key_size));
    }
    if (name.data)
        used = s_add_step(pointer, size, used, name.data, name.size);
    if (used + 3 >= size) {
        /* Cut; not through the middle of a character. */
        used = size - 4;
        while (used > 0 && ((unsigned char) pointer[used] & 0xc0) == 0x80)
            used--;
        memcpy(pointer + used, "...", 3);
        used += 3;
    }
    pointer[used] = '\0';
}

void
check_error(check_t *self, weft_span_t name, const char *message)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    weft_schema_report_t *report = self->report;
    frame->valid = false;
    if (frame->silent || !report)
        return;
    if (report->count == WEFT_SCHEMA_ERRORS_MAX) {
        report->more = true;
        self->enough = true;
        return;
    }
    weft_schema_error_t *error = &report->errors[report->count++];
    s_write_pointer(self, name, error->pointer, sizeof error->pointer);
    snprintf(error->message, sizeof error->message, "%s", message);
}

/* A frame for `schema` and the value that begins at `value`; the caller says how it stands to the top one. */
static check_frame_t *
s_push(check_t *self, uint32_t schema, const char *value, bool silent)
{
    if (self->depth == self->capacity) {
        if (self->capacity >= CHECK_FRAMES_MAX) {
            /* program_order and the depth of a checked value do not let this happen. */
            (void) budget_spend(&self->budget, UINT64_MAX);
            return NULL;
        }
        uint32_t capacity = self->capacity * 4;
        bool is_inline = self->frames == self->inline_frames;
        check_frame_t *frames = realloc(is_inline ? NULL : self->frames, capacity * sizeof *frames);
        if (!frames) {
            self->memory_failed = true;
            return NULL;
        }
        if (is_inline)
            memcpy(frames, self->inline_frames, sizeof self->inline_frames);
        self->frames = frames;
        self->capacity = capacity;
    }
    check_frame_t *frame = &self->frames[self->depth++];
    *frame = (check_frame_t){ .value = value, .schema = schema, .silent = silent, .valid = true };
    return frame;
}

static s_outcome_t
s_call_same(check_t *self, uint32_t schema, bool silent)
{
    const check_frame_t *top = &self->frames[self->depth - 1];
    (void) s_push(self, schema, top->value, silent || top->silent);
    return CALLED;
}

static s_outcome_t
s_call_member(check_t *self, uint32_t schema, const char *value, weft_span_t name)
{
    check_frame_t *frame = s_push(self, schema, value, self->frames[self->depth - 1].silent);
    if (frame) {
        frame->step = CHECK_MEMBER;
        frame->key = name.data;
        frame->key_size = (uint32_t) name.size;
    }
    return CALLED;
}

static s_outcome_t
s_call_element(check_t *self, uint32_t schema, const char *value, uint32_t index, bool silent)
{
    check_frame_t *frame = s_push(self, schema, value, silent || self->frames[self->depth - 1].silent);
    if (frame) {
        frame->step = CHECK_ELEMENT;
        frame->key_size = index;
    }
    return CALLED;
}

static weft_mp_t
s_cursor(const check_t *self, const char *at)
{
    return (weft_mp_t){ at, self->end };
}

/* Passes over a value; its cost is in its bytes. */
static const char *
s_skip(check_t *self, const char *at)
{
    weft_mp_t cursor = s_cursor(self, at);
    bool skipped = weft_mp_skip(&cursor);
    assert(skipped && "the value was checked");
    (void) skipped;
    (void) budget_spend(&self->budget, (uint64_t) (cursor.at - at) >> 5);
    return cursor.at;
}

/* Where the values of the top frame's container begin. */
static const char *
s_inside(const check_t *self, weft_mp_token_t *token)
{
    weft_mp_t cursor = s_cursor(self, self->frames[self->depth - 1].value);
    bool read = weft_mp_next(&cursor, token);
    assert(read && "the value was checked");
    (void) read;
    return cursor.at;
}

/* True when the top frame's value is an object with a member of that name. */
static bool
s_has_member(check_t *self, weft_span_t name)
{
    weft_mp_token_t token;
    const char *at = s_inside(self, &token);
    if (token.type != WEFT_MP_MAP)
        return false;
    for (uint32_t left = token.count; left > 0 && !self->budget.spent; left--) {
        weft_mp_t cursor = s_cursor(self, at);
        weft_mp_token_t key;
        if (!weft_mp_next(&cursor, &key) || !budget_spend(&self->budget, 1))
            return false;
        if (weft_span_equal(key.v.bytes, name))
            return true;
        at = s_skip(self, cursor.at);
    }
    return false;
}

static weft_span_t
s_name(const check_t *self, const op_t *op)
{
    return (weft_span_t){ self->schema->source + op->c, op->b };
}

static s_outcome_t
s_array(check_t *self, const program_array_t *array)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    if (!frame->started) {
        weft_mp_token_t token;
        frame->started = true;
        frame->at = s_inside(self, &token);
        frame->left = token.type == WEFT_MP_ARRAY ? token.count : 0;
        frame->index = 0;
    }
    while (frame->left > 0 && budget_spend(&self->budget, 1)) {
        uint32_t index = frame->index++;
        const char *value = frame->at;
        uint32_t schema = array->items;
        if (index < array->prefix_count)
            schema = PROGRAM_ROW(self->schema, lists, uint32_t, array->prefix + index);
        else if (schema == PROGRAM_NONE)
            break;
        frame->left--;
        if (frame->left > 0)
            frame->at = s_skip(self, value);
        return s_call_element(self, schema, value, index, false);
    }
    return DONE;
}

static s_outcome_t
s_contains(check_t *self, const program_contains_t *contains, s_result_t result)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    if (!frame->started) {
        weft_mp_token_t token;
        frame->started = true;
        frame->at = s_inside(self, &token);
        if (token.type != WEFT_MP_ARRAY)
            return DONE;
        frame->left = token.count;
        frame->index = 0;
        frame->matched = 0;
    }
    frame->matched += result == VALID;
    bool decided = frame->matched > contains->max ||
                   (frame->matched >= contains->min && contains->max == UINT64_MAX);
    if (frame->left > 0 && !decided && budget_spend(&self->budget, 1)) {
        const char *value = frame->at;
        frame->left--;
        if (frame->left > 0)
            frame->at = s_skip(self, value);
        return s_call_element(self, contains->schema, value, frame->index++, true);
    }
    if (frame->matched < contains->min)
        check_error(self, NO_NAME, "has too few elements that match \"contains\"");
    else if (frame->matched > contains->max)
        check_error(self, NO_NAME, "has too many elements that match \"contains\"");
    return DONE;
}

static void
s_report_missing(check_t *self, const program_object_t *object)
{
    const check_frame_t *frame = &self->frames[self->depth - 1];
    for (uint32_t i = 0; i < object->name_count && !self->enough; i++) {
        const program_name_t *entry = &PROGRAM_ROW(self->schema, names, program_name_t, object->names + i);
        if (entry->is_required && !(frame->required >> entry->required & 1))
            check_error(self, entry->name, "is required");
    }
}

/* Pair by pair, each in stages: its name, its property, each pattern, and what is left over. */
static s_outcome_t
s_object(check_t *self, const program_object_t *object)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    if (!frame->started) {
        weft_mp_token_t token;
        frame->started = true;
        frame->at = s_inside(self, &token);
        if (token.type != WEFT_MP_MAP)
            return DONE;
        frame->left = token.count;
        frame->index = 0;
        frame->required = 0;
    }
    const uint32_t last_stage = 2 + object->pattern_count;
    while (frame->left > 0 && budget_spend(&self->budget, 1)) {
        weft_mp_t cursor = s_cursor(self, frame->at);
        weft_mp_token_t key;
        if (!weft_mp_next(&cursor, &key))
            break;
        weft_span_t name = key.v.bytes;
        while (frame->index <= last_stage) {
            uint32_t stage = frame->index++;
            uint32_t schema = PROGRAM_NONE;
            if (stage == 0) {
                frame->matched = 0;
                if (object->property_names != PROGRAM_NONE)
                    return s_call_member(self, object->property_names, frame->at, name);
            } else if (stage == 1) {
                const program_name_t *entry = program_find(self->schema, object, name);
                if (entry && entry->is_required)
                    frame->required |= UINT64_C(1) << entry->required;
                if (entry && entry->is_property) {
                    frame->matched = 1;
                    schema = entry->schema;
                }
            } else if (stage < last_stage) {
                const uint32_t *pair = &PROGRAM_ROW(self->schema, lists, uint32_t,
                                                    object->patterns + (stage - 2) * 2);
                if (!self->memory && !(self->memory = pattern_memory_new())) {
                    self->memory_failed = true;
                    return DONE;
                }
                if (pattern_matches(PROGRAM_ROW(self->schema, patterns, pattern_t *, pair[0]), name,
                                    self->memory, &self->budget)) {
                    frame->matched = 1;
                    schema = pair[1];
                }
            } else if (!frame->matched) {
                schema = object->additional;
            }
            if (schema != PROGRAM_NONE)
                return s_call_member(self, schema, cursor.at, name);
        }
        frame->index = 0;
        frame->left--;
        if (frame->left > 0)
            frame->at = s_skip(self, cursor.at);
    }
    uint64_t all = object->required_count == 64 ? UINT64_MAX : (UINT64_C(1) << object->required_count) - 1;
    if (frame->left == 0 && frame->required != all)
        s_report_missing(self, object);
    return DONE;
}

static void
s_dependent(check_t *self, const op_t *op)
{
    if (!s_has_member(self, s_name(self, op)))
        return;
    weft_mp_t cursor = weft_mp(op->v.value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token))
        return;
    for (uint32_t left = token.count; left > 0 && !self->budget.spent; left--) {
        weft_mp_token_t name;
        if (weft_mp_next(&cursor, &name) && !s_has_member(self, name.v.bytes)) {
            char message[CHECK_MESSAGE_MAX];
            weft_span_t cause = s_name(self, op);
            snprintf(message, sizeof message, "is required where %.*s is given",
                     cause.size < 60 ? (int) cause.size : 60, cause.data);
            check_error(self, name.v.bytes, message);
        }
    }
}

/* allOf, anyOf and oneOf */
static s_outcome_t
s_branches(check_t *self, const op_t *op, s_result_t result)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    if (!frame->started) {
        frame->started = true;
        frame->index = 0;
        frame->matched = 0;
    }
    frame->matched += result == VALID;
    bool decided = (op->code == OP_ANY_OF && frame->matched > 0) ||
                   (op->code == OP_ONE_OF && frame->matched > 1);
    if (frame->index < op->b && !decided) {
        uint32_t branch = PROGRAM_ROW(self->schema, lists, uint32_t, op->a + frame->index++);
        return s_call_same(self, branch, op->code != OP_ALL_OF);
    }
    if (op->code == OP_ANY_OF && frame->matched == 0)
        check_error(self, NO_NAME, "must match at least one of the alternatives");
    if (op->code == OP_ONE_OF && frame->matched == 0)
        check_error(self, NO_NAME, "must match one of the alternatives");
    if (op->code == OP_ONE_OF && frame->matched > 1)
        check_error(self, NO_NAME, "must match exactly one of the alternatives, and matches several");
    return DONE;
}

static s_outcome_t
s_if(check_t *self, const op_t *op, s_result_t result)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    if (!frame->started) {
        frame->started = true;
        frame->index = 0;
        return s_call_same(self, op->a, true);
    }
    if (frame->index++ > 0)
        return DONE;
    uint32_t branch = result == VALID ? op->b : op->c;
    return branch == PROGRAM_NONE ? DONE : s_call_same(self, branch, false);
}

/* True where a failure of the frame that an operation pushed is one of the whole. */
static bool
s_is_binding(const op_t *op, const check_frame_t *frame)
{
    switch (op->code) {
    case OP_CONTAINS:
    case OP_ANY_OF:
    case OP_ONE_OF:
    case OP_NOT:
        return false;
    case OP_IF:
        return frame->index > 0;
    default:
        return true;
    }
}

/* Runs or resumes the top frame's current operation. */
static s_outcome_t
s_run_op(check_t *self, const op_t *op, s_result_t result)
{
    check_frame_t *frame = &self->frames[self->depth - 1];
    if (result == INVALID && s_is_binding(op, frame)) {
        frame->valid = false;
        if (frame->silent)
            return DONE;
    }
    switch (op->code) {
    case OP_ARRAY:
        return s_array(self, &PROGRAM_ROW(self->schema, arrays, program_array_t, op->a));
    case OP_CONTAINS:
        return s_contains(self, &PROGRAM_ROW(self->schema, contains, program_contains_t, op->a), result);
    case OP_OBJECT:
        return s_object(self, &PROGRAM_ROW(self->schema, objects, program_object_t, op->a));
    case OP_DEPENDENT:
        s_dependent(self, op);
        return DONE;
    case OP_REQUIRED: {
        weft_mp_token_t token;
        (void) s_inside(self, &token);
        if (token.type == WEFT_MP_MAP && !s_has_member(self, s_name(self, op)))
            check_error(self, s_name(self, op), "is required");
        return DONE;
    }
    case OP_REF:
        if (result != NOTHING)
            return DONE;
        return s_call_same(self, op->a, false);
    case OP_DEPENDENT_SCHEMA:
        if (result != NOTHING || !s_has_member(self, s_name(self, op)))
            return DONE;
        return s_call_same(self, op->a, false);
    case OP_NOT:
        if (result == NOTHING)
            return s_call_same(self, op->a, true);
        if (result == VALID)
            check_error(self, NO_NAME, "must not match the schema under \"not\"");
        return DONE;
    case OP_ALL_OF:
    case OP_ANY_OF:
    case OP_ONE_OF:
        return s_branches(self, op, result);
    case OP_IF:
        return s_if(self, op, result);
    default: {
        char message[CHECK_MESSAGE_MAX];
        weft_mp_token_t token;
        (void) s_inside(self, &token);
        if (!check_simple(self, op, &token, message) && !self->memory_failed)
            check_error(self, NO_NAME, message);
        return DONE;
    }
    }
}

/* Runs frames until none is left.  True when the root's was valid. */
static bool
s_run(check_t *self)
{
    s_result_t result = NOTHING;
    while (self->depth > 0) {
        check_frame_t *frame = &self->frames[self->depth - 1];
        const program_schema_t *schema = &PROGRAM_ROW(self->schema, schemas, program_schema_t, frame->schema);
        if (frame->op == schema->op_count || (frame->silent && !frame->valid)) {
            result = frame->valid ? VALID : INVALID;
            self->depth--;
            continue;
        }
        if (!budget_spend(&self->budget, 1) || self->memory_failed || self->enough)
            return false;
        const op_t *op = &PROGRAM_ROW(self->schema, ops, op_t, schema->ops + frame->op);
        if (s_run_op(self, op, result) == DONE) {
            frame->op++;
            frame->started = false;
        }
        result = NOTHING;
    }
    return result == VALID;
}

weft_status_t
weft_schema_check(const weft_schema_t *self, weft_span_t value, weft_schema_report_t *report)
{
    assert(self && value.size > 0);
    check_t check;
    check.schema = self;
    check.end = value.data + value.size;
    check.budget = (budget_t){ .left = STEPS_BASE + (uint64_t) value.size * STEPS_PER_BYTE };
    check.memory = NULL;
    check.report = report;
    check.memory_failed = false;
    check.enough = false;
    check.depth = 0;
    check.capacity = CHECK_FRAMES_INLINE;
    check.frames = check.inline_frames;
    if (report) {
        report->count = 0;
        report->more = false;
    }
    /* Without a report the first failure is all there is to know. */
    (void) s_push(&check, 0, value.data, report == NULL);
    bool valid = s_run(&check);
    if (check.frames != check.inline_frames)
        free(check.frames);
    pattern_memory_destroy(&check.memory);
    if (!check.budget.spent && !check.memory_failed)
        return valid ? WEFT_OK : WEFT_INVALID_ARGUMENT;
    if (report) {
        report->count = 1;
        report->more = false;
        report->errors[0].pointer[0] = '\0';
        snprintf(report->errors[0].message, sizeof report->errors[0].message, "%s",
                 check.memory_failed ? "could not be checked: out of memory"
                                     : "could not be checked: too much work for a value of this size");
    }
    return WEFT_RESOURCE_EXHAUSTED;
}
