/* milvus: vectors and the items' fields in Milvus 2.3, another process that may be down.
 *
 * Opening never fails because the server is away: the store becomes ready with the first call that finds it (the
 * collection is there, is ours, is loaded), and every call until then says UNAVAILABLE. What can never be right - a
 * collection of another dimension, a bad address - is refused at once.
 *
 *     UNREADY --call--> GETTING READY --all is well--> READY
 *        ^                    | no                       | the server says that the collection is gone or not loaded
 *        +--------------------+--------------------------+
 *
 * A collection that vanished is made anew by a write (or by scan and clear, with which a repair begins), never by a
 * search, which would answer "nothing is like it" as if that were true.
 *
 * What this store wrote, it sees: each mutation's timestamp is kept, and for as long as "bounded" consistency might
 * not cover it, questions ask for it. A server waits with such an answer until its clock tick has passed the
 * timestamp (up to 200 ms by default): under a stream of writes every question would. So a search that need not see
 * them says `bounded`, and vectors of given numbers are waited for only when one of those numbers was written
 * lately. Writes of other processes are seen within 5 s, or at once when the query says `fresh`. */
#include "vector/vector_milvus.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    OPEN_MS = 15000, /* to make or load a collection that is not large */
    COLLECTION_M = 16,
    COLLECTION_EF_CONSTRUCTION = 200,
    SEARCH_EF = 64,
    INFO_MS = 2000,  /* a count waits for the server's clock to pass our last write */
    ROW_BYTES = 300, /* beside the vector; a guess for info */
    SEARCH_US = 2000 /* until searches were timed */
};

int milvus_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, MILVUS_STORE, "memory ran out");
}

/* ---- being ready ---- */

static void set_state(milvus *s, milvus_state state) {
    pthread_mutex_lock(&s->lock);
    s->state = state;
    atomic_store(&s->ready, state == MILVUS_READY);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void milvus_unready(milvus *s) {
    pthread_mutex_lock(&s->lock);
    if (s->state == MILVUS_READY) {
        s->state = MILVUS_UNREADY;
        atomic_store(&s->ready, false);
    }
    atomic_store(&s->counted, false);
    pthread_mutex_unlock(&s->lock);
}

/* Waits for another thread that makes the store ready; true: it is this thread's turn. */
static bool my_turn(milvus *s, deadline until, bool *late) {
    *late = false;
    pthread_mutex_lock(&s->lock);
    while (s->state == MILVUS_GETTING_READY && !*late) {
        int64_t left = until - clock_mono_ns(s->clock);
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        int64_t at = (int64_t)t.tv_nsec + (left > 10000000 ? 10000000 : left > 0 ? left : 0);
        t.tv_sec += at / 1000000000;
        t.tv_nsec = at % 1000000000;
        if (left <= 0)
            *late = true;
        else
            pthread_cond_timedwait(&s->changed, &s->lock, &t);
    }
    bool mine = s->state == MILVUS_UNREADY;
    if (mine) s->state = MILVUS_GETTING_READY;
    pthread_mutex_unlock(&s->lock);
    return mine;
}

int milvus_ready(milvus *s, bool create, deadline until, braid_error *err) {
    if (atomic_load(&s->ready)) return BRAID_OK;
    bool late = false;
    until = rpc_deadline(s->channel, until);
    if (!my_turn(s, until, &late)) {
        if (!late) return BRAID_OK;
        return error_set(err, BRAID_E_DEADLINE, MILVUS_STORE, "%s: collection %s is not ready yet",
                         rpc_address(s->channel), s->collection);
    }
    int code = milvus_schema_ensure(s, create, until, err);
    set_state(s, code == BRAID_OK ? MILVUS_READY : MILVUS_UNREADY);
    return code;
}

int milvus_call(milvus *s, const char *method, const char *what, bool bare, rpc_message request, deadline until,
                buf *answer, braid_error *err) {
    milvus_verdict verdict = {.store = MILVUS_STORE, .address = rpc_address(s->channel), .what = what, .bare = bare};
    int code = rpc_call(s->channel, method, request, until, milvus_judge, &verdict, answer, err);
    if (verdict.missing || verdict.unloaded) milvus_unready(s);
    return code;
}

int milvus_call_once(milvus *s, const char *method, const char *what, rpc_message request, deadline until, buf *answer,
                     braid_error *err) {
    milvus_verdict verdict = {.store = MILVUS_STORE, .address = rpc_address(s->channel), .what = what};
    int code = rpc_call_once(s->channel, method, request, until, milvus_judge, &verdict, answer, err);
    if (verdict.missing || verdict.unloaded) milvus_unready(s);
    return code;
}

deadline milvus_write_until(const milvus *s) {
    return clock_mono_ns(s->clock) + s->write_ns;
}

milvus_view milvus_view_now(milvus *s, bool fresh) {
    if (fresh) return (milvus_view){MILVUS_STRONG, 0};
    uint64_t wrote = atomic_load(&s->wrote_ts);
    int64_t age = clock_mono_ns(s->clock) - atomic_load(&s->wrote_ns);
    if (wrote != 0 && age < (int64_t)MILVUS_BOUNDED_MS * 1000000) return (milvus_view){MILVUS_SINCE, wrote};
    return (milvus_view){MILVUS_BOUNDED, 0};
}

static uint32_t recent_ms(const milvus *s) {
    return (uint32_t)((clock_mono_ns(s->clock) - s->opened_ns) / 1000000) + 1;
}

milvus_view milvus_view_of(milvus *s, const uint32_t *nums, size_t n) {
    milvus_view view = milvus_view_now(s, false);
    if (view.level != MILVUS_SINCE) return view;
    uint32_t now = recent_ms(s);
    for (size_t i = 0; i < n; i++) {
        uint32_t at = atomic_load_explicit(&s->wrote_ms[nums[i] % MILVUS_RECENT], memory_order_acquire);
        if (at != 0 && now - at < MILVUS_BOUNDED_MS) return view;
    }
    return (milvus_view){MILVUS_BOUNDED, 0};
}

void milvus_note_nums(milvus *s, const uint32_t *nums, size_t n) {
    uint32_t now = recent_ms(s);
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&s->wrote_ms[nums[i] % MILVUS_RECENT], now, memory_order_release);
}

