/* signature - signs webhooks as the Standard Webhooks specification (1.0.0) has it: HMAC-SHA256, scheme v1 */
#include "signature.h"

#include <inttypes.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include <weft/log.h>

static const char s_prefix[] = "whsec_";

/* The value of a base64 digit; -1 for anything else. */
static int
s_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int) (at - digits) : -1;
}

/* Decodes base64 (RFC 4648, section 4; padding may be left out, unused bits must be zero) into at most `max`
 * bytes. False where it is none or too long. */
static bool
s_decode(weft_span_t text, unsigned char *bytes, size_t max, unsigned *size)
{
    unsigned bits = 0, held = 0, count = 0;
    size_t end = text.size;
    while (end > 0 && text.size - end < 2 && text.data[end - 1] == '=')
        end--;
    if (end % 4 == 1 || (end != text.size && text.size % 4 != 0))
        return false;
    for (size_t i = 0; i < end; i++) {
        int digit = s_digit(text.data[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (unsigned) digit) & 0xffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            if (count == max)
                return false;
            bytes[count++] = (unsigned char) (bits >> held);
        }
    }
    *size = count;
    return (bits & ((1u << held) - 1)) == 0;
}

static bool
s_secret(weft_span_t text, signature_keys_t *self, char *why, size_t why_size)
{
    size_t prefix = sizeof s_prefix - 1;
    if (self->count == SIGNATURE_SECRETS_MAX) {
        weft_format(why, why_size, "more than %d secrets", SIGNATURE_SECRETS_MAX);
        return false;
    }
    if (text.size < prefix || memcmp(text.data, s_prefix, prefix) != 0) {
        weft_format(why, why_size, "secret %u does not begin with whsec_", self->count + 1);
        return false;
    }
    weft_span_t digits = { text.data + prefix, text.size - prefix };
    unsigned size = 0;
    if (!s_decode(digits, self->secrets[self->count].bytes, SIGNATURE_SECRET_MAX, &size) ||
        size < SIGNATURE_SECRET_MIN) {
        weft_format(why, why_size, "secret %u is not the base64 of %d to %d bytes", self->count + 1,
                    SIGNATURE_SECRET_MIN, SIGNATURE_SECRET_MAX);
        return false;
    }
    self->secrets[self->count++].size = size;
    return true;
}

bool
signature_keys_parse(weft_span_t text, signature_keys_t *self, char *why, size_t why_size)
{
    signature_keys_t parsed = { 0 };
    bool good = true;
    for (size_t i = 0; good && i < text.size; i++) {
        size_t begin = i;
        while (i < text.size && text.data[i] != ' ')
            i++;
        if (i > begin)
            good = s_secret((weft_span_t){ text.data + begin, i - begin }, &parsed, why, why_size);
    }
    if (good)
        *self = parsed;
    OPENSSL_cleanse(&parsed, sizeof parsed);
    return good;
}

void
signature_keys_clear(signature_keys_t *self)
{
    OPENSSL_cleanse(self, sizeof *self);
}

/* HMAC over two pieces, so that the body need not be copied behind its prefix. */
static bool
s_hmac(EVP_MAC *mac, const unsigned char *secret, size_t secret_size, weft_span_t head, weft_span_t body,
       unsigned char *digest)
{
    char name[] = "SHA256";
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", name, 0),
                                  OSSL_PARAM_construct_end() };
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    size_t size = 0;
    bool good = context && EVP_MAC_init(context, secret, secret_size, params) &&
                EVP_MAC_update(context, (const unsigned char *) head.data, head.size) &&
                EVP_MAC_update(context, (const unsigned char *) body.data, body.size) &&
                EVP_MAC_final(context, digest, &size, SHA256_DIGEST_LENGTH) && size == SHA256_DIGEST_LENGTH;
    EVP_MAC_CTX_free(context);
    return good;
}

bool
signature_sign(const signature_keys_t *self, const char *id, int64_t timestamp_s, weft_span_t body,
               weft_buf_t *out)
{
    char head[256];
    unsigned char digest[SHA256_DIGEST_LENGTH], base64[4 * SHA256_DIGEST_LENGTH / 3 + 8];
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    bool good = mac != NULL;
    weft_format(head, sizeof head, "%s.%" PRId64 ".", id, timestamp_s);
    for (unsigned i = 0; good && i < self->count; i++) {
        good = s_hmac(mac, self->secrets[i].bytes, self->secrets[i].size, weft_span(head), body, digest);
        if (good) {
            (void) EVP_EncodeBlock(base64, digest, sizeof digest); /* ends with NUL */
            good = weft_buf_addf(out, "%sv1,%s", i > 0 ? " " : "", (const char *) base64);
        }
    }
    EVP_MAC_free(mac);
    return good;
}
