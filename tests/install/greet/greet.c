/* greet - the smallest service: one method, one route */
#include <weft/handler.h>

static weft_status_t
greet(weft_request_t *request, void *app)
{
    (void) app;
    weft_span_t name = weft_mp_get_str(weft_input(request), "name"); /* the schema saw to it */
    if (name.size == 0)
        return weft_fail(request, WEFT_INVALID_ARGUMENT, "nobody to greet");
    msgpack_packer *result = weft_result(request);
    msgpack_pack_map(result, 1);
    weft_pack_text(result, "greets");
    weft_pack_str(result, name);
    return WEFT_OK;
}

int
main(int argc, char **argv)
{
    const weft_method_t methods[] = {
        { .name = "greet",
          .run = greet,
          .http = "GET /v1/greet/{name}",
          .input =
              "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"}}}",
          .idempotent = true },
        { .name = NULL },
    };
    const weft_service_t service = { .name = "greeter", .version = "1.0.0", .methods = methods };
    return weft_handler_main(&service, argc, argv);
}
