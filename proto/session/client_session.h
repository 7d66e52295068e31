/* client_session - a client's calls over its brokers: choosing, deadlines, failover, safe retries.  Pure
 * logic
 *
 * Takes events and the time, hands out messages and results through callbacks, says when it wants to be
 * called next. Touches no socket, clock, thread or lock: client.c runs it on the bus thread, tests/sim under
 * a seeded network. Source: proto/SPEC.md, Client session.  Not thread-safe. */
#ifndef WEFT_CLIENT_SESSION_H
#define WEFT_CLIENT_SESSION_H

#include <weft/client.h>

#include "session/sender.h"

typedef struct client_session client_session_t;

typedef struct {
    uint32_t in_flight_max; /* calls at once */
    uint32_t attempts_max;  /* sends of one call, the first included */
    uint32_t ping_ms;       /* 1,000; jittered by 20 % */
    uint32_t silence_ms;    /* 4,000 */
    uint32_t retry_percent; /* retries per 100 calls (a token bucket that holds 10 at start), 10 */
    uint64_t seed;          /* of ids, jitter and choice */
} client_session_config_t;
extern const client_session_config_t CLIENT_SESSION_DEFAULTS;

typedef struct {
    session_send_t send;
    /* The link's heartbeat failed: close it; client_session_down must follow. */
    void (*drop)(void *context, uint32_t link);
    /* A PARTIAL or the final reply of a call; `call_context` as submitted.  The frame may be moved away from
     * reply->frame (a zmq_msg_t *), else it is closed behind it.  A reply that the session makes itself
     * (deadline, loss, cancel) has such a frame too: an encoded REPLY. */
    void (*reply)(void *context, void *call_context, weft_reply_t *reply);
} client_session_callbacks_t;

client_session_t *client_session_new(const client_session_config_t *config,
                                     const client_session_callbacks_t *callbacks, void *context);
/* Ends every call with CANCELLED first (callbacks run). */
void client_session_destroy(client_session_t **self_p);

void client_session_up(client_session_t *self, uint32_t link, int64_t now_ms);
void client_session_down(client_session_t *self, uint32_t link, int64_t now_ms);
/* Any frame from that link's broker; it may be moved away. */
void client_session_receive(client_session_t *self, uint32_t link, zmq_msg_t *frame, int64_t now_ms);

/* Takes the encoded REQUEST (its id is replaced; moved away on WEFT_OK).  `idempotent`: may be sent again
 * although perhaps executed.  A reference to the bytes is kept until the end, since a refused call (executed
 * "no") may be sent again whatever it is.  No broker up: waits for one within the deadline.  WEFT_OK with
 * *ticket (never 0): exactly one final reply will come, never before this returns. WEFT_RESOURCE_EXHAUSTED:
 * in_flight_max; WEFT_INVALID_ARGUMENT: no REQUEST; WEFT_UNAVAILABLE: after bye. */
weft_status_t client_session_submit(client_session_t *self, zmq_msg_t *request, bool idempotent,
                                    void *call_context, int64_t now_ms, uint64_t *ticket) WEFT_MUST_CHECK;
/* The same, first to another broker than that of link `elsewhere` (0: any), where another is up. */
weft_status_t client_session_submit_elsewhere(client_session_t *self, zmq_msg_t *request, bool idempotent,
                                              uint32_t elsewhere, void *call_context, int64_t now_ms,
                                              uint64_t *ticket) WEFT_MUST_CHECK;
/* Ends the call with CANCELLED at once and sends CANCEL; nothing when it has ended. */
void client_session_cancel(client_session_t *self, uint64_t ticket, int64_t now_ms);

/* Does what is due (deadlines, heartbeats, back-offs) and returns when to call again; INT64_MAX: never. */
int64_t client_session_tick(client_session_t *self, int64_t now_ms);

/* Leaving: BYE to every link.  Open calls are ended with CANCELLED. */
void client_session_bye(client_session_t *self, int64_t now_ms);

uint32_t client_session_links_up(const client_session_t *self);
uint32_t client_session_in_flight(const client_session_t *self);

typedef struct {
    uint64_t calls, retries, failovers, retries_denied, deadlines, cancels, late_replies, malformed,
        broker_losses, cancels_unsent; /* cancels_unsent: the pipe was full, and 256 of them waited already */
} client_session_stats_t;
const client_session_stats_t *client_session_stats(const client_session_t *self);
/* Aborts the program when an invariant does not hold; for tests. */
void client_session_check(const client_session_t *self);

#endif
