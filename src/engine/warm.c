/* Keeps the way to remote stores warm, off the path of requests.
 *
 * A Neo4j that has just started plans each statement when it first meets it, a pool that lost its connections opens new
 * ones when somebody asks, and a breaker that has opened wants a call to try: whoever asks first pays for it, out of a
 * deadline that is too short, and what is given up is planned anew the next time. So the housekeeping thread asks every
 * store what answers ask, of items spread over the catalogue, with a deadline of its own: when the database opens,
 * every ten seconds (a plan is made anew when the store has grown), and every second while a store fails. When it has
 * answered, several ask at once, so that as many connections are there, and again and again while that makes it
 * quicker: a server that runs on the Java machine gets faster by being asked. One that stays slow is busy, or large,
 * and is not made busier: this must never be what the store is busy with, and later rounds that its deadline ends are
 * no failure.
 *
 * It asks through the same doors as an answer does. Rejected: a table function of each store to warm itself, which
 * would have to know what answers ask. */
#include <string.h>

#include "engine/db.h"

enum {
    WARM_AT_ONCE = 4,
    WARM_S = 10,
    WARM_ROUNDS = 20,
    WARM_SLOW_MS = 30,
    WARM_FLAT = 3, /* rounds that were hardly quicker than the one before */
    WARM_ITEMS = 16,
    WARM_DIM_MAX = MODEL_DIM_MAX
};

typedef struct warming {
    pool_job job;
    braid_db *db;
    deadline until;
    int rounds;
    bool failed;
} warming;

static bool ignore(void *ctx, size_t which, const graph_neighbour *n) {
    (void)ctx;
    (void)which;
    (void)n;
    return true;
}

static int warm_graph(braid_db *db, deadline until) {
    uint32_t nums[WARM_ITEMS];
    graph_pair pairs[WARM_ITEMS];
    for (uint32_t i = 0; i < WARM_ITEMS; i++) {
        nums[i] = 1 + (uint32_t)((uint64_t)catalogue_bits(db->catalogue) * i / WARM_ITEMS);
        pairs[i] = (graph_pair){nums[0], nums[i]};
    }
    graph_walk w = {.seeds = nums, .seed_count = WARM_ITEMS, .depth = 2, .k = 1, .until = until};
    graph_neighbour shared[WARM_ITEMS];
    graph_hit hit;
    bool found[WARM_ITEMS];
    size_t count, counts[WARM_ITEMS];
    arena *mem = arena_new(1024);
    if (!mem) return BRAID_E_NO_MEMORY;
    int rc = graph_walk_from(db->graph, &w, &hit, &count, NULL, NULL);
    if (rc == BRAID_OK) rc = graph_shared(db->graph, pairs, WARM_ITEMS, 1, until, shared, counts, mem, NULL);
    if (rc == BRAID_OK) rc = graph_enrich_batch(db->graph, nums, WARM_ITEMS, until, ignore, NULL, found, NULL);
    arena_free(mem);
    return rc;
}

static int warm_vector(braid_db *db, deadline until) {
    float values[WARM_DIM_MAX] = {1};
    const uint32_t num = 1;
    vector_query q = {.values = values, .k = 1, .until = until, .bounded = true};
    candidate out;
    size_t count;
    bool found;
    int rc = vector_search(db->vector, &q, &out, &count, NULL, NULL);
    return rc == BRAID_OK ? vector_fetch_many(db->vector, &num, 1, until, values, &found, NULL) : rc;
}

static int warm_cache(braid_db *db, deadline until) {
    bool found;
    buf value;
    buf_init(&value, 0);
    int rc = cache_get(db->cache, "warm", 4, 0, until, &value, NULL, &found, NULL);
    buf_free(&value);
    return rc;
}

static bool warm_round(const warming *w) {
    braid_db *db = w->db;
    int graph = *db->cursors[ROLE_GRAPH] ? warm_graph(db, w->until) : BRAID_OK;
    int vector = *db->cursors[ROLE_VECTOR] ? warm_vector(db, w->until) : BRAID_OK;
    int cached = cache_is_remote(db->cache) ? warm_cache(db, w->until) : BRAID_OK;
    return graph == BRAID_OK && vector == BRAID_OK && cached == BRAID_OK;
}

static void warm_run(pool_job *job) {
    warming *w = (warming *)job;
    int64_t before = INT64_MAX;
    for (int i = 0, flat = 0; i < w->rounds && flat < WARM_FLAT; i++) {
        int64_t begun = clock_mono_ns(&clock_system);
        bool well = warm_round(w);
        int64_t took = clock_mono_ns(&clock_system) - begun;
        w->failed = !well && (i == 0 || !deadline_passed(&clock_system, w->until));
        if (!well || took < WARM_SLOW_MS * INT64_C(1000000)) break;
        flat += took > before / 4 * 3;
        before = took;
    }
}

bool warm_wanted(const braid_db *db) {
    return *db->cursors[ROLE_GRAPH] || *db->cursors[ROLE_VECTOR] || cache_is_remote(db->cache);
}

bool warm_stores(braid_db *db, bool all) {
    warming w[WARM_AT_ONCE];
    bool taken[WARM_AT_ONCE], well = true;
    size_t n = all ? WARM_AT_ONCE : 1;
    memset(w, 0, sizeof w);
    for (size_t i = 0; i < n; i++) {
        w[i].job.run = warm_run;
        w[i].db = db;
        w[i].rounds = all ? WARM_ROUNDS : 1;
        w[i].until = clock_mono_ns(&clock_system) + WARM_S * INT64_C(1000000000);
        taken[i] = pool_submit(db->pool, &w[i].job, POOL_SLOW);
    }
    for (size_t i = 0; i < n; i++) {
        if (taken[i]) pool_wait(db->pool, &w[i].job, 0);
        well = well && !(taken[i] && w[i].failed);
    }
    return well;
}
