/* The specification, made from the route table and the schemas of openapi_schemas.json (built in by tools/embed.c), so
 * that it cannot name a route or a range that the server does not have. OpenAPI 3.0.3: every generator reads it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_private.h"
#include "server/assets.h"

static json_t *schema_ref(const char *name) {
    return json_pack("{s:s+}", "$ref", "#/components/schemas/", name);
}

static json_t *param_schema(const api_param *p) {
    switch (p->type) {
    case API_INT:
        return json_pack("{s:s, s:I, s:I, s:I}", "type", "integer", "minimum", (json_int_t)p->min, "maximum",
                         (json_int_t)p->max, "default", (json_int_t)p->fallback);
    case API_BOOL:
        return json_pack("{s:s, s:[i,i], s:i}", "type", "integer", "enum", 0, 1, "default", (int)p->fallback);
    default: return json_pack("{s:s}", "type", "string");
    }
}

static json_t *parameters(const api_row *row) {
    json_t *list = json_array();
    const char *open = strchr(row->route.pattern, '{');
    if (open)
        json_array_append_new(list, json_pack("{s:s%, s:s, s:b, s:o}", "name", open + 1, strcspn(open + 1, "}"), "in",
                                              "path", "required", 1, "schema", schema_ref("Id")));
    for (const api_param *p = row->params; p && p->name; p++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "name", p->name, "in", "query", "description",
                                              p->help, "schema", param_schema(p)));
    if (strcmp(row->route.pattern, "/v1/interactions") == 0 || strcmp(row->route.pattern, "/v1/episodes") == 0)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:{s:s, s:i, s:i}}", "name", "Idempotency-Key", "in", "header",
                                        "description", "a repeat of the call with the same key changes nothing",
                                        "schema", "type", "string", "minLength", 1, "maxLength", 255));
    return list;
}

static json_t *body(const api_row *row) {
    json_t *content = json_pack("{s:{s:o}}", "application/json", "schema", schema_ref(row->takes));
    if (row->route.streams)
        json_object_set_new(content, "application/x-ndjson",
                            json_pack("{s:{s:s, s:s}}", "schema", "type", "string", "description",
                                      "one JSON object a line; of any length, written as it comes"));
    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

static json_t *answers(const api_row *row) {
    json_t *content = row->gives ? schema_ref(row->gives) : json_pack("{s:s}", "type", "string");
    json_t *good =
        json_pack("{s:s, s:{s:{s:o}}}", "description", "the answer", "content", row->type, "schema", content);
    if (strcmp(row->route.pattern, "/v1/export") == 0)
        json_object_set_new(good, "headers",
                            json_pack("{s:{s:s, s:{s:s}}}", "Braid-Next", "description",
                                      "the cursor of the next page; not there after the last", "schema", "type",
                                      "string"));
    json_t *bad = json_pack("{s:s, s:{s:{s:o}}}", "description", "a refusal", "content", "application/problem+json",
                            "schema", schema_ref("Problem"));
    return json_pack("{s:o, s:o}", "200", good, "default", bad);
}

/* "GET /v1/items/{id}/similar" -> "get_items_id_similar". */
static json_t *operation_id(const api_row *row) {
    char id[128];
    size_t n = 0;
    const char *path = row->route.pattern;
    if (strncmp(path, "/v1/", 4) == 0) path += 3;
    for (const char *p = row->route.method; *p; p++) id[n++] = (char)(*p - 'A' + 'a');
    for (const char *p = path; *p && n < sizeof id - 1; p++) {
        if (*p == '{' || *p == '}') continue;
        id[n++] = *p == '/' || *p == '.' ? '_' : *p;
    }
    while (id[n - 1] == '_') n--;
    return json_stringn(id, n);
}

static json_t *operation(const api_row *row) {
    json_t *op = json_pack("{s:o, s:s, s:o}", "operationId", operation_id(row), "summary", row->route.summary,
                           "responses", answers(row));
    json_t *list = parameters(row);
    if (json_array_size(list) > 0) json_object_set(op, "parameters", list);
    json_decref(list);
    if (row->takes) json_object_set_new(op, "requestBody", body(row));
    return op;
}

static json_t *paths(void) {
    json_t *all = json_object();
    for (size_t i = 0; i < api_row_count; i++) {
        const api_row *row = &api_rows[i];
        char method[16];
        size_t n = 0;
        if (!row->handle) continue; /* the page is not part of the API */
        for (const char *p = row->route.method; *p && n < sizeof method - 1; p++) method[n++] = (char)(*p - 'A' + 'a');
        method[n] = 0;
        json_t *path = json_object_get(all, row->route.pattern);
        if (!path) {
            path = json_object();
            json_object_set_new(all, row->route.pattern, path);
        }
        json_object_set_new(path, method, operation(row));
    }
    return all;
}

char *api_openapi(void) {
    const char *text = assets_text("server/openapi_schemas.json");
    json_t *schemas = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *all = json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o}}", "openapi", "3.0.3", "info", "title", "Braid",
                            "version", BRAID_VERSION, "description", "What should this person watch next, and why?",
                            "paths", paths(), "components", "schemas", schemas);
    char *out = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
    json_decref(all);
    return out;
}
