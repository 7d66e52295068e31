/* jobs - what the parts of weft-jobs share: weft_service_t.app */
#ifndef JOBS_JOBS_H
#define JOBS_JOBS_H

#include "callback.h"
#include "clockwork.h"
#include "directory.h"
#include "directory_sync.h"
#include "loop.h"

struct jobs {
    directory_t *directory;
    loop_t *loop;
    clockwork_t *clockwork;
    callback_policy_t policy;
    int64_t key_keep_ms; /* WEFT_JOBS_KEY_KEEP_MS */
};

#endif
