/* listen: "HOST:PORT" -> a listening socket. */
#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include "braid.h"

enum { LISTEN_URL_MAX = 320 };

/* Opens a non-blocking listening socket and writes its URL with the real port. `address` is "127.0.0.1:8080",
 * "localhost:0", "[::1]:8080" or ":8080" (every address). Failure says how to mend. */
int listen_open(const char *address, int *fd, char url[LISTEN_URL_MAX], braid_error *err);

/* Fills err (may be NULL) and returns code. */
int listen_error(braid_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
