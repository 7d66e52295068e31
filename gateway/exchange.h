/* exchange - one HTTP request and its answer: the only place that writes to a client */
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include "gateway/problem.h"
#include "gateway/slot.h"

#define EXCHANGE_EXTRA_MAX 256 /* bytes of header lines that few answers have */

typedef struct {
    gateway_t *gateway;
    slot_t *slot;
    struct mg_connection *connection;
    const struct mg_request_info *info;
    const method_t *method; /* NULL: reached none */
    int64_t started_us;
    int64_t submitted_us; /* 0: no call was made */
    int64_t replied_us;
    uint32_t queue_us, wait_us, handler_us; /* of the reply */
    int status;                             /* HTTP status sent; 0: none yet */
    size_t sent;                            /* body bytes */
    bool head_only;                         /* HEAD */
    bool body_read;
    bool unparsed;                  /* civetweb refused the head: what `info` points to may have no end */
    bool close;                     /* the connection ends with this answer */
    bool broken;                    /* nothing can be sent any more */
    char job[24];                   /* id of the job that was made or found; empty: none */
    char extra[EXCHANGE_EXTRA_MAX]; /* header lines for the answer's head */
    size_t extra_size;
} exchange_t;

/* The client's socket, -1 when it is not found. */
int exchange_socket(exchange_t *self);

/* Adds a line to the head of the answer, whatever it will be.  `value` is ours: nothing in it ends a line. */
void exchange_add_header(exchange_t *self, const char *name, const char *value);

/* Empties slot->out but for the room in front in which the head is put later: write the body behind it, then
 * call exchange_send. */
weft_buf_t *exchange_body(exchange_t *self);
/* Sends head and body with one write.  `location` may be empty.  A body that did not fit becomes a 500. */
void exchange_send(exchange_t *self, int http, const char *content_type, weft_span_t location);
/* Sends a problem; fills in its request_id.  Returns its HTTP status. */
int exchange_fail(exchange_t *self, problem_t *problem);
/* Shorthand for what the gateway itself has to say; executed "no".  `kind` may be NULL. */
int exchange_refuse(exchange_t *self, int http, weft_status_t code, const char *kind, const char *detail);

/* Answers OPTIONS: 204 with the verbs that the path takes. */
void exchange_options(exchange_t *self, const char *allow);

/* Streams: a head without length, then chunks (plain bytes to an HTTP/1.0 client, whose connection ends
 * behind them).  False when the client is gone. */
bool exchange_open(exchange_t *self, const char *content_type);
/* Empties slot->out but for the room of a chunk's size line: append to it, then flush. */
weft_buf_t *exchange_chunk(exchange_t *self);
/* Bytes appended since. */
size_t exchange_chunk_size(const exchange_t *self);
/* Sends them with one write; nothing when there are none. */
bool exchange_flush(exchange_t *self);
void exchange_end_chunks(exchange_t *self);

#endif
