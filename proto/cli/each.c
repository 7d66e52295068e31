/* each - asks every endpoint of --brokers by itself: brokers know nothing of each other */
#include "cli/each.h"

#include <stdio.h>
#include <string.h>

int
each_broker(const cli_options_t *options,
            int (*visit)(weft_client_t *client, const char *endpoint, const cli_options_t *options))
{
    int worst = EXIT_FINE;
    for (const char *at = options->brokers; at;) {
        const char *comma = strchr(at, ',');
        size_t size = comma ? (size_t) (comma - at) : strlen(at);
        char endpoint[400];
        (void) snprintf(endpoint, sizeof endpoint, "%.*s", (int) (size < 399 ? size : 399), at);
        weft_client_t *client = cli_connect(endpoint, options);
        int status = client ? visit(client, endpoint, options) : EXIT_USAGE;
        weft_client_destroy(&client);
        worst = status > worst ? status : worst;
        at = comma ? comma + 1 : NULL;
    }
    return worst;
}
