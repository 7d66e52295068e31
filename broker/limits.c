/* limits - how many requests of a service may be at workers at once, as the operator says */
#include "broker/limits.h"

#include <string.h>

#include <weft/config.h>
#include <weft/log.h>

static const char *
s_number(weft_span_t text, uint32_t *most)
{
    char digits[16];
    int64_t number;
    if (text.size == 0 || text.size >= sizeof digits)
        return "needs a number of 1 to 1000000";
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    if (!weft_parse_int(digits, 1, LIMIT_MOST, &number))
        return "needs a number of 1 to 1000000";
    *most = (uint32_t) number;
    return NULL;
}

static const char *
s_row(limits_t *self, weft_span_t name, weft_span_t number)
{
    limit_t *row = &self->rows[self->count];
    *row = (limit_t){ 0 };
    row->prefix = name.size > 0 && name.data[name.size - 1] == '*';
    weft_span_t parts = { name.data, name.size - row->prefix };
    bool all = row->prefix && parts.size == 0;
    if (row->prefix && !all && parts.data[parts.size - 1] != '.')
        return "has a * that does not stand for whole parts, as in reports.*";
    weft_span_t whole = { parts.data, parts.size - (row->prefix && !all) };
    if (!all && !weft_service_valid(whole))
        return "is no name of a service";
    memcpy(row->name, parts.data, parts.size);
    row->size = (uint32_t) parts.size;
    for (uint32_t i = 0; i < self->count; i++)
        if (self->rows[i].prefix == row->prefix && strcmp(self->rows[i].name, row->name) == 0)
            return "stands twice";
    const char *fault = s_number(number, &row->most);
    self->count += fault == NULL;
    return fault;
}

bool
limits_parse(limits_t *self, const char *text, char *why, size_t why_size)
{
    self->count = 0;
    while (*text) {
        size_t size = strcspn(text, ",");
        const char *equals = memchr(text, '=', size);
        size_t name_size = equals ? (size_t) (equals - text) : size;
        const char *fault = "is not NAME=NUMBER";
        if (self->count == LIMITS_MAX)
            fault = "is one too many: there may be 64";
        else if (equals)
            fault = s_row(self, (weft_span_t){ text, name_size },
                          (weft_span_t){ equals + 1, size - name_size - 1 });
        else if (size == 0)
            fault = "is empty: a comma too many";
        bool last = text[size] == '\0';
        if (fault == NULL && !last && text[size + 1] == '\0')
            fault = "is followed by a comma and nothing";
        if (fault) {
            (void) weft_format(why, why_size, "\"%.*s\" %s", (int) (size < 80 ? size : 80), text, fault);
            return false;
        }
        text += size + !last;
    }
    return true;
}

uint32_t
limits_of(const limits_t *self, weft_span_t service)
{
    const limit_t *best = NULL;
    for (uint32_t i = 0; i < self->count; i++) {
        const limit_t *row = &self->rows[i];
        if (row->size > service.size || memcmp(row->name, service.data, row->size) != 0)
            continue;
        if (!row->prefix && row->size == service.size)
            return row->most;
        if (row->prefix && (best == NULL || row->size > best->size))
            best = row;
    }
    return best ? best->most : 0;
}
