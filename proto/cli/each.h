/* each - asks every endpoint of --brokers by itself: brokers know nothing of each other */
#ifndef WEFT_EACH_H
#define WEFT_EACH_H

#include "cli/cli.h"

/* Runs `visit` for each endpoint with a client of that one only; the largest exit status of all. */
int each_broker(const cli_options_t *options,
                int (*visit)(weft_client_t *client, const char *endpoint, const cli_options_t *options));

#endif
