/* One change as a call of its function (sql/004_write.sql), and what the function's verdict means. */
#include <math.h>
#include <string.h>

#include "record/record_postgres.h"

static void bind_item(record_postgres *s, pg_params *p, const record_change *c, const record_postgres_body *body) {
    size_t named = 0;
    pg_bind_text(p, c->item->id);
    pg_bind_text_len(p, body->text, body->len);
    if (c->vector != NULL)
        pg_bind_bool(p, c->vector_given);
    else
        pg_bind_null(p);
    pg_bind_bytes(p, c->vector, c->vector != NULL ? sizeof(float) * s->dim : 0);
    for (size_t i = 0; i < c->item->vectors_count; i++) named += strcmp(c->item->vectors[i].name, "default") != 0;
    if (named == 0) {
        pg_bind_null(p);
        pg_bind_null(p);
        return;
    }
    pg_array_begin(p, 't', named);
    for (size_t i = 0; i < c->item->vectors_count; i++)
        if (strcmp(c->item->vectors[i].name, "default") != 0) pg_add_text(p, c->item->vectors[i].name);
    pg_array_end(p);
    pg_array_begin(p, 'y', named);
    for (size_t i = 0; i < c->item->vectors_count; i++) {
        const item_vector *v = &c->item->vectors[i];
        if (strcmp(v->name, "default") != 0) pg_add_bytes(p, v->values, sizeof(float) * v->dim);
    }
    pg_array_end(p);
}

static void bind_interaction(record_postgres *s, pg_params *p, const record_change *c) {
    const interaction *in = c->interaction;
    int64_t at = record_postgres_at(s, in->at);
    bool plain_agent = in->agent == NULL || strcmp(in->agent, "default") == 0;
    pg_bind_text(p, in->user);
    pg_bind_text(p, in->item);
    pg_bind_int8(p, pg_time(at));
    pg_bind_int2(p, (int16_t)in->type);
    if (in->watch_s >= 0)
        pg_bind_int4(p, in->watch_s);
    else
        pg_bind_null(p);
    if (isnan(in->rating))
        pg_bind_null(p);
    else
        pg_bind_double(p, in->rating);
    pg_bind_some_text(p, plain_agent ? NULL : in->agent);
    pg_bind_some_text(p, in->session);
    pg_bind_some_text(p, in->recommendation_id);
    pg_bind_some_text(p, in->idempotency_key);
    pg_bind_some_text(p, in->device);
    pg_bind_some_text(p, in->daypart);
    pg_bind_some_text(p, in->region);
    pg_bind_some_text(p, in->mood);
    if (in->simulated)
        pg_bind_bool(p, true);
    else
        pg_bind_null(p);
    pg_bind_text(p, c->attribution);
}

static void bind_policy(pg_params *p, const record_policy *policy) {
    size_t n = policy->action_count;
    pg_bind_text(p, policy->agent);
    pg_bind_text(p, policy->user);
    pg_bind_text(p, policy->state_hash);
    pg_bind_some_text(p, policy->state);
    pg_bind_int8(p, (int64_t)policy->version);
    pg_array_begin(p, 't', n);
    for (size_t i = 0; i < n; i++) pg_add_text(p, policy->actions[i].action);
    pg_array_end(p);
    pg_array_begin(p, 'd', n);
    for (size_t i = 0; i < n; i++) pg_add_double(p, policy->actions[i].mean);
    pg_array_end(p);
    pg_array_begin(p, 'd', n);
    for (size_t i = 0; i < n; i++) pg_add_double(p, policy->actions[i].variance);
    pg_array_end(p);
    pg_array_begin(p, 'd', n);
    for (size_t i = 0; i < n; i++) pg_add_double(p, policy->actions[i].count);
    pg_array_end(p);
    pg_array_begin(p, 'l', n);
    for (size_t i = 0; i < n; i++) pg_add_int8(p, (int64_t)policy->actions[i].version);
    pg_array_end(p);
}

