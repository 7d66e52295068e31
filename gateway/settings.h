/* settings - the gateway's configuration, checked as far as it can be before anything starts */
#ifndef GATEWAY_SETTINGS_H
#define GATEWAY_SETTINGS_H

#include "gateway/gateway.h"

/* Reads environment and flags; ends the process with 2 and one line on standard error where they are no good.
 */
void settings_load(settings_t *self, int argc, char **argv);

/* True for 127.0.0.0/8 and localhost with a port; false for a port alone, which means every address. */
bool settings_is_loopback(const char *address);

#endif
