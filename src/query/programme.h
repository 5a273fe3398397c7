/* What editors and experimenters decided, as answers read it. Private to src/query.
 *
 *   programme.c   the documents in memory: an immutable set, counted, replaced as a whole
 *   rule.c        one rule from its JSON; whom and what it concerns
 *   rules.c       rules at work in one run: pins, boosts, quotas
 *   experiment.c  one experiment from its JSON; which arm a request is in, and what that changes */
#ifndef QUERY_PROGRAMME_H
#define QUERY_PROGRAMME_H

#include "query/run.h"

enum { RULES_MAX = 500, EXPERIMENTS_MAX = 100, ARMS_MAX = 10, RULE_LIST_MAX = 1000 };

typedef enum rule_kind { RULE_PIN, RULE_BOOST, RULE_QUOTA } rule_kind;

typedef struct rule_list { /* none: everybody */
    const char **values;
    size_t count;
} rule_list;

typedef struct rule {
    const char *id, *note;
    uint64_t version;
    rule_kind kind;
    bool enabled;
    int64_t from, until; /* TIME_NONE: no bound */
    /* for whom */
    const char *experiment; /* "": everybody, else who is in one of its arms */
    rule_list arms, agents, users, regions, devices, dayparts, moods;
    /* what */
    const char *item; /* PIN */
    size_t position;  /* PIN: 1.. */
    const filter *where;
    double factor;        /* BOOST */
    size_t least, within; /* QUOTA: at least so many of the first so many */
} rule;

typedef struct experiment_arm {
    const char *name;
    double share;
    /* what it changes of a request; NULL, or has_..: nothing */
    const char *agent;
    bool has_ranker, has_weights, has_diversity, has_explore;
    query_ranker ranker;
    double weights[STRAND_COUNT], diversity;
    bool explore;
} experiment_arm;

typedef struct experiment {
    const char *id, *agent, *note;
    uint64_t version, salt;
    bool running, interleave;
    double share;        /* of people who take part at all */
    double scale;        /* of the differences that are looked for */
    int64_t from, until; /* TIME_NONE: no bound */
    experiment_arm arms[ARMS_MAX];
    size_t arm_count;
} experiment;

typedef struct programme { /* immutable */
    const rule *rules;
    size_t rule_count;
    const experiment *experiments; /* in the order of their ids */
    size_t experiment_count;
} programme;

/* Memory in `a`; err says what is wrong with it. */
int rule_parse(const char *id, const json_t *json, uint64_t version, arena *a, rule *out, braid_error *err);
int experiment_parse(const char *id, const json_t *json, uint64_t version, arena *a, experiment *out, braid_error *err);

/* Shared by the two (programme_read.c). Times: TIME_NONE where absent. */
int programme_fail(braid_error *err, const char *id, const char *format, ...) __attribute__((format(printf, 3, 4)));
int programme_unpack(const char *id, const json_t *json, braid_error *err, const char *format, ...);
int programme_time(const char *id, const json_t *json, const char *name, int64_t *out, braid_error *err);
int programme_names(const char *id, const json_t *json, const char *name, arena *a, rule_list *out, braid_error *err);
bool programme_open_at(int64_t from, int64_t until, int64_t now);

/* The set as it is; NULL: nothing was decided. Release when done. */
const programme *programme_get(query_programme *p);
void programme_release(const programme *set);
/* Tells apart what is in force at a moment: part of cache keys. */
uint64_t programme_in_force(const programme *set, int64_t now);

/* rules.c: those that concern this run, chosen once its scope is known; then what they do, in order. */
int rules_choose(query_run_state *q, braid_error *err);
size_t rules_room(const query_run_state *q); /* candidates that they may add */
int rules_gather(query_run_state *q, braid_error *err);
void rules_boost(query_run_state *q);
/* Takes the pinned out of the candidates, to come back at their places. */
void rules_reserve(query_run_state *q);
/* Who must stand at the next place, as an index into the candidates, or SIZE_MAX: nobody must. `picked` stand already.
 * *drawn: it is one of those that could have been drawn (the pinned are not). */
size_t rules_place(query_run_state *q, size_t picked, bool *drawn);

void rules_release(query_run_state *q);

/* experiment.c: the arm of this request; false: it is in none. It points into the set. */
bool experiment_of(const programme *set, const query_request *rq, int64_t now, experiment_place *out);
/* The request as that arm has it, in `a`; NULL: no memory. */
const query_request *experiment_request(const experiment *e, size_t arm, const query_request *rq, arena *a);

#endif
