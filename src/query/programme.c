/* Rules and experiments in memory.
 *
 * They are documents of the record store, few and small, and every answer asks for them: so all are held parsed, as one
 * immutable set that is counted. A new set is made beside the old one when a document changed, and takes its place in
 * one step: an answer that began with a set ends with it. What is in force at a moment has a fingerprint that is part
 * of every cached answer's key, so that a change, or a window that opens or closes, ends what was kept.
 *
 * A document that cannot be read (a newer version wrote it) is left out and named in the log: answers go on without
 * it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "query/programme.h"

enum { PAGE = 200 };

typedef struct programme_set {
    programme shown; /* first: this is what readers hold */
    arena *a;
    atomic_uint refs;
    rule rules[RULES_MAX];
    experiment experiments[EXPERIMENTS_MAX];
} programme_set;

struct query_programme {
    record_store *record;
    const logger *log;
    metric_counter *rules, *experiments;
    pthread_mutex_t loading; /* one at a time, so that an older reading never replaces a newer */
    pthread_mutex_t lock;
    programme_set *set;
};

int query_programme_open(record_store *record, metrics *m, const logger *log, query_programme **out, braid_error *err) {
    query_programme *p = *out = calloc(1, sizeof *p);
    if (!p) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for rules and experiments");
    pthread_mutex_init(&p->loading, NULL);
    pthread_mutex_init(&p->lock, NULL);
    p->record = record;
    p->log = log;
    p->rules = metrics_gauge(m, "rules", "", "Rules of the editors that are known.");
    p->experiments = metrics_gauge(m, "experiments", "", "Experiments that are known.");
    return query_programme_load(p, err);
}

static void set_release(programme_set *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    arena_free(s->a);
    free(s);
}

void query_programme_close(query_programme *p) {
    if (!p) return;
    set_release(p->set);
    pthread_mutex_destroy(&p->loading);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const programme *programme_get(query_programme *p) {
    if (!p) return NULL;
    pthread_mutex_lock(&p->lock);
    programme_set *s = p->set;
    if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return s ? &s->shown : NULL;
}

void programme_release(const programme *set) {
    set_release((programme_set *)set);
}

/* ---- loading ---- */
typedef struct loading {
    query_programme *p;
    programme_set *set;
    bool experiments;
    size_t seen;
    char last[MODEL_ID_BYTES_MAX + 1];
    int rc;
    braid_error *err;
} loading;

static bool load_one(void *ctx, const record_document *d) {
    loading *l = ctx;
    programme *shown = &l->set->shown;
    braid_error why = {0};
    json_error_t where;
    l->seen++;
    snprintf(l->last, sizeof l->last, "%s", d->id);
    json_t *json = json_loadb(d->body, d->body_len, 0, &where);
    int rc = json ? BRAID_OK : error_set(&why, BRAID_E_INVALID, "query", "%s", where.text);
    if (rc == BRAID_OK && l->experiments)
        rc = shown->experiment_count < EXPERIMENTS_MAX
                 ? experiment_parse(d->id, json, d->version, l->set->a, &l->set->experiments[shown->experiment_count],
                                    &why)
                 : error_set(&why, BRAID_E_TOO_LARGE, "query", "more than %d experiments", (int)EXPERIMENTS_MAX);
    else if (rc == BRAID_OK)
        rc = shown->rule_count < RULES_MAX
                 ? rule_parse(d->id, json, d->version, l->set->a, &l->set->rules[shown->rule_count], &why)
                 : error_set(&why, BRAID_E_TOO_LARGE, "query", "more than %d rules", (int)RULES_MAX);
    json_decref(json);
    if (rc == BRAID_E_NO_MEMORY) {
        l->rc = error_set(l->err, rc, why.store, "%s", why.message);
        return false;
    }
    if (rc != BRAID_OK)
        log_write(l->p->log, LOG_WARN, "query", "the %s %s is left out: %s", l->experiments ? "experiment" : "rule",
                  d->id, why.message);
    else if (l->experiments)
        shown->experiment_count++;
    else
        shown->rule_count++;
    return true;
}

static int load_kind(query_programme *p, programme_set *s, bool experiments, braid_error *err) {
    loading l = {.p = p, .set = s, .experiments = experiments, .err = err};
    int rc;
    do {
        l.seen = 0;
        rc = record_list_documents(p->record, experiments ? QUERY_EXPERIMENT : QUERY_RULE, l.last[0] ? l.last : NULL,
                                   PAGE, load_one, &l, err);
        if (rc == BRAID_OK) rc = l.rc;
    } while (rc == BRAID_OK && l.seen == PAGE);
    return rc;
}

int query_programme_load(query_programme *p, braid_error *err) {
    pthread_mutex_lock(&p->loading);
    programme_set *s = calloc(1, sizeof *s);
    if (s) s->a = arena_new(4096);
    int rc = s && s->a ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for rules and experiments");
    if (s) atomic_init(&s->refs, 1);
    if (rc == BRAID_OK) rc = load_kind(p, s, false, err);
    if (rc == BRAID_OK) rc = load_kind(p, s, true, err);
    if (rc == BRAID_OK) {
        s->shown.rules = s->rules;
        s->shown.experiments = s->experiments;
        metric_set(p->rules, (double)s->shown.rule_count);
        metric_set(p->experiments, (double)s->shown.experiment_count);
        pthread_mutex_lock(&p->lock);
        programme_set *old = p->set;
        p->set = s;
        pthread_mutex_unlock(&p->lock);
        s = old;
    }
    pthread_mutex_unlock(&p->loading);
    set_release(s);
    return rc;
}

uint64_t programme_in_force(const programme *set, int64_t now) {
    uint64_t sum = 0;
    for (size_t i = 0; set && i < set->rule_count; i++) {
        const rule *r = &set->rules[i];
        if (r->enabled && programme_open_at(r->from, r->until, now))
            sum = XXH3_64bits_withSeed(&r->version, sizeof r->version, sum + 1);
    }
    return sum; /* experiments are in the key by themselves, with their arm */
}

/* ---- before one is written ---- */
int query_document_check(const char *kind, const char *id, const json_t *json, braid_error *err) {
    arena *a = arena_new(4096);
    rule r;
    experiment *e = a ? arena_alloc(a, sizeof *e) : NULL;
    int rc = e ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a document");
    if (rc == BRAID_OK)
        rc = strcmp(kind, QUERY_RULE) == 0 ? rule_parse(id, json, 0, a, &r, err)
                                           : experiment_parse(id, json, 0, a, e, err);
    arena_free(a);
    return rc;
}
