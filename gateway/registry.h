/* registry - follows the brokers' registry and gives each request an immutable snapshot of it
 *
 * One thread watches (weft.broker, method watch), applies the events to a catalog and publishes a snapshot.
 * Readers hold theirs by a hazard pointer (Michael, "Hazard Pointers", 2004): a request writes only to its
 * own cache line, and no reader waits for anybody. */
#ifndef GATEWAY_REGISTRY_H
#define GATEWAY_REGISTRY_H

#include <weft/client.h>

#include "gateway/catalog.h"

typedef struct registry registry_t;

/* A thread that reads snapshots.  Its memory is the thread's own and stays until registry_part. */
typedef struct registry_reader {
    _Alignas(64) _Atomic(const snapshot_t *) held;
    struct registry_reader *next;
} registry_reader_t;

/* Starts following.  `client` and `stats` outlive the registry.  NULL with the reason logged. */
registry_t *registry_new(weft_client_t *client, stats_t *stats);
/* No reader may be joined. */
void registry_destroy(registry_t **self_p);

void registry_join(registry_t *self, registry_reader_t *reader);
void registry_part(registry_t *self, registry_reader_t *reader);

/* The snapshot of now, valid until registry_leave by the same thread. */
const snapshot_t *registry_enter(registry_t *self, registry_reader_t *reader);
void registry_leave(registry_reader_t *reader);

/* True once a complete listing was read.  Any thread. */
bool registry_synced(const registry_t *self);

#endif
