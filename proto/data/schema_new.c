/* schema_new - compiles an encoded JSON Schema to a flat program */
#include "compile_keywords.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

weft_schema_t *
weft_schema_new(weft_span_t schema, char *why, size_t why_size)
{
    assert(why || why_size == 0);
    const char *wrong = NULL;
    compile_t compile = { .why = why, .why_size = why_size };
    weft_schema_t *self = NULL;
    bool done = false;
    if (schema.size > PROGRAM_SIZE_MAX)
        wrong = "the schema is larger than 1 MiB";
    if (wrong || !weft_mp_check(schema, &WEFT_MP_LIMITS_DEFAULT, &wrong, NULL)) {
        if (why_size > 0)
            snprintf(why, why_size, "(root): %s", wrong);
        return NULL;
    }
    self = calloc(1, sizeof *self);
    if (self)
        self->source = malloc(schema.size);
    compile.index = calloc(schema.size, sizeof *compile.index);
    if (!self || !self->source || !compile.index) {
        compile_fail_memory(&compile);
        goto out;
    }
    memcpy(self->source, schema.data, schema.size);
    self->source_size = schema.size;
    compile.program = self;
    const weft_span_t none = { NULL, 0 };
    if (compile_schema_at(&compile, (weft_span_t){ self->source, schema.size }, PROGRAM_NONE, NULL, none) ==
        PROGRAM_NONE)
        goto out;
    /* Each schema registers those below it and those it refers to: a queue in place of recursion. */
    for (uint32_t i = 0; i < self->schemas.count; i++) {
        if (!compile_keywords(&compile, i))
            goto out;
    }
    if (!compile_finish_refs(&compile))
        goto out;
    uint32_t culprit = 0;
    bool memory_failed = false;
    if (!program_order(self, &culprit, &memory_failed)) {
        if (memory_failed)
            compile_fail_memory(&compile);
        else
            compile_fail(&compile, culprit, NULL,
                         "leads back to itself, or through too many schemas, without a step into the value");
        goto out;
    }
    done = true;
out:
    free(compile.index);
    free(compile.places.rows);
    free(compile.pending.rows);
    free(compile.anchors.rows);
    if (!done)
        weft_schema_destroy(&self);
    return self;
}
