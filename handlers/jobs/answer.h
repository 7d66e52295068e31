/* answer - a job as the result of a request */
#ifndef JOBS_ANSWER_H
#define JOBS_ANSWER_H

#include "watchers.h"

/* The job as result, with what its method said of its own result in the meta: result.http.status,
 * result.http.location. `input`: empty, or to be shown. */
void answer_job(weft_request_t *request, const known_job_t *job, bool replayed, weft_span_t input);
/* The same of a job that is just made or read. */
void answer_resource(weft_request_t *request, const resource_t *job, bool replayed, bool include_input);
/* http.status and http.location of an enqueue. */
void answer_accepted(weft_request_t *request, int64_t id, bool done);
/* An event of `watch`, sent as a part.  WEFT_OK, or that nobody wants more. */
weft_status_t answer_event(weft_request_t *request, const known_job_t *job);
weft_status_t answer_not_found(weft_request_t *request, int64_t id);

#endif
