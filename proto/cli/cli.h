/* cli - what the commands of the program weft share: options, the client, and how things are shown */
#ifndef WEFT_CLI_H
#define WEFT_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/client.h>

/* What the program ends with; proto/cli/README.md. */
enum {
    EXIT_FINE = 0,
    EXIT_BROKEN = 1,      /* our own trouble: no memory, standard output closed */
    EXIT_USAGE = 2,       /* unknown command or option, malformed value or JSON */
    EXIT_FAILED = 3,      /* the call was answered with an error, or the job failed */
    EXIT_UNAVAILABLE = 4, /* no broker or worker, too busy, or not in time: may be tried again */
    EXIT_CANCELLED = 5,   /* the job that was waited for was cancelled */
    EXIT_NOT_DONE = 6,    /* it was accepted and goes on: not done within the time given */
};

#define CLI_ARGUMENTS_MAX 4
#define CLI_META_MAX 32

typedef struct {
    const char *brokers; /* endpoints */
    bool json;           /* --output json */
    const char *output;
    int64_t timeout_ms;
    int64_t priority;
    const char *meta[CLI_META_MAX];
    int meta_count;
    bool stream, idempotent, once;
    int64_t outstanding, seconds, requests, size, count;
    const char *body;
    bool help, version;
    /* jobs and schedules */
    bool async, all, input, paused;
    int64_t wait_s;                                                     /* -1: not given */
    int64_t limit, max_attempts, attempt_timeout_ms, delay_ms, keep_ms; /* 0: not given */
    const char *service, *method, *state, *created_after, *created_before, *failed_after, *run_at;
    const char *unique_key, *concurrency_key, *idempotency_key, *callback_url;
    const char *reason, *concurrency, *key_concurrency, *zone, *missed;
    const char *arguments[CLI_ARGUMENTS_MAX];
    int argument_count;
} cli_options_t;

typedef struct {
    const char *name;      /* one word, or a group and a word: "jobs list" */
    const char *arguments; /* as shown */
    const char *summary;
    int arguments_min, arguments_max;
    int (*run)(const cli_options_t *options); /* the exit status */
} cli_command_t;

/* The table, which a row with name NULL ends. */
extern const cli_command_t CLI_COMMANDS[];

int cli_call(const cli_options_t *options);
int cli_services(const cli_options_t *options);
int cli_workers(const cli_options_t *options);
int cli_stats(const cli_options_t *options);
int cli_ping(const cli_options_t *options);
int cli_bench(const cli_options_t *options);
int cli_watch(const cli_options_t *options);
int cli_jobs_list(const cli_options_t *options);
int cli_jobs_get(const cli_options_t *options);
int cli_jobs_watch(const cli_options_t *options);
int cli_jobs_cancel(const cli_options_t *options);
int cli_jobs_retry(const cli_options_t *options);
int cli_jobs_redrive(const cli_options_t *options);
int cli_jobs_queues(const cli_options_t *options);
int cli_jobs_pause(const cli_options_t *options);
int cli_jobs_resume(const cli_options_t *options);
int cli_jobs_limit(const cli_options_t *options);
int cli_schedules_list(const cli_options_t *options);
int cli_schedules_get(const cli_options_t *options);
int cli_schedules_put(const cli_options_t *options);
int cli_schedules_delete(const cli_options_t *options);
int cli_schedules_pause(const cli_options_t *options);
int cli_schedules_resume(const cli_options_t *options);
int cli_schedules_run(const cli_options_t *options);

/* One line "weft: ..." to standard error. */
void cli_complain(const char *format, ...) WEFT_PRINTF(1, 2);

/* Splits SERVICE.METHOD at its last dot and checks both; complains otherwise. */
bool cli_method(const char *text, weft_call_t *call) WEFT_MUST_CHECK;
/* Fills body from JSON text ("-": standard input; NULL: nil) into `buffer`; complains where it is none. */
bool cli_body(const char *json, weft_buf_t *buffer, weft_call_t *call) WEFT_MUST_CHECK;
/* Packs --meta into `buffer`; complains where a row is not KEY=VALUE or there is too much. */
bool cli_meta(const cli_options_t *options, weft_buf_t *buffer, weft_call_t *call) WEFT_MUST_CHECK;

/* A client of `brokers`; NULL after a complaint. */
weft_client_t *cli_connect(const char *brokers, const cli_options_t *options);
/* Calls `method` of the broker itself. */
weft_status_t cli_ask(weft_client_t *client, const char *method, const cli_options_t *options,
                      weft_reply_t *reply);

/* The exit status that stands for it. */
int cli_exit(weft_status_t status);
/* Complains of an error reply, with its details, and gives the exit status. */
int cli_failed(const weft_reply_t *reply);

#endif
