/* harness - a dispatcher with a network of arrays around it: what tests of the broker say and expect
 *
 * Every step checks the dispatcher's invariants.  Times are milliseconds since the start. */
#ifndef WEFT_TESTS_BROKER_HARNESS_H
#define WEFT_TESTS_BROKER_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/dispatcher.h"

enum { HARNESS_PEERS = 64, HARNESS_SENT = 16384 };

typedef enum { PEER_WELL, PEER_FULL, PEER_GONE } harness_peer_t;

typedef struct {
    peer_t to;
    zmq_msg_t frame;
    bool taken;
} harness_sent_t;

typedef struct {
    dispatcher_t *dispatcher;
    int64_t now_us;
    harness_peer_t peers[2][HARNESS_PEERS];
    harness_sent_t sent[HARNESS_SENT];
    uint32_t sent_count;
    uint64_t empty_bytes;
    bool unchecked; /* skip dispatcher_check, where a test makes thousands of steps */
} harness_t;

/* DISPATCHER_DEFAULTS with the in-flight table small; change it before harness_new. */
dispatcher_config_t harness_config(void);
harness_t *harness_new(const dispatcher_config_t *config);
/* Lets all peers leave and time pass, and asserts that the dispatcher then holds nothing. */
void harness_free(harness_t *self);

/* ---- saying; `methods` is "get,put!,list": ! marks an idempotent one */
void harness_ready(harness_t *self, uint32_t worker, const char *service, const char *methods,
                   uint32_t capacity);
void harness_ready_version(harness_t *self, uint32_t worker, const char *service, const char *version,
                           const char *methods, uint32_t capacity);
void harness_request(harness_t *self, uint32_t client, uint64_t id, const char *service, const char *method,
                     uint32_t ttl_ms);

typedef struct {
    const char *service;
    const char *method;
    uint32_t ttl_ms;
    uint8_t priority;
    bool framed;
    size_t body_size;
    const char *tenant;
    const char *affinity;
} harness_call_t;
void harness_call(harness_t *self, uint32_t client, uint64_t id, const harness_call_t *call);
void harness_reply(harness_t *self, uint32_t worker, uint64_t id, weft_status_t status, uint32_t load);
void harness_partial(harness_t *self, uint32_t worker, uint64_t id);
/* CANCEL, PING (load: `number`), PONG, DRAIN, BYE. */
void harness_say(harness_t *self, side_t side, uint32_t peer, weft_kind_t kind, uint64_t id, uint32_t number);
void harness_bytes(harness_t *self, peer_t from, const void *data, size_t size, unsigned parts);
/* Lets time pass, ticking whenever the dispatcher wants it. */
void harness_wait(harness_t *self, int64_t ms);

/* ---- expecting */
/* The next message to that peer, not counting PINGs; fails when there is none.  Good until the harness ends.
 */
weft_message_t harness_take(harness_t *self, side_t side, uint32_t peer);
/* The same, but for its kind. */
weft_message_t harness_expect(harness_t *self, side_t side, uint32_t peer, weft_kind_t kind);
/* A REPLY with that id and status, and the `executed` of its body where it is not OK. */
weft_message_t harness_expect_reply(harness_t *self, uint32_t client, uint64_t id, weft_status_t status,
                                    const char *executed);
/* Nothing but PINGs for that peer. */
void harness_expect_nothing(harness_t *self, side_t side, uint32_t peer);
/* Any message to that peer, PINGs too; false when there is none. */
bool harness_take_any(harness_t *self, side_t side, uint32_t peer, weft_message_t *message, peer_t *to);
uint64_t harness_counter(const harness_t *self, const char *name, const char *labels);

#endif
