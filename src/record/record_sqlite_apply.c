/* What one change means in SQL.
 *
 * record_sqlite_apply() runs on the writer's thread, inside the group's transaction. A refusal is decided by
 * look-ups before the first row is written, so a refused change leaves no trace and takes no LSN.
 *
 * What a learner writes about a person must not outlive that person: an episode wants its interaction, and a policy
 * wants a person who was born (first named) no later than the policy's version; both are refused as NOT_FOUND
 * otherwise. So a learner that runs behind a deletion cannot bring the deleted back. */
#include <math.h>
#include <string.h>

#include "record/record_sqlite.h"

/* Binding cannot fail except for lack of memory or an out-of-range index; the index is ours, and memory shows in the
 * step, as an unbound parameter would break a NOT NULL. Texts are bound without copying. Hence the results of binds
 * that must not be lost are or-ed. */

static sqlite3_stmt *stmt(record_sqlite *s, record_sqlite_sql id) {
    return record_sqlite_stmt(&s->writer, id);
}

int record_sqlite_lost(record_sqlite *s) {
    int rc = sqlite3_extended_errcode(s->writer.db);
    return rc != SQLITE_OK ? rc : SQLITE_NOMEM;
}

/* One row's first two columns; *found says whether there was one. */
int record_sqlite_look_up(sqlite3_stmt *st, bool *found, int64_t *first, int64_t *second) {
    int rc = sqlite3_step(st);
    *found = rc == SQLITE_ROW;
    if (*found) {
        *first = sqlite3_column_int64(st, 0);
        if (second != NULL) *second = sqlite3_column_int64(st, 1);
    }
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? reset : rc;
}

int record_sqlite_item_number(record_sqlite *s, const char *id, bool *found, int64_t *num) {
    int64_t none = 0;
    *found = record_sqlite_names_get(s->items_by_id, id, num, &none);
    if (*found) return SQLITE_OK;
    sqlite3_stmt *st = stmt(s, SQL_ITEM_NUM);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, found, num, NULL);
    if (rc == SQLITE_OK && *found) record_sqlite_names_put(s->items_by_id, id, *num, 0);
    return rc;
}

int record_sqlite_person_number(record_sqlite *s, const char *id, bool *found, int64_t *num, int64_t *born) {
    *found = record_sqlite_names_get(s->persons_by_id, id, num, born);
    if (*found) return SQLITE_OK;
    sqlite3_stmt *st = stmt(s, SQL_PERSON);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, found, num, born);
    if (rc == SQLITE_OK && *found) record_sqlite_names_put(s->persons_by_id, id, *num, *born);
    return rc;
}

int record_sqlite_person_make(record_sqlite *s, const char *id, int64_t *num) {
    bool found = false;
    int64_t born = 0;
    int rc = record_sqlite_person_number(s, id, &found, num, &born);
    if (rc != SQLITE_OK || found) return rc;
    sqlite3_stmt *st = stmt(s, SQL_PERSON_ADD);
    if (st == NULL) return record_sqlite_lost(s);
    *num = (int64_t)++s->person_max;
    rc = sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC) | sqlite3_bind_int64(st, 2, *num) |
         sqlite3_bind_int64(st, 3, (int64_t)s->next_lsn);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

/* Runs a statement whose one parameter is a number. */
static int run_number(record_sqlite *s, record_sqlite_sql id, int64_t value) {
    sqlite3_stmt *st = stmt(s, id);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, value);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

/* Nothing learned is no row. */
static bool removes(const record_change *c) {
    return c->remove || (c->kind == RECORD_NEIGHBOURS && c->neighbours->count == 0);
}

/* Gives the change its LSN and its log row. person 0: none. */
int record_sqlite_log_change(record_sqlite *s, record_change *c, int64_t num, int64_t num2, int64_t person,
                             const char *key) {
    sqlite3_stmt *st = stmt(s, SQL_LOG_ADD);
    if (st == NULL) return record_sqlite_lost(s);
    uint64_t lsn = s->next_lsn;
    int rc = sqlite3_bind_int64(st, 1, (int64_t)lsn) | sqlite3_bind_int(st, 2, (int)c->kind) |
             sqlite3_bind_int(st, 3, removes(c)) | sqlite3_bind_int64(st, 4, num) | sqlite3_bind_int64(st, 5, num2) |
             record_sqlite_bind_text(st, 7, key);
    rc |= person > 0 ? sqlite3_bind_int64(st, 6, person) : sqlite3_bind_null(st, 6);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK) {
        c->lsn = lsn;
        s->next_lsn++;
    }
    return rc;
}

