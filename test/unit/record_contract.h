/* What the contracts of the record room share: a store of every row of the registry, made for each claim and checked
 * after it. PostgreSQL is asked where BRAID_TEST_POSTGRES names one, each claim in a schema of its own. After
 * <cmocka.h>. */
#ifndef RECORD_CONTRACT_H
#define RECORD_CONTRACT_H

#include "record_test.h"
#ifdef BRAID_HAVE_POSTGRES
#include "record_postgres_test.h"
#endif

#ifdef BRAID_HAVE_POSTGRES
static postgres_place place;

RECORD_TEST void place_make(fixture *f) {
    postgres_place_make(&place, NULL);
    f->remote = place.remote;
}
RECORD_TEST void place_remove(void) {
    postgres_place_remove(&place);
}
RECORD_TEST bool place_there(void) {
    return postgres_there();
}
#else
RECORD_TEST void place_make(fixture *f) {
    (void)f;
}
RECORD_TEST void place_remove(void) {}
RECORD_TEST bool place_there(void) {
    return false;
}
#endif

RECORD_TEST bool remote(const record_ops *ops) {
    return ops->caps & RECORD_CAP_REMOTE;
}

RECORD_TEST int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_make(f, *state);
    if (remote(f->ops)) place_make(f);
    fixture_open(f);
    *state = f;
    return 0;
}

RECORD_TEST int teardown(void **state) {
    fixture *f = *state;
    char *text = integrity_text(f->store, true);
    int wrong = strcmp(text, "ok") != 0;
    if (wrong) fprintf(stderr, "integrity: %s\n", text);
    free(text);
    bool at_a_place = remote(f->ops);
    fixture_end(f);
    if (at_a_place) place_remove();
    free(f);
    return wrong;
}

/* Says so when it cannot. */
RECORD_TEST bool contract_can_ask(const record_ops *row) {
    if (!remote(row) || place_there()) return true;
    printf("record store %s skipped: BRAID_TEST_POSTGRES is not set (HOST:PORT of a PostgreSQL server)\n", row->name);
    return false;
}

/* Waits until everything that was written is settled, and gives the place of the head. */
RECORD_TEST uint64_t head_place(record_store *s) {
    if (given_lsns.count > 0)
        record_log_wait(s, lsn_of(given_lsns.count) - 1, clock_mono_ns(&clock_system) + INT64_C(10000000000));
    return lsn_place(record_head(s));
}

RECORD_TEST int write_all(record_store *s, record_change *c, size_t n) {
    braid_error err = {0};
    int code = record_write(s, c, n, (record_write_flags){0}, &err);
    for (size_t i = 0; code == BRAID_OK && i < n; i++) lsn_note(&c[i]);
    return code;
}

#define CLAIM(name, row)                                                                                               \
    { #name, name, setup, teardown, (void *)(uintptr_t)(row) }

#endif
