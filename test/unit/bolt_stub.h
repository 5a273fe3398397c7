/* A Bolt server for tests: plays a script, and remembers what it was told.
 *
 * A script is words. A word in capitals waits for that message; every other word does something:
 *
 *     ok  fields  row=7  more  mark=b1  fail=Neo.X.Y.Z  ign     an answer
 *     half       the first bytes of an answer, no more         noop      an empty chunk
 *     drip=MS    from now on a byte at a time, a pause between
 *     wait=MS    sleeps                                        close     ends the connection
 *     one=N      the next N messages must come with one read   again     goes back to the word after "up"
 *     up         handshake, HELLO, LOGON (version 5.4)         hint=S    as up, and promises never to be silent for S s
 *     up44       the same in 4.4                               refuse    handshake, HELLO; LOGON fails
 *     raw=HEX    bytes as they stand
 *     echo       from now on answers every RUN with the parameter "owner", odd ones after a while
 *
 * The i-th connection plays the i-th script, later ones the last. At the end of a script it waits for the client to go.
 * What it did not expect is in `complaint`. */
#ifndef BOLT_STUB_H
#define BOLT_STUB_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/support/timing.h"
#include "wire/bolt_chunk.h"
#include "wire/bolt_machine.h"

enum { STUB_SCRIPTS = 8, STUB_CONNECTIONS = 256, STUB_LOG = 512, STUB_ECHO_MS = 100 };

typedef struct stub {
    int listener;
    char address[32];
    const char *scripts[STUB_SCRIPTS];
    size_t script_count;
    pthread_t thread, threads[STUB_CONNECTIONS];
    atomic_int connections, open, most, stop, late;
    pthread_mutex_t lock; /* guards the rest */
    char complaint[200];
    struct {
        uint8_t tag;
        uint8_t *data;
        size_t len;
    } log[STUB_LOG];
    size_t log_count;
} stub;

typedef struct stub_conn {
    stub *s;
    int fd, index, drip_ms;
    bolt_inbox in;
    size_t reads; /* that brought bytes */
    bool gone;
} stub_conn;

static inline void stub_sleep(int ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) != 0) continue;
}

/* The same, but no longer than the test lasts. */
static inline void stub_wait(const stub *s, int ms) {
    int64_t until = in_ms(ms);
    while (now_ns() < until && !atomic_load(&s->stop)) stub_sleep(5);
}

static inline void stub_complain(stub *s, const char *what, const char *detail) {
    pthread_mutex_lock(&s->lock);
    if (s->complaint[0] == '\0') snprintf(s->complaint, sizeof s->complaint, "%.60s: %.100s", what, detail);
    pthread_mutex_unlock(&s->lock);
}

/* ---- bytes ---- */

/* Reads once; false when the client has gone or the test ends. */
static inline bool stub_read(stub_conn *c) {
    while (!atomic_load(&c->s->stop)) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (poll(&p, 1, 20) == 0) continue;
        size_t room;
        uint8_t *to = bolt_inbox_room(&c->in, &room);
        ssize_t n = recv(c->fd, to, room, 0);
        if (n <= 0) break;
        c->reads++;
        bolt_inbox_fed(&c->in, (size_t)n);
        return true;
    }
    c->gone = true;
    return false;
}

static inline void stub_send(stub_conn *c, const void *data, size_t len) {
    const char *at = data;
    size_t piece = c->drip_ms > 0 ? 1 : len;
    for (size_t i = 0; i < len && !atomic_load(&c->s->stop); i += piece) {
        if (send(c->fd, at + i, len - i < piece ? len - i : piece, MSG_NOSIGNAL) < 0) return;
        if (c->drip_ms > 0) stub_sleep(c->drip_ms);
    }
}

static inline const uint8_t *stub_message(stub_conn *c, size_t *len) {
    const uint8_t *data;
    for (;;) {
        if (!bolt_inbox_next(&c->in, &data, len)) return NULL;
        if (data != NULL) break;
        if (!stub_read(c)) return NULL;
    }
    stub *s = c->s;
    pthread_mutex_lock(&s->lock);
    if (s->log_count < STUB_LOG) {
        s->log[s->log_count].tag = data[1];
        s->log[s->log_count].data = malloc(*len);
        memcpy(s->log[s->log_count].data, data, *len);
        s->log[s->log_count++].len = *len;
    }
    pthread_mutex_unlock(&s->lock);
    return data;
}

static inline bool stub_expect(stub_conn *c, const char *name) {
    size_t len;
    const uint8_t *data = stub_message(c, &len);
    if (data == NULL) {
        c->gone = true;
        return false;
    }
    const char *found = bolt_message_name((bolt_message)data[1]);
    if (strcmp(found, name) == 0) return true;
    char text[64];
    snprintf(text, sizeof text, "wanted %.20s, found %.20s", name, found);
    if (data[1] != BOLT_GOODBYE) stub_complain(c->s, "a message", text);
    c->gone = true;
    return false;
}

/* ---- answers ---- */

