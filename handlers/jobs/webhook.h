/* webhook - tells receivers that jobs are done: a thread that takes due rows of weft_job_callback and
 * delivers them
 *
 * A row is taken by moving its next_at ahead: a lease, after which any replica tries again.  So each
 * completion is delivered at least once, under one webhook-id. */
#ifndef JOBS_WEBHOOK_H
#define JOBS_WEBHOOK_H

#include <weft/config.h>

#include "callback.h"
#include "signature.h"

/* From the environment; a row of these in the program's settings: WEBHOOK_SETTINGS(config). */
typedef struct {
    const char *secret;
    const char *allow;
    const char *ca_file;
    int64_t concurrency;
} webhook_settings_t;
#define WEBHOOK_CONCURRENCY_MAX 256

/* clang-format off */
#define WEBHOOK_SETTINGS(settings)                                                                            \
    { .env = "WEFT_WEBHOOK_SECRET", .type = WEFT_SETTING_STRING, .value = &(settings).secret, .fallback = "", \
      .help = "signs webhooks: whsec_BASE64 of 24 to 64 bytes; several, separated by spaces, all sign; "      \
              "empty: no webhooks" },                                                                         \
    { .env = "WEFT_WEBHOOK_ALLOW", .type = WEFT_SETTING_STRING, .value = &(settings).allow, .fallback = "",   \
      .help = "what webhooks may reach beyond https at public addresses: loopback, private, http, networks "  \
              "such as 10.1.0.0/16" },                                                                        \
    { .env = "WEFT_WEBHOOK_CA", .type = WEFT_SETTING_STRING, .value = &(settings).ca_file, .fallback = "",    \
      .help = "file of certificates (PEM) that receivers' are checked against; empty: those of the system" }, \
    { .env = "WEFT_WEBHOOK_CONCURRENCY", .type = WEFT_SETTING_INT, .value = &(settings).concurrency,          \
      .fallback = "32", .help = "webhooks on the way at once", .min = 1, .max = WEBHOOK_CONCURRENCY_MAX }
/* clang-format on */

/* What the settings mean.  False with the reason in `why`, which shows no secret. */
bool webhook_read_settings(const webhook_settings_t *settings, callback_policy_t *policy,
                           signature_keys_t *keys, char *why, size_t why_size) WEFT_MUST_CHECK;

typedef struct webhook webhook_t;

typedef struct {
    const char *database_url; /* borrowed, as all below */
    bool prepare;             /* false behind a pooler */
    const callback_policy_t *policy;
    const signature_keys_t *keys;
    const char *ca_file; /* NULL or "": the system's */
    uint32_t concurrency;
} webhook_config_t;

/* Starts the thread.  curl_global_init(CURL_GLOBAL_DEFAULT) has been called, while there was one thread. NULL
 * with the reason logged.  Caller destroys. */
webhook_t *webhook_new(const webhook_config_t *config);
/* Takes nothing more, lets what is on the way end for up to 3 s, gives back the rest, joins the thread. */
void webhook_destroy(webhook_t **self_p);

/* There is a row: look now.  Any thread. */
void webhook_poke(webhook_t *self);

#endif
