/* inbox - messages from any thread to the loop's: a locked list and an eventfd */
#include "inbox.h"

#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool
inbox_init(inbox_t *self)
{
    pthread_mutex_init(&self->lock, NULL);
    self->first = self->last = NULL;
    self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return self->fd >= 0;
}

void
inbox_fini(inbox_t *self)
{
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
    pthread_mutex_destroy(&self->lock);
}

void
inbox_wake(inbox_t *self)
{
    (void) eventfd_write(self->fd, 1); /* fails only when it is full, and then it is readable */
}

void
inbox_put(inbox_t *self, inbox_node_t *node, int kind)
{
    node->next = NULL;
    node->kind = kind;
    pthread_mutex_lock(&self->lock);
    bool wake = self->first == NULL;
    if (self->last)
        self->last->next = node;
    else
        self->first = node;
    self->last = node;
    pthread_mutex_unlock(&self->lock);
    /* A list that was not empty has been announced and not been taken yet. */
    if (wake)
        inbox_wake(self);
}

inbox_node_t *
inbox_take(inbox_t *self)
{
    eventfd_t count;
    (void) eventfd_read(self->fd, &count); /* before the list: what comes behind it announces itself anew */
    pthread_mutex_lock(&self->lock);
    inbox_node_t *list = self->first;
    self->first = self->last = NULL;
    pthread_mutex_unlock(&self->lock);
    return list;
}
