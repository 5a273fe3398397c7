/* Writing: batches of whole rows with our own keys, removals by key.
 *
 * `upsert` is an insert and a removal of the same keys, which Milvus keeps as such: half of a segment's rows seem
 * removed, so that it is compacted and indexed a second time, and searches mask them until then. `insert` would make a
 * second row of a key that is there. So a row is inserted when its number was never sent and the collection is of this
 * process' own making, and upserted ever after; an insert is sent once, and one without an answer is followed by
 * upserts, which take away what it may have left. After a restart nothing is known to be unsent. Of doubles within a
 * batch, whose outcome Milvus leaves open, only the newest is sent. A version older than the one that is there is left
 * out: what this process wrote it remembers, and what it does not know it asks for, once a number (nothing needs to be
 * waited for in that question, since it is about the time before we opened).
 *
 * A write that failed without an answer may or may not have happened. It is the feed's to send it again, and sending
 * it twice changes nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector_milvus.h"
#include "vector/vector_milvus_filter.h"

enum { FLUSH_ROWS = 1000 };

static const item nothing = {.id = "",
                             .title = "",
                             .original_title = "",
                             .kind = "",
                             .language = "",
                             .synopsis = "",
                             .available_from = TIME_NONE,
                             .available_until = TIME_NONE};

/* ---- which rows ---- */

typedef struct choice {
    const vector_entry *entry;
    size_t at;
} choice;

static int by_num_and_age(const void *a, const void *b) {
    const choice *x = a, *y = b;
    if (x->entry->num != y->entry->num) return x->entry->num < y->entry->num ? -1 : 1;
    if (x->entry->version != y->entry->version) return x->entry->version < y->entry->version ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int check_entry(const milvus *s, const vector_entry *e, size_t i, braid_error *err) {
    double sum = 0;
    if (e->num == UINT32_MAX || e->version > INT64_MAX)
        return error_set(err, BRAID_E_INVALID, MILVUS_STORE, "item number %u, version %llu is out of range", e->num,
                         (unsigned long long)e->version);
    for (uint32_t d = 0; d < s->dim; d++) sum += (double)e->values[d] * e->values[d];
    if (isfinite(sum) && sum > 0) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FINITE, MILVUS_STORE, "vector %zu (item number %u) is all zero or not finite", i,
                     e->num);
}

/* The newest of each number, in the order of the numbers; *count of them. */
static int choose(const milvus *s, const vector_entry *entries, size_t n, arena *a, choice **out, size_t *count,
                  braid_error *err) {
    choice *list = arena_alloc(a, n * sizeof *list);
    if (list == NULL) return milvus_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        int code = check_entry(s, &entries[i], i, err);
        if (code != BRAID_OK) return code;
        list[i] = (choice){&entries[i], i};
    }
    qsort(list, n, sizeof *list, by_num_and_age);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && list[i + 1].entry->num == list[i].entry->num) continue;
        list[kept++] = list[i];
    }
    *out = list;
    *count = kept;
    return BRAID_OK;
}

/* Asks which versions the collection holds of the numbers that are not known. */
static int learn_versions(milvus *s, const uint32_t *nums, size_t n, braid_error *err) {
    buf expr;
    buf_init(&expr, 0);
    milvus_rows rows = {0};
    int code = milvus_nums_expr(nums, n, &expr) ? BRAID_OK : milvus_no_memory(err);
    if (code == BRAID_OK) {
        milvus_query q = {.collection = s->collection,
                          .expr = expr.data,
                          .fields = {MILVUS_NUM, MILVUS_VERSION},
                          .view = {MILVUS_EVENTUALLY, 0}};
        code = milvus_ask_rows(s, &q, true, 0, milvus_write_until(s), &rows, err);
    }
    for (size_t i = 0; i < n && code == BRAID_OK; i++) {
        if (!milvus_versions_put(s->versions, nums[i], MILVUS_ABSENT)) code = milvus_no_memory(err);
    }
    for (size_t i = 0; i < rows.count && code == BRAID_OK; i++) {
        uint64_t version = rows.versions[i] > 0 ? (uint64_t)rows.versions[i] : 0;
        if (version == 0) version = MILVUS_ABSENT; /* without a version: anything is newer */
        if (!milvus_versions_put(s->versions, (uint32_t)rows.nums[i], version)) code = milvus_no_memory(err);
    }
    milvus_rows_free(&rows);
    buf_free(&expr);
    return code;
}

