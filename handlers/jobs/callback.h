/* callback - which URLs may be called back, and when a delivery is tried again
 *
 * Deliveries themselves are in webhook.h. */
#ifndef JOBS_CALLBACK_H
#define JOBS_CALLBACK_H

#include <weft/clock.h>
#include <weft/handler.h>

#include "address.h"

#define CALLBACK_URL_MAX 2048    /* bytes */
#define CALLBACK_ATTEMPTS_MAX 12 /* then it is given up, some 76 hours after the first */

typedef struct {
    bool enabled; /* there is a secret to sign with */
    address_policy_t addresses;
} callback_policy_t;

/* Says in `why` what is wrong with a URL: its form, its scheme, an address in it that is not allowed.  Names
 * are looked at only when they are connected to: what they mean may change until then.  True: nothing.  Any
 * thread. */
bool callback_check(const callback_policy_t *policy, weft_span_t url, char *why,
                    size_t why_size) WEFT_MUST_CHECK;

/* The same for the field callback_url of a request, with weft_fail: INVALID_ARGUMENT, or FAILED_PRECONDITION
 * while there is no secret. */
weft_status_t callback_admit(const callback_policy_t *policy, weft_request_t *request, weft_span_t url);

/* Milliseconds to wait after attempt number `attempt` (from 1) failed; -1: it was the last one.
 * retry_after_s: what the receiver asked for, or a negative number: at least that long, but a day at most.
 * With a jitter of a fifth. */
int64_t callback_delay_ms(uint32_t attempt, int64_t retry_after_s, weft_rng_t *rng);

#endif
