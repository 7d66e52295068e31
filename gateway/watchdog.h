/* watchdog - interrupts HTTP threads that wait for a client for too long
 *
 * civetweb 1.15 waits for bytes in poll(2) with limits that start anew with each byte, and does not tell its
 * sockets.  A signal to the thread ends that poll, which civetweb takes for the end of the connection. SIGURG
 * is used: its default is to be ignored, so a stray one does nothing. */
#ifndef GATEWAY_WATCHDOG_H
#define GATEWAY_WATCHDOG_H

#include "gateway/slot.h"

typedef struct watchdog watchdog_t;

/* `capacity`: slots at most.  NULL with the reason logged. */
watchdog_t *watchdog_new(uint32_t capacity);
/* Frees the slots that were added: after the client is destroyed (see waiter.h). */
void watchdog_destroy(watchdog_t **self_p);
/* Joins its thread; the slots stay. */
void watchdog_stop(watchdog_t *self);

/* Takes *slot_p over and watches it.  On the slot's own thread: this also lets the thread receive the signal.
 * False when there is no room. */
bool watchdog_add(watchdog_t *self, slot_t **slot_p);
/* Its thread is about to end: it is not signalled from here on. */
void watchdog_leave(watchdog_t *self, slot_t *slot);

/* Ends the connection that has been idle for longest, so that its thread gets free.  False when none is idle.
 */
bool watchdog_evict(watchdog_t *self, int64_t idle_min_ms);
/* civetweb's accepting thread has begun, is about to end.  On that thread. */
void watchdog_set_master(watchdog_t *self);
void watchdog_clear_master(watchdog_t *self);
/* From now on interrupts every thread and the master, again and again: they leave their polls and see that
 * the server stops. */
void watchdog_hurry(watchdog_t *self);

#endif