/* The same, for those of the numbers that are not known. */
static int learn_unknown(milvus *s, const uint32_t *nums, size_t n, braid_error *err) {
    uint32_t unknown[MILVUS_NUMS_PER_QUERY];
    size_t some = 0;
    int code = BRAID_OK;
    for (size_t i = 0; i < n && code == BRAID_OK; i++) {
        if (milvus_versions_get(s->versions, nums[i]) == MILVUS_UNKNOWN) unknown[some++] = nums[i];
        if (some == MILVUS_NUMS_PER_QUERY || (i + 1 == n && some > 0)) {
            code = learn_versions(s, unknown, some, err);
            some = 0;
        }
    }
    return code;
}

/* Drops what is older than what is there. */
static int drop_stale(milvus *s, arena *a, choice *list, size_t *count, braid_error *err) {
    uint32_t *nums = arena_alloc(a, *count * sizeof *nums);
    size_t n = 0, kept = 0;
    if (nums == NULL) return milvus_no_memory(err);
    for (size_t i = 0; i < *count; i++) {
        if (list[i].entry->version != 0) nums[n++] = list[i].entry->num;
    }
    int code = learn_unknown(s, nums, n, err);
    if (code != BRAID_OK) return code;
    for (size_t i = 0; i < *count; i++) {
        const vector_entry *e = list[i].entry;
        if (e->version == 0 || !milvus_versions_stale(s->versions, e->num, e->version)) list[kept++] = list[i];
    }
    *count = kept;
    return BRAID_OK;
}

/* Remembers what was removed. */
static int forget(milvus *s, const uint32_t *nums, size_t n, braid_error *err) {
    for (size_t i = 0; i < n; i++) {
        uint64_t known = milvus_versions_get(s->versions, nums[i]);
        if (known == MILVUS_UNKNOWN || known == MILVUS_ABSENT || nums[i] == UINT32_MAX) continue;
        if (!milvus_versions_put(s->versions, nums[i], known | MILVUS_REMOVED)) return milvus_no_memory(err);
    }
    return BRAID_OK;
}

/* ---- columns ---- */

enum { TEXTS = 6, LISTS = 7, INTS = 4, LONGS = 4, COLUMNS = TEXTS + LISTS + INTS + LONGS + 2 };

typedef struct batch {
    uint32_t rows;
    size_t bytes;
    arena *a;
    const char **texts[TEXTS], **json;
    milvus_list *lists[LISTS];
    int32_t *ints[INTS];
    int64_t *longs[LONGS];
    float *floats;
} batch;

static bool batch_init(batch *b, size_t rows, uint32_t dim, arena *a) {
    *b = (batch){.a = a};
    bool ok = (b->json = arena_calloc(a, rows, sizeof(char *))) != NULL;
    for (int i = 0; i < TEXTS; i++) ok = (b->texts[i] = arena_calloc(a, rows, sizeof(char *))) != NULL && ok;
    for (int i = 0; i < LISTS; i++) ok = (b->lists[i] = arena_calloc(a, rows, sizeof(milvus_list))) != NULL && ok;
    for (int i = 0; i < INTS; i++) ok = (b->ints[i] = arena_calloc(a, rows, sizeof(int32_t))) != NULL && ok;
    for (int i = 0; i < LONGS; i++) ok = (b->longs[i] = arena_calloc(a, rows, sizeof(int64_t))) != NULL && ok;
    return (b->floats = arena_alloc(a, rows * dim * sizeof(float))) != NULL && ok;
}

static bool put_text(batch *b, const char **to, const char *text) {
    buf stored;
    *to = text != NULL ? text : "";
    if (strlen(*to) > MILVUS_TEXT_PLAIN_BYTES) {
        buf_init(&stored, 2 * MILVUS_TEXT_BYTES);
        *to = vector_milvus_text(text, &stored) ? arena_strndup(b->a, stored.data, stored.len) : NULL;
        buf_free(&stored);
        if (*to == NULL) return false;
    }
    b->bytes += strlen(*to) + 8;
    return true;
}

