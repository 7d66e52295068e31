/* Tests of schema_new: what does not compile says where and why; what types a property may have */
#include "schemas.h"

static void
test_says_where_and_why(void **state)
{
    (void) state;
    static const struct {
        const char *schema;
        const char *why;
    } CASES[] = {
        { "1", "(root): must be a schema: an object, true or false" },
        { "{\"minimun\":1}", "/minimun: this keyword is not supported" },
        { "{\"properties\":{\"a\":{\"unevaluatedProperties\":false}}}",
          "/properties/a/unevaluatedProperties: this keyword is not supported" },
        { "{\"properties\":{\"a/b~c\":{\"x\":1}}}", "/properties/a~1b~0c/x: this keyword is not supported" },
        { "{\"allOf\":[true,{\"items\":{\"type\":\"text\"}}]}",
          "/allOf/1/items/type: must be a type or a list of different types" },
        { "{\"type\":[]}", "/type: must name a type" },
        { "{\"type\":[\"string\",\"string\"]}", "/type: must be a type or a list of different types" },
        { "{\"enum\":[]}", "/enum: must be an array that is not empty" },
        { "{\"minimum\":\"1\"}", "/minimum: must be a number" },
        { "{\"multipleOf\":0}", "/multipleOf: must be above 0" },
        { "{\"multipleOf\":-1.5}", "/multipleOf: must be above 0" },
        { "{\"minLength\":-1}", "/minLength: must be an integer of at least 0" },
        { "{\"maxItems\":1.5}", "/maxItems: must be an integer of at least 0" },
        { "{\"minContains\":\"a\"}", "/minContains: must be an integer of at least 0" },
        { "{\"pattern\":\"(\"}",
          "/pattern: is no regular expression: missing closing parenthesis, at byte 1" },
        { "{\"pattern\":\"(*LIMIT_MATCH=1)a\"}",
          "/pattern: has \"(*\", which is no part of a regular expression here" },
        { "{\"pattern\":1}", "/pattern: must be a string" },
        { "{\"patternProperties\":{\"[\":true}}", "/patternProperties: is no regular expression: missing "
                                                  "terminating ] for character class, at byte 1" },
        { "{\"format\":\"iri\"}", "/format: names a format that is not supported" },
        { "{\"uniqueItems\":1}", "/uniqueItems: must be true or false" },
        { "{\"items\":[{}]}", "/items: must be a schema; a list of schemas is prefixItems" },
        { "{\"items\":3}", "/items: must be a schema: an object, true or false" },
        { "{\"prefixItems\":{}}", "/prefixItems: must be an array of schemas that is not empty" },
        { "{\"properties\":[]}", "/properties: must be an object of schemas" },
        { "{\"required\":\"a\"}", "/required: must be an array of strings" },
        { "{\"required\":[1]}", "/required: must be an array of strings" },
        { "{\"dependentRequired\":{\"a\":\"b\"}}",
          "/dependentRequired: must be an object of arrays of strings" },
        { "{\"anyOf\":[]}", "/anyOf: must be an array of schemas that is not empty" },
        { "{\"then\":1}", "/then: must be a schema: an object, true or false" },
        { "{\"$ref\":\"other.json\"}", "/$ref: must be local, such as #/$defs/name" },
        { "{\"$ref\":\"#/$defs/a\"}", "/$ref: leads nowhere" },
        { "{\"$ref\":\"#/$defs/%zz\"}", "/$ref: leads nowhere" },
        { "{\"$ref\":\"#a\"}", "/$ref: leads nowhere" },
        { "{\"$defs\":{\"a\":{\"minimun\":1}}}", "/$defs/a/minimun: this keyword is not supported" },
        { "{\"$defs\":{\"a\":{\"$anchor\":\"x\"},\"b\":{\"$anchor\":\"x\"}}}",
          "/$defs/b/$anchor: comes twice" },
        { "{\"items\":{\"$id\":\"http://a/\"}}", "/items/$id: is supported at the root only" },
        { "{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
          "/$schema: must be https://json-schema.org/draft/2020-12/schema" },
        { "{\"$ref\":\"#\"}",
          "(root): leads back to itself, or through too many schemas, without a step into the value" },
        { "{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"}]},\"b\":{\"not\":{\"$ref\":\"#/$defs/"
          "a\"}}},"
          "\"$ref\":\"#/$defs/a\"}",
          "/$defs/a: leads back to itself, or through too many schemas, without a step into the value" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char why[300] = "";
        weft_schema_t *schema = schemas_try(CASES[i].schema, why, sizeof why);
        assert_null(schema);
        assert_string_equal(why, CASES[i].why);
        /* Nowhere to write is allowed, too, and little room. */
        char little[9];
        assert_null(schemas_try(CASES[i].schema, NULL, 0));
        assert_null(schemas_try(CASES[i].schema, little, sizeof little));
        assert_true(strlen(little) < sizeof little);
    }
}

