/* watch - the stream of changes of the registry */
#ifndef WEFT_BROKER_WATCH_H
#define WEFT_BROKER_WATCH_H

#include "broker/core.h"

void watch_start(dispatcher_t *self, request_t *request);
/* Its request is let go. */
void watch_end(dispatcher_t *self, watcher_t *watcher);
/* Something in the registry changed: tell soon, or where it is minor within a second. */
void watch_changed(dispatcher_t *self, bool minor);
void watch_forgotten(dispatcher_t *self, const service_t *service);
/* Its deadline: tells what changed. */
void watch_due(dispatcher_t *self);
/* Ends all watches: the broker leaves. */
void watch_stop(dispatcher_t *self, const char *message);

#endif
