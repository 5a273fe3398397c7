/* What people decide: rules of the editors, agents, experiments, and how these stand; estimates of other policies. */
#include <jansson.h>

#include "server/api_private.h"

static void list_of(api_call *call, const char *kind) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_list_documents(call->db, kind, call->values[0].text, (size_t)call->values[1].number, &json, &err);
    api_answer_text(call, rc, json, &err);
}

static void get_of(api_call *call, const char *kind) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_get_document(call->db, kind, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

static void put_of(api_call *call, const char *kind) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_put_document(call->db, kind, call->id, call->text, call->len, &json, &err);
    api_answer_text(call, rc, json, &err);
}

static void delete_of(api_call *call, const char *kind) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_delete_document(call->db, kind, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_rules_list(api_call *call) {
    list_of(call, "rule");
}

void api_rules_get(api_call *call) {
    get_of(call, "rule");
}

void api_rules_put(api_call *call) {
    put_of(call, "rule");
}

void api_rules_delete(api_call *call) {
    delete_of(call, "rule");
}

void api_agents_list(api_call *call) {
    list_of(call, "agent");
}

void api_agents_get(api_call *call) {
    get_of(call, "agent");
}

void api_agents_put(api_call *call) {
    put_of(call, "agent");
}

void api_agents_delete(api_call *call) {
    delete_of(call, "agent");
}

void api_experiments_list(api_call *call) {
    list_of(call, "experiment");
}

void api_experiments_get(api_call *call) {
    get_of(call, "experiment");
}

void api_experiments_put(api_call *call) {
    put_of(call, "experiment");
}

void api_experiments_delete(api_call *call) {
    delete_of(call, "experiment");
}

void api_experiments_standing(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_experiment_standing(call->db, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_evaluate(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_evaluate(call->db, call->text, call->len, &json, &err);
    api_answer_text(call, rc, json, &err);
}
