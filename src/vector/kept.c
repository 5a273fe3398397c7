/* Vectors that are kept here of a store that is a round trip away (kept.h).
 *
 * Scoring what the graph brought takes the vectors of some 300 items: a megabyte from Milvus, and more of its time than
 * the search itself. Most of them are asked for again soon. So they are kept, in sets of WAYS rows, the longest unused
 * row of a set making room.
 *
 * Exactly what the store holds, by four rules. Every change of an item drops its row when the catalogue learns of
 * it, which it does in every process. A row is put only if the store had applied that change before it was asked:
 * what a slow feed has not replaced yet is answered, but not kept. And only if nothing was dropped since, which the
 * mark tells (a write of our own, a repair). And, of a change that another server wrote, only QUIET_NS later, since
 * a store may show to others at once what it shows to us a moment later. All is noted by remainders of the number: a
 * neighbour's change may cost a fetch, nothing else. So once the feeds are past an LSN, nothing older is answered
 * (read your writes waits for all of them). */
#include "vector/kept.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, NOTES = 1 << 14 };
#define QUIET_NS INT64_C(10000000000)

typedef struct row {
    uint32_t num; /* UINT32_MAX: none */
    uint32_t used;
} row;

/* Of the numbers with one remainder. */
typedef struct note {
    uint64_t lsn;                   /* of the last change, and when we learned of it */
    int64_t changed_ns, written_ns; /* written: by us */
    uint32_t drops;
} note;

struct vector_kept {
    vector_kept_options o;
    const vector_kernel *kernel;
    pthread_mutex_t lock; /* of all that follows */
    size_t sets;
    row *rows;
    float *values; /* a row's vector at its place x dim */
    note *notes;
    uint32_t clock;
    metric_counter *hits, *misses;
};

vector_kept *vector_kept_new(const vector_kept_options *o) {
    vector_kept *k = calloc(1, sizeof *k);
    if (k == NULL) return NULL;
    size_t bytes = WAYS * (sizeof(row) + o->dim * sizeof(float));
    k->o = *o;
    k->kernel = vector_kernel_find("auto");
    k->sets = o->bytes > bytes ? o->bytes / bytes : 1;
    k->rows = malloc(k->sets * WAYS * sizeof *k->rows);
    k->values = malloc(k->sets * WAYS * o->dim * sizeof *k->values); /* pages that nobody wrote to take no memory */
    k->notes = calloc(NOTES, sizeof *k->notes);
    pthread_mutex_init(&k->lock, NULL);
    if (k->rows == NULL || k->values == NULL || k->notes == NULL) {
        vector_kept_free(k);
        return NULL;
    }
    for (size_t i = 0; i < k->sets * WAYS; i++) k->rows[i] = (row){.num = UINT32_MAX};
    if (o->metrics != NULL) {
        char labels[64];
        snprintf(labels, sizeof labels, "store=\"%.40s\"", o->store);
        k->hits = metrics_counter(o->metrics, "vector_kept_hits", labels, "Vectors that scoring found kept.");
        k->misses = metrics_counter(o->metrics, "vector_kept_misses", labels, "Vectors that scoring had to fetch.");
    }
    return k;
}

void vector_kept_free(vector_kept *k) {
    if (k == NULL) return;
    pthread_mutex_destroy(&k->lock);
    free(k->rows);
    free(k->values);
    free(k->notes);
    free(k);
}

static uint64_t mix(uint32_t num) {
    uint64_t x = (num + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);
    return x ^ x >> 32;
}

static note *note_of(vector_kept *k, uint32_t num) {
    return &k->notes[num % NOTES];
}

/* Of its set: the row of the number, or (victim) the one that makes room. */
static row *find(vector_kept *k, uint32_t num, bool victim) {
    row *set = &k->rows[mix(num) % k->sets * WAYS], *oldest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].num == num) return &set[i];
        if (oldest->num == UINT32_MAX) continue;
        if (set[i].num == UINT32_MAX || k->clock - set[i].used > k->clock - oldest->used) oldest = &set[i];
    }
    return victim ? oldest : NULL;
}

static float *values_of(const vector_kept *k, const row *r) {
    return k->values + (size_t)(r - k->rows) * k->o.dim;
}

vector_kept_look vector_kept_begin(vector_kept *k) {
    return (vector_kept_look){k->o.applied(k->o.ctx)};
}

bool vector_kept_score(vector_kept *k, uint32_t num, const float *unit, float *score, uint32_t *mark) {
    pthread_mutex_lock(&k->lock);
    row *r = find(k, num, false);
    if (r != NULL) {
        r->used = ++k->clock;
        *score = k->kernel->dot(unit, values_of(k, r), k->o.dim);
    }
    *mark = note_of(k, num)->drops;
    pthread_mutex_unlock(&k->lock);
    metric_add(r != NULL ? k->hits : k->misses, 1);
    return r != NULL;
}

void vector_kept_put(vector_kept *k, vector_kept_look look, uint32_t num, uint32_t mark, const float *vector) {
    pthread_mutex_lock(&k->lock);
    const note *n = note_of(k, num);
    int64_t now = clock_mono_ns(k->o.clock);
    bool ours = n->written_ns != 0 && n->written_ns + QUIET_NS > n->changed_ns;
    bool shown = n->changed_ns == 0 || ours || now - n->changed_ns > QUIET_NS;
    if (n->drops == mark && n->lsn <= look.applied && shown) {
        row *r = find(k, num, true);
        *r = (row){num, ++k->clock};
        memcpy(values_of(k, r), vector, k->o.dim * sizeof *vector);
    }
    pthread_mutex_unlock(&k->lock);
}

static void drop(vector_kept *k, uint32_t num, note *n) {
    row *r = find(k, num, false);
    if (r != NULL) r->num = UINT32_MAX;
    n->drops++;
}

void vector_kept_drop(vector_kept *k, uint32_t num, uint64_t lsn) {
    pthread_mutex_lock(&k->lock);
    note *n = note_of(k, num);
    if (lsn > n->lsn) n->lsn = lsn;
    n->changed_ns = clock_mono_ns(k->o.clock);
    drop(k, num, n);
    pthread_mutex_unlock(&k->lock);
}

void vector_kept_written(vector_kept *k, uint32_t num) {
    pthread_mutex_lock(&k->lock);
    note *n = note_of(k, num);
    n->written_ns = clock_mono_ns(k->o.clock);
    drop(k, num, n);
    pthread_mutex_unlock(&k->lock);
}

void vector_kept_drop_all(vector_kept *k, uint64_t lsn) {
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->sets * WAYS; i++) k->rows[i].num = UINT32_MAX;
    for (size_t i = 0; i < NOTES; i++) {
        if (lsn > k->notes[i].lsn) k->notes[i].lsn = lsn;
        k->notes[i].drops++;
    }
    pthread_mutex_unlock(&k->lock);
}
