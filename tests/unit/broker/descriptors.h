/* descriptors - encoded descriptors for the unit tests of what reads them */
#ifndef WEFT_TESTS_BROKER_DESCRIPTORS_H
#define WEFT_TESTS_BROKER_DESCRIPTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <weft/descriptor.h>
#include <weft/log.h>

#include "broker/pack.h"

/* A descriptor with `count` methods m0, m1, ...: those below `idempotent` are idempotent.  Caller destroys.
 */
static inline weft_descriptor_t *
descriptors_make(const char *instance, const char *summary, uint32_t first, uint32_t count,
                 uint32_t idempotent)
{
    weft_buf_t buf;
    msgpack_packer packer;
    char text[160];
    weft_buf_init(&buf, WEFT_DESCRIPTOR_MAX);
    msgpack_packer_init(&packer, &buf, weft_buf_write);
    (void) msgpack_pack_map(&packer, 5);
    pack_text(&packer, "name", WEFT_SPAN("notes"));
    pack_text(&packer, "instance", weft_span(instance));
    pack_text(&packer, "version", WEFT_SPAN("1.0.0"));
    pack_text(&packer, "summary", weft_span(summary));
    pack_key(&packer, "methods");
    (void) msgpack_pack_array(&packer, count);
    for (uint32_t i = first; i < first + count; i++) {
        (void) msgpack_pack_map(&packer, 2);
        pack_text(&packer, "name", weft_span(weft_format(text, sizeof text, "m%u", i)));
        pack_bool(&packer, "idempotent", i < idempotent);
    }
    weft_descriptor_t *descriptor = weft_descriptor_new(weft_buf_span(&buf), text, sizeof text);
    weft_buf_fini(&buf);
    assert_non_null(descriptor);
    return descriptor;
}

#endif