static int put_vector(record_sqlite *s, record_sqlite_sql id, int64_t num, const char *name, const float *values,
                      uint32_t dim) {
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                   "vectors are stored little-endian; swap them here and on reading");
    sqlite3_stmt *st = stmt(s, id);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, num);
    if (name != NULL) rc |= sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
    rc |= sqlite3_bind_blob(st, name != NULL ? 3 : 2, values, (int)(dim * sizeof(float)), SQLITE_STATIC);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

static int put_vectors(record_sqlite *s, record_change *c, int64_t num, bool known) {
    int rc = c->vector != NULL ? put_vector(s, SQL_VECTOR_PUT, num, NULL, c->vector, s->dim)
             : known           ? run_number(s, SQL_VECTOR_DROP, num)
                               : SQLITE_OK;
    if (rc == SQLITE_OK && known) rc = run_number(s, SQL_NAMED_DROP, num);
    for (size_t i = 0; rc == SQLITE_OK && i < c->item->vectors_count; i++) {
        const item_vector *v = &c->item->vectors[i];
        if (strcmp(v->name, "default") != 0) rc = put_vector(s, SQL_NAMED_PUT, num, v->name, v->values, v->dim);
    }
    return rc;
}

static int apply_item_put(record_sqlite *s, record_change *c, const record_sqlite_body *body) {
    bool known = false;
    int64_t num = 0;
    int rc = record_sqlite_item_number(s, c->item->id, &known, &num);
    if (rc != SQLITE_OK) return rc;
    if (!known && s->num_max >= UINT32_MAX - 1) {
        record_sqlite_refuse(c, BRAID_E_TOO_LARGE, "the database has used up its item numbers");
        return SQLITE_OK;
    }
    if (!known) num = (int64_t)++s->num_max;
    sqlite3_stmt *st = stmt(s, known ? SQL_ITEM_CHANGE : SQL_ITEM_ADD);
    if (st == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, num) | sqlite3_bind_int64(st, 3, (int64_t)s->next_lsn) |
         sqlite3_bind_text(st, 5, body->text, (int)body->len, SQLITE_STATIC);
    rc |= known ? SQLITE_OK : sqlite3_bind_text(st, 2, c->item->id, -1, SQLITE_STATIC);
    rc |= c->vector != NULL ? sqlite3_bind_int(st, 4, c->vector_given) : sqlite3_bind_null(st, 4);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK) rc = put_vectors(s, c, num, known);
    if (rc == SQLITE_OK) rc = record_sqlite_log_change(s, c, num, 0, 0, c->item->id);
    c->num = (uint32_t)num;
    return rc;
}

static int apply_item_remove(record_sqlite *s, record_change *c) {
    static const record_sqlite_sql drops[] = {
        SQL_RELATIONS_DROP_FROM, SQL_RELATIONS_DROP_TO,    SQL_VECTOR_DROP, SQL_NAMED_DROP,
        SQL_STATS_DROP,          SQL_ITEM_NEIGHBOURS_DROP, SQL_ITEM_DROP};
    bool known = false;
    int64_t num = 0;
    int rc = record_sqlite_item_number(s, c->item->id, &known, &num);
    if (rc != SQLITE_OK) return rc;
    if (!known) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no item '%s'", c->item->id);
        return SQLITE_OK;
    }
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof drops / sizeof drops[0]; i++) rc = run_number(s, drops[i], num);
    sqlite3_stmt *st = rc == SQLITE_OK ? stmt(s, SQL_ITEM_GONE) : NULL;
    if (st == NULL) return rc != SQLITE_OK ? rc : record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, num) | sqlite3_bind_text(st, 2, c->item->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    record_sqlite_names_drop(s->items_by_id, c->item->id);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "num_max", (int64_t)s->num_max);
    if (rc == SQLITE_OK) rc = record_sqlite_log_change(s, c, num, 0, 0, c->item->id);
    c->num = (uint32_t)num;
    return rc;
}

