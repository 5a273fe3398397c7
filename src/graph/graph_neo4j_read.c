/* Looking at the Neo4j graph without walking it: what items share or are tied to, what two of them share, everything,
 * and whether it is sound.
 *
 * shared() asks once for all pairs, and for items rather than for pairs: every facet that at least two of the items
 * hold comes once, with its holders, and the pairs are put together here. So thirty candidates against one film cost
 * the server thirty short reads, and against five films thirty-five. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph_neo4j.h"

enum { PROBLEMS_MAX = 100 };

static int bad_row(bolt_row *row, braid_error *err) {
    return ps_error(&row->values, GRAPH_NEO4J_STORE, err);
}

/* A number of an item or a count, as the server gives it. */
static bool read_u32(ps_reader *r, uint32_t *out) {
    int64_t value;
    if (!ps_read_int(r, &value)) return false;
    if (value < 0 || value > UINT32_MAX) return ps_refuse(r, "a number is not in 0..2^32-1");
    *out = (uint32_t)value;
    return true;
}

static bool read_strength(ps_reader *r, float *out) {
    double value;
    bool none;
    if (!ps_read_null(r, &none)) return false;
    if (!none && !ps_read_real(r, &value)) return false;
    *out = none ? 0 : (float)value; /* somebody else's relationship may have none */
    return true;
}

