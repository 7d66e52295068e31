/* batch - the rows that go to the database together: their memory */
#include "batch.h"

#include <assert.h>
#include <stdlib.h>

#define BUF_MAX (64u << 20)
#define FIRST_ROWS 16

batch_t *
batch_new(batch_kind_t kind, lane_t lane, int32_t owner)
{
    batch_t *self = calloc(1, sizeof *self);
    if (self) {
        self->kind = kind;
        self->lane = lane;
        self->owner = owner;
    }
    return self;
}

void
batch_destroy(batch_t **self_p)
{
    assert(self_p);
    if (!*self_p)
        return;
    batch_t *self = *self_p;
    for (uint32_t i = 0; i < self->insert_count; i++) {
        insert_row_t *row = &self->inserts[i];
        job_destroy(&row->job);
        weft_buf_fini(&row->unique_key);
        weft_buf_fini(&row->idem_scope);
        weft_buf_fini(&row->idem_key);
    }
    for (uint32_t i = 0; i < self->finish_count; i++) {
        finish_row_t *row = &self->finishes[i];
        weft_buf_fini(&row->value);
        weft_buf_fini(&row->meta);
        weft_buf_fini(&row->error);
        weft_buf_fini(&row->errors);
        weft_buf_fini(&row->release_key);
    }
    for (uint32_t i = 0; i < self->job_count; i++)
        job_destroy(&self->jobs[i]);
    free(self->inserts);
    free(self->finishes);
    free(self->asks);
    free(self->jobs);
    free(self->known);
    free(self->moved_queues);
    free(self->lease.cancels);
    free(self);
    *self_p = NULL;
}

/* Room for one more row of `size` bytes: the array, moved perhaps; NULL when out of memory. */
static void *
s_grow(void *rows, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return rows;
    uint32_t wanted = *capacity ? *capacity * 2 : FIRST_ROWS;
    void *moved = reallocarray(rows, wanted, size);
    if (moved)
        *capacity = wanted;
    return moved;
}

insert_row_t *
batch_add_insert(batch_t *self)
{
    insert_row_t *rows = s_grow(self->inserts, self->insert_count, &self->insert_capacity, sizeof *rows);
    if (!rows)
        return NULL;
    self->inserts = rows;
    insert_row_t *row = &rows[self->insert_count++];
    *row = (insert_row_t){ .run_at_us = INT64_MIN };
    weft_buf_init(&row->unique_key, BUF_MAX);
    weft_buf_init(&row->idem_scope, BUF_MAX);
    weft_buf_init(&row->idem_key, BUF_MAX);
    return row;
}

finish_row_t *
batch_add_finish(batch_t *self)
{
    finish_row_t *rows = s_grow(self->finishes, self->finish_count, &self->finish_capacity, sizeof *rows);
    if (!rows)
        return NULL;
    self->finishes = rows;
    finish_row_t *row = &rows[self->finish_count++];
    *row = (finish_row_t){ .kind = FINISH_DONE };
    weft_buf_init(&row->value, BUF_MAX);
    weft_buf_init(&row->meta, BUF_MAX);
    weft_buf_init(&row->error, BUF_MAX);
    weft_buf_init(&row->errors, BUF_MAX);
    weft_buf_init(&row->release_key, BUF_MAX);
    return row;
}
