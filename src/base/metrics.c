/* Metrics.
 *
 * A counter is one atomic word on a cache line of its own. A histogram is an array of atomic bucket counts; the
 * bucket of a value is read straight off the bits of the double: the exponent gives the power of two, the top
 * three bits of the mantissa the eighth of it, so adding costs a shift and two relaxed additions (bucket and
 * sum).
 *
 * The planner wants the present, Prometheus wants counts that never fall (a fall reads as a restart). So a
 * bucket keeps two numbers: all values ever seen, which is printed, and how many of them have been forgotten by
 * metric_decay; quantiles and metric_count look at the difference. Printed buckets are whole powers of two: 33
 * lines a series instead of 258.
 *
 * Rejected: per-thread shards (a contended addition costs some 20 ns, a query 100 us), and a t-digest (better
 * quantiles, but a lock). */
#include "metrics.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "map.h"

enum {
    METRICS_SERIES_MAX = 10000,
    METRICS_TEXT_MAX = 1024, /* bytes of name and labels */
    METRIC_POWERS = 32,      /* 1 us .. 2^32 us, that is 72 min */
    METRIC_SUBS = 8,
    METRIC_BUCKETS = METRIC_POWERS * METRIC_SUBS + 2, /* the first is below 1 us, the last above the range */
    METRIC_LINE = 64                                  /* bytes of a cache line */
};
static const double metric_over_us = 4294967296.0; /* 2^METRIC_POWERS */

typedef enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } metric_kind;

struct metric_counter {
    _Alignas(METRIC_LINE) _Atomic uint64_t bits; /* a count, or the bits of a gauge's double */
    metric_kind kind;
};

struct metric_histogram {
    _Alignas(METRIC_LINE) _Atomic uint64_t sum_ns;
    _Atomic uint64_t seen[METRIC_BUCKETS];
    _Atomic uint64_t forgotten[METRIC_BUCKETS]; /* of those seen; never more */
};

typedef struct metric_series {
    struct metric_series *next;
    char *labels;
    void *value; /* a metric_counter or metric_histogram */
} metric_series;

typedef struct metric_family {
    struct metric_family *next;
    char *name, *help;
    metric_kind kind;
    metric_series *first, *last;
} metric_family;

struct metrics {
    pthread_mutex_t lock; /* guards everything below; the values themselves are atomic */
    map *families;        /* name -> metric_family */
    map *series;          /* name{labels} -> metric_series */
    metric_family *first;
};

metrics *metrics_new(void) {
    metrics *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    pthread_mutex_init(&m->lock, NULL);
    m->families = map_new(0);
    m->series = map_new(0);
    if (m->families == NULL || m->series == NULL) {
        metrics_free(m);
        return NULL;
    }
    return m;
}

static void metrics_series_free(metric_series *s) {
    free(s->labels);
    free(s->value);
    free(s);
}

static void metrics_family_free(metric_family *f) {
    metric_series *next;
    for (metric_series *s = f->first; s != NULL; s = next) {
        next = s->next;
        metrics_series_free(s);
    }
    free(f->name);
    free(f->help);
    free(f);
}

