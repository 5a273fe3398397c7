/* Reads PackStream messages, one a line in hexadecimal digits, and answers each with a line: what it holds and what it
 * is when written again, or why it is refused. wire_oracle.py compares the answers with the official driver's.
 *
 *     > 920181 61          < ok 9201 8161 [i1,s61]
 *     > 92                 < no more elements are announced than there are bytes
 *
 * Text: N null, T F booleans, i integer, f the bits of a number, s text and b bytes in hexadecimal digits, [list],
 * {map}, (tag fields). Times and points are written again by their own functions, from what ps_read_struct gave. */
#include "wire/packstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_hex(buf *out, const void *data, size_t len) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        char two[2] = {digits[p[i] >> 4], digits[p[i] & 15]};
        buf_add(out, two, 2);
    }
}

static void write_again(ps_reader *r, buf *out);

/* Fields that were handed out as they stand. */
static void put_whole(buf *out, ps_raw raw) {
    ps_reader r;
    ps_reader_init(&r, raw.data, raw.len);
    write_again(&r, out);
}

static void put_graph(buf *out, const ps_struct *s, uint32_t fields) {
    const ps_relationship *rel = &s->relationship;
    ps_put_struct(out, (uint8_t)s->tag, fields);
    switch (s->tag) {
    case PS_NODE:
        ps_put_int(out, s->node.id);
        put_whole(out, s->node.labels);
        put_whole(out, s->node.properties);
        if (fields == 4) ps_put_text(out, s->node.element_id.data, s->node.element_id.len);
        break;
    case PS_PATH:
        put_whole(out, s->path.nodes);
        put_whole(out, s->path.relationships);
        put_whole(out, s->path.indices);
        break;
    default:
        ps_put_int(out, rel->id);
        if (s->tag == PS_RELATIONSHIP) {
            ps_put_int(out, rel->start);
            ps_put_int(out, rel->end);
        }
        ps_put_text(out, rel->type.data, rel->type.len);
        put_whole(out, rel->properties);
        if (fields == 4 || fields == 8) ps_put_text(out, rel->element_id.data, rel->element_id.len);
        if (fields == 8) {
            ps_put_text(out, rel->start_element_id.data, rel->start_element_id.len);
            ps_put_text(out, rel->end_element_id.data, rel->end_element_id.len);
        }
    }
}

static void put_struct(buf *out, const ps_struct *s, uint32_t fields) {
    const ps_temporal *t = &s->temporal;
    char zone[64];
    switch (s->tag) {
    case PS_DATE: ps_put_date(out, t->days); break;
    case PS_TIME: ps_put_time(out, t->nanoseconds, t->offset); break;
    case PS_LOCAL_TIME: ps_put_local_time(out, t->nanoseconds); break;
    case PS_DATE_TIME: ps_put_date_time(out, t->seconds, t->nanoseconds, t->offset); break;
    case PS_DATE_TIME_LEGACY: ps_put_date_time_legacy(out, t->seconds, t->nanoseconds, t->offset); break;
    case PS_DATE_TIME_ZONE_ID:
        ps_text_copy(t->zone, zone, sizeof zone);
        ps_put_date_time_zone(out, t->seconds, t->nanoseconds, zone);
        break;
    case PS_DATE_TIME_ZONE_ID_LEGACY:
        ps_text_copy(t->zone, zone, sizeof zone);
        ps_put_date_time_zone_legacy(out, t->seconds, t->nanoseconds, zone);
        break;
    case PS_LOCAL_DATE_TIME: ps_put_local_date_time(out, t->seconds, t->nanoseconds); break;
    case PS_DURATION: ps_put_duration(out, t->months, t->days, t->seconds, t->nanoseconds); break;
    case PS_POINT_2D: ps_put_point_2d(out, s->point.srid, s->point.x, s->point.y); break;
    case PS_POINT_3D: ps_put_point_3d(out, s->point.srid, s->point.x, s->point.y, s->point.z); break;
    default: put_graph(out, s, fields);
    }
}

