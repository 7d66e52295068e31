/* test_vectors - every case of proto/vectors, through decoder, checker, encoder and patches */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include <weft/descriptor.h>

/* ---- vectors ---------------------------------------------------------------------------------------- */

/* The list `key` of a file; caller drops *root_p. */
static json_t *
s_load(const char *file, const char *key, json_t **root_p)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", VECTORS, file);
    *root_p = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!*root_p)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    json_t *list = json_object_get(*root_p, key);
    assert_true(json_array_size(list) > 0);
    return list;
}

static int
s_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* In memory of exactly its size, so that a sanitizer sees a byte read too far.  Caller frees .data. */
static weft_span_t
s_unhex(const char *hex)
{
    assert_non_null(hex);
    size_t size = strlen(hex) / 2;
    char *bytes = malloc(size > 0 ? size : 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char) (s_digit(hex[2 * i]) << 4 | s_digit(hex[2 * i + 1]));
    weft_span_t span = { size > 0 ? bytes : realloc(bytes, 1), size };
    return span;
}

static void
s_free(weft_span_t bytes)
{
    free((char *) (uintptr_t) bytes.data);
}

static const char *
s_field(const json_t *vector, const char *key)
{
    return json_string_value(json_object_get(vector, key));
}

static uint64_t
s_id_of(const json_t *vector, const char *key)
{
    return strtoull(s_field(vector, key), NULL, 16);
}

static weft_status_t
s_status_of(const json_t *vector, const char *key)
{
    weft_status_t status = WEFT_OK;
    assert_true(weft_status_from_name(s_field(vector, key), &status));
    return status;
}

static void
s_assert_hex(const char *name, const char *what, weft_span_t bytes, const char *hex)
{
    weft_span_t wanted = s_unhex(hex);
    if (!weft_span_equal(bytes, wanted))
        fail_msg("%s: %s differs", name, what);
    s_free(wanted);
}

static void
s_assert_text(const char *name, weft_span_t text, const json_t *wanted)
{
    assert_non_null(wanted);
    if (text.size != json_string_length(wanted) ||
        memcmp(text.data, json_string_value(wanted), text.size) != 0)
        fail_msg("%s: %.*s", name, (int) text.size, text.data);
}

/* ---- messages --------------------------------------------------------------------------------------- */

static const char *const KINDS[] = { "?",    "REQUEST", "REPLY", "PARTIAL", "CANCEL", "READY",
                                     "PING", "PONG",    "DRAIN", "BYE",     "WHO" };

static void
s_assert_meta(const char *name, weft_span_t meta, const json_t *wanted)
{
    const char *key;
    json_t *value;
    weft_mp_t cursor = weft_mp(meta);
    weft_mp_token_t token;
    assert_true(weft_mp_next(&cursor, &token));
    assert_int_equal(token.count, json_object_size(wanted));
    json_object_foreach((json_t *) (uintptr_t) wanted, key, value)
    {
        weft_span_t found;
        if (!weft_meta_get(meta, key, &found))
            fail_msg("%s: meta %s is missing", name, key);
        s_assert_text(name, found, value);
    }
}

static void
s_assert_fields(const char *name, const weft_message_t *message, const json_t *vector)
{
    assert_string_equal(KINDS[message->kind], s_field(vector, "kind"));
    assert_true(message->id == s_id_of(vector, "id"));
    const json_t *wanted = json_object_get(vector, "service");
    if (wanted) {
        s_assert_text(name, message->service, wanted);
        s_assert_text(name, message->method, json_object_get(vector, "method"));
    } else {
        assert_null(message->service.data);
        assert_null(message->method.data);
    }
    /* What a kind has not is zero, and what a vector does not name is 0 for jansson. */
    assert_int_equal(message->ttl_ms, json_integer_value(json_object_get(vector, "ttl_ms")));
    assert_int_equal(message->priority, json_integer_value(json_object_get(vector, "priority")));
    assert_int_equal(message->status, json_integer_value(json_object_get(vector, "status")));
    assert_int_equal(message->load, json_integer_value(json_object_get(vector, "load")));
    assert_int_equal(message->capacity, json_integer_value(json_object_get(vector, "capacity")));
    assert_int_equal(message->epoch, json_integer_value(json_object_get(vector, "epoch")));
    if (json_object_get(vector, "meta"))
        s_assert_meta(name, message->meta, json_object_get(vector, "meta"));
    else
        assert_null(message->meta.data);
    if (json_object_get(vector, "body_hex"))
        s_assert_hex(name, "body", message->body, s_field(vector, "body_hex"));
    else
        assert_null(message->body.data);
    if (json_object_get(vector, "descriptor_hex"))
        s_assert_hex(name, "descriptor", message->descriptor, s_field(vector, "descriptor_hex"));
    else
        assert_null(message->descriptor.data);
}

