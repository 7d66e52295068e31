/* test_variant - which descriptions are the same */
#include "unit/broker/descriptors.h"

#include "broker/variant.h"

static variant_t *
s_make(const char *instance, const char *summary, uint32_t count, uint32_t idempotent)
{
    variant_t *variant = variant_new(descriptors_make(instance, summary, 0, count, idempotent), 9);
    assert_non_null(variant);
    return variant;
}

static void
test_only_the_instance_may_differ(void **state)
{
    (void) state;
    variant_t *one = s_make("a", "text", 2, 1);
    static const struct {
        const char *instance;
        const char *summary;
        uint32_t count;
        uint32_t idempotent;
        bool same;
        bool same_methods;
    } CASES[] = {
        { "a", "text", 2, 1, true, true },          { "b", "text", 2, 1, true, true },
        { "longer-one", "text", 2, 1, true, true }, { "a", "texd", 2, 1, false, true },
        { "a", "text", 3, 1, false, false },        { "a", "text", 2, 2, false, false },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        variant_t *other = s_make(CASES[i].instance, CASES[i].summary, CASES[i].count, CASES[i].idempotent);
        assert_int_equal(variant_same(one, other), CASES[i].same);
        assert_int_equal(one->signature == other->signature, CASES[i].same_methods);
        assert_true(variant_bytes(other) > other->descriptor->bytes.size);
        variant_destroy(&other);
        variant_destroy(&other); /* may run twice */
    }
    variant_destroy(&one);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_only_the_instance_may_differ) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
