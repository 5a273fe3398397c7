/* Verify: every derived store against the record store, by key and content; repair feeds again what differs.
 *
 * Two passes. The first reads each store once, in bulk (verify_held.h), and compares by number, hash and count: what
 * looks different is a suspect. The second waits for the feeds to reach the head of the log and asks the stores about
 * each suspect by itself: so a write that was under way is no finding, and a sound database costs one scan a store,
 * however far the store is. The record store's own integrity (pages, log order, relations with both ends) is part of
 * the answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"
#include "engine/verify_held.h"

enum { EXAMPLES = 10, WAIT_MS = 30000 };
static const float SAME =
    1e-4f; /* largest difference of a component of two unit vectors that are the same but for rounding */

typedef struct finding {
    const char *role, *store;
    uint64_t missing, extra, different, repaired;
    char examples[EXAMPLES][MODEL_ID_BYTES_MAX + 1];
    size_t example_count;
} finding;

/* A relation that looks different; the type is in the verifier's arena. */
typedef struct suspect_relation {
    uint32_t from, to;
    const char *type;
} suspect_relation;

typedef struct verifier {
    braid_db *db;
    bool repair;
    braid_progress *progress;
    void *progress_ctx;
    braid_error *err;
    int rc;
    finding catalogue, vector, graph;
    held held;
    bitset items; /* numbers that the record store has */
    uint64_t done, total;
    uint64_t relation_count;
    uint32_t *suspects;
    size_t suspect_count, suspect_cap;
    suspect_relation *relations;
    size_t relations_count, relations_cap;
    arena *names;
    float *stored, *expected;
} verifier;

static void example(finding *f, const char *id) {
    if (f->example_count < EXAMPLES) snprintf(f->examples[f->example_count++], sizeof f->examples[0], "%s", id);
}

static bool no_memory(verifier *v) {
    v->rc = error_set(v->err, BRAID_E_NO_MEMORY, "engine/verify", "no memory for the list of differences");
    return false;
}

static bool tick(verifier *v, const char *phase) {
    v->done++;
    if (!v->progress || v->done % 256 != 0 || v->progress(v->progress_ctx, phase, v->done, v->total)) return true;
    v->rc = error_set(v->err, BRAID_E_CLOSED, "engine/verify", "stopped by request; nothing was changed");
    return false;
}

/* ---- the first pass: suspects ---- */
static bool suspect(verifier *v, uint32_t num) {
    if (v->suspect_count && v->suspects[v->suspect_count - 1] == num) return true;
    if (v->suspect_count == v->suspect_cap) {
        size_t cap = v->suspect_cap ? v->suspect_cap * 2 : 64;
        uint32_t *more = realloc(v->suspects, cap * sizeof *more);
        if (!more) return no_memory(v);
        v->suspects = more;
        v->suspect_cap = cap;
    }
    v->suspects[v->suspect_count++] = num;
    return true;
}

static bool suspect_edge(verifier *v, uint32_t from, uint32_t to, const char *type) {
    if (v->relations_count == v->relations_cap) {
        size_t cap = v->relations_cap ? v->relations_cap * 2 : 64;
        suspect_relation *more = realloc(v->relations, cap * sizeof *more);
        if (!more) return no_memory(v);
        v->relations = more;
        v->relations_cap = cap;
    }
    const char *kept = arena_strdup(v->names, type);
    if (!kept) return no_memory(v);
    v->relations[v->relations_count++] = (suspect_relation){from, to, kept};
    return true;
}

