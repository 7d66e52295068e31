/* copies - the frames that a broker keeps: what waits in a queue, and what may have to be sent again */
#include "broker/copies.h"

#include <assert.h>

enum { KEEP_EXACT = 1024 }; /* bytes: copies for a retry are exact up to this size, above it shared */

bool
copies_exact(zmq_msg_t *copy, zmq_msg_t *frame)
{
    size_t size = zmq_msg_size(frame);
    if (zmq_msg_init_size(copy, size) != 0)
        return false;
    memcpy(zmq_msg_data(copy), zmq_msg_data(frame), size);
    return true;
}

bool
copies_store(request_t *request, zmq_msg_t *frame)
{
    if (frame == &request->frame)
        return true; /* it has waited before */
    if (zmq_msg_size(frame) > EXACT_MAX) {
        slab_keep_frame(request, frame);
        return true;
    }
    zmq_msg_t copy;
    if (!copies_exact(&copy, frame))
        return false;
    slab_keep_frame(request, &copy);
    int rc = zmq_msg_close(&copy);
    assert(rc == 0);
    (void) rc;
    return true;
}

void
copies_keep(request_t *request, zmq_msg_t *frame)
{
    zmq_msg_t copy;
    if (zmq_msg_size(frame) <= KEEP_EXACT) {
        if (!copies_exact(&copy, frame))
            return;
    } else {
        int rc = zmq_msg_init(&copy);
        assert(rc == 0);
        rc = zmq_msg_copy(&copy, frame);
        assert(rc == 0);
        (void) rc;
    }
    slab_keep_frame(request, &copy);
    int rc = zmq_msg_close(&copy);
    assert(rc == 0);
    (void) rc;
}

void
copies_unkeep(dispatcher_t *self, request_t *request)
{
    if (request->has_frame) {
        assert(request->flow == NULL && self->kept_bytes >= request->bytes);
        self->kept_bytes -= request->bytes;
        request->bytes = 0;
        slab_drop_frame(request);
    }
}
