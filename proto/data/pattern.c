/* pattern - a regular expression as JSON Schema has them, matched within limits
 *
 * PCRE2's interpreter, without JIT: it keeps its state on the heap, within limits of ours, and needs neither
 * a large stack nor memory that is writable and executable. */
#include "pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Backtracking points of PCRE2's interpreter for one match. */
#define STEPS_MAX 1000000
/* Backtracking depth and KiB of heap for one match. */
#define DEPTH_MAX 20000
#define HEAP_MAX_KIB 4096
/* Groups within groups: pcre2_compile recurses for them. */
#define GROUPS_MAX 32

struct pattern {
    pcre2_code *code;
};

struct pattern_memory {
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

pattern_t *
pattern_new(weft_span_t text, char *why, size_t why_size)
{
    pattern_t *self = NULL;
    pcre2_code *code = NULL;
    pcre2_compile_context *context = NULL;
    if (text.size > PATTERN_SIZE_MAX) {
        snprintf(why, why_size, "is longer than %d bytes", PATTERN_SIZE_MAX);
        return NULL;
    }
    /* "(*...)" are settings of PCRE2's own, such as other limits. */
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == '(' && text.data[i + 1] == '*') {
            snprintf(why, why_size, "has \"(*\", which is no part of a regular expression here");
            return NULL;
        }
    }
    context = pcre2_compile_context_create(NULL);
    if (!context || pcre2_set_parens_nest_limit(context, GROUPS_MAX) != 0 ||
        pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX) != 0) {
        snprintf(why, why_size, "out of memory");
        goto out;
    }
    int error;
    PCRE2_SIZE where;
    code = pcre2_compile((PCRE2_SPTR) text.data, text.size,
                         PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS |
                             PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                         &error, &where, context);
    if (!code) {
        PCRE2_UCHAR message[120] = { 0 };
        (void) pcre2_get_error_message(error, message, sizeof message);
        snprintf(why, why_size, "is no regular expression: %s, at byte %zu", (const char *) message,
                 (size_t) where);
        goto out;
    }
    self = malloc(sizeof *self);
    if (!self) {
        snprintf(why, why_size, "out of memory");
        goto out;
    }
    self->code = code;
    code = NULL;
out:
    pcre2_code_free(code);
    pcre2_compile_context_free(context);
    return self;
}

void
pattern_destroy(pattern_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        pcre2_code_free((*self_p)->code);
        free(*self_p);
        *self_p = NULL;
    }
}

pattern_memory_t *
pattern_memory_new(void)
{
    pattern_memory_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->data = pcre2_match_data_create(1, NULL);
    self->limits = pcre2_match_context_create(NULL);
    if (!self->data || !self->limits || pcre2_set_depth_limit(self->limits, DEPTH_MAX) != 0 ||
        pcre2_set_heap_limit(self->limits, HEAP_MAX_KIB) != 0)
        pattern_memory_destroy(&self);
    return self;
}

void
pattern_memory_destroy(pattern_memory_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        pcre2_match_context_free((*self_p)->limits);
        pcre2_match_data_free((*self_p)->data);
        free(*self_p);
        *self_p = NULL;
    }
}

bool
pattern_matches(const pattern_t *self, weft_span_t text, pattern_memory_t *memory, budget_t *budget)
{
    /* PCRE2 does not tell how much it did, only that a limit was reached.  So it gets little at first, as
     * much as nearly every match needs, and more only against payment: what is charged is never far from the
     * work. */
    uint32_t steps = 256 + 4 * (uint32_t) (text.size < 16384 ? text.size : 16384);
    if (!budget_spend(budget, 10 + (text.size >> 2)))
        return false;
    for (;;) {
        if (pcre2_set_match_limit(memory->limits, steps) != 0)
            return false;
        int result = pcre2_match(self->code, (PCRE2_SPTR) (text.data ? text.data : ""), text.size, 0,
                                 PCRE2_NO_UTF_CHECK, memory->data, memory->limits);
        if (result >= 0)
            return true;
        if (result == PCRE2_ERROR_NOMATCH)
            return false;
        if (!budget_spend(budget, result == PCRE2_ERROR_MATCHLIMIT && steps < STEPS_MAX ? steps : UINT64_MAX))
            return false;
        steps *= 8;
    }
}
