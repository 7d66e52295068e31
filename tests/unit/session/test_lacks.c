/* A broker is spared the calls of a service that it lacks, but for one per LACKS_MS, until it answers one. */
#include "fixture.h"

#include "session/lacks.h"

static void
test_one_probe_per_interval(void **state)
{
    (void) state;
    static const lacks_t NONE;
    lacks_t lacks = NONE;
    assert_false(lacks_has(&lacks, 7, 1000));
    lacks_add(&lacks, 7, 1000);
    assert_true(lacks_has(&lacks, 7, 1000 + LACKS_MS - 1));
    assert_false(lacks_has(&lacks, 8, 1000));
    lacks_probe(&lacks, 7, 1500); /* sent there for want of a better: the time stays */
    assert_false(lacks_has(&lacks, 7, 1000 + LACKS_MS));
    lacks_probe(&lacks, 7, 1000 + LACKS_MS);
    assert_true(lacks_has(&lacks, 7, 1000 + LACKS_MS));
    lacks_remove(&lacks, 7);
    assert_false(lacks_has(&lacks, 7, 1000 + LACKS_MS));
    lacks_remove(&lacks, 7);
    assert_int_equal(lacks.count, 0);
}

static void
test_is_bounded(void **state)
{
    (void) state;
    static const lacks_t NONE;
    lacks_t lacks = NONE;
    for (uint64_t service = 0; service < 3 * LACKS_MAX; service++) {
        lacks_add(&lacks, service, 0);
        lacks_add(&lacks, service, 0);
        assert_true(lacks_has(&lacks, service, 0));
    }
    assert_int_equal(lacks.count, LACKS_MAX);
    for (uint64_t service = 0; service < 3 * LACKS_MAX; service++)
        assert_int_equal(lacks_has(&lacks, service, 0), service >= 2 * LACKS_MAX);
}

static void
test_keys_differ(void **state)
{
    (void) state;
    assert_true(lacks_key(WEFT_SPAN("a")) != lacks_key(WEFT_SPAN("b")));
    assert_true(lacks_key(WEFT_SPAN("ab")) != lacks_key(WEFT_SPAN("ba")));
    assert_true(lacks_key(WEFT_SPAN("a")) == lacks_key(WEFT_SPAN("a")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_probe_per_interval),
                                        cmocka_unit_test(test_is_bounded),
                                        cmocka_unit_test(test_keys_differ) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
