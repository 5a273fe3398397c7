/* The executor: runs the plan's steps and collects candidates.
 *
 *   vector_only        nearest neighbours of the target
 *   graph_only         a walk from the seeds
 *   hybrid_parallel    both at once (the walk on a worker when that pays), then each strand scores what the other
 *                      brought, then policy
 *   hybrid_sequential  nearest neighbours, then a walk asked only about those, then policy
 *   cached_only        no store: what is popular (a cached answer would have been given before)
 *
 * Every call carries the deadline; a strand that fails or is late is left out and named in `degraded`. An answer never
 * fails because a strand did. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "query/programme.h"

#define CAUGHT_UP_NS INT64_C(10000000000) /* longer than any store's "a moment ago" */

enum { SEQUENTIAL_SEEDS = 3, NARROW_TO = 5, NARROW_MIN = 60 };

/* ---- candidates ---- */
/* Candidates by number: open addressing over positions, at most half full, so a look-up is a probe or two. */
scored *candidate_of(query_run_state *q, uint32_t num) {
    uint32_t at = num * UINT32_C(2654435769) & q->slot_mask;
    while (q->slots[at]) {
        if (q->items[q->slots[at] - 1].num == num) return &q->items[q->slots[at] - 1];
        at = (at + 1) & q->slot_mask;
    }
    if (q->count == q->cap) return NULL;
    scored *s = &q->items[q->count++];
    q->slots[at] = (uint32_t)q->count;
    memset(s, 0, sizeof *s);
    s->num = num;
    s->affinity_facet = s->because = UINT32_MAX;
    s->policy.best = UINT32_MAX;
    return s;
}

const scored *candidate_find(const query_run_state *q, uint32_t num) {
    for (size_t i = 0; i < q->count; i++) /* slots went when the list was put in order */
        if (q->items[i].num == num) return &q->items[i];
    return NULL;
}

static void find_slots(query_run_state *q) {
    memset(q->slots, 0, (q->slot_mask + 1) * sizeof *q->slots);
    for (size_t i = 0; i < q->count; i++) {
        uint32_t at = q->items[i].num * UINT32_C(2654435769) & q->slot_mask;
        while (q->slots[at]) at = (at + 1) & q->slot_mask;
        q->slots[at] = (uint32_t)i + 1;
    }
}

void candidates_mark(query_run_state *q, bool ranked) {
    for (size_t i = 0; i < q->count; i++) q->items[i].ranked = ranked;
}

void candidates_keep_ranked(query_run_state *q) {
    size_t kept = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].ranked) q->items[kept++] = q->items[i];
    q->count = kept;
    find_slots(q);
}

static int make_room(query_run_state *q, braid_error *err) {
    size_t graph = q->plan.fetch * GRAPH_WIDTH < GRAPH_K_MAX ? q->plan.fetch * GRAPH_WIDTH : GRAPH_K_MAX;
    q->cap = q->plan.fetch * 2 + graph + q->rq->k * 2 + learned_room(q) + rules_room(q) + 16;
    uint32_t slots = 64;
    while (slots < q->cap * 2) slots *= 2;
    q->slot_mask = slots - 1;
    q->items = arena_alloc(q->a, q->cap * sizeof *q->items);
    q->slots = arena_calloc(q->a, slots, sizeof *q->slots);
    return q->items && q->slots ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for candidates");
}

/* Whether a remote store may leave out what was written a moment ago: not when the question names a write, nor soon
 * after somebody has waited for the stores to catch up. */
static bool may_be_late(const query_run_state *q) {
    const _Atomic int64_t *at = q->rooms->caught_up_ns;
    int64_t caught_up = at ? atomic_load(at) : 0;
    bool just_now = caught_up != 0 && clock_mono_ns(q->rooms->clock) - caught_up < CAUGHT_UP_NS;
    return q->rq->min_lsn == 0 && !just_now;
}

