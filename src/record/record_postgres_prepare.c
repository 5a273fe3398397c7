/* What can be done for a change before it is queued, on the caller's own thread: check all that needs no database, and
 * write the canonical JSON of items and users. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "record/documents.h"
#include "record/neighbours.h"
#include "record/record_postgres.h"

/* Copies a refusal into the change, cut between characters. */
void record_postgres_refuse(record_change *c, int code, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    len = utf8_prefix(text, len, sizeof c->message - 1);
    memcpy(c->message, text, len);
    c->message[len] = '\0';
    c->code = code;
    c->lsn = 0;
}

static bool finite_floats(const float *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

static bool id_fits(const char *id) {
    size_t len = id != NULL ? strlen(id) : 0;
    return len > 0 && len <= MODEL_ID_BYTES_MAX;
}

static int prepare_body(buf *b, bool written, record_postgres_body *body, braid_error *err) {
    bool failed = !written || b->failed;
    body->len = failed ? 0 : b->len;
    body->text = failed ? NULL : buf_steal(b);
    buf_free(b);
    return body->text != NULL ? BRAID_OK : record_postgres_no_memory(err);
}

static int prepare_item(record_postgres *s, record_change *c, record_postgres_body *body, braid_error *err) {
    buf b;
    if (!id_fits(c->item->id))
        record_postgres_refuse(c, BRAID_E_INVALID, "an item's id has 1..%d bytes", MODEL_ID_BYTES_MAX);
    else if (!c->remove && c->vector != NULL && !finite_floats(c->vector, s->dim))
        record_postgres_refuse(c, BRAID_E_NOT_FINITE, "the vector of item '%s' holds NaN or infinity", c->item->id);
    if (c->code != BRAID_OK || c->remove) return BRAID_OK;
    buf_init(&b, 0);
    return prepare_body(&b, item_to_json(c->item, false, &b), body, err);
}

static int prepare_user(record_change *c, record_postgres_body *body, braid_error *err) {
    buf b;
    if (!id_fits(c->user->id))
        record_postgres_refuse(c, BRAID_E_INVALID, "a user's id has 1..%d bytes", MODEL_ID_BYTES_MAX);
    if (c->code != BRAID_OK || c->remove) return BRAID_OK;
    buf_init(&b, 0);
    return prepare_body(&b, user_to_json(c->user, &b), body, err);
}

static void prepare_policy(record_change *c) {
    const record_policy *p = c->policy;
    if (p->action_count == 0) record_postgres_refuse(c, BRAID_E_INVALID, "a policy without actions");
    for (size_t i = 0; i < p->action_count; i++) {
        const record_action *a = &p->actions[i];
        if (!isfinite(a->mean) || !isfinite(a->variance) || !isfinite(a->count))
            record_postgres_refuse(c, BRAID_E_NOT_FINITE, "a policy holds NaN or infinity");
    }
}

int record_postgres_prepare(record_postgres *s, record_change *c, record_postgres_body *body, braid_error *err) {
    c->code = BRAID_OK;
    c->message[0] = '\0';
    c->lsn = 0;
    c->num = 0;
    c->duplicate = false;
    if (c->kind < RECORD_ITEM || c->kind > RECORD_SLATE || c->item == NULL) {
        record_postgres_refuse(c, BRAID_E_INVALID, "a change without content");
        return BRAID_OK;
    }
    if (c->remove && !(RECORD_MASK(c->kind) & RECORD_REMOVABLE)) {
        record_postgres_refuse(c, BRAID_E_INVALID, RECORD_REMOVABLE_ONLY);
        return BRAID_OK;
    }
    if (c->kind == RECORD_ITEM) return prepare_item(s, c, body, err);
    if (c->kind == RECORD_USER) return prepare_user(c, body, err);
    if (c->kind == RECORD_POLICY) prepare_policy(c);
    if (c->kind == RECORD_INTERACTION && (!id_fits(c->interaction->user) || !id_fits(c->interaction->item)))
        record_postgres_refuse(c, BRAID_E_INVALID, "an interaction names a user and an item of 1..%d bytes",
                               MODEL_ID_BYTES_MAX);
    if (c->kind == RECORD_RELATION && (!relation_type_valid(c->relation->type) || !isfinite(c->relation->strength)))
        record_postgres_refuse(c, BRAID_E_INVALID, "a relation has a type like SEQUEL_OF and a finite strength");
    if (c->kind == RECORD_STATS &&
        !(isfinite(c->stats->interactions) && isfinite(c->stats->reward_sum) && isfinite(c->stats->recent)))
        record_postgres_refuse(c, BRAID_E_NOT_FINITE, "statistics hold NaN or infinity");
    const char *why = NULL;
    int code = c->kind == RECORD_NEIGHBOURS ? record_neighbours_check(c->neighbours, c->remove, &why)
               : c->kind == RECORD_DOCUMENT ? record_document_check(c->document, c->remove, &why)
               : c->kind == RECORD_SLATE    ? record_slate_check(c->slate, &why)
               : c->kind == RECORD_EPISODE  ? record_episode_check(c->episode, &why)
                                            : BRAID_OK;
    if (code != BRAID_OK) record_postgres_refuse(c, code, "%s", why);
    return BRAID_OK;
}
