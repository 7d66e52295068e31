/* methods - the functions of the service; each has a file of its own, the table in main.c says what it
 * expects
 *
 * `app` is the struct jobs of jobs.h. */
#ifndef JOBS_METHODS_H
#define JOBS_METHODS_H

#include <weft/handler.h>

weft_status_t jobs_enqueue(weft_request_t *request, void *app);
weft_status_t jobs_get(weft_request_t *request, void *app);
weft_status_t jobs_list(weft_request_t *request, void *app);
weft_status_t jobs_watch(weft_request_t *request, void *app);
weft_status_t jobs_cancel(weft_request_t *request, void *app);
weft_status_t jobs_retry(weft_request_t *request, void *app);
weft_status_t jobs_redrive(weft_request_t *request, void *app);
weft_status_t jobs_queues(weft_request_t *request, void *app);
weft_status_t jobs_pause(weft_request_t *request, void *app);
weft_status_t jobs_resume(weft_request_t *request, void *app);
weft_status_t jobs_limit(weft_request_t *request, void *app);

#endif
