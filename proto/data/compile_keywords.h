/* compile_keywords - one schema's keywords to operations */
#ifndef WEFT_COMPILE_KEYWORDS_H
#define WEFT_COMPILE_KEYWORDS_H

#include "compile.h"

/* Compiles the schema at the index: its operations, and the schemas below it registered.  False when it
 * failed. */
bool compile_keywords(compile_t *self, uint32_t schema);

#endif
