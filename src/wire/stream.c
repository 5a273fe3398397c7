/* The socket side of stream: connecting, waiting, reading, writing.
 *
 * Every operation is tried first and waited for only if the kernel says EAGAIN, so that what is already there costs one
 * system call; only the first read after a write waits at once, since no answer comes that fast. Before each try the
 * deadline is looked at: a server whose next byte is always just there must not hold a caller for ever either.
 * MSG_NOSIGNAL everywhere, since a library has no say in SIGPIPE.
 *
 * Of several addresses of a name each gets an even share of what is left, the last one all of it: one that swallows
 * packets does not eat the time of the others. */
#include "wire/stream_private.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    STREAM_NAP_NS = 2000000, /* between looks at a test's clock */
    STREAM_KEEP_IDLE_S = 60,
    STREAM_KEEP_EVERY_S = 10,
    STREAM_KEEP_TIMES = 3
};

deadline stream_until(const stream *s, deadline until) {
    if (until != 0 || s->timeout_ns == 0) return until;
    return clock_mono_ns(s->clock) + s->timeout_ns;
}

int stream_wait(stream *s, short events, deadline until, const char *doing, braid_error *err) {
    struct pollfd p = {.fd = s->fd, .events = events};
    for (;;) {
        int64_t left = until == 0 ? INT64_MAX : until - clock_mono_ns(s->clock);
        if (left <= 0)
            return error_set(err, BRAID_E_DEADLINE, s->store, "%s did not come in time while %s", s->who, doing);
        if (s->clock->mono_ns != clock_system.mono_ns && left > STREAM_NAP_NS) left = STREAM_NAP_NS;
        struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        int n = ppoll(&p, 1, left == INT64_MAX ? NULL : &t, NULL);
        if (n > 0) return BRAID_OK; /* an error on the socket shows in the next call on it */
        if (n < 0 && errno != EINTR)
            return error_set(err, BRAID_E_UNAVAILABLE, s->store, "%s: waiting failed while %s: %s", s->who, doing,
                             strerrordesc_np(errno));
    }
}

/* ---- connecting ---- */

static void stream_tune(int fd) {
    const int on = 1, idle = STREAM_KEEP_IDLE_S, every = STREAM_KEEP_EVERY_S, times = STREAM_KEEP_TIMES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
}

static int stream_refused(const stream *s, int number, braid_error *err) {
    return error_set(err, BRAID_E_UNAVAILABLE, "wire",
                     "cannot connect to %s: %s; is the server up and the address right?", s->who,
                     strerrordesc_np(number));
}

/* One address; on failure s->fd is -1 again. */
static int stream_connect(stream *s, const struct sockaddr *to, socklen_t len, deadline until, braid_error *err) {
    s->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) return stream_refused(s, errno, err);
    if (to->sa_family != AF_UNIX) stream_tune(s->fd);
    int rc = BRAID_OK, number = 0;
    if (connect(s->fd, to, len) != 0) number = errno;
    if (number == EINPROGRESS || number == EINTR) {
        socklen_t size = sizeof number;
        rc = stream_wait(s, POLLOUT, until, "connecting", err);
        if (rc == BRAID_OK && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0) number = errno;
    }
    if (rc == BRAID_OK && number == 0) return BRAID_OK;
    close(s->fd);
    s->fd = -1;
    return rc != BRAID_OK ? rc : stream_refused(s, number, err);
}

static int stream_connect_path(stream *s, const char *path, deadline until, braid_error *err) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof to.sun_path)
        return error_set(err, BRAID_E_INVALID, s->store, "the socket path %s is longer than %zu bytes", s->who,
                         sizeof to.sun_path - 1);
    memcpy(to.sun_path, path, len + 1);
    return stream_connect(s, (const struct sockaddr *)&to, sizeof to, until, err);
}

static int stream_connect_name(stream *s, const char *host, unsigned port, deadline until, braid_error *err) {
    struct addrinfo *list = NULL;
    int rc = stream_resolve(host, port, s->clock, until, &list, err);
    size_t left = 0;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) left++;
    braid_error last = {0};
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next, left--) {
        deadline share = until;
        int64_t now = clock_mono_ns(s->clock);
        if (until != 0 && until > now) share = now + (until - now) / (int64_t)left;
        error_clear(&last);
        rc = stream_connect(s, at->ai_addr, at->ai_addrlen, share, &last);
        if (rc == BRAID_OK) break;
    }
    if (list != NULL) freeaddrinfo(list);
    return rc != BRAID_OK && last.code != BRAID_OK ? error_set(err, rc, s->store, "%s", last.message) : rc;
}

