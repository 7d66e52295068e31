/* Tests of both directions together: generated values survive, and jansson agrees about what is JSON */
#include "unit.h"

#include <jansson.h>

/* Writes random JSON of bounded size; texts are spelled in odd ways on purpose. */
static void
s_generate(unit_random_t *random, weft_buf_t *out, int depth)
{
    static const char *const TEXTS[] = { "",
                                         "a",
                                         "key",
                                         "\\n\\t\\\"",
                                         "\\u0041\\u00e9",
                                         "\xc3\xa9",
                                         "\\ud83d\\ude00",
                                         "\xf0\x9f\x98\x80",
                                         "longer text than thirty-two bytes, here",
                                         "/" };
    static const char *const NUMBERS[] = { "0",
                                           "-1",
                                           "127",
                                           "128",
                                           "-33",
                                           "65536",
                                           "1e3",
                                           "2.50",
                                           "-0.0",
                                           "1E-7",
                                           "0.1",
                                           "12345678.125",
                                           "4294967296",
                                           "1.0",
                                           "9223372036854775807",
                                           "-9223372036854775808",
                                           "1.7976931348623157e308" };
    static const char *const SPACE[] = { "", "", "", " ", "\n\t" };
#define PICK(table) (table)[unit_below(random, sizeof(table) / sizeof *(table))]
    (void) weft_buf_add_text(out, PICK(SPACE));
    uint64_t kind = unit_below(random, depth > 0 ? 8 : 6);
    switch (kind) {
    case 0:
        (void) weft_buf_add_text(out, "null");
        break;
    case 1:
        (void) weft_buf_add_text(out, unit_below(random, 2) ? "true" : "false");
        break;
    case 2:
    case 3:
        (void) weft_buf_addf(out, "\"%s\"", PICK(TEXTS));
        break;
    case 4:
    case 5:
        (void) weft_buf_add_text(out, PICK(NUMBERS));
        break;
    default: {
        bool is_map = kind == 6;
        uint64_t count = unit_below(random, unit_below(random, 10) ? 5 : 40);
        (void) weft_buf_add_char(out, is_map ? '{' : '[');
        for (uint64_t i = 0; i < count && out->size < 20000; i++) {
            (void) weft_buf_add_text(out, i ? "," : "");
            if (is_map)
                (void) weft_buf_addf(out, "%s\"%u%s\"%s:", PICK(SPACE), (unsigned) i, PICK(TEXTS),
                                     PICK(SPACE));
            s_generate(random, out, depth - 1);
        }
        (void) weft_buf_add_text(out, PICK(SPACE));
        (void) weft_buf_add_char(out, is_map ? '}' : ']');
        break;
    }
    }
    (void) weft_buf_add_text(out, PICK(SPACE));
#undef PICK
}

static json_t *
s_jansson(weft_span_t text)
{
    json_error_t error;
    return json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      &error);
}

static void
test_generated_values_survive_both_ways(void **state)
{
    (void) state;
    weft_buf_t text, mp, json, again;
    weft_buf_init(&text, 1000000);
    weft_buf_init(&mp, 1000000);
    weft_buf_init(&json, 1000000);
    weft_buf_init(&again, 1000000);
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        unit_random_t random = { seed * 7919 };
        weft_json_error_t error = { 0, NULL };
        weft_buf_reset(&text);
        weft_buf_reset(&mp);
        weft_buf_reset(&json);
        weft_buf_reset(&again);
        s_generate(&random, &text, 6);
        weft_status_t status = weft_json_to_mp(weft_buf_span(&text), &mp, &error);
        if (status != WEFT_OK)
            print_error("seed %d: %s at %zu\n", (int) seed, error.message, error.offset);
        assert_int_equal(status, WEFT_OK);
        assert_true(weft_mp_check(weft_buf_span(&mp), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
        assert_int_equal(weft_mp_to_json(weft_buf_span(&mp), &json, &error), WEFT_OK);
        assert_int_equal(weft_json_to_mp(weft_buf_span(&json), &again, &error), WEFT_OK);
        assert_true(weft_span_equal(weft_buf_span(&mp), weft_buf_span(&again)));
        json_t *before = s_jansson(weft_buf_span(&text));
        json_t *after = s_jansson(weft_buf_span(&json));
        assert_non_null(before);
        if (!json_equal(before, after)) {
            print_error("seed %d: %.*s became %.*s\n", (int) seed, (int) text.size, text.data,
                        (int) json.size, json.data);
            fail();
        }
        json_decref(before);
        json_decref(after);
    }
    weft_buf_fini(&text);
    weft_buf_fini(&mp);
    weft_buf_fini(&json);
    weft_buf_fini(&again);
}

static void
test_jansson_agrees_about_damaged_texts(void **state)
{
    (void) state;
    weft_buf_t text, mp;
    weft_buf_init(&text, 1000000);
    weft_buf_init(&mp, 1000000);
    int valid = 0, invalid = 0;
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        unit_random_t random = { seed * 104729 };
        weft_json_error_t error = { 0, NULL };
        weft_buf_reset(&text);
        weft_buf_reset(&mp);
        s_generate(&random, &text, 3);
        static const unsigned char DAMAGE[] = "\"\\,:[]{}0-.e \x80\xc3\xed\xa0\x01\n/un";
        for (uint64_t hits = unit_below(&random, 3); hits > 0 && text.size > 0; hits--) {
            size_t at = unit_below(&random, text.size);
            text.data[at] = (char) DAMAGE[unit_below(&random, sizeof DAMAGE - 1)];
        }
        weft_status_t status = weft_json_to_mp(weft_buf_span(&text), &mp, &error);
        json_t *tree = s_jansson(weft_buf_span(&text));
        /* jansson refuses integers beyond 64 bits, which are floats here; neither occurs in these texts but
         * by damage to a sign, which the message tells. */
        bool differs = (status == WEFT_OK) != (tree != NULL);
        if (differs) {
            json_error_t why;
            json_t *none = json_loadb(text.data, text.size,
                                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
            json_decref(none);
            differs = strstr(why.text, "too big") == NULL;
            if (differs)
                print_error("seed %d: %.*s: we say %s, jansson %s\n", (int) seed, (int) text.size, text.data,
                            status == WEFT_OK ? "valid" : error.message, why.text);
        }
        assert_false(differs);
        if (tree)
            valid++;
        else
            invalid++;
        json_decref(tree);
    }
    assert_true(valid > 3000 && invalid > 3000);
    weft_buf_fini(&text);
    weft_buf_fini(&mp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generated_values_survive_both_ways),
        cmocka_unit_test(test_jansson_agrees_about_damaged_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
