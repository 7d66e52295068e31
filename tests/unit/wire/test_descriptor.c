/* test_descriptor - what a parsed descriptor holds, and every one-byte change of one; vectors have the rules
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <msgpack.h>
#include <weft/descriptor.h>

static void
s_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str_with_body(pk, text, strlen(text));
}

/* {"name": "notes", ..., "methods": [get with everything, add with its name]} */
static void
s_write(weft_buf_t *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, 4);
    s_text(&pk, "name"), s_text(&pk, "notes");
    s_text(&pk, "version"), s_text(&pk, "1.4.2");
    s_text(&pk, "instance"), s_text(&pk, "7f3a");
    s_text(&pk, "methods"), msgpack_pack_array(&pk, 2);
    msgpack_pack_map(&pk, 10);
    s_text(&pk, "name"), s_text(&pk, "get");
    s_text(&pk, "summary"), s_text(&pk, "Reads one");
    s_text(&pk, "input"), msgpack_pack_map(&pk, 0);
    s_text(&pk, "output"), msgpack_pack_true(&pk);
    s_text(&pk, "http"), msgpack_pack_array(&pk, 2);
    s_text(&pk, "GET /v1/notes/{id}"), s_text(&pk, "POST /v1/notes/get");
    s_text(&pk, "scope"), s_text(&pk, "notes:read");
    s_text(&pk, "idempotent"), msgpack_pack_true(&pk);
    s_text(&pk, "timeout_ms"), msgpack_pack_int(&pk, 1500);
    s_text(&pk, "streaming"), msgpack_pack_true(&pk);
    s_text(&pk, "job"), msgpack_pack_map(&pk, 3);
    s_text(&pk, "keep_ms"), msgpack_pack_uint64(&pk, WEFT_JOB_KEEP_MAX_MS);
    s_text(&pk, "final"), msgpack_pack_array(&pk, 2), s_text(&pk, "ABORTED"), s_text(&pk, "UNKNOWN");
    s_text(&pk, "colour"), msgpack_pack_nil(&pk);
    msgpack_pack_map(&pk, 1);
    s_text(&pk, "name"), s_text(&pk, "add");
    assert_false(out->failed);
}

static void
test_every_field_is_kept(void **state)
{
    (void) state;
    weft_buf_t bytes;
    weft_buf_init(&bytes, WEFT_DESCRIPTOR_MAX);
    s_write(&bytes);
    char why[128] = "";
    weft_descriptor_t *self = weft_descriptor_new(weft_buf_span(&bytes), why, sizeof why);
    assert_non_null(self);
    assert_true(weft_span_equal(self->bytes, weft_buf_span(&bytes)));
    weft_buf_fini(&bytes); /* it has a copy */
    assert_true(weft_span_equal(self->name, WEFT_SPAN("notes")));
    assert_true(weft_span_equal(self->version, WEFT_SPAN("1.4.2")));
    assert_true(weft_span_equal(self->instance, WEFT_SPAN("7f3a")));
    assert_int_equal(self->method_count, 2);
    const weft_descriptor_method_t *get = weft_descriptor_method(self, WEFT_SPAN("get"));
    assert_ptr_equal(get, &self->methods[0]); /* in the order given */
    assert_true(weft_span_equal(get->summary, WEFT_SPAN("Reads one")));
    assert_true(weft_span_equal(get->input, WEFT_SPAN("\x80")));
    assert_true(weft_span_equal(get->output, WEFT_SPAN("\xc3")));
    assert_int_equal(get->http_count, 2);
    assert_true(weft_span_equal(get->http[1].verb, WEFT_SPAN("POST")));
    assert_true(weft_span_equal(get->http[0].path, WEFT_SPAN("/v1/notes/{id}")));
    assert_true(weft_span_equal(get->scope, WEFT_SPAN("notes:read")));
    assert_true(get->idempotent && get->streaming);
    assert_int_equal(get->timeout_ms, 1500);
    const weft_job_options_t job = { .keep_ms = WEFT_JOB_KEEP_MAX_MS,
                                     .final_codes = WEFT_CODE(WEFT_ABORTED) | WEFT_CODE(WEFT_UNKNOWN) };
    assert_memory_equal(&get->job, &job, sizeof job);
    const weft_descriptor_method_t *add = weft_descriptor_method(self, WEFT_SPAN("add"));
    assert_ptr_equal(add, &self->methods[1]);
    assert_true(!add->idempotent && !add->streaming && add->timeout_ms == 0 && add->input.size == 0);
    assert_null(weft_descriptor_method(self, WEFT_SPAN("ge")));
    assert_null(weft_descriptor_method(self, WEFT_SPAN("gets")));
    assert_null(weft_descriptor_method(self, WEFT_SPAN("")));
    weft_descriptor_destroy(&self);
    assert_null(self);
    weft_descriptor_destroy(&self);
}

static void
test_why_is_cut_to_its_room(void **state)
{
    (void) state;
    char why[8] = "#######";
    assert_null(weft_descriptor_new(WEFT_SPAN("\x90"), why, sizeof why));
    assert_string_equal(why, "descrip");
    assert_null(weft_descriptor_new(WEFT_SPAN("\x90"), NULL, 0));
}

static void
test_size_limit(void **state)
{
    (void) state;
    char *big = calloc(1, WEFT_DESCRIPTOR_MAX + 1);
    assert_non_null(big);
    char why[128] = "";
    assert_null(weft_descriptor_new((weft_span_t){ big, WEFT_DESCRIPTOR_MAX + 1 }, why, sizeof why));
    assert_string_equal(why, "descriptor: must have 1 to 262144 bytes");
    free(big);
}

static void
test_every_one_byte_change_is_survived(void **state)
{
    (void) state;
    weft_buf_t bytes;
    weft_buf_init(&bytes, WEFT_DESCRIPTOR_MAX);
    s_write(&bytes);
    size_t accepted = 0, refused = 0;
    for (size_t at = 0; at < bytes.size; at++) {
        const char kept = bytes.data[at];
        for (unsigned byte = 0; byte < 256; byte += 3) { /* a third of them keeps the run short */
            bytes.data[at] = (char) byte;
            char why[128] = "";
            weft_descriptor_t *self = weft_descriptor_new(weft_buf_span(&bytes), why, sizeof why);
            *(self ? &accepted : &refused) += 1;
            assert_true(self || why[0]);
            weft_descriptor_destroy(&self);
        }
        bytes.data[at] = kept;
        char why[128] = "";
        assert_null(weft_descriptor_new((weft_span_t){ bytes.data, at }, why, sizeof why)); /* cut here */
    }
    assert_true(accepted > 0 && refused > 0);
    weft_buf_fini(&bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_is_kept),
        cmocka_unit_test(test_why_is_cut_to_its_room),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_every_one_byte_change_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
