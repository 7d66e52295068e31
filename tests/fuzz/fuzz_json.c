/* fuzz_json - any bytes as JSON: what is accepted is checked msgpack, and survives the way back and forth
 * unchanged */
#include <weft/json.h>

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    weft_buf_t mp, json, again;
    weft_json_error_t error = { 0, NULL };
    weft_buf_init(&mp, 4 * size + 64);
    weft_buf_init(&json, 16 * size + 64);
    weft_buf_init(&again, 4 * size + 64);
    weft_span_t text = { (const char *) data, size };
    weft_status_t status = weft_json_to_mp(text, &mp, &error);
    if (status == WEFT_OK) {
        FUZZ_ASSERT(weft_mp_check(weft_buf_span(&mp), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
        FUZZ_ASSERT(weft_mp_to_json(weft_buf_span(&mp), &json, &error) == WEFT_OK);
        FUZZ_ASSERT(weft_json_to_mp(weft_buf_span(&json), &again, &error) == WEFT_OK);
        FUZZ_ASSERT(weft_span_equal(weft_buf_span(&mp), weft_buf_span(&again)));
    } else {
        FUZZ_ASSERT(status == WEFT_INVALID_ARGUMENT && error.message && error.offset <= size && mp.size == 0);
    }
    /* The same bytes as msgpack: what is accepted becomes JSON that is accepted. */
    weft_buf_reset(&mp);
    weft_buf_reset(&json);
    bool valid = weft_mp_check(text, &WEFT_MP_LIMITS_DEFAULT, NULL, NULL);
    status = weft_mp_to_json(text, &json, &error);
    FUZZ_ASSERT(status != WEFT_OK || valid);
    FUZZ_ASSERT(status == WEFT_OK || error.offset <= size);
    if (status == WEFT_OK && weft_json_to_mp(weft_buf_span(&json), &mp, &error) != WEFT_OK) {
        /* msgpack may have a key twice, and NUL in keys. */
        FUZZ_ASSERT(strcmp(error.message, "duplicate key") == 0 ||
                    strcmp(error.message, "NUL in a key") == 0);
    }
    weft_buf_fini(&mp);
    weft_buf_fini(&json);
    weft_buf_fini(&again);
    return 0;
}
