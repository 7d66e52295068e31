/* lookup - reads one job on a pool thread */
#ifndef JOBS_LOOKUP_H
#define JOBS_LOOKUP_H

#include "resource.h"

/* The field `id` of the input; 0 where it is none that can be. */
int64_t lookup_id(const weft_request_t *request);
/* The job's row, for resource_read; NULL with weft_fail and *status set, NOT_FOUND where there is none.
 * Caller clears. */
PGresult *lookup_job(weft_request_t *request, int64_t id, weft_status_t *status);
/* Reads it and makes it the result. */
weft_status_t lookup_answer(weft_request_t *request, int64_t id, bool include_input);

#endif