void metrics_free(metrics *m) {
    if (m == NULL) return;
    metric_family *next;
    for (metric_family *f = m->first; f != NULL; f = next) {
        next = f->next;
        metrics_family_free(f);
    }
    map_free(m->families);
    map_free(m->series);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- registration ---- */

static bool metrics_name_valid(const char *name) {
    return name[0] != '\0' && name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
}

/* The family of that name, new if need be; NULL when memory ran out. */
static metric_family *metrics_family(metrics *m, const char *name, const char *help, metric_kind kind) {
    uint64_t found;
    if (map_get(m->families, name, &found)) {
        metric_family *f = (metric_family *)(uintptr_t)found;
        BRAID_ASSERT(f->kind == kind); /* one name, one type: Prometheus refuses anything else */
        return f;
    }
    metric_family *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->kind = kind;
    f->name = strdup(name);
    f->help = strdup(help);
    if (f->name == NULL || f->help == NULL || !map_put(m->families, name, (uint64_t)(uintptr_t)f)) {
        metrics_family_free(f);
        return NULL;
    }
    f->next = m->first;
    m->first = f;
    return f;
}

static void *metrics_value_new(metric_kind kind) {
    size_t size = kind == METRIC_HISTOGRAM ? sizeof(metric_histogram) : sizeof(metric_counter);
    void *value = aligned_alloc(METRIC_LINE, size);
    if (value == NULL) return NULL;
    memset(value, 0, size);
    if (kind != METRIC_HISTOGRAM) ((metric_counter *)value)->kind = kind;
    return value;
}

static metric_series *metrics_series_add(metrics *m, metric_family *f, const char *key, const char *labels) {
    metric_series *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->labels = strdup(labels);
    s->value = metrics_value_new(f->kind);
    if (s->labels == NULL || s->value == NULL || !map_put(m->series, key, (uint64_t)(uintptr_t)s)) {
        metrics_series_free(s);
        return NULL;
    }
    if (f->last != NULL)
        f->last->next = s;
    else
        f->first = s;
    f->last = s;
    return s;
}

static void *metrics_register(metrics *m, const char *name, const char *labels, const char *help, metric_kind kind) {
    BRAID_ASSERT(metrics_name_valid(name));
    if (m == NULL || strchr(labels, '\n') != NULL) return NULL;
    buf key;
    buf_init(&key, METRICS_TEXT_MAX);
    void *value = NULL;
    if (!buf_printf(&key, "%s{%s}", name, labels)) goto cleanup;
    pthread_mutex_lock(&m->lock);
    uint64_t found;
    metric_family *f = metrics_family(m, name, help, kind);
    if (f != NULL && map_get(m->series, key.data, &found)) {
        value = ((metric_series *)(uintptr_t)found)->value;
    } else if (f != NULL && map_count(m->series) < METRICS_SERIES_MAX) {
        metric_series *s = metrics_series_add(m, f, key.data, labels);
        value = s != NULL ? s->value : NULL;
    }
    pthread_mutex_unlock(&m->lock);
cleanup:
    buf_free(&key);
    return value;
}

metric_counter *metrics_counter(metrics *m, const char *name, const char *labels, const char *help) {
    return metrics_register(m, name, labels, help, METRIC_COUNTER);
}

metric_counter *metrics_gauge(metrics *m, const char *name, const char *labels, const char *help) {
    return metrics_register(m, name, labels, help, METRIC_GAUGE);
}

metric_histogram *metrics_histogram(metrics *m, const char *name, const char *labels, const char *help) {
    return metrics_register(m, name, labels, help, METRIC_HISTOGRAM);
}

/* ---- counters and gauges ---- */

static double metric_from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t metric_to_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void metric_add(metric_counter *c, uint64_t n) {
    if (c == NULL) return;
    if (c->kind == METRIC_COUNTER) {
        atomic_fetch_add_explicit(&c->bits, n, memory_order_relaxed);
        return;
    }
    uint64_t old = atomic_load_explicit(&c->bits, memory_order_relaxed), new;
    do new = metric_to_bits(metric_from_bits(old) + (double)n);
    while (!atomic_compare_exchange_weak_explicit(&c->bits, &old, new, memory_order_relaxed, memory_order_relaxed));
}

void metric_set(metric_counter *c, double value) {
    if (c == NULL) return;
    BRAID_ASSERT(c->kind == METRIC_GAUGE); /* a counter only grows */
    atomic_store_explicit(&c->bits, metric_to_bits(value), memory_order_relaxed);
}

double metric_value(const metric_counter *c) {
    if (c == NULL) return 0;
    uint64_t bits = atomic_load_explicit(&c->bits, memory_order_relaxed);
    return c->kind == METRIC_GAUGE ? metric_from_bits(bits) : (double)bits;
}

/* ---- histograms ---- */

static size_t metric_bucket(double us) {
    if (us < 1.0) return 0;
    if (us >= metric_over_us) return METRIC_BUCKETS - 1;
    /* 11 bits of exponent (1023 means 2^0) and the first 3 of the mantissa */
    return (size_t)((metric_to_bits(us) >> 49) - UINT64_C(1023) * METRIC_SUBS) + 1;
}

/* Where bucket i begins; it ends where i + 1 begins. */
static double metric_bucket_start(size_t i) {
    if (i == 0) return 0;
    size_t sub = (i - 1) % METRIC_SUBS;
    return ldexp(1.0 + (double)sub / METRIC_SUBS, (int)((i - 1) / METRIC_SUBS));
}

void metric_observe_us(metric_histogram *h, double microseconds) {
    if (h == NULL || isnan(microseconds)) return;
    double us = microseconds < 0 ? 0 : microseconds;
    double ns = (us < metric_over_us ? us : metric_over_us) * 1000.0;
    atomic_fetch_add_explicit(&h->seen[metric_bucket(us)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, (uint64_t)ns, memory_order_relaxed);
}

/* Values not forgotten. `forgotten` is read first, with acquire, since it is only ever raised to a `seen` that
 * was there before. */
static uint64_t metric_present(const metric_histogram *h, size_t i) {
    uint64_t forgotten = atomic_load_explicit(&h->forgotten[i], memory_order_acquire);
    return atomic_load_explicit(&h->seen[i], memory_order_relaxed) - forgotten;
}

uint64_t metric_count(const metric_histogram *h) {
    uint64_t count = 0;
    for (size_t i = 0; h != NULL && i < METRIC_BUCKETS; i++) count += metric_present(h, i);
    return count;
}

double metric_quantile_us(const metric_histogram *h, double q, uint64_t min_count, double fallback) {
    uint64_t counts[METRIC_BUCKETS], total = 0;
    for (size_t i = 0; h != NULL && i < METRIC_BUCKETS; i++) total += counts[i] = metric_present(h, i);
    if (total == 0 || total < min_count) return fallback;
    double rank = (q < 0 ? 0 : q > 1 ? 1 : q) * (double)total, before = 0;
    for (size_t i = 0; i < METRIC_BUCKETS - 1; i++) {
        if (counts[i] > 0 && before + (double)counts[i] >= rank) {
            double start = metric_bucket_start(i), width = metric_bucket_start(i + 1) - start;
            return start + width * (rank - before) / (double)counts[i];
        }
        before += (double)counts[i];
    }
    return metric_over_us;
}

void metric_decay(metric_histogram *h) {
    for (size_t i = 0; h != NULL && i < METRIC_BUCKETS; i++) {
        uint64_t forgotten = atomic_load_explicit(&h->forgotten[i], memory_order_relaxed);
        uint64_t present = atomic_load_explicit(&h->seen[i], memory_order_relaxed) - forgotten;
        if (present == 0) continue;
        /* rounded up, so that a lone value goes too; should another decay come first, its halving is enough */
        uint64_t next = forgotten + (present + 1) / 2;
        atomic_compare_exchange_strong_explicit(&h->forgotten[i], &forgotten, next, memory_order_release,
                                                memory_order_relaxed);
    }
}

void metrics_decay(metrics *m) {
    if (m == NULL) return;
    pthread_mutex_lock(&m->lock);
    for (metric_family *f = m->first; f != NULL; f = f->next)
        for (metric_series *s = f->first; f->kind == METRIC_HISTOGRAM && s != NULL; s = s->next) metric_decay(s->value);
    pthread_mutex_unlock(&m->lock);
}

/* ---- printing ---- */

static void metrics_print_real(buf *out, double value) {
    if (isfinite(value))
        buf_json_real(out, value);
    else
        buf_puts(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
}

/* "braid_name_bucket{labels,le="0.001"} 17" */
static void metrics_print_bucket(buf *out, const char *name, const char *labels, double le_s, uint64_t count) {
    buf_printf(out, "braid_%s_bucket{%s%sle=\"", name, labels, labels[0] != '\0' ? "," : "");
    metrics_print_real(out, le_s);
    buf_printf(out, "\"} %" PRIu64 "\n", count);
}

static void metrics_print_plain(buf *out, const char *name, const char *suffix, const char *labels) {
    bool any = labels[0] != '\0';
    buf_printf(out, "braid_%s%s%s%s%s ", name, suffix, any ? "{" : "", labels, any ? "}" : "");
}

static void metrics_print_histogram(buf *out, const char *name, const char *labels, const metric_histogram *h) {
    uint64_t count = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        count += atomic_load_explicit(&h->seen[i], memory_order_relaxed);
        if (i % METRIC_SUBS == 0) /* bucket 8e is the last one below 2^e us */
            metrics_print_bucket(out, name, labels, metric_bucket_start(i + 1) / 1e6, count);
    }
    metrics_print_bucket(out, name, labels, INFINITY, count);
    metrics_print_plain(out, name, "_sum", labels);
    metrics_print_real(out, (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / 1e9);
    buf_putc(out, '\n');
    metrics_print_plain(out, name, "_count", labels);
    buf_printf(out, "%" PRIu64 "\n", count);
}

static void metrics_print_help(buf *out, const char *help) {
    for (const char *at = help; *at != '\0'; at++) {
        if (*at == '\n')
            buf_puts(out, "\\n");
        else if (*at == '\\')
            buf_puts(out, "\\\\");
        else
            buf_putc(out, *at);
    }
}

static void metrics_print_family(buf *out, const metric_family *f) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP braid_%s ", f->name);
    metrics_print_help(out, f->help);
    buf_printf(out, "\n# TYPE braid_%s %s\n", f->name, types[f->kind]);
    for (const metric_series *s = f->first; s != NULL; s = s->next) {
        if (f->kind == METRIC_HISTOGRAM) {
            metrics_print_histogram(out, f->name, s->labels, s->value);
            continue;
        }
        const metric_counter *c = s->value;
        metrics_print_plain(out, f->name, "", s->labels);
        if (f->kind == METRIC_GAUGE)
            metrics_print_real(out, metric_value(c));
        else
            buf_printf(out, "%" PRIu64, atomic_load_explicit(&c->bits, memory_order_relaxed));
        buf_putc(out, '\n');
    }
}

static int metrics_by_name(const void *a, const void *b) {
    return strcmp((*(metric_family *const *)a)->name, (*(metric_family *const *)b)->name);
}

void metrics_print(const metrics *m, buf *out) {
    pthread_mutex_t *lock = &((metrics *)m)->lock; /* const for the caller: nothing that can be seen changes */
    pthread_mutex_lock(lock);
    size_t count = map_count(m->families), i = 0;
    metric_family **sorted = malloc((count > 0 ? count : 1) * sizeof *sorted);
    if (sorted != NULL) {
        for (metric_family *f = m->first; f != NULL; f = f->next) sorted[i++] = f;
        qsort(sorted, count, sizeof *sorted, metrics_by_name);
        for (i = 0; i < count; i++) metrics_print_family(out, sorted[i]);
    } else {
        out->failed = true;
    }
    pthread_mutex_unlock(lock);
    free(sorted);
}