static inline void stub_answer(stub_conn *c, uint8_t tag, const char *key, const char *value) {
    buf b;
    buf_init(&b, 0);
    size_t at = bolt_chunk_open(&b);
    ps_put_struct(&b, tag, tag == 0x7E ? 0 : 1);
    if (tag == 0x71) {
        ps_put_list(&b, 1);
        ps_put_int(&b, atoll(value));
    } else if (tag == 0x7F) {
        ps_put_map(&b, 2);
        ps_put_str(&b, "code");
        ps_put_str(&b, value);
        ps_put_str(&b, "message");
        ps_put_str(&b, "as the script says");
    } else if (tag == 0x70) {
        ps_put_map(&b, key != NULL ? 1 : 0);
        if (key != NULL) ps_put_str(&b, key);
        if (key != NULL && strcmp(key, "fields") == 0)
            ps_put_strs(&b, &value, 1);
        else if (key != NULL && strcmp(key, "has_more") == 0)
            ps_put_bool(&b, true);
        else if (key != NULL && strcmp(key, "hints") == 0) {
            ps_put_map(&b, 1);
            ps_put_str(&b, "connection.recv_timeout_seconds");
            ps_put_int(&b, atoll(value));
        } else if (key != NULL)
            ps_put_str(&b, value);
    }
    bolt_chunk_close(&b, at);
    stub_send(c, b.data, b.len);
    buf_free(&b);
}

static inline void stub_success(stub_conn *c, const char *key, const char *value) {
    stub_answer(c, 0x70, key, value);
}

static inline void stub_up(stub_conn *c, int major, int minor, const char *hint, bool refuse) {
    const char version[4] = {0, 0, (char)minor, (char)major};
    while (bolt_inbox_take(&c->in, 20) == NULL)
        if (!stub_read(c)) return;
    stub_send(c, version, 4);
    if (!stub_expect(c, "HELLO")) return;
    stub_success(c, hint != NULL ? "hints" : "server", hint != NULL ? hint : "Neo4j/stub");
    if (major == 4 || !stub_expect(c, "LOGON")) return;
    if (refuse)
        stub_answer(c, 0x7F, NULL, "Neo.ClientError.Security.Unauthorized");
    else
        stub_success(c, NULL, NULL);
}

static inline int64_t stub_owner(const uint8_t *run, size_t len) {
    ps_reader r;
    ps_value v;
    ps_text key;
    int64_t owner = -1;
    uint32_t pairs;
    ps_reader_init(&r, run, len);
    if (ps_next(&r, &v) && ps_skip(&r, NULL) && ps_read_map(&r, &pairs) && pairs > 0 && ps_read_text(&r, &key))
        ps_read_int(&r, &owner);
    return owner;
}

static inline void stub_echo(stub_conn *c) {
    char text[32];
    size_t len;
    const uint8_t *data;
    while ((data = stub_message(c, &len)) != NULL) {
        if (data[1] == BOLT_RESET) stub_success(c, NULL, NULL);
        if (data[1] != BOLT_RUN) continue;
        long long owner = (long long)stub_owner(data, len);
        snprintf(text, sizeof text, "%lld", owner);
        if (!stub_expect(c, "PULL")) return;
        if (owner % 2 == 1) {
            atomic_fetch_add(&c->s->late, 1);
            stub_sleep(STUB_ECHO_MS);
        }
        stub_success(c, "fields", "x");
        stub_answer(c, 0x71, NULL, text);
        stub_success(c, NULL, NULL);
    }
}

/* ---- scripts ---- */

static inline void stub_raw(stub_conn *c, const char *hex) {
    uint8_t bytes[512];
    size_t n = 0;
    for (; hex[0] != '\0' && hex[1] != '\0' && n < sizeof bytes; hex += 2) {
        const char two[3] = {hex[0], hex[1], '\0'};
        bytes[n++] = (uint8_t)strtoul(two, NULL, 16);
    }
    stub_send(c, bytes, n);
}

/* N messages, all of which must be there after one read. */
static inline void stub_one(stub_conn *c, const char *count) {
    char text[64];
    bolt_inbox *in = &c->in;
    if (in->raw == in->end && !stub_read(c)) return;
    size_t n = 0;
    for (size_t at = in->raw; in->end - at >= 2;) {
        size_t chunk = (size_t)in->data[at] << 8 | in->data[at + 1];
        if (chunk == 0) n++;
        at += 2 + chunk;
        if (at > in->end) break;
    }
    if (n == (size_t)atoi(count)) return;
    snprintf(text, sizeof text, "wanted %s, found %zu", count, n);
    stub_complain(c->s, "messages in one read", text);
}

