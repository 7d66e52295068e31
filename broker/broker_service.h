/* broker_service - the service weft.broker: what this broker knows and how it is */
#ifndef WEFT_BROKER_BROKER_SERVICE_H
#define WEFT_BROKER_BROKER_SERVICE_H

#include "broker/core.h"

/* Answers a request for it, or begins a watch. */
void broker_service_request(dispatcher_t *self, request_t *request, const weft_message_t *message);

#endif
