/* schemas - the inputs and outputs of the methods of jobs, as JSON Schema */
#ifndef JOBS_SCHEMAS_H
#define JOBS_SCHEMAS_H

/* clang-format off */
#define JOBS_OBJECT(required, properties)                                                                     \
    "{\"type\":\"object\",\"required\":[" required "],\"additionalProperties\":false,\"properties\":{" properties "}}"
#define JOBS_ID "\"id\":{\"type\":\"string\",\"pattern\":\"^[1-9][0-9]{0,18}$\"}"
#define JOBS_SERVICE "\"service\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":63}"
#define JOBS_METHOD "\"method\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":63}"
#define JOBS_TIME(name) "\"" name "\":{\"type\":\"string\",\"format\":\"date-time\"}"
#define JOBS_INTEGER(name, min, max) "\"" name "\":{\"type\":\"integer\",\"minimum\":" min ",\"maximum\":" max "}"
#define JOBS_TEXT(name, max) "\"" name "\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":" max "}"

#define JOBS_JOB                                                                                              \
    "{\"type\":\"object\",\"required\":[\"id\",\"service\",\"method\",\"state\",\"done\",\"priority\","       \
    "\"attempt\",\"max_attempts\",\"timeout_ms\",\"created_at\"],\"properties\":{"                            \
    "\"id\":{\"type\":\"string\"},\"service\":{\"type\":\"string\"},\"method\":{\"type\":\"string\"},"        \
    "\"state\":{\"enum\":[\"scheduled\",\"queued\",\"running\",\"succeeded\",\"failed\",\"cancelled\"]},"     \
    "\"done\":{\"type\":\"boolean\"},\"result\":{},\"error\":{\"type\":\"object\",\"properties\":{"           \
    "\"code\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"},\"details\":{}}},\"progress\":{},"      \
    "\"priority\":{\"type\":\"integer\"},\"attempt\":{\"type\":\"integer\"},"                                 \
    "\"max_attempts\":{\"type\":\"integer\"},\"timeout_ms\":{\"type\":\"integer\"},"                          \
    JOBS_TIME("created_at") "," JOBS_TIME("run_at") "," JOBS_TIME("started_at") ","                           \
    JOBS_TIME("finished_at") "," JOBS_TIME("expires_at") ","                                                  \
    "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"                          \
    "\"attempt\":{\"type\":\"integer\"}," JOBS_TIME("at") ",\"code\":{\"type\":\"string\"},"                  \
    "\"message\":{\"type\":\"string\"}}}},"                                                                   \
    "\"unique_key\":{\"type\":\"string\"},\"concurrency_key\":{\"type\":\"string\"},"                         \
    "\"callback_url\":{\"type\":\"string\"},\"callback\":{\"type\":\"object\",\"properties\":{"                \
    "\"state\":{\"enum\":[\"pending\",\"delivered\",\"given_up\"]},\"attempts\":{\"type\":\"integer\"},"       \
    "\"last_error\":{\"type\":\"string\"}," JOBS_TIME("next_at") "}},"                                      \
    "\"schedule\":{\"type\":\"string\"},\"input\":{},"                                                      \
    "\"replayed\":{\"type\":\"boolean\"}}}"

#define JOBS_ENQUEUE_INPUT                                                                                    \
    JOBS_OBJECT("\"service\",\"method\"", JOBS_SERVICE "," JOBS_METHOD ",\"input\":{},"                       \
    JOBS_TIME("run_at") "," JOBS_INTEGER("delay_ms", "0", "31536000000") ","                                  \
    JOBS_INTEGER("priority", "0", "3") "," JOBS_INTEGER("max_attempts", "1", "1000") ","                      \
    JOBS_INTEGER("timeout_ms", "1", "86400000") "," JOBS_TEXT("unique_key", "255") ","                        \
    JOBS_INTEGER("unique_for_ms", "1", "7776000000") "," JOBS_TEXT("concurrency_key", "255") ","              \
    JOBS_TEXT("callback_url", "2048") "," JOBS_INTEGER("keep_ms", "1", "7776000000") ","                      \
    JOBS_INTEGER("wait_ms", "0", "86400000") ",\"idempotency\":"                                              \
    JOBS_OBJECT("\"scope\",\"key\"", "\"scope\":{\"type\":\"string\",\"maxLength\":512},"                     \
                JOBS_TEXT("key", "255")))
