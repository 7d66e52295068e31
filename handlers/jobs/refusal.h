/* refusal - errors whose details name the places in the input that are wrong, as the SDK's own have them */
#ifndef JOBS_REFUSAL_H
#define JOBS_REFUSAL_H

#include <weft/handler.h>
#include <weft/schema.h>

/* INVALID_ARGUMENT with details {"errors": [{"pointer", "message"}]}, each pointer with `prefix` before it;
 * to be returned.  Says that nothing was executed. */
weft_status_t refusal_report(weft_request_t *request, const weft_schema_report_t *report, const char *prefix,
                             const char *text);
/* The same with one place. */
weft_status_t refusal_at(weft_request_t *request, const char *pointer, const char *message);
/* details {"reason": reason}: for `code`, to be returned. */
weft_status_t refusal_reason(weft_request_t *request, weft_status_t code, const char *reason,
                             const char *text);

#endif
