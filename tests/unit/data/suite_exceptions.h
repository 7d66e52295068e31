/* suite_exceptions - what is left out of the JSON Schema test suite, each with its reason */
#ifndef TESTS_UNIT_DATA_SUITE_EXCEPTIONS_H
#define TESTS_UNIT_DATA_SUITE_EXCEPTIONS_H

/* A schema may be refused with these words (the end of the message) and no others. */
static const struct {
    const char *ending;
    const char *reason;
} REFUSALS[] = {
    { "unevaluatedItems: this keyword is not supported", "not claimed" },
    { "unevaluatedProperties: this keyword is not supported", "not claimed" },
    { "$dynamicRef: this keyword is not supported", "not claimed: $ref is static" },
    { "$dynamicAnchor: this keyword is not supported", "not claimed: $ref is static" },
    { "definitions: this keyword is not supported", "older draft: now $defs" },
    { "dependencies: this keyword is not supported", "older draft: now dependentRequired, dependentSchemas" },
    { "additionalItems: this keyword is not supported", "older draft: now items behind prefixItems" },
    { "items: must be a schema; a list of schemas is prefixItems", "older draft" },
    { "unknown-keyword: this keyword is not supported", "unknown keywords are errors here" },
    { "tilda~0field: this keyword is not supported", "unknown keywords are errors here" },
    { "$ref: must be local, such as #/$defs/name", "schemas are whole: nothing is fetched" },
    { "$id: is supported at the root only", "one resource per schema" },
    { "$schema: must be https://json-schema.org/draft/2020-12/schema", "other metaschemas" },
    { "format: names a format that is not supported", "not claimed" },
    { "is no regular expression: unknown property after \\P or \\p, at byte 10",
      "PCRE2 has \\p{L}, not \\p{Letter}" },
};

/* Cases that a supported schema answers otherwise here. */
static const struct {
    const char *file;
    const char *group;
    const char *test;
    const char *reason;
} DIFFERENCES[] = {
#define SPACE_MATCHES "ECMA 262 \\s matches whitespace"
#define SPACE_ELSE "ECMA 262 \\S matches everything but whitespace"
#define ECMA "optional/ecmascript-regex.json"
    { ECMA, SPACE_MATCHES, "latin-1 non-breaking-space matches", "\\s is ASCII" },
    { ECMA, SPACE_MATCHES, "zero-width whitespace matches", "\\s is ASCII" },
    { ECMA, SPACE_MATCHES, "paragraph separator matches (line terminator)", "\\s is ASCII" },
    { ECMA, SPACE_MATCHES, "EM SPACE matches (Space_Separator)", "\\s is ASCII" },
    { ECMA, SPACE_ELSE, "latin-1 non-breaking-space does not match", "\\s is ASCII" },
    { ECMA, SPACE_ELSE, "zero-width whitespace does not match", "\\s is ASCII" },
    { ECMA, SPACE_ELSE, "paragraph separator does not match (line terminator)", "\\s is ASCII" },
    { ECMA, SPACE_ELSE, "EM SPACE does not match (Space_Separator)", "\\s is ASCII" },
    /* Of draft 7, where content* was checked; in 2020-12 it only says something. */
    { "optional/content.json", "validation of string-encoded content based on media type",
      "an invalid JSON document", "content* are annotations since 2019-09" },
    { "optional/content.json", "validation of binary string-encoding",
      "an invalid base64 string (% is not a valid character)", "content* are annotations since 2019-09" },
    { "optional/content.json", "validation of binary-encoded media type documents",
      "a validly-encoded invalid JSON document", "content* are annotations since 2019-09" },
    { "optional/content.json", "validation of binary-encoded media type documents",
      "an invalid base64 string that is valid JSON", "content* are annotations since 2019-09" },
};

#endif
