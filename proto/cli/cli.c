/* cli - what the commands of the program weft share */
#include "cli/cli.h"

#include <errno.h>
#include <msgpack.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <weft/json.h>

const cli_command_t CLI_COMMANDS[] = {
    { "call", "SERVICE.METHOD [JSON|-]", "calls a method and shows its result", 1, 2, cli_call },
    { "services", "", "the services that a broker knows", 0, 0, cli_services },
    { "workers", "", "the workers of each broker", 0, 0, cli_workers },
    { "stats", "", "the counters of each broker", 0, 0, cli_stats },
    { "ping", "", "the round trip to each broker", 0, 0, cli_ping },
    { "bench", "SERVICE.METHOD", "calls a method over and over; rate and latency", 1, 1, cli_bench },
    { "watch", "", "shows services as they come, change and go", 0, 0, cli_watch },
    { "jobs list", "", "the jobs of the queue, newest first", 0, 0, cli_jobs_list },
    { "jobs get", "ID", "a job; --wait S: when it is done", 1, 1, cli_jobs_get },
    { "jobs watch", "ID", "a job's states and progress as they come, then its result", 1, 1, cli_jobs_watch },
    { "jobs cancel", "ID", "ends a job", 1, 1, cli_jobs_cancel },
    { "jobs retry", "ID", "queues a failed or cancelled job again", 1, 1, cli_jobs_retry },
    { "jobs redrive", "", "queues failed jobs again, many at once", 0, 0, cli_jobs_redrive },
    { "jobs queues", "", "the queue of each service: how long, how old, paused", 0, 0, cli_jobs_queues },
    { "jobs pause", "SERVICE", "begins no more jobs of a service", 1, 1, cli_jobs_pause },
    { "jobs resume", "SERVICE", "begins them again", 1, 1, cli_jobs_resume },
    { "jobs limit", "SERVICE", "how many jobs of a service may run at once", 1, 1, cli_jobs_limit },
    { "schedules list", "", "the schedules, and when each is due", 0, 0, cli_schedules_list },
    { "schedules get", "NAME", "a schedule", 1, 1, cli_schedules_get },
    { "schedules put", "NAME SERVICE.METHOD CRON [JSON|-]", "makes or replaces a schedule", 3, 4,
      cli_schedules_put },
    { "schedules delete", "NAME", "deletes a schedule", 1, 1, cli_schedules_delete },
    { "schedules pause", "NAME", "lets it fire no more", 1, 1, cli_schedules_pause },
    { "schedules resume", "NAME", "lets it fire again", 1, 1, cli_schedules_resume },
    { "schedules run", "NAME", "makes a job of it now", 1, 1, cli_schedules_run },
    { .name = NULL },
};

void
cli_complain(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void) fprintf(stderr, "weft: %s\n", text);
}

bool
cli_method(const char *text, weft_call_t *call)
{
    const char *dot = strrchr(text, '.');
    if (dot) {
        call->service = (weft_span_t){ text, (size_t) (dot - text) };
        call->method = weft_span(dot + 1);
        if (weft_service_valid(call->service) && weft_method_valid(call->method)) {
            return true;
        }
    }
    cli_complain("'%.140s' is not SERVICE.METHOD (lower case letters, digits, - and _)", text);
    return false;
}

static bool
s_read_input(weft_buf_t *text)
{
    for (;;) {
        char *room = weft_buf_reserve(text, 65536);
        if (!room) {
            cli_complain("standard input has more than %u bytes", (unsigned) WEFT_FRAME_MAX);
            return false;
        }
        size_t size = fread(room, 1, 65536, stdin);
        text->size += size;
        if (size == 0) {
            if (ferror(stdin)) {
                cli_complain("could not read standard input: %s", strerror(errno));
                return false;
            }
            return true;
        }
    }
}

bool
cli_body(const char *json, weft_buf_t *buffer, weft_call_t *call)
{
    if (!json) {
        return true;
    }
    weft_buf_t input;
    weft_json_error_t error = { 0 };
    weft_buf_init(&input, WEFT_FRAME_MAX + 131072);
    bool done = strcmp(json, "-") != 0 || s_read_input(&input);
    if (done) {
        weft_span_t text = strcmp(json, "-") == 0 ? weft_buf_span(&input) : weft_span(json);
        weft_status_t status = weft_json_to_mp(text, buffer, &error);
        done = status == WEFT_OK;
        if (status == WEFT_RESOURCE_EXHAUSTED) {
            cli_complain("the body is too large");
        } else if (!done) {
            cli_complain("the body is no JSON: %s at byte %zu", error.message, error.offset);
        }
    }
    weft_buf_fini(&input);
    call->body = weft_buf_span(buffer);
    return done;
}

