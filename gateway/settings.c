/* settings - the gateway's configuration, checked as far as it can be before anything starts */
#include "gateway/settings.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/config.h>
#include <weft/log.h>

static void
s_refuse(const char *message)
{
    fprintf(stderr, "weft-gateway: %s\n", message);
    exit(2);
}

bool
settings_is_loopback(const char *address)
{
    const char *colon = strrchr(address, ':');
    char host[64];
    struct in_addr in;
    if (!colon || (size_t) (colon - address) >= sizeof host) {
        return false;
    }
    memcpy(host, address, (size_t) (colon - address));
    host[colon - address] = '\0';
    return strcmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, &in) == 1 && ntohl(in.s_addr) >> 24 == 127);
}

void
settings_load(settings_t *self, int argc, char **argv)
{
    const weft_setting_t table[] = {
        { "WEFT_HTTP", WEFT_SETTING_ADDRESS, &self->http, "127.0.0.1:8080",
          "where HTTP clients connect (IPv4 or a name)", 0, 0, NULL },
        { "WEFT_BROKERS", WEFT_SETTING_ENDPOINTS, &self->brokers, "tcp://127.0.0.1:7310",
          "brokers, comma-separated", 0, 0, NULL },
        { "WEFT_OPS", WEFT_SETTING_ADDRESS, &self->ops, "",
          "address of health and metrics on threads of their own; empty: only on WEFT_HTTP", 0, 0, NULL },
        { "WEFT_HTTP_THREADS", WEFT_SETTING_INT, &self->threads, "512",
          "client connections served at once, a thread each", 4, 8192, NULL },
        { "WEFT_STREAMS_MAX", WEFT_SETTING_INT, &self->streams_max, "128", "streams open at once", 1, 8192,
          NULL },
        { "WEFT_BODY_MAX", WEFT_SETTING_INT, &self->body_max, "1048576", "largest request body, in bytes", 1,
          1900000, NULL },
        { "WEFT_BODY_TIMEOUT_MS", WEFT_SETTING_INT, &self->body_timeout_ms, "10000",
          "for a whole request body to arrive, in ms", 100, 600000, NULL },
        { "WEFT_KEEP_ALIVE_MS", WEFT_SETTING_INT, &self->keep_alive_ms, "5000",
          "an idle connection is kept so long, in ms", 1, 600000, NULL },
        { "WEFT_LAME_MS", WEFT_SETTING_INT, &self->lame_ms, "-1",
          "after SIGTERM serve on so long, in ms; -1: 0 on loopback, else 1000", -1, 600000, NULL },
        { "WEFT_DRAIN_MS", WEFT_SETTING_INT, &self->drain_ms, "25000",
          "then wait so long for requests in flight, in ms", 0, 600000, NULL },
        { "WEFT_ACCESS_LOG", WEFT_SETTING_BOOL, &self->access_log, "true", "a log line per request", 0, 0,
          NULL },
        { "WEFT_INSECURE", WEFT_SETTING_BOOL, &self->insecure, "false",
          "allow to listen beyond loopback without authentication", 0, 0, NULL },
        { "WEFT_KEYS", WEFT_SETTING_STRING, &self->keys, "", "not part of this version", 0, 0, NULL },
        { NULL, WEFT_SETTING_STRING, NULL, NULL, NULL, 0, 0, NULL },
    };
    weft_config_load("gateway", "weft-gateway - the HTTP edge of the mesh", table, argc, argv, NULL, NULL);
    if (self->keys[0]) {
        s_refuse("WEFT_KEYS: CURVE is not part of this version");
    }
    if (strchr(self->http, '[')) {
        s_refuse("WEFT_HTTP: IPv6 is not part of this version's HTTP server");
    }
    bool loopback = settings_is_loopback(self->http);
    if (!loopback && !self->insecure) {
        s_refuse(
            "WEFT_HTTP: without authentication only loopback is allowed (WEFT_INSECURE=1 allows the rest)");
    }
    if (!loopback) {
        weft_log_warning("listening beyond loopback without authentication", WEFT_STR("address", self->http));
    }
    if (self->lame_ms < 0) {
        self->lame_ms = loopback ? 0 : 1000;
    }
}
