/* The scope of a run: who asks, what may be shown to them at all, and where the strands can start from.
 *
 * Everything that decides membership (filter, rights, constraints, exclusions, seen, pages before) is folded into one
 * set of item numbers here, before any store is asked. So every strand returns only what may be shown, k is filled from
 * an exact set, and the planner knows its size exactly. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "query/run.h"

enum { COLD_SEEDS = 5, TASTE_ITEMS = 20, MEMBERS_LOOKED_AT = 64, SESSION_ITEMS = 20 };

/* What may be waited for before the strands begin. A vector store that hangs must not use up the time of the others. */
static deadline target_until(const query_run_state *q) {
    int64_t now = clock_mono_ns(q->rooms->clock);
    return q->gather_until > now ? now + (q->gather_until - now) / 2 : q->gather_until;
}

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for the question's scope");
}

/* ---- rights ---- */
static int32_t stricter_age(int32_t a, int32_t b) {
    if (a < 0) return b;
    if (b < 0) return a;
    return a < b ? a : b;
}

/* What the request says narrows what the person's record says; it never widens it. A region has no order, so the
 * request's place holds. */
static void make_rights(query_run_state *q) {
    const user *person = q->profile ? q->profile->person : NULL;
    const query_request *rq = q->rq;
    q->rights = (viewer_rights){.region = rq->region, .age = rq->age, .tier = rq->tier, .now = q->now_ms};
    if (!q->rights.region[0] && person) q->rights.region = person->region;
    if (!q->rights.region[0]) q->rights.region = q->rooms->default_region;
    if (person) {
        q->rights.age = stricter_age(rq->age, person->age);
        q->rights.tier = stricter_age(rq->tier, person->tier);
    }
    if (!q->rights.region[0])
        run_note(q, "the region is not known: only items that are free everywhere may be shown "
                    "(context.region, the user's constraints, or option rights.region)");
}

/* ---- constraints as a filter ---- */
static filter *in_filter(arena *a, filter_field field, const char *const *values, size_t n) {
    filter *f = arena_calloc(a, 1, sizeof *f);
    filter_value *v = arena_calloc(a, n + 1, sizeof *v);
    if (!f || !v) return NULL;
    for (size_t i = 0; i < n; i++) v[i] = (filter_value){.type = VALUE_STRING, .string = values[i]};
    *f = (filter){.kind = FILTER_IN, .field = field, .values = v, .values_count = n};
    return f;
}

static filter *not_filter(arena *a, filter *child) {
    filter *f = arena_calloc(a, 1, sizeof *f);
    filter **children = arena_calloc(a, 1, sizeof *children);
    if (!f || !children || !child) return NULL;
    children[0] = child;
    *f = (filter){.kind = FILTER_NOT, .children = children, .children_count = 1};
    return f;
}

static filter_field field_of(const char *name) {
    for (int f = 0; f < FIELD_COUNT; f++)
        if (strcmp(filter_field_name((filter_field)f), name) == 0) return (filter_field)f;
    return FIELD_COUNT;
}

/* The request's filter and the person's languages and excluded facets, all of them. */
static const filter *whole_filter(query_run_state *q) {
    const user *person = q->profile ? q->profile->person : NULL;
    if (!person || (person->languages.count == 0 && person->exclusions_count == 0)) return q->rq->filter;
    filter **all = arena_calloc(q->a, person->exclusions_count + 2, sizeof *all);
    filter *f = arena_calloc(q->a, 1, sizeof *f);
    if (!all || !f) return NULL;
    size_t n = 0;
    all[n++] = (filter *)q->rq->filter;
    if (person->languages.count)
        all[n++] = in_filter(q->a, FIELD_LANGUAGE, person->languages.values, person->languages.count);
    for (size_t i = 0; i < person->exclusions_count; i++) {
        filter_field field = field_of(person->exclusions[i].field);
        if (field == FIELD_COUNT) continue;
        all[n++] = not_filter(q->a, in_filter(q->a, field, &person->exclusions[i].value, 1));
    }
    for (size_t i = 0; i < n; i++)
        if (!all[i]) return NULL;
    *f = (filter){.kind = FILTER_ALL, .children = all, .children_count = n};
    return f;
}