/* A count from the server may be larger than a degree can be. */
static uint32_t degree_of(int64_t count) {
    return count < 0 ? 0 : count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* ---- what items share or are tied to ---- */

typedef struct enriched {
    graph_enrich_fn *each;
    void *ctx;
    bool *found;
    size_t n;
    uint32_t which; /* the present row's */
    bool enough;
    char *text; /* of the present neighbour, with its NULs */
    size_t cap;
} enriched;

/* Copies two views beside each other, so that the callback gets strings. */
static bool two_texts(enriched *x, ps_text a, ps_text b) {
    if (a.len + b.len + 2 > x->cap) {
        char *more = realloc(x->text, a.len + b.len + 2);
        if (more == NULL) return false;
        x->text = more;
        x->cap = a.len + b.len + 2;
    }
    memcpy(x->text, a.data, a.len);
    x->text[a.len] = '\0';
    memcpy(x->text + a.len + 1, b.data, b.len);
    x->text[a.len + 1 + b.len] = '\0';
    return true;
}

/* Once it is enough, the row is read to its end and told to nobody. */
static int tell(enriched *x, graph_neighbour *n, ps_text type, ps_text label, braid_error *err) {
    if (x->enough) return BRAID_OK;
    if (!two_texts(x, type, label)) return graph_neo4j_no_memory(err);
    n->type = x->text;
    n->label = x->text + type.len + 1;
    x->enough = !x->each(x->ctx, x->which, n);
    return BRAID_OK;
}

static int see_relation(enriched *x, bolt_row *row, braid_error *err) {
    graph_neighbour n = {.kind = GRAPH_ITEM};
    ps_text type;
    uint32_t fields;
    int64_t degree;
    if (!ps_read_list(&row->values, &fields) || !read_u32(&row->values, &n.num) || !ps_read_text(&row->values, &type) ||
        !read_strength(&row->values, &n.strength) || !ps_read_bool(&row->values, &n.outgoing) ||
        !ps_read_int(&row->values, &degree))
        return bad_row(row, err);
    n.degree = degree_of(degree);
    return tell(x, &n, type, (ps_text){"", 0}, err);
}

static int see_facet(enriched *x, bolt_row *row, braid_error *err) {
    graph_neighbour n = {.strength = 1, .outgoing = true};
    ps_text type, value;
    uint32_t fields;
    int64_t degree;
    if (!ps_read_list(&row->values, &fields) || !ps_read_text(&row->values, &type) ||
        !ps_read_text(&row->values, &value) || !ps_read_int(&row->values, &degree))
        return bad_row(row, err);
    n.kind = graph_neo4j_kind_of(type);
    n.degree = degree_of(degree);
    return tell(x, &n, type, value, err);
}

static int see_enriched(void *ctx, bolt_row *row, braid_error *err) {
    enriched *x = ctx;
    uint32_t count = 0;
    int rc = BRAID_OK;
    if (!read_u32(&row->values, &x->which)) return bad_row(row, err);
    if (x->which >= x->n) {
        ps_refuse(&row->values, "the server names an item that was not asked for");
        return bad_row(row, err);
    }
    x->found[x->which] = true;
    if (!ps_read_list(&row->values, &count)) return bad_row(row, err);
    for (uint32_t i = 0; rc == BRAID_OK && i < count; i++) rc = see_relation(x, row, err);
    if (rc == BRAID_OK && !ps_read_list(&row->values, &count)) return bad_row(row, err);
    for (uint32_t i = 0; rc == BRAID_OK && i < count; i++) rc = see_facet(x, row, err);
    return rc;
}

int graph_neo4j_enrich_batch(void *self, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each,
                             void *ctx, bool *found, braid_error *err) {
    enriched x = {.each = each, .ctx = ctx, .found = found, .n = n};
    graph_neo4j_request rq = {0};
    bolt_call call = {.access = BOLT_READ, .until = until};
    buf *p = graph_neo4j_ask(&rq, graph_neo4j_statements.enrich, see_enriched, &x);
    ps_put_map(p, 1);
    ps_put_str(p, "rows");
    ps_put_list(p, n);
    for (size_t i = 0; i < n; i++) {
        ps_put_list(p, 2);
        ps_put_int(p, (int64_t)i);
        ps_put_int(p, nums[i]);
    }
    int rc = graph_neo4j_run(self, &rq, &call, err);
    graph_neo4j_request_free(&rq);
    free(x.text);
    return rc;
}

/* ---- what two items share ---- */

typedef struct holder { /* an item that the pairs name, and the pairs that name it first */
    uint32_t num;
    size_t pair;
} holder;

typedef struct shared {
    const graph_pair *pairs;
    size_t n, max;
    graph_neighbour *out;
    size_t *counts;
    arena *mem;
    holder *firsts; /* pairs by their first item */
    uint32_t *nums; /* all items, sorted, each once */
    size_t nums_count;
    uint8_t *holds; /* by place in nums: holds the present facet */
} shared;

static bool shared_before(const graph_neighbour *a, const graph_neighbour *b) {
    if ((a->kind == GRAPH_ITEM) != (b->kind == GRAPH_ITEM)) return a->kind == GRAPH_ITEM;
    if (a->kind == GRAPH_ITEM) {
        if (a->strength > b->strength || a->strength < b->strength) return a->strength > b->strength;
        int order = strcmp(a->type, b->type);
        return order != 0 ? order < 0 : a->outgoing && !b->outgoing;
    }
    if (a->degree != b->degree) return a->degree < b->degree;
    if (a->kind != b->kind) return a->kind < b->kind;
    return strcmp(a->label, b->label) < 0;
}

/* Insertion into the best `max` of a pair. */
static void shared_add(shared *x, size_t pair, const graph_neighbour *n) {
    graph_neighbour *out = x->out + pair * x->max;
    size_t count = x->counts[pair];
    if (count == x->max && !shared_before(n, &out[count - 1])) return;
    size_t at = count < x->max ? x->counts[pair]++ : count - 1;
    for (; at > 0 && shared_before(n, &out[at - 1]); at--) out[at] = out[at - 1];
    out[at] = *n;
}

static size_t place_of(const shared *x, uint32_t num) {
    size_t low = 0, high = x->nums_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (x->nums[mid] < num)
            low = mid + 1;
        else
            high = mid;
    }
    return low < x->nums_count && x->nums[low] == num ? low : SIZE_MAX;
}

static int see_shared_relation(void *ctx, bolt_row *row, braid_error *err) {
    shared *x = ctx;
    graph_neighbour n = {.kind = GRAPH_ITEM, .label = ""};
    uint32_t pair = 0;
    ps_text type;
    int64_t degree;
    if (!read_u32(&row->values, &pair) || !ps_read_text(&row->values, &type) ||
        !read_strength(&row->values, &n.strength) || !ps_read_bool(&row->values, &n.outgoing) ||
        !ps_read_int(&row->values, &degree))
        return bad_row(row, err);
    if (pair >= x->n) {
        ps_refuse(&row->values, "the server names a pair that was not asked for");
        return bad_row(row, err);
    }
    n.num = x->pairs[pair].b;
    n.degree = degree_of(degree);
    n.type = arena_strndup(x->mem, type.data, type.len);
    if (n.type == NULL) return graph_neo4j_no_memory(err);
    shared_add(x, pair, &n);
    return BRAID_OK;
}

