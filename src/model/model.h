/* model: the nouns of Braid and their one JSON form.
 *
 * An item, relation, user or interaction has exactly one way to be read from JSON and one to be written, here; HTTP,
 * the command line, the record store and the tests all use it. Reading checks everything that can be checked without a
 * database (lengths, UTF-8, ranges, finite numbers, unknown fields) and says what is wrong, where, and what is allowed.
 *
 * Nouns are plain structs whose memory belongs to the arena they were read into; strings are NUL-terminated UTF-8 and
 * never NULL ("" if absent) unless said otherwise. Reading is thread-safe (no shared state). */
#ifndef MODEL_H
#define MODEL_H

#include <jansson.h>

#include "base/base.h"

/* ---- limits: every bound has a name; those marked (option) can be lowered or raised by options ---- */
enum {
    MODEL_ID_BYTES_MAX = 255,
    MODEL_TEXT_BYTES_MAX = 64 * 1024, /* title, synopsis, ... */
    MODEL_NAME_BYTES_MAX = 255,       /* a facet value, a person's name, an attribute's name */
    MODEL_LIST_MAX = 256,             /* values in one list */
    MODEL_ATTRIBUTES_BYTES_MAX = 64 * 1024,
    MODEL_BLOCK_MAX = 10000, /* items that one user never wants to see */
    MODEL_VECTORS_MAX = 8,
    MODEL_DIM_MAX = 4096,
    MODEL_FILTER_NODES_MAX = 4096,
    MODEL_FILTER_DEPTH_MAX = 32,
    MODEL_FILTER_VALUES_MAX = 200000 /* ids in one "in" list */
};

typedef struct model_limits {
    size_t json_bytes_max;   /* one document (option limits.json_bytes) */
    unsigned json_depth_max; /* option limits.json_depth; <= 512 */
    uint32_t dim;            /* dimension of the database; 0: not fixed yet, any */
} model_limits;

/* Parses one JSON document strictly: UTF-8, depth, size, duplicate keys refused, no trailing text. Arrays and objects
 * only. The caller owns *out (json_decref). Error message holds line and column. */
int model_json_parse(const char *text, size_t len, const model_limits *limits, json_t **out, braid_error *err);

/* Takes the fields of an object by jansson's format, "{s:s, s?I}" with values s, I, F, b and o, and refuses one that the
 * format does not name. `what` begins the error's message. */
int model_json_unpack(const json_t *json, const char *what, braid_error *err, const char *format, ...);
int model_json_vunpack(const json_t *json, const char *what, braid_error *err, const char *format, va_list args);

/* json_dumps, but NULL whenever memory ran out. free() it. */
char *model_json_text(const json_t *json, size_t flags);

typedef struct model_number {
    double value;
    bool whole; /* written without point and exponent */
} model_number;
/* Reads a JSON number in at..end and gives the place after it, which is before `end`. NULL: there is none, or it is one
 * that a double does not hold as jansson would (a huge integer, infinity). */
const char *model_read_number(const char *at, const char *end, model_number *out);

/* 1..255 bytes of UTF-8 without control characters. `what` names the field in the error. */
int model_check_id(const char *id, size_t len, const char *what, braid_error *err);

/* ---- item ---- */
typedef struct item_person {
    const char *name, *role;
} item_person;
typedef struct item_vector {
    const char *name;
    uint32_t dim;
    float *values;
} item_vector;
typedef struct string_list {
    const char **values;
    size_t count;
} string_list;

#define TIME_NONE INT64_MIN /* no instant given */

typedef struct item {
    const char *id, *title, *original_title, *kind, *language, *synopsis;
    int32_t year;       /* 0: unknown; else -9999..9999 */
    int32_t duration_s; /* 0: unknown */
    string_list countries, genres, themes, moods, contexts;
    item_person *people;
    size_t people_count; /* JSON: {"name","role"} or a bare name */
    /* The right to show it, declared once: every part must hold. */
    string_list regions;     /* none: everywhere */
    int64_t available_from;  /* wall ms, inclusive; TIME_NONE: since ever */
    int64_t available_until; /* wall ms, exclusive; TIME_NONE: for ever */
    int32_t age_rating;      /* minimum age in years, 0..99 */
    int32_t tier;            /* lowest subscription tier that holds it, 0..255 */
    json_t *attributes;      /* borrowed object or NULL; owned by item_free_json */
    item_vector *vectors;
    size_t vectors_count; /* "default" is the one that is indexed */
} item;

