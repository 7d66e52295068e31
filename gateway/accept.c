/* accept - which form of a stream an Accept header asks for */
#include "gateway/accept.h"

#include <string.h>
#include <strings.h>

static bool
s_is(weft_span_t item, const char *type)
{
    return item.size == strlen(type) && strncasecmp(item.data, type, item.size) == 0;
}

accept_t
accept_choose(weft_span_t accept)
{
    accept_t form = accept.size ? ACCEPT_NONE : ACCEPT_NDJSON;
    while (accept.size > 0) {
        const char *comma = memchr(accept.data, ',', accept.size);
        weft_span_t item = { accept.data, comma ? (size_t) (comma - accept.data) : accept.size };
        size_t step = comma ? item.size + 1 : item.size;
        accept.data += step;
        accept.size -= step;
        const char *semicolon = item.size ? memchr(item.data, ';', item.size) : NULL;
        item.size = semicolon ? (size_t) (semicolon - item.data) : item.size;
        while (item.size > 0 && item.data[0] == ' ') {
            item.data++;
            item.size--;
        }
        while (item.size > 0 && item.data[item.size - 1] == ' ') {
            item.size--;
        }
        if (s_is(item, "text/event-stream")) {
            return ACCEPT_SSE;
        }
        if (form == ACCEPT_NONE && s_is(item, "application/json")) {
            form = ACCEPT_JSON;
        } else if (s_is(item, "application/x-ndjson") || s_is(item, "application/*") || s_is(item, "*/*")) {
            form = ACCEPT_NDJSON;
        }
    }
    return form;
}
