/* The socket is opened here rather than by libmicrohttpd, whose failure does not tell a taken port from a foreign
 * address. */
#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_MAX = 256, PORT_MAX = 65535, BACKLOG = 1024 };

int listen_error(braid_error *err, int code, const char *format, ...) {
    if (!err) return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    snprintf(err->store, sizeof err->store, "server");
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return code;
}

/* "[::1]:80" -> "::1" and "80". */
static bool split(const char *address, char host[HOST_MAX], char port[8]) {
    const char *colon = strrchr(address, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (digits == 0 || digits > 5 || colon[1 + digits] || strtol(colon + 1, NULL, 10) > PORT_MAX) return false;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len)) {
        return false; /* a bare IPv6 address: where does the port begin? */
    }
    if (len >= HOST_MAX) return false;
    memcpy(host, address, len);
    host[len] = 0;
    snprintf(port, 8, "%s", colon + 1);
    return true;
}

static int say_why(const char *address, braid_error *err) {
    switch (errno) {
    case EADDRINUSE:
        return listen_error(
            err, BRAID_E_IO,
            "%.100s is taken by another program: stop that one, or choose another port with --listen HOST:PORT",
            address);
    case EADDRNOTAVAIL:
        return listen_error(
            err, BRAID_E_IO,
            "%.100s is not an address of this machine: 127.0.0.1 serves this machine, 0.0.0.0 every network", address);
    case EACCES:
        return listen_error(
            err, BRAID_E_IO,
            "%.100s may not be opened by this user: ports below 1024 want a privilege; choose another with "
            "--listen HOST:PORT",
            address);
    default: return listen_error(err, BRAID_E_IO, "cannot listen on %.100s: %s", address, strerror(errno));
    }
}

static int open_socket(const struct addrinfo *a) {
    int yes = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes); /* else a restart waits for TIME_WAIT */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static void write_url(int fd, const char *host, char url[LISTEN_URL_MAX]) {
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &len);
    unsigned port = a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port)
                                            : ntohs(((struct sockaddr_in *)&a)->sin_port);
    const char *name = *host ? host : "localhost";
    snprintf(url, LISTEN_URL_MAX, strchr(name, ':') ? "http://[%s]:%u" : "http://%s:%u", name, port);
}

int listen_open(const char *address, int *fd, char url[LISTEN_URL_MAX], braid_error *err) {
    char host[HOST_MAX], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    *fd = -1;
    if (!split(address, host, port))
        return listen_error(err, BRAID_E_INVALID,
                            "\"%.100s\" is no address to listen on: write HOST:PORT, say 127.0.0.1:8080 or [::1]:8080",
                            address);
    if (!*host) hints.ai_family = AF_INET;
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (rc != 0)
        return listen_error(err, BRAID_E_INVALID,
                            "the host of \"%.100s\" is not known (%s): write HOST:PORT, say 127.0.0.1:8080", address,
                            gai_strerror(rc));
    errno = 0;
    for (const struct addrinfo *a = list; a && *fd < 0; a = a->ai_next) *fd = open_socket(a);
    int why = errno;
    freeaddrinfo(list);
    if (*fd < 0) {
        errno = why;
        return say_why(address, err);
    }
    write_url(*fd, host, url);
    return BRAID_OK;
}
