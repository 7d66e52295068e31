/* guard - what a request head must look like before anything else sees it
 *
 * civetweb's parser forgives much that a proxy in front reads differently, which is how requests are
 * smuggled: both kinds of length, two lengths, "3junk", "Name :", folded lines (it drops them and all
 * behind), bare line feeds, the 65th header, and leading blank lines (behind which it reads what an earlier
 * connection left in its buffer).  The parser puts NULs where separators were and nothing moves, so the
 * layout of the bytes can still be checked behind it. Source: RFC 9112, sections 2.2, 5 and 6.  Logic only.
 */
#ifndef GATEWAY_GUARD_H
#define GATEWAY_GUARD_H

#include <civetweb.h>

#include <weft/buf.h>

#define GUARD_HEADERS_MAX 63 /* civetweb keeps 64 and drops the rest: 64 may mean more */

typedef enum {
    GUARD_OK,
    GUARD_BLANK_START,
    GUARD_LINE_END,
    GUARD_FOLDED,
    GUARD_NAME,
    GUARD_TOO_MANY,
    GUARD_HOST,
    GUARD_LENGTH,
    GUARD_TWO_LENGTHS,
    GUARD_ENCODING,
    GUARD_EXPECT,
    GUARD_REPEATED,
    GUARD_REASONS
} guard_reason_t;

/* The headers that the gateway reads; {NULL, 0} when absent.  Spans into civetweb's buffer, valid during the
 * request. */
typedef struct {
    weft_span_t accept;
    weft_span_t content_type;
    weft_span_t request_id;
    weft_span_t traceparent;
    weft_span_t timeout;
    weft_span_t idempotency_key;
    weft_span_t content_encoding;
    weft_span_t last_event_id;
    bool prefer; /* there are Prefer headers: to be read one by one */
    bool expect_continue;
    bool chunked;
    bool keep_alive;        /* as civetweb will decide: by the first Connection header, else by the version */
    int64_t content_length; /* 0 when not said */
} guard_head_t;

/* Reads the head in *info into *head.  `buffer` is where this thread's request buffer of `buffer_size` bytes
 * begins (see guard_buffer).  Anything but GUARD_OK: answer and close the connection, since where the next
 * request begins is in doubt. */
guard_reason_t guard_read(const struct mg_request_info *info, const char *buffer, size_t buffer_size,
                          guard_head_t *head) WEFT_MUST_CHECK;

/* civetweb gives each thread one buffer for its life and does not say where it is.  A request without leading
 * blanks begins there, so it is the lowest address a request of this thread began at; and malloc aligns to 16
 * bytes, which finds the blanks of the very first one. */
const char *guard_buffer(const char *known, const struct mg_request_info *info);

/* For the answer, the log and the metric. */
int guard_http(guard_reason_t reason);
const char *guard_name(guard_reason_t reason);
const char *guard_text(guard_reason_t reason);

/* True for application/json, application/...+json, with any parameters but another charset than UTF-8. */
bool guard_is_json(weft_span_t content_type);

#endif
