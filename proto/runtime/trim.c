/* trim - gives memory that a peak left behind back to the system */
#include "runtime/trim.h"

#include <malloc.h>

#include <weft/log.h>

#include "runtime/metrics_process.h"

bool
trim_due(trim_t *self, int64_t resident, int64_t now_ms)
{
    if (now_ms < self->look_at_ms)
        return false;
    if (self->pause_ms == 0)
        self->pause_ms = TRIM_EVERY_MS;
    self->look_at_ms = now_ms + self->pause_ms;
    if (self->least == 0 || resident < self->least)
        self->least = resident;
    if (resident - self->least >= TRIM_WORTH)
        return true;
    self->pause_ms = TRIM_EVERY_MS;
    return false;
}

void
trim_done(trim_t *self, int64_t before, int64_t after, int64_t now_ms)
{
    /* All of it is in use: look less often, since to find that out costs something. */
    if (before - after < (before - self->least) / 4)
        self->pause_ms = self->pause_ms * 2 < TRIM_EVERY_MAX_MS ? self->pause_ms * 2 : TRIM_EVERY_MAX_MS;
    else
        self->pause_ms = TRIM_EVERY_MS;
    if (after < self->least)
        self->least = after;
    self->look_at_ms = now_ms + self->pause_ms;
}

void
trim_look(trim_t *self, int64_t now_ms)
{
    if (now_ms < self->look_at_ms)
        return;
    const int64_t before = metrics_process_resident();
    if (before <= 0 || !trim_due(self, before, now_ms))
        return;
    (void) malloc_trim(0);
    const int64_t after = metrics_process_resident();
    trim_done(self, before, after, now_ms);
    weft_log_debug("gave memory back", WEFT_INT("before", before), WEFT_INT("after", after));
}