static int apply_relation(record_sqlite *s, record_change *c) {
    const relation *r = c->relation;
    bool from_known = false, to_known = false;
    int64_t from = 0, to = 0;
    int rc = record_sqlite_item_number(s, r->from, &from_known, &from);
    if (rc == SQLITE_OK) rc = record_sqlite_item_number(s, r->to, &to_known, &to);
    if (rc != SQLITE_OK) return rc;
    if (!from_known || !to_known) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no item '%s'", from_known ? r->to : r->from);
        return SQLITE_OK;
    }
    sqlite3_stmt *st = stmt(s, c->remove ? SQL_RELATION_DROP : SQL_RELATION_PUT);
    if (st == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, from) | sqlite3_bind_int64(st, 2, to) |
         sqlite3_bind_text(st, 3, r->type, -1, SQLITE_STATIC);
    if (!c->remove) rc |= sqlite3_bind_double(st, 4, r->strength) | sqlite3_bind_int64(st, 5, (int64_t)s->next_lsn);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK && c->remove && sqlite3_changes(s->writer.db) == 0) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no relation %s from '%s' to '%s'", r->type, r->from,
                             r->to);
        return SQLITE_OK;
    }
    return rc == SQLITE_OK ? record_sqlite_log_change(s, c, from, to, 0, r->type) : rc;
}

static int apply_user_put(record_sqlite *s, record_change *c, const record_sqlite_body *body) {
    int64_t person = 0;
    int rc = record_sqlite_person_make(s, c->user->id, &person);
    sqlite3_stmt *st = rc == SQLITE_OK ? stmt(s, SQL_USER_PUT) : NULL;
    if (st == NULL) return rc != SQLITE_OK ? rc : record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, person) | sqlite3_bind_text(st, 2, c->user->id, -1, SQLITE_STATIC) |
         sqlite3_bind_int64(st, 3, (int64_t)s->next_lsn) |
         sqlite3_bind_text(st, 4, body->text, (int)body->len, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    return rc == SQLITE_OK ? record_sqlite_log_change(s, c, 0, 0, person, NULL) : rc;
}

static int apply_user_remove(record_sqlite *s, record_change *c) {
    static const record_sqlite_sql drops[] = {SQL_PERSON_TIMELINE_FILL,
                                              SQL_PERSON_GIVEN_TIMELINE_FILL,
                                              SQL_PERSON_VECTORS_DROP,
                                              SQL_PERSON_EPISODES_DROP,
                                              SQL_PERSON_GIVEN_DROP,
                                              SQL_PERSON_GIVEN_TIMELINE_DROP,
                                              SQL_PERSON_INTERACTIONS_DROP,
                                              SQL_PERSON_TIMELINE_DROP,
                                              SQL_PERSON_POLICIES_DROP,
                                              SQL_PERSON_SLATES_DROP,
                                              SQL_USER_DROP};
    bool known = false;
    int64_t person = 0, born = 0;
    int rc = record_sqlite_person_number(s, c->user->id, &known, &person, &born);
    if (rc != SQLITE_OK) return rc;
    if (!known) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no user '%s'", c->user->id);
        return SQLITE_OK;
    }
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof drops / sizeof drops[0]; i++) rc = run_number(s, drops[i], person);
    sqlite3_stmt *st = rc == SQLITE_OK ? stmt(s, SQL_PERSON_DROP) : NULL;
    if (st == NULL) return rc != SQLITE_OK ? rc : record_sqlite_lost(s);
    rc = sqlite3_bind_text(st, 1, c->user->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    record_sqlite_names_drop(s->persons_by_id, c->user->id);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "person_max", (int64_t)s->person_max);
    if (rc == SQLITE_OK) rc = record_sqlite_log_change(s, c, 0, 0, 0, c->user->id);
    s->wipe |= rc == SQLITE_OK;
    return rc;
}

static int interaction_known(record_sqlite *s, record_change *c, int64_t person, bool *known) {
    sqlite3_stmt *st = stmt(s, SQL_INTERACTION_BY_KEY);
    if (st == NULL) return record_sqlite_lost(s);
    int64_t lsn = 0, item_num = 0;
    int rc = sqlite3_bind_int64(st, 1, person) |
             sqlite3_bind_text(st, 2, c->interaction->idempotency_key, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, known, &lsn, &item_num);
    if (rc == SQLITE_OK && *known) {
        c->duplicate = true;
        c->lsn = (uint64_t)lsn;
        c->num = (uint32_t)item_num;
    }
    return rc;
}

