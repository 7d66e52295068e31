/* gauges - copies what the dispatcher counts into metrics, which other threads read
 *
 * The dispatcher is the loop's alone; metrics are atomics.  So the loop publishes a few times a second, and
 * the operator's endpoint never touches the dispatcher. */
#ifndef WEFT_BROKER_GAUGES_H
#define WEFT_BROKER_GAUGES_H

#include "broker/dispatcher.h"
#include "broker/sockets.h"

typedef struct gauges gauges_t;

/* Series of at most services_max services; what comes later is not shown on its own.  NULL without memory. */
gauges_t *gauges_new(const dispatcher_t *dispatcher, uint32_t services_max);
void gauges_destroy(gauges_t **self_p);

/* The loop's thread only. */
void gauges_publish(gauges_t *self, const dispatcher_t *dispatcher, const sockets_t *sockets);

/* For dispatcher_on_wait: a histogram; `context` is the gauges_t. */
void gauges_on_wait(void *context, int64_t wait_us);

#endif
