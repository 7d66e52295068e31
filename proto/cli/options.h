/* options - the command line and the environment, read by one table */
#ifndef WEFT_OPTIONS_H
#define WEFT_OPTIONS_H

#include "cli/cli.h"

/* Defaults, then WEFT_BROKERS, then argv from `first` on.  False with one line in `why`. */
bool options_read(int argc, char *const *argv, int first, const char *command, cli_options_t *options,
                  char *why, size_t why_size) WEFT_MUST_CHECK;
/* Lists the options of `command`, or of all when it is NULL. */
void options_help(const char *command);

#endif
