/* reaper: absolute deadlines for connections. */
#ifndef SERVER_REAPER_H
#define SERVER_REAPER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct reaper reaper;
typedef struct reaper_connection reaper_connection;

/* Starts the thread; a connection gets `allowed_us` when it is added. NULL: no memory or no thread. */
reaper *reaper_start(int64_t allowed_us);
/* No connection may be registered any more. NULL allowed. */
void reaper_stop(reaper *r);

/* Watches `fd` from now on; the caller must call reaper_remove before it closes fd. NULL: no memory. Thread-safe, like
 * all below. */
reaper_connection *reaper_add(reaper *r, int fd);
void reaper_remove(reaper *r, reaper_connection *c);
/* The connection is shut down once the monotonic clock passes `at_us`; 0: never (the server itself is at work on
 * it). */
void reaper_set(reaper *r, reaper_connection *c, int64_t at_us);
/* The same while an answer is on its way: late is now who does not take it. */
void reaper_set_answering(reaper *r, reaper_connection *c, int64_t at_us);
int64_t reaper_deadline(reaper *r, reaper_connection *c);
/* Marks a request in hand, from its headers to the end of its answer. */
void reaper_busy(reaper *r, reaper_connection *c, bool busy);
/* Shuts down those without a request in hand, or all; the number that had one. */
int reaper_shutdown(reaper *r, bool all);

int64_t reaper_now_us(void);

#endif
