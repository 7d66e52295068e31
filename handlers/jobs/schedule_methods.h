/* schedule_methods - the methods of schedules, as rows of the service's table */
#ifndef JOBS_SCHEDULE_METHODS_H
#define JOBS_SCHEDULE_METHODS_H

#include <weft/handler.h>

/* `app` is the struct jobs of jobs.h. */
weft_status_t schedule_put(weft_request_t *request, void *app);
weft_status_t schedule_get(weft_request_t *request, void *app);
weft_status_t schedule_list(weft_request_t *request, void *app);
weft_status_t schedule_delete(weft_request_t *request, void *app);
weft_status_t schedule_pause(weft_request_t *request, void *app);
weft_status_t schedule_resume(weft_request_t *request, void *app);
weft_status_t schedule_run(weft_request_t *request, void *app);

/* clang-format off */
#define SCHEDULE_NAME                                                                                         \
    "\"name\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$\"}"
#define SCHEDULE_BY_NAME                                                                                      \
    "{\"type\":\"object\",\"required\":[\"name\"],\"additionalProperties\":false,\"properties\":{" SCHEDULE_NAME "}}"
#define SCHEDULE_PUT_INPUT                                                                                    \
    "{\"type\":\"object\",\"required\":[\"name\",\"cron\",\"service\",\"method\"],"                           \
    "\"additionalProperties\":false,\"properties\":{" SCHEDULE_NAME ","                                       \
    "\"cron\":{\"type\":\"string\",\"maxLength\":256},"                                                       \
    "\"zone\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_+/-]{1,64}$\",\"default\":\"UTC\"},"             \
    "\"service\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":63},"                                     \
    "\"method\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":63},"                                      \
    "\"input\":{},"                                                                                           \
    "\"missed\":{\"enum\":[\"skip\",\"once\",\"all\"],\"default\":\"once\"},"                                 \
    "\"paused\":{\"type\":\"boolean\"},"                                                                      \
    "\"priority\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":3,\"default\":1},"                          \
    "\"max_attempts\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000},"                                 \
    "\"timeout_ms\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":86400000},"                               \
    "\"unique_key\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":255},"                                 \
    "\"callback_url\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":2048}}}"
#define SCHEDULE_OUTPUT                                                                                       \
    "{\"type\":\"object\",\"required\":[\"name\",\"cron\",\"zone\",\"service\",\"method\",\"missed\","        \
    "\"paused\",\"created_at\",\"updated_at\"],\"properties\":{\"name\":{\"type\":\"string\"},"               \
    "\"cron\":{\"type\":\"string\"},\"zone\":{\"type\":\"string\"},\"service\":{\"type\":\"string\"},"        \
    "\"method\":{\"type\":\"string\"},\"input\":{},\"missed\":{\"enum\":[\"skip\",\"once\",\"all\"]},"        \
    "\"paused\":{\"type\":\"boolean\"},\"priority\":{\"type\":\"integer\"},"                                  \
    "\"max_attempts\":{\"type\":\"integer\"},\"timeout_ms\":{\"type\":\"integer\"},"                          \
    "\"unique_key\":{\"type\":\"string\"},\"callback_url\":{\"type\":\"string\"},"                            \
    "\"next_at\":{\"type\":\"string\",\"format\":\"date-time\"},"                                             \
    "\"last_at\":{\"type\":\"string\",\"format\":\"date-time\"},\"last_job\":{\"type\":\"string\"},"          \
    "\"created_at\":{\"type\":\"string\",\"format\":\"date-time\"},"                                          \
    "\"updated_at\":{\"type\":\"string\",\"format\":\"date-time\"}}}"
#define SCHEDULE_LIST_INPUT                                                                                   \
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"                                    \
    "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"default\":20},"                          \
    "\"cursor\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":100}}}"
#define SCHEDULE_LIST_OUTPUT                                                                                  \
    "{\"type\":\"object\",\"required\":[\"schedules\"],\"properties\":{\"schedules\":{\"type\":\"array\","    \
    "\"items\":" SCHEDULE_OUTPUT "},\"cursor\":{\"type\":\"string\"}}}"

#define SCHEDULE_METHOD_ROWS                                                                                  \
    { .name = "schedule-put",                                                                                 \
      .summary = "Makes a schedule, or replaces it",                                                          \
      .run = schedule_put,                                                                                    \
      .input = SCHEDULE_PUT_INPUT,                                                                            \
      .output = SCHEDULE_OUTPUT,                                                                              \
      .http = "PUT /v1/schedules/{name},POST /v1/schedules",                                                  \
      .scope = "jobs:write",                                                                                  \
      .idempotent = true },                                                                                   \
    { .name = "schedule-get",                                                                                 \
      .summary = "Reads a schedule",                                                                          \
      .run = schedule_get,                                                                                    \
      .input = SCHEDULE_BY_NAME,                                                                              \
      .output = SCHEDULE_OUTPUT,                                                                              \
      .http = "GET /v1/schedules/{name}",                                                                     \
      .scope = "jobs:read",                                                                                   \
      .idempotent = true },                                                                                   \
    { .name = "schedule-list",                                                                                \
      .summary = "Lists schedules by name; `cursor` of a page leads to the next",                             \
      .run = schedule_list,                                                                                   \
      .input = SCHEDULE_LIST_INPUT,                                                                           \
      .output = SCHEDULE_LIST_OUTPUT,                                                                         \
      .http = "GET /v1/schedules",                                                                            \
      .scope = "jobs:read",                                                                                   \
      .idempotent = true },                                                                                   \
    { .name = "schedule-delete",                                                                              \
      .summary = "Deletes a schedule; its jobs stay",                                                         \
      .run = schedule_delete,                                                                                 \
      .input = SCHEDULE_BY_NAME,                                                                              \
      .http = "DELETE /v1/schedules/{name}",                                                                  \
      .scope = "jobs:write" },                                                                                \
    { .name = "schedule-pause",                                                                               \
      .summary = "Stops a schedule until it is resumed",                                                      \
      .run = schedule_pause,                                                                                  \
      .input = SCHEDULE_BY_NAME,                                                                              \
      .output = SCHEDULE_OUTPUT,                                                                              \
      .http = "POST /v1/schedules/{name}/pause",                                                              \
      .scope = "jobs:write",                                                                                  \
      .idempotent = true },                                                                                   \
    { .name = "schedule-resume",                                                                              \
      .summary = "Lets a paused schedule go on, with its next time",                                          \
      .run = schedule_resume,                                                                                 \
      .input = SCHEDULE_BY_NAME,                                                                              \
      .output = SCHEDULE_OUTPUT,                                                                              \
      .http = "POST /v1/schedules/{name}/resume",                                                             \
      .scope = "jobs:write",                                                                                  \
      .idempotent = true },                                                                                   \
    { .name = "schedule-run",                                                                                 \
      .summary = "Makes a job of a schedule now; its times stay as they are",                                 \
      .run = schedule_run,                                                                                    \
      .input = SCHEDULE_BY_NAME,                                                                              \
      .http = "POST /v1/schedules/{name}/run",                                                                \
      .scope = "jobs:write" }
/* clang-format on */

#endif