static record_postgres_sql bind_episode(record_postgres *s, pg_params *p, const record_episode *e) {
    bool own = e->interaction_lsn == 0;
    pg_bind_int8(p, (int64_t)e->interaction_lsn);
    pg_bind_text(p, e->user);
    pg_bind_text(p, record_postgres_agent(e));
    pg_bind_some_text(p, e->session);
    pg_bind_text(p, e->state_hash);
    pg_bind_some_text(p, e->state);
    pg_bind_some_text(p, e->next_state_hash);
    pg_bind_some_text(p, e->action);
    pg_bind_double(p, e->reward);
    pg_bind_bool(p, e->done);
    pg_bind_int8(p, own ? pg_time(record_postgres_at(s, e->at)) : 0);
    pg_bind_some_text(p, own ? e->key : NULL);
    if (e->vector != NULL)
        pg_bind_vector(p, e->vector, e->dim);
    else
        pg_bind_null(p);
    return SQL_PUT_EPISODE;
}

const char *record_postgres_agent(const record_episode *e) {
    return e->agent != NULL && e->agent[0] != '\0' ? e->agent : "default";
}

int64_t record_postgres_at(const record_postgres *s, int64_t at) {
    return at == TIME_NONE ? clock_wall_ms(s->options.clock) : at;
}

static record_postgres_sql bind_relation(pg_params *p, const record_change *c) {
    pg_bind_text(p, c->relation->from);
    pg_bind_text(p, c->relation->to);
    pg_bind_text(p, c->relation->type);
    pg_bind_double(p, c->relation->strength);
    pg_bind_bool(p, c->remove);
    return SQL_PUT_RELATION;
}

static record_postgres_sql bind_stats(pg_params *p, const record_stats *t) {
    pg_bind_int8(p, t->num);
    pg_bind_double(p, t->interactions);
    pg_bind_double(p, t->reward_sum);
    pg_bind_int8(p, t->last_at);
    pg_bind_double(p, t->recent);
    return SQL_PUT_STATS;
}

static record_postgres_sql bind_neighbours(pg_params *p, const record_change *c) {
    const record_neighbours *row = c->neighbours;
    size_t count = c->remove ? 0 : row->count;
    pg_bind_int8(p, row->num);
    pg_bind_text(p, row->model);
    pg_bind_int8(p, row->at);
    pg_bind_bytes(p, count > 0 ? (const void *)row->list : "", count * sizeof *row->list);
    return SQL_PUT_NEIGHBOURS;
}

static record_postgres_sql bind_document(pg_params *p, const record_change *c) {
    const record_document *d = c->document;
    pg_bind_text(p, d->kind);
    pg_bind_text(p, d->id);
    if (c->remove)
        pg_bind_null(p);
    else
        pg_bind_text_len(p, d->body, d->body_len);
    pg_bind_int8(p, d->expect == RECORD_ANY_VERSION ? -1 : (int64_t)d->expect);
    return SQL_PUT_DOCUMENT;
}

static record_postgres_sql bind_slate(pg_params *p, const record_slate *l) {
    pg_bind_text(p, l->id);
    pg_bind_text(p, l->user);
    pg_bind_text(p, l->agent);
    pg_bind_int8(p, pg_time(l->at));
    pg_bind_bytes(p, l->body, l->body_len);
    pg_bind_int4(p, (int32_t)l->places);
    pg_bind_int4(p, (int32_t)l->explored);
    return SQL_PUT_SLATE;
}

static record_postgres_sql bind_cursor(record_postgres *s, pg_params *p, const record_cursor *cursor) {
    pg_bind_text(p, cursor->name);
    pg_bind_int8(p, cursor->lsn > INT64_MAX ? INT64_MAX : (int64_t)cursor->lsn);
    pg_bind_int8(p, (int64_t)s->epoch);
    return SQL_PUT_CURSOR;
}

void record_postgres_bind(record_postgres *s, pg_params *p, const record_change *c, const record_postgres_body *body,
                          uint32_t n, uint32_t since, record_postgres_sql *which) {
    pg_params_reset(p);
    if (c->kind != RECORD_STATS && c->kind != RECORD_CURSOR) pg_bind_int4(p, (int32_t)n);
    switch (c->kind) {
    case RECORD_ITEM:
        *which = c->remove ? SQL_DROP_ITEM : SQL_PUT_ITEM;
        if (c->remove)
            pg_bind_text(p, c->item->id);
        else
            bind_item(s, p, c, body);
        return;
    case RECORD_RELATION: *which = bind_relation(p, c); return;
    case RECORD_USER:
        *which = c->remove ? SQL_DROP_USER : SQL_PUT_USER;
        pg_bind_text(p, c->user->id);
        if (!c->remove) pg_bind_text_len(p, body->text, body->len);
        return;
    case RECORD_INTERACTION:
        *which = SQL_PUT_INTERACTION;
        bind_interaction(s, p, c);
        return;
    case RECORD_POLICY:
        *which = SQL_PUT_POLICY;
        pg_bind_int4(p, (int32_t)since);
        bind_policy(p, c->policy);
        return;
    case RECORD_EPISODE: *which = bind_episode(s, p, c->episode); return;
    case RECORD_STATS: *which = bind_stats(p, c->stats); return;
    case RECORD_CURSOR: *which = bind_cursor(s, p, c->cursor); return;
    case RECORD_NEIGHBOURS: *which = bind_neighbours(p, c); return;
    case RECORD_DOCUMENT: *which = bind_document(p, c); return;
    case RECORD_SLATE: *which = bind_slate(p, c->slate); return;
    }
}