static int interaction_insert(record_sqlite *s, record_change *c, int64_t person, int64_t item_num) {
    const interaction *in = c->interaction;
    sqlite3_stmt *st = stmt(s, SQL_INTERACTION_ADD);
    if (st == NULL) return record_sqlite_lost(s);
    int64_t at = in->at == TIME_NONE ? clock_wall_ms(s->options.clock) : in->at;
    bool plain_agent = in->agent == NULL || strcmp(in->agent, "default") == 0;
    int rc = sqlite3_bind_int64(st, 1, (int64_t)s->next_lsn) | sqlite3_bind_int64(st, 2, person) |
             sqlite3_bind_int64(st, 3, item_num) | sqlite3_bind_int64(st, 4, at) |
             sqlite3_bind_int(st, 5, (int)in->type) | record_sqlite_bind_text(st, 8, plain_agent ? NULL : in->agent) |
             record_sqlite_bind_text(st, 9, in->session) | record_sqlite_bind_text(st, 10, in->recommendation_id) |
             record_sqlite_bind_text(st, 11, in->idempotency_key) | record_sqlite_bind_text(st, 12, in->device) |
             record_sqlite_bind_text(st, 13, in->daypart) | record_sqlite_bind_text(st, 14, in->region) |
             record_sqlite_bind_text(st, 15, in->mood) | record_sqlite_bind_text(st, 17, c->attribution);
    rc |= in->watch_s >= 0 ? sqlite3_bind_int(st, 6, in->watch_s) : sqlite3_bind_null(st, 6);
    rc |= isnan(in->rating) ? sqlite3_bind_null(st, 7) : sqlite3_bind_double(st, 7, in->rating);
    rc |= in->simulated ? sqlite3_bind_int(st, 16, 1) : sqlite3_bind_null(st, 16);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK) {
        c->lsn = s->next_lsn++; /* the row is its own log row */
        s->timeline_new++;
        c->num = (uint32_t)item_num;
    }
    return rc;
}

static int apply_interaction(record_sqlite *s, record_change *c) {
    const interaction *in = c->interaction;
    bool person_known = false, item_known = false, repeated = false;
    int64_t person = 0, born = 0, item_num = 0;
    int rc = record_sqlite_person_number(s, in->user, &person_known, &person, &born);
    if (rc == SQLITE_OK && person_known && in->idempotency_key != NULL && in->idempotency_key[0] != '\0')
        rc = interaction_known(s, c, person, &repeated);
    if (rc != SQLITE_OK || repeated) return rc;
    rc = record_sqlite_item_number(s, in->item, &item_known, &item_num);
    if (rc != SQLITE_OK) return rc;
    if (!item_known) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no item '%s'", in->item);
        return SQLITE_OK;
    }
    if (!person_known) rc = record_sqlite_person_make(s, in->user, &person);
    return rc == SQLITE_OK ? interaction_insert(s, c, person, item_num) : rc;
}

/* The log names keys: one row says that somebody's policies changed, however many of them a transaction moves one after
 * the other. */
static int policy_logged(record_sqlite *s, record_change *c, int64_t person) {
    if (s->policy_person == person) {
        c->lsn = s->policy_lsn;
        return SQLITE_OK;
    }
    int rc = record_sqlite_log_change(s, c, 0, 0, person, NULL);
    s->policy_person = rc == SQLITE_OK ? person : -1;
    s->policy_lsn = c->lsn;
    return rc;
}

