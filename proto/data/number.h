/* number - decimal text to numbers and back, exact, whatever the locale says */
#ifndef WEFT_NUMBER_H
#define WEFT_NUMBER_H

#include <weft/buf.h>

typedef enum { NUMBER_BAD, NUMBER_UINT, NUMBER_INT, NUMBER_FLOAT, NUMBER_OVERFLOW } number_kind_t;

typedef struct {
    number_kind_t kind; /* INT only below zero */
    union {
        uint64_t u;
        int64_t i;
        double f;
    } v;
} number_t;

/* Reads the longest JSON number (RFC 8259, section 6) at the beginning of `text`: its length, 0 with kind
 * BAD where there is none.  Without fraction and exponent and from -2^63 to 2^64-1: INT or UINT, -0 is UINT
 * 0; else FLOAT, the nearest double (ties to even), or OVERFLOW.  Under 1.5 KiB of stack.  Any thread. */
size_t number_read(weft_span_t text, number_t *number);

/* Longest text of number_write, with room to spare. */
#define NUMBER_TEXT_MAX 40

/* Writes the shortest decimal text that reads back as `f`, which is finite, always with a point or an
 * exponent.  Its length; no NUL.  Any thread. */
size_t number_write(double f, char text[NUMBER_TEXT_MAX]);
size_t number_write_uint(uint64_t u, char text[NUMBER_TEXT_MAX]);

#endif