/* Reads an item into `a`. `*out`'s attributes hold a reference of their own: call item_release() when done. */
int item_from_json(const json_t *json, const model_limits *limits, arena *a, item **out, braid_error *err);
/* Writes the canonical JSON: fixed key order, absent fields left out, vectors only if asked for. Ends without
 * newline. */
bool item_to_json(const item *it, bool with_vectors, buf *out);
void item_release(item *it); /* drops the reference to attributes; NULL allowed */
/* The vector that is indexed ("default"), or NULL. */
const item_vector *item_default_vector(const item *it);

/* ---- relation ---- */
typedef struct relation {
    const char *from, *to, *type; /* type [A-Z][A-Z0-9_]{0,63} */
    double strength;              /* 0..1, default 1 */
} relation;
int relation_from_json(const json_t *json, arena *a, relation **out, braid_error *err);
bool relation_to_json(const relation *r, buf *out);
bool relation_type_valid(const char *type);

/* ---- user ---- */
/* {"id","name","description","simulated":bool,"preferences":{"genres":{"drame":0.8,"horreur":-1},"themes":{..},..},
 *  "constraints":{"region":"CA","age":12,"tier":1,"languages":["fr"],"exclude":{"genres":["horreur"]},"block":["ID"]},
 *  "state":{"mood":..,"context":..,"vector":[..]},
 *  "attributes":{}} */
typedef struct user_preference {
    const char *field, *value;
    double weight; /* -1..1 */
} user_preference;
typedef struct user_exclusion {
    const char *field, *value;
} user_exclusion;
typedef struct user {
    const char *id, *name, *description;
    bool simulated;
    user_preference *preferences;
    size_t preferences_count;
    const char *region;    /* "" unknown */
    int32_t age;           /* -1 unknown */
    int32_t tier;          /* -1 unknown */
    string_list languages; /* none: any */
    string_list block;     /* item ids never shown */
    user_exclusion *exclusions;
    size_t exclusions_count;    /* facet values never shown */
    const char *mood, *context; /* state */
    float *state_vector;
    uint32_t state_dim;
    json_t *attributes;
} user;
int user_from_json(const json_t *json, const model_limits *limits, arena *a, user **out, braid_error *err);
bool user_to_json(const user *u, buf *out);
void user_release(user *u);

/* ---- agent ---- */
/* {"id","description","learner":"softmax|linucb|thompson","exploration":{"strength":1,"budget":0.1,"age_days_max":0},
 *  "personal":true,"episodes_days"} */
typedef enum agent_learner {
    AGENT_SOFTMAX,  /* the ranking's weights; explores by a softmax over the scores */
    AGENT_LINUCB,   /* a posterior over the weights; explores what it knows least of */
    AGENT_THOMPSON, /* the same posterior; explores by samples of the weights */
    AGENT_LEARNERS
} agent_learner;
typedef struct agent_settings {
    const char *id, *description;
    agent_learner learner;
    /* of exploring: temperature (softmax), width of the bound (linucb), spread of the samples (thompson) */
    double strength;
    double budget;         /* share of a list's places that may be given away, 0..1; 0: none */
    int32_t age_days_max;  /* older items are not explored; 0: whatever their age */
    bool personal;         /* what was learned of the person themselves is added to the weights */
    int32_t episodes_days; /* its episodes are kept for so long, 0: for ever; -1: as the option says */
    uint64_t version;      /* of its document; 0: there is none, these are the defaults. Not in the JSON */
} agent_settings;
const char *agent_learner_name(agent_learner l);
void agent_default(const char *id, agent_settings *out);
int agent_from_json(const json_t *json, arena *a, agent_settings *out, braid_error *err); /* strings in `a` */
bool agent_to_json(const agent_settings *a, buf *out);

/* ---- interaction ---- */
typedef enum interaction_type {
    INTERACTION_VIEW,
    INTERACTION_CLICK,
    INTERACTION_WATCH,
    INTERACTION_COMPLETE,
    INTERACTION_SKIP,
    INTERACTION_LIKE,
    INTERACTION_DISLIKE,
    INTERACTION_RATE,
    INTERACTION_TYPES
} interaction_type;
const char *interaction_type_name(interaction_type t);

/* {"user","item","type","watch_s","rating","at","context":{device,daypart,region,mood,..},"agent","session","recommendation_id",
 *  "idempotency_key"} */
