/* Episodes: steps of an agent with a person, and what their states were like.
 *
 * Of an interaction, an episode is only what the interaction does not say. An episode of its own stands by itself in
 * episodes_given, and its number is taken from the same series as every LSN: so it can be told from all others, and its
 * row is appended at the end of its tree, as an interaction's is. Who did it when is found by a timeline that is filled
 * a little later (record_sqlite_timeline.c).
 *
 * State vectors are apart from both, as float32 in little-endian, one row a vector with what a search asks for
 * beside it: so looking for similar states reads vectors and nothing else, from the newest back. That is exact, and
 * reads at the speed of memory (bench/bench_episodes.c); an index in the file was rejected, since each insertion
 * would rewrite pages far apart, which is what episodes must not cost. Who needs more keeps the records in
 * PostgreSQL. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record/record_sqlite.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "states are stored little-endian; swap them here");

/* ---- writing, on the writer's thread ---- */

static bool plain_agent(const char *agent) {
    return agent == NULL || agent[0] == '\0' || strcmp(agent, "default") == 0;
}

static int bind_state(sqlite3_stmt *st, int at, const record_episode *e) {
    return sqlite3_bind_blob(st, at, e->vector, (int)(e->dim * sizeof(float)), SQLITE_STATIC);
}

static int apply_learned(record_sqlite *s, record_change *c) {
    const record_episode *e = c->episode;
    bool known = false, there = false;
    int64_t person = 0, born = 0, owner = 0;
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, SQL_INTERACTION_PERSON);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, (int64_t)e->interaction_lsn);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, &there, &owner, NULL);
    if (rc == SQLITE_OK) rc = record_sqlite_person_number(s, e->user, &known, &person, &born);
    if (rc != SQLITE_OK) return rc;
    if (!there || !known || owner != person) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no interaction %llu of user '%s' (any more)",
                             (unsigned long long)e->interaction_lsn, e->user);
        return SQLITE_OK;
    }
    if ((st = record_sqlite_stmt(&s->writer, SQL_EPISODE_ADD)) == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, (int64_t)e->interaction_lsn) | record_sqlite_bind_hash(st, 2, e->state_hash) |
         record_sqlite_bind_text(st, 3, e->state) | record_sqlite_bind_hash(st, 4, e->next_state_hash) |
         sqlite3_bind_double(st, 5, e->reward) | sqlite3_bind_int(st, 6, e->done);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    c->duplicate = rc == SQLITE_OK && sqlite3_changes(s->writer.db) == 0;
    c->num = e->item_num;
    if (rc != SQLITE_OK || c->duplicate || e->vector == NULL) return rc;
    if ((st = record_sqlite_stmt(&s->writer, SQL_LEARNED_STATE_ADD)) == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, (int64_t)e->interaction_lsn) | bind_state(st, 2, e);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

static int given_insert(record_sqlite *s, record_change *c, int64_t person, int64_t item_num) {
    const record_episode *e = c->episode;
    int64_t at = e->at == TIME_NONE ? clock_wall_ms(s->options.clock) : e->at;
    const char *agent = plain_agent(e->agent) ? NULL : e->agent;
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, SQL_GIVEN_ADD);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, (int64_t)s->next_lsn) | sqlite3_bind_int64(st, 2, person) |
             sqlite3_bind_int64(st, 3, item_num) | sqlite3_bind_int64(st, 4, at) |
             record_sqlite_bind_text(st, 5, agent) | record_sqlite_bind_text(st, 6, e->session) |
             record_sqlite_bind_hash(st, 7, e->state_hash) | record_sqlite_bind_text(st, 8, e->state) |
             record_sqlite_bind_hash(st, 9, e->next_state_hash) | sqlite3_bind_double(st, 10, e->reward) |
             sqlite3_bind_int(st, 11, e->done) | record_sqlite_bind_text(st, 12, e->key);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK && e->vector != NULL) {
        if ((st = record_sqlite_stmt(&s->writer, SQL_GIVEN_STATE_ADD)) == NULL) return record_sqlite_lost(s);
        rc = sqlite3_bind_int64(st, 1, (int64_t)s->next_lsn) | sqlite3_bind_int64(st, 2, at) |
             record_sqlite_bind_text(st, 3, agent) | bind_state(st, 4, e);
        if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    }
    if (rc == SQLITE_OK) {
        c->lsn = s->next_lsn++;
        s->timeline_new++;
        c->num = (uint32_t)item_num;
    }
    return rc;
}

