/* outliers - gives less to workers that are slow, and for a while nothing to those that fail
 *
 * What health.h measures becomes a penalty for the balancer, an ejection, a return.  Sources: ejection by
 * failures in a row, for a time that grows, of a limited share of the workers: Envoy's outlier detection and
 * the circuit breaker of Nygard (Release It!, 2007), whose half-open state PROBATION is; load scaled by
 * latency: Finagle's peak EWMA; slow start: Envoy and HAProxy.  README.md says how they differ here.
 * O(log n) per reply; medians and what depends on the time are O(n) per service that works, four times a
 * second. */
#ifndef WEFT_BROKER_OUTLIERS_H
#define WEFT_BROKER_OUTLIERS_H

#include "broker/core.h"

/* A worker joined the service, or changed what it said. */
void outliers_registered(dispatcher_t *self, service_t *service, worker_t *worker);
/* After workers of the service left or changed: whoever is out and cannot be spared any more is taken back.
 */
void outliers_settle(dispatcher_t *self, service_t *service);

/* A request was handed to the offer's worker. */
static inline void
outliers_handed(dispatcher_t *self, request_t *request, offer_t *offer)
{
    request->handed_us = (uint32_t) self->now;
    offer->health.handed_at = self->now;
    offer->health.handed_after = offer->service->requests;
    offer->health.probe = false;
}

/* The worker's final reply to a request whose client waits; before the frame is moved on. */
void outliers_replied(dispatcher_t *self, const request_t *request, const weft_message_t *reply);
/* The worker did not answer in time. */
void outliers_overdue(dispatcher_t *self, const request_t *request);

/* The deadline of them all. */
void outliers_due(dispatcher_t *self);

/* Whether a worker more may be out: for dispatcher_check as well. */
uint32_t outliers_most(const dispatcher_config_t *config, uint32_t workers);
/* How many others that have the same methods are not out. */
uint32_t outliers_kin(const offer_t *offer);

#endif
