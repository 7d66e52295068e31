/* fuzz_descriptor - any bytes, or JSON, as a service's description of itself */
#include <weft/descriptor.h>
#include <weft/json.h>

#include "fuzz.h"

static void
s_run(weft_span_t bytes)
{
    char why[200] = "";
    weft_descriptor_t *descriptor = weft_descriptor_new(bytes, why, sizeof why);
    if (!descriptor) {
        FUZZ_ASSERT(why[0] != '\0');
        return;
    }
    FUZZ_ASSERT(descriptor->method_count <= WEFT_METHODS_MAX && weft_version_valid(descriptor->version));
    for (uint32_t i = 0; i < descriptor->method_count; i++)
        FUZZ_ASSERT(weft_descriptor_method(descriptor, descriptor->methods[i].name) ==
                    &descriptor->methods[i]);
    weft_descriptor_destroy(&descriptor);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    weft_span_t bytes = { (const char *) data, size };
    weft_buf_t mp;
    weft_json_error_t error;
    weft_buf_init(&mp, 4 * size + 64);
    if (weft_json_to_mp(bytes, &mp, &error) == WEFT_OK)
        s_run(weft_buf_span(&mp));
    else
        s_run(bytes);
    weft_buf_fini(&mp);
    return 0;
}
