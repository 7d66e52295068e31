/* methods - what weft-echo can do; the table in main.c says what each expects */
#ifndef ECHO_METHODS_H
#define ECHO_METHODS_H

#include <weft/handler.h>

weft_status_t echo_echo(weft_request_t *request, void *app);
weft_status_t echo_delay(weft_request_t *request, void *app);
weft_status_t echo_fail(weft_request_t *request, void *app);
weft_status_t echo_stream(weft_request_t *request, void *app);
weft_status_t echo_big(weft_request_t *request, void *app);
weft_status_t echo_info(weft_request_t *request, void *app);

#endif
