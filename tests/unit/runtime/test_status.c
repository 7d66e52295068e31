/* test_status - the table of codes */
#include "unit/runtime/cmocka_all.h"

#include <weft/status.h>

static void
test_names_go_both_ways(void **state)
{
    (void) state;
    for (uint64_t number = 0; number <= WEFT_STATUS_MAX; number++) {
        const weft_status_t status = weft_status_from_number(number);
        weft_status_t found = WEFT_OK;
        assert_int_equal(status, number);
        assert_true(weft_status_from_name(weft_status_name(status), &found));
        assert_int_equal(found, status);
    }
    assert_string_equal(weft_status_name(WEFT_OK), "OK");
    assert_string_equal(weft_status_name(WEFT_UNAUTHENTICATED), "UNAUTHENTICATED");
}

static void
test_what_is_no_code_is_unknown(void **state)
{
    (void) state;
    weft_status_t status = WEFT_ABORTED;
    assert_int_equal(weft_status_from_number(17), WEFT_UNKNOWN);
    assert_int_equal(weft_status_from_number(UINT64_MAX), WEFT_UNKNOWN);
    assert_string_equal(weft_status_name((weft_status_t) 17), "UNKNOWN");
    assert_string_equal(weft_status_name((weft_status_t) -1), "UNKNOWN");
    assert_int_equal(weft_status_http((weft_status_t) 99), 500);
    assert_false(weft_status_from_name("ok", &status));
    assert_int_equal(status, WEFT_ABORTED);
}

static void
test_http(void **state)
{
    (void) state;
    static const int EXPECTED[] = { 200, 499, 500, 400, 504, 404, 409, 403, 429,
                                    412, 409, 400, 501, 500, 503, 500, 401 };
    for (int i = 0; i <= WEFT_STATUS_MAX; i++)
        assert_int_equal(weft_status_http((weft_status_t) i), EXPECTED[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_go_both_ways),
        cmocka_unit_test(test_what_is_no_code_is_unknown),
        cmocka_unit_test(test_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
