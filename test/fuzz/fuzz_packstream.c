/* Fuzzing of PackStream's reader: any bytes as a message.
 *
 * Cursor and tree agree on what is a message and what is not; every view lies inside the bytes; skipping a value passes
 * over exactly what reading it does; what was accepted, written again, is accepted and stays the same from then on. */
#include "wire/packstream.h"

#include "fuzz.h"

static const uint8_t *from, *to;

static void check_inside(const void *data, size_t len) {
    const uint8_t *p = data;
    if (len > 0 && (p < from || len > (size_t)(to - p))) fuzz_fail("a view lies inside the message", "");
}

static void check_raw(ps_raw raw, bool wanted) {
    ps_reader r;
    check_inside(raw.data, raw.len);
    ps_reader_init(&r, raw.data, raw.len);
    if (wanted && (!ps_skip(&r, NULL) || !ps_finished(&r))) fuzz_fail("what a structure hands out is whole", "");
}

static void check_struct(ps_reader r, const ps_value *head) {
    ps_struct s;
    const uint8_t *at = r.at;
    if (!ps_read_struct(&r, head, &s)) {
        if (r.problem == NULL) fuzz_fail("a refusal says why", "");
        return;
    }
    if (r.at <= at) fuzz_fail("a structure has fields", "");
    switch (s.tag) {
    case PS_NODE:
        check_raw(s.node.labels, true);
        check_raw(s.node.properties, true);
        check_inside(s.node.element_id.data, s.node.element_id.len);
        break;
    case PS_RELATIONSHIP:
    case PS_UNBOUND_RELATIONSHIP:
        check_raw(s.relationship.properties, true);
        check_inside(s.relationship.type.data, s.relationship.type.len);
        break;
    case PS_PATH:
        check_raw(s.path.nodes, true);
        check_raw(s.path.relationships, true);
        check_raw(s.path.indices, true);
        break;
    case PS_DATE_TIME_ZONE_ID: check_inside(s.temporal.zone.data, s.temporal.zone.len); break;
    default: break;
    }
}

/* Walks with the cursor; true if it is a message. */
static bool walk(const uint8_t *data, size_t size) {
    ps_reader r;
    ps_value v;
    float numbers[8];
    size_t count, values = 0;
    ps_reader_init(&r, data, size);
    for (;;) {
        ps_reader skip = r, floats = r;
        unsigned depth = r.depth;
        const uint8_t *at = r.at;
        if (!ps_next(&r, &v)) break;
        values++;
        if (r.at <= at || r.at > to) fuzz_fail("a value takes bytes, and no more than there are", "");
        if (r.depth > PS_DEPTH_MAX || r.depth > depth + 1) fuzz_fail("nesting is bounded", "");
        if (r.owed > (uint64_t)(r.end - r.at)) fuzz_fail("no more is owed than there are bytes", "");
        if (v.kind == PS_STRING || v.kind == PS_BYTES) check_inside(v.text.data, v.text.len);
        if (v.kind == PS_STRUCT) check_struct(r, &v);
        if (ps_read_floats(&floats, numbers, 8, &count) && count > 8) fuzz_fail("a list stays in its room", "");
        ps_raw raw = {0};
        if (values < 64 && ps_skip(&skip, &raw)) {
            if (raw.data != at) fuzz_fail("skipping begins where reading does", "");
            if (v.kind < PS_LIST && skip.at != r.at) fuzz_fail("skipping ends where reading does", "");
            check_inside(raw.data, raw.len);
        }
    }
    if (values > size) fuzz_fail("no more values than bytes", "");
    if (!ps_finished(&r)) {
        braid_error err = {0};
        if (ps_error(&r, "fuzz", &err) != BRAID_E_CORRUPT || !err.message[0]) fuzz_fail("a refusal says why", "");
        return false;
    }
    return true;
}

static void write_tree(buf *b, const ps_tree *t) {
    size_t n = t->v.count;
    switch (t->v.kind) {
    case PS_NULL: ps_put_null(b); break;
    case PS_BOOL: ps_put_bool(b, t->v.boolean); break;
    case PS_INT: ps_put_int(b, t->v.integer); break;
    case PS_FLOAT: ps_put_real(b, t->v.real); break;
    case PS_BYTES: ps_put_bytes(b, t->v.text.data, t->v.text.len); break;
    case PS_STRING: ps_put_text(b, t->v.text.data, t->v.text.len); break;
    case PS_LIST: ps_put_list(b, n); break;
    case PS_MAP:
        ps_put_map(b, n);
        n *= 2;
        break;
    case PS_STRUCT: ps_put_struct(b, t->v.tag, (unsigned)n); break;
    }
    for (size_t i = 0; t->items != NULL && i < n; i++) write_tree(b, &t->items[i]);
}

static bool tree_of(const void *data, size_t size, arena *mem, const ps_tree **t) {
    ps_reader r;
    braid_error err = {0};
    ps_reader_init(&r, data, size);
    int code = ps_tree_read(&r, mem, 0, t, &err);
    if (code != BRAID_OK && code != BRAID_E_CORRUPT) fuzz_fail("a message is whole or corrupt", err.message);
    return code == BRAID_OK && ps_finished(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static arena *mem;
    static buf first, second;
    if (mem == NULL) {
        mem = arena_new(1 << 16);
        buf_init(&first, 0);
        buf_init(&second, 0);
    }
    uint8_t *copy = (uint8_t *)fuzz_copy(data, size, false);
    const ps_tree *t;
    from = copy;
    to = copy + size;
    arena_reset(mem);
    bool whole = walk(copy, size);
    if (tree_of(copy, size, mem, &t) != whole) fuzz_fail("cursor and tree agree", "");
    if (whole) {
        buf_reset(&first);
        buf_reset(&second);
        write_tree(&first, t);
        if (first.failed || first.len > size) fuzz_fail("the written form is the shortest", "");
        if (!tree_of(first.data, first.len, mem, &t)) fuzz_fail("what was written is accepted", "");
        write_tree(&second, t);
        if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
            fuzz_fail("what was written stays the same", "");
    }
    free(copy);
    return 0;
}
