/* fuzz_prefer - any bytes as Prefer headers, a line each */
#include <string.h>

#include "gateway/prefer.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prefer_t prefer = { 0 };
    const char *at = (const char *) data, *end = at + size;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t) (end - at));
        size_t length = (size_t) ((line ? line : end) - at);
        prefer_t before = prefer;
        prefer_read(&prefer, (weft_span_t){ at, length });
        /* The first instance counts: what was seen stays as it is. */
        FUZZ_ASSERT(!before.seen_wait ||
                    (prefer.wait == before.wait && (!prefer.wait || prefer.wait_s == before.wait_s)));
        FUZZ_ASSERT(!before.seen_respond_async || prefer.respond_async == before.respond_async);
        FUZZ_ASSERT(prefer.seen_wait || !prefer.wait);
        at += length + 1;
    }
    return 0;
}
