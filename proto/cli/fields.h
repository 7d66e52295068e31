/* fields - a map for a call, field by field; what is not given is left out */
#ifndef WEFT_CLI_FIELDS_H
#define WEFT_CLI_FIELDS_H

#include <weft/buf.h>

typedef struct {
    weft_buf_t pairs;
    uint32_t count;
    weft_buf_t map;
} fields_t;

void fields_init(fields_t *self);
void fields_fini(fields_t *self);

/* NULL: left out. */
void fields_text(fields_t *self, const char *key, const char *text);
/* Without a terminator; data NULL: left out. */
void fields_span(fields_t *self, const char *key, weft_span_t text);
/* `absent`: left out. */
void fields_number(fields_t *self, const char *key, int64_t number, int64_t absent);
/* false: left out. */
void fields_flag(fields_t *self, const char *key, bool flag);
void fields_nil(fields_t *self, const char *key);
/* An encoded value; empty: left out. */
void fields_value(fields_t *self, const char *key, weft_span_t value);

/* The encoded map, borrowed until fields_fini; empty when it was too large. */
weft_span_t fields_map(fields_t *self);

#endif
