/* ping - weft ping: the round trip to each broker's own service */
#include <inttypes.h>
#include <stdio.h>

#include <weft/clock.h>

#include "cli/each.h"

static int
s_ping(weft_client_t *client, const char *endpoint, const cli_options_t *options)
{
    int64_t fastest_us = INT64_MAX, sum_us = 0;
    uint64_t uptime_ms = 0;
    int status = EXIT_FINE;
    /* The connection is not what is measured. */
    if (!weft_client_wait(client, options->timeout_ms ? options->timeout_ms : 3000)) {
        cli_complain("%s: no broker answers there", endpoint);
        return EXIT_UNAVAILABLE;
    }
    for (int64_t i = 0; i < options->count && status == EXIT_FINE; i++) {
        weft_reply_t reply;
        int64_t begin_us = weft_mono_us();
        weft_status_t result = cli_ask(client, "stats", options, &reply);
        int64_t took_us = weft_mono_us() - begin_us;
        if (result == WEFT_OK) {
            sum_us += took_us;
            fastest_us = took_us < fastest_us ? took_us : fastest_us;
            uptime_ms = weft_mp_get_uint(reply.body, "uptime_ms", 0);
        } else {
            status = cli_failed(&reply);
        }
        weft_reply_fini(&reply);
    }
    if (status != EXIT_FINE) {
        return status;
    }
    int64_t mean_us = sum_us / options->count;
    if (options->json) {
        (void) printf("{\"broker\":\"%s\",\"fastest_us\":%" PRId64 ",\"mean_us\":%" PRId64
                      ",\"uptime_ms\":%" PRIu64 "}\n",
                      endpoint, fastest_us, mean_us, uptime_ms);
    } else {
        (void) printf("%s  fastest %" PRId64 " us  mean %" PRId64 " us  up for %" PRIu64 " s\n", endpoint,
                      fastest_us, mean_us, uptime_ms / 1000);
    }
    return EXIT_FINE;
}

int
cli_ping(const cli_options_t *options)
{
    return each_broker(options, s_ping);
}
