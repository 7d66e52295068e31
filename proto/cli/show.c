/* show - values on standard output: as JSON, one a line, or as a table */
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

#include <weft/json.h>

#include "cli/cli.h"

#define COLUMNS_MAX 16
#define CELL_MAX 4096 /* bytes of a cell; longer ones are cut */

bool
show_json(weft_span_t value)
{
    weft_buf_t text;
    weft_json_error_t error = { 0 };
    weft_buf_init(&text, (size_t) WEFT_FRAME_MAX * 8);
    bool shown = weft_mp_to_json(value, &text, &error) == WEFT_OK;
    if (shown) {
        (void) printf("%.*s\n", (int) text.size, text.data);
        (void) fflush(stdout); /* streams and watches are read as they come */
    } else {
        cli_complain("the result has no JSON form: %s", error.message ? error.message : "too large");
    }
    weft_buf_fini(&text);
    return shown;
}

bool
show_each_json(weft_span_t rows)
{
    weft_mp_t cursor = weft_mp(rows);
    weft_mp_token_t array;
    weft_span_t row;
    if (!rows.data || !weft_mp_next(&cursor, &array) || array.type != WEFT_MP_ARRAY) {
        return true;
    }
    for (uint32_t i = 0; i < array.count && weft_mp_value(&cursor, &row); i++) {
        if (!show_json(row)) {
            return false;
        }
    }
    return true;
}

void
show_add_text(weft_buf_t *out, weft_span_t text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char) text.data[i];
        bool fine = c >= 0x20 && c != 0x7f;
        /* C1 control characters are two bytes in UTF-8: c2 80 to c2 9f. */
        if (c == 0xc2 && i + 1 < text.size && (unsigned char) text.data[i + 1] < 0xa0) {
            fine = false;
            i++;
        }
        (void) weft_buf_add_char(out, fine ? (char) c : '?');
    }
}

static void s_add_value(weft_buf_t *out, weft_span_t value);

/* {"name": "notes", "version": "1.0.0", "capacity": 6, "outstanding": 2} is shown as notes@1.0.0 2/6. */
static void
s_add_offer(weft_buf_t *out, weft_span_t map)
{
    show_add_text(out, weft_mp_get_str(map, "name"));
    (void) weft_buf_add_char(out, '@');
    show_add_text(out, weft_mp_get_str(map, "version"));
    (void) weft_buf_addf(out, " %llu/%llu", (unsigned long long) weft_mp_get_uint(map, "outstanding", 0),
                         (unsigned long long) weft_mp_get_uint(map, "capacity", 0));
}

/* One level deep: what lies deeper is shown as "...". */
static void
s_add_list(weft_buf_t *out, weft_mp_t cursor, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        weft_span_t item;
        weft_mp_token_t token;
        if (!weft_mp_value(&cursor, &item)) {
            return;
        }
        (void) weft_buf_add_text(out, i ? ", " : "");
        weft_mp_t inner = weft_mp(item);
        if (!weft_mp_next(&inner, &token)) {
            return;
        }
        if (token.type == WEFT_MP_MAP) {
            s_add_offer(out, item);
        } else if (token.type == WEFT_MP_ARRAY) {
            (void) weft_buf_add_text(out, "...");
        } else {
            s_add_value(out, item);
        }
    }
}

static void
s_add_value(weft_buf_t *out, weft_span_t value)
{
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!value.data || !weft_mp_next(&cursor, &token)) {
        (void) weft_buf_add_char(out, '-');
        return;
    }
    switch (token.type) {
    case WEFT_MP_NIL:
        (void) weft_buf_add_char(out, '-');
        break;
    case WEFT_MP_BOOL:
        (void) weft_buf_add_text(out, token.v.b ? "yes" : "no");
        break;
    case WEFT_MP_UINT:
        (void) weft_buf_addf(out, "%llu", (unsigned long long) token.v.u);
        break;
    case WEFT_MP_INT:
        (void) weft_buf_addf(out, "%lld", (long long) token.v.i);
        break;
    case WEFT_MP_FLOAT:
        (void) weft_buf_addf(out, "%g", token.v.f);
        break;
    case WEFT_MP_STR:
        show_add_text(out, token.v.bytes);
        break;
    case WEFT_MP_BIN:
    case WEFT_MP_EXT:
        (void) weft_buf_addf(out, "(%zu bytes)", token.v.bytes.size);
        break;
    case WEFT_MP_ARRAY:
        s_add_list(out, cursor, token.count);
        break;
    case WEFT_MP_MAP:
        (void) weft_buf_add_text(out, "...");
        break;
    }
}

