/* text - length of the character at hand, for those who must not pass broken UTF-8 on */
#include "runtime/text.h"

static bool
s_is_continuation(char c)
{
    return ((unsigned char) c & 0xc0) == 0x80;
}

size_t
text_character(const char *at, size_t left)
{
    const unsigned char lead = (unsigned char) at[0];
    if (lead < 0x80)
        return 1;
    const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (!s_is_continuation(at[i]))
            return 0;
    }
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    const unsigned char second = (unsigned char) at[1];
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
        return 0;
    return length;
}

bool
text_is_control(const char *at, size_t length)
{
    const unsigned char lead = (unsigned char) at[0];
    if (length == 1)
        return lead < 0x20 || lead == 0x7f;
    return length == 2 && lead == 0xc2 && (unsigned char) at[1] < 0xa0;
}
