/* enqueue - weft call --async: a call that the queue makes */
#include "cli/enqueue.h"

#include <stdio.h>

#include <weft/clock.h>

#include "cli/jobs.h"
#include "cli/show.h"

#define WAIT_MAX_S 60 /* of one call */

/* Fills the map of jobs.enqueue; false after a complaint. */
static bool
s_fill(fields_t *fields, const cli_options_t *options, weft_buf_t *input)
{
    weft_call_t call = { .priority = 0 };
    if (!jobs_target(fields, options->arguments[0]) || !cli_body(options->arguments[1], input, &call)) {
        return false;
    }
    if (options->run_at && options->delay_ms) {
        cli_complain("--run-at and --delay: one or the other");
        return false;
    }
    fields_value(fields, "input", call.body);
    jobs_options(fields, options);
    fields_text(fields, "run_at", options->run_at);
    fields_number(fields, "delay_ms", options->delay_ms, 0);
    fields_text(fields, "concurrency_key", options->concurrency_key);
    fields_number(fields, "keep_ms", options->keep_ms, 0);
    if (options->idempotency_key) {
        fields_t idempotency;
        fields_init(&idempotency);
        fields_text(&idempotency, "scope",
                    "cli"); /* whoever may call the broker is one and the same caller */
        fields_text(&idempotency, "key", options->idempotency_key);
        fields_value(fields, "idempotency", fields_map(&idempotency));
        fields_fini(&idempotency);
    }
    return true;
}

/* The result of a job that is done, or why there is none; the job that goes on. */
static int
s_show(weft_span_t job, const cli_options_t *options)
{
    int status = jobs_exit(job);
    if (status == EXIT_NOT_DONE && options->wait_s < 0) {
        status = EXIT_FINE; /* nobody wanted more than to have it accepted */
    }
    if (options->json || options->wait_s < 0 || status == EXIT_NOT_DONE) {
        bool shown = true;
        if (options->json) {
            shown = show_json(job);
        } else {
            jobs_show(job);
        }
        return shown ? status : EXIT_FAILED;
    }
    if (status == EXIT_FINE) {
        return show_json(weft_mp_get(job, "result")) ? EXIT_FINE : EXIT_FAILED;
    }
    weft_buf_t line;
    weft_buf_init(&line, 4096);
    jobs_add_state(&line, job);
    cli_complain("job %.*s: %.*s", (int) weft_mp_get_str(job, "id").size, weft_mp_get_str(job, "id").data,
                 (int) line.size, line.data ? line.data : "");
    weft_buf_fini(&line);
    return status;
}

/* Enqueues and, where wanted, waits. */
static int
s_enqueue(weft_client_t *client, fields_t *fields, const cli_options_t *options)
{
    weft_reply_t reply;
    int status;
    int64_t until_ms = weft_mono_ms() + (options->wait_s > 0 ? options->wait_s * 1000 : 0);
    int64_t first_s = options->wait_s > WAIT_MAX_S ? WAIT_MAX_S : options->wait_s;
    fields_number(fields, "wait_ms", first_s > 0 ? first_s * 1000 : 0, 0);
    weft_status_t result = jobs_ask(client, "enqueue", fields, options, first_s > 0 ? first_s * 1000 : 0,
                                    &reply, &status);
    int64_t left_ms = until_ms - weft_mono_ms();
    if (result == WEFT_OK && left_ms > 0 && !weft_mp_get_bool(reply.body, "done", false)) {
        char id[24];
        weft_span_t text = weft_mp_get_str(reply.body, "id");
        (void) snprintf(id, sizeof id, "%.*s", (int) text.size, text.data ? text.data : "");
        weft_reply_fini(&reply);
        result = jobs_wait(client, id, (left_ms + 999) / 1000, options, &reply, &status);
    }
    if (result == WEFT_OK) {
        status = s_show(reply.body, options);
    }
    weft_reply_fini(&reply);
    return status;
}

int
enqueue_call(const cli_options_t *options)
{
    fields_t fields;
    weft_buf_t input;
    weft_client_t *client = NULL;
    int status = EXIT_USAGE;
    fields_init(&fields);
    weft_buf_init(&input, WEFT_FRAME_MAX);
    if (s_fill(&fields, options, &input)) {
        client = cli_connect(options->brokers, options);
    }
    if (client) {
        status = s_enqueue(client, &fields, options);
    }
    weft_client_destroy(&client);
    weft_buf_fini(&input);
    fields_fini(&fields);
    return status;
}
