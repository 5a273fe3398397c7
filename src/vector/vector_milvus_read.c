/* Reading what is stored: single vectors, pages of all rows in the order of their numbers, counts, and the check.
 *
 * A page asks for the rows after the last number seen, so that what is written meanwhile moves nothing. Milvus gives
 * the smallest keys first when a query has a limit; should it ever not, the pages' rows no longer rise, or do not
 * add up to what count(*) says, and the check tells. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector_milvus.h"

enum { NORM_TOLERANCE_PPM = 1000 };

int milvus_ask_rows(milvus *s, const milvus_query *q, bool versions, uint32_t dim, deadline until, milvus_rows *out,
                    braid_error *err) {
    rpc_message rq;
    buf answer;
    *out = (milvus_rows){0};
    if (!milvus_pack_query(q, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, MILVUS_METHOD("Query"), "query", false, rq, until, &answer, err);
    if (code == BRAID_OK) code = milvus_read_rows(&answer, MILVUS_STORE, versions, dim, out, err);
    buf_free(&answer);
    return code;
}

int milvus_count(milvus *s, milvus_view view, deadline until, uint64_t *out, braid_error *err) {
    rpc_message rq;
    buf answer;
    uint64_t wrote = atomic_load(&s->wrote_ts);
    milvus_query q = {.collection = s->collection, .expr = "", .fields = {MILVUS_COUNT}, .view = view};
    if (!milvus_pack_query(&q, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, MILVUS_METHOD("Query"), "count", false, rq, until, &answer, err);
    if (code == BRAID_OK) code = milvus_read_count(&answer, MILVUS_STORE, out, err);
    buf_free(&answer);
    if (code != BRAID_OK) return code;
    atomic_store(&s->count, *out);
    atomic_store(&s->counted, true);
    if (atomic_load(&s->wrote_ts) != wrote) atomic_store(&s->counted, false); /* overtaken by a write */
    return BRAID_OK;
}

bool milvus_nums_expr(const uint32_t *nums, size_t n, buf *out) {
    buf_puts(out, MILVUS_NUM " in [");
    for (size_t i = 0; i < n; i++) buf_printf(out, i > 0 ? ",%u" : "%u", nums[i]);
    return buf_putc(out, ']');
}

/* ---- by number ---- */

int milvus_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err) {
    milvus *s = self;
    char expr[40];
    snprintf(expr, sizeof expr, MILVUS_NUM " == %u", num);
    until = rpc_deadline(s->channel, until);
    int code = milvus_ready(s, false, until, err);
    if (code != BRAID_OK) return code;
    milvus_query q = {.collection = s->collection,
                      .expr = expr,
                      .fields = {MILVUS_NUM, MILVUS_VECTOR},
                      .view = milvus_view_of(s, &num, 1)};
    milvus_rows rows;
    code = milvus_ask_rows(s, &q, false, s->dim, until, &rows, err);
    if (code != BRAID_OK) return code;
    if (rows.count == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, MILVUS_STORE, "item number %u has no vector", num);
    else if (rows.nums[0] != num)
        code = error_set(err, BRAID_E_CORRUPT, MILVUS_STORE, "%s answered with another item", rpc_address(s->channel));
    else
        memcpy(out, rows.vectors, s->dim * sizeof(float));
    milvus_rows_free(&rows);
    return code;
}

typedef struct asked {
    uint32_t num, at;
} asked;

