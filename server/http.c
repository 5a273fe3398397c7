/* Starting and stopping: a listening socket, a thread of libmicrohttpd's for each connection, a reaper.
 *
 * A call into the library may take as long as its deadline allows, so no two connections share a thread: the answer
 * of one never waits for the other's (turns.c bounds how many are at work). A thread that waits for its client costs
 * some 20 KB. Rejected: a pool of polling threads, each with its share of the connections, which was here before (an
 * answer of 0.5 ms took 300 ms beside a slow one); suspending a connection while workers answer it, which wants a
 * second hand-over of every request and cannot be done in the midst of a body that is written as it comes. Stopping
 * is by steps: no new connections, idle ones cut, those with a request in hand get their answer within five seconds,
 * then the rest is cut. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/http_private.h"

enum { STOP_WAIT_US = 5 * 1000 * 1000, STOP_STEP_US = 10 * 1000, OTHER_FILES = 256 };

/* Addresses reach us as they were sent: decoding is api_path.c's, after the path was cut at its slashes. */
static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *text) {
    (void)cls;
    (void)connection;
    return strlen(text);
}

/* A connection needs a descriptor: raises the soft limit towards what was asked for, and settles for what the system
 * gives. */
static unsigned connections_possible(int64_t wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return (unsigned)wanted;
    rlim_t need = (rlim_t)wanted + OTHER_FILES;
    if (limit.rlim_cur < need) {
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > need ? need : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= need) return (unsigned)wanted;
    unsigned possible = limit.rlim_cur > OTHER_FILES * 2 ? (unsigned)(limit.rlim_cur - OTHER_FILES) : OTHER_FILES;
    if (possible > (unsigned)wanted) possible = (unsigned)wanted;
    http_log("warn", "only %u of %lld connections are possible: raise the limit of open files (ulimit -n)", possible,
             (long long)wanted);
    return possible;
}

static struct MHD_Daemon *start_daemon(server *s, int fd, const braid_options *options) {
    unsigned connections = connections_possible(braid_options_get_int(options, "server.connections_max"));
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ITC;
    return MHD_start_daemon(flags, 0, NULL, NULL, http_handle, s, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                            (unsigned)braid_options_get_int(options, "server.per_address_max"),
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_URI_LOG_CALLBACK, http_begin, s, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, s,
                            MHD_OPTION_NOTIFY_COMPLETED, http_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
                            http_connection, s, MHD_OPTION_END);
}

int server_start(braid_db *db, const braid_options *options, server **out, braid_error *err) {
    int fd = -1, rc;
    *out = NULL;
    server *s = calloc(1, sizeof *s);
    if (!s) return listen_error(err, BRAID_E_NO_MEMORY, "no memory for the server");
    s->db = db;
    s->web = braid_options_get(options, "server.web");
    s->log_requests = strcmp(braid_options_get(options, "log.level"), "debug") == 0;
    s->request_us = braid_options_get_int(options, "server.request_ms") * 1000;
    s->json_max = (size_t)braid_options_get_int(options, "limits.json_bytes");
    s->body_max = (uint64_t)braid_options_get_int(options, "limits.body_bytes");
    s->held_max = s->json_max * 2 * HTTP_HELD_DOCUMENTS; /* twice: room doubles */
    rc = listen_open(braid_options_get(options, "server.listen"), &fd, s->url, err);
    if (rc) goto fail;
    s->reaper = reaper_start(s->request_us);
    s->turns = turns_new((unsigned)braid_options_get_int(options, "server.threads"));
    s->daemon = s->reaper && s->turns ? start_daemon(s, fd, options) : NULL;
    if (!s->daemon) {
        rc = listen_error(err, BRAID_E_IO,
                          "the server's threads could not be started: raise the limit of processes (ulimit -u)");
        goto fail;
    }
    *out = s;
    return BRAID_OK;
fail:
    if (fd >= 0) close(fd);
    reaper_stop(s->reaper);
    turns_free(s->turns);
    free(s);
    return rc;
}

void server_stop(server *s) {
    if (!s) return;
    atomic_store(&s->stopping, true);
    int fd = MHD_quiesce_daemon(s->daemon);
    struct timespec step = {.tv_nsec = STOP_STEP_US * 1000};
    for (int64_t until = reaper_now_us() + STOP_WAIT_US;
         reaper_shutdown(s->reaper, false) > 0 && reaper_now_us() < until;)
        nanosleep(&step, NULL);
    reaper_shutdown(s->reaper, true);
    MHD_stop_daemon(s->daemon);
    if (fd >= 0) close(fd);
    reaper_stop(s->reaper);
    turns_free(s->turns);
    free(s);
}

const char *server_url(const server *s) {
    return s->url;
}
