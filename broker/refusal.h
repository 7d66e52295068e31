/* refusal - why a request may not wait, told to its caller with the time after which to try again */
#ifndef WEFT_BROKER_REFUSAL_H
#define WEFT_BROKER_REFUSAL_H

#include "broker/core.h"

/* Answers RESOURCE_EXHAUSTED, executed "no"; or UNAVAILABLE, "maybe", where a worker had it already.  Counts
 * the cause.  `after_us`: when trying again makes sense, as far as is known. */
void refusal_answer(dispatcher_t *self, request_t *request, backlog_refusal_t cause, int64_t after_us);

#endif