static int by_asked_num(const void *a, const void *b) {
    const asked *x = a, *y = b;
    if (x->num != y->num) return x->num < y->num ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* The first that asks for `num`, or n. */
static size_t first_asking(const asked *list, size_t n, uint32_t num) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (list[mid].num < num)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What is done with the vectors of given numbers: `take` gets each that is there, with its place in the caller's
 * list. */
typedef struct gathering {
    milvus *s;
    const float *query; /* score: of unit length */
    float *out;
    bool *found;
} gathering;
typedef void gather_fn(gathering *g, size_t at, const float *vector);

static void take_score(gathering *g, size_t at, const float *vector) {
    g->out[at] = g->s->kernel->dot(g->query, vector, g->s->dim);
}

static void take_vector(gathering *g, size_t at, const float *vector) {
    memcpy(g->out + at * g->s->dim, vector, g->s->dim * sizeof(float));
    g->found[at] = true;
}

static int gather_some(gathering *g, gather_fn *take, const asked *list, size_t n, deadline until, braid_error *err) {
    milvus *s = g->s;
    uint32_t nums[MILVUS_NUMS_PER_QUERY];
    buf expr;
    for (size_t i = 0; i < n; i++) nums[i] = list[i].num;
    buf_init(&expr, 0);
    milvus_rows rows = {0};
    int code = milvus_nums_expr(nums, n, &expr) ? BRAID_OK : milvus_no_memory(err);
    if (code == BRAID_OK) {
        milvus_query q = {.collection = s->collection,
                          .expr = expr.data,
                          .fields = {MILVUS_NUM, MILVUS_VECTOR},
                          .view = milvus_view_of(s, nums, n)};
        code = milvus_ask_rows(s, &q, false, s->dim, until, &rows, err);
    }
    for (size_t i = 0; i < rows.count; i++) {
        size_t at = first_asking(list, n, (uint32_t)rows.nums[i]);
        for (; at < n && list[at].num == rows.nums[i]; at++) take(g, list[at].at, rows.vectors + i * s->dim);
    }
    milvus_rows_free(&rows);
    buf_free(&expr);
    return code;
}

static int gather(gathering *g, gather_fn *take, const uint32_t *nums, size_t n, deadline until, braid_error *err) {
    milvus *s = g->s;
    asked *list = malloc(n * sizeof *list + 1);
    if (list == NULL) return milvus_no_memory(err);
    for (size_t i = 0; i < n; i++) list[i] = (asked){nums[i], (uint32_t)i};
    qsort(list, n, sizeof *list, by_asked_num);
    until = rpc_deadline(s->channel, until);
    int code = milvus_ready(s, false, until, err);
    for (size_t at = 0; at < n && code == BRAID_OK;) {
        size_t some = n - at < MILVUS_NUMS_PER_QUERY ? n - at : MILVUS_NUMS_PER_QUERY;
        /* equal numbers stay together only by chance; each part answers for itself */
        code = gather_some(g, take, list + at, some, until, err);
        at += some;
    }
    free(list);
    return code;
}

int milvus_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                      braid_error *err) {
    memset(found, 0, n * sizeof *found);
    return gather(&(gathering){.s = self, .out = out, .found = found}, take_vector, nums, n, until, err);
}

int milvus_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                 braid_error *err) {
    milvus *s = self;
    float unit[MODEL_DIM_MAX];
    memcpy(unit, query, s->dim * sizeof(float));
    if (!vector_normalise(unit, s->dim))
        return error_set(err, BRAID_E_NOT_FINITE, MILVUS_STORE, "the query vector is all zero or not finite");
    for (size_t i = 0; i < n; i++) out[i] = SIMILARITY_NONE;
    return gather(&(gathering){.s = s, .query = unit, .out = out}, take_score, nums, n, until, err);
}

/* ---- pages ---- */

int milvus_each_page(milvus *s, const milvus_pages *p, milvus_page_fn *page, void *ctx, braid_error *err) {
    size_t limit = p->vectors ? MILVUS_PAGE_BYTES / (s->dim * sizeof(float)) : MILVUS_LIMIT_MAX;
    if (limit < 1) limit = 1;
    if (limit > MILVUS_LIMIT_MAX) limit = MILVUS_LIMIT_MAX;
    buf expr;
    buf_init(&expr, 0);
    int64_t last = -1;
    milvus_view view = p->view;
    int code = BRAID_OK;
    for (bool more = true; more && code == BRAID_OK;) {
        buf_reset(&expr);
        buf_printf(&expr, MILVUS_NUM " > %lld", (long long)last);
        if (p->where[0] != '\0') buf_printf(&expr, " and (%s)", p->where);
        milvus_query q = {.collection = s->collection,
                          .expr = expr.data,
                          .fields = {MILVUS_NUM,
                                     p->vectors    ? MILVUS_VECTOR
                                     : p->versions ? MILVUS_VERSION
                                                   : NULL,
                                     p->vectors && p->versions ? MILVUS_VERSION : NULL},
                          .limit = limit,
                          .view = view};
        milvus_rows rows = {0};
        code = expr.failed ? milvus_no_memory(err)
                           : milvus_ask_rows(s, &q, p->versions, p->vectors ? s->dim : 0, p->until, &rows, err);
        for (size_t i = 0; i < rows.count && code == BRAID_OK; i++) {
            if (rows.nums[i] <= last)
                code = error_set(err, BRAID_E_CORRUPT, MILVUS_STORE, "%s: a page's numbers do not rise",
                                 rpc_address(s->channel));
            last = rows.nums[i];
        }
        more = rows.count >= limit;
        if (view.level == MILVUS_STRONG) view.level = MILVUS_EVENTUALLY; /* what the first page waited for is there */
        if (code == BRAID_OK && rows.count > 0) code = page(ctx, &rows, &more, err);
        milvus_rows_free(&rows);
    }
    buf_free(&expr);
    return code;
}