/* ---- vector ---- */
static void gather_vector(query_run_state *q) {
    if (!q->vector || q->allow_count == 0) return;
    run_step *step = run_step_add(q, "vector", q->plan.vector_method, q->plan.vector_us, q->plan.vector_rows);
    int64_t begun = clock_mono_ns(q->rooms->clock);
    candidate *found = arena_alloc(q->a, q->plan.fetch * sizeof *found);
    size_t n = 0;
    vector_stats stats = {0};
    vector_query vq = {.values = q->vector,
                       .k = q->plan.fetch,
                       .ef = q->rooms->ef_search,
                       .allow = q->filtered ? &q->allow : NULL,
                       .allow_count = q->allow_count,
                       .where = q->where,
                       .until = q->gather_until,
                       .bounded = may_be_late(q),
                       .fresh = q->rq->min_lsn != 0}; /* maybe another server of ours has written what is asked for */
    braid_error err = {0};
    int rc = found ? vector_search(q->rooms->vector, &vq, found, &n, &stats, &err) : BRAID_E_NO_MEMORY;
    if (rc != BRAID_OK || stats.stopped == VECTOR_STOP_DEADLINE) run_degraded(q, vector_name(q->rooms->vector));
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        scored *s = candidate_of(q, found[i].num);
        if (!s) break;
        s->raw[STRAND_VECTOR] = found[i].score;
        s->has[STRAND_VECTOR] = true;
    }
    step->method = stats.method ? stats.method : step->method;
    step->rows = (double)n;
    step->actual_us = q->us_vector = run_elapsed_us(q, begun);
}

/* Likeness of the candidates that other strands brought. */
static void enrich_vector(query_run_state *q) {
    if (!q->vector) return;
    int64_t begun = clock_mono_ns(q->rooms->clock);
    uint32_t *nums = arena_alloc(q->a, (q->count + 1) * sizeof *nums);
    float *scores = arena_alloc(q->a, (q->count + 1) * sizeof *scores);
    size_t n = 0;
    if (!nums || !scores) {
        run_degraded(q, vector_name(q->rooms->vector));
        return;
    }
    for (size_t i = 0; i < q->count; i++)
        if (!q->items[i].has[STRAND_VECTOR]) nums[n++] = q->items[i].num;
    if (n == 0) return;
    run_step *step = run_step_add(q, "enrich_vector", "exact", 0.2 * (double)n, (double)n);
    braid_error err = {0};
    if (vector_score(q->rooms->vector, q->vector, nums, n, q->gather_until, scores, &err) == BRAID_OK) {
        for (size_t i = 0; i < n; i++) {
            scored *s = candidate_of(q, nums[i]);
            if (!s || scores[i] == SIMILARITY_NONE) continue;
            s->raw[STRAND_VECTOR] = scores[i];
            s->has[STRAND_VECTOR] = true;
            step->rows++;
        }
    } else {
        run_degraded(q, vector_name(q->rooms->vector));
    }
    step->rows = (double)n;
    step->actual_us = run_elapsed_us(q, begun);
    q->us_vector += step->actual_us;
}

/* ---- graph: a job that can run on a worker; it touches nothing of the run but what it owns ---- */
typedef struct walk_job {
    pool_job job; /* first: the pool hands this back */
    const query_rooms *rooms;
    graph_walk walk;
    graph_hit *hits;
    size_t count;
    graph_stats stats;
    int rc;
    double actual_us;
} walk_job;

static void walk_run(pool_job *job) {
    walk_job *w = (walk_job *)job;
    int64_t begun = clock_mono_ns(w->rooms->clock);
    braid_error err = {0};
    w->rc = graph_walk_from(w->rooms->graph, &w->walk, w->hits, &w->count, &w->stats, &err);
    w->actual_us = (double)(clock_mono_ns(w->rooms->clock) - begun) / 1000.0;
}

static walk_job *walk_new(query_run_state *q, const uint32_t *seeds, const float *weights, size_t n,
                          const bitset *allow, size_t k) {
    walk_job *w = arena_calloc(q->a, 1, sizeof *w);
    graph_hit *hits = arena_alloc(q->a, k * sizeof *hits);
    if (!w || !hits) { /* no memory: the answer goes without this strand, and says so */
        run_degraded(q, graph_name(q->rooms->graph));
        return NULL;
    }
    w->job.run = walk_run;
    w->rooms = q->rooms;
    w->walk = (graph_walk){.seeds = seeds,
                           .seed_weights = weights,
                           .seed_count = n,
                           .depth = 2,
                           .k = k,
                           .allow = allow,
                           .until = q->gather_until};
    w->hits = hits;
    return w;
}

static void walk_take(query_run_state *q, walk_job *w) {
    run_step *step = run_step_add(q, "graph", w->stats.truncated ? "walk, cut at visits_max" : "walk", q->plan.graph_us,
                                  q->plan.graph_rows);
    if (w->rc != BRAID_OK || w->stats.deadline) run_degraded(q, graph_name(q->rooms->graph));
    for (size_t i = 0; w->rc == BRAID_OK && i < w->count; i++) {
        scored *s = candidate_of(q, w->hits[i].num);
        if (!s) break;
        s->raw[STRAND_GRAPH] = w->hits[i].score;
        s->has[STRAND_GRAPH] = true;
        s->hit = &w->hits[i];
    }
    step->rows = (double)w->count;
    step->actual_us = q->us_graph = w->actual_us;
}

