/* Nearest neighbours, under any set of allowed numbers.
 *
 * Milvus takes an expression, not a bitset. So a set is met in one of three ways, the cheaper first:
 *
 *   a small set        is written out: `num in [...]`
 *   a wide one         the search runs under `where` (a condition that all of the set fulfil) for more than k; what is
 *                      not in the set is dropped; if fewer than k are left, four times as many are asked for
 *   when both fail     all vectors of the set are fetched in pages and scored here: exact, and the only way to know
 *                      that a set holds fewer than k
 *
 * An index may give fewer rows than there are (a walk under a narrow condition gets stuck), so "fewer than were asked
 * for" proves nothing: the answer is EXHAUSTED only when the count says so or everything was scored.
 *
 * Rejected: one expression of all the members of a wide set. The server reads about a hundred numbers a millisecond. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/heap.h"
#include "vector/vector_milvus.h"
#include "vector/vector_milvus_filter.h"

enum {
    EF_MAX = 32768,
    GROW = 4,
    SPARE = 16,         /* asked for beside what should suffice */
    IN_EXPR_NS = 10000, /* a number in an expression */
    HIT_NS = 1000
};

typedef struct hunt {
    milvus *s;
    const vector_query *q;
    const float *unit; /* the query, of unit length */
    deadline until;
    milvus_view view;
    const char *where; /* compiled; "" for none */
    milvus_hit *hits;  /* room for MILVUS_LIMIT_MAX */
    candidate *out;
    size_t *count;
    vector_stats *stats;
    bool late; /* the deadline passed on the way */
} hunt;

/* ---- one search ---- */

