/* test_utf8 - against a slow and plain decoder, for every pair of bytes and around every border */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/mp.h>

/* The plain way: decode, then look at the code point (RFC 3629). */
static bool
s_slow(const unsigned char *at, size_t left)
{
    while (left > 0) {
        uint32_t point = at[0], least = 0;
        size_t more = 0;
        if (at[0] >= 0xf8 || (at[0] & 0xc0) == 0x80)
            return false;
        if (at[0] >= 0xf0)
            more = 3, point &= 0x07, least = 0x10000;
        else if (at[0] >= 0xe0)
            more = 2, point &= 0x0f, least = 0x800;
        else if (at[0] >= 0xc0)
            more = 1, point &= 0x1f, least = 0x80;
        if (left <= more)
            return false;
        for (size_t i = 1; i <= more; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return false;
            point = point << 6 | (at[i] & 0x3fu);
        }
        if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
            return false;
        at += 1 + more;
        left -= 1 + more;
    }
    return true;
}

static void
s_assert_same(const unsigned char *bytes, size_t size)
{
    weft_span_t text = { (const char *) bytes, size };
    if (weft_utf8_valid(text) != s_slow(bytes, size))
        fail_msg("differs at %02x %02x %02x %02x", bytes[0], bytes[1], bytes[2], bytes[3]);
}

static void
test_every_pair_of_bytes(void **state)
{
    (void) state;
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            unsigned char bytes[4] = { (unsigned char) first, (unsigned char) second, 0x80, 0x80 };
            for (size_t size = 1; size <= 4; size++)
                s_assert_same(bytes, size);
        }
    }
}

static void
test_every_third_and_fourth_byte(void **state)
{
    (void) state;
    static const unsigned char starts[][2] = {
        { 0xe0, 0xa0 }, { 0xed, 0x9f }, { 0xef, 0xbf }, { 0xf0, 0x90 }, { 0xf4, 0x8f }
    };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        for (unsigned third = 0; third < 256; third++) {
            unsigned char bytes[4] = { starts[i][0], starts[i][1], (unsigned char) third, 0xbf };
            s_assert_same(bytes, 3);
            s_assert_same(bytes, 4);
            bytes[2] = 0x80;
            bytes[3] = (unsigned char) third;
            s_assert_same(bytes, 4);
        }
    }
}

static void
test_a_bad_byte_is_found_at_any_place(void **state)
{
    (void) state;
    for (size_t size = 1; size <= 40; size++) {
        char *text = malloc(size); /* exact, so that a sanitizer sees the fast path reach too far */
        assert_non_null(text);
        memset(text, 'a', size);
        assert_true(weft_utf8_valid((weft_span_t){ text, size }));
        for (size_t at = 0; at < size; at++) {
            text[at] = '\xff';
            assert_false(weft_utf8_valid((weft_span_t){ text, size }));
            text[at] = 'a';
        }
        for (size_t at = 0; at + 1 < size; at++) {
            memcpy(text + at, "\xc3\xa9", 2);
            assert_true(weft_utf8_valid((weft_span_t){ text, size }));
            assert_false(weft_utf8_valid((weft_span_t){ text, at + 1 }));
            memcpy(text + at, "aa", 2);
        }
        free(text);
    }
}

static void
test_nothing_and_nul_are_valid(void **state)
{
    (void) state;
    assert_true(weft_utf8_valid((weft_span_t){ NULL, 0 }));
    assert_true(weft_utf8_valid((weft_span_t){ "\0\0", 2 }));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_of_bytes),
        cmocka_unit_test(test_every_third_and_fourth_byte),
        cmocka_unit_test(test_a_bad_byte_is_found_at_any_place),
        cmocka_unit_test(test_nothing_and_nul_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
