/* cmocka_all - cmocka with the headers that it wants first */
#ifndef WEFT_TEST_CMOCKA_ALL_H
#define WEFT_TEST_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
