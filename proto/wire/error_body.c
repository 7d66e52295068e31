/* error_body - writes and reads the body of a REPLY that is not OK; SPEC.md, Status and errors */
#include <weft/wire.h>

#include <msgpack.h>

/* A text of ours, or of a library or user: what is not UTF-8 would make the whole reply invalid, so its bytes
 * beyond ASCII become question marks. */
static void
s_pack_text(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    if (text.size == 0)
        return;
    if (weft_utf8_valid(text)) {
        msgpack_pack_str_body(pk, text.data, text.size);
        return;
    }
    weft_buf_t *out = pk->data;
    char *to = weft_buf_reserve(out, text.size);
    if (!to)
        return; /* the buffer remembers */
    for (size_t i = 0; i < text.size; i++)
        to[i] = (unsigned char) text.data[i] < 0x80 ? text.data[i] : '?';
    out->size += text.size;
}

bool
weft_error_body_write(weft_buf_t *out, const weft_error_body_t *error)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, 2u + (error->hop.size > 0) + (error->details.size > 0));
    s_pack_text(&pk, WEFT_SPAN("message"));
    s_pack_text(&pk, error->message);
    s_pack_text(&pk, WEFT_SPAN("executed"));
    s_pack_text(&pk, error->executed_maybe ? WEFT_SPAN("maybe") : WEFT_SPAN("no"));
    if (error->hop.size > 0) {
        s_pack_text(&pk, WEFT_SPAN("hop"));
        s_pack_text(&pk, error->hop);
    }
    if (error->details.size > 0) {
        s_pack_text(&pk, WEFT_SPAN("details"));
        weft_buf_add(out, error->details.data, error->details.size);
    }
    return !out->failed;
}

void
weft_error_body_read(weft_span_t body, weft_error_body_t *error)
{
    error->message = weft_mp_get_str(body, "message");
    error->hop = weft_mp_get_str(body, "hop");
    error->details = weft_mp_get(body, "details");
    error->executed_maybe = !weft_span_equal(weft_mp_get_str(body, "executed"), WEFT_SPAN("no"));
}
