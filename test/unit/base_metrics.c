/* base: metrics. Quantiles are held against the sorted values; the printed text is read back line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static void one_name_and_labels_are_one_series(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_counter *a = metrics_counter(m, "writes_total", "store=\"sqlite\"", "Writes.");
    assert_non_null(a);
    assert_ptr_equal(metrics_counter(m, "writes_total", "store=\"sqlite\"", "Writes."), a);
    assert_ptr_not_equal(metrics_counter(m, "writes_total", "store=\"postgres\"", "Writes."), a);
    assert_ptr_not_equal(metrics_counter(m, "writes_total", "", "Writes."), a);
    metric_add(a, 2);
    metric_add(a, 3);
    assert_true(metric_value(a) == 5);
    metrics_free(m);
    metrics_free(NULL);
}

static void gauges_are_set_and_added_to(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_counter *g = metrics_gauge(m, "lag", "", "Lag.");
    metric_set(g, -1.5);
    assert_true(metric_value(g) == -1.5);
    metric_add(g, 2);
    assert_true(metric_value(g) == 0.5);
    metrics_free(m);
}

static void without_a_registry_nothing_happens(void **state) {
    (void)state;
    assert_null(metrics_counter(NULL, "x", "", "X."));
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe_us(NULL, 1);
    metric_decay(NULL);
    assert_true(metric_value(NULL) == 0);
    assert_true(metric_count(NULL) == 0);
    assert_true(metric_quantile_us(NULL, 0.5, 0, 7) == 7);
}

static void the_number_of_series_is_bounded(void **state) {
    (void)state;
    metrics *m = metrics_new();
    char labels[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(labels, sizeof labels, "n=\"%d\"", i);
        assert_non_null(metrics_counter(m, "many", labels, "Many."));
    }
    assert_null(metrics_counter(m, "many", "n=\"x\"", "Many."));
    assert_null(metrics_histogram(m, "other", "", "Other."));
    assert_non_null(metrics_counter(m, "many", "n=\"77\"", "Many.")); /* what is there is still found */
    assert_null(metrics_counter(m, "many", "n=\"a\nb\"", "Many."));   /* would break the text */
    metrics_free(m);
}

/* ---- histograms ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void quantiles_are_within_an_eighth(void **state) {
    (void)state;
    const uint64_t seed = 21;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    enum { COUNT = 20000 };
    static double values[COUNT];
    metrics *m = metrics_new();
    for (int shape = 0; shape < 3; shape++) {
        char labels[32];
        snprintf(labels, sizeof labels, "shape=\"%d\"", shape);
        metric_histogram *h = metrics_histogram(m, "latency", labels, "Latency.");
        for (int i = 0; i < COUNT; i++) {
            /* log-normal over five decades, gamma, and two far peaks */
            values[i] = shape == 0   ? exp(6 + 2.5 * rng_normal(&r))
                        : shape == 1 ? 1 + 300 * rng_gamma(&r, 2)
                                     : (i % 10 ? 100 : 1e6) * (1 + rng_uniform(&r));
            metric_observe_us(h, values[i]);
        }
        qsort(values, COUNT, sizeof *values, by_value);
        assert_int_equal(metric_count(h), COUNT);
        static const double qs[] = {0.001, 0.1, 0.5, 0.89, 0.95, 0.99, 0.999, 1};
        for (size_t i = 0; i < sizeof qs / sizeof *qs; i++) {
            double exact = values[(size_t)ceil(qs[i] * COUNT) - 1], got = metric_quantile_us(h, qs[i], 1, -1);
            if (exact >= 1 && fabs(got - exact) > 0.125 * exact + 1e-9)
                fail_msg("shape %d, q %g: %g instead of %g", shape, qs[i], got, exact);
        }
    }
    metrics_free(m);
}

static void a_quantile_of_too_few_values_is_the_fallback(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_histogram *h = metrics_histogram(m, "latency", "", "Latency.");
    assert_true(metric_quantile_us(h, 0.5, 0, 42) == 42); /* of nothing there is none */
    for (int i = 0; i < 9; i++) metric_observe_us(h, 100);
    assert_true(metric_quantile_us(h, 0.5, 10, 42) == 42);
    metric_observe_us(h, 100);
    double got = metric_quantile_us(h, 0.5, 10, 42);
    assert_true(got >= 96 && got <= 104); /* the bucket of 100 us */
    metrics_free(m);
}