bool
cli_meta(const cli_options_t *options, weft_buf_t *buffer, weft_call_t *call)
{
    if (options->meta_count == 0) {
        return true;
    }
    msgpack_packer packer;
    msgpack_packer_init(&packer, buffer, weft_buf_write);
    (void) msgpack_pack_map(&packer, (size_t) options->meta_count);
    for (int i = 0; i < options->meta_count; i++) {
        const char *row = options->meta[i], *equals = strchr(row, '=');
        if (!equals || equals == row || equals - row > 64 || !weft_utf8_valid(weft_span(row))) {
            cli_complain("--meta: '%.80s' is not KEY=VALUE with a key of up to 64 bytes", row);
            return false;
        }
        size_t key = (size_t) (equals - row), value = strlen(equals + 1);
        (void) msgpack_pack_str(&packer, key);
        (void) msgpack_pack_str_body(&packer, row, key);
        (void) msgpack_pack_str(&packer, value);
        (void) msgpack_pack_str_body(&packer, equals + 1, value);
    }
    if (buffer->failed || buffer->size > WEFT_META_MAX) {
        cli_complain("--meta: more than %u bytes in all", (unsigned) WEFT_META_MAX);
        return false;
    }
    call->meta = weft_buf_span(buffer);
    return true;
}

weft_client_t *
cli_connect(const char *brokers, const cli_options_t *options)
{
    const weft_client_config_t config = { .brokers = brokers,
                                          .in_flight_max = options->outstanding > 1024
                                                               ? (uint32_t) options->outstanding
                                                               : 1024 };
    weft_client_t *client = weft_client_new(&config);
    if (!client) {
        cli_complain("--brokers: '%.200s' is no list of tcp://HOST:PORT or ipc://PATH", brokers);
    }
    return client;
}

weft_status_t
cli_ask(weft_client_t *client, const char *method, const cli_options_t *options, weft_reply_t *reply)
{
    const weft_call_t call = { .service = WEFT_SPAN("weft.broker"),
                               .method = weft_span(method),
                               .timeout_ms = options->timeout_ms ? (uint32_t) options->timeout_ms : 10000,
                               .priority = WEFT_PRIORITY_DEFAULT,
                               .idempotent = true };
    return weft_call(client, &call, reply);
}

int
cli_exit(weft_status_t status)
{
    switch (status) {
    case WEFT_OK:
        return EXIT_FINE;
    case WEFT_UNAVAILABLE:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_RESOURCE_EXHAUSTED:
        return EXIT_UNAVAILABLE;
    case WEFT_CANCELLED:
    case WEFT_UNKNOWN:
    case WEFT_INVALID_ARGUMENT:
    case WEFT_NOT_FOUND:
    case WEFT_ALREADY_EXISTS:
    case WEFT_PERMISSION_DENIED:
    case WEFT_FAILED_PRECONDITION:
    case WEFT_ABORTED:
    case WEFT_OUT_OF_RANGE:
    case WEFT_UNIMPLEMENTED:
    case WEFT_INTERNAL:
    case WEFT_DATA_LOSS:
    case WEFT_UNAUTHENTICATED:
        break;
    }
    return EXIT_FAILED;
}

int
cli_failed(const weft_reply_t *reply)
{
    weft_error_body_t error;
    weft_error_body_read(reply->body, &error);
    weft_buf_t details;
    weft_json_error_t unreadable;
    weft_buf_init(&details, (size_t) WEFT_FRAME_MAX * 6);
    /* As JSON strings: what a peer wrote must not move the terminal's cursor. */
    weft_json_add_string(&details, error.message);
    cli_complain("%s: %.*s (executed: %s%s%.*s)", weft_status_name(reply->status),
                 (int) (details.size > 800 ? 800 : details.size), details.data ? details.data : "",
                 error.executed_maybe ? "maybe" : "no", error.hop.size ? ", from: " : "",
                 (int) (error.hop.size < 40 ? error.hop.size : 0), error.hop.data ? error.hop.data : "");
    weft_buf_reset(&details);
    if (error.details.size && weft_mp_to_json(error.details, &details, &unreadable) == WEFT_OK) {
        (void) fprintf(stderr, "%.*s\n", (int) details.size, details.data);
    }
    weft_buf_fini(&details);
    return cli_exit(reply->status);
}