static bool put_list(batch *b, milvus_list *to, const string_list *from) {
    const char **values = arena_alloc(b->a, from->count * sizeof *values + 1);
    if (values == NULL) return false;
    *to = (milvus_list){values, from->count};
    for (size_t i = 0; i < from->count; i++) {
        if (!put_text(b, &values[i], from->values[i])) return false;
    }
    return true;
}

static bool put_people(batch *b, milvus_list *to, const item *it) {
    const char **values = arena_alloc(b->a, it->people_count * sizeof *values + 1);
    if (values == NULL) return false;
    *to = (milvus_list){values, it->people_count};
    for (size_t i = 0; i < it->people_count; i++) {
        if (!put_text(b, &values[i], it->people[i].name)) return false;
    }
    return true;
}

/* Null means "not there"; Milvus would say that it exists. Filters look into objects only. */
static bool has_null(const json_t *json) {
    for (void *it = json_object_iter((json_t *)(uintptr_t)json); it != NULL;
         it = json_object_iter_next((json_t *)(uintptr_t)json, it)) {
        const json_t *value = json_object_iter_value(it);
        if (json_is_null(value) || (json_is_object(value) && has_null(value))) return true;
    }
    return false;
}

static void drop_nulls(json_t *json) {
    void *next;
    const char *name;
    json_t *value;
    json_object_foreach_safe(json, next, name, value) {
        if (json_is_null(value))
            json_object_del(json, name);
        else if (json_is_object(value))
            drop_nulls(value);
    }
}

static bool put_json(batch *b, const char **to, const json_t *json) {
    *to = "{}";
    if (json == NULL) return true;
    json_t *clean = has_null(json) ? json_deep_copy(json) : NULL;
    if (clean != NULL) drop_nulls(clean);
    char *text = model_json_text(clean != NULL ? clean : json, JSON_COMPACT);
    *to = text != NULL ? arena_strdup(b->a, text) : NULL;
    if (text != NULL) b->bytes += strlen(text);
    free(text);
    json_decref(clean);
    return *to != NULL;
}

static bool put_row(batch *b, const vector_entry *e, uint32_t dim) {
    const item *it = e->it != NULL ? e->it : &nothing;
    uint32_t r = b->rows++;
    const char *const texts[TEXTS] = {it->id, it->title, it->original_title, it->kind, it->language, it->synopsis};
    const string_list *const lists[LISTS - 1] = {&it->countries, &it->genres,   &it->themes,
                                                 &it->moods,     &it->contexts, &it->regions};
    const int32_t ints[INTS] = {it->year, it->duration_s, it->age_rating, it->tier};
    const int64_t longs[LONGS] = {e->num, (int64_t)e->version, it->available_from, it->available_until};
    for (int i = 0; i < INTS; i++) b->ints[i][r] = ints[i];
    for (int i = 0; i < LONGS; i++) b->longs[i][r] = longs[i];
    memcpy(b->floats + (size_t)r * dim, e->values, dim * sizeof(float));
    vector_normalise(b->floats + (size_t)r * dim, dim);
    b->bytes += dim * sizeof(float) + 64;
    bool ok = put_json(b, &b->json[r], it->attributes) && put_people(b, &b->lists[LISTS - 1][r], it);
    for (int i = 0; i < TEXTS && ok; i++) ok = put_text(b, &b->texts[i][r], texts[i]);
    for (int i = 0; i < LISTS - 1 && ok; i++) ok = put_list(b, &b->lists[i][r], lists[i]);
    return ok;
}

