/* See toxiproxy.h. One HTTP/1.1 request a connection over a plain socket; Connection: close, so that the answer ends
 * where the connection does and no body needs to be counted. */
#include "toxiproxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PROXIES_MAX = 64, CONTROL_SECONDS = 5, ANSWER_BYTES_MAX = 64 << 10 };

static struct {
    pthread_mutex_t lock; /* guards the rest */
    unsigned number;
    char left[PROXIES_MAX][64]; /* names of what is not deleted yet */
    bool at_exit;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *control_address(void) {
    const char *value = getenv("BRAID_TEST_TOXIPROXY");
    return value != NULL ? value : "";
}

bool toxiproxy_there(void) {
    return control_address()[0] != '\0';
}

static int control_connect(void) {
    char host[64];
    const char *address = control_address(), *colon = strrchr(address, ':');
    if (colon == NULL) return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    struct timeval patience = {.tv_sec = CONTROL_SECONDS};
    int fd = inet_pton(AF_INET, host, &at.sin_addr) == 1 ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
    close(fd);
    return -1;
}

/* The status, or 0; what came is in `answer`. */
static int control(const char *method, const char *path, const char *body, char *answer, size_t cap) {
    char request[2048];
    int status = 0, fd = control_connect();
    size_t got = 0;
    ssize_t n = 0;
    answer[0] = '\0';
    int len = snprintf(request, sizeof request,
                       "%s %s HTTP/1.1\r\nHost: toxiproxy\r\nConnection: close\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       method, path, strlen(body), body);
    if (fd >= 0 && len > 0 && (size_t)len < sizeof request && send(fd, request, (size_t)len, MSG_NOSIGNAL) == len) {
        while (got < cap - 1 && (n = recv(fd, answer + got, cap - 1 - got, 0)) > 0) got += (size_t)n;
        answer[got] = '\0';
        if (sscanf(answer, "HTTP/1.%*d %d", &status) != 1) status = 0;
    }
    if (fd >= 0) close(fd);
    if (status / 100 != 2)
        fprintf(stderr, "toxiproxy: %s %s %s: status %d, %.300s\n", method, path, body, status, answer);
    return status;
}

static bool control_ok(const char *method, const char *path, const char *body) {
    char answer[4096];
    return control(method, path, body, answer, sizeof answer) / 100 == 2;
}

/* ---- what is left is deleted ---- */

static void delete_named(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/proxies/%s", name);
    control_ok("DELETE", path, "");
}

static void delete_left(void) {
    for (size_t i = 0; i < PROXIES_MAX; i++)
        if (known.left[i][0] != '\0') delete_named(known.left[i]);
}

static void remember(const char *name) {
    pthread_mutex_lock(&known.lock);
    if (!known.at_exit) known.at_exit = atexit(delete_left) == 0;
    for (size_t i = 0; i < PROXIES_MAX; i++)
        if (known.left[i][0] == '\0') {
            snprintf(known.left[i], sizeof known.left[i], "%s", name);
            break;
        }
    pthread_mutex_unlock(&known.lock);
}

static void forget(const char *name) {
    pthread_mutex_lock(&known.lock);
    for (size_t i = 0; i < PROXIES_MAX; i++)
        if (strcmp(known.left[i], name) == 0) known.left[i][0] = '\0';
    pthread_mutex_unlock(&known.lock);
}

/* ---- proxies ---- */

bool toxiproxy_create(toxiproxy *p, const char *word, const char *upstream) {
    char body[512], answer[ANSWER_BYTES_MAX];
    pthread_mutex_lock(&known.lock);
    unsigned number = ++known.number;
    pthread_mutex_unlock(&known.lock);
    *p = (toxiproxy){0};
    snprintf(p->name, sizeof p->name, "%.32s-%d-%u", word, (int)getpid(), number);
    snprintf(body, sizeof body, "{\"name\":\"%s\",\"listen\":\"127.0.0.1:0\",\"upstream\":\"%s\",\"enabled\":true}",
             p->name, upstream);
    bool ok = control("POST", "/proxies", body, answer, sizeof answer) / 100 == 2;
    const char *listen = ok ? strstr(answer, "\"listen\":\"") : NULL;
    if (ok) remember(p->name);
    if (listen == NULL || sscanf(listen, "\"listen\":\"%63[^\"]\"", p->address) != 1) {
        toxiproxy_delete(p);
        return false;
    }
    return true;
}

void toxiproxy_delete(toxiproxy *p) {
    if (p->name[0] == '\0') return;
    delete_named(p->name);
    forget(p->name);
    *p = (toxiproxy){0};
}

bool toxiproxy_toxic(toxiproxy *p, const char *type, bool upstream, double share, const char *attributes) {
    char path[160], body[512];
    snprintf(path, sizeof path, "/proxies/%s/toxics", p->name);
    snprintf(body, sizeof body,
             "{\"name\":\"t%u\",\"type\":\"%s\",\"stream\":\"%s\",\"toxicity\":%.3f,\"attributes\":{%s}}",
             p->toxics + 1, type, upstream ? "upstream" : "downstream", share, attributes);
    if (!control_ok("POST", path, body)) return false;
    p->toxics++;
    return true;
}

bool toxiproxy_enable(toxiproxy *p, bool enabled) {
    char path[128];
    snprintf(path, sizeof path, "/proxies/%s", p->name);
    return control_ok("POST", path, enabled ? "{\"enabled\":true}" : "{\"enabled\":false}");
}

bool toxiproxy_heal(toxiproxy *p) {
    char path[160];
    bool ok = toxiproxy_enable(p, true);
    for (; p->toxics > 0; p->toxics--) {
        snprintf(path, sizeof path, "/proxies/%s/toxics/t%u", p->name, p->toxics);
        ok = control_ok("DELETE", path, "") && ok;
    }
    return ok;
}

/* ---- the faults of the plan ---- */

const toxiproxy_fault *toxiproxy_fault_at(size_t i) {
    static const toxiproxy_fault rows[TOXIPROXY_FAULTS] = {
        {"F1 latency 2 s, up", "latency", true, "\"latency\":2000"},
        {"F2 latency 2 s, down", "latency", false, "\"latency\":2000"},
        {"F3 bandwidth 1 KB/s, up", "bandwidth", true, "\"rate\":1"},
        {"F4 bandwidth 1 KB/s, down", "bandwidth", false, "\"rate\":1"},
        {"F5 slow close 2 s, up", "slow_close", true, "\"delay\":2000"},
        {"F6 slow close 2 s, down", "slow_close", false, "\"delay\":2000"},
        {"F7 nothing passes, up", "timeout", true, "\"timeout\":0"},
        {"F8 nothing passes, down", "timeout", false, "\"timeout\":0"},
        {"F9 cut after 500 ms, up", "timeout", true, "\"timeout\":500"},
        {"F10 cut after 500 ms, down", "timeout", false, "\"timeout\":500"},
        {"F11 reset at once, up", "reset_peer", true, "\"timeout\":0"},
        {"F12 reset at once, down", "reset_peer", false, "\"timeout\":0"},
        {"F13 reset after 100 ms, up", "reset_peer", true, "\"timeout\":100"},
        {"F14 reset after 100 ms, down", "reset_peer", false, "\"timeout\":100"},
        {"F15 a byte each 10 ms, up", "slicer", true, "\"average_size\":1,\"size_variation\":0,\"delay\":10000"},
        {"F16 a byte each 10 ms, down", "slicer", false, "\"average_size\":1,\"size_variation\":0,\"delay\":10000"},
        {"F17 cut after 10 bytes, up", "limit_data", true, "\"bytes\":10"},
        {"F18 cut after 10 bytes, down", "limit_data", false, "\"bytes\":10"},
        {"F19 down", NULL, false, ""},
    };
    return i < TOXIPROXY_FAULTS ? &rows[i] : NULL;
}

bool toxiproxy_inflict(toxiproxy *p, const toxiproxy_fault *fault) {
    if (fault->type == NULL) return toxiproxy_enable(p, false);
    return toxiproxy_toxic(p, fault->type, fault->upstream, 1.0, fault->attributes);
}
