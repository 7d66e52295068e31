/* rolling_handler - the service `rolling`: writes down what it executes, so that a test can hold answers to
 * account
 *
 * `get` is idempotent, `put` is not.  Each number that is put is a line of the file WEFT_ROLLING_JOURNAL,
 * written in one piece before the answer. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <weft/handler.h>

#define INPUT                                                                                                \
    "{\"type\":\"object\",\"required\":[\"number\"],\"additionalProperties\":false,\"properties\":{"         \
    "\"number\":{\"type\":\"integer\"},\"ms\":{\"type\":\"integer\",\"minimum\":0}}}"

typedef struct {
    const char *path;
    int journal;
} rolling_t;

static weft_status_t
s_get(weft_request_t *request, void *app)
{
    (void) app;
    if (weft_wait_cancelled(request, weft_mp_get_int(weft_input(request), "ms", 0)))
        return weft_fail(request, WEFT_CANCELLED, "cancelled");
    msgpack_pack_int64(weft_result(request), weft_mp_get_int(weft_input(request), "number", -1));
    return WEFT_OK;
}

static weft_status_t
s_put(weft_request_t *request, void *app)
{
    const rolling_t *self = app;
    char line[32];
    weft_format(line, sizeof line, "%lld\n", (long long) weft_mp_get_int(weft_input(request), "number", -1));
    const size_t size = strlen(line);
    if (write(self->journal, line, size) != (ssize_t) size)
        return weft_fail(request, WEFT_INTERNAL, "could not write the journal");
    return s_get(request, app);
}

static weft_status_t
s_start(weft_handler_t *handler, void *app)
{
    rolling_t *self = app;
    (void) handler;
    self->journal = open(self->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return self->journal < 0 ? WEFT_FAILED_PRECONDITION : WEFT_OK;
}

int
main(int argc, char **argv)
{
    static rolling_t self;
    static const weft_method_t methods[] = {
        { .name = "get", .summary = "Gives a number back", .run = s_get, .input = INPUT, .idempotent = true },
        { .name = "put", .summary = "Writes a number down", .run = s_put, .input = INPUT },
        { .name = NULL },
    };
    const weft_setting_t settings[] = {
        { .env = "WEFT_ROLLING_JOURNAL",
          .type = WEFT_SETTING_STRING,
          .value = &self.path,
          .fallback = "/dev/null",
          .help = "file that takes a line for each number that is put" },
        { .env = NULL },
    };
    const weft_service_t rolling = { .name = "rolling",
                                     .version = "1.0.0",
                                     .methods = methods,
                                     .settings = settings,
                                     .start = s_start,
                                     .app = &self };
    return weft_handler_main(&rolling, argc, argv);
}
