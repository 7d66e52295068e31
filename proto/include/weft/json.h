/* json - JSON to msgpack and back in one pass each, exact and strict, no tree, no recursion */
#ifndef WEFT_JSON_H
#define WEFT_JSON_H

#include <weft/mp.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    size_t offset;       /* byte in the input where it went wrong */
    const char *message; /* static text, lower case: "duplicate key", "invalid UTF-8", ... */
} weft_json_error_t;

/* Appends the msgpack of exactly one JSON text (RFC 8259).  Integers from -2^63 to 2^64-1 stay integers, in
 * their shortest form; a number with fraction or exponent, or beyond those, becomes float 64 (1.0 stays a
 * float; an overflow such as 1e400 is refused).  Refused: duplicate keys, invalid UTF-8, lone surrogates, NUL
 * in keys, depth beyond 32, more than 262,144 nodes, anything behind the value.  On failure `out` is as it
 * was but for capacity. WEFT_INVALID_ARGUMENT with *error; WEFT_RESOURCE_EXHAUSTED when `out` is full.  Any
 * thread, under 4 KiB of stack. */
weft_status_t weft_json_to_mp(weft_span_t json, weft_buf_t *out, weft_json_error_t *error) WEFT_MUST_CHECK;

/* Appends the JSON of one msgpack value.  float: shortest text that reads back the same, always with a point
 * or exponent; NaN and infinities are refused.  bin: base64 (RFC 4648, padded) in a string; timestamp ext:
 * RFC 3339 string; other ext refused; map keys must be str.  Checks its input as weft_mp_check does.
 * WEFT_INVALID_ARGUMENT with *error (offset into the msgpack); WEFT_RESOURCE_EXHAUSTED.  Any thread. */
weft_status_t weft_mp_to_json(weft_span_t mp, weft_buf_t *out, weft_json_error_t *error) WEFT_MUST_CHECK;

/* Appends `text` as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD. */
void weft_json_add_string(weft_buf_t *out, weft_span_t text);

#ifdef __cplusplus
}
#endif
#endif
