/* load - what a broker says about the load of services at this moment
 *
 * With several brokers it is one broker's view: each counts what went through it. */
#ifndef GATEWAY_LOAD_H
#define GATEWAY_LOAD_H

#include <msgpack.h>

#include <weft/client.h>

typedef struct {
    weft_reply_t services; /* status WEFT_OK: the broker's answer */
    weft_reply_t workers;
} load_t;

/* Asks a broker; waits at most half a second for each answer.  What is not answered is shown as null.  Caller
 * runs load_fini. */
void load_ask(load_t *self, weft_client_t *client, bool with_workers);
void load_fini(load_t *self);

/* Packs two pairs, "outstanding" and "queued": requests at the service's workers and in the broker's queue,
 * or nil. */
void load_pack_service(const load_t *self, weft_span_t service, msgpack_packer *pk);
/* Packs an array: the service's workers as {instance, version, capacity, outstanding, load, draining}. */
void load_pack_instances(const load_t *self, weft_span_t service, msgpack_packer *pk);

#endif
