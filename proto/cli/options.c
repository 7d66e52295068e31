/* options - the command line and the environment, read by one table */
#include "cli/options.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/config.h>
#include <weft/descriptor.h>

typedef enum { OPTION_FLAG, OPTION_NUMBER, OPTION_TEXT, OPTION_META, OPTION_OUTPUT } option_type_t;

typedef struct {
    const char *name;
    option_type_t type;
    size_t offset;        /* within cli_options_t */
    const char *commands; /* names, separated by |; NULL: every command */
    const char *value;    /* as shown */
    const char *help;
    int64_t min, max;
} option_t;

#define AT(field) offsetof(cli_options_t, field)

static const option_t OPTIONS[] = {
    { "brokers", OPTION_TEXT, AT(brokers), NULL, "ENDPOINTS",
      "brokers, separated by commas (WEFT_BROKERS, tcp://127.0.0.1:7310)", 0, 0 },
    { "output", OPTION_OUTPUT, AT(output), NULL, "json|table", "how results are shown (table)", 0, 0 },
    { "timeout", OPTION_NUMBER, AT(timeout_ms), NULL, "MS",
      "budget of a call (10000; watch, jobs watch: no end)", 1, WEFT_TTL_MAX_MS },
    { "meta", OPTION_META, AT(meta), "call|bench", "KEY=VALUE", "adds to the call's meta; may be repeated", 0,
      0 },
    { "priority", OPTION_NUMBER, AT(priority), "call|bench|schedules put", "N", "0 (highest) to 3 (1)", 0,
      WEFT_PRIORITIES - 1 },
    { "idempotent", OPTION_FLAG, AT(idempotent), "call|bench", NULL,
      "may be sent again although it was perhaps executed", 0, 0 },
    { "stream", OPTION_FLAG, AT(stream), "call", NULL, "shows the parts of a stream, one a line", 0, 0 },
    { "outstanding", OPTION_NUMBER, AT(outstanding), "bench", "N", "calls in flight at a time (64)", 1,
      65536 },
    { "seconds", OPTION_NUMBER, AT(seconds), "bench", "S", "how long (5)", 1, 86400 },
    { "requests", OPTION_NUMBER, AT(requests), "bench", "N", "ends after so many instead", 1,
      INT64_C(1) << 40 },
    { "size", OPTION_NUMBER, AT(size), "bench", "BYTES", "the body is a text of so many bytes (64)", 0,
      WEFT_FRAME_MAX / 2 },
    { "body", OPTION_TEXT, AT(body), "bench", "JSON", "the body instead", 0, 0 },
    { "count", OPTION_NUMBER, AT(count), "ping", "N", "round trips to each broker (3)", 1, 1000000 },
    { "once", OPTION_FLAG, AT(once), "watch", NULL, "ends behind the first full listing", 0, 0 },
    { "async", OPTION_FLAG, AT(async), "call", NULL, "hands the call to the queue, and shows its job", 0, 0 },
    { "wait", OPTION_NUMBER, AT(wait_s), "call|jobs get", "S",
      "waits so long for the job's end; with call --async: shows the result then", 0, 86400 },
    { "run-at", OPTION_TEXT, AT(run_at), "call", "TIME", "not before then (RFC 3339)", 0, 0 },
    { "delay", OPTION_NUMBER, AT(delay_ms), "call", "MS", "not before so long from now", 1,
      INT64_C(31536000000) },
    { "max-attempts", OPTION_NUMBER, AT(max_attempts), "call|schedules put", "N", "of the job (10)", 1,
      1000 },
    { "attempt-timeout", OPTION_NUMBER, AT(attempt_timeout_ms), "call|schedules put", "MS",
      "of each attempt of the job (60000)", 1, WEFT_TTL_MAX_MS },
    { "unique-key", OPTION_TEXT, AT(unique_key), "call|schedules put", "KEY",
      "while a job of the service with this key lives, that one is meant", 0, 0 },
    { "concurrency-key", OPTION_TEXT, AT(concurrency_key), "call", "KEY",
      "jobs that share it run one after the other", 0, 0 },
    { "idempotency-key", OPTION_TEXT, AT(idempotency_key), "call", "KEY",
      "the same again gives the same job, for a day", 0, 0 },
    { "callback-url", OPTION_TEXT, AT(callback_url), "call|schedules put", "URL",
      "told when the job has ended", 0, 0 },
    { "keep", OPTION_NUMBER, AT(keep_ms), "call", "MS", "how long the job can be read when it has ended", 1,
      (int64_t) WEFT_JOB_KEEP_MAX_MS },
    { "input", OPTION_FLAG, AT(input), "jobs get", NULL, "shows its input too", 0, 0 },
    { "service", OPTION_TEXT, AT(service), "jobs list|jobs redrive", "SERVICE", "only jobs of this service",
      0, 0 },
    { "method", OPTION_TEXT, AT(method), "jobs list|jobs redrive", "METHOD", "only of this method", 0, 0 },
    { "state", OPTION_TEXT, AT(state), "jobs list", "STATE",
      "only scheduled, queued, running, succeeded, failed or cancelled ones", 0, 0 },
    { "created-after", OPTION_TEXT, AT(created_after), "jobs list", "TIME", "only newer ones (RFC 3339)", 0,
      0 },
    { "created-before", OPTION_TEXT, AT(created_before), "jobs list", "TIME", "only older ones", 0, 0 },
    { "failed-after", OPTION_TEXT, AT(failed_after), "jobs redrive", "TIME", "only what failed since", 0, 0 },
    { "limit", OPTION_NUMBER, AT(limit), "jobs list|jobs redrive", "N", "how many (list: 20; redrive: all)",
      1, INT64_C(1) << 40 },
    { "all", OPTION_FLAG, AT(all), "jobs redrive", NULL, "of every service", 0, 0 },
    { "reason", OPTION_TEXT, AT(reason), "jobs pause", "TEXT", "shown to whoever looks", 0, 0 },
    { "concurrency", OPTION_TEXT, AT(concurrency), "jobs limit", "N|none", "over all replicas", 0, 0 },
    { "key-concurrency", OPTION_TEXT, AT(key_concurrency), "jobs limit", "N|none",
      "of those that share a concurrency key (none: 1)", 0, 0 },
    { "zone", OPTION_TEXT, AT(zone), "schedules put", "ZONE", "of the cron expression, Europe/Vienna (UTC)",
      0, 0 },
    { "missed", OPTION_TEXT, AT(missed), "schedules put", "skip|once|all",
      "what becomes of times that were missed (once)", 0, 0 },
    { "paused", OPTION_FLAG, AT(paused), "schedules put", NULL, "is not to fire yet", 0, 0 },
    { "help", OPTION_FLAG, AT(help), NULL, NULL, "shows this and ends", 0, 0 },
    { "version", OPTION_FLAG, AT(version), NULL, NULL, "shows the version and ends", 0, 0 },
};
#define OPTION_COUNT (sizeof OPTIONS / sizeof OPTIONS[0])