static bool pack_batch(const milvus *s, const batch *b, rpc_message *out) {
    static const char *const text_names[TEXTS] = {"id", "title", "original_title", "kind", "language", "synopsis"};
    static const char *const list_names[LISTS] = {"countries", "genres",  "themes", "moods",
                                                  "contexts",  "regions", "people"};
    static const char *const int_names[INTS] = {"year", "duration_s", "age_rating", "tier"};
    static const char *const long_names[LONGS] = {MILVUS_NUM, MILVUS_VERSION, "available_from", "available_until"};
    milvus_column c[COLUMNS];
    size_t n = 0;
    for (int i = 0; i < TEXTS; i++)
        c[n++] = (milvus_column){.name = text_names[i], .type = MILVUS_VARCHAR, .texts = b->texts[i]};
    for (int i = 0; i < LISTS; i++)
        c[n++] = (milvus_column){.name = list_names[i], .type = MILVUS_ARRAY, .lists = b->lists[i]};
    for (int i = 0; i < INTS; i++)
        c[n++] = (milvus_column){.name = int_names[i], .type = MILVUS_INT32, .ints = b->ints[i]};
    for (int i = 0; i < LONGS; i++)
        c[n++] = (milvus_column){.name = long_names[i], .type = MILVUS_INT64, .longs = b->longs[i]};
    c[n++] = (milvus_column){.name = "attributes", .type = MILVUS_JSON, .texts = b->json};
    c[n++] = (milvus_column){.name = MILVUS_VECTOR, .type = MILVUS_FLOAT_VECTOR, .floats = b->floats, .dim = s->dim};
    return milvus_pack_rows(s->collection, c, n, b->rows, out);
}

/* ---- sending ---- */

/* From now on, questions must see what was written. */
static void note_write(milvus *s, uint64_t timestamp) {
    uint64_t seen = atomic_load(&s->wrote_ts);
    while (timestamp > seen && !atomic_compare_exchange_weak(&s->wrote_ts, &seen, timestamp)) {}
    atomic_store(&s->wrote_ns, clock_mono_ns(s->clock));
    atomic_store(&s->counted, false);
}

