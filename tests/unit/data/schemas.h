/* schemas - JSON texts to schemas and values, for the tests of the validator */
#ifndef TESTS_UNIT_DATA_SCHEMAS_H
#define TESTS_UNIT_DATA_SCHEMAS_H

#include "unit.h"

#include <weft/schema.h>

/* The msgpack of a JSON text, into a buffer that the caller finishes. */
static inline void
schemas_mp(weft_buf_t *mp, const char *json)
{
    weft_json_error_t error = { 0, NULL };
    weft_buf_init(mp, 16 << 20);
    if (weft_json_to_mp(weft_span(json), mp, &error) != WEFT_OK) {
        print_error("%.200s: %s at %zu\n", json, error.message, error.offset);
        fail();
    }
}

static inline weft_schema_t *
schemas_try(const char *json, char *why, size_t why_size)
{
    weft_buf_t mp;
    schemas_mp(&mp, json);
    weft_schema_t *schema = weft_schema_new(weft_buf_span(&mp), why, why_size);
    weft_buf_fini(&mp);
    return schema;
}

static inline weft_schema_t *
schemas_new(const char *json)
{
    char why[300] = "";
    weft_schema_t *schema = schemas_try(json, why, sizeof why);
    if (!schema)
        print_error("%s: %s\n", json, why);
    assert_non_null(schema);
    return schema;
}

static inline weft_status_t
schemas_check(const weft_schema_t *schema, const char *json, weft_schema_report_t *report)
{
    weft_buf_t mp;
    schemas_mp(&mp, json);
    weft_status_t status = weft_schema_check(schema, weft_buf_span(&mp), report);
    weft_buf_fini(&mp);
    return status;
}

#endif
