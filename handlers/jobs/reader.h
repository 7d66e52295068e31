/* reader - reads jobs for those who wait for them, on a connection and a thread of its own
 *
 * One reading at a time: what is asked for meanwhile is the next. */
#ifndef JOBS_READER_H
#define JOBS_READER_H

#include "inbox.h"
#include "watchers.h"

typedef struct reader reader_t;

/* Asked and answered.  Made by the asker, who gets it back through the inbox and destroys it. */
typedef struct {
    inbox_node_t node; /* first */
    int64_t *whole;    /* ids to read with everything */
    uint32_t whole_count;
    int64_t *glance; /* ids whose state is wanted only */
    uint32_t glance_count;
    /* out */
    bool failed;        /* the database is away: nothing was read */
    PGresult *jobs;     /* of `whole`: the columns of resource.h; those that are nowhere are missing */
    PGresult *glimpses; /* of `glance`: id, fence, state, sequence; those that are done are missing */
    int64_t took_us;
} reading_t;

reading_t *reading_new(uint32_t whole_max, uint32_t glance_max);
void reading_destroy(reading_t **self_p);
/* Gives what the glance saw, and did not see, to the watchers. */
void reading_glimpses(const reading_t *self, watchers_t *watchers);

/* Answers go to `inbox` as `kind`.  NULL with the reason logged. */
reader_t *reader_new(const char *database_url, bool prepare, inbox_t *inbox, int kind);
void reader_destroy(reader_t **self_p);
/* Takes *reading_p.  Only when the one before came back. */
void reader_ask(reader_t *self, reading_t **reading_p);

#endif