static void odd_values_do_no_harm(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_histogram *h = metrics_histogram(m, "latency", "", "Latency.");
    metric_observe_us(h, NAN);
    assert_int_equal(metric_count(h), 0);
    metric_observe_us(h, -5);
    metric_observe_us(h, 0);
    metric_observe_us(h, 0.5);
    metric_observe_us(h, INFINITY);
    metric_observe_us(h, 1e300);
    metric_observe_us(h, 4294967295.9);
    assert_int_equal(metric_count(h), 6);
    assert_true(metric_quantile_us(h, 0, 1, -1) <= 1);
    assert_true(metric_quantile_us(h, 0.3, 1, -1) <= 1);
    assert_true(metric_quantile_us(h, 1, 1, -1) == 4294967296.0);
    assert_true(metric_quantile_us(h, 7, 1, -1) == 4294967296.0);
    metrics_free(m);
}

static void decay_lets_the_present_win(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_histogram *h = metrics_histogram(m, "latency", "", "Latency.");
    for (int i = 0; i < 1000; i++) metric_observe_us(h, 100);
    metric_decay(h);
    assert_int_equal(metric_count(h), 500);
    for (int round = 0; round < 6; round++) {
        metric_decay(h);
        for (int i = 0; i < 100; i++) metric_observe_us(h, 50000);
    }
    assert_true(metric_quantile_us(h, 0.5, 1, -1) > 40000);
    metric_histogram *other = metrics_histogram(m, "other", "", "Another.");
    metric_observe_us(other, 100);
    for (int round = 0; round < 20; round++) metrics_decay(m);
    assert_int_equal(metric_count(other), 0);
    assert_int_equal(metric_count(h), 0); /* also the last one is forgotten */
    buf text;
    buf_init(&text, 0);
    metrics_print(m, &text);
    assert_non_null(strstr(text.data, "braid_latency_count 1600\n")); /* printed counts never fall */
    buf_free(&text);
    metrics_free(m);
}

/* ---- printing ---- */

static void the_text_is_prometheus(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_histogram *h = metrics_histogram(m, "search_seconds", "store=\"hnsw\"", "Search\ntime \\ here.");
    metric_observe_us(h, 0.5);
    metric_observe_us(h, 3);
    metric_observe_us(h, 1e12);
    metric_add(metrics_counter(m, "writes_total", "", "Writes."), 18);
    metric_add(metrics_counter(m, "writes_total", "kind=\"item\"", "Writes."), UINT64_C(1) << 60);
    metric_set(metrics_gauge(m, "lag", "", "Lag."), INFINITY);
    metric_set(metrics_gauge(m, "lag", "c=\"x\"", "Lag."), 0.25);
    buf text;
    buf_init(&text, 0);
    metrics_print(m, &text);
    static const char start[] = "# HELP braid_lag Lag.\n# TYPE braid_lag gauge\n"
                                "braid_lag +Inf\nbraid_lag{c=\"x\"} 0.25\n"
                                "# HELP braid_search_seconds Search\\ntime \\\\ here.\n"
                                "# TYPE braid_search_seconds histogram\n"
                                "braid_search_seconds_bucket{store=\"hnsw\",le=\"1e-06\"} 1\n"
                                "braid_search_seconds_bucket{store=\"hnsw\",le=\"2e-06\"} 1\n"
                                "braid_search_seconds_bucket{store=\"hnsw\",le=\"4e-06\"} 2\n";
    assert_memory_equal(text.data, start, sizeof start - 1);
    static const char end[] = "braid_search_seconds_bucket{store=\"hnsw\",le=\"4294.967296\"} 2\n"
                              "braid_search_seconds_bucket{store=\"hnsw\",le=\"+Inf\"} 3\n"
                              "braid_search_seconds_sum{store=\"hnsw\"} 4294.9672995\n"
                              "braid_search_seconds_count{store=\"hnsw\"} 3\n"
                              "# HELP braid_writes_total Writes.\n# TYPE braid_writes_total counter\n"
                              "braid_writes_total 18\nbraid_writes_total{kind=\"item\"} 1152921504606846976\n";
    assert_string_equal(text.data + text.len - (sizeof end - 1), end);
    buf_free(&text);
    metrics_free(m);
}

