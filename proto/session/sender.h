/* sender - how the pure session logic hands out messages: nothing here does I/O */
#ifndef WEFT_SENDER_H
#define WEFT_SENDER_H

#include <stdint.h>
#include <zmq.h>

#include <weft/wire.h>

/* A frame is a zmq_msg_t used as a container of bytes only (moved, copied, freed; never sent from here).
 * Sends on a link; takes the content on success.  WEFT_RESOURCE_EXHAUSTED: full; WEFT_UNAVAILABLE: link is
 * gone. */
typedef weft_status_t (*session_send_t)(void *context, uint32_t link, zmq_msg_t *frame);

#endif
