/* Counters, gauges and latency histograms, cheap enough for the read path, printed as Prometheus text.
 *
 * A histogram is log-linear (HDR-like): 8 sub-buckets per power of two from 1 us to about 1 h, so a quantile is within
 * 12.5 % and adding is one relaxed atomic add. The same histograms feed the planner (live p50/p99 per store), hence no
 * constants there.
 *
 * Registration takes a lock and returns a pointer that stays valid until the registry is freed; look it up once. Adding
 * is lock-free and thread-safe; reading sees a recent state. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdint.h>

#include "buf.h"

typedef struct metrics metrics;
typedef struct metric_counter metric_counter; /* also a gauge */
typedef struct metric_histogram metric_histogram;

metrics *metrics_new(void);
void metrics_free(metrics *m);

/* `m` may be NULL: then so is the result. Same name and labels give the same pointer. `name` without the "braid_"
 * prefix, [a-z_]+; `labels` "" or a="b",c="d"; help one sentence. NULL when memory ran out or the ceiling of 10,000
 * series is met (adding to NULL is allowed and does nothing). */
metric_counter *metrics_counter(metrics *m, const char *name, const char *labels, const char *help);
metric_counter *metrics_gauge(metrics *m, const char *name, const char *labels, const char *help);
metric_histogram *metrics_histogram(metrics *m, const char *name, const char *labels, const char *help);

void metric_add(metric_counter *c, uint64_t n);
void metric_set(metric_counter *c, double value); /* gauges */
double metric_value(const metric_counter *c);

void metric_observe_us(metric_histogram *h, double microseconds);
/* The q-quantile (0..1) in microseconds; `fallback` while fewer than `min_count` values were seen. */
double metric_quantile_us(const metric_histogram *h, double q, uint64_t min_count, double fallback);
uint64_t metric_count(const metric_histogram *h); /* of the values that the quantile looks at: metric_decay lowers it */
/* Halves every bucket for the two above (what is printed never falls, as Prometheus wants), so that the planner's view
 * follows the present; called by a housekeeping thread. */
void metric_decay(metric_histogram *h);
void metrics_decay(metrics *m); /* every histogram */

/* Appends every series with HELP and TYPE lines, families sorted by name. Histograms are printed as _bucket/_sum/_count
 * in seconds. */
void metrics_print(const metrics *m, buf *out);

#endif
