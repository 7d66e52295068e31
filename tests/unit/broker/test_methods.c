/* test_methods - the union of what workers offer */
#include "unit/broker/descriptors.h"

#include "broker/methods.h"

static void
test_every_method_is_found_and_nothing_else(void **state)
{
    (void) state;
    enum { COUNT = 1000 };
    methods_t methods;
    char name[16];
    weft_descriptor_t *descriptor = descriptors_make("i", "", 0, COUNT, 10);
    methods_init(&methods, 3);
    assert_null(methods_find(&methods, WEFT_SPAN("m1")));
    assert_true(methods_reset(&methods, COUNT));
    methods_add(&methods, descriptor);
    assert_int_equal(methods.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        const methods_entry_t *entry = methods_find(&methods,
                                                    weft_span(weft_format(name, sizeof name, "m%u", i)));
        assert_non_null(entry);
        assert_int_equal(entry->idempotent, i < 10);
    }
    assert_null(methods_find(&methods, WEFT_SPAN("m1000")));
    assert_null(methods_find(&methods, WEFT_SPAN("m")));
    methods_fini(&methods);
    assert_int_equal(methods_bytes(&methods), 0);
    weft_descriptor_destroy(&descriptor);
}

static void
test_union_is_idempotent_where_all_agree(void **state)
{
    (void) state;
    methods_t methods;
    weft_descriptor_t *one = descriptors_make("i", "", 0, 3, 3);
    weft_descriptor_t *two = descriptors_make("j", "", 1, 3, 2);
    methods_init(&methods, 3);
    assert_true(methods_reset(&methods, 6));
    methods_add(&methods, one);
    methods_add(&methods, two);
    assert_int_equal(methods.count, 4);
    assert_true(methods_find(&methods, WEFT_SPAN("m0"))->idempotent);
    assert_true(methods_find(&methods, WEFT_SPAN("m1"))->idempotent);
    assert_false(methods_find(&methods, WEFT_SPAN("m2"))->idempotent);
    assert_false(methods_find(&methods, WEFT_SPAN("m3"))->idempotent);
    assert_true(methods_reset(&methods, 3));
    assert_null(methods_find(&methods, WEFT_SPAN("m0")));
    methods_fini(&methods);
    weft_descriptor_destroy(&one);
    weft_descriptor_destroy(&two);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_method_is_found_and_nothing_else),
        cmocka_unit_test(test_union_is_idempotent_where_all_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
