/* The item-item models as answers read them.
 *
 * The record store holds them per target item; an answer starts from what a person did, so they are turned round when
 * they are read: per source its targets. A set is immutable and counted: a new one is made beside the old and takes its
 * place in one step, so an answer that began with a set ends with it.
 *
 * Kept whole in memory: 100,000 items with 50 edges each are 40 MB a model. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "policy/times.h"

typedef struct model_baselines {
    policy_baselines shown; /* first */
    atomic_uint refs;
} model_baselines;

typedef struct model_set {
    policy_model_set shown; /* first: this is what readers hold */
    policy_weights weights;
    atomic_uint refs;
} model_set;

struct policy_models {
    record_store *record;
    metric_counter *edges;
    pthread_mutex_t lock;
    model_set *set;             /* NULL: nothing was learned */
    model_baselines *baselines; /* of the next set */
};

const char *policy_model_name(policy_model m) {
    static const char *const names[POLICY_MODEL_COUNT] = {"slim", "together", "follows", "next", "content", "ridge"};
    return names[m];
}

static void baselines_release(model_baselines *b) {
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1) return;
    learn_edges_free((learn_edges *)b->shown.cosine);
    learn_ease_free((learn_ease *)b->shown.ease);
    policy_times_free((policy_times *)b->shown.times);
    free(b);
}

static void set_release(model_set *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    for (int m = 0; m < POLICY_MODEL_COUNT; m++) learn_edges_free((learn_edges *)s->shown.from[m]);
    baselines_release((model_baselines *)s->shown.baselines);
    free(s);
}

int policy_models_open(record_store *record, metrics *m, policy_models **out, braid_error *err) {
    policy_models *p = *out = calloc(1, sizeof *p);
    if (!p || pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        *out = NULL;
        return error_set(err, BRAID_E_NO_MEMORY, "policy/models", "no memory for what was learned of items");
    }
    p->record = record;
    if (m) p->edges = metrics_gauge(m, "learned_edges", "", "Edges between items in the learned models in memory.");
    return BRAID_OK;
}

void policy_models_close(policy_models *p) {
    if (!p) return;
    set_release(p->set);
    baselines_release(p->baselines);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const policy_model_set *policy_models_get(policy_models *p) {
    pthread_mutex_lock(&p->lock);
    model_set *s = p->set;
    if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return s ? &s->shown : NULL;
}

void policy_models_release(const policy_model_set *set) {
    set_release((model_set *)set);
}

int policy_models_compare(policy_models *p, learn_edges *cosine, learn_ease *ease, policy_times *times,
                          braid_error *err) {
    model_baselines *b = calloc(1, sizeof *b);
    if (!b) {
        learn_edges_free(cosine);
        learn_ease_free(ease);
        policy_times_free(times);
        return error_set(err, BRAID_E_NO_MEMORY, "policy/models", "no memory for models to compare with");
    }
    *b = (model_baselines){.shown = {cosine, ease, times}};
    atomic_init(&b->refs, 1);
    pthread_mutex_lock(&p->lock);
    model_baselines *old = p->baselines;
    p->baselines = b;
    pthread_mutex_unlock(&p->lock);
    baselines_release(old);
    return BRAID_OK;
}

/* ---- loading ---- */
/* Rows come in the order of targets; how far numbers go is known only at the end, so they are gathered flat first. */
typedef struct loading {
    uint32_t *target;
    learn_edge *edge;
    size_t count, cap;
    uint32_t items;
    int64_t at;
    bool no_memory;
} loading;

static bool loading_grow(loading *l, size_t more) {
    if (l->cap - l->count >= more) return true;
    size_t cap = l->cap * 2 > l->count + more ? l->cap * 2 : l->count + more + 4096;
    uint32_t *target = realloc(l->target, cap * sizeof *target);
    if (target) l->target = target;
    learn_edge *edge = target ? realloc(l->edge, cap * sizeof *edge) : NULL;
    if (!edge) return false;
    l->edge = edge;
    l->cap = cap;
    return true;
}

static bool loading_row(void *ctx, const record_neighbours *row) {
    loading *l = ctx;
    l->no_memory = !loading_grow(l, row->count);
    if (l->no_memory) return false;
    if (row->num >= l->items) l->items = row->num + 1;
    if (row->at > l->at) l->at = row->at;
    for (size_t i = 0; i < row->count; i++, l->count++) {
        l->target[l->count] = row->num;
        l->edge[l->count] = (learn_edge){row->list[i].num, row->list[i].weight};
        if (row->list[i].num >= l->items) l->items = row->list[i].num + 1;
    }
    return true;
}

/* One model; *out NULL if it was not learned. */
static int model_load(policy_models *p, policy_model m, uint32_t *items, int64_t *at, learn_edges **out,
                      braid_error *err) {
    loading l = {.items = *items, .at = *at};
    learn_edges *by_target = NULL;
    *out = NULL;
    int rc = record_scan_neighbours(p->record, policy_model_name(m), 0, loading_row, &l, err);
    if (rc == BRAID_OK && l.no_memory)
        rc = error_set(err, BRAID_E_NO_MEMORY, "policy/models", "no memory for what was learned of items");
    if (rc == BRAID_OK && l.count) rc = learn_edges_of(l.items, l.target, l.edge, l.count, &by_target, err);
    if (rc == BRAID_OK && by_target && m >= POLICY_MODEL_CONTENT) {
        *out = by_target;
        by_target = NULL;
    }
    if (rc == BRAID_OK && by_target) rc = learn_edges_transpose(by_target, out, err);
    *items = l.items;
    *at = l.at;
    learn_edges_free(by_target);
    free(l.target);
    free(l.edge);
    return rc;
}

static bool weights_row(void *ctx, size_t which, const record_policy *row) {
    (void)which;
    return policy_weights_read(row, ctx);
}

static int weights_load(policy_models *p, policy_weights *w, braid_error *err) {
    const record_policy_key key = {"", POLICY_RANKING_STATE};
    *w = policy_weights_default();
    return record_get_policies(p->record, POLICY_RANKING_AGENT, &key, 1, 0, weights_row, w, err);
}

int policy_models_load(policy_models *p, braid_error *err) {
    model_set *s = calloc(1, sizeof *s);
    if (!s) return error_set(err, BRAID_E_NO_MEMORY, "policy/models", "no memory for what was learned of items");
    atomic_init(&s->refs, 1);
    uint64_t edges = 0;
    int rc = BRAID_OK;
    for (int m = 0; m < POLICY_MODEL_COUNT && rc == BRAID_OK; m++) {
        learn_edges *from = NULL;
        rc = model_load(p, (policy_model)m, &s->shown.items, &s->shown.at, &from, err);
        s->shown.from[m] = from;
        edges += from ? from->count : 0;
    }
    if (rc == BRAID_OK) rc = weights_load(p, &s->weights, err);
    s->shown.weights = &s->weights;
    if (rc != BRAID_OK || edges == 0) {
        set_release(s);
        s = NULL;
    }
    if (rc != BRAID_OK) return rc;
    pthread_mutex_lock(&p->lock);
    model_set *old = p->set;
    if (s && p->baselines) {
        atomic_fetch_add_explicit(&p->baselines->refs, 1, memory_order_relaxed);
        s->shown.baselines = &p->baselines->shown;
    }
    p->set = s;
    pthread_mutex_unlock(&p->lock);
    set_release(old);
    metric_set(p->edges, (double)edges);
    return BRAID_OK;
}
