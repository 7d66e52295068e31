/* test_buf - growth up to the limit, and failure that stays */
#include "unit/runtime/cmocka_all.h"

#include <stdlib.h>

#include <weft/buf.h>

static void
s_check_sane(const weft_buf_t *buf)
{
    assert_true(buf->size <= buf->capacity);
    assert_true(buf->capacity <= buf->max);
    assert_true(buf->data || buf->capacity == 0);
}

static void
test_grows_to_its_limit_and_not_beyond(void **state)
{
    (void) state;
    static const size_t LIMITS[] = { 0, 1, 255, 256, 257, 1000, 5000 };
    for (size_t i = 0; i < sizeof LIMITS / sizeof LIMITS[0]; i++) {
        weft_buf_t buf;
        weft_buf_init(&buf, LIMITS[i]);
        for (size_t n = 0; n < LIMITS[i]; n++) {
            assert_true(weft_buf_add_char(&buf, (char) ('a' + n % 26)));
            s_check_sane(&buf);
        }
        assert_int_equal(buf.size, LIMITS[i]);
        assert_false(weft_buf_add_char(&buf, 'x'));
        assert_true(buf.failed);
        assert_int_equal(buf.size, LIMITS[i]);
        for (size_t n = 0; n < LIMITS[i]; n++)
            assert_int_equal(buf.data[n], 'a' + n % 26);
        weft_buf_fini(&buf);
        weft_buf_fini(&buf);
    }
}

static void
test_failure_stays_until_reset(void **state)
{
    (void) state;
    weft_buf_t buf;
    weft_buf_init(&buf, 4);
    assert_false(weft_buf_add_text(&buf, "12345"));
    assert_false(weft_buf_add_char(&buf, '1'));
    assert_false(weft_buf_add(&buf, "", 0));
    assert_false(weft_buf_addf(&buf, "%d", 1));
    assert_null(weft_buf_reserve(&buf, 1));
    assert_int_equal(weft_buf_write(&buf, "a", 1), -1);
    assert_int_equal(buf.size, 0);
    weft_buf_reset(&buf);
    assert_false(buf.failed);
    assert_int_equal(weft_buf_write(&buf, "1234", 4), 0);
    weft_buf_fini(&buf);
}

static void
test_huge_sizes_do_not_wrap(void **state)
{
    (void) state;
    weft_buf_t buf;
    weft_buf_init(&buf, 1024);
    assert_true(weft_buf_add_text(&buf, "abc"));
    assert_null(weft_buf_reserve(&buf, SIZE_MAX));
    weft_buf_reset(&buf);
    assert_true(weft_buf_add_text(&buf, "abc"));
    assert_null(weft_buf_reserve(&buf, SIZE_MAX - 2));
    weft_buf_fini(&buf);
}

static void
test_reserve_does_not_count(void **state)
{
    (void) state;
    weft_buf_t buf;
    weft_buf_init(&buf, 1024);
    char *at = weft_buf_reserve(&buf, 600);
    assert_non_null(at);
    assert_int_equal(buf.size, 0);
    memset(at, 'z', 600);
    buf.size += 600;
    at = weft_buf_reserve(&buf, 424);
    assert_ptr_equal(at, buf.data + 600);
    s_check_sane(&buf);
    weft_buf_fini(&buf);
}

/* The NUL of printf must not cost a byte of the limit. */
static void
test_addf_fills_to_the_last_byte(void **state)
{
    (void) state;
    for (size_t max = 1; max < 700; max++) {
        weft_buf_t buf;
        weft_buf_init(&buf, max);
        assert_true(weft_buf_addf(&buf, "%*s", (int) max, "x"));
        assert_int_equal(buf.size, max);
        assert_int_equal(buf.data[max - 1], 'x');
        assert_false(weft_buf_addf(&buf, "%s", "y"));
        assert_int_equal(buf.size, max);
        weft_buf_fini(&buf);
    }
}

static void
test_addf_behind_other_text(void **state)
{
    (void) state;
    weft_buf_t buf;
    weft_buf_init(&buf, 4096);
    for (int i = 0; i < 500; i++)
        assert_true(weft_buf_addf(&buf, "%03d,", i));
    assert_int_equal(buf.size, 2000);
    for (int i = 0; i < 500; i++)
        assert_int_equal(strtol(buf.data + (ptrdiff_t) i * 4, NULL, 10), i);
    weft_buf_fini(&buf);
}

static void
test_detach_hands_over(void **state)
{
    (void) state;
    weft_buf_t buf;
    size_t size = 7;
    weft_buf_init(&buf, 100);
    assert_null(weft_buf_detach(&buf, &size));
    assert_int_equal(size, 0);
    assert_true(weft_buf_add_text(&buf, "abc"));
    char *data = weft_buf_detach(&buf, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(data, "abc", 3);
    assert_null(buf.data);
    assert_int_equal(buf.max, 100);
    free(data);
    assert_true(weft_buf_add_text(&buf, "d"));
    weft_buf_fini(&buf);
}

static void
test_spans(void **state)
{
    (void) state;
    const weft_span_t none = { NULL, 0 };
    assert_true(weft_span_equal(none, weft_span("")));
    assert_true(weft_span_equal(weft_span(NULL), none));
    assert_true(weft_span_equal(weft_span("ab"), WEFT_SPAN("ab")));
    assert_false(weft_span_equal(weft_span("ab"), WEFT_SPAN("ac")));
    assert_false(weft_span_equal(weft_span("ab"), WEFT_SPAN("abc")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_to_its_limit_and_not_beyond),
        cmocka_unit_test(test_failure_stays_until_reset),
        cmocka_unit_test(test_huge_sizes_do_not_wrap),
        cmocka_unit_test(test_reserve_does_not_count),
        cmocka_unit_test(test_addf_fills_to_the_last_byte),
        cmocka_unit_test(test_addf_behind_other_text),
        cmocka_unit_test(test_detach_hands_over),
        cmocka_unit_test(test_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
