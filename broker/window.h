/* window - how much of what was sent to a client it has not confirmed to have read
 *
 * A ROUTER does not tell how full a peer's pipe is, and counts messages, not bytes.  But a client answers
 * PINGs in their turn: who sent the PONG has read all that was sent before its PING.  So a PING goes out now
 * and then, and its mark remembers how much had been sent. */
#ifndef WEFT_WINDOW_H
#define WEFT_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WINDOW_MARKS = 4 };

typedef struct {
    uint64_t id; /* of the PING */
    uint64_t sent;
} window_mark_t;

/* All zero: nothing was sent. */
typedef struct {
    uint64_t sent, confirmed;          /* bytes since the client is known */
    window_mark_t marks[WINDOW_MARKS]; /* oldest first; of PINGs that were not answered */
    uint32_t mark_count;
} window_t;

/* A message of any size may go to a client that has read all before. */
bool window_has_room(const window_t *self, size_t size, uint64_t max);
/* That many bytes were sent; true when it is time for a PING. */
bool window_add(window_t *self, size_t size, uint64_t max);
/* A PING was sent.  Beyond WINDOW_MARKS the newest is replaced: the oldest are those that are answered first.
 */
void window_mark(window_t *self, uint64_t id);
/* A PONG came; ids of no mark (of probes that were replaced, or made up) say nothing. */
void window_confirm(window_t *self, uint64_t id);
/* It has shown otherwise that it has read everything. */
void window_confirm_all(window_t *self);

#endif