#define JOBS_BY_ID JOBS_OBJECT("\"id\"", JOBS_ID)
#define JOBS_GET_INPUT                                                                                        \
    JOBS_OBJECT("\"id\"", JOBS_ID "," JOBS_INTEGER("wait", "0", "60") ",\"include_input\":{\"type\":\"boolean\"}")
#define JOBS_LIST_INPUT                                                                                       \
    JOBS_OBJECT("", JOBS_SERVICE "," JOBS_METHOD ",\"state\":{\"enum\":[\"scheduled\",\"queued\","            \
    "\"running\",\"succeeded\",\"failed\",\"cancelled\"]}," JOBS_TIME("created_after") ","                    \
    JOBS_TIME("created_before") "," JOBS_INTEGER("limit", "1", "100") ","                                     \
    "\"cursor\":{\"type\":\"string\",\"pattern\":\"^[0-9]{1,18}$\"}")
#define JOBS_LIST_OUTPUT                                                                                      \
    "{\"type\":\"object\",\"required\":[\"jobs\"],\"properties\":{\"jobs\":{\"type\":\"array\",\"items\":"    \
    JOBS_JOB "},\"cursor\":{\"type\":\"string\"}}}"
#define JOBS_WATCH_INPUT JOBS_OBJECT("\"id\"", JOBS_ID ",\"after\":{\"type\":\"string\",\"maxLength\":64}")
#define JOBS_REDRIVE_INPUT                                                                                    \
    JOBS_OBJECT("", JOBS_SERVICE "," JOBS_METHOD "," JOBS_TIME("failed_after") ","                            \
                JOBS_INTEGER("limit", "1", "1000"))
#define JOBS_REDRIVE_OUTPUT                                                                                   \
    "{\"type\":\"object\",\"required\":[\"redriven\",\"more\"],\"properties\":{\"redriven\":{\"type\":"       \
    "\"integer\"},\"more\":{\"type\":\"boolean\"}}}"
#define JOBS_QUEUE                                                                                            \
    "{\"type\":\"object\",\"required\":[\"service\",\"paused\",\"queued\",\"scheduled\",\"running\","         \
    "\"oldest_ms\",\"workers\"],\"properties\":{\"service\":{\"type\":\"string\"},"                           \
    "\"paused\":{\"type\":\"boolean\"},\"reason\":{\"type\":\"string\"},\"queued\":{\"type\":\"integer\"},"   \
    "\"scheduled\":{\"type\":\"integer\"},\"running\":{\"type\":\"integer\"},"                                \
    "\"oldest_ms\":{\"type\":\"integer\"},\"concurrency\":{\"type\":\"integer\"},"                            \
    "\"key_concurrency\":{\"type\":\"integer\"},\"workers\":{\"type\":\"integer\"}}}"
#define JOBS_QUEUES_OUTPUT                                                                                    \
    "{\"type\":\"object\",\"required\":[\"queues\"],\"properties\":{\"queues\":{\"type\":\"array\",\"items\":" \
    JOBS_QUEUE "}}}"
#define JOBS_PAUSE_INPUT                                                                                      \
    JOBS_OBJECT("\"service\"", JOBS_SERVICE ",\"reason\":{\"type\":\"string\",\"maxLength\":500}")
#define JOBS_LIMIT_NUMBER(name)                                                                               \
    "\"" name "\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535}]}"
#define JOBS_LIMIT_INPUT                                                                                      \
    JOBS_OBJECT("\"service\"", JOBS_SERVICE "," JOBS_LIMIT_NUMBER("concurrency") ","                          \
                JOBS_LIMIT_NUMBER("key_concurrency"))
/* clang-format on */

#endif
