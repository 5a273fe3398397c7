/* Asking: search, recommend, explain, episodes that were alike. */
#include <jansson.h>
#include <string.h>

#include "server/api_private.h"

static void ask(api_call *call, braid_question question) {
    braid_error err = {0};
    braid_query *query = NULL;
    braid_result *result = NULL;
    int rc = braid_query_new(call->db, question, call->text, call->len, &query, &err);
    if (rc == BRAID_OK) rc = braid_run(call->db, query, &result, &err);
    if (rc) {
        api_refuse(call, rc, &err);
    } else {
        const char *json = braid_result_json(result);
        if (json)
            api_answer(call, json, strlen(json));
        else
            api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
    }
    braid_result_free(result);
    braid_query_free(query);
}

void api_search(api_call *call) {
    ask(call, BRAID_SEARCH);
}

void api_recommend(api_call *call) {
    ask(call, BRAID_RECOMMEND);
}

/* A question with words, a vector or a seed item is a search. A body that is no JSON goes on to the library, whose
 * refusal is the better one. */
static braid_question kind_of(const char *text, size_t len) {
    json_t *body = json_loadb(text, len, 0, NULL);
    bool search = json_object_get(body, "text") || json_object_get(body, "vector") || json_object_get(body, "like");
    json_decref(body);
    return search ? BRAID_SEARCH : BRAID_RECOMMEND;
}

void api_explain(api_call *call) {
    braid_error err = {0};
    braid_query *query = NULL;
    char *json = NULL;
    int rc = braid_query_new(call->db, kind_of(call->text, call->len), call->text, call->len, &query, &err);
    if (rc == BRAID_OK) rc = braid_explain(call->db, query, &json, &err);
    api_answer_text(call, rc, json, &err);
    braid_query_free(query);
}

void api_episodes_similar(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_similar_episodes(call->db, call->text, call->len, &json, &err);
    api_answer_text(call, rc, json, &err);
}
