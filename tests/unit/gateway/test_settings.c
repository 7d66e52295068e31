/* test_settings - which addresses are only reached from this machine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/settings.h"

static void
test_knows_loopback(void **state)
{
    (void) state;
    static const char *const YES[] = { "127.0.0.1:8080", "127.9.9.9:0", "localhost:80" };
    static const char *const NO[] = { "8080",
                                      "0.0.0.0:8080",
                                      "10.0.0.1:80",
                                      "128.0.0.1:80",
                                      "example.org:80",
                                      ":80",
                                      "",
                                      "127.0.0.1.example.org:80",
                                      "localhost" };
    for (size_t i = 0; i < sizeof YES / sizeof YES[0]; i++) {
        assert_true(settings_is_loopback(YES[i]));
    }
    for (size_t i = 0; i < sizeof NO / sizeof NO[0]; i++) {
        assert_false(settings_is_loopback(NO[i]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_knows_loopback) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
