/* compile - what the parts of the schema compiler share: the program being made and where its schemas stand
 */
#ifndef WEFT_COMPILE_H
#define WEFT_COMPILE_H

#include "program.h"

/* Where a schema stands in the source: the way there from its parent, for messages. */
typedef struct {
    weft_span_t value;
    uint32_t parent; /* PROGRAM_NONE: the root, or `step` is the whole pointer of a $ref */
    const char *keyword;
    weft_span_t step; /* key or index below the keyword; data NULL where there is none */
} compile_place_t;

/* A $ref to an anchor, to be settled when all anchors are known. */
typedef struct {
    uint32_t op;
    uint32_t schema;
    weft_span_t name;
} compile_pending_t;

typedef struct {
    weft_span_t name;
    uint32_t schema;
} compile_anchor_t;

typedef struct {
    weft_schema_t *program;
    uint32_t *index;         /* by offset in the source: schema there + 1, or 0 */
    program_table_t places;  /* compile_place_t, one per schema */
    program_table_t pending; /* compile_pending_t */
    program_table_t anchors; /* compile_anchor_t */
    weft_span_t id;          /* the root's $id */
    char *why;
    size_t why_size;
    bool failed;
} compile_t;

/* Notes what is wrong at `keyword` of a schema; only the first is kept.  False. */
bool compile_fail(compile_t *self, uint32_t schema, const char *keyword, const char *rule);
bool compile_fail_memory(compile_t *self);

/* The schema that stands at `value` in the source; registered, and so compiled in its turn, where it is new.
 * PROGRAM_NONE when memory ended. */
uint32_t compile_schema_at(compile_t *self, weft_span_t value, uint32_t parent, const char *keyword,
                           weft_span_t step);

/* Settles what a $ref of `schema` leads to, for the operation `op`, now or in compile_finish_refs. */
bool compile_ref(compile_t *self, uint32_t schema, uint32_t op, weft_span_t text);
bool compile_anchor(compile_t *self, uint32_t schema, weft_span_t name);
bool compile_finish_refs(compile_t *self);

/* Writes the pointer of a schema, and of its keyword where that is not NULL, NUL-terminated; cut where it is
 * too long. */
void compile_pointer(const compile_t *self, uint32_t schema, const char *keyword, char *text, size_t size);

#endif
