/* Writing: the stream format in, a report out.
 *
 * POST takes as many elements as come, and its report names the bad ones by line: status 200 even if all were refused,
 * since the call made sense. PUT and DELETE are about one thing that the address names; there a refusal is the answer's
 * status, not a line in a report. The address wins over nothing: an id in the body that differs from the address's is
 * refused, so that a slip of the pen does not overwrite another item. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_private.h"

static void write_stream(api_call *call, braid_line_kind bare, const char *idempotency_key, bool queued) {
    braid_error err = {0};
    braid_report *report = NULL;
    braid_write_options options = {.bare = bare,
                                   .idempotency_key = idempotency_key,
                                   .queued = queued,
                                   .first_line = call->request->first_line ? call->request->first_line : 1};
    int rc = braid_write(call->db, call->text, call->len, &options, &report, &err);
    if (rc) {
        api_refuse(call, rc, &err);
        return;
    }
    const char *json = braid_report_json(report);
    api_answer(call, json, strlen(json));
    braid_report_free(report);
}

void api_items_write(api_call *call) {
    write_stream(call, BRAID_LINE_ITEM, NULL, false);
}

void api_relations_write(api_call *call) {
    write_stream(call, BRAID_LINE_RELATION, NULL, false);
}

static void write_events(api_call *call, braid_line_kind bare, bool queued) {
    const char *key = call->request->idempotency_key;
    if (key && (!*key || strlen(key) > 255 || !api_utf8(key, strlen(key)))) {
        api_refuse_invalid(call, "the header Idempotency-Key wants 1 to 255 bytes of UTF-8");
        return;
    }
    write_stream(call, bare, key, queued);
}

void api_interactions_write(api_call *call) {
    const char *ack = call->values[0].text;
    if (ack && strcmp(ack, "durable") != 0 && strcmp(ack, "queued") != 0)
        api_refuse_invalid(
            call, "ack is durable (the answer comes when all is on stable storage) or queued (within about 100 ms)");
    else
        write_events(call, BRAID_LINE_INTERACTION, ack && strcmp(ack, "queued") == 0);
}

void api_episodes_write(api_call *call) {
    write_events(call, BRAID_LINE_EPISODE, false);
}

/* Writes one wrapped element; its refusal becomes the answer. */
static void write_one(api_call *call, const char *element) {
    braid_error err = {0};
    braid_report *report = NULL;
    braid_rejection no;
    int rc = braid_write(call->db, element, strlen(element), NULL, &report, &err);
    if (rc) {
        api_refuse(call, rc, &err);
        return;
    }
    if (braid_report_rejection(report, 0, &no) == BRAID_OK) {
        api_problem(call->response, braid_error_http_status(no.code), no.code, "request", no.message);
    } else {
        const char *json = braid_report_json(report);
        api_answer(call, json, strlen(json));
    }
    braid_report_free(report);
}

/* The body as a JSON object whose id is the address's, or NULL and the refusal is written. */
static json_t *body_with_id(api_call *call, const char *what) {
    json_error_t why;
    json_t *object = json_loadb(call->text, call->len, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(object)) {
        if (object)
            api_refuse_invalid(call, "the body must be one JSON object, the %s", what);
        else
            api_refuse_invalid(call, "the body is not one JSON object: %s (line %d, column %d)", why.text, why.line,
                               why.column);
        goto refused;
    }
    json_t *id = json_object_get(object, "id");
    if (id && (!json_is_string(id) || strcmp(json_string_value(id), call->id) != 0)) {
        api_refuse_invalid(
            call, "the \"id\" in the body is not that of the address, \"%.64s\"; leave it out or make them equal",
            call->id);
        goto refused;
    }
    if (!id && json_object_set_new(object, "id", json_string(call->id)) != 0) {
        api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
        goto refused;
    }
    return object;
refused:
    json_decref(object);
    return NULL;
}

static void put_one(api_call *call, const char *what) {
    json_t *object = body_with_id(call, what);
    if (!object) return;
    json_t *wrapped = json_pack("{s:o}", what, object);
    char *text = wrapped ? json_dumps(wrapped, JSON_COMPACT) : NULL;
    if (text)
        write_one(call, text);
    else
        api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
    free(text);
    json_decref(wrapped);
}

static void delete_one(api_call *call, const char *what) {
    json_t *wrapped = json_pack("{s:{s:s}}", "delete", what, call->id);
    char *text = wrapped ? json_dumps(wrapped, JSON_COMPACT) : NULL;
    if (text)
        write_one(call, text);
    else
        api_problem(call->response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
    free(text);
    json_decref(wrapped);
}

void api_items_put(api_call *call) {
    put_one(call, "item");
}

void api_users_put(api_call *call) {
    put_one(call, "user");
}

void api_items_delete(api_call *call) {
    delete_one(call, "item");
}

void api_users_delete(api_call *call) {
    delete_one(call, "user");
}
