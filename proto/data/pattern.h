/* pattern - a regular expression as JSON Schema has them, matched within limits */
#ifndef WEFT_PATTERN_H
#define WEFT_PATTERN_H

#include <weft/buf.h>

#include "budget.h"

typedef struct pattern pattern_t;

/* Longest pattern, in bytes. */
#define PATTERN_SIZE_MAX 1024

/* Compiles an ECMA-262 expression as far as PCRE2 reads them alike: UTF-8, \d and \w ASCII only, `$` only at
 * the very end.  NULL with the reason in `why` (which may end in PCRE2's words). Caller destroys. */
pattern_t *pattern_new(weft_span_t text, char *why, size_t why_size);
void pattern_destroy(pattern_t **self_p);

/* Memory for matching, to be made once for many.  NULL when memory ended; caller destroys. */
typedef struct pattern_memory pattern_memory_t;
pattern_memory_t *pattern_memory_new(void);
void pattern_memory_destroy(pattern_memory_t **self_p);

/* True when the expression matches somewhere in `text`, which is UTF-8.  Where it takes too long or too much
 * memory the budget is spent. */
bool pattern_matches(const pattern_t *self, weft_span_t text, pattern_memory_t *memory, budget_t *budget);

#endif
