/* instant - points in time as RFC 3339 texts and as microseconds since 1970 */
#ifndef JOBS_INSTANT_H
#define JOBS_INSTANT_H

#include <weft/buf.h>
#include <weft/status.h>

#define INSTANT_NONE INT64_MIN

/* "2026-01-31T12:00:00.123+02:00"; a leap second counts as the one after it, digits beyond microseconds are
 * cut.  False, *us untouched, where it is none. */
bool instant_parse(weft_span_t text, int64_t *us) WEFT_MUST_CHECK;

#define INSTANT_TEXT 32
/* "2026-01-31T12:00:00.123Z", milliseconds in UTC; returns `text`.  Years beyond 9999 are shown as the last
 * instant of that year, those before 0000 as its first. */
const char *instant_text(int64_t us, char text[INSTANT_TEXT]);

#endif
