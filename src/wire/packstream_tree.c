/* packstream, trees: a value copied into an arena, for those who want to walk it more than once.
 *
 * Recursion is bounded by the reader's nesting limit. An element of one byte becomes a node of forty, so a budget of
 * bytes is kept besides: a hostile list cannot take more memory than the caller allowed. */
#include "packstream.h"

#include <string.h>

static const size_t ps_tree_max_default = (size_t)64 << 20;

typedef struct ps_tree_build {
    ps_reader *r;
    arena *mem;
    size_t left;
    braid_error *err;
} ps_tree_build;

static void *ps_tree_alloc(ps_tree_build *b, size_t size, int *code) {
    if (size > b->left) {
        *code = error_set(b->err, BRAID_E_TOO_LARGE, "wire/packstream", "a value takes more memory than is allowed");
        return NULL;
    }
    b->left -= size;
    void *at = arena_alloc(b->mem, size > 0 ? size : 1);
    if (at == NULL) *code = error_set(b->err, BRAID_E_NO_MEMORY, "wire/packstream", "memory ran out");
    return at;
}

static int ps_tree_text(ps_tree_build *b, ps_value *v) {
    int code = BRAID_OK;
    char *copy = ps_tree_alloc(b, v->text.len + 1, &code);
    if (copy == NULL) return code;
    if (v->text.len > 0) memcpy(copy, v->text.data, v->text.len);
    copy[v->text.len] = '\0';
    v->text.data = copy;
    return BRAID_OK;
}

static int ps_tree_fill(ps_tree_build *b, ps_tree *t) {
    *t = (ps_tree){0};
    if (!ps_next(b->r, &t->v)) return ps_error(b->r, "wire/packstream", b->err);
    if (t->v.kind == PS_STRING || t->v.kind == PS_BYTES) return ps_tree_text(b, &t->v);
    if (t->v.kind < PS_LIST || t->v.count == 0) return BRAID_OK;
    size_t count = t->v.kind == PS_MAP ? 2 * (size_t)t->v.count : t->v.count;
    int code = BRAID_OK;
    ps_tree *items = ps_tree_alloc(b, count * sizeof *items, &code);
    for (size_t i = 0; code == BRAID_OK && i < count; i++) code = ps_tree_fill(b, &items[i]);
    t->items = items;
    return code;
}

int ps_tree_read(ps_reader *r, arena *mem, size_t max, const ps_tree **out, braid_error *err) {
    ps_tree_build b = {.r = r, .mem = mem, .left = max > 0 ? max : ps_tree_max_default, .err = err};
    int code = BRAID_OK;
    *out = NULL;
    ps_tree *root = ps_tree_alloc(&b, sizeof *root, &code);
    if (root == NULL) return code;
    code = ps_tree_fill(&b, root);
    if (code == BRAID_OK) *out = root;
    return code;
}

const ps_tree *ps_tree_get(const ps_tree *t, const char *key) {
    if (t == NULL || t->v.kind != PS_MAP) return NULL;
    for (uint32_t i = 0; i < t->v.count; i++)
        if (ps_text_is(t->items[2 * i].v.text, key)) return &t->items[2 * i + 1];
    return NULL;
}
