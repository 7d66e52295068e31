/* engine_keys - how many jobs of one concurrency_key are under way, and who waits for it
 *
 * A hash table of the keys in use, chained; it doubles when it is full. */
#include <assert.h>
#include <stdlib.h>

#include "engine_core.h"

enum { BUCKETS_MIN = 64 };

/* FNV-1a (Fowler, Noll, Vo), seeded: keys are a stranger's choice. */
static uint64_t
s_hash(const engine_t *self, const queue_t *queue, weft_span_t text)
{
    uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ self->key_seed) + (uint32_t) queue->config.queue;
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char) text.data[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static job_key_t **
s_bucket(const engine_t *self, uint64_t hash)
{
    return &self->keys[hash & (self->key_room - 1)];
}

static bool
s_grow(engine_t *self)
{
    if (self->key_count < self->key_room)
        return true;
    const uint32_t before = self->key_room;
    job_key_t **old = self->keys;
    job_key_t **larger = calloc(before ? before * 2u : BUCKETS_MIN, sizeof *larger);
    if (!larger)
        return before > 0; /* longer chains, then */
    self->keys = larger;
    self->key_room = before ? before * 2 : BUCKETS_MIN;
    for (uint32_t i = 0; i < before; i++) {
        for (job_key_t *key = old[i], *next = NULL; key; key = next) {
            next = key->next;
            job_key_t **bucket = s_bucket(self, key->hash);
            key->next = *bucket;
            *bucket = key;
        }
    }
    free(old);
    return true;
}

/* The attempt's key, made when it is not in use. */
static job_key_t *
s_get(engine_t *self, const attempt_t *attempt)
{
    const weft_span_t text = weft_buf_span(&attempt->job->key);
    const uint64_t hash = s_hash(self, attempt->queue, text);
    if (!s_grow(self))
        return NULL;
    for (job_key_t *key = *s_bucket(self, hash); key; key = key->next)
        if (key->hash == hash && key->queue == attempt->queue &&
            weft_span_equal(weft_buf_span(&key->text), text))
            return key;
    job_key_t *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    weft_buf_init(&key->text, text.size);
    if (!weft_buf_add(&key->text, text.data, text.size)) {
        free(key);
        return NULL;
    }
    key->queue = attempt->queue;
    key->hash = hash;
    list_init(&key->waiting);
    job_key_t **bucket = s_bucket(self, hash);
    key->next = *bucket;
    *bucket = key;
    self->key_count++;
    return key;
}

static void
s_free_unused(engine_t *self, job_key_t *key)
{
    if (key->holders > 0 || key->waiting_count > 0)
        return;
    job_key_t **at = s_bucket(self, key->hash);
    while (*at != key)
        at = &(*at)->next;
    *at = key->next;
    self->key_count--;
    weft_buf_fini(&key->text);
    free(key);
}

static uint32_t
s_limit(const queue_t *queue)
{
    return queue->config.key_concurrency ? queue->config.key_concurrency : 1;
}

bool
keys_take(engine_t *self, attempt_t *attempt)
{
    assert(!attempt->holds_key);
    if (attempt->job->key.size == 0)
        return true;
    job_key_t *key = s_get(self, attempt);
    if (!key)
        return false;
    /* Behind those that wait, but for one of them whose turn it is. */
    if (key->holders >= s_limit(attempt->queue) || (key->waiting_count > 0 && attempt->key != key)) {
        return false;
    }
    attempt->key = key;
    attempt->holds_key = true;
    key->holders++;
    return true;
}

bool
keys_wait(engine_t *self, attempt_t *attempt)
{
    job_key_t *key = s_get(self, attempt);
    if (!key)
        return false;
    if (key->waiting_count >= ENGINE_KEY_WAITING || attempt->queue->waiting >= ENGINE_KEYS_WAITING) {
        s_free_unused(self, key);
        return false;
    }
    attempt->key = key;
    attempts_set_state(self, attempt, ATTEMPT_WAITING, false);
    return true;
}

/* Those that wait get what is free. */
static void
s_next(engine_t *self, job_key_t *key)
{
    while (key->holders < s_limit(key->queue) && key->waiting_count > 0) {
        attempt_t *next = LIST_ITEM(list_first(&key->waiting), attempt_t, link);
        next->holds_key = true;
        key->holders++;
        attempts_set_state(self, next, ATTEMPT_READY, false);
    }
}

void
keys_leave(engine_t *self, attempt_t *attempt)
{
    job_key_t *key = attempt->key;
    if (!key)
        return;
    assert(attempt->state != ATTEMPT_WAITING);
    attempt->key = NULL;
    if (attempt->holds_key) {
        attempt->holds_key = false;
        key->holders--;
    }
    s_next(self, key);
    s_free_unused(self, key);
}

void
keys_widen(engine_t *self, queue_t *queue)
{
    for (uint32_t i = 0; queue->waiting > 0 && i < self->key_room; i++)
        for (job_key_t *key = self->keys[i]; key; key = key->next)
            if (key->queue == queue)
                s_next(self, key);
}

bool
keys_hungry(const engine_t *self, const attempt_t *attempt)
{
    const weft_span_t text = weft_buf_span(&attempt->job->key);
    if (self->key_room == 0)
        return true;
    const uint64_t hash = s_hash(self, attempt->queue, text);
    for (const job_key_t *key = *s_bucket(self, hash); key; key = key->next) {
        if (key->hash == hash && key->queue == attempt->queue &&
            weft_span_equal(weft_buf_span(&key->text), text)) {
            const uint32_t others = key->holders - (attempt->holds_key ? 1 : 0);
            return others + key->waiting_count < s_limit(attempt->queue) + ENGINE_KEY_WAITING;
        }
    }
    return true;
}

void
keys_fini(engine_t *self)
{
    for (uint32_t i = 0; i < self->key_room; i++) {
        for (job_key_t *key = self->keys[i], *next = NULL; key; key = next) {
            next = key->next;
            weft_buf_fini(&key->text);
            free(key);
        }
    }
    free(self->keys);
}
