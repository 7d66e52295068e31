/* value - compares msgpack values as JSON Schema does: 1 is 1.0, objects have no order */
#ifndef WEFT_VALUE_H
#define WEFT_VALUE_H

#include <weft/mp.h>

#include "budget.h"

/* Comparisons take values that weft_mp_check accepted.  None recurses; those with a budget stop (with any
 * result) where it is spent.  Of keys that come twice in an object the first counts. */

static inline bool
value_is_number(const weft_mp_token_t *token)
{
    return token->type == WEFT_MP_UINT || token->type == WEFT_MP_INT || token->type == WEFT_MP_FLOAT;
}

/* True for integers and for floats without a fraction. */
bool value_is_integer(const weft_mp_token_t *token);

/* Orders two numbers exactly, whatever they are encoded as: < 0, 0, > 0.  NaN is equal to itself and below
 * all others. */
int value_compare_numbers(const weft_mp_token_t *a, const weft_mp_token_t *b);

/* True when a = n * b for some integer n; of floats, their shortest decimal text counts, so 0.0075 is a
 * multiple of 0.0001.  b > 0. */
bool value_is_multiple(const weft_mp_token_t *a, const weft_mp_token_t *b);

bool value_equal(weft_span_t a, weft_span_t b, budget_t *budget);

/* Looks for two equal elements of the array at `cursor`, which stands behind its header.  True when all
 * differ.  Sets *failed where memory ended. */
bool value_unique(weft_mp_t cursor, uint32_t count, budget_t *budget, bool *failed);

/* Unicode code points of a UTF-8 text. */
uint64_t value_text_length(weft_span_t text);

#endif