static void
test_malformed_bytes_are_refused(void **state)
{
    (void) state;
    char why[300] = "";
    assert_null(weft_schema_new((weft_span_t){ NULL, 0 }, why, sizeof why));
    assert_null(weft_schema_new((weft_span_t){ "\x81", 1 }, why, sizeof why));
    assert_null(weft_schema_new((weft_span_t){ "\x81\x01\xc0", 3 }, why, sizeof why));
    assert_string_equal(why, "(root): map key that is no str");
    /* JSON has no duplicate keys; msgpack may. */
    static const char TWICE[] = "\x82\xa4type\xa6string\xa4type\xa6number";
    assert_null(weft_schema_new((weft_span_t){ TWICE, sizeof TWICE - 1 }, why, sizeof why));
    assert_string_equal(why, "/type: comes twice");
}

static void
test_chains_of_schemas_in_place_are_bounded(void **state)
{
    (void) state;
    weft_buf_t text;
    weft_buf_init(&text, 100000);
    for (int length = 60; length <= 70; length += 10) {
        weft_buf_reset(&text);
        assert_true(weft_buf_add_text(&text, "{\"$ref\":\"#/$defs/0\",\"$defs\":{"));
        for (int i = 0; i < length; i++)
            assert_true(weft_buf_addf(&text, "\"%d\":{\"$ref\":\"#/$defs/%d\"},", i, i + 1));
        assert_true(weft_buf_addf(&text, "\"%d\":{\"type\":\"null\"}}}", length));
        assert_true(weft_buf_add_char(&text, '\0'));
        char why[300];
        weft_schema_t *schema = schemas_try(text.data, why, sizeof why);
        assert_true((schema != NULL) == (length == 60));
        if (schema) {
            assert_int_equal(schemas_check(schema, "null", NULL), WEFT_OK);
            assert_int_equal(schemas_check(schema, "1", NULL), WEFT_INVALID_ARGUMENT);
        }
        weft_schema_destroy(&schema);
    }
    weft_buf_fini(&text);
}

static void
test_tells_the_types_of_a_property(void **state)
{
    (void) state;
    weft_schema_t *schema = schemas_new(
        "{\"properties\":{\"id\":{\"type\":\"string\"},\"n\":{\"type\":[\"integer\",\"null\"]},"
        "\"any\":{},\"e\":{\"enum\":[\"a\",1]},\"r\":{\"$ref\":\"#/$defs/flag\"},\"c\":{\"const\":true}},"
        "\"allOf\":[{\"properties\":{\"deep\":{\"type\":\"number\"},\"id\":{\"minLength\":1}}}],"
        "\"anyOf\":[{\"properties\":{\"x\":{\"type\":\"string\"}}},{\"properties\":{\"x\":{\"type\":"
        "\"boolean\"}}}],"
        "\"$ref\":\"#/$defs/more\",\"$defs\":{\"flag\":{\"type\":\"boolean\"},"
        "\"more\":{\"properties\":{\"far\":{\"oneOf\":[{\"type\":\"array\"},{\"type\":\"object\"}]}}}}}");
    static const struct {
        const char *name;
        unsigned types;
    } CASES[] = {
        { "id", WEFT_SCHEMA_STRING },
        { "n", WEFT_SCHEMA_INTEGER | WEFT_SCHEMA_NULL },
        { "any", WEFT_SCHEMA_ANY },
        { "e", WEFT_SCHEMA_STRING | WEFT_SCHEMA_NUMBER | WEFT_SCHEMA_INTEGER },
        { "r", WEFT_SCHEMA_BOOLEAN },
        { "c", WEFT_SCHEMA_BOOLEAN },
        { "deep", WEFT_SCHEMA_NUMBER | WEFT_SCHEMA_INTEGER },
        { "x", WEFT_SCHEMA_STRING | WEFT_SCHEMA_BOOLEAN },
        { "far", WEFT_SCHEMA_ARRAY | WEFT_SCHEMA_OBJECT },
        { "unknown", WEFT_SCHEMA_ANY },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_int_equal(weft_schema_property_types(schema, weft_span(CASES[i].name)), CASES[i].types);
    weft_schema_destroy(&schema);
    assert_null(schema);
    weft_schema_destroy(&schema);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_where_and_why),
        cmocka_unit_test(test_malformed_bytes_are_refused),
        cmocka_unit_test(test_chains_of_schemas_in_place_are_bounded),
        cmocka_unit_test(test_tells_the_types_of_a_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
