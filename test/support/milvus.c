/* See milvus.h. */
#include "milvus.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { DATABASES_MAX = 512, REPLY_MAX = 1 << 20, SECONDS = 20 };
#define PREFIX "braid_test_"

static int connect_to_server(void) {
    const char *address = getenv("BRAID_TEST_MILVUS");
    char host[256];
    unsigned port;
    if (address == NULL || !remote_split(address, host, sizeof host, &port)) return -1;
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, service, &hints, &found) != 0) return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {SECONDS, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* One request and its whole reply; NULL if there is none. The caller frees it. */
static char *ask(const char *method, const char *path, const char *body) {
    int fd = connect_to_server();
    if (fd < 0) return NULL;
    char request[1024];
    int len = snprintf(request, sizeof request,
                       "%s /v1/vector/%s HTTP/1.1\r\nHost: milvus\r\nContent-Type: application/json\r\n"
                       "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                       method, path, strlen(body), body);
    char *reply = calloc(1, REPLY_MAX);
    size_t have = 0;
    if (reply != NULL && send(fd, request, (size_t)len, MSG_NOSIGNAL) == len) {
        ssize_t n;
        while (have < REPLY_MAX - 1 && (n = recv(fd, reply + have, REPLY_MAX - 1 - have, 0)) > 0) have += (size_t)n;
    }
    close(fd);
    return reply;
}

bool test_milvus_drop(const char *collection) {
    char body[400];
    snprintf(body, sizeof body, "{\"collectionName\":\"%s\"}", collection);
    char *reply = ask("POST", "collections/drop", body);
    bool done = reply != NULL && strstr(reply, "\"code\":200") != NULL;
    free(reply);
    return done;
}

/* Drops the collections of process `owner`, or (0) of all processes that are no more. */
static void sweep(long owner) {
    char *reply = ask("GET", "collections", "");
    for (char *at = reply; at != NULL && (at = strstr(at, "\"" PREFIX)) != NULL;) {
        char *name = at + 1, *end = strchr(name, '"');
        if (end == NULL) break;
        *end = '\0';
        at = end + 1;
        long pid = strtol(name + strlen(PREFIX), NULL, 10);
        bool gone = pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
        if (owner != 0 ? pid == owner : gone) test_milvus_drop(name);
    }
    free(reply);
}

bool test_milvus(remote_options *out) {
    static char names[DATABASES_MAX][64];
    static int used;
    const char *address = getenv("BRAID_TEST_MILVUS");
    if (address == NULL || address[0] == '\0') {
        printf("milvus is left out: BRAID_TEST_MILVUS=HOST:PORT is not set\n");
        return false;
    }
    if (used == 0) sweep(0);
    if (used == DATABASES_MAX) return false;
    snprintf(names[used], sizeof names[0], PREFIX "%ld_%d", (long)getpid(), used);
    *out = (remote_options){.address = address,
                            .database = names[used++],
                            .user = "",
                            .password = "",
                            .token = "",
                            .tls_ca = "",
                            .connections = 32,
                            .timeout_ms = 10000,
                            .retries = 3,
                            .batch = 1000};
    return true;
}

void test_milvus_end(void) {
    sweep((long)getpid());
}
