/* stream - a streaming method's replies as server-sent events or lines of JSON */
#ifndef GATEWAY_STREAM_H
#define GATEWAY_STREAM_H

#include "gateway/exchange.h"

/* Runs a streaming method.  Accept decides the form, the first of these that it lists:
 *   text/event-stream      each partial is an event `data: JSON`; the end is `event: done` with the final
 * result; an error is `event: error` with a problem.  A comment is sent after 15 s of silence.
 *   application/x-ndjson   (also for anything and for none) each partial is a line, so is a final result that
 * is not null; an error is a last line {"problem": {...}}. application/json       collected, up to 1 MiB:
 * {"partials": [...], "result": ...} Anything else is 406.  An error before anything was sent is an ordinary
 * problem response. */
void stream_run(exchange_t *self, const method_t *method);

#endif
