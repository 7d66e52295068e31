/* Tests of pattern: ECMA's meaning where PCRE2 has another, and limits that hold */
#include "unit.h"

#include <data/pattern.h>

static bool
s_matches(const char *pattern, weft_span_t text, budget_t *budget)
{
    char why[200];
    pattern_t *self = pattern_new(weft_span(pattern), why, sizeof why);
    pattern_memory_t *memory = pattern_memory_new();
    assert_non_null(self);
    assert_non_null(memory);
    bool matches = pattern_matches(self, text, memory, budget);
    pattern_memory_destroy(&memory);
    pattern_destroy(&self);
    assert_null(self);
    return matches;
}

static void
test_means_what_ecma_means(void **state)
{
    (void) state;
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } CASES[] = {
        { "b", "abc", true },
        { "^b", "abc", false },
        { "^a$", "a\n", false },
        { "^\\d+$", "42", true },
        { "^\\d+$", "\xd9\xa4", false }, /* a digit, but no ASCII one */
        { "^\\w$", "\xc3\xa9", false },
        { "^.$", "\xf0\x9f\x98\x80", true },
        { "^\\u00e9$", "\xc3\xa9", true },
        { "^\\u{1f600}$", "\xf0\x9f\x98\x80", true },
        { "^\\cC$", "\x03", true },
        { "[]", "", false },
        { "[^]", "\n", true },
        { "^\\p{L}+$", "\xc3\xa9t\xc3\xa9", true },
        { "^(?=.*\\d)(?=.*[a-z]).{4,}$", "ab12", true },
        { "\\(\\*", "(*", true },
        { "", "", true },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        budget_t budget = { .left = 100000 };
        if (s_matches(CASES[i].pattern, weft_span(CASES[i].text), &budget) != CASES[i].matches) {
            print_error("%s on %s\n", CASES[i].pattern, CASES[i].text);
            fail();
        }
        assert_false(budget.spent);
    }
}

static void
test_an_empty_text_may_have_no_address(void **state)
{
    (void) state;
    budget_t budget = { .left = 1000 };
    assert_true(s_matches("^$", (weft_span_t){ NULL, 0 }, &budget));
}

static void
test_backtracking_spends_the_budget(void **state)
{
    (void) state;
    static const char TEXT[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    static const char *const SLOW[] = { "^(a+)+$", "^(a|a)*$", "^(a*)*$",
                                        "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[cd]" };
    for (size_t i = 0; i < sizeof SLOW / sizeof *SLOW; i++) {
        budget_t budget = { .left = 100000 };
        assert_false(s_matches(SLOW[i], WEFT_SPAN(TEXT), &budget));
        if (!budget.spent)
            print_error("%s spent nothing\n", SLOW[i]);
        assert_true(budget.spent);
        /* However much there is, one match ends. */
        budget = (budget_t){ .left = UINT64_MAX };
        assert_false(s_matches(SLOW[i], WEFT_SPAN(TEXT), &budget));
    }
}

static void
test_refuses_what_could_not_be_bounded(void **state)
{
    (void) state;
    static const char *const BAD[] = { "(*NO_JIT)a", "a(*FAIL)", "\\C", "(", "a{2,1}", "\\p{Nothing}" };
    char why[200];
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_null(pattern_new(weft_span(BAD[i]), why, sizeof why));
    char text[2000];
    memset(text, '(', sizeof text);
    assert_null(pattern_new((weft_span_t){ text, 1000 }, why, sizeof why));
    memset(text, 'a', sizeof text);
    assert_null(pattern_new((weft_span_t){ text, 1025 }, why, sizeof why));
    assert_string_equal(why, "is longer than 1024 bytes");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means_what_ecma_means),
        cmocka_unit_test(test_an_empty_text_may_have_no_address),
        cmocka_unit_test(test_backtracking_spends_the_budget),
        cmocka_unit_test(test_refuses_what_could_not_be_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
