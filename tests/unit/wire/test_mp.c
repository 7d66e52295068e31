/* test_mp - tokens, scanner and getters, by table, by mutation and beside msgpack-c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <msgpack.h>
#include <weft/mp.h>

#define VALUE(...) ((const unsigned char[]){ __VA_ARGS__ })
#define SPAN(...) ((weft_span_t){ (const char *) VALUE(__VA_ARGS__), sizeof VALUE(__VA_ARGS__) })

static bool
s_ok(weft_span_t value)
{
    return weft_mp_check(value, &WEFT_MP_LIMITS_DEFAULT, NULL, NULL);
}

/* ---- tokens ----------------------------------------------------------------------------------------- */

static weft_mp_token_t
s_token(weft_span_t bytes)
{
    weft_mp_t cursor = weft_mp(bytes);
    weft_mp_token_t token;
    assert_true(weft_mp_next(&cursor, &token));
    return token;
}

static void
test_integers_of_every_width_become_uint_or_int(void **state)
{
    (void) state;
    static const struct {
        unsigned char bytes[9];
        size_t size;
        bool negative;
        uint64_t magnitude;
    } cases[] = {
        { { 0x00 }, 1, false, 0 },
        { { 0x7f }, 1, false, 127 },
        { { 0xff }, 1, true, 1 },
        { { 0xe0 }, 1, true, 32 },
        { { 0xcc, 0xff }, 2, false, 255 },
        { { 0xcd, 0x12, 0x34 }, 3, false, 0x1234 },
        { { 0xce, 0xff, 0xff, 0xff, 0xff }, 5, false, UINT32_MAX },
        { { 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 9, false, UINT64_MAX },
        { { 0xd0, 0x7f }, 2, false, 127 },
        { { 0xd0, 0x80 }, 2, true, 128 },
        { { 0xd1, 0xff, 0xfe }, 3, true, 2 },
        { { 0xd1, 0x7f, 0xff }, 3, false, 32767 },
        { { 0xd2, 0x80, 0, 0, 0 }, 5, true, 2147483648u },
        { { 0xd2, 0x7f, 0xff, 0xff, 0xff }, 5, false, 2147483647 },
        { { 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0 }, 9, true, UINT64_C(1) << 63 },
        { { 0xd3, 0, 0, 0, 0, 0, 0, 0, 5 }, 9, false, 5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft_span_t bytes = { (const char *) cases[i].bytes, cases[i].size };
        weft_mp_token_t token = s_token(bytes);
        uint64_t number;
        if (cases[i].negative) {
            assert_int_equal(token.type, WEFT_MP_INT);
            assert_true(token.v.i < 0 && 0 - (uint64_t) token.v.i == cases[i].magnitude);
            assert_false(weft_mp_uint(bytes, &number));
        } else {
            assert_int_equal(token.type, WEFT_MP_UINT);
            assert_true(token.v.u == cases[i].magnitude);
            assert_true(weft_mp_uint(bytes, &number) && number == cases[i].magnitude);
        }
    }
}

static void
test_other_tokens(void **state)
{
    (void) state;
    assert_int_equal(s_token(SPAN(0xc0)).type, WEFT_MP_NIL);
    assert_true(s_token(SPAN(0xc3)).v.b);
    assert_false(s_token(SPAN(0xc2)).v.b);
    assert_true(s_token(SPAN(0xca, 0x3f, 0xc0, 0, 0)).v.f == 1.5);
    assert_true(s_token(SPAN(0xcb, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0)).v.f == -1.5);
    weft_mp_token_t token = s_token(SPAN(0xa2, 'h', 'i'));
    assert_int_equal(token.type, WEFT_MP_STR);
    assert_true(weft_span_equal(token.v.bytes, WEFT_SPAN("hi")));
    token = s_token(SPAN(0xc5, 0, 2, 1, 2));
    assert_int_equal(token.type, WEFT_MP_BIN);
    assert_int_equal(token.v.bytes.size, 2);
    token = s_token(SPAN(0xd6, 0xff, 1, 2, 3, 4));
    assert_int_equal(token.type, WEFT_MP_EXT);
    assert_int_equal(token.ext_type, -1);
    assert_int_equal(token.v.bytes.size, 4);
    token = s_token(SPAN(0x92, 1, 2));
    assert_int_equal(token.type, WEFT_MP_ARRAY);
    assert_int_equal(token.count, 2);
    token = s_token(SPAN(0xde, 0, 1, 0xa1, 'k', 1));
    assert_int_equal(token.type, WEFT_MP_MAP);
    assert_int_equal(token.count, 1);
}

static void
test_next_leaves_everything_untouched_when_it_fails(void **state)
{
    (void) state;
    const weft_span_t wrong[] = { { NULL, 0 },
                                  SPAN(0xc1),
                                  SPAN(0xa3, 'a', 'b'),
                                  SPAN(0xdd, 0xff, 0xff, 0xff, 0xff, 0),
                                  SPAN(0x82, 0xa1, 'k', 1),
                                  SPAN(0xce, 0, 0, 0) };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weft_mp_t cursor = weft_mp(wrong[i]), before = cursor;
        weft_mp_token_t token = { .type = WEFT_MP_FLOAT, .count = 77 };
        assert_false(weft_mp_next(&cursor, &token));
        assert_ptr_equal(cursor.at, before.at);
        assert_int_equal(token.type, WEFT_MP_FLOAT);
        assert_int_equal(token.count, 77);
    }
}

static void
test_skip_and_value_pass_over_one_value(void **state)
{
    (void) state;
    weft_mp_t cursor = weft_mp(SPAN(0x92, 0x81, 0xa1, 'k', 0x90, 0xc0, 0x07));
    weft_span_t value;
    weft_mp_token_t token;
    assert_true(weft_mp_value(&cursor, &value));
    assert_int_equal(value.size, 6);
    assert_true(weft_mp_next(&cursor, &token));
    assert_true(token.v.u == 7);
    assert_false(weft_mp_skip(&cursor));

    char deep[WEFT_MP_DEPTH_MAX + 2];
    memset(deep, '\x91', sizeof deep);
    deep[WEFT_MP_DEPTH_MAX] = '\xc0';
    cursor = weft_mp((weft_span_t){ deep, WEFT_MP_DEPTH_MAX + 1 });
    assert_true(weft_mp_skip(&cursor));
    deep[WEFT_MP_DEPTH_MAX] = '\x91';
    deep[WEFT_MP_DEPTH_MAX + 1] = '\xc0';
    cursor = weft_mp((weft_span_t){ deep, WEFT_MP_DEPTH_MAX + 2 });
    const char *before = cursor.at;
    assert_false(weft_mp_skip(&cursor));
    assert_ptr_equal(cursor.at, before);
}

/* ---- check ------------------------------------------------------------------------------------------ */

static void
test_check_says_why_and_where(void **state)
{
    (void) state;
    const char *why = NULL;
    size_t offset = 0;
    assert_false(weft_mp_check(SPAN(0x92, 0x01, 0xc1), &WEFT_MP_LIMITS_DEFAULT, &why, &offset));
    assert_string_equal(why, "reserved byte 0xc1");
    assert_int_equal(offset, 2);
    assert_false(weft_mp_check(SPAN(0x01, 0x02), &WEFT_MP_LIMITS_DEFAULT, &why, &offset));
    assert_string_equal(why, "bytes behind the value");
    assert_int_equal(offset, 1);
}

static void
test_check_holds_to_the_limits_given(void **state)
{
    (void) state;
    const weft_span_t value = SPAN(0x92, 0x91, 0x01, 0x02); /* two deep, four tokens */
    assert_true(weft_mp_check(value, &(weft_mp_limits_t){ 2, 4 }, NULL, NULL));
    assert_false(weft_mp_check(value, &(weft_mp_limits_t){ 1, 4 }, NULL, NULL));
    assert_false(weft_mp_check(value, &(weft_mp_limits_t){ 2, 3 }, NULL, NULL));
    assert_false(weft_mp_check(SPAN(0x90), &(weft_mp_limits_t){ 0, 4 }, NULL, NULL));
    assert_true(weft_mp_check(SPAN(0x05), &(weft_mp_limits_t){ 0, 1 }, NULL, NULL));
}

static void
test_default_nodes_are_counted_with_the_container(void **state)
{
    (void) state;
    const size_t most = WEFT_MP_LIMITS_DEFAULT.nodes_max;
    char *bytes = calloc(1, 5 + most);
    assert_non_null(bytes);
    for (size_t elements = most - 1; elements <= most; elements++) {
        bytes[0] = '\xdd';
        for (int i = 0; i < 4; i++)
            bytes[1 + i] = (char) (elements >> (24 - 8 * i) & 0xff);
        weft_span_t value = { bytes, 5 + elements };
        const char *why = NULL;
        assert_int_equal(weft_mp_check(value, &WEFT_MP_LIMITS_DEFAULT, &why, NULL), elements == most - 1);
        if (elements == most)
            assert_string_equal(why, "too many values");
    }
    free(bytes);
}

/* ---- getters ---------------------------------------------------------------------------------------- */

static const unsigned char S_MAP_BYTES[] = {
    0x88, 0xa1, 's',  0xa2, 'h',  'i',        /* s: "hi" */
    0xa1, 'u',  0xcd, 0x01, 0x00,             /* u: 256 */
    0xa1, 'i',  0xfe,                         /* i: -2 */
    0xa1, 'f',  0xca, 0x3f, 0xc0, 0x00, 0x00, /* f: 1.5 */
    0xa1, 'b',  0xc3,                         /* b: true */
    0xa1, 'n',  0xc0,                         /* n: nil */
    0xa1, 'm',  0x81, 0xa1, 'x',  0x01,       /* m: {x: 1} */
    0xa1, 'e',  0xa0                          /* e: "" */
};
static const weft_span_t S_MAP = { (const char *) S_MAP_BYTES, sizeof S_MAP_BYTES };

static void
test_getters_find_their_type_or_give_the_fallback(void **state)
{
    (void) state;
    assert_true(s_ok(S_MAP));
    assert_true(weft_span_equal(weft_mp_get_str(S_MAP, "s"), WEFT_SPAN("hi")));
    assert_non_null(weft_mp_get_str(S_MAP, "e").data);
    assert_int_equal(weft_mp_get_str(S_MAP, "e").size, 0);
    assert_null(weft_mp_get_str(S_MAP, "u").data);
    assert_null(weft_mp_get_str(S_MAP, "absent").data);
    assert_int_equal(weft_mp_get_int(S_MAP, "i", 9), -2);
    assert_int_equal(weft_mp_get_int(S_MAP, "u", 9), 256);
    assert_int_equal(weft_mp_get_int(S_MAP, "s", 9), 9);
    assert_int_equal(weft_mp_get_uint(S_MAP, "u", 9), 256);
    assert_int_equal(weft_mp_get_uint(S_MAP, "i", 9), 9);
    assert_true(weft_mp_get_float(S_MAP, "f", 9) == 1.5);
    assert_true(weft_mp_get_float(S_MAP, "i", 9) == -2);
    assert_true(weft_mp_get_float(S_MAP, "u", 9) == 256);
    assert_true(weft_mp_get_float(S_MAP, "n", 9) == 9);
    assert_true(weft_mp_get_bool(S_MAP, "b", false));
    assert_true(weft_mp_get_bool(S_MAP, "u", true));
    weft_span_t inner = weft_mp_get(S_MAP, "m");
    assert_int_equal(weft_mp_get_int(inner, "x", 9), 1);
    assert_null(weft_mp_get(SPAN(0x91, 0x01), "x").data);
    assert_null(weft_mp_get((weft_span_t){ NULL, 0 }, "x").data);
}

static void
test_int_getter_refuses_what_does_not_fit(void **state)
{
    (void) state;
    const weft_span_t map = SPAN(0x81, 0xa1, 'k', 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0);
    assert_int_equal(weft_mp_get_int(map, "k", 9), 9);
    assert_true(weft_mp_get_uint(map, "k", 9) == UINT64_C(1) << 63);
}

static void
test_get_takes_the_first_of_two_equal_keys(void **state)
{
    (void) state;
    assert_int_equal(weft_mp_get_int(SPAN(0x82, 0xa1, 'k', 1, 0xa1, 'k', 2), "k", 9), 1);
}

/* ---- mutation --------------------------------------------------------------------------------------- */

/* splitmix64, http://prng.di.unimi.it/splitmix64.c: the same numbers on every machine. */
static uint64_t
s_random(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* What check accepts, skip passes over exactly, msgpack-c reads, and getters survive. */
static void
s_assert_consistent(weft_span_t value)
{
    weft_mp_t cursor = weft_mp(value);
    bool skipped = weft_mp_skip(&cursor);
    (void) weft_mp_get_str(value, "a");
    (void) weft_mp_get_int(value, "b", 0);
    if (!s_ok(value))
        return;
    assert_true(skipped);
    assert_ptr_equal(cursor.at, value.data + value.size);
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    size_t used = 0;
    assert_int_equal(msgpack_unpack_next(&result, value.data, value.size, &used), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(used, value.size);
    msgpack_unpacked_destroy(&result);
}

static void
test_mutated_values_are_judged_consistently(void **state)
{
    (void) state;
    uint64_t seed = 1;
    size_t accepted = 0;
    for (int round = 0; round < 20000; round++) {
        size_t size = S_MAP.size - s_random(&seed) % 4;
        char *copy = malloc(size); /* exact, so that a sanitizer sees a byte too far */
        assert_non_null(copy);
        memcpy(copy, S_MAP.data, size);
        for (uint64_t changes = s_random(&seed) % 4; changes > 0; changes--)
            copy[s_random(&seed) % size] = (char) s_random(&seed);
        weft_span_t value = { copy, size };
        s_assert_consistent(value);
        accepted += s_ok(value);
        free(copy);
    }
    assert_true(accepted > 1000 && accepted < 19000); /* both sides were reached */
}

static void
test_random_bytes_are_judged_consistently(void **state)
{
    (void) state;
    uint64_t seed = 2;
    for (int round = 0; round < 20000; round++) {
        size_t size = 1 + s_random(&seed) % 24;
        char *bytes = malloc(size);
        assert_non_null(bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (char) s_random(&seed);
        s_assert_consistent((weft_span_t){ bytes, size });
        free(bytes);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_of_every_width_become_uint_or_int),
        cmocka_unit_test(test_other_tokens),
        cmocka_unit_test(test_next_leaves_everything_untouched_when_it_fails),
        cmocka_unit_test(test_skip_and_value_pass_over_one_value),
        cmocka_unit_test(test_check_says_why_and_where),
        cmocka_unit_test(test_check_holds_to_the_limits_given),
        cmocka_unit_test(test_default_nodes_are_counted_with_the_container),
        cmocka_unit_test(test_getters_find_their_type_or_give_the_fallback),
        cmocka_unit_test(test_int_getter_refuses_what_does_not_fit),
        cmocka_unit_test(test_get_takes_the_first_of_two_equal_keys),
        cmocka_unit_test(test_mutated_values_are_judged_consistently),
        cmocka_unit_test(test_random_bytes_are_judged_consistently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