typedef struct interaction {
    const char *user, *item, *agent;                           /* agent default "default" */
    const char *session, *recommendation_id, *idempotency_key; /* "" if absent */
    interaction_type type;
    int32_t watch_s;                              /* -1 absent */
    double rating;                                /* 0.5..5 stars; NAN absent; wanted by "rate" */
    int64_t at;                                   /* wall ms; TIME_NONE: the writer stamps it */
    const char *device, *daypart, *region, *mood; /* from context, "" if absent */
    bool simulated;                               /* context.simulated */
} interaction;
int interaction_from_json(const json_t *json, arena *a, interaction **out, braid_error *err);
bool interaction_to_json(const interaction *in, buf *out);

/* ---- episode ---- */
/* {"user","item","reward","done","at","agent","session","state","next_state","state_vector":[..],"idempotency_key"} */
typedef struct given_episode {
    const char *user, *item, *agent;                            /* agent default "default" */
    const char *session, *state, *next_state, *idempotency_key; /* "" if absent; states as text of the caller's own */
    double reward;
    bool done;
    int64_t at;    /* wall ms; TIME_NONE: the writer stamps it */
    float *vector; /* state_vector, of `dim` floats in the arena; NULL if absent */
    uint32_t dim;
} given_episode;
int episode_from_json(const json_t *json, arena *a, given_episode **out, braid_error *err);
bool episode_to_json(const given_episode *e, buf *out);

/* ---- filter ---- */
/* JSON: {"all":[F..]} {"any":[F..]} {"not":F} {"FIELD":VALUE} {"FIELD":{"eq"|"ne"|"gt"|"gte"|"lt"|"lte":VALUE,
 * "in"|"nin":[VALUE..], "exists":BOOL}}; an object with several keys means all of them; {} matches everything. FIELD is
 * an item field or "attributes.NAME" (dots descend). For a list field (genres, people, regions ...) "eq"/"in" mean
 * "holds one of"; "people" means names. Times are RFC 3339 text. */
typedef enum filter_field {
    FIELD_ID,
    FIELD_TITLE,
    FIELD_ORIGINAL_TITLE,
    FIELD_KIND,
    FIELD_LANGUAGE,
    FIELD_SYNOPSIS,
    FIELD_YEAR,
    FIELD_DURATION_S,
    FIELD_COUNTRIES,
    FIELD_GENRES,
    FIELD_THEMES,
    FIELD_MOODS,
    FIELD_CONTEXTS,
    FIELD_PEOPLE,
    FIELD_REGIONS,
    FIELD_AVAILABLE_FROM,
    FIELD_AVAILABLE_UNTIL,
    FIELD_AGE_RATING,
    FIELD_TIER,
    FIELD_ATTRIBUTE,
    FIELD_COUNT
} filter_field;
typedef enum filter_kind {
    FILTER_TRUE,
    FILTER_ALL,
    FILTER_ANY,
    FILTER_NOT,
    FILTER_IN,
    FILTER_RANGE,
    FILTER_EXISTS
} filter_kind;
typedef enum value_type { VALUE_STRING, VALUE_NUMBER, VALUE_BOOL } value_type;
typedef struct filter_value {
    value_type type;
    const char *string;
    double number;
} filter_value; /* VALUE_BOOL: number 0 or 1 */

typedef struct filter {
    filter_kind kind;
    struct filter **children;
    size_t children_count; /* ALL, ANY; NOT has one */
    filter_field field;
    const char *attribute; /* IN, RANGE, EXISTS; attribute: the path after "attributes." */
    filter_value *values;
    size_t values_count; /* IN */
    double low, high;
    bool low_open, high_open; /* RANGE; -INFINITY / INFINITY when one-sided; times as wall ms */
} filter;                     /* "ne"/"nin" become NOT IN; "exists":false becomes NOT EXISTS */

/* A filter comes from filter_from_json alone, in canonical form: the values of IN are sorted without doubles, ALL and
 * ANY have at least two children, nothing is a NOT of a NOT, and what can match no item ({"any":[]}, "in":[]) is NOT of
 * TRUE. */

int filter_from_json(const json_t *json, arena *a, filter **out, braid_error *err); /* NULL json: FILTER_TRUE */
/* Canonical text: same meaning up to order of keys gives the same text; used for cache keys. */
bool filter_print(const filter *f, buf *out);
const char *filter_field_name(filter_field f);
bool filter_field_is_list(filter_field f);
bool filter_field_is_number(filter_field f); /* year, duration_s, available_*, age_rating, tier */
/* Does the item match? The definition that every compiled form (posting lists, SQL, Milvus) must agree with; used as
 * the oracle and for small sets. */
bool filter_matches(const filter *f, const item *it);

/* ---- candidate ---- */
#define SIMILARITY_NONE (-2.0f)
typedef struct candidate {
    uint32_t num; /* item number */
    float score;  /* the strand's own scale, larger is better */
} candidate;

#endif