static void write_again(ps_reader *r, buf *out) {
    ps_value v;
    if (!ps_next(r, &v)) return;
    uint32_t n = v.count;
    switch (v.kind) {
    case PS_NULL: ps_put_null(out); break;
    case PS_BOOL: ps_put_bool(out, v.boolean); break;
    case PS_INT: ps_put_int(out, v.integer); break;
    case PS_FLOAT: ps_put_real(out, v.real); break;
    case PS_BYTES: ps_put_bytes(out, v.text.data, v.text.len); break;
    case PS_STRING: ps_put_text(out, v.text.data, v.text.len); break;
    case PS_LIST: ps_put_list(out, n); break;
    case PS_MAP:
        ps_put_map(out, n);
        n *= 2;
        break;
    case PS_STRUCT: {
        ps_reader typed = *r;
        ps_struct s;
        if (ps_read_struct(&typed, &v, &s)) {
            put_struct(out, &s, n);
            *r = typed;
            return;
        }
        ps_put_struct(out, v.tag, n);
    }
    }
    for (uint32_t i = 0; i < n; i++) write_again(r, out);
}

static void print(ps_reader *r, buf *out) {
    ps_value v;
    uint64_t bits;
    if (!ps_next(r, &v)) return;
    switch (v.kind) {
    case PS_NULL: buf_puts(out, "N"); return;
    case PS_BOOL: buf_puts(out, v.boolean ? "T" : "F"); return;
    case PS_INT: buf_printf(out, "i%" PRId64, v.integer); return;
    case PS_FLOAT:
        memcpy(&bits, &v.real, 8);
        buf_printf(out, "f%016" PRIx64, bits);
        return;
    case PS_BYTES:
    case PS_STRING:
        buf_putc(out, v.kind == PS_BYTES ? 'b' : 's');
        put_hex(out, v.text.data, v.text.len);
        return;
    case PS_LIST: buf_puts(out, "["); break;
    case PS_MAP: buf_puts(out, "{"); break;
    case PS_STRUCT: buf_printf(out, "(%02x", v.tag); break;
    }
    for (uint32_t i = 0; i < v.count; i++) {
        if (i > 0 || v.kind == PS_STRUCT) buf_putc(out, ',');
        print(r, out);
        if (v.kind == PS_MAP) {
            buf_putc(out, ':');
            print(r, out);
        }
    }
    buf_putc(out, v.kind == PS_LIST ? ']' : v.kind == PS_MAP ? '}' : ')');
}

static void answer(const uint8_t *data, size_t len, buf *out) {
    ps_reader r;
    ps_reader_init(&r, data, len);
    while (ps_skip(&r, NULL)) continue;
    if (!ps_finished(&r)) {
        printf("no %s\n", r.problem != NULL ? r.problem : "bytes follow");
        return;
    }
    buf_reset(out);
    ps_reader_init(&r, data, len);
    write_again(&r, out);
    buf text;
    buf_init(&text, 0);
    put_hex(&text, out->data, out->len);
    buf_putc(&text, ' ');
    ps_reader_init(&r, data, len);
    print(&r, &text);
    printf("ok %s\n", text.data);
    buf_free(&text);
}

int main(void) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    buf out;
    buf_init(&out, 0);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        size_t len = 0;
        uint8_t *data = malloc((size_t)n); /* exactly as large as needed in the end: a read past it is seen by ASan */
        if (data == NULL) return 1;
        for (ssize_t i = 0; i + 1 < n && line[i] != '\n'; i += 2) {
            const char two[3] = {line[i], line[i + 1], '\0'};
            data[len++] = (uint8_t)strtoul(two, NULL, 16);
        }
        uint8_t *exact = realloc(data, len > 0 ? len : 1);
        answer(exact, len, &out);
        free(exact);
    }
    buf_free(&out);
    free(line);
    return 0;
}
