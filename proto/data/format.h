/* format - the texts that JSON Schema's keyword `format` names, each by its own grammar */
#ifndef WEFT_FORMAT_H
#define WEFT_FORMAT_H

#include <weft/buf.h>

typedef bool format_check_t(weft_span_t text);

typedef struct {
    const char *name;
    const char *message; /* "must be a date such as 2026-07-31" */
    format_check_t *check;
} format_t;

/* The format of that name, NULL when there is none.  Static storage. */
const format_t *format_find(weft_span_t name);

#endif
