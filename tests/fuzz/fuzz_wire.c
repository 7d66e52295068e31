/* fuzz_wire - any bytes as a frame: decoding bounds itself, and what it accepts says the same when written
 * anew */
#include <weft/wire.h>

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    weft_message_t message;
    const char *why = NULL;
    weft_status_t status = weft_wire_decode(data, size, &message, &why);
    if (status != WEFT_OK) {
        FUZZ_ASSERT(why != NULL);
        return 0;
    }
    FUZZ_ASSERT(weft_wire_id(data) == message.id);
    if (weft_wire_check(&message, &why) != WEFT_OK)
        return 0;
    weft_buf_t out;
    weft_message_t again;
    weft_buf_init(&out, size + 64);
    FUZZ_ASSERT(weft_wire_encode(&out, &message) == WEFT_OK);
    FUZZ_ASSERT(weft_wire_decode(out.data, out.size, &again, &why) == WEFT_OK);
    FUZZ_ASSERT(again.kind == message.kind && again.id == message.id);
    FUZZ_ASSERT(weft_span_equal(again.service, message.service) &&
                weft_span_equal(again.method, message.method));
    weft_wire_set_id(out.data, UINT64_C(0x0102030405060708));
    FUZZ_ASSERT(weft_wire_id(out.data) == UINT64_C(0x0102030405060708));
    weft_buf_fini(&out);
    return 0;
}