static int apply_policy(record_sqlite *s, record_change *c, const record_sqlite_body *body) {
    const record_policy *p = c->policy;
    bool known = false;
    int64_t person = 0, born = 0;
    int rc = record_sqlite_person_number(s, p->user, &known, &person, &born);
    if (rc != SQLITE_OK) return rc;
    if (!known || (uint64_t)born > p->version) {
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no user '%s' (any more) to whom the policy belongs",
                             p->user);
        return SQLITE_OK;
    }
    sqlite3_stmt *st = stmt(s, SQL_POLICY_PUT);
    if (st == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, person) | sqlite3_bind_text(st, 2, p->agent, -1, SQLITE_STATIC) |
         record_sqlite_bind_hash(st, 3, p->state_hash) | record_sqlite_bind_text(st, 4, p->state) |
         sqlite3_bind_int64(st, 5, (int64_t)p->version) |
         sqlite3_bind_blob(st, 6, body->text, (int)body->len, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK && sqlite3_changes(s->writer.db) == 0) {
        record_sqlite_refuse(c, BRAID_E_CONFLICT, "the stored policy is newer than version %llu",
                             (unsigned long long)p->version);
        return SQLITE_OK;
    }
    return rc == SQLITE_OK ? policy_logged(s, c, person) : rc;
}

/* Refuses the change when the item of that number is not there; *there false then. */
static int item_there(record_sqlite *s, record_change *c, uint32_t num, bool *there) {
    int64_t one = 0;
    sqlite3_stmt *st = stmt(s, SQL_ITEM_THERE);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, num);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, there, &one, NULL);
    if (rc == SQLITE_OK && !*there)
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no item number %u (any more)", num);
    c->num = num;
    return rc;
}

static int apply_stats(record_sqlite *s, record_change *c) {
    const record_stats *t = c->stats;
    bool there = false;
    int rc = item_there(s, c, t->num, &there);
    if (rc != SQLITE_OK || !there) return rc;
    sqlite3_stmt *st = stmt(s, SQL_STATS_PUT);
    if (st == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_int64(st, 1, t->num) | sqlite3_bind_double(st, 2, t->interactions) |
         sqlite3_bind_double(st, 3, t->reward_sum) | sqlite3_bind_int64(st, 4, t->last_at) |
         sqlite3_bind_double(st, 5, t->recent);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

static int apply_neighbours(record_sqlite *s, record_change *c) {
    const record_neighbours *n = c->neighbours;
    bool there = false, drop = removes(c);
    int rc = item_there(s, c, n->num, &there);
    if (rc != SQLITE_OK || !there) return rc;
    sqlite3_stmt *st = stmt(s, drop ? SQL_NEIGHBOURS_DROP : SQL_NEIGHBOURS_PUT);
    if (st == NULL) return record_sqlite_lost(s);
    rc = sqlite3_bind_text(st, 1, n->model, -1, SQLITE_STATIC) | sqlite3_bind_int64(st, 2, n->num);
    if (!drop)
        rc |= sqlite3_bind_int64(st, 3, n->at) | sqlite3_bind_int64(st, 4, (int64_t)s->next_lsn) |
              sqlite3_bind_blob(st, 5, n->list, (int)(n->count * sizeof *n->list), SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    c->duplicate = rc == SQLITE_OK && drop && sqlite3_changes(s->writer.db) == 0;
    return rc == SQLITE_OK && !c->duplicate ? record_sqlite_log_change(s, c, n->num, 0, 0, n->model) : rc;
}

static int apply_cursor(record_sqlite *s, record_change *c) {
    sqlite3_stmt *st = stmt(s, SQL_CURSOR_PUT);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_text(st, 1, c->cursor->name, -1, SQLITE_STATIC) |
             sqlite3_bind_int64(st, 2, (int64_t)c->cursor->lsn);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

int record_sqlite_apply(record_sqlite *s, record_change *c, const record_sqlite_body *body) {
    switch (c->kind) {
    case RECORD_ITEM: return c->remove ? apply_item_remove(s, c) : apply_item_put(s, c, body);
    case RECORD_RELATION: return apply_relation(s, c);
    case RECORD_USER: return c->remove ? apply_user_remove(s, c) : apply_user_put(s, c, body);
    case RECORD_INTERACTION: return apply_interaction(s, c);
    case RECORD_POLICY: return apply_policy(s, c, body);
    case RECORD_EPISODE: return record_sqlite_apply_episode(s, c);
    case RECORD_STATS: return apply_stats(s, c);
    case RECORD_CURSOR: return apply_cursor(s, c);
    case RECORD_NEIGHBOURS: return apply_neighbours(s, c);
    case RECORD_DOCUMENT: return record_sqlite_apply_document(s, c);
    case RECORD_SLATE: return record_sqlite_apply_slate(s, c);
    }
    return SQLITE_MISUSE;
}
