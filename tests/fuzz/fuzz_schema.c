/* fuzz_schema - JSON or msgpack as [schema, value]: compiling and checking bound themselves, with and without
 * a report alike */
#include <weft/json.h>
#include <weft/schema.h>

#include "fuzz.h"

static void
s_run(weft_span_t pair)
{
    weft_mp_t cursor = weft_mp(pair);
    weft_mp_token_t token;
    weft_span_t source, value;
    char why[200] = "";
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_ARRAY || token.count < 2 ||
        !weft_mp_value(&cursor, &source) || !weft_mp_value(&cursor, &value))
        return;
    weft_schema_t *schema = weft_schema_new(source, why, sizeof why);
    if (!schema) {
        FUZZ_ASSERT(why[0] != '\0');
        return;
    }
    weft_schema_report_t report;
    weft_status_t status = weft_schema_check(schema, value, &report);
    weft_status_t quick = weft_schema_check(schema, value, NULL);
    FUZZ_ASSERT(status == WEFT_OK ? report.count == 0 : report.count > 0);
    for (uint32_t i = 0; i < report.count; i++) {
        FUZZ_ASSERT(memchr(report.errors[i].pointer, '\0', sizeof report.errors[i].pointer));
        FUZZ_ASSERT(memchr(report.errors[i].message, '\0', sizeof report.errors[i].message));
    }
    /* Without a report the first failure is the end, so it may be told before the budget is spent, or the
     * other way about. */
    FUZZ_ASSERT(status == quick || (status != WEFT_OK && quick != WEFT_OK));
    (void) weft_schema_property_types(schema, WEFT_SPAN("a"));
    weft_schema_destroy(&schema);
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
    else if (weft_mp_check(bytes, &WEFT_MP_LIMITS_DEFAULT, NULL, NULL))
        s_run(bytes);
    weft_buf_fini(&mp);
    return 0;
}
