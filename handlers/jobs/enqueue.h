/* enqueue - one enqueue between its request and the commit */
#ifndef JOBS_ENQUEUE_H
#define JOBS_ENQUEUE_H

#include "batch.h"
#include "inbox.h"
#include "watchers.h"

typedef struct {
    inbox_node_t node; /* first */
    weft_request_t *request;
    int64_t arrived_us; /* mono */
    insert_row_t row;   /* until the engine has it */
    int64_t delay_ms;   /* shown.run_us where that is known, else so long after the commit */
    int64_t until_us;   /* waits for the job's end until then, mono; 0: does not */
    resource_t shown;   /* what is answered of a new job; texts point into the request's input */
    bool idempotent;    /* has a scope and key */
    bool draining;      /* set by the loop: do not wait */
} enqueue_t;

void enqueue_destroy(enqueue_t **self_p);

/* The end of it, on the loop's thread.  Finishes the request, unless the answer has to wait for the job: then
 * *waits is the subscriber, for watchers_add. `now_us`: mono; created_us: the database's. */
void enqueue_end(enqueue_t *self, weft_status_t status, bool executed_maybe, insert_end_t end, int64_t id,
                 int64_t created_us, int64_t now_us, subscriber_t **waits);
/* Answers with the job as it was made: nobody can wait now. */
void enqueue_answer(enqueue_t *self, int64_t id);

#endif
