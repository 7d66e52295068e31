/* engine_check - every invariant of the engine, for tests and the simulation */
#include <stdio.h>
#include <stdlib.h>

#include "engine_core.h"

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void) fprintf(stderr, "engine_check: %s\n", #condition);                                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

typedef struct {
    uint32_t owned, named, rows, progresses;
    uint64_t bytes;
} sums_t;

static uint32_t
s_length(const list_t *list)
{
    uint32_t length = 0;
    for (const list_link_t *link = list->next; link != list; link = link->next) {
        CHECK(link->next->prev == link);
        length++;
    }
    return length;
}

static void
s_attempt(const engine_t *self, const attempt_t *attempt, sums_t *sums)
{
    if (attempt->state == ATTEMPT_FREE) {
        CHECK(!attempt->job && !attempt->holds && !attempt->key && attempt->bytes == 0);
        CHECK(attempt->deadline.place == 0 && !list_linked(&attempt->row_link));
        return;
    }
    CHECK(attempt->job && attempt->queue);
    CHECK(attempt->row_sent || attempt->bytes == attempts_weight(attempt));
    sums->owned++;
    sums->bytes += attempt->bytes;
    sums->rows += list_linked(&attempt->row_link);
    sums->progresses += list_linked(&attempt->progress_link);
    const bool named = attempt->job->id != 0 && !attempt->superseded;
    sums->named += named;
    CHECK((attempt->job->id == 0) == (attempt->state == ATTEMPT_INSERTING));
    CHECK(!named || attempts_by_id(self, attempt->job->id) == attempt);
    CHECK(!attempt->superseded || attempt->state == ATTEMPT_ENDING);
    CHECK(!attempt->holds_key || attempt->key);
    switch (attempt->state) {
    case ATTEMPT_FREE:
        break;
    case ATTEMPT_INSERTING:
        CHECK(self->lanes[LANE_INSERT].sent);
        break;
    case ATTEMPT_WAITING:
        CHECK(attempt->key && !attempt->holds_key && list_linked(&attempt->link));
        break;
    case ATTEMPT_READY:
        CHECK(list_linked(&attempt->link) && !attempt->holds);
        CHECK(attempt->job->key.size == 0 || attempt->holds_key);
        break;
    case ATTEMPT_CALLING:
        CHECK(attempt->holds);
        CHECK(attempt->job->key.size == 0 || attempt->holds_key);
        break;
    case ATTEMPT_ENDING:
        CHECK(attempt->row_sent + attempt->row_parked + list_linked(&attempt->row_link) == 1);
        CHECK(!attempt->row_sent || self->lanes[LANE_FINISH].sent);
        CHECK(!list_linked(&attempt->progress_link) && attempt->row_parked == (attempt->deadline.place != 0));
        break;
    }
}

static void
s_queue(const engine_t *self, const queue_t *queue)
{
    uint32_t states[ATTEMPT_ENDING + 1] = { 0 };
    uint32_t at_hand[JOB_PRIORITIES] = { 0 };
    uint32_t holding = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        const attempt_t *attempt = attempts_at(self, i);
        if (attempt->state == ATTEMPT_FREE || attempt->queue != queue)
            continue;
        states[attempt->state]++;
        holding += attempt->holds;
        at_hand[attempt->job->priority] += attempt->state == ATTEMPT_INSERTING ||
                                           attempt->state == ATTEMPT_READY ||
                                           attempt->state == ATTEMPT_CALLING;
    }
    uint32_t ready = 0;
    for (uint32_t i = 0; i < JOB_PRIORITIES; i++) {
        ready += s_length(&queue->ready[i]);
        CHECK(at_hand[i] == queue->at_hand[i]);
    }
    CHECK(ready == queue->ready_count && ready == states[ATTEMPT_READY]);
    CHECK(queue->calling == states[ATTEMPT_CALLING]);
    CHECK(queue->inserting == states[ATTEMPT_INSERTING]);
    CHECK(queue->waiting == states[ATTEMPT_WAITING]);
    CHECK(queue->holding == holding);
    CHECK(queue->window.size <= WINDOW_MAX);
}

static void
s_keys(const engine_t *self)
{
    uint32_t keys = 0;
    for (uint32_t i = 0; i < self->key_room; i++) {
        for (const job_key_t *key = self->keys[i]; key; key = key->next) {
            uint32_t holders = 0;
            for (uint32_t slot = 0; slot < self->slots; slot++) {
                const attempt_t *attempt = attempts_at(self, slot);
                holders += attempt->key == key && attempt->holds_key;
            }
            CHECK(holders == key->holders);
            CHECK(s_length(&key->waiting) == key->waiting_count);
            CHECK(holders > 0 || key->waiting_count > 0);
            keys++;
        }
    }
    CHECK(keys == self->key_count);
}

void
engine_check(const engine_t *self)
{
    sums_t sums = { 0 };
    deadlines_check(&self->deadlines);
    for (uint32_t i = 0; i < self->slots; i++)
        s_attempt(self, attempts_at(self, i), &sums);
    for (uint32_t i = 0; i < self->insert_count; i++)
        sums.bytes += self->inserts[(self->insert_first + i) & (self->insert_room - 1)].bytes;
    CHECK(sums.owned == self->owned);
    CHECK(sums.named == self->by_id.count);
    CHECK(sums.bytes == self->bytes);
    CHECK(sums.rows == self->row_count && sums.rows == s_length(&self->rows));
    CHECK(sums.progresses == s_length(&self->progresses));
    CHECK(self->slots == s_length(&self->free_attempts) + self->owned);
    CHECK(self->insert_count <= self->config.inserts_max);
    CHECK(self->finish_limit > 0 && self->finish_limit <= self->config.batch_max);
    CHECK(self->claiming == 0 || self->lanes[LANE_CLAIM].sent);
    CHECK(self->number != 0 || self->owned == 0);
    for (uint32_t i = 0; i < self->queue_count; i++)
        s_queue(self, self->queues[i]);
    s_keys(self);
}
