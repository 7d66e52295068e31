/* bench_json - the transcoder and the validator beside the usual way: jansson's tree and msgpack-c's, same
 * inputs, same run */
#include <weft/json.h>
#include <weft/schema.h>

#include <jansson.h>
#include <msgpack.h>

#include "bench_util.h"

#define ROUNDS 3
#define ROUND_NS INT64_C(100000000)
#define OUT_MAX ((size_t) 64 << 20)

typedef struct {
    const char *name;
    weft_buf_t json;
    weft_buf_t mp;
    weft_buf_t out;
} s_input_t;

typedef bool s_way_t(s_input_t *input);

static bool
s_ours_to_mp(s_input_t *input)
{
    weft_json_error_t error;
    weft_buf_reset(&input->out);
    return weft_json_to_mp(weft_buf_span(&input->json), &input->out, &error) == WEFT_OK;
}

static bool
s_ours_to_json(s_input_t *input)
{
    weft_json_error_t error;
    weft_buf_reset(&input->out);
    return weft_mp_to_json(weft_buf_span(&input->mp), &input->out, &error) == WEFT_OK;
}

/* Recursion is what a tree invites to; these inputs are ours. */
static void
s_pack(msgpack_packer *pk, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *member;
        msgpack_pack_map(pk, json_object_size(value));
        json_object_foreach(value, key, member)
        {
            size_t size = strlen(key);
            msgpack_pack_str(pk, size);
            msgpack_pack_str_body(pk, key, size);
            s_pack(pk, member);
        }
        break;
    }
    case JSON_ARRAY:
        msgpack_pack_array(pk, json_array_size(value));
        for (size_t i = 0; i < json_array_size(value); i++)
            s_pack(pk, json_array_get(value, i));
        break;
    case JSON_STRING:
        msgpack_pack_str(pk, json_string_length(value));
        msgpack_pack_str_body(pk, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        msgpack_pack_int64(pk, json_integer_value(value));
        break;
    case JSON_REAL:
        msgpack_pack_double(pk, json_real_value(value));
        break;
    case JSON_TRUE:
        msgpack_pack_true(pk);
        break;
    case JSON_FALSE:
        msgpack_pack_false(pk);
        break;
    case JSON_NULL:
        msgpack_pack_nil(pk);
        break;
    }
}

static bool
s_tree_to_mp(s_input_t *input)
{
    json_error_t error;
    json_t *tree = json_loadb(input->json.data, input->json.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!tree)
        return false;
    msgpack_packer pk;
    weft_buf_reset(&input->out);
    msgpack_packer_init(&pk, &input->out, weft_buf_write);
    s_pack(&pk, tree);
    json_decref(tree);
    return !input->out.failed;
}

