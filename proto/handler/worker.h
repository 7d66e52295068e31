/* worker - runs the worker session on the bus: requests to the pool, replies to the brokers */
#ifndef WEFT_HANDLER_WORKER_H
#define WEFT_HANDLER_WORKER_H

#include "bus/bus.h"
#include "handler/service.h"

typedef struct worker worker_t;

typedef struct {
    const char *brokers;
    uint32_t threads;  /* of the pool */
    uint32_t capacity; /* granted to each broker; 0: as capacity.h finds */
    struct pg_config *database;
    int event_fd; /* eventfd that is written to when draining or abandoning has ended */
} worker_config_t;

/* Starts the pool and connects to the brokers; registers with each as soon as it is up.  NULL with the reason
 * logged. Caller destroys. */
worker_t *worker_new(weft_bus_t *bus, service_t *service, const worker_config_t *config);
/* After worker_drained or worker_abandon.  Joins the pool. */
void worker_destroy(worker_t **self_p);

/* Brokers that accepted every registration.  Any thread. */
uint32_t worker_brokers(const worker_t *self);
/* A counter that moves while the bus thread lives.  Any thread. */
uint64_t worker_ticks(const worker_t *self);

/* Asks the brokers for no more; event_fd is written when all that is held has been answered.  Any thread. */
void worker_drain(worker_t *self);
bool worker_drained(const worker_t *self);
/* Logs what is still held and says BYE; event_fd is written behind it.  Any thread. */
void worker_abandon(worker_t *self);
bool worker_abandoned(const worker_t *self);

#endif
