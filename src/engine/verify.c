/* Verify: every derived store against the record store, by key and content; repair feeds again what differs.
 *
 * Both sides are compared while the feeds stand at the head of the log; what a feed is still behind on is waited for,
 * not reported. The record store's own integrity (pages, log order, relations with both ends) is part of the answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

enum { EXAMPLES = 10, WAIT_MS = 30000 };
static const float SAME =
    1e-4f; /* largest difference of a component of two unit vectors that are the same but for rounding */

typedef struct finding {
    const char *store;
    uint64_t missing, extra, different, repaired;
    char examples[EXAMPLES][MODEL_ID_BYTES_MAX + 1];
    size_t example_count;
} finding;

typedef struct verifier {
    braid_db *db;
    bool repair;
    braid_progress *progress;
    void *progress_ctx;
    braid_error *err;
    int rc;
    finding catalogue, vector, graph;
    bitset items; /* numbers that the record store has */
    uint64_t done, total;
    uint64_t relations;
    uint32_t *wrong;
    size_t wrong_count, wrong_cap; /* numbers to feed again */
    float *stored, *expected;
} verifier;

static void example(finding *f, const char *id) {
    if (f->example_count < EXAMPLES) snprintf(f->examples[f->example_count++], sizeof f->examples[0], "%s", id);
}

static bool mark_wrong(verifier *v, uint32_t num) {
    if (v->wrong_count && v->wrong[v->wrong_count - 1] == num) return true;
    if (v->wrong_count == v->wrong_cap) {
        size_t cap = v->wrong_cap ? v->wrong_cap * 2 : 64;
        uint32_t *more = realloc(v->wrong, cap * sizeof *more);
        if (!more) {
            v->rc = error_set(v->err, BRAID_E_NO_MEMORY, "engine/verify", "no memory for the list of differences");
            return false;
        }
        v->wrong = more;
        v->wrong_cap = cap;
    }
    v->wrong[v->wrong_count++] = num;
    return true;
}

static bool tick(verifier *v, const char *phase) {
    v->done++;
    if (!v->progress || v->done % 256 != 0 || v->progress(v->progress_ctx, phase, v->done, v->total)) return true;
    v->rc = error_set(v->err, BRAID_E_CLOSED, "engine/verify", "stopped by request; nothing was changed");
    return false;
}

/* ---- each item of the record store, in every store ---- */
/* A store that cannot be asked is no difference: what it said goes to the caller instead. */
static bool unanswered(verifier *v, int rc, const braid_error *why) {
    if (rc == BRAID_OK || rc == BRAID_E_NOT_FOUND) return false;
    v->rc = error_set(v->err, rc, why->store, "%s", why->message);
    return true;
}

static bool vector_same(verifier *v, const record_item *row) {
    braid_error why = {0};
    uint32_t dim = v->db->dim;
    int rc = vector_fetch(v->db->vector, row->num, 0, v->stored, &why);
    if (unanswered(v, rc, &why)) return true;
    if (rc != BRAID_OK) {
        if (row->vector) v->vector.missing++;
        return row->vector == NULL;
    }
    if (!row->vector) {
        v->vector.extra++;
        return false;
    }
    memcpy(v->expected, row->vector, dim * sizeof(float));
    vector_normalise(v->expected, dim);
    for (uint32_t i = 0; i < dim; i++)
        if (!(fabsf(v->expected[i] - v->stored[i]) <= SAME)) {
            v->vector.different++;
            return false;
        }
    return true;
}

static bool catalogue_same(verifier *v, const record_item *row, const catalogue_card *card) {
    uint32_t num;
    if (!catalogue_num(v->db->catalogue, row->id, &num) || num != row->num || card->num == 0) {
        v->catalogue.missing++;
        return false;
    }
    if (card->version == row->version && strcmp(card->id, row->id) == 0) return true;
    v->catalogue.different++;
    return false;
}

typedef struct facets_seen {
    size_t count;
} facets_seen;

static bool count_facet(void *ctx, const graph_neighbour *n) {
    if (n->kind != GRAPH_ITEM) ((facets_seen *)ctx)->count++;
    return true;
}

