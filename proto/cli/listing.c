/* listing - weft services, workers, stats: what the brokers know, as they say it */
#include <stdio.h>
#include <string.h>

#include "cli/each.h"
#include "cli/show.h"

static const show_column_t SERVICES[] = {
    { "SERVICE", "name" },      { "VERSION", "version" },   { "WORKERS", "workers" },
    { "CAPACITY", "capacity" }, { "BUSY", "outstanding" },  { "QUEUED", "queued" },
    { "REQUESTS", "requests" }, { "FAILURES", "failures" }, { "CONFLICT", "conflict" },
    { "METHODS", "methods" },   { .title = NULL },
};

static const show_column_t WORKERS[] = {
    { "INSTANCE", "instance" }, { "LOAD", "load" },           { "BUSY", "outstanding" },
    { "DRAINING", "draining" }, { "SILENT_MS", "silent_ms" }, { "SERVICES", "services" },
    { .title = NULL },
};

/* With several brokers, whose answer it is. */
static void
s_title(const char *endpoint, const cli_options_t *options)
{
    if (strchr(options->brokers, ',')) {
        (void) printf("%s\n", endpoint);
    }
}

static int
s_list(weft_client_t *client, const char *endpoint, const cli_options_t *options, const char *method,
       const show_column_t *columns)
{
    weft_reply_t reply;
    int status = EXIT_FINE;
    if (cli_ask(client, method, options, &reply) != WEFT_OK) {
        cli_complain("%s did not answer", endpoint);
        status = cli_failed(&reply);
    } else if (options->json) {
        status = show_json(reply.body) ? EXIT_FINE : EXIT_FAILED;
    } else {
        char none[32];
        (void) snprintf(none, sizeof none, "no %s", method);
        s_title(endpoint, options);
        if (columns) {
            show_table(weft_mp_get(reply.body, method), columns, none);
        } else {
            show_map(reply.body, 0);
        }
        if (weft_mp_get_bool(reply.body, "truncated", false)) {
            (void) printf("... and more\n");
        }
    }
    weft_reply_fini(&reply);
    return status;
}

static int
s_services(weft_client_t *client, const char *endpoint, const cli_options_t *options)
{
    return s_list(client, endpoint, options, "services", SERVICES);
}

static int
s_workers(weft_client_t *client, const char *endpoint, const cli_options_t *options)
{
    return s_list(client, endpoint, options, "workers", WORKERS);
}

static int
s_stats(weft_client_t *client, const char *endpoint, const cli_options_t *options)
{
    return s_list(client, endpoint, options, "stats", NULL);
}

int
cli_services(const cli_options_t *options)
{
    return each_broker(options, s_services);
}

int
cli_workers(const cli_options_t *options)
{
    return each_broker(options, s_workers);
}

int
cli_stats(const cli_options_t *options)
{
    return each_broker(options, s_stats);
}
