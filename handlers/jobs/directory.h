/* directory - which services and methods there are: ids, input schemas, options of jobs, workers
 *
 * Fed from two sides: the registry of a broker says what is there now, the database what was ever seen, and
 * gives the ids.  Any thread; locked inside.  SQL is in directory_sync. */
#ifndef JOBS_DIRECTORY_H
#define JOBS_DIRECTORY_H

#include <weft/descriptor.h>
#include <weft/handler.h>
#include <weft/watch.h>

#include "engine.h"

typedef struct directory directory_t;

/* News for the engine; called with the directory locked: copy, do not call back. */
typedef struct {
    void *context;
    void (*queue)(void *context, const engine_queue_t *queue);
    void (*method)(void *context, const engine_method_t *method);
    void (*unsaved)(void *context); /* directory_sync has something to do */
} directory_events_t;

directory_t *directory_new(const directory_events_t *events);
void directory_destroy(directory_t **self_p);

/* ---- for enqueue ---- */
typedef struct {
    int32_t queue;
    int32_t method;
    weft_job_options_t job; /* of the method; timeout_ms: never 0 */
    bool keyed;             /* the queue knows that its jobs may have a concurrency_key */
} directory_target_t;

/* Finds service and method and checks the input (encoded) against the method's schema.  `request` gets the
 * error: NOT_FOUND, INVALID_ARGUMENT with details.errors (pointers begin with /input), UNAVAILABLE while a
 * service is so new that it has no ids, which is waited for a little. */
weft_status_t directory_check(directory_t *self, weft_request_t *request, weft_span_t service,
                              weft_span_t method, weft_span_t input, directory_target_t *target);
/* The id of a service's queue; 0: unknown. */
int32_t directory_queue(directory_t *self, weft_span_t service);
/* Its workers, as a broker counts them. */
uint32_t directory_workers(directory_t *self, weft_span_t service);

/* ---- for calls ---- */
typedef struct {
    char service[WEFT_SERVICE_MAX + 1];
    char method[WEFT_METHOD_MAX + 1];
} directory_route_t;
/* The names behind ids; false where they are not known (yet). */
bool directory_route(directory_t *self, int32_t queue, int32_t method, directory_route_t *route);

/* ---- from the registry: the watch's thread ---- */
void directory_listing(directory_t *self);
void directory_event(directory_t *self, weft_span_t event);
/* Has a service lost its workers within the last WANTED_MS?  Another broker may know of some. */
bool directory_wanting(directory_t *self, int64_t now_ms);
/* The first listing is complete. */
bool directory_live(const directory_t *self);

/* ---- from the database ---- */
typedef struct {
    int32_t id;
    weft_span_t service;
    weft_span_t descriptor; /* empty: as it was */
    weft_span_t version;
    bool paused;
    uint32_t concurrency, key_concurrency; /* 0: not set */
    int32_t keeper;                        /* 0: none */
    int64_t serial;
} directory_queue_t;
/* The serial that is known of a queue; -1: not known. */
int64_t directory_serial(directory_t *self, int32_t queue);
void directory_set_queue(directory_t *self, const directory_queue_t *queue);
void directory_set_method(directory_t *self, int32_t queue, int32_t method, weft_span_t name);
/* Everything was read once; and again.  Wakes who waits for ids. */
void directory_synced(directory_t *self);
bool directory_loaded(const directory_t *self);

/* The next service whose descriptor the database does not have as the registry does, copied; caller destroys
 * *canonical.  False: none.  Calls `done` with it when it was stored. */
typedef struct {
    char service[WEFT_SERVICE_MAX + 1];
    weft_descriptor_t *descriptor; /* its bytes with the instance taken out: what is stored */
} directory_unsaved_t;
bool directory_next_unsaved(directory_t *self, directory_unsaved_t *unsaved, int64_t now_ms);

#endif
