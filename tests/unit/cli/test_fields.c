/* fields: what is given is in the map, what is not is not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/json.h>
#include <weft/wire.h>

#include "cli/fields.h"

static void
s_assert_map(fields_t *fields, const char *json)
{
    weft_buf_t text;
    weft_json_error_t error;
    weft_buf_init(&text, 4096);
    assert_int_equal(weft_mp_to_json(fields_map(fields), &text, &error), WEFT_OK);
    assert_true(weft_buf_add_char(&text, '\0'));
    assert_string_equal(text.data, json);
    weft_buf_fini(&text);
}

static void
test_what_is_given_is_there(void **state)
{
    (void) state;
    fields_t fields;
    fields_init(&fields);
    s_assert_map(&fields, "{}");
    fields_text(&fields, "a", "x");
    fields_span(&fields, "b", (weft_span_t){ "yzz", 1 });
    fields_number(&fields, "c", -7, 0);
    fields_flag(&fields, "d", true);
    fields_nil(&fields, "e");
    fields_value(&fields, "f", WEFT_SPAN("\x92\x01\x02"));
    fields_text(&fields, "g", "");
    s_assert_map(&fields, "{\"a\":\"x\",\"b\":\"y\",\"c\":-7,\"d\":true,\"e\":null,\"f\":[1,2],\"g\":\"\"}");
    fields_number(&fields, "h", 1, 0); /* and it may go on */
    s_assert_map(&fields,
                 "{\"a\":\"x\",\"b\":\"y\",\"c\":-7,\"d\":true,\"e\":null,\"f\":[1,2],\"g\":\"\",\"h\":1}");
    fields_fini(&fields);
}

static void
test_what_is_not_given_is_left_out(void **state)
{
    (void) state;
    fields_t fields;
    fields_init(&fields);
    fields_text(&fields, "a", NULL);
    fields_span(&fields, "b", (weft_span_t){ NULL, 0 });
    fields_number(&fields, "c", 5, 5);
    fields_flag(&fields, "d", false);
    fields_value(&fields, "f", (weft_span_t){ NULL, 0 });
    s_assert_map(&fields, "{}");
    fields_fini(&fields);
}

static void
test_more_than_a_frame_is_no_map(void **state)
{
    (void) state;
    fields_t fields;
    char *large = malloc(WEFT_FRAME_MAX + 1u);
    assert_non_null(large);
    memset(large, 'x', WEFT_FRAME_MAX);
    large[WEFT_FRAME_MAX] = '\0';
    fields_init(&fields);
    fields_text(&fields, "a", large);
    assert_int_equal(fields_map(&fields).size, 0);
    fields_fini(&fields);
    free(large);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_given_is_there),
        cmocka_unit_test(test_what_is_not_given_is_left_out),
        cmocka_unit_test(test_more_than_a_frame_is_no_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
