/* format_uri - host names, addresses, mail addresses and URIs as texts */
#ifndef WEFT_FORMAT_URI_H
#define WEFT_FORMAT_URI_H

#include <weft/buf.h>

bool format_hostname(weft_span_t text);      /* RFC 1123, section 2.1 */
bool format_ipv4(weft_span_t text);          /* RFC 2673, section 3.2: four decimals without leading zeros */
bool format_ipv6(weft_span_t text);          /* RFC 4291, section 2.2 */
bool format_email(weft_span_t text);         /* RFC 5321, section 4.1.2 */
bool format_uri(weft_span_t text);           /* RFC 3986, with a scheme */
bool format_uri_reference(weft_span_t text); /* RFC 3986 */

#endif
