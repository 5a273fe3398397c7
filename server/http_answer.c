/* From an answer to bytes on the wire: the headers that every answer carries, and the page's files with their tags. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/assets.h"
#include "server/http_private.h"

/* Nothing from elsewhere, no frames: the page works offline and shows other people's text. */
static const char policy[] = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
                             "form-action 'self'; frame-ancestors 'none'";

static void add(struct MHD_Response *response, const char *name, const char *value) {
    if (value) MHD_add_response_header(response, name, value);
}

static void add_common(server *s, struct MHD_Response *response, const char *type, const char *cache) {
    add(response, "Content-Type", type);
    add(response, "Cache-Control", cache);
    add(response, "X-Content-Type-Options", "nosniff");
    if (atomic_load(&s->stopping)) add(response, "Connection", "close");
}

static enum MHD_Result queue(struct MHD_Connection *connection, int status, struct MHD_Response *response) {
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result http_send(server *s, struct MHD_Connection *connection, api_response *r) {
    static char none[] = "";
    struct MHD_Response *response = r->body ? MHD_create_response_from_buffer_with_free_callback(r->len, r->body, free)
                                            : MHD_create_response_from_buffer(0, none, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_NO;
    if (response) {
        r->body = NULL; /* libmicrohttpd's now */
        add_common(s, response, r->content_type, "no-store");
        add(response, "Allow", r->allow);
        add(response, "Braid-Next", r->next);
        if (r->status == 503 || r->status == 504) add(response, "Retry-After", "1");
        result = queue(connection, r->status ? r->status : 503, response);
    }
    api_response_free(r);
    return result;
}

static struct MHD_Response *asset_response(asset *a, bool fresh) {
    if (fresh) {
        static char none[] = "";
        return MHD_create_response_from_buffer(0, none, MHD_RESPMEM_PERSISTENT);
    }
    if (!a->owned) return MHD_create_response_from_buffer(a->size, (void *)(uintptr_t)a->data, MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(a->size, a->owned, free);
    if (response) a->owned = NULL;
    return response;
}

bool http_send_asset(server *s, struct MHD_Connection *connection, const char *method, const char *path,
                     const char *if_none_match, int *status, size_t *sent, enum MHD_Result *result) {
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) return false;
    char *copy = strdup(path);
    const char *name = copy ? assets_name(copy) : NULL;
    asset a;
    bool found = name && assets_open(s->web, name, &a);
    free(copy);
    if (!found) return false;
    bool fresh = assets_match(if_none_match, a.etag);
    struct MHD_Response *response = asset_response(&a, fresh);
    *status = fresh ? 304 : 200;
    *sent = fresh ? 0 : a.size;
    *result = MHD_NO;
    if (response) {
        add_common(s, response, a.type, "no-cache"); /* may be kept, must be asked about */
        add(response, "ETag", a.etag);
        add(response, "Content-Security-Policy", policy);
        add(response, "Referrer-Policy", "no-referrer");
        *result = queue(connection, *status, response);
    }
    assets_close(&a);
    return true;
}
