/* engine_history - the error that a job ends with, and the errors of its attempts, as msgpack */
#ifndef JOBS_ENGINE_HISTORY_H
#define JOBS_ENGINE_HISTORY_H

#include <weft/buf.h>

/* {code, message, details?} from a status and the encoded body of an error reply (which may be empty). */
bool engine_history_error(weft_buf_t *out, weft_status_t status, weft_span_t body);
/* The same with a text of ours. */
bool engine_history_text(weft_buf_t *out, weft_status_t status, const char *message);
/* The array `before` (or nothing) and one more of {attempt, at_ms, code, message}; the last JOB_ERRORS_MAX.
 */
bool engine_history_add(weft_buf_t *out, weft_span_t before, int32_t attempt, int64_t at_ms,
                        weft_status_t status, weft_span_t message);

#endif
