/* lacks - the services that a broker has just had no worker of */
#include "session/lacks.h"

static uint32_t
s_find(const lacks_t *self, uint64_t service)
{
    uint32_t at = 0;
    while (at < self->count && self->list[at].service != service)
        at++;
    return at;
}

uint64_t
lacks_key(weft_span_t service)
{
    uint64_t key = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < service.size; i++)
        key = (key ^ (unsigned char) service.data[i]) * UINT64_C(0x100000001b3);
    return key;
}

bool
lacks_has(const lacks_t *self, uint64_t service, int64_t now_ms)
{
    const uint32_t at = s_find(self, service);
    return at < self->count && now_ms < self->list[at].until_ms;
}

void
lacks_add(lacks_t *self, uint64_t service, int64_t now_ms)
{
    uint32_t at = s_find(self, service);
    if (at == LACKS_MAX) {
        at = self->next;
        self->next = (self->next + 1) % LACKS_MAX;
    } else if (at == self->count) {
        self->count++;
    }
    self->list[at] = (lack_t){ service, now_ms + LACKS_MS };
}

void
lacks_probe(lacks_t *self, uint64_t service, int64_t now_ms)
{
    const uint32_t at = s_find(self, service);
    if (at < self->count && now_ms >= self->list[at].until_ms)
        self->list[at].until_ms = now_ms + LACKS_MS;
}

void
lacks_remove(lacks_t *self, uint64_t service)
{
    const uint32_t at = s_find(self, service);
    if (at < self->count)
        self->list[at] = self->list[--self->count];
}
