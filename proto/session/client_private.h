/* client_private - the inside of client_session, for the files that make it up and for nobody else
 *
 * client_session.c takes events and the time; client_call.c is the life of a call, client_broker.c what is
 * said to brokers. */
#ifndef WEFT_CLIENT_PRIVATE_SESSION_H
#define WEFT_CLIENT_PRIVATE_SESSION_H

#include "runtime/deadlines.h"
#include "runtime/list.h"
#include "session/client_session.h"
#include "session/frames.h"
#include "session/lacks.h"
#include "session/link.h"
#include "session/retry.h"
#include "session/slots.h"

typedef struct {
    link_t link;
    list_link_t calls; /* sent here, unanswered */
    uint32_t in_flight;
    uint64_t passed_over; /* the round in which it was found full */
    uint64_t *cancels;    /* that found the pipe full */
    uint32_t cancel_count;
    lacks_t lacks;
} broker_t;

/* submit -> WAITING -sent-> SENT -final reply-> gone
 *           WAITING <-due- BACKOFF <-refused, may be retried- SENT;   WAITING <-link lost, idempotent- SENT
 *           any -deadline, cancel-> gone */
typedef enum { CALL_WAITING, CALL_SENT, CALL_BACKOFF } call_state_t;

typedef struct {
    slots_item_t head;
    list_link_t chain; /* of session.waiting or broker.calls; BACKOFF: none */
    deadline_t due;    /* the deadline; BACKOFF: when to send again */
    call_state_t state;
    broker_t *broker;    /* SENT */
    uint32_t id_high;    /* of the id of the last attempt; the low half is the slot */
    uint32_t refused_by; /* link number, or of the one that the caller does not want; 0: none */
    uint64_t service;    /* lacks_key */
    uint32_t attempts;
    uint32_t moves; /* attempts that a broker refused which cannot do the service: they cost nothing */
    bool idempotent;
    bool maybe;    /* an attempt may have been executed */
    bool streamed; /* the caller has seen a PARTIAL */
    int64_t deadline_ms;
    void *context;
    zmq_msg_t frame; /* the request; its bytes are shared with the first attempt once that was sent */
} call_t;

struct client_session {
    client_session_config_t config;
    client_session_callbacks_t callbacks;
    void *context;
    weft_rng_t rng;
    heartbeat_t heartbeat;
    retry_t retry;
    frames_t frames;
    slots_t calls;
    deadlines_t due;
    broker_t **brokers;
    uint32_t broker_count, broker_room;
    list_link_t waiting; /* for a broker or for room, first come first served */
    int64_t flush_at;
    uint64_t round;
    uint32_t id_high;
    bool closed;
    client_session_stats_t stats;
};

/* ---- client_broker.c */
broker_t *client_broker_find(const client_session_t *self, uint32_t number);
void client_broker_free(client_session_t *self, broker_t *broker);
/* The heartbeat failed, or the broker said BYE: the loop closes it and client_session_down follows, perhaps
 * before this returns. */
void client_broker_drop(client_session_t *self, broker_t *broker);
/* Sends something of ours; false when the pipe is full or gone (the frame is closed then). */
bool client_broker_say(client_session_t *self, broker_t *broker, zmq_msg_t *frame);
bool client_broker_say_short(client_session_t *self, broker_t *broker, weft_kind_t kind, uint64_t id);
void client_broker_ping(client_session_t *self, broker_t *broker);
/* CANCEL, now or when there is room. */
void client_broker_cancel(client_session_t *self, broker_t *broker, uint64_t id, int64_t now_ms);
/* Sends the CANCELs that wait; false when some still do. */
bool client_broker_flush(client_session_t *self, broker_t *broker);
/* The broker for a call among those that are up and were not passed over in this round; one that lacks the
 * service comes behind others, one that has just refused this call (or that its caller does not want) behind
 * those, one that fell silent last; among equals the one with least in flight, ties at random.  NULL: none.
 */
broker_t *client_broker_choose(client_session_t *self, const call_t *call, int64_t now_ms);
/* True when another broker than this one is up, heard, and not known to be unable to do the call. */
bool client_broker_other(const client_session_t *self, const broker_t *than, const call_t *call,
                         int64_t now_ms);
/* How many may be chosen. */
uint32_t client_brokers_up(const client_session_t *self);

/* ---- client_call.c */
uint64_t client_call_id(const call_t *call);
/* Takes it off its broker or out of the list that it waits in. */
void client_call_leave(call_t *call);
/* Sends a call, or lets it wait behind those that wait already. */
void client_call_send(client_session_t *self, call_t *call, int64_t now_ms);
/* Sends what waits, as far as it goes; flush_soon asks for that in a few milliseconds. */
void client_call_flush(client_session_t *self, int64_t now_ms);
void client_call_flush_soon(client_session_t *self, int64_t now_ms);
/* Ends it with an error of our own. */
void client_call_fail(client_session_t *self, call_t *call, weft_status_t status, const char *text);
/* The same, and tells the broker that may be busy with it. */
void client_call_abandon(client_session_t *self, call_t *call, weft_status_t status, const char *text,
                         int64_t now_ms);
/* A valid REPLY or PARTIAL for it: to the caller, or the call is tried again. */
void client_call_reply(client_session_t *self, call_t *call, const weft_message_t *message, zmq_msg_t *frame,
                       int64_t now_ms);

#endif
