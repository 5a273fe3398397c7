/* http, inside: the running server and a request on its way through it. */
#ifndef SERVER_HTTP_PRIVATE_H
#define SERVER_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "server/api.h"
#include "server/framing.h"
#include "server/listen.h"
#include "server/reaper.h"
#include "server/server.h"
#include "server/stream.h"
#include "server/turns.h"

enum {
    HTTP_MEMORY = 32 * 1024,          /* of a connection, for its headers and one read of its body */
    HTTP_PIECE = 256 * 1024,          /* of an NDJSON body that is written at once */
    HTTP_RATE = 64 * 1024,            /* bytes a second that a body or an answer must make beyond server.request_ms */
    HTTP_LINGER_US = 2 * 1000 * 1000, /* how long a refused body may still come, so that the client reads the refusal */
    HTTP_DISCARD_MAX = 64 * 1024 * 1024, /* and how much of it */
    HTTP_HELD_DOCUMENTS = 8              /* bodies held at once: this many of the largest allowed */
};

struct server {
    braid_db *db;
    struct MHD_Daemon *daemon;
    reaper *reaper;
    turns *turns;
    char url[LISTEN_URL_MAX];
    const char *web; /* folder of the page's files, or "" */
    bool log_requests;
    int64_t request_us;
    size_t json_max;   /* largest body that is held */
    uint64_t body_max; /* largest body at all */
    size_t held_max;   /* all held bodies together */
    atomic_size_t held;
    atomic_bool stopping;
};

/* What libmicrohttpd calls. */
void *http_begin(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *data, size_t *size, void **context);
void http_completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why);
void http_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                     enum MHD_ConnectionNotificationCode what);

/* Sends an answer and frees what it holds (http_answer.c). */
enum MHD_Result http_send(server *s, struct MHD_Connection *connection, api_response *r);
/* Sends a file of the page if the path is one of its; false: it is not. */
bool http_send_asset(server *s, struct MHD_Connection *connection, const char *method, const char *path,
                     const char *if_none_match, int *status, size_t *sent, enum MHD_Result *result);

/* "... debug server: GET /v1/items 200 412 us" on stderr; control bytes are escaped. */
void http_log(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
