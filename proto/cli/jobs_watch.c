/* jobs_watch - weft jobs watch: a job's states and progress as they come, and how it ends */
#include <stdio.h>
#include <time.h>

#include <weft/clock.h>
#include <weft/json.h>

#include "cli/jobs.h"
#include "cli/show.h"

#define PAUSE_MS 500 /* before a watch that broke off is opened anew */

typedef struct {
    const cli_options_t *options;
    int64_t until_ms; /* mono; INT64_MAX: no end */
    char last[128];   /* id of the last event seen: what comes behind it is shown */
    int status;
    bool done;
} watch_t;

static bool
s_is(weft_span_t text, const char *name)
{
    return weft_span_equal(text, weft_span(name));
}

static void
s_show_line(weft_span_t event)
{
    char clock[16] = "";
    struct tm parts;
    time_t now = time(NULL);
    weft_buf_t line;
    weft_json_error_t error;
    weft_span_t job = weft_mp_get(event, "job"), progress = weft_mp_get(job, "progress");
    weft_buf_init(&line, (size_t) WEFT_FRAME_MAX * 8);
    if (localtime_r(&now, &parts) && strftime(clock, sizeof clock, "%H:%M:%S", &parts) > 0) {
        (void) weft_buf_addf(&line, "%s  ", clock);
    }
    if (s_is(weft_mp_get_str(event, "event"), "progress") && progress.size > 0) {
        (void) weft_buf_add_text(&line, "progress  ");
        if (weft_mp_to_json(progress, &line, &error) != WEFT_OK) {
            (void) weft_buf_addf(&line, "(%zu bytes that have no JSON form)", progress.size);
        }
    } else {
        jobs_add_state(&line, job);
    }
    (void) printf("%.*s\n", (int) line.size, line.data ? line.data : "");
    (void) fflush(stdout);
    weft_buf_fini(&line);
}

static void
s_on_event(watch_t *self, weft_span_t event)
{
    weft_span_t id = weft_mp_get_str(event, "id");
    if (id.size > 0 && id.size < sizeof self->last) {
        (void) snprintf(self->last, sizeof self->last, "%.*s", (int) id.size, id.data);
    }
    if (!self->options->json) {
        s_show_line(event);
    } else if (!show_json(event)) {
        self->status = EXIT_FAILED;
    }
}

/* The final reply: the job, or why there is no more. */
static void
s_on_end(watch_t *self, const weft_reply_t *reply)
{
    self->done = true;
    if (reply->status == WEFT_OK) {
        weft_span_t result = weft_mp_get(reply->body, "result");
        self->status = jobs_exit(reply->body);
        if (self->status == EXIT_NOT_DONE) {
            self->done = false; /* a watch has an end of its own, which is not the job's */
        } else if (self->options->json ? !show_json(reply->body) : result.size > 0 && !show_json(result)) {
            self->status = EXIT_FAILED;
        }
    } else if (cli_exit(reply->status) == EXIT_UNAVAILABLE) {
        self->done = false;
    } else {
        self->status = cli_failed(reply);
    }
}

static void
s_follow(watch_t *self, weft_stream_t *stream)
{
    bool final = false;
    while (!final) {
        weft_reply_t reply;
        int64_t left_ms = self->until_ms - weft_mono_ms();
        if (left_ms <= 0) {
            return;
        }
        if (!weft_stream_next(stream, left_ms < WEFT_TTL_MAX_MS ? left_ms : WEFT_TTL_MAX_MS, &reply)) {
            continue;
        }
        final = reply.final;
        if (final) {
            s_on_end(self, &reply);
        } else {
            s_on_event(self, reply.body);
        }
        weft_reply_fini(&reply);
    }
}

static bool
s_watch_once(watch_t *self, weft_client_t *client)
{
    fields_t fields;
    int64_t left_ms = self->until_ms - weft_mono_ms();
    fields_init(&fields);
    fields_text(&fields, "id", self->options->arguments[0]);
    fields_text(&fields, "after", self->last[0] ? self->last : NULL);
    const weft_call_t call = { .service = WEFT_SPAN("jobs"),
                               .method = WEFT_SPAN("watch"),
                               .body = fields_map(&fields),
                               .timeout_ms = left_ms > 0 && left_ms < WEFT_TTL_MAX_MS ? (uint32_t) left_ms
                                                                                      : WEFT_TTL_MAX_MS,
                               .priority = WEFT_PRIORITY_DEFAULT };
    weft_stream_t *stream = weft_stream_open(client, &call);
    fields_fini(&fields);
    if (!stream) {
        cli_complain("out of memory");
        return false;
    }
    s_follow(self, stream);
    weft_stream_close(&stream);
    return true;
}

int
cli_jobs_watch(const cli_options_t *options)
{
    watch_t self = { .options = options, .until_ms = INT64_MAX, .status = EXIT_NOT_DONE };
    if (!jobs_id(options->arguments[0])) {
        return EXIT_USAGE;
    }
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    if (options->timeout_ms) {
        self.until_ms = weft_mono_ms() + options->timeout_ms;
    }
    while (!self.done && weft_mono_ms() < self.until_ms) {
        if (!s_watch_once(&self, client)) {
            self.status = EXIT_BROKEN;
            break;
        }
        if (!self.done) {
            int64_t left_ms = self.until_ms - weft_mono_ms();
            int64_t pause_ms = left_ms < PAUSE_MS ? (left_ms > 0 ? left_ms : 0) : PAUSE_MS;
            const struct timespec pause = { .tv_nsec = (long) pause_ms * 1000000L };
            (void) nanosleep(&pause, NULL);
        }
    }
    if (!self.done && self.status == EXIT_NOT_DONE) {
        cli_complain("job %s was not done in time", options->arguments[0]);
    }
    weft_client_destroy(&client);
    return self.status;
}
