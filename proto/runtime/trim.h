/* trim - gives memory that a peak left behind back to the system
 *
 * malloc keeps what was freed below something that still lives, in the arena of each thread.  A program calls
 * trim_look now and then from a thread that may stand still for some milliseconds. */
#ifndef WEFT_TRIM_H
#define WEFT_TRIM_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TRIM_EVERY_MS = 2000,      /* between two looks */
    TRIM_EVERY_MAX_MS = 60000, /* the same while trimming finds nothing */
    TRIM_WORTH = 16 << 20      /* bytes above the least that was seen */
};

/* All zero: the first look learns what is usual. */
typedef struct {
    int64_t look_at_ms;
    int64_t pause_ms;
    int64_t least; /* bytes resident behind a trim */
} trim_t;

/* Is it worth it, at this time and with so many bytes resident? */
bool trim_due(trim_t *self, int64_t resident, int64_t now_ms);
/* It was done, and so many are left. */
void trim_done(trim_t *self, int64_t before, int64_t after, int64_t now_ms);

/* Looks, and does it where it is worth it. */
void trim_look(trim_t *self, int64_t now_ms);

#endif
