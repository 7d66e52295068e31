/* pack - short names for packing what the broker tells about itself */
#ifndef WEFT_BROKER_PACK_H
#define WEFT_BROKER_PACK_H

#include <msgpack.h>

#include <weft/buf.h>

/* Results are not looked at one by one: the buffer remembers that something did not fit. */
static inline void
pack_str(msgpack_packer *packer, weft_span_t text)
{
    (void) msgpack_pack_str(packer, text.size);
    (void) msgpack_pack_str_body(packer, text.data, text.size);
}

static inline void
pack_key(msgpack_packer *packer, const char *key)
{
    pack_str(packer, weft_span(key));
}

static inline void
pack_uint(msgpack_packer *packer, const char *key, uint64_t number)
{
    pack_key(packer, key);
    (void) msgpack_pack_uint64(packer, number);
}

static inline void
pack_bool(msgpack_packer *packer, const char *key, bool flag)
{
    pack_key(packer, key);
    (void) (flag ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
}

static inline void
pack_text(msgpack_packer *packer, const char *key, weft_span_t text)
{
    pack_key(packer, key);
    pack_str(packer, text);
}

#endif
