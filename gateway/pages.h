/* pages - what the gateway answers itself: services, health, metrics */
#ifndef GATEWAY_PAGES_H
#define GATEWAY_PAGES_H

#include "gateway/exchange.h"

void pages_health(exchange_t *self);
void pages_ready(exchange_t *self);
void pages_metrics(exchange_t *self);
/* GET /v1/services: one line per service. */
void pages_services(exchange_t *self, const snapshot_t *snapshot);
/* GET /v1/services/{service}: with methods, schemas and routes. */
void pages_service(exchange_t *self, const snapshot_t *snapshot, const catalog_row_t *row);

#endif
