/* call - weft call SERVICE.METHOD [JSON|-]: one call, its result as JSON */
#include "cli/cli.h"
#include "cli/enqueue.h"
#include "cli/show.h"

static bool
s_is_nil(weft_span_t body)
{
    return body.size == 0 || (body.size == 1 && (unsigned char) body.data[0] == 0xc0);
}

static int
s_end(const weft_reply_t *reply, bool with_nil)
{
    if (reply->status != WEFT_OK) {
        return cli_failed(reply);
    }
    if (s_is_nil(reply->body) && !with_nil) {
        return EXIT_FINE;
    }
    return show_json(reply->body) ? EXIT_FINE : EXIT_FAILED;
}

static int
s_single(weft_client_t *client, const weft_call_t *call)
{
    weft_reply_t reply;
    (void) weft_call(client, call, &reply);
    int status = s_end(&reply, true);
    weft_reply_fini(&reply);
    return status;
}

static int
s_stream(weft_client_t *client, const weft_call_t *call)
{
    weft_stream_t *stream = weft_stream_open(client, call);
    if (!stream) {
        cli_complain("out of memory");
        return EXIT_BROKEN;
    }
    int status = EXIT_FINE;
    bool final = false;
    while (!final) {
        weft_reply_t reply;
        if (!weft_stream_next(stream, WEFT_TTL_MAX_MS, &reply)) {
            continue;
        }
        final = reply.final;
        if (final) {
            status = s_end(&reply, false);
        } else if (!show_json(reply.body)) {
            status = EXIT_FAILED;
            final = true;
        }
        weft_reply_fini(&reply);
    }
    weft_stream_close(&stream);
    return status;
}

/* What --async changes, and what only it allows. */
static const char *
s_conflict(const cli_options_t *options)
{
    bool of_a_job = options->wait_s >= 0 || options->run_at || options->delay_ms || options->max_attempts ||
                    options->attempt_timeout_ms || options->unique_key || options->concurrency_key ||
                    options->idempotency_key || options->callback_url || options->keep_ms;
    if (!options->async && of_a_job) {
        return "options of a job need --async";
    }
    if (options->async && (options->stream || options->idempotent || options->meta_count > 0)) {
        return "--async: not with --stream, --idempotent or --meta";
    }
    return NULL;
}

int
cli_call(const cli_options_t *options)
{
    const char *conflict = s_conflict(options);
    if (conflict) {
        cli_complain("%s", conflict);
        return EXIT_USAGE;
    }
    if (options->async) {
        return enqueue_call(options);
    }
    weft_call_t call = { .timeout_ms = options->timeout_ms ? (uint32_t) options->timeout_ms : 10000,
                         .priority = (uint8_t) options->priority,
                         .idempotent = options->idempotent };
    weft_buf_t body, meta;
    weft_client_t *client = NULL;
    int status = EXIT_USAGE;
    weft_buf_init(&body, WEFT_FRAME_MAX);
    weft_buf_init(&meta, (size_t) WEFT_META_MAX * 2);
    if (cli_method(options->arguments[0], &call) && cli_body(options->arguments[1], &body, &call) &&
        cli_meta(options, &meta, &call)) {
        client = cli_connect(options->brokers, options);
    }
    if (client) {
        status = options->stream ? s_stream(client, &call) : s_single(client, &call);
    }
    weft_client_destroy(&client);
    weft_buf_fini(&body);
    weft_buf_fini(&meta);
    return status;
}
