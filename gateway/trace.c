/* trace - request ids and W3C trace context: taken over where sound, made where not */
#include "gateway/trace.h"

static void
s_hex(char *out, uint64_t number)
{
    for (int i = 15; i >= 0; i--) {
        out[i] = "0123456789abcdef"[number & 15];
        number >>= 4;
    }
}

static bool
s_is_hex(const char *text, size_t size, bool *all_zero)
{
    *all_zero = true;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        *all_zero = *all_zero && c == '0';
    }
    return true;
}

/* version-trace-parent-flags: 2, 32, 16, 2 lower-case hexadecimal digits. */
static bool
s_traceparent_valid(weft_span_t text)
{
    bool zero;
    if (text.size < 55 || (text.size > 55 && text.data[55] != '-')) {
        return false;
    }
    const char *t = text.data;
    if (t[2] != '-' || t[35] != '-' || t[52] != '-' || !s_is_hex(t, 2, &zero)) {
        return false;
    }
    if (memcmp(t, "ff", 2) == 0 || (zero && text.size != 55)) {
        return false;
    }
    return s_is_hex(t + 3, 32, &zero) && !zero && s_is_hex(t + 36, 16, &zero) && !zero &&
           s_is_hex(t + 53, 2, &zero);
}

static bool
s_request_id_valid(weft_span_t text)
{
    if (text.size == 0 || text.size > TRACE_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || !strchr("._~:/+=@-", c))) {
            return false;
        }
    }
    return true;
}

void
trace_begin(trace_t *self, weft_span_t request_id, weft_span_t traceparent, weft_rng_t *rng)
{
    char *out = self->traceparent;
    memcpy(out, "00-", 3);
    out[35] = '-';
    out[52] = '-';
    if (s_traceparent_valid(traceparent)) {
        memcpy(out + 3, traceparent.data + 3, 32);
        memcpy(out + 53, traceparent.data + 53, 2);
    } else {
        s_hex(out + 3, weft_rng_next(rng) | 1); /* never all zero */
        s_hex(out + 19, weft_rng_next(rng));
        memcpy(out + 53, "00", 2);
    }
    s_hex(out + 36, weft_rng_next(rng) | 1);
    out[55] = '\0';
    memcpy(self->trace_id, out + 3, 32);
    self->trace_id[32] = '\0';
    if (s_request_id_valid(request_id)) {
        memcpy(self->request_id, request_id.data, request_id.size);
        self->request_id[request_id.size] = '\0';
    } else {
        memcpy(self->request_id, self->trace_id, sizeof self->trace_id);
    }
}
