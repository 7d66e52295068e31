/* webhook_client - POSTs to addresses of strangers: many at once, none trusted
 *
 * libcurl's multi interface.  Only https, or http where the policy says so; no redirects, no proxies, no
 * cookies, nothing from the environment.  The address is checked when it is connected to: whatever the name
 * meant before.  Not thread-safe: one thread. */
#ifndef JOBS_WEBHOOK_CLIENT_H
#define JOBS_WEBHOOK_CLIENT_H

#include "address.h"

typedef struct webhook_client webhook_client_t;

typedef struct {
    const address_policy_t *policy; /* borrowed */
    const char *ca_file;            /* certificates of authorities, PEM; NULL: those of the system */
    int64_t timeout_ms;             /* of a whole delivery; 0: 15,000 */
    int64_t connect_timeout_ms;     /* of finding and connecting; 0: 5,000 */
    size_t response_max;            /* bytes that are read of a response; 0: 65,536 */
} webhook_client_config_t;

/* NULL when libcurl gives none.  curl_global_init has been called.  Caller destroys: what is on the way is
 * cut. */
webhook_client_t *webhook_client_new(const webhook_client_config_t *config);
void webhook_client_destroy(webhook_client_t **self_p);

typedef struct {
    const char *url;
    const char *id;        /* of the headers webhook-id, */
    int64_t timestamp_s;   /* webhook-timestamp, */
    const char *signature; /* and webhook-signature */
    weft_span_t body;      /* JSON */
} webhook_post_t;

/* Begins a delivery; all is copied.  `context` comes back with its result.  False without memory. */
bool webhook_client_post(webhook_client_t *self, const webhook_post_t *post, void *context) WEFT_MUST_CHECK;

typedef struct {
    void *context;
    long status;           /* of HTTP; 0: there was no response */
    int64_t retry_after_s; /* what it said, or -1 */
    int64_t duration_us;
    bool refused;    /* the address was not allowed: nobody was connected to */
    char error[200]; /* where status is 0: why; holds no address */
} webhook_result_t;

/* A delivery that ended; false: none. */
bool webhook_client_next(webhook_client_t *self, webhook_result_t *result);
uint32_t webhook_client_in_flight(const webhook_client_t *self);
/* Works until something ended, `fd` is readable or timeout_ms are over. */
void webhook_client_wait(webhook_client_t *self, int fd, int timeout_ms);

#endif
