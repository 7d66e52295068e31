/* inbox - messages from any thread to the loop's: a locked list and an eventfd
 *
 * A node is part of the message, so putting one in never fails. */
#ifndef JOBS_INBOX_H
#define JOBS_INBOX_H

#include <pthread.h>
#include <stdbool.h>

typedef struct inbox_node inbox_node_t;
struct inbox_node {
    inbox_node_t *next;
    int kind; /* the reader's: says what the node is part of */
};

typedef struct {
    pthread_mutex_t lock;
    inbox_node_t *first, *last;
    int fd; /* readable while there may be something to take */
} inbox_t;

/* False when there is no eventfd to be had. */
bool inbox_init(inbox_t *self);
/* What is still in it stays its senders'. */
void inbox_fini(inbox_t *self);

/* Any thread.  The node belongs to the taker from now on. */
void inbox_put(inbox_t *self, inbox_node_t *node, int kind);
/* All of them, oldest first, linked by `next`; NULL: none.  The loop's thread. */
inbox_node_t *inbox_take(inbox_t *self);
/* Makes the loop turn once.  Any thread. */
void inbox_wake(inbox_t *self);

#endif
