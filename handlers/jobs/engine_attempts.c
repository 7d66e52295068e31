/* engine_attempts - the jobs that this process owns: their memory, how they are found, what state they are in
 */
#include <assert.h>
#include <stdlib.h>

#include "engine_core.h"

enum { CHUNK = 256 };

attempt_t *
attempts_at(const engine_t *self, uint32_t slot)
{
    return slot < self->slots ? &self->chunks[slot / CHUNK][slot % CHUNK] : NULL;
}

static bool
s_grow(engine_t *self)
{
    const uint32_t chunks = self->slots / CHUNK;
    attempt_t **moved = reallocarray(self->chunks, chunks + 1, sizeof *moved);
    if (!moved)
        return false;
    self->chunks = moved;
    /* Every attempt may have a deadline of its own. */
    if (!deadlines_reserve(&self->deadlines, TIMER_QUEUE + LANES + self->queue_count + self->slots + CHUNK))
        return false;
    attempt_t *chunk = calloc(CHUNK, sizeof *chunk);
    if (!chunk)
        return false;
    self->chunks[chunks] = chunk;
    for (uint32_t i = 0; i < CHUNK; i++) {
        chunk[i].slot = self->slots + i;
        chunk[i].generation = 1;
        chunk[i].deadline.kind = TIMER_ATTEMPT;
        list_add(&self->free_attempts, &chunk[i].link);
    }
    self->slots += CHUNK;
    return true;
}

size_t
attempts_weight(const attempt_t *attempt)
{
    const job_t *job = attempt->job;
    const finish_row_t *row = &attempt->row;
    return job->input.capacity + job->options.capacity + job->errors.capacity + job->key.capacity +
           attempt->progress.capacity + row->value.capacity + row->meta.capacity + row->error.capacity +
           row->errors.capacity;
}

void
attempts_weigh(engine_t *self, attempt_t *attempt)
{
    self->bytes -= attempt->bytes;
    attempt->bytes = attempts_weight(attempt);
    self->bytes += attempt->bytes;
}

attempt_t *
attempts_add(engine_t *self, queue_t *queue, job_t **job_p, attempt_state_t state)
{
    if (list_empty(&self->free_attempts) && !s_grow(self))
        return NULL;
    attempt_t *attempt = LIST_ITEM(list_first(&self->free_attempts), attempt_t, link);
    list_remove(&attempt->link);
    assert(attempt->state == ATTEMPT_FREE && !attempt->job);
    attempt->job = *job_p;
    *job_p = NULL;
    attempt->queue = queue;
    weft_buf_init(&attempt->progress, ENGINE_RESULT_MAX);
    self->owned++;
    attempts_weigh(self, attempt);
    attempts_set_state(self, attempt, state, false);
    return attempt;
}

bool
attempts_named(engine_t *self, attempt_t *attempt)
{
    const uint64_t id = (uint64_t) attempt->job->id;
    attempt_t *older = attempts_by_id(self, attempt->job->id);
    if (older) {
        /* We gave it back, or it was taken from us, and here it is again before we heard of that. */
        id_table_remove(&self->by_id, id);
        older->superseded = true;
        if (older->state == ATTEMPT_CALLING)
            self->events.cancel_call(self->events.context, attempts_token(older));
        if (older->state != ATTEMPT_ENDING)
            attempts_drop(self, older);
    }
    return id_table_add(&self->by_id, id, attempt->slot);
}

attempt_t *
attempts_by_id(const engine_t *self, int64_t id)
{
    uint32_t slot = 0;
    return id_table_find(&self->by_id, (uint64_t) id, &slot) ? attempts_at(self, slot) : NULL;
}

attempt_t *
attempts_by_ref(const engine_t *self, attempt_ref_t ref)
{
    attempt_t *attempt = ref.any ? attempts_at(self, ref.slot) : NULL;
    return attempt && attempt->generation == ref.generation ? attempt : NULL;
}

uint64_t
attempts_token(const attempt_t *attempt)
{
    return (uint64_t) attempt->generation << 32 | attempt->slot;
}

