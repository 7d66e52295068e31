/* wire - the messages of WEFT/1 as bytes and as a struct; proto/SPEC.md is the specification */
#ifndef WEFT_WIRE_H
#define WEFT_WIRE_H

#include <weft/buf.h>
#include <weft/mp.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_WIRE_VERSION 1
#define WEFT_FRAME_MAX 2097152u     /* bytes of one frame by default (ZMQ_MAXMSGSIZE); SPEC.md, Limits */
#define WEFT_SERVICE_MAX 63         /* bytes */
#define WEFT_METHOD_MAX 63          /* bytes */
#define WEFT_META_MAX 4096          /* bytes of the encoded meta map */
#define WEFT_DESCRIPTOR_MAX 262144u /* bytes of an encoded descriptor */
#define WEFT_PRIORITIES 4           /* 0 is the highest */
#define WEFT_PRIORITY_DEFAULT 1
#define WEFT_TTL_MAX_MS 86400000u /* a day */
#define WEFT_CAPACITY_MAX 65535

typedef enum {
    WEFT_REQUEST = 1,
    WEFT_REPLY = 2,
    WEFT_PARTIAL = 3,
    WEFT_CANCEL = 4,
    WEFT_READY = 5,
    WEFT_PING = 6,
    WEFT_PONG = 7,
    WEFT_DRAIN = 8,
    WEFT_BYE = 9,
    WEFT_WHO = 10
} weft_kind_t;

/* A decoded message.  Spans point into the frame: the frame must outlive them.  Only the fields of the kind
 * are set, all others are zero. */
typedef struct {
    weft_kind_t kind;
    uint64_t id;          /* eight opaque bytes, read as a big-endian number */
    weft_span_t service;  /* REQUEST */
    weft_span_t method;   /* REQUEST */
    uint32_t ttl_ms;      /* REQUEST: what is left of the caller's budget */
    uint8_t priority;     /* REQUEST */
    weft_status_t status; /* REPLY, PARTIAL (always OK there) */
    uint32_t load;        /* REPLY, PARTIAL, PING: requests this worker holds for all brokers.  On a REPLY or
                           * PARTIAL that a broker hands to a client: microseconds the request spent in the broker's
                           * queue (0: not known) */
    weft_span_t meta;     /* REQUEST, REPLY, PARTIAL: the encoded map */
    weft_span_t body;     /* REQUEST, REPLY, PARTIAL: everything behind meta, *not looked at* */
    weft_span_t descriptor; /* READY: the encoded map */
    uint32_t capacity;      /* READY: requests that this broker may have outstanding here; 0 takes it out */
    uint64_t epoch;         /* PONG, WHO */
} weft_message_t;

/* Reads a frame.  Everything but body and descriptor is checked (version, count, types, names, limits, meta
 * as a map of str to str); those two are only delimited: see weft_wire_check.  One pass, no allocation.  Any
 * thread.  Not WEFT_OK: *why is static text naming field and rule; out->kind and out->id are set as far as
 * they could be read (0 otherwise), so that an answer can be addressed.  WEFT_UNIMPLEMENTED: another version
 * (kind and id are those of the common beginning).  WEFT_INVALID_ARGUMENT: anything else; an unknown kind is
 * one where out->kind > WEFT_WHO, which a receiver ignores and counts. */
weft_status_t weft_wire_decode(const void *data, size_t size, weft_message_t *out,
                               const char **why) WEFT_MUST_CHECK;

/* The full check of body or descriptor (weft_mp_check with the default limits), for whoever reads them. */
weft_status_t weft_wire_check(const weft_message_t *message, const char **why) WEFT_MUST_CHECK;

/* Appends the message to `out`.  ttl_ms and load are written five bytes wide so that a broker can patch them.
 * An empty meta is written as an empty map, an empty body as nil.  body and meta are copied as they are: they
 * must be valid msgpack.  WEFT_INVALID_ARGUMENT when a field breaks a limit, WEFT_RESOURCE_EXHAUSTED when
 * `out` is full. */
weft_status_t weft_wire_encode(weft_buf_t *out, const weft_message_t *message) WEFT_MUST_CHECK;

/* Patching a frame in place; `data` is a frame that weft_wire_decode accepted. */
uint64_t weft_wire_id(const void *data);
void weft_wire_set_id(void *data, uint64_t id);
/* Lowers the ttl of a REQUEST; a value that is larger than the encoded one is ignored. */
void weft_wire_set_ttl(void *data, size_t size, uint32_t ttl_ms);
/* Overwrites load in a REPLY or PARTIAL: with `load` where the field is five bytes wide, else with 0. */
void weft_wire_set_load(void *data, size_t size, uint32_t load);

/* [a-z][a-z0-9_-]{0,62}, and for services one or more of those joined by dots, 63 bytes at most. */
bool weft_method_valid(weft_span_t method);
bool weft_service_valid(weft_span_t service);

/* Looks up a key in an encoded meta map.  False when absent. */
bool weft_meta_get(weft_span_t meta, const char *key, weft_span_t *value) WEFT_MUST_CHECK;

/* The body of an error: {"message": str, "executed": "no"|"maybe", "hop": str?, "details": any?}. */
typedef struct {
    weft_span_t message;
    weft_span_t hop;     /* "client", "broker", "handler", ...: where it arose; empty: not said */
    weft_span_t details; /* an encoded value; empty: none */
    bool executed_maybe; /* false: provably never reached a handler */
} weft_error_body_t;
/* Appends the encoded body. */
bool weft_error_body_write(weft_buf_t *out, const weft_error_body_t *error);
/* Reads one, leniently: what is missing stays empty, executed_maybe is true unless "no" is said. */
void weft_error_body_read(weft_span_t body, weft_error_body_t *error);

#ifdef __cplusplus
}
#endif
#endif
