/* eval: how well Braid recommends, by offline protocols over the MovieLens layout, through braid.h alone.
 *
 * What serves is what is judged: each protocol makes a database, writes films and the ratings that may be known,
 * learns, and then asks the questions that a page would ask, at the moment when they would have been asked. Nothing of
 * what is held back is ever written before it was asked for. The protocols, in full in docs/cli.md:
 *
 *   p1  what will a person like next: the last fifth of each history is held back
 *   p2  what else does a person like: a random fifth of the likes among people and films that have at least five
 *   p3  films that nobody has rated: a tenth of the films is held back, ten times a tenth being all; five of these folds
 *   p4  a stream: twenty films at a time, one of them the one that was chosen; after each the choice is told
 *
 * Films and people are dense numbers here: films by ascending movieId, people by ascending userId. */
#ifndef CLI_EVAL_H
#define CLI_EVAL_H

#include "cli.h"

enum {
    EVAL_K = 10,
    EVAL_LIKED = 4,       /* a rating of at least this is a like */
    EVAL_SLATE = 20,      /* films a question of p4 */
    EVAL_FOLDS = 5,       /* of p3 */
    EVAL_FOLD_SHARE = 10, /* a fold is a tenth of the films */
    EVAL_RANKERS_MAX = 8,
    EVAL_RANKED_MAX = 1000, /* results of one answer */
    EVAL_ROUNDS = 2000,     /* of the bootstrap; 1,000 for p4 */
};

/* ---- what is there (eval_movielens.c, eval_content.c) ---- */

typedef struct eval_rating {
    uint32_t user, film;
    float value;
    int64_t at; /* seconds since 1970 */
} eval_rating;

typedef struct eval_tag {
    uint32_t user, film;
    int64_t at;
    char *text; /* in lower case */
} eval_tag;

typedef struct eval_data {
    uint32_t film_count, user_count;
    int64_t *films, *users; /* ids, ascending */
    json_t **items;         /* title, year, genres, people; until eval_data_finish */
    char **lines;           /* the same as JSON, without the last brace */
    char **vectors;       /* numbers with commas between them; NULL where none is given, the whole where no matrix is */
    eval_rating *ratings; /* by user, then film */
    size_t rating_count;
    eval_tag *tags; /* by film, then text; of films and people that have ratings */
    size_t tag_count;
    uint32_t dimension; /* of the given vectors; 0: none */
} eval_data;

/* Reads movies.csv, ratings.csv and, if there, tags.csv of the folder. A row that cannot be read is an error:
 * figures over other data than the reader believes are worth nothing. Prints the error. */
int eval_data_read(const cli *c, const char *folder, eval_data *d);
/* People from lines {"movieId":..,"cast":[..]}, vectors from a matrix whose rows are in the order of these lines
 * (NULL: none). */
int eval_content_read(const cli *c, const char *lines, const char *matrix, eval_data *d);
/* Puts `lines` together. */
void eval_data_finish(eval_data *d);
void eval_data_free(eval_data *d);
/* The number of that id, or UINT32_MAX. */
uint32_t eval_film(const eval_data *d, int64_t id);
uint32_t eval_user(const eval_data *d, int64_t id);

/* ---- what is known, what is asked for (eval_splits.c) ---- */

typedef enum eval_set { EVAL_OUT, EVAL_TRAIN, EVAL_VALIDATION, EVAL_TEST } eval_set;

/* Each gives every rating, in the order of `ratings`, its set. */
void eval_split_time(const eval_data *d, unsigned char *sets);
void eval_split_random(const eval_data *d, unsigned char *sets);
/* Gives every film its set: the fold (0..4) is EVAL_TEST; of fold 0 there is an EVAL_VALIDATION too. */
void eval_split_films(const eval_data *d, unsigned fold, unsigned char *sets);
/* Compares with p1.csv, p2.csv, p3_items.csv of a folder. Prints the first difference. */
int eval_splits_check(const cli *c, const eval_data *d, const char *folder, const char *protocol);

/* ---- the stream of p4 (eval_slates.c) ---- */

typedef struct eval_slates eval_slates;
/* Events are all ratings in the order of (time, user, film); slates come for those from `first` on. */
eval_slates *eval_slates_new(const eval_data *d, bool popular);
void eval_slates_free(eval_slates *s);
size_t eval_slates_first(const eval_slates *s); /* half of the events */
const eval_rating *eval_slates_event(const eval_slates *s, size_t t);
/* The next event's films, among them the one that was rated; false at the end, and where the person
 * has rated so much that twenty others are not to be found. */