/* ---- the set ---- */
static void take_out_ids(query_run_state *q, const char *const *ids, size_t n) {
    uint32_t num;
    for (size_t i = 0; i < n; i++)
        if (catalogue_num(q->rooms->catalogue, ids[i], &num)) bitset_unset(&q->allow, num);
}

/* Only what the request names; ids that are no items are left out. */
static bool keep_candidates(query_run_state *q) {
    bitset named;
    uint32_t num;
    if (!bitset_init(&named, q->allow.bits)) return false;
    for (size_t i = 0; i < q->rq->candidate_count; i++)
        if (catalogue_num(q->rooms->catalogue, q->rq->candidates[i], &num)) bitset_set(&named, num);
    bitset_and(&q->allow, &named);
    bitset_free(&named);
    return true;
}

static int make_allow(query_run_state *q, braid_error *err) {
    const query_request *rq = q->rq;
    const filter *f = whole_filter(q);
    if (!f) return no_memory(err);
    int rc = catalogue_filter(q->rooms->catalogue, f, &q->allow, err);
    if (rc) return rc;
    q->where = f->kind == FILTER_TRUE ? NULL : f;
    q->total = catalogue_count(q->rooms->catalogue);
    q->filter_matches = f->kind == FILTER_TRUE ? q->total : bitset_count(&q->allow);
    catalogue_apply_rights(q->rooms->catalogue, &q->rights, &q->allow);
    q->rights_left = bitset_count(&q->allow);
    take_out_ids(q, rq->exclude, rq->exclude_count);
    if (rq->candidates && !keep_candidates(q)) return no_memory(err);
    if (q->profile) {
        if (!rq->include_seen)
            for (size_t i = 0; i < q->profile->seen_count; i++) bitset_unset(&q->allow, q->profile->seen[i]);
        if (!rq->include_seen)
            for (size_t i = 0; i < q->session_count; i++)
                if (q->session[i].type != INTERACTION_VIEW) bitset_unset(&q->allow, q->session[i].num);
        if (q->profile->person) take_out_ids(q, q->profile->person->block.values, q->profile->person->block.count);
    }
    for (size_t i = 0; i < q->shown_count; i++) bitset_unset(&q->allow, q->shown[i]);
    if (q->like_num != UINT32_MAX) bitset_unset(&q->allow, q->like_num);
    q->allow_count = bitset_count(&q->allow);
    q->filtered = q->allow_count < q->total;
    return BRAID_OK;
}

/* ---- where to start from ---- */
static bool add_seed(query_run_state *q, uint32_t num, float weight) {
    if (q->seed_count == QUERY_SEEDS_MAX) return false;
    for (size_t i = 0; i < q->seed_count; i++)
        if (q->seeds[i] == num) return true;
    q->seeds[q->seed_count] = num;
    q->seed_weights[q->seed_count++] = weight;
    return true;
}

/* What they did in this session, so far as the stores know; without them the answer is that of any other moment. */
static int load_session(query_run_state *q, braid_error *err) {
    if (!q->rq->session[0] || !q->rq->user[0] || q->rq->as_of != TIME_NONE) return BRAID_OK;
    braid_error lost = {0};
    q->session = arena_calloc(q->a, SESSION_ITEMS, sizeof *q->session);
    if (!q->session) return no_memory(err);
    uint64_t known = policy_profile_last_write(q->rooms->profiles, q->rq->user);
    if (policy_people_session(q->rooms->people, q->rq->user, q->rq->session, known, target_until(q), q->session,
                              SESSION_ITEMS, &q->session_count, &lost) != BRAID_OK)
        run_degraded(q, record_name(q->rooms->record));
    return BRAID_OK;
}

/* What was liked in this session says more of the next hour than all that was liked before. */
static void seeds_from_session(query_run_state *q) {
    float weight = 3;
    for (size_t i = 0; i < q->session_count && q->seed_count < QUERY_SEEDS_MAX / 2; i++) {
        const policy_session_item *s = &q->session[i];
        catalogue_card card;
        if (!catalogue_get_card(q->rooms->catalogue, s->num, q->a, &card)) continue;
        interaction in = {.type = s->type, .watch_s = s->watch_s, .rating = s->rating};
        double reward = policy_reward(&in, card.duration_s);
        if (reward < 0.3) continue; /* a click is worth following here */
        add_seed(q, s->num, (float)reward * weight);
        weight *= 0.9f;
    }
}

