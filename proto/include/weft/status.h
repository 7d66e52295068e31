/* status - the outcome of everything that can fail: the canonical gRPC codes, by number */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Marks a result that the caller has to look at. */
#define WEFT_MUST_CHECK __attribute__((warn_unused_result))
#define WEFT_PRINTF(format_index, first_argument)                                                            \
    __attribute__((format(printf, format_index, first_argument)))

/* Numbers are those of gRPC (google.rpc.Code) and travel on the wire; see proto/SPEC.md, Status. */
typedef enum {
    WEFT_OK = 0,
    WEFT_CANCELLED = 1,
    WEFT_UNKNOWN = 2,
    WEFT_INVALID_ARGUMENT = 3,
    WEFT_DEADLINE_EXCEEDED = 4,
    WEFT_NOT_FOUND = 5,
    WEFT_ALREADY_EXISTS = 6,
    WEFT_PERMISSION_DENIED = 7,
    WEFT_RESOURCE_EXHAUSTED = 8,
    WEFT_FAILED_PRECONDITION = 9,
    WEFT_ABORTED = 10,
    WEFT_OUT_OF_RANGE = 11,
    WEFT_UNIMPLEMENTED = 12,
    WEFT_INTERNAL = 13,
    WEFT_UNAVAILABLE = 14,
    WEFT_DATA_LOSS = 15,
    WEFT_UNAUTHENTICATED = 16
} weft_status_t;

#define WEFT_STATUS_MAX 16

/* The code's name as it stands in SPEC.md, "NOT_FOUND"; "UNKNOWN" for a number that is no code.
 * Static storage.  Any thread. */
const char *weft_status_name(weft_status_t status);

/* The HTTP status that a gateway answers with; 500 for a number that is no code.  Any thread. */
int weft_status_http(weft_status_t status);

/* The code of that number; WEFT_UNKNOWN for a number that is no code.  Any thread. */
weft_status_t weft_status_from_number(uint64_t number);

/* Looks a code up by its name.  False, *status untouched, when there is none.  Any thread. */
bool weft_status_from_name(const char *name, weft_status_t *status) WEFT_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