/* The server's clock now: later than everything it has acknowledged. */
static int ask_clock(milvus *s, uint64_t *out, braid_error *err) {
    rpc_message rq;
    buf answer;
    if (!milvus_pack_clock(&rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, MILVUS_METHOD("AllocTimestamp"), "reading the clock", false, rq, milvus_write_until(s),
                           &answer, err);
    if (code == BRAID_OK) code = milvus_read_clock(&answer, MILVUS_STORE, out, err);
    buf_free(&answer);
    return code;
}

typedef enum change { INSERT, UPSERT, REMOVE } change;

/* Sends a change. Milvus 2.3 tells the time of an upsert, but not that of a removal; then its clock is asked. */
static int send_change(milvus *s, change what, rpc_message rq, uint64_t rows, braid_error *err) {
    buf answer;
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    uint64_t timestamp = 0, taken = 0;
    deadline until = milvus_write_until(s);
    int code = what == INSERT   ? milvus_call_once(s, MILVUS_METHOD("Insert"), "insert", rq, until, &answer, err)
               : what == UPSERT ? milvus_call(s, MILVUS_METHOD("Upsert"), "upsert", false, rq, until, &answer, err)
                                : milvus_call(s, MILVUS_METHOD("Delete"), "delete", false, rq, until, &answer, err);
    if (code == BRAID_OK) code = milvus_read_mutation(&answer, MILVUS_STORE, &timestamp, &taken, err);
    if (code == BRAID_OK && rows != 0 && taken != rows)
        code = error_set(err, BRAID_E_CORRUPT, MILVUS_STORE, "%s: %llu of %llu rows were taken",
                         rpc_address(s->channel), (unsigned long long)taken, (unsigned long long)rows);
    if (code == BRAID_OK && timestamp == 0) code = ask_clock(s, &timestamp, err);
    if (timestamp != 0) note_write(s, timestamp);
    buf_free(&answer);
    return code;
}

/* Whether none of the rows' numbers can be in the collection; from now on all of them may be. */
static int note_sent(milvus *s, const choice *list, size_t n, bool *unsent, braid_error *err) {
    *unsent = atomic_load(&s->made);
    for (size_t i = 0; i < n && *unsent; i++) *unsent = milvus_versions_untouched(s->versions, list[i].entry->num);
    for (size_t i = 0; i < n; i++) {
        uint32_t num = list[i].entry->num;
        if (milvus_versions_untouched(s->versions, num) && !milvus_versions_put(s->versions, num, MILVUS_ABSENT))
            return milvus_no_memory(err);
    }
    return BRAID_OK;
}

/* One message of as many rows as it may hold, from *at on. */
static int send_rows(milvus *s, const choice *list, size_t count, size_t *at, braid_error *err) {
    arena *a = arena_new(1 << 20);
    size_t rows = count - *at < s->batch ? count - *at : s->batch,
           fits = MILVUS_BATCH_BYTES_MAX / (s->dim * sizeof(float));
    if (rows > fits) rows = fits;
    batch b;
    rpc_message rq;
    bool ok = a != NULL && batch_init(&b, rows, s->dim, a);
    size_t first = *at;
    while (ok && *at - first < rows && b.bytes < MILVUS_BATCH_BYTES_MAX) ok = put_row(&b, list[(*at)++].entry, s->dim);
    ok = ok && pack_batch(s, &b, &rq);
    arena_free(a);
    if (!ok) return milvus_no_memory(err);
    bool unsent = false;
    int code = note_sent(s, list + first, *at - first, &unsent, err);
    if (code != BRAID_OK) {
        free(rq.data);
        return code;
    }
    for (size_t i = first; i < *at; i++) milvus_note_nums(s, &list[i].entry->num, 1);
    code = send_change(s, unsent ? INSERT : UPSERT, rq, *at - first, err);
    /* Once more: what counts is when it could first be missed, and a write may take long. */
    for (size_t i = first; i < *at; i++) milvus_note_nums(s, &list[i].entry->num, 1);
    for (size_t i = first; i < *at && code == BRAID_OK; i++) {
        const vector_entry *e = list[i].entry;
        uint64_t known = e->version != 0 ? e->version : MILVUS_ABSENT;
        if (!milvus_versions_put(s->versions, e->num, known)) code = milvus_no_memory(err);
    }
    s->unflushed += *at - first;
    return code;
}

int milvus_flush(milvus *s, deadline until, braid_error *err) {
    rpc_message rq;
    buf answer;
    if (!milvus_pack_flush(s->collection, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, MILVUS_METHOD("Flush"), "flush", false, rq, until, &answer, err);
    buf_free(&answer);
    return code;
}

int milvus_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err) {
    milvus *s = self;
    arena *a = arena_new(64 << 10);
    if (a == NULL) return milvus_no_memory(err);
    choice *list = NULL;
    size_t count = 0, at = 0;
    int code = choose(s, entries, n, a, &list, &count, err);
    if (code == BRAID_OK) code = milvus_ready(s, true, milvus_write_until(s), err);
    if (code == BRAID_OK) code = milvus_first_look(s, milvus_write_until(s), err);
    if (code == BRAID_OK) code = drop_stale(s, a, list, &count, err);
    while (code == BRAID_OK && at < count) code = send_rows(s, list, count, &at, err);
    arena_free(a);
    return code;
}

/* Rows that no segment was closed over are searched without the index, at three times the price. Milvus closes one
 * when it is full; here after a load, and not amid one, when building the index would take the processor from it.
 * Nothing depends on it. */
void milvus_rest(void *self) {
    milvus *s = self;
    if (s->unflushed < FLUSH_ROWS || milvus_flush(s, 0, NULL) != BRAID_OK) return;
    s->unflushed = 0;
}

static int remove_some(milvus *s, const uint32_t *nums, size_t n, braid_error *err) {
    rpc_message rq;
    buf expr;
    int code = learn_unknown(s, nums, n, err);
    if (code != BRAID_OK) return code;
    buf_init(&expr, 0);
    bool ok = milvus_nums_expr(nums, n, &expr) && milvus_pack_delete(s->collection, expr.data, &rq);
    buf_free(&expr);
    if (!ok) return milvus_no_memory(err);
    milvus_note_nums(s, nums, n);
    code = send_change(s, REMOVE, rq, 0, err);
    milvus_note_nums(s, nums, n); /* as above */
    return code == BRAID_OK ? forget(s, nums, n, err) : code;
}

int milvus_remove(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    milvus *s = self;
    int code = milvus_ready(s, true, milvus_write_until(s), err);
    if (code == BRAID_OK) code = milvus_first_look(s, milvus_write_until(s), err);
    for (size_t at = 0; at < n && code == BRAID_OK; at += MILVUS_NUMS_PER_QUERY)
        code = remove_some(s, nums + at, n - at < MILVUS_NUMS_PER_QUERY ? n - at : MILVUS_NUMS_PER_QUERY, err);
    return code;
}
