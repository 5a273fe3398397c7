/* What tests of PostgreSQL's bad days share: many writers that remember what each was told, and whether it was true.
 * Each test program is one file, hence static. */
#ifndef RECORD_POSTGRES_LOAD_H
#define RECORD_POSTGRES_LOAD_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#include "record_postgres_test.h"
#include "record_test.h"

enum { WRITES_MAX = 4000 };

POSTGRES_TEST deadline in_ms(int64_t ms) {
    return clock_mono_ns(&clock_system) + ms * 1000000;
}
POSTGRES_TEST int64_t now_ms(void) {
    return clock_mono_ns(&clock_system) / 1000000;
}
POSTGRES_TEST void sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- many writers, and what each was told ---- */

typedef enum told { TOLD_NOTHING, TOLD_DONE, TOLD_FAILED, TOLD_UNSURE } told;
typedef struct load {
    record_store *store;
    atomic_bool stop;
    atomic_uint next;
    _Atomic unsigned char outcome[WRITES_MAX]; /* of interaction number i, whose time is i */
    atomic_uint done, failed, unsure;
} load;

POSTGRES_TEST void *load_main(void *ctx) {
    load *l = ctx;
    while (!atomic_load(&l->stop)) {
        unsigned i = atomic_fetch_add(&l->next, 1);
        if (i >= WRITES_MAX) break;
        braid_error err = {0};
        interaction in = plain_interaction("ana", "film");
        in.at = (int64_t)i;
        record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
        int code = record_write(l->store, &c, 1, (record_write_flags){0}, &err);
        bool unsure = code != BRAID_OK && strstr(err.message, "may be there") != NULL;
        told t = code == BRAID_OK && c.code == BRAID_OK ? TOLD_DONE : unsure ? TOLD_UNSURE : TOLD_FAILED;
        atomic_store(&l->outcome[i], (unsigned char)t);
        atomic_fetch_add(t == TOLD_DONE ? &l->done : t == TOLD_UNSURE ? &l->unsure : &l->failed, 1);
        if (t != TOLD_DONE) sleep_ms(20);
    }
    return NULL;
}

/* Compares what was told with what is there: whoever was told that it is done finds it, once; whoever was told that it
 * failed may repeat it. Prints what is wrong. */
POSTGRES_TEST bool honest(load *l, pg_session *raw) {
    braid_error err = {0};
    PGresult *r = NULL;
    pg_params none;
    unsigned count[WRITES_MAX] = {0}, lost = 0, doubled = 0, denied = 0;
    pg_params_init(&none);
    postgres_must(pg_exec(raw, "SELECT (extract(epoch FROM at) * 1000)::bigint FROM interactions", "", &none, 0,
                          "judging", &r, &err) == BRAID_OK,
                  err.message);
    for (int i = 0; i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        int64_t at = pg_int8(&row, 0);
        check(at >= 0 && at < WRITES_MAX, "a time that nobody wrote");
        count[at]++;
    }
    PQclear(r);
    for (unsigned i = 0; i < WRITES_MAX; i++) {
        told t = (told)atomic_load(&l->outcome[i]);
        lost += t == TOLD_DONE && count[i] == 0;
        doubled += count[i] > 1;
        denied += t == TOLD_FAILED && count[i] > 0;
    }
    print_message("told: %u done, %u failed, %u unsure; lost %u, doubled %u, denied %u\n", atomic_load(&l->done),
                  atomic_load(&l->failed), atomic_load(&l->unsure), lost, doubled, denied);
    return lost == 0 && doubled == 0 && denied == 0;
}

POSTGRES_TEST void free_port(char address[32]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(fd, (struct sockaddr *)&at, sizeof at) == 0, "no free port");
    getsockname(fd, (struct sockaddr *)&at, &size);
    close(fd);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(at.sin_port));
}

#endif
