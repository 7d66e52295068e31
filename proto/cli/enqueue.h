/* enqueue - weft call --async: a call that the queue makes */
#ifndef WEFT_CLI_ENQUEUE_H
#define WEFT_CLI_ENQUEUE_H

#include "cli/cli.h"

/* Shows the job, or with --wait the result; the exit status. */
int enqueue_call(const cli_options_t *options);

#endif
