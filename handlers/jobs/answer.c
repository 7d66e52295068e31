/* answer - a job as the result of a request */
#include "answer.h"

static void
s_result_meta(weft_request_t *request, weft_span_t meta)
{
    static const char *const keys[][2] = { { "http.status", "result.http.status" },
                                           { "http.location", "result.http.location" } };
    for (int i = 0; i < 2; i++) {
        char text[2048];
        weft_span_t value = weft_mp_get_str(meta, keys[i][0]);
        if (value.size > 0 && value.size < sizeof text) {
            memcpy(text, value.data, value.size);
            text[value.size] = '\0';
            weft_result_meta(request, keys[i][1], text);
        }
    }
}

static void
s_map(weft_request_t *request, uint32_t pair_count, weft_span_t pairs, bool replayed, weft_span_t input)
{
    msgpack_packer *pk = weft_result(request);
    msgpack_pack_map(pk, pair_count + replayed + (input.size > 0));
    (void) weft_buf_add(weft_result_buf(request), pairs.data, pairs.size); /* too large: the SDK answers */
    if (replayed) {
        weft_pack_text(pk, "replayed");
        msgpack_pack_true(pk);
    }
    if (input.size > 0) {
        weft_pack_text(pk, "input");
        (void) weft_buf_add(weft_result_buf(request), input.data, input.size);
    }
}

void
answer_job(weft_request_t *request, const known_job_t *job, bool replayed, weft_span_t input)
{
    s_map(request, job->pair_count, weft_buf_span(&job->pairs), replayed, input);
    s_result_meta(request, weft_buf_span(&job->result_meta));
}

void
answer_resource(weft_request_t *request, const resource_t *job, bool replayed, bool include_input)
{
    const weft_span_t none = { NULL, 0 };
    msgpack_packer pk;
    weft_buf_t pairs;
    weft_buf_init(&pairs, WEFT_FRAME_MAX);
    msgpack_packer_init(&pk, &pairs, weft_buf_write);
    uint32_t count = resource_pack_pairs(job, &pk);
    s_map(request, count, weft_buf_span(&pairs), replayed, include_input ? job->input : none);
    if (pairs.failed)
        weft_result_buf(request)->failed = true;
    weft_buf_fini(&pairs);
    s_result_meta(request, job->result_meta);
}

void
answer_accepted(weft_request_t *request, int64_t id, bool done)
{
    char location[64];
    weft_result_meta(request, "http.status", done ? "200" : "202");
    weft_result_meta(request, "http.location",
                     weft_format(location, sizeof location, "/v1/jobs/%lld", (long long) id));
}

weft_status_t
answer_event(weft_request_t *request, const known_job_t *job)
{
    char id[RESOURCE_EVENT_TEXT];
    const char *name = resource_event_is_progress(job->event, job->state) ? "progress" : "state";
    msgpack_packer *pk = weft_result(request);
    resource_event_text(job->event, id);
    msgpack_pack_map(pk, 3);
    weft_pack_text(pk, "event");
    weft_pack_text(pk, name);
    weft_pack_text(pk, "id");
    weft_pack_text(pk, id);
    weft_pack_text(pk, "job");
    msgpack_pack_map(pk, job->pair_count);
    (void) weft_buf_add(weft_result_buf(request), job->pairs.data, job->pairs.size);
    weft_result_meta(request, "event.name", name);
    weft_result_meta(request, "event.id", id);
    return weft_partial(request);
}

weft_status_t
answer_not_found(weft_request_t *request, int64_t id)
{
    return weft_fail(request, WEFT_NOT_FOUND, "there is no job %lld", (long long) id);
}
