/* unit - what the tests of proto/data share: a seeded generator, hex and cmocka's many includes */
#ifndef TESTS_UNIT_DATA_UNIT_H
#define TESTS_UNIT_DATA_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/json.h>

/* xorshift64*: the same numbers everywhere for the same seed. */
typedef struct {
    uint64_t state;
} unit_random_t;

static inline uint64_t
unit_random(unit_random_t *self)
{
    self->state ^= self->state >> 12;
    self->state ^= self->state << 25;
    self->state ^= self->state >> 27;
    return self->state * UINT64_C(2685821657736338717);
}

static inline uint64_t
unit_below(unit_random_t *self, uint64_t bound)
{
    return unit_random(self) % bound;
}

/* Hex text, spaces ignored, to bytes; the number of bytes. */
static inline size_t
unit_unhex(const char *hex, char *bytes, size_t size_max)
{
    size_t size = 0;
    while (*hex) {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        char pair[3] = { hex[0], hex[1], '\0' };
        char *end;
        unsigned long value = strtoul(pair, &end, 16);
        assert_true(*end == '\0' && hex[1] && size < size_max);
        bytes[size++] = (char) (unsigned char) value;
        hex += 2;
    }
    return size;
}

/* Fails with both in sight where `bytes` are not those of `hex`. */
static inline void
unit_assert_hex(weft_span_t bytes, const char *hex, const char *what)
{
    char expected[512];
    size_t size = unit_unhex(hex, expected, sizeof expected);
    if (bytes.size == size && (size == 0 || memcmp(bytes.data, expected, size) == 0))
        return;
    print_error("%s: expected %s, got", what, hex);
    for (size_t i = 0; i < bytes.size && i < sizeof expected; i++)
        print_error(" %02x", (unsigned) (unsigned char) bytes.data[i]);
    print_error("\n");
    fail();
}

#endif
