/* watch - weft watch: services as they come, change and go */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/show.h"

static bool
s_is(weft_span_t event, const char *name)
{
    return weft_span_equal(event, weft_span(name));
}

static void
s_show_line(weft_span_t map)
{
    char clock[16];
    struct tm parts;
    time_t now = time(NULL);
    weft_buf_t line;
    weft_buf_init(&line, 4096);
    if (!localtime_r(&now, &parts) || strftime(clock, sizeof clock, "%H:%M:%S", &parts) == 0) {
        clock[0] = '\0';
    }
    weft_span_t event = weft_mp_get_str(map, "event");
    (void) weft_buf_addf(&line, "%s  ", clock);
    show_add_text(&line, event);
    if (weft_mp_get_str(map, "name").data) {
        (void) weft_buf_add_text(&line, "  ");
        show_add_text(&line, weft_mp_get_str(map, "name"));
    }
    if (s_is(event, "service")) {
        (void) weft_buf_add_text(&line, " ");
        show_add_text(&line, weft_mp_get_str(map, "version"));
        (void) weft_buf_addf(&line, "  workers %llu  capacity %llu%s",
                             (unsigned long long) weft_mp_get_uint(map, "workers", 0),
                             (unsigned long long) weft_mp_get_uint(map, "capacity", 0),
                             weft_mp_get_bool(map, "conflict", false) ? "  CONFLICT" : "");
    }
    (void) printf("%.*s\n", (int) line.size, line.data ? line.data : "");
    (void) fflush(stdout);
    weft_buf_fini(&line);
}

/* Until it ends, or to the end of the first listing; *again says that it may be opened anew. */
static int
s_follow(weft_stream_t *stream, const cli_options_t *options, bool *again)
{
    *again = false;
    for (;;) {
        weft_reply_t reply;
        if (!weft_stream_next(stream, WEFT_TTL_MAX_MS, &reply)) {
            continue;
        }
        int status = EXIT_FINE;
        bool end = reply.final;
        if (end) {
            *again = options->timeout_ms == 0 && !options->once &&
                     (reply.status == WEFT_UNAVAILABLE || reply.status == WEFT_DEADLINE_EXCEEDED ||
                      reply.status == WEFT_RESOURCE_EXHAUSTED);
            bool in_time = options->timeout_ms != 0 && reply.status == WEFT_DEADLINE_EXCEEDED &&
                           !options->once;
            status = reply.status == WEFT_OK || in_time ? EXIT_FINE : cli_failed(&reply);
        } else {
            if (!options->json) {
                s_show_line(reply.body);
            } else if (!show_json(reply.body)) {
                status = EXIT_FAILED;
                end = true;
            }
            end = end || (options->once && s_is(weft_mp_get_str(reply.body, "event"), "synced"));
        }
        weft_reply_fini(&reply);
        if (end) {
            return status;
        }
    }
}

int
cli_watch(const cli_options_t *options)
{
    const weft_call_t call = { .service = WEFT_SPAN("weft.broker"),
                               .method = WEFT_SPAN("watch"),
                               .timeout_ms = options->timeout_ms ? (uint32_t) options->timeout_ms
                                                                 : WEFT_TTL_MAX_MS,
                               .priority = WEFT_PRIORITY_DEFAULT };
    weft_client_t *client = cli_connect(options->brokers, options);
    if (!client) {
        return EXIT_USAGE;
    }
    int status = EXIT_FINE;
    bool again = true;
    while (again) {
        weft_stream_t *stream = weft_stream_open(client, &call);
        if (!stream) {
            cli_complain("out of memory");
            status = EXIT_BROKEN;
            break;
        }
        status = s_follow(stream, options, &again);
        weft_stream_close(&stream);
        if (again) {
            /* The broker may refuse at once, again and again. */
            const struct timespec pause = { .tv_nsec = 500000000L };
            (void) nanosleep(&pause, NULL);
        }
    }
    weft_client_destroy(&client);
    return status;
}
