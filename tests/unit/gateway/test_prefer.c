/* test_prefer - Prefer headers as RFC 7240 has them, and what people send */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/prefer.h"

/* Each header in memory of its own size, so that reading beyond it is seen. */
static prefer_t
s_read(const char *first, const char *second)
{
    prefer_t prefer = { 0 };
    const char *const texts[] = { first, second };
    for (size_t i = 0; i < 2; i++) {
        if (texts[i]) {
            size_t size = strlen(texts[i]);
            char *copy = malloc(size ? size : 1);
            assert_non_null(copy);
            memcpy(copy, texts[i], size);
            prefer_read(&prefer, (weft_span_t){ copy, size });
            free(copy);
        }
    }
    return prefer;
}

#define NO_WAIT (-1)

static void
test_table(void **state)
{
    (void) state;
    static const struct {
        const char *first, *second;
        bool respond_async;
        int64_t wait_s;
    } CASES[] = {
        { "respond-async", NULL, true, NO_WAIT },
        { "respond-async, wait=10", NULL, true, 10 },
        { "wait=10,respond-async", NULL, true, 10 },
        { "respond-async", "wait=10", true, 10 },
        { "wait=0", "respond-async", true, 0 },
        { "RESPOND-Async , WAIT = 7", NULL, true, 7 },
        { "\trespond-async\t;\tfoo\t,\twait\t=\t7\t", NULL, true, 7 },
        { "wait=7", NULL, false, 7 },
        { "", NULL, false, NO_WAIT },
        { " ", ",, ,", false, NO_WAIT },
        { ", ,respond-async,, wait=3,", NULL, true, 3 },
        /* Values: an empty one is none; words may be quoted. */
        { "respond-async=\"\"", NULL, true, NO_WAIT },
        { "respond-async=no", NULL, false, NO_WAIT },
        { "respond-async=\"no\"", "respond-async", false, NO_WAIT },
        { "respond-async, wait=\"12\"", NULL, true, 12 },
        { "respond-async, wait=\"1\\2\"", NULL, true, 12 },
        { "respond-async, wait=", NULL, true, NO_WAIT },
        { "respond-async, wait", NULL, true, NO_WAIT },
        { "respond-async, wait=-1", NULL, true, NO_WAIT },
        { "respond-async, wait=+1", NULL, true, NO_WAIT },
        { "respond-async, wait=1.5", NULL, true, NO_WAIT },
        { "respond-async, wait=1s", NULL, true, NO_WAIT },
        { "respond-async, wait=\" 1\"", NULL, true, NO_WAIT },
        { "respond-async, wait=4294967295", NULL, true, 4294967295 },
        { "respond-async, wait=4294967296", NULL, true, 4294967295 },
        { "respond-async, wait=99999999999999999999999999999999", NULL, true, 4294967295 },
        { "respond-async, wait=999999999999999999999999999999999", NULL, true, NO_WAIT },
        /* The first of a name counts, even where it says nothing. */
        { "wait=1, wait=2, respond-async", NULL, true, 1 },
        { "wait=x, wait=2, respond-async", NULL, true, NO_WAIT },
        { "respond-async, wait=1", "wait=2", true, 1 },
        /* Parameters, and preferences of others. */
        { "respond-async; a; b=c; d=\"e, wait=9; f\" ;; , wait=3;x=y", NULL, true, 3 },
        { "foo; bar=\"\\\", respond-async\"", NULL, false, NO_WAIT },
        { "handling=lenient, return=minimal; foo=\"some parameter\", respond-async", NULL, true, NO_WAIT },
        { "respond-asynchronously, waiting=3, respond_async, xwait=3", NULL, false, NO_WAIT },
        { "foo;respond-async;wait=3", NULL, false, NO_WAIT },
        { "foo=\"respond-async, wait=3\"", NULL, false, NO_WAIT },
        /* What is malformed is left out, the rest is read. */
        { "=5, respond-async", NULL, true, NO_WAIT },
        { "a b, respond-async", NULL, true, NO_WAIT },
        { "respond-async x, wait=3", NULL, false, 3 },
        { "respond-async wait=3", NULL, false, NO_WAIT },
        { "respond-async;=x, wait=3", NULL, false, 3 },
        { "a=\"b\"c, respond-async", NULL, true, NO_WAIT },
        { "@, (respond-async), wait=2", NULL, false, 2 },
        { "a=\"open, respond-async", NULL, false, NO_WAIT },
        { "a=\"open, respond-async", "respond-async", true, NO_WAIT },
        { "respond-async, a=\"\\", NULL, true, NO_WAIT },
        { "respond-async, a=\"\\\\\", wait=1", NULL, true, 1 },
        { "wait=\xff, respond-async", NULL, true, NO_WAIT },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        prefer_t prefer = s_read(CASES[i].first, CASES[i].second);
        int64_t wait_s = prefer.wait ? (int64_t) prefer.wait_s : NO_WAIT;
        if (prefer.respond_async != CASES[i].respond_async || wait_s != CASES[i].wait_s) {
            fail_msg("%s: respond-async %d, wait %lld", CASES[i].first, prefer.respond_async,
                     (long long) wait_s);
        }
    }
}

/* Nothing that is sent makes it read beyond the end or not come back. */
static void
test_every_cut_of_a_header_is_survived(void **state)
{
    (void) state;
    static const char text[] = "respond-async; a=\"b\\\"c\", wait = \"1\\0\"; x ;; y=z, foo=\"\\\\\"";
    char copy[sizeof text];
    for (size_t from = 0; from < sizeof text; from++) {
        for (size_t to = from; to < sizeof text; to++) {
            memcpy(copy, text + from, to - from);
            copy[to - from] = '\0';
            (void) s_read(copy, NULL);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_cut_of_a_header_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
