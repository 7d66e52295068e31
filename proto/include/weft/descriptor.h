/* descriptor - how a service describes itself when it registers; SPEC.md, Descriptor */
#ifndef WEFT_DESCRIPTOR_H
#define WEFT_DESCRIPTOR_H

#include <weft/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_METHODS_MAX 1024 /* of one service */
#define WEFT_BINDINGS_MAX 8   /* of one method */
#define WEFT_VERSION_MAX 64   /* bytes of a version */

/* "GET /v1/notes/{id}": verb and path template as written. */
typedef struct {
    weft_span_t verb; /* GET POST PUT PATCH DELETE */
    weft_span_t path; /* begins with /v1/, segments literal or {name} */
} weft_http_binding_t;

#define WEFT_JOB_ATTEMPTS_MAX 1000
#define WEFT_JOB_KEEP_MAX_MS 7776000000ull /* 90 days */

/* How calls of a method that wait in the queue are made: key `job` of its row (handlers/jobs/README.md).  0:
 * not said, the jobs service has defaults.  A job may ask for another max_attempts, timeout_ms and keep_ms.
 */
typedef struct {
    uint32_t max_attempts;   /* 1 to WEFT_JOB_ATTEMPTS_MAX */
    uint32_t timeout_ms;     /* of one attempt, up to WEFT_TTL_MAX_MS */
    uint32_t backoff_ms;     /* before the second attempt, doubled for each later one; up to a day */
    uint32_t backoff_max_ms; /* and no longer than this; not below backoff_ms */
    uint64_t keep_ms;        /* how long what became of a job can be read, up to WEFT_JOB_KEEP_MAX_MS */
    uint32_t concurrency;    /* jobs that run at once, up to WEFT_CAPACITY_MAX */
    uint32_t final_codes;    /* WEFT_CODE(...) | ...: errors that are not tried again; WEFT_FINAL_NONE */
} weft_job_options_t;
/* A set of status codes as bits. */
#define WEFT_CODE(status) (1u << (status))
/* No error is final (an empty list; bit 0 stands for no error). */
#define WEFT_FINAL_NONE WEFT_CODE(WEFT_OK)

typedef struct {
    weft_span_t name;
    weft_span_t summary;
    weft_span_t input;  /* an encoded JSON Schema; empty: anything goes */
    weft_span_t output; /* the same */
    weft_span_t scope;
    weft_http_binding_t http[WEFT_BINDINGS_MAX];
    uint32_t http_count;
    uint32_t timeout_ms; /* 0: not said */
    bool idempotent;
    bool streaming;
    weft_job_options_t job;
} weft_descriptor_method_t;

/* A parsed descriptor; owns a copy of the encoded bytes, to which its spans point. */
typedef struct {
    weft_span_t bytes;
    weft_span_t name;
    weft_span_t version;  /* semantic, "1.4.2" */
    weft_span_t instance; /* random text of the process; at most 64 bytes */
    weft_descriptor_method_t *methods;
    uint32_t method_count;
} weft_descriptor_t;

/* Checks and copies an encoded descriptor: required keys, types, names, versions, duplicate methods, HTTP
 * bindings (verbs, templates, under /v1/, not reserved: /v1/call /v1/services, and /v1/jobs /v1/schedules but
 * for the service `jobs`; no two that match the same requests), options of jobs. Unknown keys are allowed and
 * kept.  Schemas are only checked to be maps or booleans: weft_schema_new compiles them. NULL with a text
 * naming field and rule in `why` (of `why_size` bytes).  Caller destroys. */
weft_descriptor_t *weft_descriptor_new(weft_span_t bytes, char *why, size_t why_size);
void weft_descriptor_destroy(weft_descriptor_t **self_p);

/* NULL when there is none of that name. */
const weft_descriptor_method_t *weft_descriptor_method(const weft_descriptor_t *self, weft_span_t name);

/* True when `text` is a semantic version (semver.org 2.0.0). */
bool weft_version_valid(weft_span_t text);

/* Semantic version order, < 0, 0, > 0 (semver.org 2.0.0, section 11).  What is none stands below all that
 * are. */
int weft_version_compare(weft_span_t a, weft_span_t b);

#ifdef __cplusplus
}
#endif
#endif
