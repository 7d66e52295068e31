/* test_version - the version is three numbers */
#include "unit/runtime/cmocka_all.h"

#include <stdio.h>

#include <weft/config.h>

static void
test_version_is_semantic(void **state)
{
    (void) state;
    int major;
    int minor;
    int patch;
    char behind;
    assert_int_equal(sscanf(weft_version(), "%d.%d.%d%c", &major, &minor, &patch, &behind), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_version_is_semantic) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