attempt_t *
attempts_by_token(const engine_t *self, uint64_t token)
{
    attempt_t *attempt = attempts_at(self, (uint32_t) token);
    return attempt && attempt->state == ATTEMPT_CALLING && attempt->generation == token >> 32 ? attempt
                                                                                              : NULL;
}

static bool
s_at_hand(attempt_state_t state)
{
    return state == ATTEMPT_INSERTING || state == ATTEMPT_READY || state == ATTEMPT_CALLING;
}

void
attempts_set_state(engine_t *self, attempt_t *attempt, attempt_state_t state, bool front)
{
    queue_t *queue = attempt->queue;
    (void) self;
    switch (attempt->state) {
    case ATTEMPT_FREE:
    case ATTEMPT_ENDING:
        break;
    case ATTEMPT_INSERTING:
        queue->inserting--;
        break;
    case ATTEMPT_WAITING:
        list_remove(&attempt->link);
        attempt->key->waiting_count--;
        queue->waiting--;
        break;
    case ATTEMPT_READY:
        list_remove(&attempt->link);
        queue->ready_count--;
        break;
    case ATTEMPT_CALLING:
        queue->calling--;
        break;
    }
    if (s_at_hand(attempt->state))
        queue->at_hand[attempt->job->priority]--;
    attempt->state = state;
    if (s_at_hand(state))
        queue->at_hand[attempt->job->priority]++;
    switch (state) {
    case ATTEMPT_FREE:
    case ATTEMPT_ENDING:
        break;
    case ATTEMPT_INSERTING:
        queue->inserting++;
        break;
    case ATTEMPT_WAITING:
        list_add(&attempt->key->waiting, &attempt->link);
        attempt->key->waiting_count++;
        queue->waiting++;
        break;
    case ATTEMPT_READY: {
        list_t *ready = &queue->ready[attempt->job->priority];
        list_insert(front ? ready->next : ready, &attempt->link);
        queue->ready_count++;
        break;
    }
    case ATTEMPT_CALLING:
        queue->calling++;
        break;
    }
}

void
attempts_let_go(engine_t *self, attempt_t *attempt)
{
    if (attempt->holds) {
        attempt->holds = false;
        attempt->queue->holding--;
    }
    keys_leave(self, attempt);
}

void
attempts_drop(engine_t *self, attempt_t *attempt)
{
    assert(attempt->state != ATTEMPT_FREE);
    attempts_set_state(self, attempt, ATTEMPT_FREE, false);
    list_discard(&attempt->progress_link);
    deadlines_clear(&self->deadlines, &attempt->deadline);
    if (list_linked(&attempt->row_link)) {
        list_remove(&attempt->row_link);
        self->row_count--;
    }
    if (attempt->job->id != 0 && !attempt->superseded && attempts_by_id(self, attempt->job->id) == attempt)
        id_table_remove(&self->by_id, (uint64_t) attempt->job->id);
    attempts_let_go(self, attempt);
    self->bytes -= attempt->bytes;
    finish_row_clear(&attempt->row);
    weft_buf_fini(&attempt->progress);
    job_destroy(&attempt->job);
    const uint32_t slot = attempt->slot;
    const uint32_t generation = attempt->generation + 1;
    *attempt = (attempt_t){ .slot = slot, .generation = generation ? generation : 1 };
    attempt->deadline.kind = TIMER_ATTEMPT;
    /* Last in, first out: the hot ones stay in the cache. */
    list_insert(self->free_attempts.next, &attempt->link);
    self->owned--;
}

void
attempts_fini(engine_t *self)
{
    for (uint32_t slot = 0; slot < self->slots; slot++) {
        attempt_t *attempt = attempts_at(self, slot);
        if (attempt->state == ATTEMPT_FREE)
            continue;
        finish_row_clear(&attempt->row);
        weft_buf_fini(&attempt->progress);
        job_destroy(&attempt->job);
    }
    for (uint32_t i = 0; i < self->slots / CHUNK; i++)
        free(self->chunks[i]);
    free(self->chunks);
    id_table_fini(&self->by_id);
}
