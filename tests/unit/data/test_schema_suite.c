/* Runs the official JSON Schema test suite: each case of the keywords that proto/data/README.md claims
 *
 * The suite comes from Debian's packages: drafts 4 to 7 in json-schema-test-suite, 2020-12 in
 * libtest-json-schema-acceptance-perl.  What is left out stands in suite_exceptions.h with its reason. */
#include "unit.h"

#include <dirent.h>
#include <sys/stat.h>

#include <weft/schema.h>

#define SUITE_2020 "/usr/share/perl5/auto/share/dist/Test-JSON-Schema-Acceptance/tests/draft2020-12"
#define SUITE_7 "/usr/share/json-schema-test-suite/tests/draft7"

#include "suite_exceptions.h"

typedef struct {
    int passed;
    int failed;
    int refused; /* schemas that are not supported, as REFUSALS says */
    int skipped; /* cases that mean something else here, as DIFFERENCES says */
} s_tally_t;

static bool
s_read(const char *path, weft_buf_t *text)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    char *at;
    size_t got;
    weft_buf_reset(text);
    do {
        at = weft_buf_reserve(text, 65536);
        got = at ? fread(at, 1, 65536, file) : 0;
        text->size += got;
    } while (got > 0);
    bool read = !ferror(file) && !text->failed;
    assert_int_equal(fclose(file), 0);
    return read;
}

static bool
s_may_refuse(const char *why)
{
    size_t size = strlen(why);
    for (size_t i = 0; i < sizeof REFUSALS / sizeof *REFUSALS; i++) {
        size_t ending = strlen(REFUSALS[i].ending);
        if (size > ending && strcmp(why + size - ending, REFUSALS[i].ending) == 0)
            return true;
    }
    return false;
}

static bool
s_may_differ(const char *file, weft_span_t group, weft_span_t test)
{
    for (size_t i = 0; i < sizeof DIFFERENCES / sizeof *DIFFERENCES; i++) {
        if (strcmp(DIFFERENCES[i].file, file) == 0 &&
            weft_span_equal(weft_span(DIFFERENCES[i].group), group) &&
            weft_span_equal(weft_span(DIFFERENCES[i].test), test))
            return true;
    }
    return false;
}

static void
s_run_group(const char *file, weft_span_t group, s_tally_t *tally)
{
    weft_span_t description = weft_mp_get_str(group, "description");
    weft_span_t source = weft_mp_get(group, "schema");
    char why[300];
    weft_schema_t *schema = weft_schema_new(source, why, sizeof why);
    if (!schema) {
        if (s_may_refuse(why)) {
            tally->refused++;
        } else {
            print_error("%s: %.*s: refused: %s\n", file, (int) description.size, description.data, why);
            tally->failed++;
        }
        return;
    }
    weft_mp_t cursor = weft_mp(weft_mp_get(group, "tests"));
    weft_mp_token_t header;
    assert_true(weft_mp_next(&cursor, &header));
    for (uint32_t left = header.count; left > 0; left--) {
        weft_span_t test;
        assert_true(weft_mp_value(&cursor, &test));
        weft_span_t name = weft_mp_get_str(test, "description");
        bool expected = weft_mp_get_bool(test, "valid", false);
        weft_schema_report_t report;
        weft_status_t status = weft_schema_check(schema, weft_mp_get(test, "data"), &report);
        weft_status_t quick = weft_schema_check(schema, weft_mp_get(test, "data"), NULL);
        bool agrees = status == (expected ? WEFT_OK : WEFT_INVALID_ARGUMENT);
        if (s_may_differ(file, description, name) && !agrees) {
            tally->skipped++;
        } else if (agrees && status == quick && (report.count == 0) == expected) {
            tally->passed++;
        } else {
            print_error("%s: %.*s: %.*s: status %d, without report %d, expected %s\n", file,
                        (int) description.size, description.data, (int) name.size, name.data, (int) status,
                        (int) quick, expected ? "valid" : "invalid");
            tally->failed++;
        }
    }
    weft_schema_destroy(&schema);
}

static void
s_run_file(const char *folder, const char *file, s_tally_t *tally)
{
    char path[512];
    weft_buf_t text, mp;
    weft_json_error_t error = { 0, NULL };
    snprintf(path, sizeof path, "%s/%s", folder, file);
    weft_buf_init(&text, 10000000);
    weft_buf_init(&mp, 10000000);
    assert_true(s_read(path, &text));
    if (weft_json_to_mp(weft_buf_span(&text), &mp, &error) != WEFT_OK) {
        print_error("%s: %s at byte %zu\n", path, error.message, error.offset);
        fail();
    }
    weft_mp_t cursor = weft_mp(weft_buf_span(&mp));
    weft_mp_token_t header;
    assert_true(weft_mp_next(&cursor, &header));
    for (uint32_t left = header.count; left > 0; left--) {
        weft_span_t group;
        assert_true(weft_mp_value(&cursor, &group));
        s_run_group(file, group, tally);
    }
    weft_buf_fini(&text);
    weft_buf_fini(&mp);
}

static int
s_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Runs each file of folder/part. */
static void
s_run_folder(const char *folder, const char *part, s_tally_t *tally)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, part);
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, s_by_name);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        char file[400];
        size_t length = strlen(entries[i]->d_name);
        bool wanted = length > 5 && strcmp(entries[i]->d_name + length - 5, ".json") == 0;
        snprintf(file, sizeof file, "%s%s%s", part, *part ? "/" : "", entries[i]->d_name);
        if (wanted)
            s_run_file(folder, file, tally);
        free(entries[i]);
    }
    free(entries);
}

static void
s_report(const char *suite, const s_tally_t *tally)
{
    print_message(
        "%s: %d cases passed, %d failed; left out: %d schemas refused, %d cases that mean something else "
        "here\n",
        suite, tally->passed, tally->failed, tally->refused, tally->skipped);
    assert_int_equal(tally->failed, 0);
}

static void
s_need(const char *folder, const char *package)
{
    struct stat about;
    if (stat(folder, &about) == 0)
        return;
    print_message("%s is not there; Debian's package %s has it\n", folder, package);
    /* Where everything is meant to be installed, a missing suite is an error. */
    if (getenv("WEFT_TEST_ALL"))
        fail();
    skip();
}

static void
test_draft_2020_12(void **state)
{
    (void) state;
    s_tally_t tally = { 0, 0, 0, 0 };
    s_need(SUITE_2020, "libtest-json-schema-acceptance-perl");
    s_run_folder(SUITE_2020, "", &tally);
    s_run_folder(SUITE_2020, "optional", &tally);
    s_run_folder(SUITE_2020, "optional/format", &tally);
    s_report("draft 2020-12", &tally);
    assert_true(tally.passed > 1000);
}

static void
test_draft_7_where_it_means_the_same(void **state)
{
    (void) state;
    s_tally_t tally = { 0, 0, 0, 0 };
    s_need(SUITE_7, "json-schema-test-suite");
    s_run_folder(SUITE_7, "", &tally);
    s_run_folder(SUITE_7, "optional", &tally);
    s_run_folder(SUITE_7, "optional/format", &tally);
    s_report("draft 7", &tally);
    assert_true(tally.passed > 300);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draft_2020_12),
        cmocka_unit_test(test_draft_7_where_it_means_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
