/* jobs - what the commands about jobs share: asking the jobs service, and how a job is shown */
#ifndef WEFT_CLI_JOBS_H
#define WEFT_CLI_JOBS_H

#include "cli/cli.h"
#include "cli/fields.h"

/* Calls jobs.METHOD with the map of `fields`, and takes at most `extra_ms` longer than other calls.  An error
 * is complained of.  *exit_status when it is not WEFT_OK.  Caller runs weft_reply_fini. */
weft_status_t jobs_ask(weft_client_t *client, const char *method, fields_t *fields,
                       const cli_options_t *options, int64_t extra_ms, weft_reply_t *reply, int *exit_status);

/* The same for a command that asks once: connects, asks, and hands the result to `show`, which gives the exit
 * status.  With --output json it is shown as JSON instead. */
int jobs_once(const cli_options_t *options, const char *method, fields_t *fields,
              int (*show)(weft_span_t result, const cli_options_t *options));

/* True when `text` is the id of a job; complains otherwise. */
bool jobs_id(const char *text) WEFT_MUST_CHECK;
/* Splits SERVICE.METHOD into the fields `service` and `method`; complains where it is none. */
bool jobs_target(fields_t *fields, const char *text) WEFT_MUST_CHECK;
/* What a job or a schedule may be given: priority, attempts, times, keys. */
void jobs_options(fields_t *fields, const cli_options_t *options);

/* Shows a job, line by line. */
void jobs_show(weft_span_t job);
/* jobs_show for jobs_once; EXIT_FINE. */
int jobs_show_it(weft_span_t job, const cli_options_t *options);
/* One line: state, attempt, why it failed. */
void jobs_add_state(weft_buf_t *out, weft_span_t job);
/* How a job ended, as exit status: EXIT_FINE, EXIT_FAILED, EXIT_CANCELLED; EXIT_NOT_DONE. */
int jobs_exit(weft_span_t job);

/* Waits for a job to end, at most for wait_s: *reply is the job, done or not. */
weft_status_t jobs_wait(weft_client_t *client, const char *id, int64_t wait_s, const cli_options_t *options,
                        weft_reply_t *reply, int *exit_status);

#endif