bool eval_slates_next(eval_slates *s, const eval_rating **event, uint32_t films[EVAL_SLATE]);
/* Compares with the beginnings p4_head_uni.csv and p4_head_pop.csv of a folder. Prints the first difference. */
int eval_slates_check(const cli *c, const eval_data *d, const char *folder);

/* ---- figures (eval_metrics.c) ---- */

typedef struct eval_score {
    double ndcg, recall, hit;
} eval_score;

/* The first `k` of a list against the films that are marked in `good`, of which there are `goods` (> 0). */
eval_score eval_score_of(const uint32_t *list, size_t n, const unsigned char *good, size_t goods, size_t k);
/* Rank of each film by its count, 1 the largest, the lower number first among equals. */
void eval_ranks(const uint32_t *counts, uint32_t n, uint32_t *ranks);
/* 95 % of the bootstrapped values of sum(value) / sum(weight) over people; `weights` NULL: all 1. */
void eval_interval(const double *values, const double *weights, size_t n, unsigned rounds, double *low, double *high);
double eval_mean(const double *values, size_t n);
double eval_deviation(const double *values, size_t n);        /* of a sample: n - 1 */
double eval_quantile(double *values, size_t n, double share); /* sorts them */

/* ---- one run of the command ---- */

typedef struct eval {
    cli *c;
    eval_data data;
    const char *folder;          /* of the databases */
    bool keep, validation, bare; /* bare: without the given vectors */
    char dimension[CLI_SHORT];   /* of the database, where vectors are not given */
    const char *rankers[EVAL_RANKERS_MAX];
    size_t ranker_count;
    int64_t users_max, events_max;   /* 0: all */
    bool only_uniform, only_popular; /* p4: one of the two streams */
    int64_t relearn;                 /* p4: events between two times of learning; 0: once, before them */
} eval;

/* ---- a database of its own (eval_base.c) ---- */

typedef struct eval_fit {
    const unsigned char *films; /* which are there; NULL: all */
    const unsigned char *known; /* per rating: whether it is written */
    bool tags;                  /* as themes: those whose author's rating of the film is written */
    int64_t tags_before;        /* and that are older; INT64_MAX: of any time */
    bool at_random;             /* what is asked for was held back at random, so the ranking is to be fitted that way */
} eval_fit;

typedef struct eval_base {
    eval *e;
    braid_db *db;
    char *path;
    char *name;              /* "p1" */
    json_t *learned;         /* what braid_learn said */
    double write_s, learn_s; /* learn_s: of the last time */
    size_t films, ratings;
    uint32_t *counts; /* ratings written of each film */
    int64_t *last;    /* time of each person's last one; INT64_MIN: none */
} eval_base;

/* Makes the database, writes, learns. Prints the error; then there is nothing to close. */
int eval_base_make(eval *e, const char *name, const eval_fit *fit, eval_base *b);
void eval_base_close(eval_base *b);
/* Learns again from what was written since. */
int eval_base_learn(eval_base *b);

typedef struct eval_question {
    uint32_t user;
    int64_t at;
    unsigned k;
    const char *ranker;
    const char *candidates; /* a JSON array, or NULL: every film that the person has not seen */
} eval_question;

typedef struct eval_answer {
    uint32_t films[EVAL_RANKED_MAX];
    size_t count;
    char id[64]; /* recommendation_id */
    bool degraded;
    double took_us; /* parsing, running, reading */
} eval_answer;

int eval_ask(eval_base *b, const eval_question *q, eval_answer *out);
/* Writes what the person did after that answer and waits until every store knows of it. */
int eval_tell(eval_base *b, const eval_rating *rating, const char *recommendation_id);
/* ["ml-1","ml-2"]; owned by the caller. */
char *eval_candidates(const eval_data *d, const uint32_t *films, size_t n);

/* ---- the protocols (eval_ranking.c: p1 to p3; eval_stream.c: p4) ---- */

/* Each appends its results to `out` (an array of objects; "protocol", "users", "rankers": [..], ..). */
int eval_p1(eval *e, json_t *out);
int eval_p2(eval *e, json_t *out);
int eval_p3(eval *e, json_t *out);
int eval_p4(eval *e, json_t *out);

/* ---- eval_print.c ---- */
/* One result as a table; `on` says of what part. */
void eval_print(const json_t *result, const char *on);

#endif
