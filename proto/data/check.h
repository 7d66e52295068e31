/* check - the state of one value's check against a program: frames in place of recursion, budget, report */
#ifndef WEFT_CHECK_H
#define WEFT_CHECK_H

#include "budget.h"
#include "program.h"

/* Frames that need no heap; deeper schemas and values get some. */
#define CHECK_FRAMES_INLINE 24
/* A value is nested at most 32 deep, and a chain of schemas in place is bounded; two more for a key. */
#define CHECK_FRAMES_MAX ((WEFT_MP_DEPTH_MAX + 2) * (PROGRAM_CHAIN_MAX + 1))

/* How the value of a frame stands to that of the frame below it. */
typedef enum { CHECK_SAME, CHECK_MEMBER, CHECK_ELEMENT } check_step_t;

/* One schema being applied to one value. */
typedef struct {
    const char *value; /* its first byte */
    const char *at;    /* progress of the current operation: next pair or element, */
    uint32_t schema;
    uint32_t op;      /* the current operation's number within the schema, */
    uint32_t left;    /* pairs or elements left, */
    uint32_t index;   /* element, branch or stage, */
    uint32_t matched; /* and what matched so far */
    uint32_t key_size;
    const char *key;   /* CHECK_MEMBER: the name; CHECK_ELEMENT: none, the index is key_size */
    uint64_t required; /* bits of required names seen */
    check_step_t step;
    bool started; /* the current operation has begun */
    bool silent;  /* a branch that may fail: no errors, and the first ends it */
    bool valid;
} check_frame_t;

typedef struct {
    const weft_schema_t *schema;
    const char *end; /* of the whole value */
    budget_t budget;
    pattern_memory_t *memory; /* made when first needed */
    weft_schema_report_t *report;
    bool memory_failed;
    bool enough; /* the report is full: nothing more to learn */
    uint32_t depth;
    uint32_t capacity;
    check_frame_t *frames;
    check_frame_t inline_frames[CHECK_FRAMES_INLINE];
} check_t;

/* Marks the top frame invalid and reports it, at the frame's value or at its member `name` (data NULL: none).
 */
void check_error(check_t *self, weft_span_t name, const char *message);

/* What the keywords of scalars and simple counts say of `token`, the value that begins the top frame: true,
 * or false with the message. */
#define CHECK_MESSAGE_MAX 160
bool check_simple(check_t *self, const op_t *op, const weft_mp_token_t *token,
                  char message[CHECK_MESSAGE_MAX]);

#endif