int stream_open(const remote_options *remote, const clock_ops *clock, deadline until, stream **out, braid_error *err) {
    BRAID_ASSERT(remote != NULL && clock != NULL && out != NULL);
    *out = NULL;
    const char *address = remote->address != NULL ? remote->address : "";
    char host[STREAM_HOST_BYTES] = "localhost";
    unsigned port = 0;
    bool path = address[0] == '/';
    if (!path && !remote_split(address, host, sizeof host, &port))
        return error_set(err, BRAID_E_INVALID, "wire",
                         "the address \"%.100s\" is not HOST:PORT (IPv6 hosts in brackets)", address);
    stream *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, "wire", "no memory for a connection");
    s->fd = -1;
    s->clock = clock;
    s->timeout_ns = (int64_t)remote->timeout_ms * 1000000;
    snprintf(s->peer, sizeof s->peer, "%s", address);
    s->store = remote->name != NULL ? remote->name : "wire";
    snprintf(s->who, sizeof s->who, "%.24s%s%.150s", remote->name != NULL ? remote->name : "",
             remote->name != NULL ? " at " : "", address);
    until = stream_until(s, until);
    int rc = path ? stream_connect_path(s, address, until, err) : stream_connect_name(s, host, port, until, err);
    if (rc == BRAID_OK && remote->tls) rc = stream_tls_open(s, remote, host, until, err);
    if (rc != BRAID_OK) {
        stream_close(s);
        return rc;
    }
    *out = s;
    return BRAID_OK;
}

void stream_close(stream *s) {
    if (s == NULL) return;
    stream_tls_close(s->tls);
    if (s->fd >= 0) close(s->fd);
    free(s);
}

/* ---- bytes ---- */

static int stream_lost(const stream *s, const char *doing, int number, braid_error *err) {
    return error_set(err, BRAID_E_UNAVAILABLE, s->store, "the connection to %s was lost while %s: %s", s->who, doing,
                     strerrordesc_np(number));
}

static int stream_late(const stream *s, const char *doing, braid_error *err) {
    return error_set(err, BRAID_E_DEADLINE, s->store, "%s did not come in time while %s", s->who, doing);
}

static int stream_plain_write(stream *s, const char *data, size_t len, deadline until, braid_error *err) {
    for (size_t sent = 0; sent < len;) {
        if (deadline_passed(s->clock, until)) return stream_late(s, "writing", err);
        ssize_t n = send(s->fd, data + sent, len - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int rc = stream_wait(s, POLLOUT, until, "writing", err);
            if (rc != BRAID_OK) return rc;
        } else if (errno != EINTR) {
            return stream_lost(s, "writing", errno, err);
        }
    }
    return BRAID_OK;
}

static int stream_plain_read(stream *s, void *data, size_t cap, size_t *got, deadline until, braid_error *err) {
    int waited = s->asked ? stream_wait(s, POLLIN, until, "reading", err) : BRAID_OK;
    if (waited != BRAID_OK) return waited;
    s->asked = false;
    for (;;) {
        if (deadline_passed(s->clock, until)) return stream_late(s, "reading", err);
        ssize_t n = recv(s->fd, data, cap, 0);
        if (n > 0) {
            *got = (size_t)n;
            return BRAID_OK;
        }
        if (n == 0) return error_set(err, BRAID_E_UNAVAILABLE, s->store, "%s closed the connection", s->who);
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int rc = stream_wait(s, POLLIN, until, "reading", err);
            if (rc != BRAID_OK) return rc;
        } else if (errno != EINTR) {
            return stream_lost(s, "reading", errno, err);
        }
    }
}

int stream_write(stream *s, const void *data, size_t len, deadline until, braid_error *err) {
    BRAID_ASSERT(!s->broken);
    until = stream_until(s, until);
    int rc = s->tls != NULL ? stream_tls_write(s, data, len, until, err) : stream_plain_write(s, data, len, until, err);
    s->broken = rc != BRAID_OK;
    s->asked = true;
    return rc;
}

int stream_read(stream *s, void *data, size_t cap, size_t *got, deadline until, braid_error *err) {
    BRAID_ASSERT(!s->broken && cap > 0);
    *got = 0;
    until = stream_until(s, until);
    int rc = s->tls != NULL ? stream_tls_read(s, data, cap, got, until, err)
                            : stream_plain_read(s, data, cap, got, until, err);
    s->broken = rc != BRAID_OK;
    return rc;
}

bool stream_quiet(stream *s) {
    if (s->broken) return false;
    if (s->tls != NULL) return stream_tls_quiet(s);
    char c;
    return recv(s->fd, &c, 1, MSG_PEEK) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

const char *stream_peer(const stream *s) {
    return s->peer;
}