static int given_known(record_sqlite *s, record_change *c, int64_t person) {
    int64_t lsn = 0, item_num = 0;
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, SQL_GIVEN_BY_KEY);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, person) | sqlite3_bind_text(st, 2, c->episode->key, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, &c->duplicate, &lsn, &item_num);
    c->lsn = c->duplicate ? (uint64_t)lsn : 0;
    c->num = c->duplicate ? (uint32_t)item_num : 0;
    return rc;
}

static int apply_given(record_sqlite *s, record_change *c) {
    const record_episode *e = c->episode;
    bool person_known = false, item_known = false;
    int64_t person = 0, born = 0, item_num = 0;
    int rc = record_sqlite_person_number(s, e->user, &person_known, &person, &born);
    if (rc == SQLITE_OK && person_known && e->key != NULL && e->key[0] != '\0') rc = given_known(s, c, person);
    if (rc != SQLITE_OK || c->duplicate) return rc;
    rc = record_sqlite_item_number(s, e->action, &item_known, &item_num);
    if (rc != SQLITE_OK) return rc;
    if (!item_known) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no item '%s'", e->action);
        return SQLITE_OK;
    }
    if (!person_known) rc = record_sqlite_person_make(s, e->user, &person);
    return rc == SQLITE_OK ? given_insert(s, c, person, item_num) : rc;
}

int record_sqlite_apply_episode(record_sqlite *s, record_change *c) {
    return c->episode->interaction_lsn != 0 ? apply_learned(s, c) : apply_given(s, c);
}

/* ---- reading: RECORD_SQLITE_LEARNED_COLUMNS ---- */

/* A row on loan, until the next one. */
typedef struct episode_read {
    record_episode row;
    char hash[RECORD_HASH_BYTES], next_hash[RECORD_HASH_BYTES];
    float *vector; /* SQLite does not align what it lends */
} episode_read;

static bool state_fits(const void *data, size_t bytes) {
    return data != NULL && bytes > 0 && bytes % sizeof(float) == 0 && bytes <= RECORD_STATE_DIM_MAX * sizeof(float);
}

/* SQLITE_ROW, or what is wrong. */
static int episode_row(record_sqlite_conn *c, sqlite3_stmt *st, episode_read *e) {
    const void *state = sqlite3_column_blob(st, 12);
    size_t bytes = (size_t)sqlite3_column_bytes(st, 12);
    bool good = record_sqlite_hash(st, 3, e->hash, sizeof e->hash) &&
                record_sqlite_hash(st, 5, e->next_hash, sizeof e->next_hash) &&
                (sqlite3_column_type(st, 12) == SQLITE_NULL || state_fits(state, bytes));
    e->row =
        (record_episode){.interaction_lsn = (uint64_t)sqlite3_column_int64(st, 0),
                         .agent = sqlite3_column_type(st, 1) == SQLITE_NULL ? "default" : record_sqlite_text(st, 1),
                         .user = record_sqlite_text(st, 11),
                         .session = record_sqlite_text(st, 2),
                         .state_hash = e->hash,
                         .state = record_sqlite_text(st, 4),
                         .next_state_hash = e->next_hash,
                         .item_num = (uint32_t)sqlite3_column_int64(st, 6),
                         .action = record_sqlite_text(st, 7),
                         .reward = sqlite3_column_double(st, 8),
                         .done = sqlite3_column_int(st, 9) != 0,
                         .at = sqlite3_column_int64(st, 10)};
    if (good && state != NULL) {
        memcpy(e->vector, state, bytes);
        e->row.vector = e->vector;
        e->row.dim = (uint32_t)(bytes / sizeof(float));
    }
    if (good) return SQLITE_ROW;
    return sqlite3_errcode(c->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
}

static int read_close(record_sqlite *s, record_sqlite_conn *c, int rc, braid_error *err) {
    int code = BRAID_OK;
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = record_sqlite_fail(c->db, rc, "reading episodes", err);
    record_sqlite_reader_give(s, c);
    return code;
}

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for episodes");
}

