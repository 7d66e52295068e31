/* refusal - errors whose details name the places in the input that are wrong, as the SDK's own have them */
#include "refusal.h"

#define DETAILS_MAX 16384u

weft_status_t
refusal_report(weft_request_t *request, const weft_schema_report_t *report, const char *prefix,
               const char *text)
{
    weft_buf_t details;
    msgpack_packer pk;
    char pointer[256];
    weft_buf_init(&details, DETAILS_MAX);
    msgpack_packer_init(&pk, &details, weft_buf_write);
    msgpack_pack_map(&pk, 1);
    weft_pack_text(&pk, "errors");
    msgpack_pack_array(&pk, report->count);
    for (uint32_t i = 0; i < report->count; i++) {
        msgpack_pack_map(&pk, 2);
        weft_pack_text(&pk, "pointer");
        weft_pack_text(&pk, weft_format(pointer, sizeof pointer, "%s%s", prefix, report->errors[i].pointer));
        weft_pack_text(&pk, "message");
        weft_pack_text(&pk, report->errors[i].message);
    }
    weft_fail_details(request, weft_buf_span(&details));
    weft_buf_fini(&details);
    weft_fail_unexecuted(request);
    return weft_fail(request, WEFT_INVALID_ARGUMENT, "%s", text);
}

weft_status_t
refusal_at(weft_request_t *request, const char *pointer, const char *message)
{
    weft_schema_report_t report;
    report.count = 1;
    report.more = false;
    weft_format(report.errors[0].pointer, sizeof report.errors[0].pointer, "%s", pointer);
    weft_format(report.errors[0].message, sizeof report.errors[0].message, "%s", message);
    return refusal_report(request, &report, "", message);
}

weft_status_t
refusal_reason(weft_request_t *request, weft_status_t code, const char *reason, const char *text)
{
    weft_buf_t details;
    msgpack_packer pk;
    weft_buf_init(&details, DETAILS_MAX);
    msgpack_packer_init(&pk, &details, weft_buf_write);
    msgpack_pack_map(&pk, 1);
    weft_pack_text(&pk, "reason");
    weft_pack_text(&pk, reason);
    weft_fail_details(request, weft_buf_span(&details));
    weft_buf_fini(&details);
    weft_fail_unexecuted(request);
    return weft_fail(request, code, "%s", text);
}
