/* api: the routes, without a socket.
 *
 * One table of routes maps (method, path) to a call of braid.h. The HTTP server feeds it from connections; the command
 * line, when it works on a file, feeds it directly, so that `braid search --db FILE` and `braid search --url URL` are
 * the same request. docs/api.md is the manual of every route. Thread-safe. */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "braid.h"

typedef struct api_request {
    const char *method;          /* "GET" */
    const char *path;            /* "/v1/items/a%20b", percent-encoded, without query */
    const char *query;           /* "k=5&depth=2", percent-encoded, or "" */
    const char *idempotency_key; /* or NULL */
    const char *body;
    size_t len;
    size_t first_line; /* for a stream sent in pieces: number of the body's first line; 0 or 1: the beginning */
} api_request;

typedef struct api_response {
    int status;
    const char *content_type; /* static text */
    char *body;
    size_t len;        /* freed by api_response_free */
    char *next;        /* value of the header Braid-Next, or NULL */
    const char *route; /* pattern of the route that answered ("/v1/items/{id}"), for metrics; static */
    const char *allow; /* with 405: value of the header Allow; static or NULL */
} api_response;

/* Answers; a refusal is an answer too (problem+json). Only running out of memory for the refusal itself leaves body
 * NULL with status 503. */
void api_handle(braid_db *db, const api_request *request, api_response *response);
void api_response_free(api_response *response);
/* Makes a refusal: for what the transport finds wrong before a route is reached. */
void api_problem(api_response *response, int status, int code, const char *store, const char *detail);

/* One row of the table, for the specification, the documentation test and the metrics; NULL past the end. */
typedef struct api_route {
    const char *method, *pattern, *summary;
    bool streams; /* takes NDJSON of any length */
} api_route;
const api_route *api_route_at(size_t i);
/* The row a request would reach, or NULL. */
const api_route *api_find_route(const char *method, const char *path);

#endif
