/* mp - reading msgpack in place: a bounded scanner, a cursor and getters that allocate nothing
 *
 * Packing is msgpack-c's job (msgpack_packer over a weft_buf_t).  Reading is ours: msgpack-c reserves
 * memory for *announced* element counts and builds a tree; a message of a stranger deserves neither. */
#ifndef WEFT_MP_H
#define WEFT_MP_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/buf.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Deepest nesting of arrays and maps in any value that travels; SPEC.md, Limits. */
#define WEFT_MP_DEPTH_MAX 32

typedef enum {
    WEFT_MP_NIL,
    WEFT_MP_BOOL,
    WEFT_MP_UINT,  /* any integer >= 0, however it was encoded: u */
    WEFT_MP_INT,   /* any integer < 0: i */
    WEFT_MP_FLOAT, /* float 32 and 64: f */
    WEFT_MP_STR,   /* bytes */
    WEFT_MP_BIN,   /* bytes */
    WEFT_MP_EXT,   /* bytes, ext_type */
    WEFT_MP_ARRAY, /* count elements follow */
    WEFT_MP_MAP    /* count pairs follow */
} weft_mp_type_t;

typedef struct {
    weft_mp_type_t type;
    int8_t ext_type;
    uint32_t count;
    union {
        bool b;
        uint64_t u;
        int64_t i;
        double f;
        weft_span_t bytes;
    } v;
} weft_mp_token_t;

/* A cursor over msgpack bytes: `at` moves towards `end`.  Copy it to look ahead. */
typedef struct {
    const char *at;
    const char *end;
} weft_mp_t;

static inline weft_mp_t
weft_mp(weft_span_t bytes)
{
    weft_mp_t cursor = { bytes.data, bytes.data ? bytes.data + bytes.size : NULL };
    return cursor;
}

/* Reads one token (of an array or map: its header).  False, cursor and token untouched, at the end, on
 * truncated input, on the reserved byte 0xc1, or when a header announces more elements than bytes are left.
 */
bool weft_mp_next(weft_mp_t *self, weft_mp_token_t *token) WEFT_MUST_CHECK;

/* Passes over one whole value without recursion.  False, cursor untouched, when it is truncated,
 * invalid or nested deeper than WEFT_MP_DEPTH_MAX. */
bool weft_mp_skip(weft_mp_t *self) WEFT_MUST_CHECK;

/* Passes over one whole value and gives its bytes. */
bool weft_mp_value(weft_mp_t *self, weft_span_t *value) WEFT_MUST_CHECK;

/* What weft_mp_check holds a value to. */
typedef struct {
    uint32_t depth_max; /* arrays and maps within each other; at most WEFT_MP_DEPTH_MAX */
    uint32_t nodes_max; /* tokens in all: bounds the memory and time of whoever builds a tree of it */
} weft_mp_limits_t;

/* depth 32, 262,144 nodes (a 1 MiB body of small integers is refused, one of records is not). */
extern const weft_mp_limits_t WEFT_MP_LIMITS_DEFAULT;

/* Looks through exactly one value that must fill `bytes`: counts and lengths against what is left, depth,
 * nodes, valid UTF-8 in every str, str keys in every map, no ext but timestamp (-1), nothing behind it.
 * Duplicate keys are not looked for.  One pass, no allocation, no recursion; any thread.
 * False with *why (static text, lower case) and *offset (of the offending byte) where not NULL. */
bool weft_mp_check(weft_span_t bytes, const weft_mp_limits_t *limits, const char **why,
                   size_t *offset) WEFT_MUST_CHECK;

/* Getters over one *checked* value (what weft_mp_check accepted, or a part of it).  They scan; maps of a
 * few dozen fields are what they are for.  Any thread. */

/* The value bytes of `key` in the map `map`; {NULL, 0} when it is absent or `map` is no map. */
weft_span_t weft_mp_get(weft_span_t map, const char *key);
/* str of `key`; {NULL, 0} when absent or of another type (an empty string has data != NULL). */
weft_span_t weft_mp_get_str(weft_span_t map, const char *key);
/* Integer of `key`; `fallback` when absent, of another type or out of range. */
int64_t weft_mp_get_int(weft_span_t map, const char *key, int64_t fallback);
uint64_t weft_mp_get_uint(weft_span_t map, const char *key, uint64_t fallback);
/* Number of `key` (integers are converted); `fallback` when absent or of another type. */
double weft_mp_get_float(weft_span_t map, const char *key, double fallback);
bool weft_mp_get_bool(weft_span_t map, const char *key, bool fallback);
/* True when `bytes` holds a str; its content in *text. */
bool weft_mp_str(weft_span_t bytes, weft_span_t *text) WEFT_MUST_CHECK;
bool weft_mp_uint(weft_span_t bytes, uint64_t *number) WEFT_MUST_CHECK;

/* True when `text` is valid UTF-8 (no surrogates, no overlong forms). */
bool weft_utf8_valid(weft_span_t text);

#ifdef __cplusplus
}
#endif
#endif