/* Hands the facet to every pair whose two items hold it. */
static void share_facet(shared *x, const graph_neighbour *n) {
    for (size_t i = 0; i < x->n; i++) {
        const graph_pair *p = &x->pairs[x->firsts[i].pair];
        if (p->a == p->b) continue;
        size_t a = place_of(x, p->a);
        if (!x->holds[a]) { /* nor is it held by the first of the pairs that follow, as long as that is the same */
            while (i + 1 < x->n && x->firsts[i + 1].num == p->a) i++;
            continue;
        }
        if (x->holds[place_of(x, p->b)]) shared_add(x, x->firsts[i].pair, n);
    }
}

static int see_shared_facet(void *ctx, bolt_row *row, braid_error *err) {
    shared *x = ctx;
    graph_neighbour n = {.strength = 1, .outgoing = true};
    ps_text type, value;
    int64_t degree;
    uint32_t holders;
    if (!ps_read_text(&row->values, &type) || !ps_read_text(&row->values, &value) ||
        !ps_read_int(&row->values, &degree) || !ps_read_list(&row->values, &holders))
        return bad_row(row, err);
    memset(x->holds, 0, x->nums_count);
    for (uint32_t i = 0; i < holders; i++) {
        uint32_t num = 0;
        if (!read_u32(&row->values, &num)) return bad_row(row, err);
        size_t at = place_of(x, num);
        if (at != SIZE_MAX) x->holds[at] = 1;
    }
    n.kind = graph_neo4j_kind_of(type);
    n.degree = degree_of(degree);
    if (n.kind == GRAPH_ITEM) return BRAID_OK;
    n.type = graph_neo4j_kinds[n.kind - GRAPH_GENRE].type;
    n.label = arena_strndup(x->mem, value.data, value.len);
    if (n.label == NULL) return graph_neo4j_no_memory(err);
    share_facet(x, &n);
    return BRAID_OK;
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_holder(const void *a, const void *b) {
    return compare_u32(&((const holder *)a)->num, &((const holder *)b)->num);
}

static bool shared_prepare(shared *x) {
    x->firsts = malloc(x->n * sizeof *x->firsts);
    x->nums = malloc(2 * x->n * sizeof *x->nums);
    x->holds = malloc(2 * x->n);
    if (x->firsts == NULL || x->nums == NULL || x->holds == NULL) return false;
    for (size_t i = 0; i < x->n; i++) {
        x->firsts[i] = (holder){x->pairs[i].a, i};
        x->nums[2 * i] = x->pairs[i].a;
        x->nums[2 * i + 1] = x->pairs[i].b;
    }
    qsort(x->firsts, x->n, sizeof *x->firsts, compare_holder);
    qsort(x->nums, 2 * x->n, sizeof *x->nums, compare_u32);
    for (size_t i = 0; i < 2 * x->n; i++)
        if (x->nums_count == 0 || x->nums[x->nums_count - 1] != x->nums[i]) x->nums[x->nums_count++] = x->nums[i];
    return true;
}

static void shared_ask(shared *x, graph_neo4j_request *rq) {
    buf *p = graph_neo4j_ask(rq, graph_neo4j_statements.shared_relations, see_shared_relation, x);
    size_t count = 0;
    ps_put_map(p, 1);
    ps_put_str(p, "pairs");
    size_t at = ps_open_list(p);
    for (size_t i = 0; i < x->n; i++) {
        if (x->pairs[i].a == x->pairs[i].b) continue;
        ps_put_list(p, 3);
        ps_put_int(p, (int64_t)i);
        ps_put_int(p, x->pairs[i].a);
        ps_put_int(p, x->pairs[i].b);
        count++;
    }
    ps_close(p, at, count);
    p = graph_neo4j_ask(rq, graph_neo4j_statements.shared_facets, see_shared_facet, x);
    ps_put_map(p, 1);
    ps_put_str(p, "nums");
    ps_put_list(p, x->nums_count);
    for (size_t i = 0; i < x->nums_count; i++) ps_put_int(p, x->nums[i]);
}

int graph_neo4j_shared(void *self, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                       size_t *counts, arena *mem, braid_error *err) {
    graph_neo4j *g = self;
    shared x = {.pairs = pairs, .n = n, .max = max, .out = out, .counts = counts, .mem = mem};
    graph_neo4j_request rq = {0};
    bolt_call call = {.access = BOLT_READ, .until = until};
    for (size_t i = 0; i < n; i++) counts[i] = 0;
    int rc = shared_prepare(&x) ? BRAID_OK : graph_neo4j_no_memory(err);
    if (rc == BRAID_OK) {
        shared_ask(&x, &rq);
        rc = graph_neo4j_run(g, &rq, &call, err);
    }
    graph_neo4j_request_free(&rq);
    free(x.firsts);
    free(x.nums);
    free(x.holds);
    return rc;
}

/* ---- everything ---- */

typedef struct scanner {
    graph_node_fn *item_fn;
    bool (*edge_fn)(void *ctx, const graph_edge *e);
    void *ctx;
    int64_t after;
    size_t rows;
    char type[128];
} scanner;

static bool read_version(ps_reader *r, bool *known, uint64_t *version) {
    bool none;
    int64_t value = 0;
    if (!ps_read_null(r, &none) || (!none && !ps_read_int(r, &value))) return false;
    *known = !none;
    *version = value > 0 ? (uint64_t)value : 0;
    return true;
}

static bool scan_edge(scanner *x, ps_reader *r, uint32_t from) {
    graph_edge e = {.from = from, .type = x->type};
    uint32_t fields;
    ps_text type;
    bool known;
    if (!ps_read_list(r, &fields) || !read_u32(r, &e.to) || !ps_read_text(r, &type) || !read_strength(r, &e.strength) ||
        !read_version(r, &known, &e.version))
        return false;
    ps_text_copy(type, x->type, sizeof x->type);
    if (x->edge_fn != NULL && !x->edge_fn(x->ctx, &e)) x->edge_fn = NULL;
    return true;
}

static int see_scanned(void *ctx, bolt_row *row, braid_error *err) {
    scanner *x = ctx;
    uint32_t num = 0, facets = 0, edges;
    uint64_t version;
    bool known;
    if (!read_u32(&row->values, &num) || !read_version(&row->values, &known, &version) ||
        !read_u32(&row->values, &facets) || !ps_read_list(&row->values, &edges))
        return bad_row(row, err);
    x->after = num;
    x->rows++;
    if (known && x->item_fn != NULL && !x->item_fn(x->ctx, num, version, facets)) x->item_fn = NULL;
    for (uint32_t i = 0; i < edges; i++)
        if (!scan_edge(x, &row->values, num)) return bad_row(row, err);
    return BRAID_OK;
}

/* Page by page in the order of numbers: each page is a request of its own, with its own time. A function that has said
 * that it wants no more is not called again; when neither wants more, the scan ends. */
int graph_neo4j_scan(void *self, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
                     braid_error *err) {
    graph_neo4j *g = self;
    scanner x = {.item_fn = item_fn, .edge_fn = edge_fn, .ctx = ctx, .after = -1, .rows = GRAPH_NEO4J_PAGE};
    int rc = BRAID_OK;
    while (rc == BRAID_OK && x.rows == GRAPH_NEO4J_PAGE && (x.item_fn != NULL || x.edge_fn != NULL)) {
        graph_neo4j_request rq = {0};
        bolt_call call = graph_neo4j_write_call(g, NULL);
        call.access = BOLT_READ;
        buf *p = graph_neo4j_ask(&rq, graph_neo4j_statements.scan, see_scanned, &x);
        ps_put_map(p, 3);
        ps_put_str(p, "after");
        ps_put_int(p, x.after);
        ps_put_str(p, "most");
        ps_put_int(p, GRAPH_NEO4J_PAGE);
        ps_put_str(p, "edges");
        ps_put_bool(p, x.edge_fn != NULL);
        x.rows = 0;
        rc = graph_neo4j_run(g, &rq, &call, err);
        graph_neo4j_request_free(&rq);
    }
    return rc;
}

/* ---- is it sound? ---- */

static int see_problem(void *ctx, bolt_row *row, braid_error *err) {
    ps_text text;
    char line[256];
    if (!ps_read_text(&row->values, &text)) return bad_row(row, err);
    ps_text_copy(text, line, sizeof line);
    buf_printf(ctx, "%s\n", line);
    return BRAID_OK;
}

int graph_neo4j_check(void *self, buf *problems, braid_error *err) {
    graph_neo4j *g = self;
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < sizeof graph_neo4j_statements.check / sizeof(char *); i++) {
        graph_neo4j_request rq = {0};
        bolt_call call = graph_neo4j_write_call(g, NULL);
        call.access = BOLT_READ;
        buf *p = graph_neo4j_ask(&rq, graph_neo4j_statements.check[i], see_problem, problems);
        ps_put_map(p, 1);
        ps_put_str(p, "most");
        ps_put_int(p, PROBLEMS_MAX);
        rc = graph_neo4j_run(g, &rq, &call, err);
        graph_neo4j_request_free(&rq);
    }
    return rc == BRAID_OK && problems->failed ? graph_neo4j_no_memory(err) : rc;
}
