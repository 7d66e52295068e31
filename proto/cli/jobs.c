/* jobs - weft jobs list, get, cancel, retry, redrive */
#include "cli/jobs.h"

#include <stdio.h>
#include <string.h>

#include <weft/clock.h>

#include "cli/show.h"

#define PAGE_MAX 100     /* jobs of a page; handlers/jobs/README.md */
#define REDRIVE_MAX 1000 /* jobs of one call */
#define WAIT_MAX_S 60    /* of one call */
#define GRACE_MS 10000   /* what a call takes besides waiting */
#define LIST_DEFAULT 20

/* ---- asking ---- */

weft_status_t
jobs_ask(weft_client_t *client, const char *method, fields_t *fields, const cli_options_t *options,
         int64_t extra_ms, weft_reply_t *reply, int *exit_status)
{
    int64_t budget_ms = (options->timeout_ms ? options->timeout_ms : GRACE_MS) + extra_ms;
    const weft_call_t call = { .service = WEFT_SPAN("jobs"),
                               .method = weft_span(method),
                               .body = fields_map(fields),
                               .timeout_ms = budget_ms < WEFT_TTL_MAX_MS ? (uint32_t) budget_ms
                                                                         : WEFT_TTL_MAX_MS,
                               .priority = WEFT_PRIORITY_DEFAULT };
    *reply = (weft_reply_t){ .status = WEFT_INVALID_ARGUMENT };
    *exit_status = EXIT_FINE;
    if (call.body.size == 0) {
        cli_complain("the call is too large");
        *exit_status = EXIT_USAGE;
    } else if (weft_call(client, &call, reply) != WEFT_OK) {
        *exit_status = cli_failed(reply);
    }
    return reply->status;
}

int
jobs_once(const cli_options_t *options, const char *method, fields_t *fields,
          int (*show)(weft_span_t result, const cli_options_t *options))
{
    weft_reply_t reply;
    int status = EXIT_USAGE;
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    if (jobs_ask(client, method, fields, options, 0, &reply, &status) == WEFT_OK) {
        if (options->json) {
            status = show_json(reply.body) ? EXIT_FINE : EXIT_FAILED;
        } else {
            status = show(reply.body, options);
        }
    }
    weft_reply_fini(&reply);
    weft_client_destroy(&client);
    return status;
}

bool
jobs_id(const char *text)
{
    size_t size = strlen(text);
    if (size > 0 && size <= 19 && strspn(text, "0123456789") == size) {
        return true;
    }
    cli_complain("'%.60s' is no job id", text);
    return false;
}

bool
jobs_target(fields_t *fields, const char *text)
{
    weft_call_t call = { .priority = 0 };
    if (!cli_method(text, &call)) {
        return false;
    }
    fields_span(fields, "service", call.service);
    fields_span(fields, "method", call.method);
    return true;
}

void
jobs_options(fields_t *fields, const cli_options_t *options)
{
    fields_number(fields, "priority", options->priority, WEFT_PRIORITY_DEFAULT);
    fields_number(fields, "max_attempts", options->max_attempts, 0);
    fields_number(fields, "timeout_ms", options->attempt_timeout_ms, 0);
    fields_text(fields, "unique_key", options->unique_key);
    fields_text(fields, "callback_url", options->callback_url);
}

weft_status_t
jobs_wait(weft_client_t *client, const char *id, int64_t wait_s, const cli_options_t *options,
          weft_reply_t *reply, int *exit_status)
{
    int64_t until_ms = weft_mono_ms() + wait_s * 1000;
    for (;;) {
        fields_t fields;
        int64_t left_s = (until_ms - weft_mono_ms() + 999) / 1000;
        left_s = left_s < 0 ? 0 : left_s > WAIT_MAX_S ? WAIT_MAX_S : left_s;
        fields_init(&fields);
        fields_text(&fields, "id", id);
        fields_number(&fields, "wait", left_s, 0);
        fields_flag(&fields, "include_input", options->input);
        weft_status_t status = jobs_ask(client, "get", &fields, options, left_s * 1000, reply, exit_status);
        fields_fini(&fields);
        if (status != WEFT_OK || weft_mp_get_bool(reply->body, "done", false) || weft_mono_ms() >= until_ms) {
            return status;
        }
        weft_reply_fini(reply);
    }
}

/* ---- list ---- */

static const show_column_t JOBS[] = {
    { "ID", "id" },
    { "SERVICE", "service" },
    { "METHOD", "method" },
    { "STATE", "state" },
    { "ATTEMPT", "attempt" },
    { "CREATED", "created_at" },
    { "FINISHED", "finished_at" },
    { "ERROR", "error.code" },
    { .title = NULL },
};

static uint32_t
s_count(weft_span_t rows)
{
    weft_mp_t cursor = weft_mp(rows);
    weft_mp_token_t array;
    return rows.data && weft_mp_next(&cursor, &array) && array.type == WEFT_MP_ARRAY ? array.count : 0;
}