int record_sqlite_user_episodes(void *self, const char *user_id, size_t limit, record_episode_fn *each, void *ctx,
                                braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    int64_t person = -1;
    episode_read e = {.vector = malloc(RECORD_STATE_DIM_MAX * sizeof *e.vector)};
    int code = e.vector != NULL ? record_sqlite_reader_take(s, &c, err) : no_memory(err);
    if (code != BRAID_OK) {
        free(e.vector);
        return code;
    }
    int rc = record_sqlite_number(c, SQL_PERSON, user_id, -1, &person);
    sqlite3_stmt *st = rc == SQLITE_OK ? record_sqlite_stmt(c, SQL_PERSON_EPISODES) : NULL;
    if (rc == SQLITE_OK && st == NULL) rc = sqlite3_extended_errcode(c->db);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, person) |
             sqlite3_bind_int64(st, 2, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) rc = episode_row(c, st, &e);
        if (rc != SQLITE_ROW || !each(ctx, &e.row)) break;
    }
    if (st != NULL) sqlite3_reset(st);
    free(e.vector);
    return read_close(s, c, rc, err);
}

/* ---- similar states ---- */

typedef struct near_one {
    float similarity;
    int64_t episode;
} near_one;

/* The best so far, the worst of them on top; of two that are alike the newer one is better. */
typedef struct nearest {
    near_one *heap;
    size_t count, k;
    const float *wanted;
    float *state; /* the one in hand, aligned */
    uint32_t dim;
    float length;
} nearest;

static bool worse(const near_one *a, const near_one *b) {
    return a->similarity < b->similarity || (a->similarity == b->similarity && a->episode < b->episode);
}

static void sift_down(near_one *heap, size_t count, size_t i) {
    for (;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t child = left; child < left + 2 && child < count; child++)
            if (worse(&heap[child], &heap[least])) least = child;
        if (least == i) return;
        near_one swap = heap[i];
        heap[i] = heap[least];
        heap[least] = swap;
        i = least;
    }
}

static void nearest_offer(nearest *n, near_one one) {
    if (n->count == n->k) {
        if (!worse(&n->heap[0], &one)) return;
        n->heap[0] = one;
        sift_down(n->heap, n->count, 0);
        return;
    }
    size_t i = n->count++;
    for (; i > 0 && worse(&one, &n->heap[(i - 1) / 2]); i = (i - 1) / 2) n->heap[i] = n->heap[(i - 1) / 2];
    n->heap[i] = one;
}

/* Eight sums at once, so that the compiler may use vector registers without changing any result. */
enum { LANES = 8 };

static void product_and_square(const float *a, const float *b, size_t n, float *product, float *square) {
    float p[LANES] = {0}, q[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            p[j] += a[i + j] * b[i + j];
            q[j] += b[i + j] * b[i + j];
        }
    for (; i < n; i++) {
        p[0] += a[i] * b[i];
        q[0] += b[i] * b[i];
    }
    *product = *square = 0;
    for (size_t j = 0; j < LANES; j++) {
        *product += p[j];
        *square += q[j];
    }
}

static void nearest_look(nearest *n, int64_t episode, const void *data) {
    float product, square;
    memcpy(n->state, data, n->dim * sizeof *n->state);
    product_and_square(n->wanted, n->state, n->dim, &product, &square);
    float similarity = product / (n->length * sqrtf(square));
    if (!isfinite(similarity)) return; /* zeros, or beyond what a float holds */
    similarity = similarity > 1 ? 1 : similarity < -1 ? -1 : similarity;
    nearest_offer(n, (near_one){similarity, episode});
}

