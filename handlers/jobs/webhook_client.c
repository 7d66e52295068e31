/* webhook_client - POSTs to addresses of strangers: many at once, none trusted */
#include "webhook_client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <weft/clock.h>
#include <weft/config.h>
#include <weft/log.h>

#define TIMEOUT_MS 15000
#define CONNECT_TIMEOUT_MS 5000
#define RESPONSE_MAX 65536
#define CONNECTIONS_MAX 32 /* that are kept for a next delivery */

typedef struct transfer transfer_t;
struct transfer {
    webhook_client_t *client;
    void *context;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    size_t received; /* bytes of the response */
    bool capped;     /* it was longer than we read */
    bool refused;
    address_class_t refused_class;
    char error[CURL_ERROR_SIZE];
    transfer_t *next, *previous; /* all that are on the way */
};

struct webhook_client {
    webhook_client_config_t config;
    CURLM *multi;
    transfer_t *transfers;
    uint32_t in_flight;
};

webhook_client_t *
webhook_client_new(const webhook_client_config_t *config)
{
    webhook_client_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->config.timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_MS;
    self->config.connect_timeout_ms = config->connect_timeout_ms > 0 ? config->connect_timeout_ms
                                                                     : CONNECT_TIMEOUT_MS;
    self->config.response_max = config->response_max > 0 ? config->response_max : RESPONSE_MAX;
    self->multi = curl_multi_init();
    if (!self->multi ||
        curl_multi_setopt(self->multi, CURLMOPT_MAXCONNECTS, (long) CONNECTIONS_MAX) != CURLM_OK)
        webhook_client_destroy(&self);
    return self;
}

static void
s_transfer_free(transfer_t *transfer)
{
    webhook_client_t *client = transfer->client;
    if (transfer->easy) {
        (void) curl_multi_remove_handle(client->multi, transfer->easy); /* no error if it was never added */
        curl_easy_cleanup(transfer->easy);
    }
    curl_slist_free_all(transfer->headers);
    free(transfer->body);
    free(transfer);
}

static void
s_transfer_destroy(transfer_t *transfer)
{
    webhook_client_t *client = transfer->client;
    if (transfer->next)
        transfer->next->previous = transfer->previous;
    if (transfer->previous)
        transfer->previous->next = transfer->next;
    else if (client->transfers == transfer)
        client->transfers = transfer->next;
    s_transfer_free(transfer);
}

void
webhook_client_destroy(webhook_client_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        webhook_client_t *self = *self_p;
        for (transfer_t *transfer = self->transfers, *next; transfer; transfer = next) {
            next = transfer->next;
            s_transfer_free(transfer);
        }
        if (self->multi)
            (void) curl_multi_cleanup(self->multi);
        free(self);
        *self_p = NULL;
    }
}

/* ---- what libcurl asks us ---- */

/* The last moment before a connection is made, with the address that it will have. */
static curl_socket_t
s_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    transfer_t *transfer = context;
    (void) purpose;
    if (!address_allowed(transfer->client->config.policy, &address->addr)) {
        transfer->refused = true;
        transfer->refused_class = address_classify(&address->addr);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* What the receiver says is not kept; of an endless answer no more is read than that. */
static size_t
s_on_data(char *data, size_t size, size_t count, void *context)
{
    transfer_t *transfer = context;
    (void) data;
    (void) size; /* is 1 */
    transfer->received += count;
    transfer->capped = transfer->received > transfer->client->config.response_max;
    return transfer->capped ? 0 : count;
}

/* ---- a delivery ---- */

static bool
s_add_header(transfer_t *transfer, const char *line)
{
    struct curl_slist *longer = curl_slist_append(transfer->headers, line);
    if (longer)
        transfer->headers = longer;
    return longer != NULL;
}

static bool
s_headers(transfer_t *transfer, const webhook_post_t *post)
{
    weft_buf_t line;
    bool good;
    weft_buf_init(&line, 4096);
    good = s_add_header(transfer, "content-type: application/json") &&
           s_add_header(transfer, "accept: */*") &&
           s_add_header(transfer, "expect:") /* no 100-continue: half of the receivers never send it */
           && weft_buf_addf(&line, "webhook-id: %s", post->id) && weft_buf_add_char(&line, '\0') &&
           s_add_header(transfer, line.data);
    weft_buf_reset(&line);
    good = good && weft_buf_addf(&line, "webhook-timestamp: %" PRId64, post->timestamp_s) &&
           weft_buf_add_char(&line, '\0') && s_add_header(transfer, line.data);
    weft_buf_reset(&line);
    good = good && weft_buf_addf(&line, "webhook-signature: %s", post->signature) &&
           weft_buf_add_char(&line, '\0') && s_add_header(transfer, line.data);
    weft_buf_fini(&line);
    return good;
}

#define SET(option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)
static bool
s_options(transfer_t *transfer, const webhook_post_t *post)
{
    const webhook_client_config_t *config = &transfer->client->config;
    CURL *easy = transfer->easy;
    char agent[64];
    weft_format(agent, sizeof agent, "weft-jobs/%s", weft_version());
    bool where = SET(CURLOPT_URL, post->url) &&
                 SET(CURLOPT_PROTOCOLS_STR, config->policy->http ? "https,http" : "https") &&
                 SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_PROXY, "") && SET(CURLOPT_NOPROXY, "*") &&
                 SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED) &&
                 SET(CURLOPT_OPENSOCKETFUNCTION, s_open_socket) && SET(CURLOPT_OPENSOCKETDATA, transfer) &&
                 SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) &&
                 (!config->ca_file || SET(CURLOPT_CAINFO, config->ca_file));
    /* QUICK_EXIT: a resolver that hangs must not be waited for when its transfer is over. */
    bool limits = SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_QUICK_EXIT, 1L) &&
                  SET(CURLOPT_TIMEOUT_MS, (long) config->timeout_ms) &&
                  SET(CURLOPT_CONNECTTIMEOUT_MS, (long) config->connect_timeout_ms) &&
                  SET(CURLOPT_WRITEFUNCTION, s_on_data) && SET(CURLOPT_WRITEDATA, transfer);
    bool what = SET(CURLOPT_USERAGENT, agent) && SET(CURLOPT_HTTPHEADER, transfer->headers) &&
                SET(CURLOPT_POST, 1L) && SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) post->body.size) &&
                SET(CURLOPT_POSTFIELDS, transfer->body) && SET(CURLOPT_ERRORBUFFER, transfer->error) &&
                SET(CURLOPT_PRIVATE, transfer);
    return where && limits && what;
}