/* ---- opening and closing ---- */

static bool name_is_fit(const char *name) {
    for (const char *p = name; *p != '\0'; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';
        if (!letter && !(p > name && *p >= '0' && *p <= '9')) return false;
    }
    return strlen(name) < MILVUS_COLLECTION_BYTES - sizeof "_media_embeddings";
}

static int name_collection(milvus *s, const remote_options *remote, braid_error *err) {
    const char *prefix = remote->database != NULL ? remote->database : "";
    if (!name_is_fit(prefix))
        return error_set(err, BRAID_E_INVALID, MILVUS_STORE,
                         "milvus.database \"%s\" begins collections' names: letters, digits and _, no digit first",
                         prefix);
    buf name;
    buf_init(&name, MILVUS_COLLECTION_BYTES);
    bool ok = buf_printf(&name, "%s%smedia_embeddings", prefix, prefix[0] != '\0' ? "_" : "");
    if (ok) memcpy(s->collection, name.data, name.len + 1);
    buf_free(&name);
    return ok ? BRAID_OK : milvus_no_memory(err);
}

static int take_options(milvus *s, const vector_options *o, braid_error *err) {
    if (o->dim == 0 || o->dim > MODEL_DIM_MAX)
        return error_set(err, BRAID_E_DIMENSION, MILVUS_STORE, "dimension %u is not in 1..%d", o->dim, MODEL_DIM_MAX);
    if (o->remote == NULL || o->remote->address == NULL || o->remote->address[0] == '\0')
        return error_set(err, BRAID_E_INVALID, MILVUS_STORE, "no address: set milvus.address to HOST:PORT");
    if (o->m != 0 && (o->m < 4 || o->m > 64))
        return error_set(err, BRAID_E_INVALID, MILVUS_STORE, "M = %u is not in 4..64", o->m);
    s->kernel = vector_kernel_find(o->kernel != NULL ? o->kernel : "auto");
    if (s->kernel == NULL)
        return error_set(err, BRAID_E_INVALID, MILVUS_STORE,
                         "kernel \"%s\" is unknown or this CPU lacks it; use \"auto\"", o->kernel);
    s->dim = o->dim;
    s->m = o->m != 0 ? o->m : COLLECTION_M;
    s->ef_construction = o->ef_construction != 0 ? o->ef_construction : COLLECTION_EF_CONSTRUCTION;
    s->ef_search = o->ef_search != 0 ? o->ef_search : SEARCH_EF;
    s->write_ns = (int64_t)remote_write_ms(o->remote) * 1000000;
    s->batch = o->remote->batch != 0 ? o->remote->batch : MILVUS_ROWS_BATCH;
    s->clock = o->clock != NULL ? o->clock : &clock_system;
    s->opened_ns = clock_mono_ns(s->clock);
    s->log = o->log;
    return name_collection(s, o->remote, err);
}

