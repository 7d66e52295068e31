/* show - values on standard output: as JSON, one a line, or as a table */
#ifndef WEFT_SHOW_H
#define WEFT_SHOW_H

#include <weft/mp.h>

/* One line of JSON; false after a complaint where the value has no JSON form. */
bool show_json(weft_span_t value) WEFT_MUST_CHECK;

/* The elements of an array, one a line. */
bool show_each_json(weft_span_t rows) WEFT_MUST_CHECK;

/* A column: the value of `key` in each row; "error.code": of `code` in the row's map `error`. */
typedef struct {
    const char *title;
    const char *key;
} show_column_t;
/* A table of an array of maps; `columns` ends with a title NULL.  Nothing but `none` for an empty array. */
void show_table(weft_span_t rows, const show_column_t *columns, const char *none);
/* The pairs of a map, a line each; maps within it are indented. */
void show_map(weft_span_t map, int indent);

/* Appends `text` with what is not printable made visible: a peer must not move the terminal's cursor. */
void show_add_text(weft_buf_t *out, weft_span_t text);

#endif
