/* Users: reading, paging, and what is known of them. Writing is api_routes_write.c. */
#include "server/api_private.h"

void api_users_list(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_list_users(call->db, call->values[0].text, (size_t)call->values[1].number, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_users_get(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_get_user(call->db, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_users_policy(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_user_policy(call->db, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_users_export(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_user_export(call->db, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_users_episodes(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_user_episodes(call->db, call->id, (size_t)call->values[0].number, &json, &err);
    api_answer_text(call, rc, json, &err);
}