static size_t graph_width(const query_run_state *q) {
    size_t wide = q->plan.fetch * GRAPH_WIDTH;
    return wide < GRAPH_K_MAX ? wide : GRAPH_K_MAX;
}

static walk_job *walk_from_seeds(query_run_state *q, size_t k) {
    if (q->seed_count == 0 || q->allow_count == 0) return NULL;
    return walk_new(q, q->seeds, q->seed_weights, q->seed_count, q->filtered ? &q->allow : NULL, k);
}

/* A store in another process must not hold up those in this one. */
static pool_lane walk_lane(const query_run_state *q) {
    return graph_caps_of(q->rooms->graph) & GRAPH_CAP_REMOTE ? POOL_SLOW : POOL_FAST;
}

/* ---- the two hybrids ---- */
/* A walk never returns its seeds; those that are candidates themselves stand at its centre and get what the best of the
 * reached got. */
static void credit_seeds(query_run_state *q, const uint32_t *seeds, size_t n) {
    float best = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].raw[STRAND_GRAPH] > best) best = q->items[i].raw[STRAND_GRAPH];
    for (size_t i = 0; i < n && best > 0; i++) {
        if (!bitset_has(&q->allow, seeds[i])) continue;
        scored *s = candidate_of(q, seeds[i]);
        if (!s || !s->has[STRAND_VECTOR]) continue;
        s->raw[STRAND_GRAPH] = best;
        s->has[STRAND_GRAPH] = true;
    }
}

static void gather_parallel(query_run_state *q) {
    walk_job *w = walk_from_seeds(q, graph_width(q));
    bool on_worker = w && q->plan.overlap && pool_submit(q->rooms->pool, &w->job, walk_lane(q));
    gather_vector(q);
    if (!w) return;
    /* The walk carries the same deadline, so waiting for one that has begun is bounded. */
    if (!on_worker)
        walk_run(&w->job);
    else if (!pool_wait(q->rooms->pool, &w->job, q->gather_until) && pool_cancel(q->rooms->pool, &w->job))
        w->rc = BRAID_E_DEADLINE;
    else
        pool_wait(q->rooms->pool, &w->job, 0);
    walk_take(q, w);
    enrich_vector(q);
    credit_seeds(q, q->seeds, q->seed_count);
}

static void gather_sequential(query_run_state *q) {
    gather_vector(q);
    uint32_t seeds[QUERY_SEEDS_MAX];
    float weights[QUERY_SEEDS_MAX];
    size_t n = 0;
    for (; n < q->seed_count && n < QUERY_SEEDS_MAX - SEQUENTIAL_SEEDS; n++) {
        seeds[n] = q->seeds[n];
        weights[n] = q->seed_weights[n];
    }
    for (size_t i = 0; n < SEQUENTIAL_SEEDS && i < q->count; i++) {
        seeds[n] = q->items[i].num;
        weights[n++] = 0.5f;
    }
    bitset brought;
    if (n == 0 || q->count == 0) return;
    if (!bitset_init(&brought, q->allow.bits)) {
        run_degraded(q, graph_name(q->rooms->graph));
        return;
    }
    for (size_t i = 0; i < q->count; i++) bitset_set(&brought, q->items[i].num);
    uint32_t *kept = arena_alloc(q->a, sizeof seeds);
    float *kept_weights = arena_alloc(q->a, sizeof weights);
    walk_job *w = NULL;
    if (!kept || !kept_weights) {
        run_degraded(q, graph_name(q->rooms->graph));
    } else {
        memcpy(kept, seeds, n * sizeof *seeds);
        memcpy(kept_weights, weights, n * sizeof *weights);
        w = walk_new(q, kept, kept_weights, n, &brought, q->count);
    }
    if (w) {
        walk_run(&w->job);
        walk_take(q, w);
        credit_seeds(q, kept, n);
    }
    bitset_free(&brought);
}

/* ---- narrowing ---- */
static int by_fused(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->fused != y->fused) return x->fused > y->fused ? -1 : 1;
    return x->num < y->num ? -1 : x->num > y->num;
}

/* The walk reaches ten times what is wanted, so that vectors and graph can meet; what both find weak goes before cards
 * are read and policy is asked, which is where the time of a wide union went. */
static void narrow(query_run_state *q) {
    size_t keep = q->rq->k * NARROW_TO > NARROW_MIN ? q->rq->k * NARROW_TO : NARROW_MIN;
    if (q->count <= keep) return;
    fusion_combine(q);
    qsort(q->items, q->count, sizeof *q->items, by_fused);
    q->count = keep;
    find_slots(q);
}