/* What the person liked lately, the newest weighing most. */
static void seeds_from_taste(query_run_state *q) {
    float decay = 1;
    for (size_t i = 0; q->profile && i < q->profile->recent_count && q->seed_count < QUERY_SEEDS_MAX; i++) {
        const policy_seen *s = &q->profile->recent[i];
        if (s->reward < 0.6f) continue;
        add_seed(q, s->num, s->reward * decay);
        decay *= 0.9f;
    }
}

/* Nobody has seen this person choose yet, but they may have said what they like: items that hold the facets they
 * named. */
static void seeds_from_preferences(query_run_state *q) {
    const user *person = q->profile ? q->profile->person : NULL;
    uint32_t members[MEMBERS_LOOKED_AT];
    for (size_t i = 0; person && i < person->preferences_count && q->seed_count < QUERY_SEEDS_MAX; i++) {
        const user_preference *p = &person->preferences[i];
        filter_field field = field_of(p->field);
        if (p->weight < 0.5 || field == FIELD_COUNT) continue;
        uint64_t there = catalogue_facet_members(q->rooms->catalogue, field, p->value, members, MEMBERS_LOOKED_AT);
        size_t n = there < MEMBERS_LOOKED_AT ? there : MEMBERS_LOOKED_AT, taken = 0;
        for (size_t m = 0; m < n && taken < 2; m++) {
            if (!bitset_has(&q->allow, members[m])) continue;
            add_seed(q, members[m], 0.5f * (float)p->weight);
            taken++;
        }
    }
}

/* Nothing is known at all: what is popular, spread over genres. */
static void seeds_from_popular(query_run_state *q) {
    candidate popular[COLD_SEEDS];
    size_t n = catalogue_popular(q->rooms->catalogue, &q->allow, COLD_SEEDS, 1, popular);
    if (n == 0 && q->allow_count > 0) run_degraded(q, "catalogue"); /* it has no memory to rank with */
    for (size_t i = 0; i < n; i++) add_seed(q, popular[i].num, 0.5f);
}

static void seeds_from_title(query_run_state *q) {
    const char **ids = NULL;
    size_t n = 0;
    braid_error lost = {0};
    if (catalogue_find_title(q->rooms->catalogue, q->rq->text, NULL, 3, q->a, &ids, &n, &lost) != BRAID_OK) {
        run_degraded(q, "catalogue");
        return;
    }
    uint32_t num;
    for (size_t i = 0; i < n; i++)
        if (catalogue_num(q->rooms->catalogue, ids[i], &num)) add_seed(q, num, 1);
}

/* The direction of a person's taste: the mean of what they liked lately, rewards and recency as weights. */
static int vector_from_taste(query_run_state *q, braid_error *err) {
    uint32_t dim = q->rooms->limits.dim;
    float *sum = arena_calloc(q->a, dim, sizeof *sum), *one = arena_alloc(q->a, dim * sizeof *one);
    float *liked = arena_alloc(q->a, (size_t)TASTE_ITEMS * dim * sizeof *liked);
    if (!sum || !one || !liked) return no_memory(err);
    const user *person = q->profile ? q->profile->person : NULL;
    bool any = false;
    if (person && person->state_vector && person->state_dim == dim) {
        memcpy(one, person->state_vector, dim * sizeof *one);
        if (vector_normalise(one, dim)) {
            for (uint32_t d = 0; d < dim; d++) sum[d] += one[d];
            any = true;
        }
    }
    bool found[TASTE_ITEMS] = {false};
    size_t n = q->seed_count < TASTE_ITEMS ? q->seed_count : TASTE_ITEMS;
    braid_error none = {0};
    int rc = vector_fetch_many(q->rooms->vector, q->seeds, n, target_until(q), liked, found, &none);
    if (rc != BRAID_OK) run_degraded(q, vector_name(q->rooms->vector));
    for (size_t i = 0; i < n && rc == BRAID_OK; i++) {
        if (!found[i]) continue;
        for (uint32_t d = 0; d < dim; d++) sum[d] += q->seed_weights[i] * liked[i * dim + d];
        any = true;
    }
    if (any && vector_normalise(sum, dim)) {
        q->vector = sum;
        q->vector_from = "taste";
    }
    return BRAID_OK;
}

