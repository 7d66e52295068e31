/* config - settings from the environment, overridden by flags of the same name, checked at start */
#ifndef WEFT_CONFIG_H
#define WEFT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/buf.h>
#include <weft/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    WEFT_SETTING_STRING,    /* const char ** */
    WEFT_SETTING_INT,       /* int64_t *, within [min, max] */
    WEFT_SETTING_BOOL,      /* bool *: 1, true, yes, on / 0, false, no, off; a flag without value is true */
    WEFT_SETTING_CHOICE,    /* const char **: one of `choices`, separated by | */
    WEFT_SETTING_ENDPOINTS, /* const char **: comma-separated tcp://HOST:PORT or ipc://PATH */
    WEFT_SETTING_ADDRESS    /* const char **: [HOST:]PORT; empty allowed where the default is empty */
} weft_setting_type_t;

/* A row of a program's table, which a row with name NULL ends.  `env` "WEFT_HTTP" is also the flag
 * "--http": WEFT_ taken off, lower case, _ as -. */
typedef struct {
    const char *env;
    weft_setting_type_t type;
    void *value; /* where the result goes; a string points into argv, the environment or the default */
    const char *fallback; /* the default as text; NULL: the setting is required */
    const char *help;     /* one line; says the unit */
    int64_t min, max;     /* WEFT_SETTING_INT */
    const char *choices;  /* WEFT_SETTING_CHOICE */
} weft_setting_t;

/* Reads the environment (an empty variable counts as not set), then argv ("--name value", "--name=value"; a
 * WEFT_SETTING_BOOL takes its value only behind =); fills the values.  --help and
 * --version are answered on standard output and end the process with 0.  On anything unknown, malformed or
 * out of range (an unknown WEFT_ variable is only warned of when it resembles one of the table) one line goes
 * to standard error and the process ends with 2.  What is left (not starting with --, or behind "--") is
 * returned through *rest and *rest_count where those are given; elsewhere it is an error.
 * Common settings (WEFT_LOG, WEFT_LOG_FORMAT, WEFT_BATCH) are handled here for every program, after the
 * table: logging is set up with `component` when this returns.  Before the first thread. */
void weft_config_load(const char *component, const char *summary, const weft_setting_t *settings, int argc,
                      char **argv, char ***rest, int *rest_count);

/* What is wrong with `list`, as a short static text; NULL where it is a list of endpoints: one to 64 of
 * tcp://HOST:PORT (a name, an IPv4 address, [an IPv6 address] or *, with a port of 0 to 65535) and
 * ipc://PATH, separated by commas, no spaces.  Any thread. */
const char *weft_endpoints_fault(const char *list);
/* The next endpoint of *list (one that weft_endpoints_fault found good) into *endpoint (borrowed), *list
 * moved behind it.  False at the end. */
bool weft_endpoints_next(const char **list, weft_span_t *endpoint);
/* True where nobody from another machine can get at it: ipc, 127.0.0.0/8, [::1], localhost.  Any thread. */
bool weft_endpoint_is_local(weft_span_t endpoint);
/* What is wrong with `text` as [HOST:]PORT; NULL where nothing is.  HOST is a name, an IPv4 address or *: the
 * HTTP server of Debian 12 (civetweb 1.15) has no IPv6.  Any thread. */
const char *weft_address_fault(const char *text);
/* True where [HOST:]PORT listens on loopback only.  Any thread. */
bool weft_address_is_local(const char *text);

/* Reads `text` as a whole decimal number within [min, max].  False, *number untouched, where it is not. */
bool weft_parse_int(const char *text, int64_t min, int64_t max, int64_t *number) WEFT_MUST_CHECK;

/* The version that --version prints, "0.1.0". */
const char *weft_version(void);

#ifdef __cplusplus
}
#endif
#endif
