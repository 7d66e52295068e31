/* status - the one table of codes: number, name, HTTP status */
#include <weft/status.h>

#include <stddef.h>
#include <string.h>

/* Names: google.rpc.Code.  HTTP: the mapping of google/rpc/code.proto, but for FAILED_PRECONDITION, which is
 * most often a version that moved on: 412 says that.  499 is nginx's "client closed request". */
static const struct {
    const char *name;
    int http;
} CODES[WEFT_STATUS_MAX + 1] = {
    [WEFT_OK] = { "OK", 200 },
    [WEFT_CANCELLED] = { "CANCELLED", 499 },
    [WEFT_UNKNOWN] = { "UNKNOWN", 500 },
    [WEFT_INVALID_ARGUMENT] = { "INVALID_ARGUMENT", 400 },
    [WEFT_DEADLINE_EXCEEDED] = { "DEADLINE_EXCEEDED", 504 },
    [WEFT_NOT_FOUND] = { "NOT_FOUND", 404 },
    [WEFT_ALREADY_EXISTS] = { "ALREADY_EXISTS", 409 },
    [WEFT_PERMISSION_DENIED] = { "PERMISSION_DENIED", 403 },
    [WEFT_RESOURCE_EXHAUSTED] = { "RESOURCE_EXHAUSTED", 429 },
    [WEFT_FAILED_PRECONDITION] = { "FAILED_PRECONDITION", 412 },
    [WEFT_ABORTED] = { "ABORTED", 409 },
    [WEFT_OUT_OF_RANGE] = { "OUT_OF_RANGE", 400 },
    [WEFT_UNIMPLEMENTED] = { "UNIMPLEMENTED", 501 },
    [WEFT_INTERNAL] = { "INTERNAL", 500 },
    [WEFT_UNAVAILABLE] = { "UNAVAILABLE", 503 },
    [WEFT_DATA_LOSS] = { "DATA_LOSS", 500 },
    [WEFT_UNAUTHENTICATED] = { "UNAUTHENTICATED", 401 },
};

/* An enum from the wire may hold any number. */
static bool
s_is_code(weft_status_t status)
{
    return (unsigned) status <= WEFT_STATUS_MAX;
}

const char *
weft_status_name(weft_status_t status)
{
    return s_is_code(status) ? CODES[status].name : CODES[WEFT_UNKNOWN].name;
}

int
weft_status_http(weft_status_t status)
{
    return s_is_code(status) ? CODES[status].http : 500;
}

weft_status_t
weft_status_from_number(uint64_t number)
{
    return number <= WEFT_STATUS_MAX ? (weft_status_t) number : WEFT_UNKNOWN;
}

bool
weft_status_from_name(const char *name, weft_status_t *status)
{
    for (size_t i = 0; i <= WEFT_STATUS_MAX; i++) {
        if (strcmp(name, CODES[i].name) == 0) {
            *status = (weft_status_t) i;
            return true;
        }
    }
    return false;
}
