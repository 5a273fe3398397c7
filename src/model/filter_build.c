/* Building a filter tree in canonical form.
 *
 * The tree is brought into its canonical form while it is built, from the leaves up: children of all/any are
 * flattened, sorted and single; an all/any of one child is that child; not-not is nothing; what matches everything or
 * nothing swallows or leaves its surroundings. (The values of "in" are sorted and single too, by the parser.) So
 * printing is a plain walk, two filters that differ only in the order of keys are the same tree, and compilers
 * downstream see few forms: an empty IN, ALL or ANY, a NOT of a NOT never occur. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/filter.h"

int filter_build_node(filter_build *p, const place *at, filter_kind kind, filter **out) {
    if (++p->nodes > MODEL_FILTER_NODES_MAX) {
        return model_read_fail(&p->r, at, BRAID_E_TOO_LARGE,
                               "the filter has more than %d conditions; put values "
                               "into one \"in\"",
                               MODEL_FILTER_NODES_MAX);
    }
    filter *f = arena_calloc(p->r.a, 1, sizeof *f);
    if (!f) {
        return model_read_no_memory(&p->r);
    }
    f->kind = kind;
    f->attribute = "";
    f->low = -INFINITY;
    f->high = INFINITY;
    *out = f;
    return BRAID_OK;
}

int filter_build_not(filter_build *p, const place *at, filter *child, filter **out) {
    if (child->kind == FILTER_NOT) {
        *out = child->children[0];
        return BRAID_OK;
    }
    filter *f = NULL;
    int rc = filter_build_node(p, at, FILTER_NOT, &f);
    if (rc) {
        return rc;
    }
    f->children = arena_alloc(p->r.a, sizeof *f->children);
    if (!f->children) {
        return model_read_no_memory(&p->r);
    }
    f->children[0] = child;
    f->children_count = 1;
    *out = f;
    return BRAID_OK;
}

static int by_filter(const void *a, const void *b) {
    return model_filter_compare(*(filter *const *)a, *(filter *const *)b);
}

static size_t sort_children(filter **children, size_t count) {
    qsort(children, count, sizeof *children, by_filter);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (model_filter_compare(children[kept - 1], children[i]) != 0) {
            children[kept++] = children[i];
        }
    }
    return kept;
}

/* Everything for ALL, nothing for ANY: the child that changes nothing. */
static bool is_neutral(filter_kind kind, const filter *f) {
    return kind == FILTER_ALL ? f->kind == FILTER_TRUE : model_filter_is_nothing(f);
}

static bool is_absorbing(filter_kind kind, const filter *f) {
    return is_neutral(kind == FILTER_ALL ? FILTER_ANY : FILTER_ALL, f);
}

int filter_build_constant(filter_build *p, const place *at, bool everything, filter **out) {
    filter *f = NULL;
    int rc = filter_build_node(p, at, FILTER_TRUE, &f);
    if (rc) {
        return rc;
    }
    *out = f;
    return everything ? BRAID_OK : filter_build_not(p, at, f, out);
}

/* ALL or ANY of canonical children. */
int filter_build_junction(filter_build *p, const place *at, filter_kind kind, filter **children, size_t count,
                          filter **out) {
    size_t total = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_absorbing(kind, children[i])) {
            *out = children[i];
            return BRAID_OK;
        }
        total += children[i]->kind == kind ? children[i]->children_count : 1;
    }
    filter **flat = arena_alloc(p->r.a, (total + 1) * sizeof *flat);
    if (!flat) {
        return model_read_no_memory(&p->r);
    }
    for (size_t i = 0; i < count; i++) {
        const filter *c = children[i];
        if (c->kind == kind) {
            memcpy(flat + n, c->children, c->children_count * sizeof *flat);
            n += c->children_count;
        } else if (!is_neutral(kind, c)) {
            flat[n++] = children[i];
        }
    }
    if (n == 0) {
        return filter_build_constant(p, at, kind == FILTER_ALL, out);
    }
    n = sort_children(flat, n);
    if (n == 1) {
        *out = flat[0];
        return BRAID_OK;
    }
    filter *f = NULL;
    int rc = filter_build_node(p, at, kind, &f);
    if (rc) {
        return rc;
    }
    f->children = flat;
    f->children_count = n;
    *out = f;
    return BRAID_OK;
}