static void printed_buckets_grow_and_bound_their_values(void **state) {
    (void)state;
    metrics *m = metrics_new();
    metric_histogram *h = metrics_histogram(m, "t", "", "T.");
    for (int e = 0; e <= 33; e++) metric_observe_us(h, ldexp(1.5, e));
    buf text;
    buf_init(&text, 0);
    metrics_print(m, &text);
    double last_le = 0;
    unsigned long long last = 0, lines = 0;
    for (const char *at = strstr(text.data, "_bucket{le="); at != NULL; at = strstr(at + 1, "_bucket{le=")) {
        double le;
        unsigned long long count;
        assert_int_equal(sscanf(at, "_bucket{le=\"%lf\"} %llu", &le, &count), 2);
        assert_true(le > last_le && count >= last);
        unsigned long long want = 0;
        for (int e = 0; e <= 33; e++) want += ldexp(1.5, e) / 1e6 <= le;
        assert_int_equal(count, want);
        last_le = le;
        last = count;
        lines++;
    }
    assert_int_equal(lines, 34);
    buf_free(&text);
    metrics_free(m);
}

/* ---- threads ---- */

enum { THREADS = 4, ADDS = 20000 };

static void *add_from_a_thread(void *arg) {
    metrics *m = arg;
    for (int i = 0; i < ADDS; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "n=\"%d\"", i % 7);
        metric_add(metrics_counter(m, "shared_total", labels, "Shared."), 1);
        metric_observe_us(metrics_histogram(m, "time", "", "Time."), i % 500);
        metric_add(metrics_gauge(m, "gauge", "", "Gauge."), 1);
    }
    return NULL;
}

static void threads_lose_no_addition(void **state) {
    (void)state;
    metrics *m = metrics_new();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_from_a_thread, m), 0);
    metric_histogram *h = metrics_histogram(m, "time", "", "Time.");
    buf text;
    buf_init(&text, 0);
    for (int i = 0; i < 20; i++) { /* readers and the decay beside them */
        buf_reset(&text);
        metrics_print(m, &text);
        metric_decay(h);
        double p99 = metric_quantile_us(h, 0.99, 1, 0);
        assert_true(p99 >= 0 && p99 <= 512);
        assert_true(metric_count(h) <= (uint64_t)THREADS * ADDS);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    double total = 0;
    for (int i = 0; i < 7; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "n=\"%d\"", i);
        total += metric_value(metrics_counter(m, "shared_total", labels, "Shared."));
    }
    assert_true(total == (double)THREADS * ADDS);
    assert_true(metric_value(metrics_gauge(m, "gauge", "", "Gauge.")) == (double)THREADS * ADDS);
    buf_reset(&text);
    metrics_print(m, &text);
    char want[64];
    snprintf(want, sizeof want, "braid_time_count %d\n", THREADS * ADDS);
    assert_non_null(strstr(text.data, want));
    buf_free(&text);
    metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_and_labels_are_one_series),
        cmocka_unit_test(gauges_are_set_and_added_to),
        cmocka_unit_test(without_a_registry_nothing_happens),
        cmocka_unit_test(the_number_of_series_is_bounded),
        cmocka_unit_test(quantiles_are_within_an_eighth),
        cmocka_unit_test(a_quantile_of_too_few_values_is_the_fallback),
        cmocka_unit_test(odd_values_do_no_harm),
        cmocka_unit_test(decay_lets_the_present_win),
        cmocka_unit_test(the_text_is_prometheus),
        cmocka_unit_test(printed_buckets_grow_and_bound_their_values),
        cmocka_unit_test(threads_lose_no_addition),
    };
    return cmocka_run_group_tests_name("base_metrics", tests, NULL, NULL);
}