static int target_like(query_run_state *q, braid_error *err) {
    uint32_t dim = q->rooms->limits.dim;
    add_seed(q, q->like_num, 1);
    float *v = arena_alloc(q->a, dim * sizeof *v);
    if (!v) return no_memory(err);
    braid_error none = {0};
    int rc = vector_fetch(q->rooms->vector, q->like_num, target_until(q), v, &none);
    if (rc == BRAID_OK) {
        q->vector = v;
        q->vector_from = "like";
    } else if (rc != BRAID_E_NOT_FOUND) {
        run_degraded(q, vector_name(q->rooms->vector));
    }
    return BRAID_OK;
}

static int target_text(query_run_state *q, braid_error *err) {
    uint32_t dim = q->rooms->limits.dim;
    float *v = arena_alloc(q->a, dim * sizeof *v);
    if (!v) return no_memory(err);
    int rc = embed_text(q->rooms->embedder, q->rq->text, strlen(q->rq->text), v, err);
    if (rc) return rc;
    if (vector_normalise(v, dim)) {
        q->vector = v;
        q->vector_from = "text";
    } else {
        run_note(q, "the text has no letter or digit to search for");
    }
    if (q->rooms->vectors_are_given)
        run_note(q, "the text was turned into a lexical vector, but most items carry vectors of another encoder: give "
                    "\"vector\" for a meaningful search");
    seeds_from_title(q);
    return BRAID_OK;
}

static int make_targets(query_run_state *q, braid_error *err) {
    const query_request *rq = q->rq;
    q->seeds = arena_calloc(q->a, QUERY_SEEDS_MAX, sizeof *q->seeds);
    q->seed_weights = arena_calloc(q->a, QUERY_SEEDS_MAX, sizeof *q->seed_weights);
    if (!q->seeds || !q->seed_weights) return no_memory(err);
    if (rq->like) return target_like(q, err);
    if (rq->vector) {
        q->vector = rq->vector;
        q->vector_from = "vector";
    } else if (rq->text) {
        int rc = target_text(q, err);
        if (rc) return rc;
    }
    if (q->seed_count == 0) {
        seeds_from_session(q);
        seeds_from_taste(q);
    }
    if (rq->recommend) {
        q->cold = q->seed_count == 0;
        if (q->cold) seeds_from_preferences(q);
        if (q->seed_count == 0) seeds_from_popular(q);
        return vector_from_taste(q, err);
    }
    return BRAID_OK;
}

static int find_like(query_run_state *q, braid_error *err) {
    if (!q->rq->like) return BRAID_OK;
    if (catalogue_num(q->rooms->catalogue, q->rq->like, &q->like_num)) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FOUND, "request", "\"like\" names \"%.80s\", which is not an item", q->rq->like);
}

int scope_make(query_run_state *q, braid_error *err) {
    const query_request *rq = q->rq;
    if (!rq->recommend && !rq->text && !rq->vector && !rq->like)
        return error_set(err, BRAID_E_INVALID, "request", "a search wants \"text\", \"vector\" or \"like\"");
    if (rq->recommend && !rq->user[0])
        return error_set(err, BRAID_E_INVALID, "request", "a recommendation wants \"user\"");
    int rc = find_like(q, err);
    if (rc == BRAID_OK && rq->user[0])
        rc = policy_profile_get(q->rooms->profiles, rq->user, q->until, &q->profile, err);
    if (rc == BRAID_OK) rc = load_session(q, err);
    if (rc == BRAID_OK) rc = slate_load(q, err);
    if (rc) return rc;
    braid_error lost = {0};
    if (policy_agents_get(q->rooms->agents, rq->agent, &q->agent, &lost) != BRAID_OK)
        run_degraded(q, record_name(q->rooms->record));
    make_rights(q);
    /* The state is what the request says of its moment, as an interaction's state is what its context says: only so do
     * they meet again. */
    policy_state_make(q->rooms->state_parts, rq->daypart, rq->device, rq->mood, rq->region, q->now_ms, &q->state);
    if (q->profile) policy_state_taste(&q->state, q->profile->taste);
    rc = make_allow(q, err);
    return rc ? rc : make_targets(q, err);
}

void scope_release(query_run_state *q) {
    if (q->profile) policy_profile_release(q->profile);
    bitset_free(&q->allow);
}