static void milvus_close(void *self) {
    milvus *s = self;
    rpc_close(s->channel);
    milvus_versions_free(s->versions);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static milvus *new_store(void) {
    milvus *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    pthread_condattr_t attr;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

/* What was there before us: nothing, or rows whose versions are not known yet. After a strong question, any other
 * sees all of that. */
int milvus_first_look(milvus *s, deadline until, braid_error *err) {
    uint64_t count = 0;
    if (s->looked) return BRAID_OK;
    int code = milvus_count(s, (milvus_view){MILVUS_STRONG, 0}, until, &count, err);
    if (code != BRAID_OK) return code;
    milvus_versions_reset(s->versions, count == 0);
    if (count != 0) s->made = false;
    s->looked = true;
    return BRAID_OK;
}

static int milvus_open(const vector_options *options, void **self, braid_error *err) {
    *self = NULL;
    milvus *s = new_store();
    if (s == NULL) return milvus_no_memory(err);
    int code = take_options(s, options, err);
    rpc_options rpc = {.remote = options->remote,
                       .store = MILVUS_STORE,
                       .answer_bytes_max = MILVUS_ANSWER_BYTES_MAX,
                       .clock = s->clock,
                       .metrics = options->metrics};
    if (code == BRAID_OK) code = rpc_open(&rpc, &s->channel, err);
    if (code == BRAID_OK && (s->versions = milvus_versions_new()) == NULL) code = milvus_no_memory(err);
    if (code == BRAID_OK) {
        braid_error why = {0};
        deadline until = clock_mono_ns(s->clock) + (int64_t)OPEN_MS * 1000000;
        code = milvus_ready(s, true, until, &why);
        if (code == BRAID_OK) code = milvus_first_look(s, until, &why);
        if (code == BRAID_E_UNAVAILABLE || code == BRAID_E_DEADLINE) {
            if (s->log != NULL)
                log_write(s->log, LOG_WARN, MILVUS_STORE, "not ready: %s; it is asked again with the next call",
                          why.message);
            code = BRAID_OK;
        } else if (code != BRAID_OK) {
            error_set(err, code, why.store, "%s", why.message);
        }
    }
    if (code != BRAID_OK) {
        milvus_close(s);
        return code;
    }
    *self = s;
    return BRAID_OK;
}

/* What another process wrote is not in our versions: everything is asked for again, and nothing counts as unsent. */
static void milvus_resume(void *self) {
    milvus *s = self;
    s->looked = false;
    atomic_store(&s->made, false);
    milvus_versions_reset(s->versions, false);
}

/* ---- all anew ---- */

static int milvus_clear(void *self, braid_error *err) {
    milvus *s = self;
    deadline until = clock_mono_ns(s->clock) + (int64_t)OPEN_MS * 1000000;
    int code = milvus_schema_drop(s, until, err); /* dropping what is not there is no failure in Milvus */
    milvus_unready(s);
    if (code == BRAID_OK) code = milvus_ready(s, true, until, err);
    if (code != BRAID_OK) return code;
    milvus_versions_reset(s->versions, true);
    s->looked = true;
    return BRAID_OK;
}

/* ---- what it says of itself ---- */

static void milvus_estimate(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    milvus *s = self;
    uint64_t count = atomic_load(&s->count);
    if (ef == 0) ef = s->ef_search;
    bool exact = filtered && allow_count <= MILVUS_NUMS_PER_QUERY;
    double trip = meter_unit(&s->search_ns, 16, SEARCH_US * 1000.0) / 1000.0;
    /* Measured on 2.3.5: a number in an expression costs 10 us, a hit 1 us; wide sets are filled by over-fetching. */
    double wide = filtered && allow_count > 0 && count > allow_count ? (double)count / (double)allow_count : 1.0;
    double work = exact ? (double)allow_count * 10.0 : (double)(k > ef ? k : ef) * wide;
    double rows = filtered && allow_count < k ? (double)allow_count : (double)k;
    if (rows > (double)count && atomic_load(&s->counted)) rows = (double)count;
    *out = (vector_cost){.microseconds = trip + work, .rows = rows, .method = exact ? "exact" : "hnsw"};
}

static void milvus_info(void *self, vector_info *out) {
    milvus *s = self;
    uint64_t count = 0;
    if (!atomic_load(&s->counted)) {
        deadline until = clock_mono_ns(s->clock) + (int64_t)INFO_MS * 1000000;
        if (milvus_ready(s, false, until, NULL) == BRAID_OK)
            milvus_count(s, milvus_view_now(s, false), until, &count, NULL);
    }
    out->count = atomic_load(&s->count);
    out->bytes = out->count * (s->dim * sizeof(float) + ROW_BYTES);
    out->kernel = s->kernel->name;
}

const vector_ops vector_milvus = {
    .version = 1,
    .name = "milvus",
    .caps = VECTOR_CAP_ALLOW | VECTOR_CAP_REMOTE | VECTOR_CAP_FIELDS | VECTOR_CAP_VERSIONS | VECTOR_CAP_LATE,
    .open = milvus_open,
    .close = milvus_close,
    .resume = milvus_resume,
    .rest = milvus_rest,
    .upsert = milvus_upsert,
    .remove = milvus_remove,
    .search = milvus_search_items,
    .fetch = milvus_fetch,
    .fetch_many = milvus_fetch_many,
    .score = milvus_score,
    .estimate = milvus_estimate,
    .scan = milvus_scan,
    .clear = milvus_clear,
    .check = milvus_check,
    .info = milvus_info,
};
