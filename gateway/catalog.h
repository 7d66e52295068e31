/* catalog - what is known of services, from the events of a broker's watch, and immutable snapshots of it
 *
 * Events come in on one thread; requests read snapshots.  A service is in one of three states: serving;
 * without workers (its routes stay, calls are answered 503 soon); forgotten (404), when the only broker says
 * `gone`, or when it has been missing for CATALOG_GRACE_MS: a complete new listing lacked it (brokers that
 * restarted learn of their workers within that), or one of several brokers said `gone`. */
#ifndef GATEWAY_CATALOG_H
#define GATEWAY_CATALOG_H

#include <weft/descriptor.h>
#include <weft/schema.h>

#include "gateway/route.h"
#include "gateway/stats.h"

#define CATALOG_GRACE_MS 10000
#define CATALOG_SERVICES_MAX 4096

typedef struct service service_t;

/* A method, compiled.  Lives as long as a snapshot that has it. */
typedef struct {
    const weft_descriptor_method_t *about;
    const service_t *service;
    weft_schema_t *input; /* NULL: it has none, or `refused` says why there is none */
    char *refused;        /* why calls are refused; NULL: they are not */
    stats_method_t *stats;
} method_t;

/* One registration's descriptor, compiled.  Reference-counted, immutable. */
struct service {
    _Atomic uint32_t refs;
    weft_descriptor_t *descriptor;
    method_t *methods;
    stats_method_t *stats;
    uint32_t refused_count;
};

typedef struct {
    char name[WEFT_SERVICE_MAX + 1];
    service_t *service;
    uint64_t order; /* of first registration: who came first keeps a contested route */
    uint32_t workers;
    uint32_t capacity;
    bool conflict;      /* its workers disagree about the descriptor */
    bool listed;        /* seen since the watch began */
    int64_t idle_at;    /* mono ms when the last worker left; 0: has workers */
    int64_t missing_at; /* mono ms when a complete listing lacked it; 0: it did not */
} catalog_row_t;

typedef struct {
    catalog_row_t *rows; /* by name */
    uint32_t row_count;
    route_table_t *table;
    route_t *routes; /* every declared binding, shadowed ones too; target is a method_t */
    uint32_t route_count;
    uint32_t shadowed_count;
    uint32_t refused_count;
    bool synced; /* a whole listing was read since the program began */
} snapshot_t;

typedef struct catalog catalog_t;

catalog_t *catalog_new(void);
void catalog_destroy(catalog_t **self_p);

/* A new watch begins: what it does not list until `synced` is missing. */
void catalog_listing(catalog_t *self);
/* Applies one event (checked msgpack).  True when a new snapshot is due.  Malformed or unknown ones are
 * logged and ignored. */
bool catalog_apply(catalog_t *self, weft_span_t event, int64_t now_ms);
/* Forgets what has been missing for too long.  True when a new snapshot is due. */
bool catalog_expire(catalog_t *self, int64_t now_ms);
/* Are there other brokers than the one that is watched?  Then what it has forgotten is only missing: they may
 * know better. */
void catalog_set_others(catalog_t *self, bool others);
/* Is any service without workers, or missing? */
bool catalog_wanting(const catalog_t *self);

/* A copy of the state with its routes compiled; caller destroys.  NULL when memory ended. */
snapshot_t *catalog_snapshot(const catalog_t *self);
void snapshot_destroy(snapshot_t **self_p);

/* NULL when unknown. */
const catalog_row_t *snapshot_find(const snapshot_t *self, weft_span_t name);
const method_t *catalog_row_method(const catalog_row_t *row, weft_span_t name);

#endif
