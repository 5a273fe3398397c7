/* Items and relations: reading, paging and walking. Writing is api_routes_write.c. */
#include "server/api_private.h"

void api_items_get(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_get_item(call->db, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_items_list(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_list_items(call->db, call->values[0].text, (size_t)call->values[1].number, call->values[2].text,
                              &json, &err);
    api_answer_text(call, rc, json, &err);
}

void api_items_similar(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_similar(call->db, call->id, (size_t)call->values[0].number, (unsigned)call->values[1].number, &json,
                           &err);
    api_answer_text(call, rc, json, &err);
}

void api_items_graph(api_call *call) {
    braid_error err = {0};
    char *json = NULL;
    int rc = braid_graph(call->db, call->id, &json, &err);
    api_answer_text(call, rc, json, &err);
}