/* Memberships are compared by number with the item as stored: genres, themes, moods, contexts and distinct people. */
static bool graph_same(verifier *v, const record_item *row, const catalogue_card *card) {
    facets_seen seen = {0};
    braid_error why = {0};
    int rc = graph_neighbours(v->db->graph, row->num, 0, count_facet, &seen, &why);
    if (unanswered(v, rc, &why)) return true;
    if (rc != BRAID_OK) {
        v->graph.missing++;
        return false;
    }
    if (card->num && card->version == row->version && card->facet_count != seen.count) {
        v->graph.different++;
        return false;
    }
    return true;
}

static bool verify_item(void *ctx, const record_item *row) {
    verifier *v = ctx;
    arena *a = arena_new(2048);
    catalogue_card *card = NULL;
    braid_error why = {0};
    int rc = a ? catalogue_get_cards(v->db->catalogue, &row->num, 1, a, &card, &why)
               : error_set(&why, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare items");
    if (unanswered(v, rc, &why)) {
        arena_free(a);
        return false;
    }
    bitset_set(&v->items, row->num);
    bool ok_vector = vector_same(v, row), ok_catalogue = catalogue_same(v, row, card),
         ok_graph = graph_same(v, row, card);
    if (!ok_vector) example(&v->vector, row->id);
    if (!ok_catalogue) example(&v->catalogue, row->id);
    if (!ok_graph) example(&v->graph, row->id);
    arena_free(a);
    if (v->rc) return false;
    if ((!ok_vector || !ok_catalogue || !ok_graph) && !mark_wrong(v, row->num)) return false;
    return tick(v, "comparing items");
}

/* ---- what a store has and the record store has not ---- */
static void extra(verifier *v, finding *f, uint32_t num) {
    char name[32];
    snprintf(name, sizeof name, "#%u", num);
    f->extra++;
    example(f, name);
    mark_wrong(v, num);
}

static bool extra_vector(void *ctx, uint32_t num, uint64_t version, const float *values) {
    (void)version;
    (void)values;
    verifier *v = ctx;
    if (!bitset_has(&v->items, num)) extra(v, &v->vector, num);
    return v->rc == BRAID_OK;
}

static bool extra_catalogue(void *ctx, uint32_t num, const char *id, uint64_t version) {
    (void)id;
    (void)version;
    verifier *v = ctx;
    if (!bitset_has(&v->items, num)) extra(v, &v->catalogue, num);
    return v->rc == BRAID_OK;
}

/* ---- relations ---- */
typedef struct edge_search {
    const record_relation *wanted;
    bool found;
} edge_search;

static bool match_edge(void *ctx, const graph_neighbour *n) {
    edge_search *s = ctx;
    if (n->kind == GRAPH_ITEM && n->outgoing && n->num == s->wanted->to_num &&
        strcmp(n->type, s->wanted->r.type) == 0 && fabs((double)n->strength - s->wanted->r.strength) < 1e-4)
        s->found = true;
    return !s->found;
}

static bool verify_relation(void *ctx, const record_relation *row) {
    verifier *v = ctx;
    edge_search s = {row, false};
    braid_error why = {0};
    v->relations++;
    int rc = graph_neighbours(v->db->graph, row->from_num, 0, match_edge, &s, &why);
    if (unanswered(v, rc, &why)) return false;
    if (s.found) return tick(v, "comparing relations");
    v->graph.missing++;
    example(&v->graph, row->r.from);
    if (v->repair) {
        graph_edge e = {row->from_num, row->to_num, row->r.type, (float)row->r.strength, row->version};
        v->rc = graph_upsert_relations(v->db->graph, &e, 1, v->err);
        v->graph.repaired += v->rc == BRAID_OK;
    }
    return v->rc == BRAID_OK && tick(v, "comparing relations");
}

/* What the graph holds and the record store does not: nodes always; edges only when the counts differ, since that is a
 * query an edge. */
typedef struct graph_audit {
    verifier *v;
    bool edges;
    graph_edge *held;
    size_t count, cap;
    arena *names;
} graph_audit;

static bool audit_node(void *ctx, uint32_t num, uint64_t version) {
    (void)version;
    verifier *v = ((graph_audit *)ctx)->v;
    if (!bitset_has(&v->items, num)) extra(v, &v->graph, num);
    return v->rc == BRAID_OK;
}

static bool audit_edge(void *ctx, const graph_edge *e) {
    graph_audit *x = ctx;
    if (!x->edges) return true;
    if (x->count == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 1024;
        graph_edge *more = realloc(x->held, cap * sizeof *more);
        if (more) {
            x->held = more;
            x->cap = cap;
        }
    }
    const char *type = x->count < x->cap ? arena_strdup(x->names, e->type) : NULL;
    if (!type) {
        x->v->rc = error_set(x->v->err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare relations");
        return false;
    }
    x->held[x->count] = *e;
    x->held[x->count++].type = type;
    return true;
}

typedef struct row_search {
    const graph_edge *edge;
    bool found;
} row_search;

static bool match_row(void *ctx, const record_relation *row) {
    row_search *s = ctx;
    if (row->from_num == s->edge->from && row->to_num == s->edge->to && strcmp(row->r.type, s->edge->type) == 0)
        s->found = true;
    return !s->found;
}

static int judge_edge(verifier *v, const graph_edge *e) {
    row_search s = {e, false};
    braid_error gone = {0};
    int rc = record_item_relations(v->db->record, e->from, match_row, &s, &gone);
    if (rc == BRAID_E_NOT_FOUND) rc = BRAID_OK;
    if (rc) return error_set(v->err, rc, gone.store, "%s", gone.message);
    if (s.found) return BRAID_OK;
    v->graph.extra++;
    example(&v->graph, e->type);
    if (!v->repair) return BRAID_OK;
    v->graph.repaired++;
    graph_edge no_more = *e;
    no_more.version = record_head(v->db->record);
    return graph_remove_relations(v->db->graph, &no_more, 1, v->err);
}

static int audit_graph(verifier *v) {
    graph_info g;
    graph_get_info(v->db->graph, &g);
    graph_audit x = {.v = v, .edges = g.relations > v->relations || v->graph.missing > 0, .names = arena_new(65536)};
    int rc = x.names ? graph_scan(v->db->graph, audit_node, audit_edge, &x, v->err)
                     : error_set(v->err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare relations");
    if (rc == BRAID_OK) rc = v->rc;
    for (size_t i = 0; i < x.count && rc == BRAID_OK; i++) rc = judge_edge(v, &x.held[i]);
    free(x.held);
    arena_free(x.names);
    return rc;
}

/* ---- the whole ---- */
static int compare(verifier *v) {
    record_info info;
    int rc = record_get_info(v->db->record, &info, v->err);
    if (rc) return rc;
    v->total = info.items + info.relations;
    /* Numbers given while this runs are above every bit: such items are new, and their feeds are on the way. */
    if (!bitset_init(&v->items, catalogue_bits(v->db->catalogue) +
                                    (uint32_t)(info.head_lsn < 1000000 ? info.head_lsn : 1000000) + 1024))
        return error_set(v->err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare items");
    if ((rc = record_scan_items(v->db->record, 0, true, verify_item, v, v->err)) || (rc = v->rc)) return rc;
    if ((rc = vector_scan(v->db->vector, extra_vector, v, v->err)) || (rc = v->rc)) return rc;
    catalogue_scan(v->db->catalogue, extra_catalogue, v);
    if (v->rc) return v->rc;
    if ((rc = record_scan_relations(v->db->record, verify_relation, v, v->err)) || (rc = v->rc)) return rc;
    return audit_graph(v);
}

static int repair(verifier *v) {
    for (size_t i = 0; i < v->wrong_count; i++) {
        int rc = indexer_repair_item(v->db, v->wrong[i], v->err);
        if (rc) return rc;
    }
    v->vector.repaired += v->vector.missing + v->vector.extra + v->vector.different;
    v->catalogue.repaired += v->catalogue.missing + v->catalogue.extra + v->catalogue.different;
    v->graph.repaired += v->graph.different;
    return BRAID_OK;
}

static uint64_t problems(const finding *f) {
    return f->missing + f->extra + f->different;
}

static void print_finding(buf *b, const finding *f, bool first) {
    buf_printf(
        b, "%s{\"store\":\"%s\",\"missing\":%llu,\"extra\":%llu,\"different\":%llu,\"repaired\":%llu,\"examples\":[",
        first ? "" : ",", f->store, (unsigned long long)f->missing, (unsigned long long)f->extra,
        (unsigned long long)f->different, (unsigned long long)f->repaired);
    for (size_t i = 0; i < f->example_count; i++) {
        if (i) buf_putc(b, ',');
        buf_json_string(b, f->examples[i]);
    }
    buf_puts(b, "]}");
}

static int report(verifier *v, char **json) {
    buf b, integrity, graph_problems;
    vector_check_report check = {0};
    buf_init(&b, 0);
    buf_init(&integrity, 0);
    buf_init(&graph_problems, 0);
    int rc = record_integrity(v->db->record, true, &integrity, v->err);
    if (rc == BRAID_OK) rc = vector_check(v->db->vector, &check, v->err);
    if (rc == BRAID_OK) rc = graph_check(v->db->graph, &graph_problems, v->err);
    if (rc == BRAID_OK && (integrity.failed || graph_problems.failed))
        rc = error_set(v->err, BRAID_E_NO_MEMORY, "engine/verify", "no memory for the report");
    bool sound = rc == BRAID_OK && strcmp(integrity.data ? integrity.data : "", "ok") == 0 && check.problems == 0 &&
                 graph_problems.len == 0;
    uint64_t found = problems(&v->catalogue) + problems(&v->vector) + problems(&v->graph);
    buf_printf(&b, "{\"ok\":%s,\"stores\":[", sound && (found == 0 || v->repair) ? "true" : "false");
    print_finding(&b, &v->catalogue, true);
    print_finding(&b, &v->vector, false);
    print_finding(&b, &v->graph, false);
    buf_puts(&b, "],\"record\":{\"integrity\":");
    buf_json_string(&b, integrity.data ? integrity.data : "");
    buf_printf(&b, "},\"structure\":{\"vector_checked\":%llu,\"vector_problems\":%llu,\"vector_first\":",
               (unsigned long long)check.checked, (unsigned long long)check.problems);
    buf_json_string(&b, check.first);
    buf_puts(&b, ",\"graph\":");
    buf_json_string(&b, graph_problems.data ? graph_problems.data : "");
    buf_printf(&b, "},\"items\":%llu,\"relations\":%llu}", (unsigned long long)bitset_count(&v->items),
               (unsigned long long)v->relations);
    buf_free(&integrity);
    buf_free(&graph_problems);
    if (rc == BRAID_OK) return engine_text(&b, json, v->err);
    buf_free(&b);
    return rc;
}

int braid_verify(braid_db *db, bool fix, braid_progress *progress, void *ctx, char **json, braid_error *err) {
    *json = NULL;
    verifier *v = calloc(1, sizeof *v);
    if (!v) return error_set(err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare the stores");
    *v = (verifier){.db = db,
                    .repair = fix,
                    .progress = progress,
                    .progress_ctx = ctx,
                    .err = err,
                    .catalogue = {.store = "catalogue"},
                    .vector = {.store = vector_name(db->vector)},
                    .graph = {.store = graph_name(db->graph)}};
    v->stored = malloc(sizeof(float) * db->dim);
    v->expected = malloc(sizeof(float) * db->dim);
    int rc = v->stored && v->expected
                 ? braid_wait(db, NULL, WAIT_MS, err)
                 : error_set(err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare the stores");
    if (rc == BRAID_OK) rc = compare(v);
    if (rc == BRAID_OK && fix) rc = repair(v);
    if (rc == BRAID_OK) rc = report(v, json);
    bitset_free(&v->items);
    free(v->wrong);
    free(v->stored);
    free(v->expected);
    free(v);
    return rc;
}