typedef struct scanning {
    milvus *s;
    vector_scan_fn *each;
    void *ctx;
} scanning;

static int scan_page(void *ctx, const milvus_rows *rows, bool *more, braid_error *err) {
    scanning *c = ctx;
    (void)err;
    for (size_t i = 0; i < rows->count; i++) {
        uint64_t version = rows->versions[i] > 0 ? (uint64_t)rows->versions[i] : 0;
        if (c->each(c->ctx, (uint32_t)rows->nums[i], version, rows->vectors + i * c->s->dim)) continue;
        *more = false;
        break;
    }
    return BRAID_OK;
}

int milvus_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err) {
    milvus *s = self;
    scanning c = {s, each, ctx};
    milvus_pages p = {.where = "", .versions = true, .vectors = true, .view = {MILVUS_STRONG, 0}};
    int code = milvus_ready(s, true, 0, err);
    return code == BRAID_OK ? milvus_each_page(s, &p, scan_page, &c, err) : code;
}

/* ---- the check ---- */

typedef struct checking {
    milvus *s;
    vector_check_report *report;
} checking;

static void problem(vector_check_report *report, const char *format, unsigned long long a, unsigned long long b) {
    if (report->problems++ > 0) return;
    buf text;
    buf_init(&text, sizeof report->first);
    if (buf_printf(&text, format, a, b)) memcpy(report->first, text.data, text.len + 1);
    buf_free(&text);
}

static int check_page(void *ctx, const milvus_rows *rows, bool *more, braid_error *err) {
    checking *c = ctx;
    (void)more, (void)err;
    for (size_t i = 0; i < rows->count; i++) {
        const float *v = rows->vectors + i * c->s->dim;
        double norm = c->s->kernel->dot(v, v, c->s->dim);
        if (fabs(norm - 1) > NORM_TOLERANCE_PPM / 1e6)
            problem(c->report, "the vector of item number %llu is not of unit length",
                    (unsigned long long)rows->nums[i], 0);
    }
    c->report->checked += rows->count;
    return BRAID_OK;
}

int milvus_check(void *self, vector_check_report *out, braid_error *err) {
    milvus *s = self;
    *out = (vector_check_report){0};
    checking c = {s, out};
    milvus_index index;
    bool found = false;
    uint64_t count = 0, wrote = atomic_load(&s->wrote_ts);
    milvus_pages p = {.where = "", .vectors = true, .view = milvus_view_now(s, false)};
    int code = milvus_ready(s, false, 0, err);
    if (code == BRAID_OK) code = milvus_each_page(s, &p, check_page, &c, err);
    if (code == BRAID_OK) code = milvus_count(s, p.view, 0, &count, err);
    if (code == BRAID_OK && count != out->checked && atomic_load(&s->wrote_ts) == wrote)
        problem(out, "count(*) says %llu rows, the pages hold %llu", count, out->checked);
    if (code == BRAID_OK) code = milvus_schema_index(s, 0, &index, &found, err);
    if (code == BRAID_OK && !found) problem(out, "the vectors have no index", 0, 0);
    if (code == BRAID_OK && found && index.failed) problem(out, "building the index failed", 0, 0);
    return code;
}
