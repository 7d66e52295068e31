/* endpoint - a comma-separated list of tcp://HOST:PORT and ipc://PATH, taken apart */
#ifndef WEFT_ENDPOINT_H
#define WEFT_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>

#define ENDPOINTS_MAX 16
#define ENDPOINT_ADDRESS_MAX 128 /* bytes of an address with its NUL; an ipc path has at most 107 */

typedef struct {
    char host[254]; /* a name to resolve; empty: `address` is what to connect to */
    char port[6];
    char address[ENDPOINT_ADDRESS_MAX];
} endpoint_t;

/* Takes `text` apart into at most ENDPOINTS_MAX entries.  0 with the reason in `why` when any of it is
 * malformed. Any thread. */
size_t endpoint_parse(const char *text, endpoint_t endpoints[ENDPOINTS_MAX], char *why, size_t why_size);

/* Writes "tcp://IP:PORT", with brackets around an IPv6 literal.  False when it does not fit. */
bool endpoint_address(char address[ENDPOINT_ADDRESS_MAX], const char *ip, const char *port) WEFT_MUST_CHECK;

#endif
