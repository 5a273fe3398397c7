/* Names to addresses within a deadline.
 *
 * getaddrinfo() waits as long as the system's resolver likes (often 2 x 5 s a name server) and cannot be cancelled.
 * So a detached thread calls it, and the caller waits for that no longer than its deadline. The question is shared
 * and counted: whoever lets go of it last, a caller that gave up or a resolver that came late, frees it. An address
 * in digits needs none of this. Rejected: getaddrinfo_a(), whose pending requests cannot be given up either and then
 * own our memory. */
#include "wire/stream_private.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { STREAM_RESOLVE_NAP_NS = 2000000 /* between looks at a test's clock */, STREAM_RESOLVE_STACK = 256 << 10 };

typedef struct stream_question {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t answered;
    int holders;
    bool done;
    int result; /* of getaddrinfo */
    struct addrinfo *list;
    char host[STREAM_HOST_BYTES], port[8];
} stream_question;

static int stream_lookup(const char *host, const char *port, int flags, struct addrinfo **list) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    return getaddrinfo(host, port, &hints, list);
}

/* Unlocks, and frees the question with its last holder. */
static void stream_question_leave(stream_question *q) {
    bool last = --q->holders == 0;
    pthread_mutex_unlock(&q->lock);
    if (!last) return;
    if (q->list != NULL) freeaddrinfo(q->list);
    pthread_cond_destroy(&q->answered);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static void *stream_resolver(void *arg) {
    stream_question *q = arg;
    struct addrinfo *list = NULL;
    int result = stream_lookup(q->host, q->port, AI_ADDRCONFIG, &list);
    pthread_mutex_lock(&q->lock);
    q->result = result;
    q->list = result == 0 ? list : NULL;
    q->done = true;
    pthread_cond_signal(&q->answered);
    stream_question_leave(q);
    return NULL;
}

static bool stream_resolver_start(stream_question *q) {
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STREAM_RESOLVE_STACK);
    sigfillset(&all); /* SIGINT and SIGTERM reach the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attr, stream_resolver, q) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

static stream_question *stream_question_new(const char *host, const char *port) {
    stream_question *q = calloc(1, sizeof *q);
    if (q == NULL) return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&q->lock, NULL);
    q->holders = 2;
    snprintf(q->host, sizeof q->host, "%s", host);
    snprintf(q->port, sizeof q->port, "%s", port);
    return q;
}

static void stream_question_wait(stream_question *q, const clock_ops *clock, deadline until) {
    while (!q->done && !deadline_passed(clock, until)) {
        if (until == 0) {
            pthread_cond_wait(&q->answered, &q->lock);
            continue;
        }
        int64_t at = until;
        if (clock->mono_ns != clock_system.mono_ns) at = clock_mono_ns(&clock_system) + STREAM_RESOLVE_NAP_NS;
        struct timespec t = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
        pthread_cond_timedwait(&q->answered, &q->lock, &t);
    }
}

int stream_resolve(const char *host, unsigned port, const clock_ops *clock, deadline until, struct addrinfo **out,
                   braid_error *err) {
    char digits[8];
    snprintf(digits, sizeof digits, "%u", port);
    *out = NULL;
    if (stream_lookup(host, digits, AI_NUMERICHOST, out) == 0) return BRAID_OK;
    *out = NULL;
    stream_question *q = stream_question_new(host, digits);
    if (q == NULL) return error_set(err, BRAID_E_NO_MEMORY, "wire", "no memory to look up %s", host);
    if (!stream_resolver_start(q)) {
        pthread_mutex_lock(&q->lock);
        q->holders = 1;
        stream_question_leave(q);
        return error_set(err, BRAID_E_NO_MEMORY, "wire", "no thread to look up %s", host);
    }
    int rc = BRAID_OK;
    pthread_mutex_lock(&q->lock);
    stream_question_wait(q, clock, until);
    if (!q->done) {
        rc = error_set(err, BRAID_E_DEADLINE, "wire", "the name %s was not resolved in time", host);
    } else if (q->result != 0) {
        rc = error_set(err, BRAID_E_UNAVAILABLE, "wire", "the name %s is not known: %s", host, gai_strerror(q->result));
    } else {
        *out = q->list;
        q->list = NULL;
    }
    stream_question_leave(q);
    return rc;
}
