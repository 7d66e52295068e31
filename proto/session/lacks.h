/* lacks - the services that a broker has just had no worker of
 *
 * A broker that refuses at once has least in flight and would draw every call: so others are preferred for a
 * service that it lacks, and only one call per LACKS_MS looks whether it still does (as the half-open state
 * of a circuit breaker; Nygard 2007, Release It!). */
#ifndef WEFT_LACKS_H
#define WEFT_LACKS_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/buf.h>

enum {
    LACKS_MAX = 64, /* services remembered; beyond it the oldest is forgotten */
    LACKS_MS = 1000
};

typedef struct {
    uint64_t service; /* lacks_key of its name */
    int64_t until_ms;
} lack_t;

/* All zero: none. */
typedef struct {
    lack_t list[LACKS_MAX];
    uint32_t count;
    uint32_t next; /* the place of the oldest, once the list is full */
} lacks_t;

/* Two names of one key would share a fate for a second; nothing worse. */
uint64_t lacks_key(weft_span_t service);
/* Should it be spared calls of the service now? */
bool lacks_has(const lacks_t *self, uint64_t service, int64_t now_ms);
/* It refused one. */
void lacks_add(lacks_t *self, uint64_t service, int64_t now_ms);
/* One is sent: where the time is over, this is the one that looks, and the next waits again. */
void lacks_probe(lacks_t *self, uint64_t service, int64_t now_ms);
/* It answered one. */
void lacks_remove(lacks_t *self, uint64_t service);

#endif
