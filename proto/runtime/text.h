/* text - length of the character at hand, for those who must not pass broken UTF-8 on (inside runtime only)
 */
#ifndef WEFT_RUNTIME_TEXT_H
#define WEFT_RUNTIME_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid UTF-8 sequence that `at` begins with (Unicode standard, table 3-7), 0 when there is
 * none.  `left` is at least 1. */
size_t text_character(const char *at, size_t left);

/* U+FFFD, shown instead of bytes that are no character. */
#define TEXT_REPLACEMENT "\xef\xbf\xbd"

/* True for the characters that drive a terminal: C0 without exception, DEL, and C1 (two bytes in UTF-8). */
bool text_is_control(const char *at, size_t length);

#endif