/* Cut anywhere, a message is refused, unless the cut is in the body, which nobody looks at here: then the
 * check of the body refuses it. */
static void
s_assert_cuts_refused(const char *name, weft_span_t frame)
{
    for (size_t size = 0; size < frame.size; size++) {
        char *cut = malloc(size > 0 ? size : 1);
        assert_non_null(cut);
        memcpy(cut, frame.data, size);
        weft_message_t message;
        const char *why = NULL;
        weft_status_t status = weft_wire_decode(cut, size, &message, &why);
        if (status == WEFT_OK)
            status = weft_wire_check(&message, &why);
        if (status == WEFT_OK)
            fail_msg("%s: accepted when cut to %zu bytes", name, size);
        assert_non_null(why);
        free(cut);
    }
}

static void
test_valid_messages_are_read_and_written(void **state)
{
    (void) state;
    json_t *root, *vector;
    size_t index, canonical = 0;
    json_t *list = s_load("messages.json", "valid", &root);
    json_array_foreach(list, index, vector)
    {
        const char *name = s_field(vector, "name"), *why = "untouched";
        weft_span_t frame = s_unhex(s_field(vector, "hex"));
        weft_message_t message;
        if (weft_wire_decode(frame.data, frame.size, &message, &why) != WEFT_OK)
            fail_msg("%s: %s", name, why);
        if (weft_wire_check(&message, &why) != WEFT_OK)
            fail_msg("%s: %s", name, why);
        s_assert_fields(name, &message, vector);
        assert_true(weft_wire_id(frame.data) == message.id);
        weft_buf_t out;
        weft_buf_init(&out, WEFT_FRAME_MAX);
        assert_int_equal(weft_wire_encode(&out, &message), WEFT_OK);
        if (json_is_true(json_object_get(vector, "canonical"))) {
            canonical++;
            if (!weft_span_equal(weft_buf_span(&out), frame))
                fail_msg("%s: written otherwise", name);
        }
        weft_message_t again; /* however it was written, it says the same */
        assert_int_equal(weft_wire_decode(out.data, out.size, &again, &why), WEFT_OK);
        s_assert_fields(name, &again, vector);
        weft_buf_fini(&out);
        s_assert_cuts_refused(name, frame);
        s_free(frame);
    }
    assert_true(canonical > 20);
    json_decref(root);
}

static void
test_invalid_messages_are_refused(void **state)
{
    (void) state;
    json_t *root, *vector;
    size_t index;
    json_t *list = s_load("messages.json", "invalid", &root);
    json_array_foreach(list, index, vector)
    {
        const char *name = s_field(vector, "name"), *why = "accepted";
        weft_span_t frame = s_unhex(s_field(vector, "hex"));
        weft_message_t message;
        weft_status_t status = weft_wire_decode(frame.data, frame.size, &message, &why);
        if (status != s_status_of(vector, "status") || strcmp(why, s_field(vector, "rule")) != 0)
            fail_msg("%s: %d %s", name, (int) status, why);
        assert_int_equal(message.kind, json_integer_value(json_object_get(vector, "kind")));
        assert_true(message.id == s_id_of(vector, "id"));
        s_free(frame);
    }
    json_decref(root);
}

