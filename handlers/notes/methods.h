/* methods - the functions of the service; each has a file of its own, the table in main.c says what it
 * expects */
#ifndef NOTES_METHODS_H
#define NOTES_METHODS_H

#include <weft/handler.h>

weft_status_t notes_create(weft_request_t *request, void *app);
weft_status_t notes_get(weft_request_t *request, void *app);
weft_status_t notes_list(weft_request_t *request, void *app);
weft_status_t notes_search(weft_request_t *request, void *app);
weft_status_t notes_update(weft_request_t *request, void *app);
weft_status_t notes_delete(weft_request_t *request, void *app);
weft_status_t notes_export(weft_request_t *request, void *app);
weft_status_t notes_export_get(weft_request_t *request, void *app);

#endif
