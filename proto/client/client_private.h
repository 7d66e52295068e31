/* client_private - what client.c and stream.c share */
#ifndef WEFT_CLIENT_PRIVATE_H
#define WEFT_CLIENT_PRIVATE_H

#include "client/reply.h"

/* Where the client's replies live. */
freelist_t *client_frames(weft_client_t *self);
/* What a call that weft_submit refused with `status` is answered with. */
void client_refused(weft_client_t *self, weft_status_t status, weft_reply_t *reply);

#endif
