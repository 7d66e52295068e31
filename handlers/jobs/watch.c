/* watch - GET /v1/jobs/{id}/events: what happens to a job, until it is done */
#include "answer.h"
#include "jobs.h"
#include "lookup.h"
#include "methods.h"

weft_status_t
jobs_watch(weft_request_t *request, void *app)
{
    struct jobs *jobs = app;
    weft_status_t status;
    int64_t id = lookup_id(request);
    weft_span_t after = weft_mp_get_str(weft_input(request), "after");
    PGresult *rows = lookup_job(request, id, &status); /* an unknown job is an error, not an empty stream */
    if (!rows)
        return status;
    PQclear(rows);
    subscriber_t *watch = subscriber_new(SUBSCRIBER_WATCH, request, id);
    if (!watch)
        return weft_fail(request, WEFT_RESOURCE_EXHAUSTED, "out of memory");
    if (!after.data)
        after = weft_request_meta(request, "last-event-id");
    (void) resource_event_parse(after, &watch->after); /* one that is none: from the beginning */
    watch->request = weft_request_keep(request);
    loop_subscribe(jobs->loop, &watch);
    return WEFT_OK;
}
