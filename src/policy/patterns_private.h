/* What the files of patterns share (patterns.c, patterns_learn.c, patterns_lean.c); nobody else includes it. */
#ifndef POLICY_PATTERNS_PRIVATE_H
#define POLICY_PATTERNS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "policy/policy_private.h"

#define PATTERNS_DOCUMENT_KIND "learner"
#define PATTERNS_DOCUMENT_ID   "patterns"
#define PATTERNS_METHOD        "ratio-1" /* of the figures; another way of finding them has another name */

typedef struct pattern_facet {
    filter_field field;
    const char *value;
    double share;    /* of everybody's likings */
    atomic_uint num; /* in the catalogue, + 1; 0: not looked up, or it did not know it yet */
} pattern_facet;

/* As the document says it; immutable but for what is looked up. */
typedef struct pattern_set {
    atomic_uint refs;
    arena *a;       /* everything lies in it */
    bool no_memory; /* while it was read */
    uint64_t version;
    int64_t at, from, until; /* when it was learned; of the interactions that it was learned from */
    uint64_t interactions, likings, people, tested[LEARN_PATTERN_KINDS];
    double sample; /* share of the people that were asked */
    pattern_facet *facets;
    size_t facet_count;
    const char **moods; /* pattern.given - 1 */
    size_t mood_count;
    learn_pattern *list;
    size_t count;
} pattern_set;

struct policy_patterns {
    record_store *record;
    catalogue *cat;
    metric_counter *gauge;
    pthread_mutex_t lock;
    pattern_set *set; /* NULL: nothing was looked for */
};

pattern_set *patterns_get(policy_patterns *p); /* NULL: none */
void patterns_release(pattern_set *s);         /* NULL allowed */
int64_t patterns_valid_until(const pattern_set *s, learn_pattern_kind kind);
/* The catalogue's number of a facet of the set; false: it has none. */
bool patterns_facet(const policy_patterns *p, pattern_set *s, size_t facet, uint32_t *num);
int patterns_month(int64_t at, int *year); /* 0..11, UTC */
/* Of a facet that a person likes more than everybody: how many times, and the bound; false: they do not, or it is
 * not known. */
bool patterns_preferred(const policy_patterns *p, pattern_set *s, size_t facet, const policy_profile *who,
                        uint32_t *num, learn_pattern *out);

#endif
