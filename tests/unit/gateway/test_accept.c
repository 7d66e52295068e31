/* test_accept - forms of streams */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/accept.h"

static void
test_chooses_the_most_telling_form(void **state)
{
    (void) state;
    static const struct {
        const char *header;
        accept_t form;
    } CASES[] = {
        { "", ACCEPT_NDJSON },
        { "*/*", ACCEPT_NDJSON },
        { "text/event-stream", ACCEPT_SSE },
        { "application/json, Text/Event-Stream;q=0.5", ACCEPT_SSE },
        { "application/x-ndjson", ACCEPT_NDJSON },
        { "application/json", ACCEPT_JSON },
        { "application/json, */*", ACCEPT_NDJSON },
        { "application/*;q=0.1", ACCEPT_NDJSON },
        { "text/html", ACCEPT_NONE },
        { "text/event-streams, application/jsonx", ACCEPT_NONE },
        { ",,;,", ACCEPT_NONE },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_int_equal(accept_choose(weft_span(CASES[i].header)), CASES[i].form);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_chooses_the_most_telling_form) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