bool
webhook_client_post(webhook_client_t *self, const webhook_post_t *post, void *context)
{
    transfer_t *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return false;
    transfer->client = self;
    transfer->context = context;
    transfer->next = self->transfers;
    if (self->transfers)
        self->transfers->previous = transfer;
    self->transfers = transfer;
    transfer->body = malloc(post->body.size + 1);
    transfer->easy = curl_easy_init();
    if (transfer->body)
        memcpy(transfer->body, post->body.data, post->body.size);
    if (!transfer->body || !transfer->easy || !s_headers(transfer, post) || !s_options(transfer, post) ||
        curl_multi_add_handle(self->multi, transfer->easy) != CURLM_OK) {
        s_transfer_destroy(transfer);
        return false;
    }
    self->in_flight++;
    return true;
}

static void
s_result(const transfer_t *transfer, CURLcode code, webhook_result_t *result)
{
    curl_off_t retry_after = 0, duration_us = 0;
    memset(result, 0, sizeof *result);
    result->context = transfer->context;
    result->retry_after_s = -1;
    (void) curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &duration_us);
    result->duration_us = duration_us;
    /* Of a long answer the status is known, and that is what counts. */
    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && transfer->capped)) {
        (void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &result->status);
        if (curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK &&
            retry_after > 0)
            result->retry_after_s = retry_after;
    }
    if (result->status > 0)
        return;
    /* libcurl's own texts may hold addresses that are nobody's business outside. */
    result->refused = transfer->refused && code == CURLE_COULDNT_CONNECT;
    if (result->refused)
        weft_format(result->error, sizeof result->error, "the address of the host is not allowed (%s)",
                    address_class_name(transfer->refused_class));
    else
        weft_format(result->error, sizeof result->error, "%s",
                    code == CURLE_OK ? "no response" : curl_easy_strerror(code));
    weft_log_debug("webhook was not delivered", WEFT_STR("error", result->error),
                   WEFT_STR("detail", transfer->error));
}

bool
webhook_client_next(webhook_client_t *self, webhook_result_t *result)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(self->multi, &left))) {
        transfer_t *transfer = NULL;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) != CURLE_OK)
            continue;
        s_result(transfer, message->data.result, result);
        s_transfer_destroy(transfer);
        self->in_flight--;
        return true;
    }
    return false;
}

uint32_t
webhook_client_in_flight(const webhook_client_t *self)
{
    return self->in_flight;
}

void
webhook_client_wait(webhook_client_t *self, int fd, int timeout_ms)
{
    struct curl_waitfd extra = { .fd = fd, .events = CURL_WAIT_POLLIN };
    int running;
    if (curl_multi_perform(self->multi, &running) == CURLM_OK && (uint32_t) running == self->in_flight)
        (void) curl_multi_poll(self->multi, &extra, 1, timeout_ms, NULL);
    (void) curl_multi_perform(self->multi, &running);
}
