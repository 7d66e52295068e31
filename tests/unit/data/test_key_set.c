/* Tests of key_set: duplicates are found in objects of every size, inner objects do not disturb outer ones */
#include "unit.h"

#include <data/key_set.h>

#define KEY_SIZE 8

/* Adds keys 0 to count-1 as 8 digits each, then `again` once more; what add or close said. */
static key_set_result_t
s_try(uint32_t count, uint32_t again, uint32_t *source)
{
    char *data = malloc((size_t) (count + 1) * KEY_SIZE + 1);
    assert_non_null(data);
    key_set_t set;
    key_set_init(&set);
    key_set_result_t result = KEY_SET_OK;
    for (uint32_t i = 0; i <= count && result == KEY_SET_OK; i++) {
        uint32_t at = i * KEY_SIZE;
        snprintf(data + at, KEY_SIZE + 1, "%08u", i < count ? i : again);
        result = key_set_add(&set, 0, data, at, KEY_SIZE, i);
        *source = i;
    }
    if (result == KEY_SET_OK)
        result = key_set_close(&set, 0, data, source);
    key_set_fini(&set);
    free(data);
    return result;
}

static void
test_finds_a_duplicate_at_any_size(void **state)
{
    (void) state;
    static const uint32_t COUNTS[] = { 1, 2, 15, 16, 17, 18, 31, 32, 33, 100, 5000 };
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        uint32_t count = COUNTS[i];
        uint32_t source = 0;
        assert_int_equal(s_try(count, count, &source), KEY_SET_OK);
        for (uint32_t again = 0; again < count; again += count / 7 + 1) {
            assert_int_equal(s_try(count, again, &source), KEY_SET_DUPLICATE);
            assert_int_equal(source, count);
        }
    }
}

static void
test_inner_objects_leave_outer_keys_alone(void **state)
{
    (void) state;
    static const char DATA[] = "aabac";
    key_set_t set;
    uint32_t source;
    key_set_init(&set);
    assert_int_equal(key_set_add(&set, 0, DATA, 0, 1, 0), KEY_SET_OK);
    uint32_t inner = set.count;
    assert_int_equal(key_set_add(&set, inner, DATA, 1, 1, 1), KEY_SET_OK);
    assert_int_equal(key_set_add(&set, inner, DATA, 2, 1, 2), KEY_SET_OK);
    assert_int_equal(key_set_close(&set, inner, DATA, &source), KEY_SET_OK);
    assert_int_equal(key_set_add(&set, 0, DATA, 4, 1, 4), KEY_SET_OK);
    assert_int_equal(key_set_add(&set, 0, DATA, 3, 1, 3), KEY_SET_DUPLICATE);
    assert_int_equal(key_set_close(&set, 0, DATA, &source), KEY_SET_OK);
    key_set_fini(&set);
}

static void
test_a_prefix_is_another_key(void **state)
{
    (void) state;
    static const char DATA[] = "abc\0\0\0\0\0\0";
    key_set_t set;
    key_set_init(&set);
    for (uint32_t size = 0; size <= 9; size++)
        assert_int_equal(key_set_add(&set, 0, DATA, 0, size, size), KEY_SET_OK);
    key_set_fini(&set);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_a_duplicate_at_any_size),
        cmocka_unit_test(test_inner_objects_leave_outer_keys_alone),
        cmocka_unit_test(test_a_prefix_is_another_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
