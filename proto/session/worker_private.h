/* worker_private - the inside of worker_session, for the files that make it up and for nobody else
 *
 * worker_session.c takes events and the time; worker_broker.c is what is said to brokers and the registration
 * with them, worker_held.c the requests held and their replies. */
#ifndef WEFT_WORKER_PRIVATE_SESSION_H
#define WEFT_WORKER_PRIVATE_SESSION_H

#include "runtime/deadlines.h"
#include "runtime/list.h"
#include "session/frames.h"
#include "session/id_table.h"
#include "session/link.h"
#include "session/slots.h"
#include "session/worker_session.h"

enum { SERVICE_ROOM = WEFT_SERVICE_MAX + 1 };

typedef struct {
    char service[SERVICE_ROOM];
    char *descriptor;
    size_t descriptor_size;
    uint32_t capacity;
    uint32_t capacity_most; /* ever: a broker may hold more than was granted last */
} offer_t;

/* An offer at one broker.  WANTED -sent-> SENT -OK-> SETTLED;  SENT -not OK-> REFUSED -back-off-> WANTED;
 * SENT -no answer-> WANTED;  any -WHO, new descriptor or capacity-> WANTED */
typedef enum { READY_WANTED, READY_SENT, READY_SETTLED, READY_REFUSED } ready_state_t;
typedef struct {
    ready_state_t state;
    bool accepted; /* the broker gives us its requests; true while an update is on its way */
    uint32_t refusals;
    uint64_t id;      /* of the last READY */
    int64_t again_at; /* SENT: no answer came; REFUSED: back-off is over */
} ready_t;

typedef enum { DRAIN_NONE, DRAIN_WANTED, DRAIN_SENT, DRAIN_DONE } drain_state_t;

typedef struct {
    link_t link;
    uint64_t epoch;   /* of the last PONG; 0: none yet */
    ready_t *readies; /* one per offer */
    bool registering; /* READYs are out and none of them was answered yet */
    drain_state_t drain;
    uint64_t drain_id;
    int64_t drain_again_at;
    list_link_t held;   /* requests from here, unanswered */
    list_link_t outbox; /* their replies that found the pipe full */
    uint32_t held_count;
    id_table_t ids;
} broker_t;

typedef struct {
    slots_item_t head;
    list_link_t chain; /* of broker.held or broker.outbox; none without broker */
    deadline_t due;
    broker_t *broker; /* NULL: it is gone */
    uint64_t id;
    bool unwanted; /* cancel was called */
    bool replied;  /* `reply` waits for room */
    zmq_msg_t reply;
} held_t;

struct worker_session {
    worker_session_config_t config;
    worker_session_callbacks_t callbacks;
    void *context;
    weft_rng_t rng;
    heartbeat_t heartbeat;
    frames_t frames;
    slots_t held;
    uint32_t replied; /* of those, waiting for room */
    deadlines_t due;
    offer_t *offers;
    uint32_t offer_count;
    broker_t **brokers;
    uint32_t broker_count, broker_room;
    int64_t flush_at;
    bool draining, closed;
    worker_session_stats_t stats;
};

/* ---- worker_broker.c */
broker_t *worker_broker_find(const worker_session_t *self, uint32_t number);
void worker_broker_free(worker_session_t *self, broker_t *broker);
/* Asks for another try of what found a pipe full, in a few milliseconds. */
void worker_broker_flush_soon(worker_session_t *self, int64_t now_ms);
/* Sends something of ours; false when the pipe is full or gone (the frame is closed then). */
bool worker_broker_say(worker_session_t *self, broker_t *broker, zmq_msg_t *frame);
bool worker_broker_say_short(worker_session_t *self, broker_t *broker, weft_kind_t kind, uint64_t id);
void worker_broker_ping(worker_session_t *self, broker_t *broker);
/* The heartbeat failed, or the broker said BYE: the loop closes it and worker_session_down follows, perhaps
 * before this returns. */
void worker_broker_drop(worker_session_t *self, broker_t *broker);
/* Begins anew: all services that are offered. */
void worker_broker_register(worker_session_t *self, broker_t *broker, int64_t now_ms);
/* Sends the READYs that are wanted. */
void worker_broker_send_readies(worker_session_t *self, broker_t *broker, int64_t now_ms);
/* The answer to a READY; false when the id is of none. */
bool worker_broker_registered(worker_session_t *self, broker_t *broker, const weft_message_t *reply,
                              int64_t now_ms);
/* READYs without answer and refused ones whose back-off is over; returns the next such time. */
int64_t worker_broker_tick_readies(worker_session_t *self, broker_t *broker, int64_t now_ms);

/* ---- worker_held.c */
/* Requests held for all brokers together, but for those whose reply waits for room. */
uint32_t worker_held_load(const worker_session_t *self);
void worker_held_forget(worker_session_t *self, held_t *held);
/* Nobody wants it any more: tells the handler, once. */
void worker_held_unwanted(worker_session_t *self, held_t *held);
/* The broker is gone or does not know us any more: nobody wants what it gave us, replies have nowhere to go.
 */
void worker_held_orphan_all(worker_session_t *self, broker_t *broker);
/* A request that is not held at all is answered with an error, executed "no". */
void worker_held_refuse(worker_session_t *self, broker_t *broker, uint64_t id, weft_status_t status,
                        const char *why, int64_t now_ms);
/* A REQUEST. */
void worker_held_take(worker_session_t *self, broker_t *broker, const weft_message_t *message,
                      zmq_msg_t *frame, int64_t now_ms);
/* A CANCEL. */
void worker_held_cancel(worker_session_t *self, broker_t *broker, uint64_t id);
/* Sends the replies that wait for room; false when some still do. */
bool worker_held_flush(worker_session_t *self, broker_t *broker);

#endif
