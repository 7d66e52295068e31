/* version - the version of this build */
#include <weft/config.h>

const char *
weft_version(void)
{
    return WEFT_VERSION;
}
