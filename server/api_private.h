/* api, inside: the row of the route table, a call in progress, and the helpers that the handlers share.
 *
 * A row declares everything about a route once: method, pattern, query parameters with their ranges, the schemas of its
 * body and answer. Dispatch, range checks, the Allow header and /openapi.json are all read from it. */
#ifndef SERVER_API_PRIVATE_H
#define SERVER_API_PRIVATE_H

#include "server/api.h"

enum {
    API_SEGMENTS_MAX = 8, /* of a path; no pattern has more than five */
    API_PARAMS_MAX = 6,   /* query parameters of one route */
    API_DETAIL_MAX = 512  /* bytes of a refusal's detail */
};

typedef enum api_param_type { API_TEXT, API_INT, API_BOOL } api_param_type;

typedef struct api_param {
    const char *name;
    api_param_type type;
    int64_t min, max, fallback; /* INT; fallback of BOOL too */
    const char *help;
} api_param;

typedef struct api_value {
    const char *text; /* TEXT: NULL if absent or empty */
    int64_t number;   /* INT, BOOL */
} api_value;

typedef struct api_call api_call;
typedef void api_handler(api_call *call);

typedef struct api_row {
    api_route route;
    api_handler *handle;     /* NULL: the transport's own (the page's files) */
    const api_param *params; /* ends with name NULL; may be NULL */
    const char *takes;       /* schema of the body, or NULL: none is read */
    const char *gives;       /* schema of the answer, or NULL if it is not JSON */
    const char *type;        /* content type of the answer */
} api_row;

/* A request that has found its route. */
struct api_call {
    braid_db *db;
    const api_request *request;
    const api_row *row;
    const char *id;                   /* decoded {id}, or NULL */
    api_value values[API_PARAMS_MAX]; /* as row->params */
    const char *text;                 /* the body, never NULL */
    size_t len;                       /* 0: text is "" */
    api_response *response;
};

extern const api_row api_rows[];
extern const size_t api_row_count;

/* ---- answers (api.c) ---- */
/* Both take a copy; status 200 and the row's content type. */
void api_answer(api_call *call, const char *text, size_t len);
/* Answers with `text` and frees it, or refuses with `err` when rc is not BRAID_OK: the tail of most handlers. */
void api_answer_text(api_call *call, int rc, char *text, const braid_error *err);
void api_refuse(api_call *call, int rc, const braid_error *err);
void api_refuse_invalid(api_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- addresses (api_path.c): no memory of their own, no database ---- */
/* Decodes %XX in place (and '+' as a space when `plus`). False: a broken escape, %00, or not UTF-8. */
bool api_decode(char *text, bool plus);
bool api_utf8(const char *text, size_t len);
/* Cuts "/a/b" in place into decoded segments. -1: an escape is broken; -2: no path of ours looks like this. */
int api_split_path(char *path, const char *segments[API_SEGMENTS_MAX]);
/* Whether the segments fit "/v1/items/{id}"; *id is the decoded {…} or NULL. */
bool api_match(const char *pattern, const char *const *segments, int count, const char **id);
/* Reads "k=5&depth=2" (cut in place) by the row's parameters into values; on failure a sentence in `why`. */
bool api_parse_query(const api_row *row, char *query, api_value values[API_PARAMS_MAX], char *why, size_t why_size);

/* ---- the specification (openapi.c) ---- */
/* The OpenAPI document, to be freed with free(); NULL when memory ran out. */
char *api_openapi(void);

/* ---- handlers (api_routes_*.c) ---- */
api_handler api_items_write, api_items_get, api_items_put, api_items_delete, api_items_list, api_items_similar,
    api_items_graph;
api_handler api_relations_write, api_interactions_write, api_episodes_write, api_episodes_similar, api_users_episodes;
api_handler api_users_list, api_users_get, api_users_put, api_users_delete, api_users_policy, api_users_export;
api_handler api_agents_list, api_agents_get, api_agents_put, api_agents_delete, api_agents_policy, api_agents_export,
    api_agents_import;
api_handler api_rules_list, api_rules_get, api_rules_put, api_rules_delete;
api_handler api_experiments_list, api_experiments_get, api_experiments_put, api_experiments_delete,
    api_experiments_standing;
api_handler api_evaluate;
api_handler api_search, api_recommend, api_explain, api_export, api_info, api_doctor, api_verify, api_rebuild;
api_handler api_learn, api_learners, api_hours, api_patterns;
api_handler api_metrics, api_healthz, api_readyz, api_specification;

#endif
