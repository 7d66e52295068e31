/* watchers - who waits for which job, and what they have to be told
 *
 * Pure logic, one thread.  A job is known here while somebody waits for it.  News comes from two sides: the
 * engine says at once what this replica did, and the database is looked at for all jobs together, ten times a
 * second, for what others did. */
#ifndef JOBS_WATCHERS_H
#define JOBS_WATCHERS_H

#include "inbox.h"
#include "resource.h"

typedef struct watchers watchers_t;

typedef enum {
    SUBSCRIBER_ENQUEUE, /* one answer: when it is done, or at `until_us` */
    SUBSCRIBER_GET,
    SUBSCRIBER_WATCH /* parts until it is done */
} subscriber_kind_t;

typedef struct subscriber subscriber_t;
struct subscriber {
    inbox_node_t node; /* first */
    subscriber_t *next;
    subscriber_kind_t kind;
    weft_request_t *request; /* kept; not looked at here */
    int64_t id;
    int64_t until_us;
    bool at_once; /* answer as soon as the job was read */
    bool replayed;
    weft_buf_t input;       /* to be shown with the job; empty: not */
    resource_event_t after; /* WATCH: what was told last */
};
/* NULL without memory. */
subscriber_t *subscriber_new(subscriber_kind_t kind, weft_request_t *request, int64_t id);
void subscriber_destroy(subscriber_t **self_p);

/* What is known of a job. */
typedef struct {
    bool read; /* false: nothing but that it exists */
    job_state_t state;
    resource_event_t event;
    uint32_t pair_count;
    weft_buf_t pairs; /* see resource_pack_pairs */
    weft_buf_t result_meta;
} known_job_t;

/* Told from within the functions below: do not call back. */
typedef struct {
    void *context;
    /* The last word to a subscriber, which is destroyed behind it.  job: NULL: there is none of that id;
     * !job->read: it could not be read. */
    void (*end)(void *context, subscriber_t *subscriber, const known_job_t *job);
    /* An event for a WATCH that goes on.  False: no room now, it is tried again. */
    bool (*part)(void *context, subscriber_t *subscriber, const known_job_t *job);
    /* The caller gave up. */
    bool (*gone)(void *context, const subscriber_t *subscriber);
} watchers_events_t;

/* max: subscribers at once. */
watchers_t *watchers_new(uint32_t max, const watchers_events_t *events);
/* Ends nobody: see watchers_end_all. */
void watchers_destroy(watchers_t **self_p);
uint32_t watchers_count(const watchers_t *self);

/* Takes *subscriber_p and looks at it; `job` is what is known already, or NULL.  False, the caller keeps it:
 * too many wait, or memory ended. */
bool watchers_add(watchers_t *self, subscriber_t **subscriber_p, const resource_t *job, int64_t now_us);
/* It is done, says the engine. */
void watchers_done(watchers_t *self, int64_t id);
/* Ends what ran out or was given up, sends what found no room.  Ten times a second. */
void watchers_tick(watchers_t *self, int64_t now_us);
/* Ends everything as it is. */
void watchers_end_all(watchers_t *self);

/* ---- reading ---- */
/* True when a job waits to be read. */
bool watchers_want(const watchers_t *self);
/* Ids to be read with everything; at most `max`, the rest is given the next time. */
uint32_t watchers_take_wanted(watchers_t *self, int64_t *ids, uint32_t max);
/* Ids to be looked at, all others in turns of `max`. */
uint32_t watchers_take_glance(watchers_t *self, int64_t *ids, uint32_t max);
/* A job as it was read. */
void watchers_read(watchers_t *self, const resource_t *job, int64_t now_us);
/* None of that id was found though it was asked for. */
void watchers_missing(watchers_t *self, int64_t id);
/* It could not be read: try again. */
void watchers_unread(watchers_t *self, int64_t id);
/* What a glance saw; what differs from what is known is wanted. */
void watchers_glimpse(watchers_t *self, int64_t id, int32_t fence, job_state_t state, int32_t sequence);
/* A glance did not find it: done, or gone. */
void watchers_vanished(watchers_t *self, int64_t id);

#endif
