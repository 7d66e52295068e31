/* ending - how requests end: answered, cancelled, expired, lost; and what their clients and workers are owed
 * then */
#ifndef WEFT_BROKER_ENDING_H
#define WEFT_BROKER_ENDING_H

#include "broker/core.h"

/* Answers a request with an error and lets go of it. */
void ending_fail(dispatcher_t *self, request_t *request, weft_status_t status, const char *message);
/* The same with details: one encoded value. */
void ending_fail_details(dispatcher_t *self, request_t *request, weft_status_t status, const char *message,
                         weft_span_t details);

/* The client has its answer, or is gone: frees the request, or leaves it to the worker that holds it. */
void ending_let_go(dispatcher_t *self, request_t *request);
/* Gives the credit back and takes the request off the worker. */
void ending_credit(dispatcher_t *self, request_t *request);

/* The client's pipe was full: it gets RESOURCE_EXHAUSTED as soon as there is room. */
void ending_owe(dispatcher_t *self, request_t *request);
/* Tries again what a client is owed. */
void ending_settle_client(dispatcher_t *self, client_t *client);

/* CANCEL to the worker that holds the request. */
void ending_cancel(dispatcher_t *self, request_t *request);
/* Those CANCELs that found the worker's pipe full. */
void ending_cancel_again(dispatcher_t *self, worker_t *worker);

/* The worker that holds it is gone: it is handed to another, or answered. */
void ending_worker_lost(dispatcher_t *self, request_t *request);
/* Its deadline: the ttl, or what the state made of it. */
void ending_expire(dispatcher_t *self, request_t *request);

#endif
