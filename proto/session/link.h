/* link - the heartbeat of one connection to a broker: when to ping, when to call it lost
 *
 *   DOWN --link_up--> UP --DRAIN--> DRAINING;   any --connection lost, or BYE, silence--> DOWN
 *
 * Source: proto/SPEC.md, Client session and Worker session. */
#ifndef WEFT_LINK_H
#define WEFT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/clock.h>

typedef enum { LINK_DOWN, LINK_UP, LINK_DRAINING } link_state_t;

typedef struct {
    link_state_t state;
    uint32_t number; /* the loop's name for it; never used again */
    int64_t heard_at;
    int64_t ping_at;
} link_t;

/* What all links of a session share. */
typedef struct {
    uint32_t ping_ms;    /* jittered by 20 % */
    uint32_t silence_ms; /* without any message: lost */
    int64_t turned_at;   /* the last turn; 0: none yet */
    int64_t excused_to;  /* no link is called lost before: this process itself was away */
} heartbeat_t;

/* At the beginning of each turn (tick).  A process that was stopped or starved finds its brokers "silent"
 * while their messages lie unread: they get another ping's time. */
void heartbeat_turn(heartbeat_t *self, int64_t now_ms);

/* UP; the first PING is due at once. */
void link_up(link_t *self, uint32_t number, int64_t now_ms);

typedef enum { LINK_NOTHING, LINK_PING, LINK_LOST } link_due_t;
/* What is due; for LINK_PING the next one is set already. */
link_due_t link_due(link_t *self, const heartbeat_t *heartbeat, weft_rng_t *rng, int64_t now_ms);
/* When link_due has something to say; INT64_MAX when DOWN. */
int64_t link_next(const link_t *self, const heartbeat_t *heartbeat);

#endif
