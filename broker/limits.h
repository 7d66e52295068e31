/* limits - how many requests of a service may be at workers at once, as the operator says
 *
 * "notes=32,reports.*=4,*=256": a name, all names that begin with some parts, all others.  The name itself
 * goes before a prefix, the longer prefix before the shorter.  Read once at the start.  Not thread-safe. */
#ifndef WEFT_BROKER_LIMITS_H
#define WEFT_BROKER_LIMITS_H

#include <weft/buf.h>
#include <weft/wire.h>

enum { LIMITS_MAX = 64, LIMIT_MOST = 1000000 };

typedef struct {
    char name[WEFT_SERVICE_MAX + 2]; /* of a prefix: with the dot at its end; of "*": empty */
    uint32_t size;
    uint32_t most;
    bool prefix;
} limit_t;

typedef struct {
    limit_t rows[LIMITS_MAX];
    uint32_t count;
} limits_t;

/* Reads the text of the setting; empty: no limits.  False with what is wrong in `why`. */
bool limits_parse(limits_t *self, const char *text, char *why, size_t why_size) WEFT_MUST_CHECK;

/* The limit of a service; 0: none. */
uint32_t limits_of(const limits_t *self, weft_span_t service);

#endif
