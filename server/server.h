/* server: HTTP over libmicrohttpd, in front of api.h. */
#ifndef SERVER_H
#define SERVER_H

#include "braid.h"

typedef struct server server;

/* Listens as options server.* say and serves until server_stop. Failure (port taken, address not ours) says how to
 * mend. `db` and `options` must outlive it. */
int server_start(braid_db *db, const braid_options *options, server **out, braid_error *err);
/* Stops accepting, lets requests in flight end (at most 5 s), closes. NULL allowed. */
void server_stop(server *s);
/* The address that is listened on, "http://127.0.0.1:8080" (with the real port when 0 was asked for). Borrowed. */
const char *server_url(const server *s);

#endif