/* ---- verdicts ---- */

static void refuse_item(record_change *c, bool other_end) {
    const char *id = c->kind == RECORD_ITEM          ? c->item->id
                     : c->kind == RECORD_EPISODE     ? c->episode->action
                     : c->kind == RECORD_INTERACTION ? c->interaction->item
                     : c->kind == RECORD_RELATION    ? (other_end ? c->relation->to : c->relation->from)
                                                     : NULL;
    if (id != NULL)
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no item '%s'", id);
    else
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no item number %u (any more)",
                               c->kind == RECORD_NEIGHBOURS ? c->neighbours->num : c->stats->num);
}

static bool refuse_user(record_change *c) {
    if (c->kind == RECORD_USER)
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no user '%s'", c->user->id);
    else if (c->kind == RECORD_POLICY)
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no user '%s' (any more) to whom the policy belongs",
                               c->policy->user);
    else
        return false;
    return true;
}

static bool refuse_document(record_change *c, int verdict) {
    const record_document *d = c->document;
    if (c->kind != RECORD_DOCUMENT) return false;
    if (verdict == 8)
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no document '%s/%s'", d->kind, d->id);
    else if (d->expect == 0)
        record_postgres_refuse(c, BRAID_E_CONFLICT, "there is a document '%s/%s' already", d->kind, d->id);
    else
        record_postgres_refuse(c, BRAID_E_CONFLICT, "document '%s/%s' was changed by somebody else: read it again",
                               d->kind, d->id);
    return true;
}

bool record_postgres_verdict(record_change *c, const PGresult *r) {
    pg_row row = {.r = r};
    if (pg_rows(r) != 1 || PQnfields(r) != 3) return false;
    int verdict = pg_int2(&row, 0);
    int64_t lsn = pg_null(&row, 1) ? 0 : pg_int8(&row, 1), num = pg_null(&row, 2) ? 0 : pg_int8(&row, 2);
    if (row.bad || num < 0 || num > UINT32_MAX) return false;
    c->num = (uint32_t)num;
    return record_postgres_judge(c, verdict, lsn);
}

bool record_postgres_judge(record_change *c, int verdict, int64_t lsn) {
    if (lsn < 0) return false;
    c->lsn = verdict <= 1 ? (uint64_t)lsn : 0;
    c->duplicate = verdict == 1;
    switch (verdict) {
    case 0:
    case 1: return true;
    case 2:
        if (c->kind != RECORD_ITEM && c->kind != RECORD_RELATION && c->kind != RECORD_INTERACTION &&
            c->kind != RECORD_STATS && c->kind != RECORD_NEIGHBOURS && c->kind != RECORD_EPISODE)
            return false;
        refuse_item(c, false);
        return true;
    case 3:
        if (c->kind != RECORD_RELATION) return false;
        refuse_item(c, true);
        return true;
    case 4:
        if (c->kind != RECORD_RELATION) return false;
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no relation %s from '%s' to '%s'", c->relation->type,
                               c->relation->from, c->relation->to);
        return true;
    case 5: return refuse_user(c);
    case 6:
        if (c->kind != RECORD_POLICY) return false;
        record_postgres_refuse(c, BRAID_E_CONFLICT, "the stored policy is newer than version %llu",
                               (unsigned long long)c->policy->version);
        return true;
    case 7:
        if (c->kind != RECORD_EPISODE) return false;
        record_postgres_refuse(c, BRAID_E_NOT_FOUND, "there is no interaction %llu of user '%s' (any more)",
                               (unsigned long long)c->episode->interaction_lsn, c->episode->user);
        return true;
    case 8:
    case 9: return refuse_document(c, verdict);
    default: return false;
    }
}