static json_t *
s_unpack(const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return json_null();
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(object->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return json_integer((json_int_t) object->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(object->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return json_real(object->via.f64);
    case MSGPACK_OBJECT_STR:
        return json_stringn(object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_ARRAY: {
        json_t *array = json_array();
        for (uint32_t i = 0; i < object->via.array.size; i++)
            json_array_append_new(array, s_unpack(&object->via.array.ptr[i]));
        return array;
    }
    case MSGPACK_OBJECT_MAP: {
        json_t *map = json_object();
        for (uint32_t i = 0; i < object->via.map.size; i++) {
            const msgpack_object_kv *pair = &object->via.map.ptr[i];
            char key[256];
            size_t size = pair->key.via.str.size < sizeof key ? pair->key.via.str.size : sizeof key - 1;
            memcpy(key, pair->key.via.str.ptr, size);
            key[size] = '\0';
            json_object_set_new(map, key, s_unpack(&pair->val));
        }
        return map;
    }
    case MSGPACK_OBJECT_BIN:
    case MSGPACK_OBJECT_EXT:
        break;
    }
    return json_null();
}

static bool
s_tree_to_json(s_input_t *input)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    bool done = msgpack_unpack_next(&unpacked, input->mp.data, input->mp.size, &offset) ==
                MSGPACK_UNPACK_SUCCESS;
    json_t *tree = done ? s_unpack(&unpacked.data) : NULL;
    char *text = tree ? json_dumps(tree, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    weft_buf_reset(&input->out);
    done = text && weft_buf_add_text(&input->out, text);
    free(text);
    json_decref(tree);
    msgpack_unpacked_destroy(&unpacked);
    return done;
}

/* Nanoseconds per run: the best of some rounds, since all else that runs here only adds. */
static double
s_measure(s_way_t *way, s_input_t *input)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = bench_now_ns();
        int64_t now;
        uint64_t runs = 0;
        do {
            for (int i = 0; i < 4; i++, runs++) {
                if (!way(input)) {
                    fprintf(stderr, "%s: refused\n", input->name);
                    exit(1);
                }
            }
            now = bench_now_ns();
        } while (now - begin < ROUND_NS);
        double each = (double) (now - begin) / (double) runs;
        if (best == 0 || each < best)
            best = each;
    }
    return best;
}

static void
s_fill(s_input_t *input, int kind)
{
    weft_buf_t *json = &input->json;
    switch (kind) {
    case 0:
        input->name = "64 bytes";
        (void) weft_buf_add_text(json,
                                 "{\"text\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}");
        break;
    case 1:
        input->name = "a note";
        (void) weft_buf_add_text(
            json, "{\"id\":\"018f4b4e-7a3c-7bb0-9c2f-5a1d3e9b7c10\",\"title\":\"Shopping list\","
                  "\"text\":\"milk, bread and \\\"good\\\" coffee\\nand caf\xc3\xa9 au lait\","
                  "\"tags\":[\"home\",\"todo\"],\"version\":3,\"done\":false,\"price\":19.99,"
                  "\"created_at\":\"2026-07-31T12:00:00Z\",\"parent\":null}");
        break;
    case 2:
        input->name = "100 records";
        (void) weft_buf_add_char(json, '[');
        for (int i = 0; i < 100; i++)
            (void) weft_buf_addf(
                json,
                "%s{\"id\":%d,\"name\":\"record number %d\",\"ok\":%s,\"ratio\":%d.%02d,\"tags\":[\"a\","
                "\"b\"],\"address\":{\"city\":\"Berlin\",\"zip\":\"%05d\"}}",
                i ? "," : "", i * 7919, i, i % 2 ? "true" : "false", i, i % 100, i * 331);
        (void) weft_buf_add_char(json, ']');
        break;
    case 3:
        input->name = "10,000 numbers";
        (void) weft_buf_add_char(json, '[');
        for (int i = 0; i < 10000; i++)
            (void) weft_buf_addf(json, "%s%d.%03d", i ? "," : "", i * 37 % 10007, i % 1000);
        (void) weft_buf_add_char(json, ']');
        break;
    case 4:
        input->name = "10,000 random doubles";
        (void) weft_buf_add_char(json, '[');
        for (int i = 0; i < 10000; i++)
            (void) weft_buf_addf(json, "%s%.17g", i ? "," : "",
                                 (double) (i + 1) * 0.123456789123456789 / 3.0);
        (void) weft_buf_add_char(json, ']');
        break;
    case 5:
        input->name = "64 KiB of ASCII";
        (void) weft_buf_add_text(json, "{\"text\":\"");
        for (int i = 0; i < 8192; i++)
            (void) weft_buf_add_text(json, "eight by");
        (void) weft_buf_add_text(json, "\"}");
        break;
    default:
        input->name = "100,000 keys";
        (void) weft_buf_add_char(json, '{');
        for (int i = 0; i < 100000; i++)
            (void) weft_buf_addf(json, "%s\"k%u\":1", i ? "," : "", (unsigned) i * 2654435761u);
        (void) weft_buf_add_char(json, '}');
        break;
    }
}

static weft_schema_t *s_schema;

static bool
s_check(s_input_t *input)
{
    return weft_schema_check(s_schema, weft_buf_span(&input->mp), NULL) == WEFT_OK;
}

int
main(void)
{
    printf("%-22s %9s | %12s %12s %6s | %12s %12s %6s\n", "", "bytes", "to msgpack", "tree", "ratio",
           "to JSON", "tree", "ratio");
    for (int kind = 0; kind < 7; kind++) {
        s_input_t input = { .name = NULL };
        weft_json_error_t error;
        weft_buf_init(&input.json, OUT_MAX);
        weft_buf_init(&input.mp, OUT_MAX);
        weft_buf_init(&input.out, OUT_MAX);
        s_fill(&input, kind);
        if (weft_json_to_mp(weft_buf_span(&input.json), &input.mp, &error) != WEFT_OK) {
            fprintf(stderr, "%s: %s at %zu\n", input.name, error.message, error.offset);
            return 1;
        }
        double ours = s_measure(s_ours_to_mp, &input);
        double tree = s_measure(s_tree_to_mp, &input);
        double ours_back = s_measure(s_ours_to_json, &input);
        double tree_back = s_measure(s_tree_to_json, &input);
        printf("%-22s %9zu | %9.2f us %9.2f us %5.1fx | %9.2f us %9.2f us %5.1fx\n", input.name,
               input.json.size, ours / 1e3, tree / 1e3, tree / ours, ours_back / 1e3, tree_back / 1e3,
               tree_back / ours_back);
        if (kind == 1) {
            static const char SCHEMA[] =
                "{\"type\":\"object\",\"required\":[\"id\",\"title\",\"text\"],\"additionalProperties\":"
                "false,\"properties\":{"
                "\"id\":{\"type\":\"string\",\"format\":\"uuid\"},\"title\":{\"type\":\"string\","
                "\"minLength\":1,\"maxLength\":200},"
                "\"text\":{\"type\":\"string\",\"maxLength\":100000},\"tags\":{\"type\":\"array\","
                "\"uniqueItems\":true,"
                "\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}},\"version\":{\"type\":\"integer\","
                "\"minimum\":1},"
                "\"done\":{\"type\":\"boolean\"},\"price\":{\"type\":\"number\",\"multipleOf\":0.01},"
                "\"created_at\":{\"type\":\"string\",\"format\":\"date-time\"},\"parent\":{\"type\":["
                "\"string\",\"null\"]}}}";
            weft_buf_t schema;
            char why[200];
            weft_buf_init(&schema, OUT_MAX);
            if (weft_json_to_mp(weft_span(SCHEMA), &schema, &error) != WEFT_OK ||
                !(s_schema = weft_schema_new(weft_buf_span(&schema), why, sizeof why)))
                return 1;
            printf("%-22s %9s | %9.2f us with 14 keywords, two formats, two matches of a pattern\n",
                   "  its schema, checked", "", s_measure(s_check, &input) / 1e3);
            weft_schema_destroy(&s_schema);
            weft_buf_fini(&schema);
        }
        weft_buf_fini(&input.json);
        weft_buf_fini(&input.mp);
        weft_buf_fini(&input.out);
    }
    return 0;
}
