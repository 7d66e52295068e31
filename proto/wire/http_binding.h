/* http_binding - "GET /v1/notes/{id}": the HTTP routes that a method asks for */
#ifndef WEFT_HTTP_BINDING_H
#define WEFT_HTTP_BINDING_H

#include <weft/descriptor.h>

#define HTTP_BINDING_PATH_MAX 255 /* bytes of a path template */

/* Splits and checks a binding by the rules of SPEC.md, Descriptor.  NULL and *binding (spans into `text`), or
 * the rule that was broken (static text). */
const char *http_binding_parse(weft_span_t text, weft_http_binding_t *binding);

/* Whether a parsed binding lies where only the gateway itself, or another service than `service`, may be. */
bool http_binding_reserved(const weft_http_binding_t *binding, weft_span_t service);

/* Orders parsed bindings so that those that match the same requests are equal: parameter names do not count.
 */
int http_binding_compare(const weft_http_binding_t *a, const weft_http_binding_t *b);

#endif
