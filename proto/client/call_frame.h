/* call_frame - a call as the frame that goes on the wire */
#ifndef WEFT_CALL_FRAME_H
#define WEFT_CALL_FRAME_H

#include <weft/client.h>
#include <zmq.h>

#define CALL_TIMEOUT_MS 30000 /* of a call that does not say */

/* Encodes into *frame, which must not be initialised; the session sets the id.  WEFT_INVALID_ARGUMENT when a
 * field breaks a limit, WEFT_RESOURCE_EXHAUSTED without memory; *frame is untouched then.  Any thread; under
 * 2 KiB of stack. */
weft_status_t call_frame_make(const weft_call_t *call, zmq_msg_t *frame) WEFT_MUST_CHECK;

#endif
