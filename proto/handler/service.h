/* service - a service's method table made ready to serve: descriptor, compiled schemas, metrics */
#ifndef WEFT_HANDLER_SERVICE_H
#define WEFT_HANDLER_SERVICE_H

#include <stdatomic.h>

#include <weft/descriptor.h>
#include <weft/handler.h>
#include <weft/schema.h>

/* A row of the table with what belongs to it. */
typedef struct {
    const weft_method_t *row; /* NULL: the one that stands for all unknown methods */
    weft_schema_t *input;     /* NULL: anything */
    const char *name;
    weft_metric_t *duration;
    weft_metric_t *in_flight;
    _Atomic(weft_metric_t *) requests[WEFT_STATUS_MAX + 1]; /* by code, made when first needed */
} method_t;

typedef struct {
    const weft_service_t *row;
    weft_descriptor_t *descriptor;
    method_t *methods; /* sorted by name */
    uint32_t method_count;
    method_t unknown;
    weft_metric_t *wait;
    /* for capacity.h: what threads have spent in methods, how often these began and ended */
    _Atomic uint64_t busy_us, begun, runs;
} service_t;

/* Builds the descriptor from the table and compiles all schemas.  NULL with the reason, naming method and
 * JSON pointer, in `why`.  `row` is borrowed for good.  Caller destroys. */
service_t *service_new(const weft_service_t *row, char *why, size_t why_size);
void service_destroy(service_t **self_p);

/* The method of that name, or &self->unknown.  Any thread. */
method_t *service_method(service_t *self, weft_span_t name);

/* Counts one ended request.  Any thread. */
void service_count(service_t *self, method_t *method, weft_status_t status, int64_t handler_us);

#endif
