/* utf8 - tells whether bytes are valid UTF-8; text of a mesh is mostly ASCII, so that goes eight at a time */
#include <weft/mp.h>

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline bool
s_is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Length of the valid sequence at `at` that begins with a byte >= 0x80; 0 when there is none.  The ranges of
 * the second byte are those of table 3-7 of the Unicode standard: they exclude overlong forms, surrogates
 * and what lies beyond U+10FFFF. */
static size_t
s_sequence(const unsigned char *at, size_t left)
{
    const unsigned char lead = at[0];
    if (lead < 0xc2)
        return 0;
    if (lead < 0xe0)
        return left >= 2 && s_is_continuation(at[1]) ? 2 : 0;
    if (lead < 0xf0) {
        if (left < 3 || !s_is_continuation(at[1]) || !s_is_continuation(at[2]))
            return 0;
        if ((lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] > 0x9f))
            return 0;
        return 3;
    }
    if (lead > 0xf4 || left < 4 || !s_is_continuation(at[1]) || !s_is_continuation(at[2]) ||
        !s_is_continuation(at[3]))
        return 0;
    if ((lead == 0xf0 && at[1] < 0x90) || (lead == 0xf4 && at[1] > 0x8f))
        return 0;
    return 4;
}

bool
weft_utf8_valid(weft_span_t text)
{
    const unsigned char *at = (const unsigned char *) text.data;
    size_t left = text.size;
    while (left > 0) {
        if (left >= sizeof(uint64_t)) {
            uint64_t eight;
            memcpy(&eight, at, sizeof eight);
            if ((eight & HIGH_BITS) == 0) {
                at += sizeof eight;
                left -= sizeof eight;
                continue;
            }
        }
        size_t step = *at < 0x80 ? 1 : s_sequence(at, left);
        if (step == 0)
            return false;
        at += step;
        left -= step;
    }
    return true;
}