/* One page; *cursor is set to where the next one begins, "" at the end. */
static int
s_list_page(weft_client_t *client, const cli_options_t *options, int64_t limit, char *cursor,
            size_t cursor_size, uint32_t *count)
{
    fields_t fields;
    weft_reply_t reply;
    int status = EXIT_FINE;
    fields_init(&fields);
    fields_text(&fields, "service", options->service);
    fields_text(&fields, "method", options->method);
    fields_text(&fields, "state", options->state);
    fields_text(&fields, "created_after", options->created_after);
    fields_text(&fields, "created_before", options->created_before);
    fields_number(&fields, "limit", limit, 0);
    fields_text(&fields, "cursor", cursor[0] ? cursor : NULL);
    if (jobs_ask(client, "list", &fields, options, 0, &reply, &status) == WEFT_OK) {
        weft_span_t rows = weft_mp_get(reply.body, "jobs"), next = weft_mp_get_str(reply.body, "cursor");
        *count = s_count(rows);
        if (options->json) {
            status = show_each_json(rows) ? EXIT_FINE : EXIT_FAILED;
        } else if (*count > 0 || !cursor[0]) {
            show_table(rows, JOBS, "no jobs");
        }
        (void) snprintf(cursor, cursor_size, "%.*s", (int) next.size, next.data ? next.data : "");
    }
    weft_reply_fini(&reply);
    fields_fini(&fields);
    return status;
}

int
cli_jobs_list(const cli_options_t *options)
{
    char cursor[512] = "";
    int64_t left = options->limit ? options->limit : LIST_DEFAULT;
    int status = EXIT_FINE;
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    do {
        uint32_t count = 0;
        status = s_list_page(client, options, left < PAGE_MAX ? left : PAGE_MAX, cursor, sizeof cursor,
                             &count);
        left -= count;
    } while (status == EXIT_FINE && cursor[0] && left > 0);
    if (status == EXIT_FINE && cursor[0] && !options->json) {
        (void) printf("... and more: --limit shows them\n");
    }
    weft_client_destroy(&client);
    return status;
}

/* ---- one job ---- */

int
jobs_show_it(weft_span_t job, const cli_options_t *options)
{
    (void) options;
    jobs_show(job);
    return EXIT_FINE;
}

int
cli_jobs_get(const cli_options_t *options)
{
    weft_reply_t reply;
    int status = EXIT_USAGE;
    if (!jobs_id(options->arguments[0])) {
        return EXIT_USAGE;
    }
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    if (jobs_wait(client, options->arguments[0], options->wait_s < 0 ? 0 : options->wait_s, options, &reply,
                  &status) == WEFT_OK) {
        if (!options->json) {
            jobs_show(reply.body);
        } else if (!show_json(reply.body)) {
            status = EXIT_FAILED;
        }
        if (options->wait_s >= 0 && status == EXIT_FINE) {
            status = jobs_exit(reply.body);
        }
    }
    weft_reply_fini(&reply);
    weft_client_destroy(&client);
    return status;
}

static int
s_on_one(const cli_options_t *options, const char *method)
{
    fields_t fields;
    if (!jobs_id(options->arguments[0])) {
        return EXIT_USAGE;
    }
    fields_init(&fields);
    fields_text(&fields, "id", options->arguments[0]);
    int status = jobs_once(options, method, &fields, jobs_show_it);
    fields_fini(&fields);
    return status;
}

int
cli_jobs_cancel(const cli_options_t *options)
{
    return s_on_one(options, "cancel");
}

int
cli_jobs_retry(const cli_options_t *options)
{
    return s_on_one(options, "retry");
}

/* ---- redrive ---- */

/* One call; *more says whether there are others. */
static int
s_redrive_some(weft_client_t *client, const cli_options_t *options, int64_t limit, uint64_t *redriven,
               bool *more)
{
    fields_t fields;
    weft_reply_t reply;
    int status = EXIT_FINE;
    fields_init(&fields);
    fields_text(&fields, "service", options->service);
    fields_text(&fields, "method", options->method);
    fields_text(&fields, "failed_after", options->failed_after);
    fields_number(&fields, "limit", limit, 0);
    *more = false;
    if (jobs_ask(client, "redrive", &fields, options, 0, &reply, &status) == WEFT_OK) {
        uint64_t some = weft_mp_get_uint(reply.body, "redriven", 0);
        *redriven += some;
        *more = some > 0 && weft_mp_get_bool(reply.body, "more", false);
    }
    weft_reply_fini(&reply);
    fields_fini(&fields);
    return status;
}

int
cli_jobs_redrive(const cli_options_t *options)
{
    if (!options->service && !options->all) {
        cli_complain("jobs redrive: which? --service SERVICE, or --all");
        return EXIT_USAGE;
    }
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    uint64_t redriven = 0;
    int64_t left = options->limit ? options->limit : INT64_MAX;
    bool more = true;
    int status = EXIT_FINE;
    while (more && left > 0 && status == EXIT_FINE) {
        uint64_t before = redriven;
        status = s_redrive_some(client, options, left < REDRIVE_MAX ? left : REDRIVE_MAX, &redriven, &more);
        left -= (int64_t) (redriven - before);
    }
    if (options->json) {
        (void) printf("{\"redriven\":%llu,\"more\":%s}\n", (unsigned long long) redriven,
                      more ? "true" : "false");
    } else {
        (void) printf("%llu queued again%s\n", (unsigned long long) redriven,
                      more ? ", and there are more" : "");
    }
    weft_client_destroy(&client);
    return status;
}
