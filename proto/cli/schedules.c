/* schedules - weft schedules list, get, put, delete, pause, resume, run: calls that a clock makes */
#include <stdio.h>
#include <string.h>

#include "cli/jobs.h"
#include "cli/show.h"

#define PAGE_MAX 100

static const show_column_t SCHEDULES[] = {
    { "NAME", "name" },     { "CRON", "cron" },    { "ZONE", "zone" },    { "SERVICE", "service" },
    { "METHOD", "method" }, { "NEXT", "next_at" }, { "LAST", "last_at" }, { "JOB", "last_job" },
    { "PAUSED", "paused" }, { .title = NULL },
};

static int
s_show(weft_span_t schedule, const cli_options_t *options)
{
    (void) options;
    show_map(schedule, 0);
    return EXIT_FINE;
}

static int
s_list_page(weft_client_t *client, const cli_options_t *options, char *cursor, size_t cursor_size)
{
    fields_t fields;
    weft_reply_t reply;
    int status = EXIT_FINE;
    fields_init(&fields);
    fields_number(&fields, "limit", PAGE_MAX, 0);
    fields_text(&fields, "cursor", cursor[0] ? cursor : NULL);
    if (jobs_ask(client, "schedule-list", &fields, options, 0, &reply, &status) == WEFT_OK) {
        weft_span_t next = weft_mp_get_str(reply.body, "cursor");
        if (!options->json) {
            show_table(weft_mp_get(reply.body, "schedules"), SCHEDULES, cursor[0] ? "" : "no schedules");
        } else if (!show_each_json(weft_mp_get(reply.body, "schedules"))) {
            status = EXIT_FAILED;
        }
        (void) snprintf(cursor, cursor_size, "%.*s", (int) next.size, next.data ? next.data : "");
    }
    weft_reply_fini(&reply);
    fields_fini(&fields);
    return status;
}

int
cli_schedules_list(const cli_options_t *options)
{
    char cursor[512] = "";
    int status = EXIT_FINE;
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    do {
        status = s_list_page(client, options, cursor, sizeof cursor);
    } while (status == EXIT_FINE && cursor[0]);
    weft_client_destroy(&client);
    return status;
}

static int
s_on_one(const cli_options_t *options, const char *method,
         int (*show)(weft_span_t result, const cli_options_t *options))
{
    fields_t fields;
    fields_init(&fields);
    fields_text(&fields, "name", options->arguments[0]);
    int status = jobs_once(options, method, &fields, show);
    fields_fini(&fields);
    return status;
}

int
cli_schedules_get(const cli_options_t *options)
{
    return s_on_one(options, "schedule-get", s_show);
}

static int
s_show_nothing(weft_span_t result, const cli_options_t *options)
{
    (void) result;
    (void) options;
    return EXIT_FINE;
}

int
cli_schedules_delete(const cli_options_t *options)
{
    cli_options_t quiet = *options;
    quiet.json = false; /* there is nothing to show */
    return s_on_one(&quiet, "schedule-delete", s_show_nothing);
}

int
cli_schedules_pause(const cli_options_t *options)
{
    return s_on_one(options, "schedule-pause", s_show);
}

int
cli_schedules_resume(const cli_options_t *options)
{
    return s_on_one(options, "schedule-resume", s_show);
}

int
cli_schedules_run(const cli_options_t *options)
{
    return s_on_one(options, "schedule-run", jobs_show_it);
}

int
cli_schedules_put(const cli_options_t *options)
{
    fields_t fields;
    weft_buf_t input;
    weft_call_t call = { .priority = 0 };
    int status = EXIT_USAGE;
    fields_init(&fields);
    weft_buf_init(&input, WEFT_FRAME_MAX);
    fields_text(&fields, "name", options->arguments[0]);
    fields_text(&fields, "cron", options->arguments[2]);
    fields_text(&fields, "zone", options->zone);
    fields_text(&fields, "missed", options->missed);
    fields_flag(&fields, "paused", options->paused);
    jobs_options(&fields, options);
    if (jobs_target(&fields, options->arguments[1]) && cli_body(options->arguments[3], &input, &call)) {
        fields_value(&fields, "input", call.body);
        status = jobs_once(options, "schedule-put", &fields, s_show);
    }
    weft_buf_fini(&input);
    fields_fini(&fields);
    return status;
}
