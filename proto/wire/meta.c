/* meta - looks up keys of an encoded meta map */
#include <weft/wire.h>

bool
weft_meta_get(weft_span_t meta, const char *key, weft_span_t *value)
{
    weft_span_t found = weft_mp_get(meta, key);
    return weft_mp_str(found, value);
}
