/* signature - signs webhooks as the Standard Webhooks specification (1.0.0) has it: HMAC-SHA256, scheme v1
 *
 * A secret is "whsec_" and the base64 of 24 to 64 random bytes.  Several, separated by spaces, all sign: the
 * way to change a secret while receivers still have the old one. */
#ifndef JOBS_SIGNATURE_H
#define JOBS_SIGNATURE_H

#include <weft/buf.h>
#include <weft/status.h>

#define SIGNATURE_SECRETS_MAX 4
#define SIGNATURE_SECRET_MIN 24 /* bytes, decoded */
#define SIGNATURE_SECRET_MAX 64

typedef struct {
    struct {
        unsigned char bytes[SIGNATURE_SECRET_MAX];
        unsigned size;
    } secrets[SIGNATURE_SECRETS_MAX];
    unsigned count;
} signature_keys_t;

/* Reads the secrets.  An empty text has none, which is no error.  False with the reason in `why`, which never
 * holds a part of a secret. */
bool signature_keys_parse(weft_span_t text, signature_keys_t *self, char *why,
                          size_t why_size) WEFT_MUST_CHECK;
void signature_keys_clear(signature_keys_t *self);

/* Appends the value of the header webhook-signature: "v1,BASE64" for each secret, separated by spaces, over
 * "ID.TIMESTAMP.BODY".  timestamp_s: Unix time.  False where `out` is full or the library fails.  Any thread.
 */
bool signature_sign(const signature_keys_t *self, const char *id, int64_t timestamp_s, weft_span_t body,
                    weft_buf_t *out) WEFT_MUST_CHECK;

#endif
