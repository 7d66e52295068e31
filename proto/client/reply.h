/* reply - replies that own their frame, wherever they are carried */
#ifndef WEFT_REPLY_H
#define WEFT_REPLY_H

#include <weft/client.h>

#include "client/freelist.h"

/* Where the frames of replies live: one for each client, outlived by the replies still held. */
freelist_t *reply_frames_new(void);

/* Takes over a session's reply: its frame (a zmq_msg_t *) is moved away, spans are set anew. */
void reply_take(freelist_t *frames, const weft_reply_t *from, weft_reply_t *to);
/* Another one over the same bytes. */
void reply_copy(freelist_t *frames, const weft_reply_t *from, weft_reply_t *to);
/* A final reply made here: an error that arose at the client. */
void reply_error(freelist_t *frames, weft_status_t status, const char *text, bool executed_maybe,
                 weft_reply_t *to);

#endif