static bool
s_is_for(const option_t *option, const char *command)
{
    if (!option->commands || !command) {
        return true;
    }
    size_t size = strlen(command);
    for (const char *at = option->commands; (at = strstr(at, command)) != NULL; at += size) {
        if ((at == option->commands || at[-1] == '|') && (at[size] == '\0' || at[size] == '|')) {
            return true;
        }
    }
    return false;
}

static const option_t *
s_find(const char *name, size_t size)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strlen(OPTIONS[i].name) == size && memcmp(OPTIONS[i].name, name, size) == 0) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

static bool
s_set(const option_t *option, const char *value, cli_options_t *options, char *why, size_t why_size)
{
    void *field = (char *) options + option->offset;
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *) field = true;
        return true;
    case OPTION_NUMBER:
        if (!weft_parse_int(value, option->min, option->max, field)) {
            (void) snprintf(why, why_size, "--%s: '%.40s' is no number from %lld to %lld", option->name,
                            value, (long long) option->min, (long long) option->max);
            return false;
        }
        return true;
    case OPTION_TEXT:
        *(const char **) field = value;
        return true;
    case OPTION_META:
        if (options->meta_count == CLI_META_MAX) {
            (void) snprintf(why, why_size, "--meta: more than %d", CLI_META_MAX);
            return false;
        }
        options->meta[options->meta_count++] = value;
        return true;
    case OPTION_OUTPUT:
        options->json = strcmp(value, "json") == 0;
        options->output = value;
        if (!options->json && strcmp(value, "table") != 0) {
            (void) snprintf(why, why_size, "--output: '%.40s' is neither json nor table", value);
            return false;
        }
        return true;
    }
    return false;
}

/* Reads argv[*at] and, where the value stands apart, the next one. */
static bool
s_read_one(int argc, char *const *argv, int *at, const char *command, cli_options_t *options, char *why,
           size_t why_size)
{
    const char *name = argv[*at] + 2;
    const char *value = strchr(name, '=');
    size_t size = value ? (size_t) (value - name) : strlen(name);
    const option_t *option = s_find(name, size);
    if (!option) {
        (void) snprintf(why, why_size, "unknown option --%.60s", name);
        return false;
    }
    if (!s_is_for(option, command)) {
        (void) snprintf(why, why_size, "--%s is no option of %s", option->name, command);
        return false;
    }
    if (option->type == OPTION_FLAG && value) {
        (void) snprintf(why, why_size, "--%s takes no value", option->name);
        return false;
    }
    if (value) {
        value++;
    } else if (option->type != OPTION_FLAG) {
        if (*at + 1 >= argc) {
            (void) snprintf(why, why_size, "--%s needs a value", option->name);
            return false;
        }
        value = argv[++*at];
    }
    return s_set(option, value, options, why, why_size);
}

bool
options_read(int argc, char *const *argv, int first, const char *command, cli_options_t *options, char *why,
             size_t why_size)
{
    *options = (cli_options_t){ .brokers = getenv("WEFT_BROKERS"),
                                .priority = WEFT_PRIORITY_DEFAULT,
                                .outstanding = 64,
                                .size = 64,
                                .count = 3,
                                .wait_s = -1 };
    if (!options->brokers || !options->brokers[0]) {
        options->brokers = "tcp://127.0.0.1:7310";
    }
    bool plain = false; /* behind "--" */
    for (int at = first; at < argc; at++) {
        if (!plain && strcmp(argv[at], "--") == 0) {
            plain = true;
        } else if (!plain && strncmp(argv[at], "--", 2) == 0) {
            if (!s_read_one(argc, argv, &at, command, options, why, why_size)) {
                return false;
            }
        } else if (options->argument_count == CLI_ARGUMENTS_MAX) {
            (void) snprintf(why, why_size, "unexpected argument '%.60s'", argv[at]);
            return false;
        } else {
            options->arguments[options->argument_count++] = argv[at];
        }
    }
    return true;
}

void
options_help(const char *command)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const option_t *option = &OPTIONS[i];
        if (s_is_for(option, command)) {
            char left[40];
            (void) snprintf(left, sizeof left, "--%s%s%s", option->name, option->value ? " " : "",
                            option->value ? option->value : "");
            (void) printf("  %-26s %s\n", left, option->help);
        }
    }
}