static void
test_messages_with_a_bad_value_pass_the_decoder_only(void **state)
{
    (void) state;
    json_t *root, *vector;
    size_t index;
    json_t *list = s_load("messages.json", "bad_values", &root);
    json_array_foreach(list, index, vector)
    {
        const char *name = s_field(vector, "name"), *why = NULL;
        weft_span_t frame = s_unhex(s_field(vector, "hex"));
        weft_message_t message;
        if (weft_wire_decode(frame.data, frame.size, &message, &why) != WEFT_OK)
            fail_msg("%s: %s", name, why);
        if (weft_wire_check(&message, &why) != WEFT_INVALID_ARGUMENT ||
            strcmp(why, s_field(vector, "rule")) != 0)
            fail_msg("%s: %s", name, why);
        s_free(frame);
    }
    json_decref(root);
}

/* ---- values, descriptors, patches ------------------------------------------------------------------- */

static void
test_values(void **state)
{
    (void) state;
    json_t *root, *vector;
    size_t index;
    json_t *list = s_load("values.json", "values", &root);
    json_array_foreach(list, index, vector)
    {
        const char *name = s_field(vector, "name"), *why = "accepted";
        size_t offset = 0;
        weft_span_t value = s_unhex(s_field(vector, "hex"));
        bool valid = weft_mp_check(value, &WEFT_MP_LIMITS_DEFAULT, &why, &offset);
        if (valid != json_is_true(json_object_get(vector, "valid")))
            fail_msg("%s: %s", name, why);
        if (!valid && strcmp(why, s_field(vector, "rule")) != 0)
            fail_msg("%s: %s", name, why);
        assert_true(offset <= value.size);
        s_free(value);
    }
    json_decref(root);
}

static void
test_descriptors(void **state)
{
    (void) state;
    json_t *root, *vector;
    size_t index;
    json_t *list = s_load("descriptors.json", "descriptors", &root);
    json_array_foreach(list, index, vector)
    {
        const char *name = s_field(vector, "name");
        char why[160] = "accepted";
        weft_span_t bytes = s_unhex(s_field(vector, "hex"));
        weft_descriptor_t *descriptor = weft_descriptor_new(bytes, why, sizeof why);
        s_free(bytes); /* what it needs it has copied */
        if ((descriptor != NULL) != json_is_true(json_object_get(vector, "valid")))
            fail_msg("%s: %s", name, why);
        if (!descriptor && strcmp(why, s_field(vector, "rule")) != 0)
            fail_msg("%s: %s", name, why);
        for (uint32_t i = 0; descriptor && i < descriptor->method_count; i++) {
            const weft_descriptor_method_t *method = &descriptor->methods[i];
            assert_ptr_equal(weft_descriptor_method(descriptor, method->name), method);
        }
        weft_descriptor_destroy(&descriptor);
    }
    json_decref(root);
}

static void
test_patches(void **state)
{
    (void) state;
    json_t *root, *vector;
    size_t index;
    json_t *list = s_load("patches.json", "patches", &root);
    json_array_foreach(list, index, vector)
    {
        weft_span_t frame = s_unhex(s_field(vector, "before"));
        void *data = (void *) (uintptr_t) frame.data;
        const json_t *ttl = json_object_get(vector, "ttl_ms"), *load = json_object_get(vector, "load");
        if (json_object_get(vector, "id"))
            weft_wire_set_id(data, s_id_of(vector, "id"));
        if (ttl)
            weft_wire_set_ttl(data, frame.size, (uint32_t) json_integer_value(ttl));
        if (load)
            weft_wire_set_load(data, frame.size, (uint32_t) json_integer_value(load));
        s_assert_hex(s_field(vector, "name"), "frame", frame, s_field(vector, "after"));
        s_free(frame);
    }
    json_decref(root);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_messages_are_read_and_written),
        cmocka_unit_test(test_invalid_messages_are_refused),
        cmocka_unit_test(test_messages_with_a_bad_value_pass_the_decoder_only),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_patches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
