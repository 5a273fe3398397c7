/* State: export, info, doctor, verify, metrics, liveness, readiness, the specification. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_private.h"

void api_export(api_call *call) {
    braid_error err = {0};
    char *ndjson = NULL, *next = NULL;
    int rc = braid_export(call->db, call->values[0].text, (size_t)call->values[1].number, &ndjson, &next, &err);
    if (rc == BRAID_OK && next) {
        call->response->next = strdup(next);
        if (!call->response->next) {
            api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
            braid_free(ndjson);
            braid_free(next);
            return;
        }
    }
    braid_free(next);
    api_answer_text(call, rc, ndjson, &err);
}

void api_info(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_info(call->db, call->values[0].text, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_doctor(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_doctor(call->db, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_verify(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_verify(call->db, call->values[0].number != 0, NULL, NULL, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_rebuild(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    const char *store = call->values[0].text ? call->values[0].text : "";
    int rc = braid_rebuild(call->db, store, NULL, NULL, &json, &err);
    api_answer_text(call, rc, json, &err);
}

/* The body is {"what":"all"}; an empty one means the same. */
void api_learn(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    json_error_t why = {.text = "memory ran out"};
    json_t *body = call->len ? json_loadb(call->text, call->len, JSON_REJECT_DUPLICATES, &why) : json_object();
    const char *what = json_string_value(json_object_get(body, "what"));
    bool good = json_is_object(body) && json_object_size(body) == (what ? 1 : 0);
    if (!body)
        api_refuse_invalid(call, "the body is not JSON: %s (line %d, column %d)", why.text, why.line, why.column);
    else if (!good)
        api_refuse_invalid(call, "the body must be {\"what\":\"all\"}, with similar, refresh, patterns or all");
    else {
        int rc = braid_learn(call->db, what ? what : "all", NULL, NULL, &json, &err);
        api_answer_text(call, rc, json, &err);
    }
    json_decref(body);
}

void api_learners(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_learners(call->db, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_hours(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_hours(call->db, call->values[0].text, call->values[1].text, call->values[2].text, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_patterns(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_patterns(call->db, call->values[0].text, call->values[1].text, (size_t)call->values[2].number, &json,
                            &err);
    api_answer_text(call, rc, json, &err);
}

void api_metrics(api_call *call) {
    braid_error err = {0};
    char *text = NULL;
    int rc = braid_metrics(call->db, &text, &err);
    api_answer_text(call, rc, text, &err);
}

/* Says that the process lives, so it must not need a store to say it. */
void api_healthz(api_call *call) {
    static const char ok[] = "{\"status\":\"ok\"}";
    api_answer(call, ok, sizeof ok - 1);
}

void api_readyz(api_call *call) {
    static const char ready[] = "{\"status\":\"ready\"}";
    braid_error err = {0};
    int rc = braid_ready(call->db, &err);
    if (rc == BRAID_OK)
        api_answer(call, ready, sizeof ready - 1);
    else
        api_problem(call->response, 503, rc, err.store, err.message[0] ? err.message : braid_error_sentence(rc));
}

void api_specification(api_call *call) {
    char *json = api_openapi();
    if (json)
        api_answer(call, json, strlen(json));
    else
        api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
    free(json);
}