static int ask(hunt *h, const char *expr, size_t limit, size_t *got, braid_error *err) {
    milvus *s = h->s;
    unsigned ef = h->q->ef != 0 ? h->q->ef : s->ef_search;
    if (ef < limit) ef = (unsigned)limit;
    if (ef > EF_MAX) ef = EF_MAX;
    milvus_search rq = {.collection = s->collection,
                        .field = MILVUS_VECTOR,
                        .expr = expr,
                        .values = h->unit,
                        .dim = s->dim,
                        .limit = limit,
                        .ef = ef,
                        .view = h->view};
    rpc_message message;
    buf answer;
    *got = 0;
    if (!milvus_pack_search(&rq, &message)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int64_t start = clock_mono_ns(s->clock);
    int code = milvus_call(s, MILVUS_METHOD("Search"), "search", false, message, h->until, &answer, err);
    if (code == BRAID_OK) code = milvus_read_hits(&answer, MILVUS_STORE, limit, h->hits, got, err);
    if (code == BRAID_OK) meter_add(&s->search_ns, 1, (uint64_t)(clock_mono_ns(s->clock) - start));
    buf_free(&answer);
    h->stats->hops++;
    return code;
}

/* Keeps what is allowed, up to k. */
static void keep(hunt *h, size_t got) {
    size_t n = 0;
    for (size_t i = 0; i < got && n < h->q->k; i++) {
        if (h->q->allow != NULL && !bitset_has(h->q->allow, h->hits[i].num)) continue;
        h->out[n++] = (candidate){h->hits[i].num, fminf(1.0f, fmaxf(-1.0f, h->hits[i].score))};
    }
    *h->count = n;
}

/* ---- everything, scored here ---- */

typedef struct scoring {
    hunt *h;
    heap best; /* the worst on top */
} scoring;

static int score_page(void *ctx, const milvus_rows *rows, bool *more, braid_error *err) {
    scoring *c = ctx;
    hunt *h = c->h;
    (void)err;
    for (size_t i = 0; i < rows->count; i++) {
        uint32_t num = (uint32_t)rows->nums[i];
        if (h->q->allow != NULL && !bitset_has(h->q->allow, num)) continue;
        float score = h->s->kernel->dot(h->unit, rows->vectors + i * h->s->dim, h->s->dim);
        heap_offer(&c->best, h->q->k, fminf(1.0f, fmaxf(-1.0f, score)), num);
    }
    h->stats->distances += rows->count;
    h->late = deadline_passed(h->s->clock, h->until);
    *more = *more && !h->late;
    return BRAID_OK;
}

/* The next members of the set from *from on, as an expression: a range where they lie close together. */
static bool members_expr(const hunt *h, uint32_t *from, size_t max, buf *expr) {
    uint32_t nums[MILVUS_NUMS_PER_QUERY];
    size_t n = 0;
    for (uint32_t num; n < max && (num = bitset_next(h->q->allow, *from)) != UINT32_MAX; *from = num + 1)
        nums[n++] = num;
    buf_reset(expr);
    if (n == 0) return true;
    if (nums[n - 1] - nums[0] < max)
        return buf_printf(expr, MILVUS_NUM " >= %u and " MILVUS_NUM " <= %u", nums[0], nums[n - 1]);
    return milvus_nums_expr(nums, n, expr);
}

static int score_members(hunt *h, scoring *c, braid_error *err) {
    milvus *s = h->s;
    size_t max = MILVUS_PAGE_BYTES / (s->dim * sizeof(float));
    if (max > MILVUS_NUMS_PER_QUERY) max = MILVUS_NUMS_PER_QUERY;
    uint32_t from = 0;
    buf expr;
    buf_init(&expr, 0);
    int code = BRAID_OK;
    for (bool more = true; more && code == BRAID_OK;) {
        if (!members_expr(h, &from, max, &expr)) {
            code = milvus_no_memory(err);
            break;
        }
        if (expr.len == 0) break;
        milvus_query q = {
            .collection = s->collection, .expr = expr.data, .fields = {MILVUS_NUM, MILVUS_VECTOR}, .view = h->view};
        milvus_rows rows;
        code = milvus_ask_rows(s, &q, false, s->dim, h->until, &rows, err);
        if (code == BRAID_OK) code = score_page(c, &rows, &more, err);
        milvus_rows_free(&rows);
    }
    buf_free(&expr);
    return code;
}

static int score_all(hunt *h, braid_error *err) {
    scoring c = {.h = h};
    milvus_pages p = {.where = h->where, .vectors = true, .view = h->view, .until = h->until};
    h->stats->method = "exact";
    if (!heap_reserve(&c.best, h->q->k + 1)) return milvus_no_memory(err);
    braid_error why = {0};
    int code = h->q->allow != NULL ? score_members(h, &c, &why) : milvus_each_page(h->s, &p, score_page, &c, &why);
    if (code == BRAID_E_DEADLINE && (c.best.count > 0 || *h->count > 0)) {
        h->late = true;
        code = BRAID_OK;
    }
    if (code != BRAID_OK) {
        error_set(err, code, why.store, "%s", why.message);
    } else if (c.best.count >= *h->count) { /* cut short, it may know less than the index told */
        size_t n = heap_sort(&c.best);
        for (size_t i = 0; i < n; i++) h->out[i] = (candidate){c.best.items[i].slot, c.best.items[i].key};
        *h->count = n;
    }
    free(c.best.items);
    return code;
}

/* ---- the three ways ---- */

static int search_members(hunt *h, size_t want, braid_error *err) {
    uint32_t nums[MILVUS_NUMS_PER_QUERY];
    size_t n = 0, got = 0;
    for (uint32_t num = 0; n < MILVUS_NUMS_PER_QUERY && (num = bitset_next(h->q->allow, num)) != UINT32_MAX; num++)
        nums[n++] = num;
    buf expr;
    buf_init(&expr, 0);
    h->stats->method = "exact";
    int code = milvus_nums_expr(nums, n, &expr) ? ask(h, expr.data, want, &got, err) : milvus_no_memory(err);
    buf_free(&expr);
    if (code == BRAID_OK) keep(h, got);
    return code;
}

/* What to ask for so that `want` allowed ones are probably among the answers. */
static size_t first_limit(const hunt *h, size_t want) {
    uint64_t count = atomic_load(&h->s->count), allowed = h->q->allow_count;
    if (h->q->allow == NULL) return want;
    double ratio = count > allowed && h->where[0] == '\0' ? (double)count / (double)allowed : 1.0;
    double limit = (double)want * ratio * 1.25 + SPARE;
    return limit < MILVUS_LIMIT_MAX ? (size_t)limit : MILVUS_LIMIT_MAX;
}

static int search_wide(hunt *h, size_t want, size_t limit, braid_error *err) {
    for (;; limit = limit * GROW < MILVUS_LIMIT_MAX ? limit * GROW : MILVUS_LIMIT_MAX) {
        size_t got = 0;
        braid_error why = {0};
        int code = ask(h, h->where, limit, &got, &why);
        if (code == BRAID_E_DEADLINE && *h->count > 0) {
            h->late = true;
            return BRAID_OK;
        }
        if (code != BRAID_OK) return error_set(err, code, why.store, "%s", why.message);
        keep(h, got);
        if (*h->count >= want || got < limit || limit == MILVUS_LIMIT_MAX) return BRAID_OK;
    }
}

/* Fewer than k without a set: is that all there is? */
static int is_everything(hunt *h, bool *all, braid_error *err) {
    uint64_t count = 0;
    *all = false;
    if (h->where[0] != '\0') return BRAID_OK;
    int code = milvus_count(h->s, h->view, h->until, &count, err);
    *all = code == BRAID_OK && count == *h->count;
    return code;
}

static bool members_are_cheaper(const hunt *h, size_t limit) {
    if (h->q->allow == NULL || h->q->allow_count > MILVUS_NUMS_PER_QUERY) return false;
    return h->q->allow_count * IN_EXPR_NS <= limit * HIT_NS || limit >= MILVUS_LIMIT_MAX;
}

static int run(hunt *h, braid_error *err) {
    const vector_query *q = h->q;
    size_t want = q->allow != NULL && q->allow_count < q->k ? (size_t)q->allow_count : q->k;
    int code = BRAID_OK;
    if (want == 0) return BRAID_OK;
    if (want <= MILVUS_LIMIT_MAX) {
        size_t limit = first_limit(h, want);
        code = members_are_cheaper(h, limit) ? search_members(h, want, err) : search_wide(h, want, limit, err);
        if (code != BRAID_OK || h->late || *h->count >= want) return code;
    }
    bool all = false;
    if (q->allow == NULL && want <= MILVUS_LIMIT_MAX) code = is_everything(h, &all, err);
    return code == BRAID_OK && !all ? score_all(h, err) : code;
}

int milvus_search_items(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                        braid_error *err) {
    milvus *s = self;
    float unit[MODEL_DIM_MAX];
    buf where;
    bool exact = true;
    *count = 0;
    *stats = (vector_stats){.stopped = VECTOR_STOP_DONE, .method = "hnsw"};
    memcpy(unit, q->values, s->dim * sizeof(float));
    if (!vector_normalise(unit, s->dim))
        return error_set(err, BRAID_E_NOT_FINITE, MILVUS_STORE, "the query vector is all zero or not finite");
    hunt h = {.s = s,
              .q = q,
              .unit = unit,
              .until = rpc_deadline(s->channel, q->until),
              .out = out,
              .count = count,
              .stats = stats};
    buf_init(&where, 0);
    int code = milvus_ready(s, false, h.until, err);
    h.view = q->bounded && !q->fresh ? (milvus_view){MILVUS_BOUNDED, 0} : milvus_view_now(s, q->fresh);
    h.hits = malloc(MILVUS_LIMIT_MAX * sizeof *h.hits);
    if (code == BRAID_OK && (h.hits == NULL || !vector_milvus_filter(q->where, &where, &exact)))
        code = milvus_no_memory(err);
    h.where = where.data != NULL ? where.data : "";
    if (code == BRAID_OK) code = run(&h, err);
    if (code != BRAID_OK)
        *count = 0;
    else
        stats->stopped = h.late ? VECTOR_STOP_DEADLINE : *count < q->k ? VECTOR_STOP_EXHAUSTED : VECTOR_STOP_DONE;
    free(h.hits);
    buf_free(&where);
    return code;
}
