/* loop - the thread that owns engine, store and watchers: what comes in from others, what goes out to
 * database and brokers */
#ifndef JOBS_LOOP_H
#define JOBS_LOOP_H

#include "directory.h"
#include "enqueue.h"

typedef struct loop loop_t;

typedef struct {
    weft_handler_t *handler;
    const char *brokers; /* WEFT_BROKERS */
    directory_t *directory;
    int64_t lease_ms;
    uint32_t waits_max; /* requests that wait for jobs or watch them */
    void *context;
    void (*joined)(void *context, int32_t replica); /* 0: no more; the loop's thread */
    void (*finished)(void *context); /* jobs have ended: callbacks may be due; the loop's thread */
} loop_config_t;

/* NULL with the reason logged.  The thread begins with loop_start. */
loop_t *loop_new(const loop_config_t *config);
bool loop_start(loop_t *self) WEFT_MUST_CHECK;
/* Joins the thread, whatever it was at. */
void loop_destroy(loop_t **self_p);

/* ---- any thread ---- */
/* Takes *enqueue_p; its request is finished by the loop. */
void loop_enqueue(loop_t *self, enqueue_t **enqueue_p);
/* Takes *subscriber_p, of GET or WATCH; its request is finished by the loop. */
void loop_subscribe(loop_t *self, subscriber_t **subscriber_p);
/* A job of this queue was queued, a held one freed. */
void loop_poke(loop_t *self, int32_t queue);
/* Somebody asked for its cancel. */
void loop_cancel(loop_t *self, int64_t id);
/* It ended by SQL. */
void loop_done(loop_t *self, int64_t id);
void loop_set_queue(loop_t *self, const engine_queue_t *queue);
void loop_set_method(loop_t *self, const engine_method_t *method);
/* Has a lease that was renewed lately: jobs can be taken and run here. */
bool loop_ready(const loop_t *self);

/* ---- leaving ---- */
/* Answers everybody who waits, at once and from now on. */
void loop_end_waits(loop_t *self);
/* Begins to release what has not begun and to wait for what runs; true when all is done. */
bool loop_drained(loop_t *self);

#endif
