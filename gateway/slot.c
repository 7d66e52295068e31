/* slot - what one HTTP thread owns and uses again for each request: buffers, random numbers, its place in the
 * watchdog's list */
#include "gateway/slot.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <weft/wire.h>

#define OUT_MAX                                                                                              \
    ((size_t) 16 * 1024 * 1024) /* JSON of one reply: a frame of 2 MiB grows at most sixfold (control        \
                           characters), so never met */
#define META_MAX WEFT_META_MAX

slot_t *
slot_new(gateway_t *gateway)
{
    slot_t *self = aligned_alloc(64, (sizeof *self + 63) / 64 * 64);
    if (!self) {
        return NULL;
    }
    memset(self, 0, sizeof *self);
    if (!waiter_init(&self->waiter)) {
        free(self);
        return NULL;
    }
    self->gateway = gateway;
    self->thread = pthread_self();
    self->socket = -2;
    weft_rng_seed(&self->rng, weft_random_u64());
    weft_buf_init(&self->json, (size_t) gateway->settings.body_max);
    weft_buf_init(&self->body, WEFT_FRAME_MAX);
    weft_buf_init(&self->input, WEFT_FRAME_MAX);
    weft_buf_init(&self->meta, META_MAX);
    weft_buf_init(&self->out, OUT_MAX);
    return self;
}

void
slot_destroy(slot_t **self_p)
{
    slot_t *self = *self_p;
    if (self) {
        weft_buf_fini(&self->out);
        weft_buf_fini(&self->meta);
        weft_buf_fini(&self->input);
        weft_buf_fini(&self->body);
        weft_buf_fini(&self->json);
        waiter_fini(&self->waiter);
        free(self);
        *self_p = NULL;
    }
}

/* FREE -arm-> ARMED -disarm-> FREE;  ARMED -cut-> CUTTING -shut down-> FREE.  CUTTING keeps the thread from
 * closing a socket that is about to be shut down, whose number could be another connection's by then. */
enum { FREE, ARMED, CUTTING };

void
slot_arm(slot_t *self, int socket, int64_t at_ms)
{
    atomic_store(&self->cut_socket, socket);
    atomic_store(&self->cut_at_ms, at_ms);
    atomic_store(&self->cut_state, ARMED);
}

void
slot_disarm(slot_t *self)
{
    int state = ARMED;
    while (!atomic_compare_exchange_strong(&self->cut_state, &state, FREE) && state == CUTTING) {
        sched_yield();
        state = ARMED;
    }
}

void
slot_cut_if_due(slot_t *self, int64_t now_ms)
{
    int state = ARMED;
    if (now_ms >= atomic_load(&self->cut_at_ms) &&
        atomic_compare_exchange_strong(&self->cut_state, &state, CUTTING)) {
        (void) shutdown(atomic_load(&self->cut_socket), SHUT_RDWR);
        atomic_store(&self->cut_state, FREE);
    }
}

void
slot_trim(slot_t *self)
{
    weft_buf_t *const buffers[] = { &self->json, &self->body, &self->input, &self->meta, &self->out };
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        if (buffers[i]->capacity > SLOT_KEEP) {
            weft_buf_fini(buffers[i]);
        }
    }
}