static inline void stub_word(stub_conn *c, char *word) {
    char *value = strchr(word, '=');
    if (value != NULL) *value++ = '\0';
    if (word[0] >= 'A' && word[0] <= 'Z')
        stub_expect(c, word);
    else if (strcmp(word, "up") == 0)
        stub_up(c, 5, 4, NULL, false);
    else if (strcmp(word, "up44") == 0)
        stub_up(c, 4, 4, NULL, false);
    else if (strcmp(word, "hint") == 0)
        stub_up(c, 5, 4, value, false);
    else if (strcmp(word, "refuse") == 0)
        stub_up(c, 5, 4, NULL, true);
    else if (strcmp(word, "ok") == 0)
        stub_success(c, NULL, NULL);
    else if (strcmp(word, "fields") == 0)
        stub_success(c, "fields", "x");
    else if (strcmp(word, "more") == 0)
        stub_success(c, "has_more", "");
    else if (strcmp(word, "mark") == 0)
        stub_success(c, "bookmark", value);
    else if (strcmp(word, "row") == 0)
        stub_answer(c, 0x71, NULL, value);
    else if (strcmp(word, "fail") == 0)
        stub_answer(c, 0x7F, NULL, value);
    else if (strcmp(word, "ign") == 0)
        stub_answer(c, 0x7E, NULL, NULL);
    else if (strcmp(word, "noop") == 0)
        stub_send(c, "\0\0", 2);
    else if (strcmp(word, "half") == 0)
        stub_send(c, "\0\x03\xB1", 3);
    else if (strcmp(word, "wait") == 0)
        stub_wait(c->s, atoi(value));
    else if (strcmp(word, "drip") == 0)
        c->drip_ms = atoi(value);
    else if (strcmp(word, "raw") == 0)
        stub_raw(c, value);
    else if (strcmp(word, "one") == 0)
        stub_one(c, value);
    else if (strcmp(word, "echo") == 0)
        stub_echo(c);
    else if (strcmp(word, "close") == 0)
        c->gone = true;
    else
        stub_complain(c->s, "no such word", word);
}

static inline void stub_play(stub_conn *c, const char *script) {
    size_t begin = 0;
    for (size_t at = 0; script[at] != '\0' && !c->gone && !atomic_load(&c->s->stop);) {
        char word[600];
        size_t n = strcspn(script + at, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, script + at);
        at += n + strspn(script + at + n, " ");
        if (strcmp(word, "again") == 0)
            at = begin;
        else if (n > 0)
            stub_word(c, word);
        if (begin == 0) begin = at;
    }
}

static inline void *stub_serve(void *arg) {
    stub_conn *c = arg;
    stub *s = c->s;
    size_t script = (size_t)c->index < s->script_count ? (size_t)c->index : s->script_count - 1;
    bolt_inbox_init(&c->in, 64 << 20);
    stub_play(c, s->scripts[script]);
    size_t len;
    while (!c->gone && stub_message(c, &len) != NULL) continue; /* GOODBYE, or what nobody waited for */
    close(c->fd);
    atomic_fetch_sub(&s->open, 1);
    bolt_inbox_free(&c->in);
    free(c);
    return NULL;
}

static inline void *stub_accept(void *arg) {
    stub *s = arg;
    while (!atomic_load(&s->stop)) {
        struct pollfd p = {.fd = s->listener, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0) continue;
        int fd = accept(s->listener, NULL, NULL), index = atomic_load(&s->connections);
        if (fd < 0 || index == STUB_CONNECTIONS) break;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* answers go out as they are */
        int now = atomic_fetch_add(&s->open, 1) + 1;
        if (now > atomic_load(&s->most)) atomic_store(&s->most, now);
        stub_conn *c = calloc(1, sizeof *c);
        *c = (stub_conn){.s = s, .fd = fd, .index = index};
        atomic_store(&s->connections, index + 1); /* before it can be seen to have answered */
        pthread_create(&s->threads[index], NULL, stub_serve, c);
    }
    return NULL;
}

static inline void stub_start(stub *s, const char *const *scripts, size_t count) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < count; i++) s->scripts[i] = scripts[i];
    s->script_count = count;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(s->listener, 128) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&a, &len) != 0)
        abort();
    snprintf(s->address, sizeof s->address, "127.0.0.1:%u", ntohs(a.sin_port));
    pthread_create(&s->thread, NULL, stub_accept, s);
}

static inline void stub_stop(stub *s) {
    atomic_store(&s->stop, 1);
    pthread_join(s->thread, NULL);
    for (int i = 0; i < atomic_load(&s->connections); i++) pthread_join(s->threads[i], NULL);
    close(s->listener);
    for (size_t i = 0; i < s->log_count; i++) free(s->log[i].data);
    pthread_mutex_destroy(&s->lock);
}

/* How many messages of that kind came so far. */
static inline size_t stub_count(stub *s, bolt_message message) {
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->log_count; i++) n += s->log[i].tag == message;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* The n-th message of a kind (from 0) as a tree; NULL if there is none. */
static inline const ps_tree *stub_tree(stub *s, bolt_message message, size_t n, arena *mem) {
    const ps_tree *t = NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->log_count && t == NULL; i++) {
        ps_reader r;
        if (s->log[i].tag != message || n-- > 0) continue;
        ps_reader_init(&r, s->log[i].data, s->log[i].len);
        (void)ps_tree_read(&r, mem, 0, &t, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    return t;
}

#endif