/* ---- policy ---- */
/* Without a person there is no policy to ask: samples of what works for everybody would only stir a search. */
static bool policy_wanted(const query_run_state *q) {
    return q->plan.strategy != STRATEGY_VECTOR_ONLY && q->plan.strategy != STRATEGY_GRAPH_ONLY && q->rq->user[0];
}

static int gather_policy(query_run_state *q, braid_error *err) {
    run_step *step = run_step_add(q, "policy", "posteriors", q->plan.policy_us, (double)q->count);
    int64_t begun = clock_mono_ns(q->rooms->clock);
    uint32_t *nums = arena_alloc(q->a, (q->count + 1) * sizeof *nums);
    catalogue_card *cards = NULL;
    if (!nums) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for candidates");
    for (size_t i = 0; i < q->count; i++) nums[i] = q->items[i].num;
    int rc = catalogue_get_cards(q->rooms->catalogue, nums, q->count, q->a, &cards, err);
    if (rc) return rc;
    for (size_t i = 0; i < q->count; i++) q->items[i].card = cards[i].num ? &cards[i] : NULL;
    if (!policy_wanted(q)) {
        q->step_count--;
        return BRAID_OK;
    }
    if (!q->policy_load) policy_load_begin(q, false);
    policy_scorer *scorer = policy_load_take(q, &rc);
    if (rc) run_degraded(q, record_name(q->rooms->record));
    for (size_t i = 0; rc == BRAID_OK && i < q->count; i++) {
        scored *s = &q->items[i];
        if (!s->card) continue;
        s->policy = policy_score_item(scorer, s->card);
        s->raw[STRAND_POLICY] = s->policy.mean;
        s->has[STRAND_POLICY] = true;
    }
    step->rows = (double)q->count;
    step->actual_us = q->us_policy = run_elapsed_us(q, begun);
    return BRAID_OK;
}

/* What is popular joins a recommendation for somebody unknown, and fills up an answer that strands could not fill. */
static int gather_popular(query_run_state *q, size_t want, braid_error *err) {
    candidate *popular = arena_alloc(q->a, (want + 1) * sizeof *popular);
    if (!popular) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for candidates");
    run_step *step = run_step_add(q, "popular", "catalogue", 10, (double)want);
    int64_t begun = clock_mono_ns(q->rooms->clock);
    size_t n = catalogue_popular(q->rooms->catalogue, &q->allow, want, q->cold ? want / 4 + 1 : 0, popular);
    if (n == 0 && want > 0 && q->allow_count > 0) run_degraded(q, "catalogue"); /* it has no memory to rank with */
    for (size_t i = 0; i < n; i++) {
        scored *s = candidate_of(q, popular[i].num);
        if (!s) break;
        s->popular = true;
    }
    step->rows = (double)n;
    step->actual_us = run_elapsed_us(q, begun);
    return BRAID_OK;
}

int executor_gather(query_run_state *q, braid_error *err) {
    int rc = make_room(q, err);
    if (rc) return rc;
    if (policy_wanted(q) && q->plan.overlap_policy) policy_load_begin(q, true);
    switch (q->plan.strategy) {
    case STRATEGY_VECTOR_ONLY: gather_vector(q); break;
    case STRATEGY_GRAPH_ONLY: {
        walk_job *w = walk_from_seeds(q, q->plan.fetch);
        if (w) {
            walk_run(&w->job);
            walk_take(q, w);
        }
        break;
    }
    case STRATEGY_HYBRID_SEQUENTIAL: gather_sequential(q); break;
    case STRATEGY_CACHED_ONLY:
        run_note(q, "no store was asked and no cached answer was there: these are popular items");
        break;
    default: gather_parallel(q);
    }
    narrow(q);
    if (learned_wanted(q)) {
        if ((rc = learned_gather(q, err))) return rc;
        enrich_vector(q);
    }
    bool short_of_k = q->count < q->rq->k && q->count < q->allow_count;
    bool forced_single = q->rq->strategy == STRATEGY_VECTOR_ONLY || q->rq->strategy == STRATEGY_GRAPH_ONLY;
    if (q->allow_count && (q->cold || q->plan.strategy == STRATEGY_CACHED_ONLY || (short_of_k && !forced_single))) {
        rc = gather_popular(q, q->rq->k < 10 ? 10 : q->rq->k, err);
        if (rc) return rc;
        if (q->plan.strategy != STRATEGY_CACHED_ONLY) enrich_vector(q);
    }
    rc = rules_gather(q, err);
    return rc ? rc : gather_policy(q, err);
}
