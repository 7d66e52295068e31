/* loss - cleans up behind peers that are gone, and does what was put off during a call */
#ifndef WEFT_BROKER_LOSS_H
#define WEFT_BROKER_LOSS_H

#include "broker/core.h"

/* Until nothing is left to do: lost workers and clients are reaped, services pumped.  At the end of each call
 * into the dispatcher.  One thing after the other, so that a loss found on the way never recurses. */
void loss_settle(dispatcher_t *self);

/* Frees everything without a word to anybody: the dispatcher is being destroyed. */
void loss_free_all(dispatcher_t *self);

#endif
