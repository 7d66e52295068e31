/* main - weft-echo: the service `echo`, which answers back, for diagnosis and tests */
#include <weft/clock.h>

#include "methods.h"

#define DELAY_INPUT                                                                                          \
    "{\"type\":\"object\",\"required\":[\"ms\"],\"additionalProperties\":false,\"properties\":{"             \
    "\"ms\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":86400000,\"description\":\"milliseconds\"}}}"
#define DELAY_OUTPUT                                                                                         \
    "{\"type\":\"object\",\"required\":[\"waited_ms\"],\"properties\":{\"waited_ms\":{\"type\":\"integer\"}" \
    "}}"

#define FAIL_INPUT                                                                                           \
    "{\"type\":\"object\",\"required\":[\"code\"],\"additionalProperties\":false,\"properties\":{"           \
    "\"code\":{\"enum\":[\"CANCELLED\",\"UNKNOWN\",\"INVALID_ARGUMENT\",\"DEADLINE_EXCEEDED\","              \
    "\"NOT_FOUND\",\"ALREADY_EXISTS\",\"PERMISSION_DENIED\",\"RESOURCE_EXHAUSTED\","                         \
    "\"FAILED_PRECONDITION\",\"ABORTED\",\"OUT_OF_RANGE\",\"UNIMPLEMENTED\",\"INTERNAL\",\"UNAVAILABLE\","   \
    "\"DATA_LOSS\",\"UNAUTHENTICATED\"]},"                                                                   \
    "\"message\":{\"type\":\"string\",\"maxLength\":400},"                                                   \
    "\"details\":{\"description\":\"any value: the details of the error\"}}}"

#define STREAM_INPUT                                                                                         \
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"                                   \
    "\"count\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1000000,\"default\":10},"                     \
    "\"interval_ms\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":60000,\"default\":0}}}"
#define STREAM_OUTPUT                                                                                        \
    "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"description\":\"of each part\"},"    \
    "\"count\":{\"type\":\"integer\",\"description\":\"of the last: parts sent\"}}}"

/* Up to twice the frame limit: what is too large to be sent is part of what can be tried. */
#define BIG_INPUT                                                                                            \
    "{\"type\":\"object\",\"required\":[\"bytes\"],\"additionalProperties\":false,\"properties\":{"          \
    "\"bytes\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":4194304}}}"
#define BIG_OUTPUT                                                                                           \
    "{\"type\":\"object\",\"required\":[\"data\"],\"properties\":{\"data\":{\"type\":\"string\"}}}"

#define INFO_OUTPUT                                                                                          \
    "{\"type\":\"object\",\"properties\":{\"version\":{\"type\":\"string\"},\"pid\":{\"type\":\"integer\"}," \
    "\"uptime_ms\":{\"type\":\"integer\"},\"remaining_ms\":{\"type\":\"integer\"},"                          \
    "\"meta\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}}}"

static const weft_method_t s_methods[] = {
    { .name = "echo", .summary = "Gives the input back", .run = echo_echo, .idempotent = true },
    { .name = "delay",
      .summary = "Answers after a while",
      .run = echo_delay,
      .input = DELAY_INPUT,
      .output = DELAY_OUTPUT,
      .idempotent = true },
    { .name = "fail",
      .summary = "Fails with a code and a message",
      .run = echo_fail,
      .input = FAIL_INPUT,
      .idempotent = true },
    { .name = "stream",
      .summary = "Counts, one part at a time",
      .run = echo_stream,
      .input = STREAM_INPUT,
      .output = STREAM_OUTPUT,
      .idempotent = true,
      .streaming = true },
    { .name = "big",
      .summary = "Gives a text of a size",
      .run = echo_big,
      .input = BIG_INPUT,
      .output = BIG_OUTPUT,
      .idempotent = true },
    { .name = "info",
      .summary = "Tells about the process and the call",
      .run = echo_info,
      .output = INFO_OUTPUT,
      .http = "GET /v1/echo/info",
      .idempotent = true },
    { .name = NULL },
};

int
main(int argc, char **argv)
{
    int64_t started_ms = weft_mono_ms();
    const weft_service_t echo = {
        .name = "echo",
        .version = "0.1.0",
        .summary = "Answers back: for diagnosis and tests",
        .methods = s_methods,
        .app = &started_ms,
    };
    return weft_handler_main(&echo, argc, argv);
}
