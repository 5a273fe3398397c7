/* Agents: what they believe, shown, taken out and put back. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_private.h"

void api_agents_policy(api_call *call) {
    static const char *const parts[] = {"daypart", "device", "mood", "region", "taste"};
    braid_error err = {0};
    char *json = NULL;
    json_t *context = json_object();
    bool whole = context != NULL;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (call->values[i + 1].text)
            whole = whole && json_object_set_new(context, parts[i], json_string(call->values[i + 1].text)) == 0;
    char *text = whole ? json_dumps(context, JSON_COMPACT) : NULL;
    json_decref(context);
    if (!text) {
        api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
        return;
    }
    int rc = braid_policy_show(call->db, call->id, call->values[0].text, text, &json, &err);
    free(text);
    api_answer_text(call, rc, json, &err);
}

void api_agents_export(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_policy_export(call->db, call->id, call->values[0].text, &json, &err);
    api_answer_text(call, rc, json, &err);
}

/* The body names its agent; one that is not the address's is a slip of the hand. */
void api_agents_import(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    json_t *body = json_loadb(call->text, call->len, JSON_REJECT_DUPLICATES, NULL);
    const char *agent = json_string_value(json_object_get(body, "agent"));
    bool other = agent && strcmp(agent, call->id) != 0;
    json_decref(body);
    if (other) {
        api_refuse_invalid(call, "the policy is that of another agent than the address's, \"%.64s\"", call->id);
        return;
    }
    int rc = braid_policy_import(call->db, call->text, call->len, call->values[0].number != 0, &json, &err);
    api_answer_text(call, rc, json, &err);
}