/* The present card, or false with num 0; what the catalogue says of an item is borrowed from `a`. */
static bool card_of(verifier *v, const record_item *row, arena *a, catalogue_card **card) {
    braid_error why = {0};
    int rc = a ? catalogue_get_cards(v->db->catalogue, &row->num, 1, a, card, &why)
               : error_set(&why, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare items");
    if (rc == BRAID_OK || rc == BRAID_E_NOT_FOUND) return true;
    v->rc = error_set(v->err, rc, why.store, "%s", why.message);
    return false;
}

static bool catalogue_same(verifier *v, const record_item *row, const catalogue_card *card) {
    uint32_t num;
    return catalogue_num(v->db->catalogue, row->id, &num) && num == row->num && card->num != 0 &&
           card->version == row->version && strcmp(card->id, row->id) == 0;
}

static bool facets_same(const record_item *row, const catalogue_card *card, uint64_t seen) {
    return card->num == 0 || card->version != row->version || card->facet_count == seen;
}

static bool looks_same(verifier *v, const record_item *row, const catalogue_card *card) {
    const held_vector *vector = held_vector_of(&v->held, row->num);
    const held_node *node = held_node_of(&v->held, row->num);
    if (!vector != !row->vector || !node) return false;
    if (row->vector) {
        memcpy(v->expected, row->vector, v->held.row_bytes);
        vector_normalise(v->expected, v->db->dim);
        if (held_hash(v->expected, v->held.row_bytes) != vector->hash) return false;
    }
    bool old = node->version != 0 && node->version != row->version;
    return !old && facets_same(row, card, node->facets) && catalogue_same(v, row, card);
}

static bool first_item(void *ctx, const record_item *row) {
    verifier *v = ctx;
    arena *a = arena_new(2048);
    catalogue_card *card = NULL;
    bool fine = card_of(v, row, a, &card);
    if (fine) {
        bitset_set(&v->items, row->num);
        fine = looks_same(v, row, card) || suspect(v, row->num);
    }
    arena_free(a);
    return fine && tick(v, "comparing items");
}

static bool first_relation(void *ctx, const record_relation *row) {
    verifier *v = ctx;
    held_edge *e = held_edge_of(&v->held, row->from_num, row->to_num, row->r.type);
    v->relation_count++;
    if (e) e->known = true;
    bool same = e && fabs((double)e->strength - row->r.strength) < 1e-4;
    return (same || suspect_edge(v, row->from_num, row->to_num, row->r.type)) && tick(v, "comparing relations");
}

static bool extra_catalogue(void *ctx, uint32_t num, const char *id, uint64_t version) {
    (void)id;
    (void)version;
    verifier *v = ctx;
    return bitset_has(&v->items, num) || suspect(v, num);
}

static int first_pass(verifier *v) {
    record_info info;
    int rc = record_get_info(v->db->record, &info, v->err);
    if (rc) return rc;
    v->total = info.items + info.relations;
    /* Numbers given while this runs may be above every bit: such items are new, and suspects. */
    if (!bitset_init(&v->items, catalogue_bits(v->db->catalogue) + 1024)) {
        no_memory(v);
        return v->rc;
    }
    if ((rc = held_read(v->db, &v->held, v->err))) return rc;
    if ((rc = record_scan_items(v->db->record, 0, true, first_item, v, v->err)) || (rc = v->rc)) return rc;
    for (size_t i = 0; i < v->held.vector_count && !v->rc; i++)
        if (!bitset_has(&v->items, v->held.vectors[i].num)) suspect(v, v->held.vectors[i].num);
    for (size_t i = 0; i < v->held.node_count && !v->rc; i++)
        if (!bitset_has(&v->items, v->held.nodes[i].num)) suspect(v, v->held.nodes[i].num);
    if (!v->rc) catalogue_scan(v->db->catalogue, extra_catalogue, v);
    if ((rc = v->rc)) return rc;
    if ((rc = record_scan_relations(v->db->record, first_relation, v, v->err)) || (rc = v->rc)) return rc;
    for (size_t i = 0; i < v->held.edge_count && !v->rc; i++) {
        const held_edge *e = &v->held.edges[i];
        if (!e->known) suspect_edge(v, e->from, e->to, e->type);
    }
    return v->rc;
}

/* ---- the second pass: each suspect by itself ---- */
typedef enum difference { SOUND, MISSING, EXTRA, DIFFERENT } difference;

typedef struct judgement {
    difference catalogue, vector, graph;
    char id[MODEL_ID_BYTES_MAX + 1];
    bool there; /* in the record store */
} judgement;

static bool wrong(const judgement *j) {
    return j->catalogue != SOUND || j->vector != SOUND || j->graph != SOUND;
}

/* A store that cannot be asked is no difference: what it said goes to the caller instead. */
static bool unanswered(verifier *v, int rc, const braid_error *why) {
    if (rc == BRAID_OK || rc == BRAID_E_NOT_FOUND) return false;
    v->rc = error_set(v->err, rc, why->store, "%s", why->message);
    return true;
}

static difference judge_vector(verifier *v, uint32_t num, const float *wanted) {
    braid_error why = {0};
    uint32_t dim = v->db->dim;
    int rc = vector_fetch(v->db->vector, num, 0, v->stored, &why);
    if (unanswered(v, rc, &why)) return SOUND;
    if (rc != BRAID_OK) return wanted ? MISSING : SOUND;
    if (!wanted) return EXTRA;
    memcpy(v->expected, wanted, dim * sizeof(float));
    vector_normalise(v->expected, dim);
    for (uint32_t i = 0; i < dim; i++)
        if (!(fabsf(v->expected[i] - v->stored[i]) <= SAME)) return DIFFERENT;
    return SOUND;
}

static bool count_facet(void *ctx, const graph_neighbour *n) {
    if (n->kind != GRAPH_ITEM) ++*(uint64_t *)ctx;
    return true;
}

/* Memberships are compared by number with the item as stored: genres, themes, moods, contexts and distinct people. */
static difference judge_node(verifier *v, uint32_t num, const record_item *row, const catalogue_card *card) {
    uint64_t facets = 0;
    braid_error why = {0};
    int rc = graph_neighbours(v->db->graph, num, 0, count_facet, &facets, &why);
    if (unanswered(v, rc, &why)) return SOUND;
    if (!row) return rc == BRAID_OK ? EXTRA : SOUND;
    if (rc != BRAID_OK) return MISSING;
    return facets_same(row, card, facets) ? SOUND : DIFFERENT;
}

typedef struct judging {
    verifier *v;
    judgement *out;
} judging;

static bool judge_row(void *ctx, const record_item *row) {
    judging *x = ctx;
    verifier *v = x->v;
    arena *a = arena_new(2048);
    catalogue_card *card = NULL;
    uint32_t num;
    if (card_of(v, row, a, &card)) {
        x->out->there = true;
        snprintf(x->out->id, sizeof x->out->id, "%s", row->id);
        bool known = catalogue_num(v->db->catalogue, row->id, &num) && card->num != 0;
        x->out->catalogue = !known ? MISSING : catalogue_same(v, row, card) ? SOUND : DIFFERENT;
        x->out->vector = judge_vector(v, row->num, row->vector);
        x->out->graph = judge_node(v, row->num, row, card);
    }
    arena_free(a);
    return false;
}

static int judge_item(verifier *v, uint32_t num, judgement *out) {
    braid_error gone = {0};
    catalogue_card *card = NULL;
    *out = (judgement){0};
    int rc = record_get_item_num(v->db->record, num, judge_row, &(judging){v, out}, &gone);
    if (unanswered(v, rc, &gone) || v->rc || out->there) return v->rc;
    arena *a = arena_new(2048);
    snprintf(out->id, sizeof out->id, "#%u", num);
    if (card_of(v, &(record_item){.num = num}, a, &card)) {
        out->catalogue = card->num != 0 ? EXTRA : SOUND;
        out->vector = judge_vector(v, num, NULL);
        out->graph = judge_node(v, num, NULL, NULL);
    }
    arena_free(a);
    return v->rc;
}

static void count(finding *f, difference d, const char *id, bool repaired) {
    f->missing += d == MISSING;
    f->extra += d == EXTRA;
    f->different += d == DIFFERENT;
    f->repaired += d != SOUND && repaired;
    if (d != SOUND) example(f, id);
}

/* Fed again as it is; a store that remembers a removal of this very version takes it only when it is told to. */
static int mend_item(verifier *v, uint32_t num) {
    judgement after;
    int rc = indexer_repair_item(v->db, num, false, v->err);
    if (rc == BRAID_OK) rc = judge_item(v, num, &after);
    return rc == BRAID_OK && wrong(&after) ? indexer_repair_item(v->db, num, true, v->err) : rc;
}

static int second_item(verifier *v, uint32_t num) {
    judgement j;
    int rc = judge_item(v, num, &j);
    if (rc || !wrong(&j)) return rc;
    if (v->repair) rc = mend_item(v, num);
    count(&v->catalogue, j.catalogue, j.id, v->repair);
    count(&v->vector, j.vector, j.id, v->repair);
    count(&v->graph, j.graph, j.id, v->repair);
    return rc;
}

/* ---- the same for a relation ---- */
typedef struct relation_judging {
    const suspect_relation *r;
    bool recorded, held, same;
    double strength;
    uint64_t version;
    char from[MODEL_ID_BYTES_MAX + 1];
} relation_judging;

static bool see_recorded(void *ctx, const record_relation *row) {
    relation_judging *x = ctx;
    if (row->from_num != x->r->from || row->to_num != x->r->to || strcmp(row->r.type, x->r->type) != 0) return true;
    x->recorded = true;
    x->strength = row->r.strength;
    x->version = row->version;
    snprintf(x->from, sizeof x->from, "%s", row->r.from);
    return false;
}

static bool see_held(void *ctx, const graph_neighbour *n) {
    relation_judging *x = ctx;
    if (n->kind != GRAPH_ITEM || !n->outgoing || n->num != x->r->to || strcmp(n->type, x->r->type) != 0) return true;
    x->held = true;
    x->same = fabs((double)n->strength - x->strength) < 1e-4;
    return false;
}

static int judge_relation(verifier *v, const suspect_relation *r, relation_judging *x) {
    braid_error why = {0};
    *x = (relation_judging){.r = r};
    if (!unanswered(v, record_item_relations(v->db->record, r->from, see_recorded, x, &why), &why))
        unanswered(v, graph_neighbours(v->db->graph, r->from, 0, see_held, x, &why), &why);
    return v->rc;
}

static int mend_relation(verifier *v, const relation_judging *x, bool force) {
    uint64_t version = force ? 0 : x->recorded ? x->version : record_head(v->db->record);
    graph_edge e = {x->r->from, x->r->to, x->r->type, (float)x->strength, version};
    pthread_rwlock_wrlock(&v->db->graph_writer);
    int rc = x->recorded ? graph_upsert_relations(v->db->graph, &e, 1, v->err)
                         : graph_remove_relations(v->db->graph, &e, 1, v->err);
    pthread_rwlock_unlock(&v->db->graph_writer);
    return rc;
}

static bool relation_wrong(const relation_judging *x) {
    return x->recorded != x->held || (x->held && !x->same);
}

static int second_relation(verifier *v, const suspect_relation *r) {
    relation_judging x, after;
    int rc = judge_relation(v, r, &x);
    if (rc || !relation_wrong(&x)) return rc;
    count(&v->graph, !x.held ? MISSING : x.recorded ? DIFFERENT : EXTRA, x.recorded ? x.from : r->type, v->repair);
    if (!v->repair) return BRAID_OK;
    rc = mend_relation(v, &x, false);
    if (rc == BRAID_OK) rc = judge_relation(v, r, &after);
    return rc == BRAID_OK && relation_wrong(&after) ? mend_relation(v, &x, true) : rc;
}

static int second_pass(verifier *v) {
    if (v->suspect_count + v->relations_count == 0) return BRAID_OK;
    int rc = braid_wait(v->db, NULL, WAIT_MS, v->err);
    for (size_t i = 0; i < v->suspect_count && rc == BRAID_OK; i++) rc = second_item(v, v->suspects[i]);
    for (size_t i = 0; i < v->relations_count && rc == BRAID_OK; i++) rc = second_relation(v, &v->relations[i]);
    return rc;
}

/* ---- the whole ---- */
static uint64_t problems(const finding *f) {
    return f->missing + f->extra + f->different;
}

static void print_finding(buf *b, const finding *f, bool first) {
    buf_printf(
        b,
        "%s{\"role\":\"%s\",\"store\":\"%s\",\"missing\":%llu,\"extra\":%llu,\"different\":%llu,\"repaired\":%llu,\"examples\":[",
        first ? "" : ",", f->role, f->store, (unsigned long long)f->missing, (unsigned long long)f->extra,
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
               (unsigned long long)v->relation_count);
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
                    .catalogue = {.role = "catalogue", .store = "catalogue"},
                    .vector = {.role = "vector", .store = vector_name(db->vector)},
                    .graph = {.role = "graph", .store = graph_name(db->graph)}};
    v->stored = malloc(sizeof(float) * db->dim);
    v->expected = malloc(sizeof(float) * db->dim);
    v->names = arena_new(4096);
    int rc = v->stored && v->expected && v->names
                 ? braid_wait(db, NULL, WAIT_MS, err)
                 : error_set(err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare the stores");
    if (rc == BRAID_OK) rc = first_pass(v);
    if (rc == BRAID_OK) rc = second_pass(v);
    if (rc == BRAID_OK) rc = report(v, json);
    bitset_free(&v->items);
    held_free(&v->held);
    free(v->suspects);
    free(v->relations);
    arena_free(v->names);
    free(v->stored);
    free(v->expected);
    free(v);
    return rc;
}
