/* pack - the two things that msgpack-c's packer takes two calls for */
#include <weft/handler.h>

void
weft_pack_str(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

void
weft_pack_text(msgpack_packer *pk, const char *text)
{
    weft_pack_str(pk, weft_span(text));
}
