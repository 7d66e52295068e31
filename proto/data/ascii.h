/* ascii - finds, eight bytes at a time, where plain text of a JSON string ends */
#ifndef WEFT_ASCII_H
#define WEFT_ASCII_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ASCII_ONES UINT64_C(0x0101010101010101)
#define ASCII_HIGH UINT64_C(0x8080808080808080)

/* True for what may stand in a JSON string as it is and is ASCII. */
static inline int
ascii_is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* How many of the first bytes between `at` and `end` are plain. */
static inline size_t
ascii_plain(const unsigned char *at, const unsigned char *end)
{
    const unsigned char *begin = at;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        /* The high bit of a byte is set below where it is a control, a quote, a backslash or >= 0x80.
         * A borrow can only set bits above a byte that is one itself, so the lowest is right. */
        uint64_t special = ((word - ASCII_ONES * 0x20) | ((word ^ ASCII_ONES * '"') - ASCII_ONES) |
                            ((word ^ ASCII_ONES * '\\') - ASCII_ONES) | word) &
                           ASCII_HIGH;
        if (special)
            return (size_t) (at - begin) + (size_t) (__builtin_ctzll(special) >> 3);
        at += 8;
    }
#endif
    while (at < end && ascii_is_plain(*at))
        at++;
    return (size_t) (at - begin);
}

#endif