static void
s_fill_cell(weft_buf_t *cell, weft_span_t row, const char *key)
{
    char outer[32];
    const char *dot = strchr(key, '.');
    weft_buf_reset(cell);
    if (dot) {
        (void) snprintf(outer, sizeof outer, "%.*s", (int) (dot - key), key);
        row = weft_mp_get(row, outer);
        key = dot + 1;
    }
    s_add_value(cell, weft_mp_get(row, key));
}

void
show_table(weft_span_t rows, const show_column_t *columns, const char *none)
{
    weft_mp_t cursor = weft_mp(rows);
    weft_mp_token_t array;
    if (!rows.data || !weft_mp_next(&cursor, &array) || array.type != WEFT_MP_ARRAY || array.count == 0) {
        (void) printf("%s\n", none);
        return;
    }
    size_t width[COLUMNS_MAX] = { 0 };
    weft_buf_t cell;
    weft_buf_init(&cell, CELL_MAX);
    /* Once for the widths, once for the text; the title is row -1. */
    for (int pass = 0; pass < 2; pass++) {
        weft_mp_t at = cursor;
        for (int64_t r = -1; r < (int64_t) array.count; r++) {
            weft_span_t row = { 0 };
            if (r >= 0 && !weft_mp_value(&at, &row)) {
                break;
            }
            for (int c = 0; columns[c].title && c < COLUMNS_MAX; c++) {
                s_fill_cell(&cell, row, columns[c].key);
                const char *text = r < 0 ? columns[c].title : cell.data ? cell.data : "";
                size_t size = r < 0 ? strlen(text) : cell.size;
                bool last = !columns[c + 1].title;
                if (pass == 0) {
                    width[c] = size > width[c] ? size : width[c];
                } else {
                    (void) printf("%.*s%*s", (int) size, text, last ? 0 : (int) (width[c] - size) + 2, "");
                }
            }
            if (pass == 1) {
                (void) printf("\n");
            }
        }
    }
    weft_buf_fini(&cell);
}

void
show_map(weft_span_t map, int indent)
{
    weft_mp_t cursor = weft_mp(map);
    weft_mp_token_t token;
    if (!map.data || !weft_mp_next(&cursor, &token) || token.type != WEFT_MP_MAP) {
        return;
    }
    weft_buf_t line;
    weft_buf_init(&line, CELL_MAX);
    for (uint32_t i = 0; i < token.count; i++) {
        weft_mp_token_t key, head;
        weft_span_t value;
        if (!weft_mp_next(&cursor, &key) || !weft_mp_value(&cursor, &value)) {
            break;
        }
        weft_mp_t inner = weft_mp(value);
        bool nested = weft_mp_next(&inner, &head) && head.type == WEFT_MP_MAP && indent < 8;
        weft_buf_reset(&line);
        show_add_text(&line, key.v.bytes);
        if (!nested) {
            while (line.size < 40 && weft_buf_add_char(&line, ' ')) {
            }
            (void) weft_buf_add_char(&line, ' ');
            s_add_value(&line, value);
        }
        (void) printf("%*s%.*s\n", indent, "", (int) line.size, line.data ? line.data : "");
        if (nested) {
            show_map(value, indent + 2); /* at most four deep: of our own bound, not of the input's */
        }
    }
    weft_buf_fini(&line);
}