/* One read transaction's worth, down from *before; true when it goes on. */
static bool nearest_slice(record_sqlite *s, record_sqlite_conn *c, sqlite3_stmt *st, nearest *n, int64_t *before,
                          deadline until, int *rc) {
    int64_t slice = record_sqlite_now(s) + RECORD_SQLITE_SLICE_MS * INT64_C(1000000);
    sqlite3_reset(st);
    *rc = sqlite3_bind_int64(st, 1, *before);
    for (unsigned rows = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; rows++) {
        *rc = sqlite3_step(st);
        if (*rc != SQLITE_ROW) return false;
        const void *data = sqlite3_column_blob(st, 1);
        if (data == NULL || (size_t)sqlite3_column_bytes(st, 1) != n->dim * sizeof(float)) {
            *rc = sqlite3_errcode(c->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
            return false;
        }
        *before = sqlite3_column_int64(st, 0);
        nearest_look(n, *before, data);
        if (rows % 64 != 0) continue;
        if (deadline_passed(s->options.clock, until)) return false;
        if (record_sqlite_now(s) > slice) {
            sqlite3_reset(st);
            *rc = SQLITE_OK;
            return true;
        }
    }
    return false;
}

static int nearest_scan(record_sqlite *s, record_sqlite_conn *c, const char *agent, int64_t since, deadline until,
                        nearest *n) {
    int64_t before = INT64_MAX;
    sqlite3_stmt *st = record_sqlite_stmt(c, SQL_STATES_SCAN);
    if (st == NULL) return sqlite3_extended_errcode(c->db);
    int rc = sqlite3_bind_int64(st, 2, since) | sqlite3_bind_int64(st, 4, (int64_t)(n->dim * sizeof(float)));
    rc |= agent != NULL ? sqlite3_bind_text(st, 3, agent, -1, SQLITE_STATIC) : sqlite3_bind_null(st, 3);
    while (rc == SQLITE_OK && nearest_slice(s, c, st, n, &before, until, &rc)) {}
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The best first: the heap gives the worst, which goes to the end. What was deleted meanwhile is left out. */
static int nearest_give(record_sqlite_conn *c, nearest *n, record_similar_fn *each, void *ctx) {
    episode_read e = {.vector = n->state};
    sqlite3_stmt *st = record_sqlite_stmt(c, SQL_EPISODE_GET);
    if (st == NULL) return sqlite3_extended_errcode(c->db);
    for (size_t left = n->count; left > 1; left--) {
        near_one worst = n->heap[0];
        n->heap[0] = n->heap[left - 1];
        sift_down(n->heap, left - 1, 0);
        n->heap[left - 1] = worst;
    }
    int rc = SQLITE_OK;
    bool more = true;
    for (size_t i = 0; i < n->count && more && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_int64(st, 1, n->heap[i].episode);
        if (rc == SQLITE_OK) rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) rc = episode_row(c, st, &e);
        if (rc == SQLITE_ROW) more = each(ctx, &e.row, n->heap[i].similarity);
        int reset = sqlite3_reset(st);
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? reset : rc;
    }
    return rc;
}

int record_sqlite_similar_episodes(void *self, const char *agent, const float *vector, uint32_t dim, size_t k,
                                   int64_t since, deadline until, record_similar_fn *each, void *ctx,
                                   braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c = NULL;
    float none;
    nearest n = {.heap = malloc(k * sizeof *n.heap),
                 .k = k,
                 .wanted = vector,
                 .dim = dim,
                 .state = malloc(RECORD_STATE_DIM_MAX * sizeof *n.state)};
    product_and_square(vector, vector, dim, &none, &n.length);
    n.length = sqrtf(n.length);
    int rc = SQLITE_OK,
        code = n.heap != NULL && n.state != NULL ? record_sqlite_reader_take(s, &c, err) : no_memory(err);
    if (code == BRAID_OK) {
        rc = nearest_scan(s, c, agent, since, until, &n);
        if (rc == SQLITE_OK) rc = nearest_give(c, &n, each, ctx);
        code = read_close(s, c, rc, err);
    }
    free(n.heap);
    free(n.state);
    return code;
}
