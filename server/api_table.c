/* The route table: all that can be asked for over HTTP, in the order of docs/api.md. */
#include "server/api_private.h"

#define JSON "application/json"

static const api_param list_items_params[] = {
    {"after", API_TEXT, 0, 0, 0, "the id after which the page begins"},
    {"limit", API_INT, 1, 1000, 50, "how many at the most"},
    {"q", API_TEXT, 0, 0, 0, "words of the title or the original title; accents and case do not matter"},
    {0}};
static const api_param list_users_params[] = {
    {"after", API_TEXT, 0, 0, 0, "the id after which the page begins"},
    {"limit", API_INT, 1, 1000, 50, "how many at the most"},
    {0}};
static const api_param similar_params[] = {
    {"k", API_INT, 1, 1000, 10, "how many at the most"},
    {"depth", API_INT, 1, 3, 2, "how many edges away at the most"},
    {0}};
static const api_param export_params[] = {
    {"cursor", API_TEXT, 0, 0, 0, "the header Braid-Next of the page before"},
    {"limit", API_INT, 1, 10000, 1000, "how many lines at the most"},
    {0}};
static const api_param info_params[] = {{"section", API_TEXT, 0, 0, 0, "one section; without it all of them"}, {0}};
static const api_param verify_params[] = {{"repair", API_BOOL, 0, 1, 0, "1: feed again what differs"}, {0}};

const api_row api_rows[] = {
    {{"POST", "/v1/items", "Write items: one object, an array, or NDJSON", true}, api_items_write, NULL, "ItemStream", "Report", JSON},
    {{"GET", "/v1/items", "Page through the items, or find some by title", false}, api_items_list, list_items_params, NULL, "ItemPage", JSON},
    {{"GET", "/v1/items/{id}", "Read an item", false}, api_items_get, NULL, NULL, "Item", JSON},
    {{"PUT", "/v1/items/{id}", "Write an item", false}, api_items_put, NULL, "Item", "Report", JSON},
    {{"DELETE", "/v1/items/{id}", "Remove an item", false}, api_items_delete, NULL, NULL, "Report", JSON},
    {{"POST", "/v1/relations", "Write relations: one object, an array, or NDJSON", true}, api_relations_write, NULL, "RelationStream", "Report", JSON},
    {{"GET", "/v1/items/{id}/similar", "Items reached over the graph", false}, api_items_similar, similar_params, NULL, "Similar", JSON},
    {{"GET", "/v1/items/{id}/graph", "The neighbourhood of an item, to draw", false}, api_items_graph, NULL, NULL, "Graph", JSON},
    {{"POST", "/v1/search", "Search by words, by a vector, or by likeness to an item", false}, api_search, NULL, "SearchQuestion", "Answer", JSON},
    {{"POST", "/v1/recommend", "Recommend for a person, without a query", false}, api_recommend, NULL, "RecommendQuestion", "Answer", JSON},
    {{"POST", "/v1/explain", "The plan of a question with its estimates; nothing is run", false}, api_explain, NULL, "Question", "Explanation", JSON},
    {{"POST", "/v1/interactions", "Record what people did: one object, an array, or NDJSON", true}, api_interactions_write, NULL, "InteractionStream", "Report",
     JSON},
    {{"GET", "/v1/users", "Page through the users", false}, api_users_list, list_users_params, NULL, "UserPage", JSON},
    {{"GET", "/v1/users/{id}", "Read a user", false}, api_users_get, NULL, NULL, "User", JSON},
    {{"PUT", "/v1/users/{id}", "Write a user", false}, api_users_put, NULL, "User", "Report", JSON},
    {{"DELETE", "/v1/users/{id}", "Remove a user and everything known of them", false}, api_users_delete, NULL, NULL, "Report", JSON},
    {{"GET", "/v1/users/{id}/policy", "Posteriors of a user's policies", false}, api_users_policy, NULL, NULL, "Policy", JSON},
    {{"GET", "/v1/users/{id}/export", "Everything that is known of a person", false}, api_users_export, NULL, NULL, "UserExport", JSON},
    {{"GET", "/v1/export", "A page of the whole database in the stream format", false}, api_export, export_params, NULL, NULL, "application/x-ndjson"},
    {{"GET", "/v1/info", "Sections of state", false}, api_info, info_params, NULL, "Info", JSON},
    {{"GET", "/v1/doctor", "Measured thresholds turned into sentences", false}, api_doctor, NULL, NULL, "Doctor", JSON},
    {{"POST", "/v1/verify", "Compare every store with the record store", false}, api_verify, verify_params, NULL, "Verification", JSON},
    {{"GET", "/metrics", "Prometheus text", false}, api_metrics, NULL, NULL, NULL, "text/plain; version=0.0.4; charset=utf-8"},
    {{"GET", "/healthz", "200 while the process lives", false}, api_healthz, NULL, NULL, "State", JSON},
    {{"GET", "/readyz", "200 when every store can answer, else 503 with the reason", false}, api_readyz, NULL, NULL, "State", JSON},
    {{"GET", "/openapi.json", "This specification", false}, api_specification, NULL, NULL, "Specification", JSON},
    {{"GET", "/", "The page", false}, NULL, NULL, NULL, NULL, "text/html"},
    {{"GET", "/assets/{name}", "A file of the page", false}, NULL, NULL, NULL, NULL, "application/octet-stream"},
};
const size_t api_row_count = sizeof api_rows / sizeof api_rows[0];
