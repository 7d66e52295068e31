/* jobs_queues - weft jobs queues, pause, resume, limit: a queue for each service */
#include <string.h>

#include <weft/config.h>

#include "cli/jobs.h"
#include "cli/show.h"

static const show_column_t QUEUES[] = {
    { "SERVICE", "service" },
    { "WORKERS", "workers" },
    { "QUEUED", "queued" },
    { "RUNNING", "running" },
    { "SCHEDULED", "scheduled" },
    { "OLDEST_MS", "oldest_ms" },
    { "LIMIT", "concurrency" },
    { "PER_KEY", "key_concurrency" },
    { "PAUSED", "paused" },
    { "REASON", "reason" },
    { .title = NULL },
};

static int
s_show_queues(weft_span_t result, const cli_options_t *options)
{
    (void) options;
    show_table(weft_mp_get(result, "queues"), QUEUES, "no queues");
    return EXIT_FINE;
}

int
cli_jobs_queues(const cli_options_t *options)
{
    fields_t fields;
    fields_init(&fields);
    int status = jobs_once(options, "queues", &fields, s_show_queues);
    fields_fini(&fields);
    return status;
}

static int
s_show_queue(weft_span_t queue, const cli_options_t *options)
{
    (void) options;
    show_map(queue, 0);
    return EXIT_FINE;
}

/* The field `service` from the first argument; complains where it is no name. */
static bool
s_service(fields_t *fields, const cli_options_t *options)
{
    weft_span_t service = weft_span(options->arguments[0]);
    if (!weft_service_valid(service)) {
        cli_complain("'%.80s' is no name of a service", options->arguments[0]);
        return false;
    }
    fields_span(fields, "service", service);
    return true;
}

static int
s_on_queue(const cli_options_t *options, const char *method)
{
    fields_t fields;
    int status = EXIT_USAGE;
    fields_init(&fields);
    if (s_service(&fields, options)) {
        fields_text(&fields, "reason", options->reason);
        status = jobs_once(options, method, &fields, s_show_queue);
    }
    fields_fini(&fields);
    return status;
}

int
cli_jobs_pause(const cli_options_t *options)
{
    return s_on_queue(options, "pause");
}

int
cli_jobs_resume(const cli_options_t *options)
{
    return s_on_queue(options, "resume");
}

/* "none" or a number; complains of anything else. */
static bool
s_limit(fields_t *fields, const char *key, const char *option, const char *text)
{
    int64_t number = 0;
    if (!text) {
        return true;
    }
    if (strcmp(text, "none") == 0) {
        fields_nil(fields, key);
        return true;
    }
    if (!weft_parse_int(text, 1, WEFT_CAPACITY_MAX, &number)) {
        cli_complain("--%s: '%.40s' is neither none nor a number from 1 to %d", option, text,
                     WEFT_CAPACITY_MAX);
        return false;
    }
    fields_number(fields, key, number, 0);
    return true;
}

int
cli_jobs_limit(const cli_options_t *options)
{
    fields_t fields;
    int status = EXIT_USAGE;
    if (!options->concurrency && !options->key_concurrency) {
        cli_complain("jobs limit: which? --concurrency N|none, --key-concurrency N|none");
        return EXIT_USAGE;
    }
    fields_init(&fields);
    if (s_service(&fields, options) && s_limit(&fields, "concurrency", "concurrency", options->concurrency) &&
        s_limit(&fields, "key_concurrency", "key-concurrency", options->key_concurrency)) {
        status = jobs_once(options, "limit", &fields, s_show_queue);
    }
    fields_fini(&fields);
    return status;
}
