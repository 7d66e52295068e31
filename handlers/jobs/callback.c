/* callback - which URLs may be called back, and when a delivery is tried again */
#include "callback.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#define RETRY_AFTER_MAX_S 86400

/* Seconds; as the Standard Webhooks specification suggests, with more tries at the beginning, when most
 * receivers come back. */
static const int s_delays_s[CALLBACK_ATTEMPTS_MAX - 1] = { 5,     30,    120,   600,   1800, 7200,
                                                           18000, 36000, 50400, 72000, 86400 };

/* A literal address in the URL: as libcurl writes it, that is also for 0x7f.1 and 2130706433. */
static bool
s_check_host(const callback_policy_t *policy, const char *host, char *why, size_t why_size)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    const struct sockaddr *address = NULL;
    char text[INET6_ADDRSTRLEN + 2];
    size_t size = strlen(host);
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        address = (const struct sockaddr *) &in;
    } else if (size > 2 && host[0] == '[' && size - 2 < sizeof text) {
        memcpy(text, host + 1, size - 2);
        text[size - 2] = '\0';
        if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
            address = (const struct sockaddr *) &in6;
    }
    if (address && !address_allowed(&policy->addresses, address)) {
        weft_format(why, why_size, "its address is not allowed (%s)",
                    address_class_name(address_classify(address)));
        return false;
    }
    return true;
}

/* A part of the URL; NULL where it has none.  curl_free. */
static char *
s_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

static bool
s_check_parts(const callback_policy_t *policy, CURLU *url, const char *text, char *why, size_t why_size)
{
    char *scheme = s_part(url, CURLUPART_SCHEME), *host = s_part(url, CURLUPART_HOST);
    char *user = s_part(url, CURLUPART_USER), *password = s_part(url, CURLUPART_PASSWORD);
    char *fragment = s_part(url, CURLUPART_FRAGMENT), *zone = s_part(url, CURLUPART_ZONEID);
    const char *fault = NULL;
    bool http = scheme && strcmp(scheme, "http") == 0;
    if (!scheme || (strcmp(scheme, "https") != 0 && !http))
        fault = "its scheme is not https";
    else if (http && !policy->addresses.http)
        fault = "its scheme is not https (WEFT_WEBHOOK_ALLOW=http would allow http)";
    else if (!host || !*host ||
             strstr(text, ":///")) /* libcurl forgives that one, and we would not know the host */
        fault = "it has no host";
    else if (user || password)
        fault = "it has a user or a password in it";
    else if (fragment)
        fault = "it has a fragment";
    else if (zone)
        fault = "its address has a zone";
    if (fault)
        weft_format(why, why_size, "%s", fault);
    bool good = !fault && s_check_host(policy, host, why, why_size);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    curl_free(fragment);
    curl_free(zone);
    return good;
}

bool
callback_check(const callback_policy_t *policy, weft_span_t url, char *why, size_t why_size)
{
    char text[CALLBACK_URL_MAX + 1];
    if (url.size > CALLBACK_URL_MAX) {
        weft_format(why, why_size, "it is longer than %d bytes", CALLBACK_URL_MAX);
        return false;
    }
    for (size_t i = 0; i < url.size; i++) {
        if (url.data[i] <= ' ' || url.data[i] > '~' || url.data[i] == '\\') {
            weft_format(why, why_size, "it holds a character that has to be percent-encoded");
            return false;
        }
        text[i] = url.data[i];
    }
    text[url.size] = '\0';
    CURLU *parsed = curl_url();
    CURLUcode code = parsed ? curl_url_set(parsed, CURLUPART_URL, text, 0) : CURLUE_OUT_OF_MEMORY;
    bool good = code == CURLUE_OK && s_check_parts(policy, parsed, text, why, why_size);
    if (code == CURLUE_UNSUPPORTED_SCHEME)
        weft_format(why, why_size, "its scheme is not https");
    else if (code != CURLUE_OK)
        weft_format(why, why_size, "it is no absolute URL");
    curl_url_cleanup(parsed);
    return good;
}

weft_status_t
callback_admit(const callback_policy_t *policy, weft_request_t *request, weft_span_t url)
{
    char why[160];
    if (!policy->enabled)
        return weft_fail(
            request, WEFT_FAILED_PRECONDITION,
            "callback_url: webhooks are off, since WEFT_WEBHOOK_SECRET is not set for the jobs service");
    if (!callback_check(policy, url, why, sizeof why))
        return weft_fail(request, WEFT_INVALID_ARGUMENT, "callback_url: %s", why);
    return WEFT_OK;
}

int64_t
callback_delay_ms(uint32_t attempt, int64_t retry_after_s, weft_rng_t *rng)
{
    if (attempt == 0 || attempt >= CALLBACK_ATTEMPTS_MAX)
        return -1;
    int64_t delay_s = s_delays_s[attempt - 1];
    if (retry_after_s > RETRY_AFTER_MAX_S)
        retry_after_s = RETRY_AFTER_MAX_S;
    if (retry_after_s > delay_s)
        delay_s = retry_after_s;
    return delay_s * 1000 + (int64_t) weft_rng_below(rng, (uint64_t) delay_s * 200);
}
