/* fields - a map for a call, field by field; what is not given is left out */
#include "cli/fields.h"

#include <msgpack.h>

#include <weft/wire.h>

void
fields_init(fields_t *self)
{
    weft_buf_init(&self->pairs, WEFT_FRAME_MAX);
    weft_buf_init(&self->map, WEFT_FRAME_MAX);
    self->count = 0;
}

void
fields_fini(fields_t *self)
{
    weft_buf_fini(&self->pairs);
    weft_buf_fini(&self->map);
}

static msgpack_packer
s_key(fields_t *self, const char *key)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, &self->pairs, weft_buf_write);
    (void) msgpack_pack_str_with_body(&packer, key, strlen(key));
    self->count++;
    return packer;
}

void
fields_span(fields_t *self, const char *key, weft_span_t text)
{
    if (text.data) {
        msgpack_packer packer = s_key(self, key);
        (void) msgpack_pack_str_with_body(&packer, text.data, text.size);
    }
}

void
fields_text(fields_t *self, const char *key, const char *text)
{
    fields_span(self, key, weft_span(text));
}

void
fields_number(fields_t *self, const char *key, int64_t number, int64_t absent)
{
    if (number != absent) {
        msgpack_packer packer = s_key(self, key);
        (void) msgpack_pack_int64(&packer, number);
    }
}

void
fields_flag(fields_t *self, const char *key, bool flag)
{
    if (flag) {
        msgpack_packer packer = s_key(self, key);
        (void) msgpack_pack_true(&packer);
    }
}

void
fields_nil(fields_t *self, const char *key)
{
    msgpack_packer packer = s_key(self, key);
    (void) msgpack_pack_nil(&packer);
}

void
fields_value(fields_t *self, const char *key, weft_span_t value)
{
    if (value.size > 0) {
        (void) s_key(self, key);
        (void) weft_buf_add(&self->pairs, value.data, value.size);
    }
}

weft_span_t
fields_map(fields_t *self)
{
    msgpack_packer packer;
    weft_buf_reset(&self->map);
    msgpack_packer_init(&packer, &self->map, weft_buf_write);
    (void) msgpack_pack_map(&packer, self->count);
    bool fits = weft_buf_add(&self->map, self->pairs.data, self->pairs.size) && !self->pairs.failed &&
                !self->map.failed;
    return fits ? weft_buf_span(&self->map) : (weft_span_t){ NULL, 0 };
}
