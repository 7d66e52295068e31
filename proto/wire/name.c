/* name - which texts are names of services and methods */
#include <weft/wire.h>

enum { LETTER = 1, REST = 2 }; /* may begin a part, may stand behind its first byte */

/* One look-up per byte: every REQUEST brings two names. */
static const unsigned char CLASS[256] = {
    ['a'] = 3, ['b'] = 3, ['c'] = 3, ['d'] = 3, ['e'] = 3, ['f'] = 3, ['g'] = 3, ['h'] = 3,
    ['i'] = 3, ['j'] = 3, ['k'] = 3, ['l'] = 3, ['m'] = 3, ['n'] = 3, ['o'] = 3, ['p'] = 3,
    ['q'] = 3, ['r'] = 3, ['s'] = 3, ['t'] = 3, ['u'] = 3, ['v'] = 3, ['w'] = 3, ['x'] = 3,
    ['y'] = 3, ['z'] = 3, ['0'] = 2, ['1'] = 2, ['2'] = 2, ['3'] = 2, ['4'] = 2, ['5'] = 2,
    ['6'] = 2, ['7'] = 2, ['8'] = 2, ['9'] = 2, ['-'] = 2, ['_'] = 2,
};

bool
weft_method_valid(weft_span_t method)
{
    if (method.size == 0 || method.size > WEFT_METHOD_MAX)
        return false;
    const unsigned char *at = (const unsigned char *) method.data;
    if (!(CLASS[at[0]] & LETTER))
        return false;
    for (size_t i = 1; i < method.size; i++) {
        if (!(CLASS[at[i]] & REST))
            return false;
    }
    return true;
}

bool
weft_service_valid(weft_span_t service)
{
    if (service.size == 0 || service.size > WEFT_SERVICE_MAX)
        return false;
    const unsigned char *at = (const unsigned char *) service.data;
    unsigned wanted = LETTER;
    for (size_t i = 0; i < service.size; i++) {
        if (at[i] == '.' && wanted == REST) {
            wanted = LETTER;
            continue;
        }
        if (!(CLASS[at[i]] & wanted))
            return false;
        wanted = REST;
    }
    return wanted == REST; /* no dot at the end */
}
