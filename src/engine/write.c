/* Writing: the one stream format -> changes -> one durable batch after another -> a report by line.
 *
 * A text is cut into elements (lines of NDJSON, elements of an array, or one object). Each element is parsed and
 * checked by itself, so a bad one is named by its line and harms no other. Good ones are handed to the record store
 * in batches; the call returns when the last batch is on stable storage, or, where that was asked for, when its
 * interactions are in the queue (write_queue.c). Nothing here touches a derived store: they follow the log. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"
#include "engine/slate_log.h"
#include "engine/write_queue.h"

enum { WRITE_BATCH = 1000, REJECTIONS_KEPT = 1000, REJECTION_TEXT = 320 };

typedef struct rejection {
    size_t line;
    int code;
    char message[REJECTION_TEXT];
} rejection;

struct braid_report {
    size_t accepted, duplicates, rejected, kept;
    rejection *rejections; /* grows to REJECTIONS_KEPT */
    char lsn[40];
    char *json;
};

/* One call of braid_write. */
typedef struct writer {
    braid_db *db;
    const braid_write_options *options;
    braid_report *report;
    braid_error *err;
    arena *a; /* the batch's nouns; reset after each batch */
    record_change *changes;
    size_t *lines;
    item **items;
    size_t item_count;
    user **users;
    size_t user_count;
    policy_rows_key_list **removed; /* by change: what a cache knows of a person who is to go */
    size_t count, cap;
    size_t line; /* number of the element in hand */
    uint64_t last_lsn;
    int rc;
} writer;

/* ---- the report ---- */
static int reject(writer *w, size_t line, int code, const char *message) {
    braid_report *r = w->report;
    r->rejected++;
    if (r->kept == REJECTIONS_KEPT) return BRAID_OK;
    if ((r->kept & (r->kept - 1)) == 0) { /* 0, 1, 2, 4, ...: room doubles */
        rejection *more = realloc(r->rejections, sizeof *more * (r->kept ? r->kept * 2 : 1));
        if (!more) return error_set(w->err, BRAID_E_NO_MEMORY, "engine/write", "no memory for the report");
        r->rejections = more;
    }
    rejection *x = &r->rejections[r->kept++];
    x->line = line;
    x->code = code;
    snprintf(x->message, sizeof x->message, "%s", message);
    return BRAID_OK;
}

static int report_finish(writer *w) {
    braid_report *r = w->report;
    query_lsn_token(w->db->epoch, w->last_lsn ? w->last_lsn : record_head(w->db->record), r->lsn);
    buf b;
    buf_init(&b, 0);
    buf_printf(&b, "{\"accepted\":%zu,\"duplicates\":%zu,\"rejected\":[", r->accepted, r->duplicates);
    for (size_t i = 0; i < r->kept; i++) {
        buf_printf(&b, "%s{\"line\":%zu,\"code\":\"%s\",\"error\":", i ? "," : "", r->rejections[i].line,
                   error_name(r->rejections[i].code));
        buf_json_string(&b, r->rejections[i].message);
        buf_putc(&b, '}');
    }
    buf_puts(&b, "]");
    if (r->rejected > r->kept) buf_printf(&b, ",\"rejected_total\":%zu", r->rejected);
    buf_printf(&b, ",\"lsn\":\"%s\"}", r->lsn);
    return engine_text(&b, &r->json, w->err);
}

size_t braid_report_accepted(const braid_report *report) {
    return report->accepted;
}

size_t braid_report_duplicates(const braid_report *report) {
    return report->duplicates;
}

size_t braid_report_rejected(const braid_report *report) {
    return report->rejected;
}

int braid_report_rejection(const braid_report *report, size_t i, braid_rejection *out) {
    if (i >= report->kept) return BRAID_E_NOT_FOUND;
    *out = (braid_rejection){report->rejections[i].line, report->rejections[i].code, report->rejections[i].message};
    return BRAID_OK;
}

const char *braid_report_lsn(const braid_report *report) {
    return report->lsn;
}

const char *braid_report_json(const braid_report *report) {
    return report->json;
}

void braid_report_free(braid_report *report) {
    if (!report) return;
    free(report->rejections);
    free(report->json);
    free(report);
}

/* ---- a batch ---- */
static void batch_forget(writer *w) {
    for (size_t i = 0; i < w->item_count; i++) item_release(w->items[i]);
    for (size_t i = 0; i < w->user_count; i++) user_release(w->users[i]);
    w->item_count = w->user_count = w->count = 0;
    if (w->a) arena_reset(w->a);
}

/* The person's profile moves at once, so that the next answer shows what was just acknowledged. */
static void tell_profiles(writer *w, const record_change *c) {
    if (c->kind == RECORD_INTERACTION && !c->duplicate) {
        if (c->interaction->session[0]) policy_people_changed(w->db->people, c->interaction->user, false, c->lsn);
        policy_profile_moved(w->db->profiles, c->interaction, c->num, c->lsn);
    } else if (c->kind == RECORD_USER) {
        policy_people_changed(w->db->people, c->user->id, true, c->lsn);
        policy_rows_forget(w->db->policies, w->removed[c - w->changes], c->lsn);
        policy_profile_drop(w->db->profiles, c->user->id, c->lsn);
    }
}

/* What the record store would refuse is refused now, while somebody waits for it: an item that is not there. */
static bool one_item(void *ctx, const record_item *row) {
    (void)ctx;
    (void)row;
    return false;
}

static int batch_queue(writer *w) {
    int rc = BRAID_OK;
    for (size_t i = 0; i < w->count && rc == BRAID_OK; i++) {
        const record_change *c = &w->changes[i];
        braid_error why = {0};
        int code = c->kind == RECORD_INTERACTION
                       ? record_get_item(w->db->record, c->interaction->item, one_item, NULL, &why)
                       : error_set(&why, BRAID_E_INVALID, "request", "only interactions may be queued");
        if (code == BRAID_OK) code = write_queue_push(w->db->queue, c->interaction, &why);
        if (code == BRAID_OK)
            w->report->accepted++;
        else if (code == BRAID_E_NOT_FOUND || code == BRAID_E_INVALID || code == BRAID_E_BUSY)
            rc = reject(w, w->lines[i], code, why.message);
        else
            rc = error_set(w->err, code, why.store, "%s", why.message);
    }
    batch_forget(w);
    return rc;
}

static int batch_flush(writer *w) {
    if (w->count == 0) return BRAID_OK;
    if (w->options->queued) return batch_queue(w);
    braid_error why = {0};
    for (size_t i = 0; i < w->count; i++) /* what waits to be kept of a person who goes is to go with them */
        if (w->changes[i].kind == RECORD_USER && w->changes[i].remove) {
            slate_log_wait(w->db->slates);
            write_queue_wait(w->db->queue);
            break;
        }
    int rc = record_write(w->db->record, w->changes, w->count, (record_write_flags){false}, &why);
    /* A write has no deadline of the caller's: it was the store that did not answer, maybe after it had kept them. */
    if (rc == BRAID_E_DEADLINE)
        rc = error_set(
            w->err, BRAID_E_UNAVAILABLE, why.store,
            "%.200s; it is not known whether the changes were kept: send them again (interactions with the same "
            "Idempotency-Key)",
            why.message);
    else if (rc != BRAID_OK)
        error_set(w->err, rc, why.store, "%s", why.message);
    for (size_t i = 0; i < w->count && rc == BRAID_OK; i++) {
        record_change *c = &w->changes[i];
        if (c->code != BRAID_OK) {
            rc = reject(w, w->lines[i], c->code, c->message[0] ? c->message : error_sentence(c->code));
            continue;
        }
        w->report->accepted++;
        if (c->duplicate) w->report->duplicates++;
        /* an episode's number is not of the log */
        if (c->lsn > w->last_lsn && c->kind != RECORD_EPISODE) w->last_lsn = c->lsn;
        tell_profiles(w, c);
    }
    uint64_t before = atomic_load(&w->db->written);
    while (before < w->last_lsn && !atomic_compare_exchange_weak(&w->db->written, &before, w->last_lsn)) {}
    batch_forget(w);
    return rc;
}

/* ---- one element -> one change ---- */
static int take_item(writer *w, const json_t *json, record_change *c, braid_error *why) {
    item *it = NULL;
    int rc = item_from_json(json, &w->db->limits, w->a, &it, why);
    if (rc) return rc;
    if (!it->title[0]) {
        item_release(it);
        return error_set(why, BRAID_E_INVALID, "request", "item: \"title\" is missing; it is what an answer shows");
    }
    const item_vector *given = item_default_vector(it);
    float *made = NULL;
    if (!given) {
        made = arena_alloc(w->a, sizeof(float) * w->db->dim);
        rc = made ? embed_item(w->db->embedder, it, made, why)
                  : error_set(why, BRAID_E_NO_MEMORY, "engine/write", "no memory for a vector");
        /* A text without a letter or digit points nowhere: such an item has no vector and is found by graph and filter
         * only. */
        if (rc == BRAID_OK && !vector_normalise(made, w->db->dim)) made = NULL;
    }
    if (rc) {
        item_release(it);
        return rc;
    }
    w->items[w->item_count++] = it;
    *c = (record_change){
        .kind = RECORD_ITEM, .item = it, .vector = given ? given->values : made, .vector_given = given != NULL};
    return BRAID_OK;
}

static int take_relation(writer *w, const json_t *json, record_change *c, braid_error *why) {
    relation *r = NULL;
    int rc = relation_from_json(json, w->a, &r, why);
    if (rc == BRAID_OK) *c = (record_change){.kind = RECORD_RELATION, .relation = r};
    return rc;
}

static int take_user(writer *w, const json_t *json, record_change *c, braid_error *why) {
    user *u = NULL;
    int rc = user_from_json(json, &w->db->limits, w->a, &u, why);
    if (rc) return rc;
    w->users[w->user_count++] = u;
    *c = (record_change){.kind = RECORD_USER, .user = u};
    return BRAID_OK;
}

/* Where the item stood in the answer that the interaction names, kept with the interaction: a reward finds its
 * slate. */
static const char *attribution_of(writer *w, const interaction *in) {
    if (!in->recommendation_id[0]) return NULL;
    buf b;
    buf_init(&b, 4096);
    bool known = query_slate_attribution(&w->db->rooms, in->recommendation_id, in->user, in->item, &b);
    const char *text = known && !b.failed ? arena_strndup(w->a, b.data, b.len) : NULL;
    buf_free(&b);
    return text;
}

static int take_interaction(writer *w, const json_t *json, record_change *c, braid_error *why) {
    interaction *in = NULL;
    int rc = interaction_from_json(json, w->a, &in, why);
    if (rc) return rc;
    if (!in->idempotency_key[0] && w->options->idempotency_key) {
        in->idempotency_key = arena_printf(w->a, "%s#%zu", w->options->idempotency_key, w->line);
        if (!in->idempotency_key) return error_set(why, BRAID_E_NO_MEMORY, "engine/write", "no memory for a key");
    }
    /* Stamped here and not by the store, so that the person's profile and the stored row agree on when it was. */
    if (in->at == TIME_NONE) in->at = clock_wall_ms(&clock_system);
    *c = (record_change){.kind = RECORD_INTERACTION, .interaction = in, .attribution = attribution_of(w, in)};
    return BRAID_OK;
}

static const char *state_hash(writer *w, const char *text) {
    char hash[RECORD_HASH_BYTES] = "";
    if (text[0]) policy_state_hash(text, hash);
    return arena_strdup(w->a, hash);
}

static int take_episode(writer *w, const json_t *json, record_change *c, braid_error *why) {
    given_episode *e = NULL;
    int rc = episode_from_json(json, w->a, &e, why);
    if (rc) return rc;
    record_episode *row = arena_calloc(w->a, 1, sizeof *row);
    if (!row) return error_set(why, BRAID_E_NO_MEMORY, "engine/write", "no memory for an episode");
    *row = (record_episode){.agent = e->agent,
                            .user = e->user,
                            .session = e->session,
                            .state = e->state,
                            .state_hash = state_hash(w, e->state),
                            .next_state_hash = state_hash(w, e->next_state),
                            .action = e->item,
                            .reward = e->reward,
                            .done = e->done,
                            .at = e->at,
                            .key = e->idempotency_key,
                            .vector = e->vector,
                            .dim = e->dim};
    if (!row->key[0] && w->options->idempotency_key)
        row->key = arena_printf(w->a, "%s#%zu", w->options->idempotency_key, w->line);
    if (!row->key || !row->state_hash || !row->next_state_hash)
        return error_set(why, BRAID_E_NO_MEMORY, "engine/write", "no memory for an episode");
    *c = (record_change){.kind = RECORD_EPISODE, .episode = row};
    return BRAID_OK;
}

static int take_delete(writer *w, const json_t *json, record_change *c, braid_error *why) {
    const char *key = NULL;
    json_t *value = NULL;
    if (json_is_object(json) && json_object_size(json) == 1) {
        void *at = json_object_iter((json_t *)json);
        key = json_object_iter_key(at);
        value = json_object_iter_value(at);
    }
    if (key && strcmp(key, "relation") == 0) {
        int rc = take_relation(w, value, c, why);
        c->remove = true;
        return rc;
    }
    bool is_item = key && strcmp(key, "item") == 0, is_user = key && strcmp(key, "user") == 0;
    if ((!is_item && !is_user) || !json_is_string(value))
        return error_set(
            why, BRAID_E_INVALID, "request",
            "\"delete\" wants {\"item\":\"ID\"}, {\"user\":\"ID\"} or {\"relation\":{\"from\",\"to\",\"type\"}}");
    const char *id = json_string_value(value);
    int rc = model_check_id(id, json_string_length(value), "the id to delete", why);
    if (rc) return rc;
    id = arena_strdup(w->a, id);
    item *it = arena_calloc(w->a, 1, sizeof *it);
    user *u = arena_calloc(w->a, 1, sizeof *u);
    if (!id || !it || !u) return error_set(why, BRAID_E_NO_MEMORY, "engine/write", "no memory for a change");
    it->id = id;
    u->id = id;
    if (is_item)
        *c = (record_change){.kind = RECORD_ITEM, .remove = true, .item = it};
    else
        *c = (record_change){.kind = RECORD_USER, .remove = true, .user = u};
    return is_item ? BRAID_OK : policy_rows_note(w->db->policies, id, w->a, &w->removed[w->count], why);
}

typedef int take_fn(writer *w, const json_t *json, record_change *c, braid_error *why);

static const struct {
    const char *key;
    take_fn *take;
} wrappers[] = {{"item", take_item},       {"relation", take_relation},
                {"user", take_user},       {"interaction", take_interaction},
                {"episode", take_episode}, {"delete", take_delete}};

/* An element is wrapped when it is an object with exactly one key, that of a wrapper, holding an object. ("user" and
 * "item" are also fields of a bare interaction, but then as text.) */
static take_fn *unwrap(writer *w, const json_t *json, const json_t **inner) {
    if (json_object_size(json) == 1) {
        void *at = json_object_iter((json_t *)json);
        const char *key = json_object_iter_key(at);
        json_t *value = json_object_iter_value(at);
        for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++)
            if (strcmp(key, wrappers[i].key) == 0 && json_is_object(value)) {
                *inner = value;
                return wrappers[i].take;
            }
    }
    *inner = json;
    switch (w->options->bare) {
    case BRAID_LINE_INTERACTION: return take_interaction;
    case BRAID_LINE_RELATION: return take_relation;
    case BRAID_LINE_USER: return take_user;
    case BRAID_LINE_EPISODE: return take_episode;
    default: return take_item;
    }
}

static int take_element(writer *w, const json_t *json) {
    braid_error why = {0};
    record_change *c = &w->changes[w->count];
    memset(c, 0, sizeof *c);
    w->removed[w->count] = NULL;
    int rc;
    if (!json_is_object(json)) {
        rc = error_set(&why, BRAID_E_INVALID, "request", "an object is wanted here");
    } else {
        const json_t *inner;
        take_fn *take = unwrap(w, json, &inner);
        rc = take(w, inner, c, &why);
    }
    if (rc == BRAID_E_NO_MEMORY) return error_set(w->err, rc, why.store, "%s", why.message);
    if (rc) return reject(w, w->line, rc, why.message);
    w->lines[w->count++] = w->line;
    return w->count == w->cap ? batch_flush(w) : BRAID_OK;
}

/* ---- cutting the text into elements ---- */
static bool blank(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '\n') return false;
    return true;
}

static int write_line(writer *w, const char *text, size_t len) {
    if (blank(text, len)) return BRAID_OK;
    json_t *json = NULL;
    braid_error why = {0};
    int rc = model_json_parse(text, len, &w->db->limits, &json, &why);
    if (rc == BRAID_E_NO_MEMORY) return error_set(w->err, rc, why.store, "%s", why.message);
    if (rc) return reject(w, w->line, rc, why.message);
    rc = take_element(w, json);
    json_decref(json);
    return rc;
}

static int write_lines(writer *w, const char *text, size_t len) {
    int rc = BRAID_OK;
    while (len > 0 && rc == BRAID_OK) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        rc = write_line(w, text, line);
        size_t step = end ? line + 1 : line;
        text += step;
        len -= step;
        w->line++;
    }
    return rc;
}

static int write_document(writer *w, json_t *json) {
    if (!json_is_array(json)) return take_element(w, json);
    size_t i;
    json_t *element;
    int rc = BRAID_OK;
    json_array_foreach (json, i, element) {
        if (rc) break;
        w->line = w->options->first_line + i;
        rc = take_element(w, element);
    }
    return rc;
}

/* A text whose first line is a whole document is NDJSON (or one object); else all of it must be one document. */
static int write_text(writer *w, const char *text, size_t len) {
    while (len > 0 && blank(text, 1)) {
        if (*text == '\n') w->line++;
        text++;
        len--;
    }
    if (len == 0) return BRAID_OK;
    const char *end = memchr(text, '\n', len);
    bool one_line = !end || blank(end, len - (size_t)(end - text));
    json_t *json = NULL;
    braid_error why = {0};
    if (text[0] == '[' || one_line) {
        int rc = model_json_parse(text, len, &w->db->limits, &json, &why);
        if (rc && text[0] != '[' && rc != BRAID_E_NO_MEMORY) return reject(w, w->line, rc, why.message);
        if (rc) return error_set(w->err, rc, why.store, "%s", why.message);
    } else {
        json_t *first = NULL;
        int rc = model_json_parse(text, (size_t)(end - text), &w->db->limits, &first, &why);
        json_decref(first);
        braid_error ignored = {0};
        if (rc == BRAID_OK || model_json_parse(text, len, &w->db->limits, &json, &ignored) != BRAID_OK)
            return write_lines(w, text, len);
    }
    int rc = write_document(w, json);
    json_decref(json);
    return rc;
}

/* A batch is no larger than its text can need: one acknowledged interaction must not pay for room for a thousand. */
static int writer_open(writer *w, braid_db *db, size_t len, const braid_write_options *options, braid_error *err) {
    *w = (writer){.db = db, .options = options, .err = err, .line = options->first_line};
    w->cap = len / 64 + 1 < WRITE_BATCH ? len / 64 + 1 : WRITE_BATCH;
    w->report = calloc(1, sizeof *w->report);
    w->a = arena_new(w->cap < 16 ? 2048 : 64 * 1024);
    w->changes = calloc(w->cap, sizeof *w->changes);
    w->lines = calloc(w->cap, sizeof *w->lines);
    w->items = calloc(w->cap, sizeof *w->items);
    w->users = calloc(w->cap, sizeof *w->users);
    w->removed = calloc(w->cap, sizeof *w->removed);
    bool complete = w->report && w->a && w->changes && w->lines && w->items && w->users && w->removed;
    return complete ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine/write", "no memory for a batch");
}

static void writer_close(writer *w) {
    batch_forget(w);
    arena_free(w->a);
    free(w->changes);
    free(w->lines);
    free(w->items);
    free(w->users);
    free(w->removed);
}

int braid_write(braid_db *db, const char *text, size_t len, const braid_write_options *options, braid_report **report,
                braid_error *err) {
    static const braid_write_options defaults = {BRAID_LINE_ITEM, NULL, 1, false};
    *report = NULL;
    if (!text) return error_set(err, BRAID_E_INVALID, "request", "there is no text to write");
    if (len == 0) len = strlen(text);
    braid_write_options o = options ? *options : defaults;
    if (o.first_line == 0) o.first_line = 1;
    if (o.idempotency_key && !*o.idempotency_key) o.idempotency_key = NULL;
    if (o.queued && option_get_bool(db->options, "record.read_only"))
        return error_set(err, BRAID_E_READ_ONLY, "record", "the database was opened for reading only");
    if (o.idempotency_key) {
        int rc = model_check_id(o.idempotency_key, strlen(o.idempotency_key), "the idempotency key", err);
        if (rc) return rc;
    }
    writer w;
    int rc = writer_open(&w, db, len, &o, err);
    if (rc == BRAID_OK) rc = write_text(&w, text, len);
    if (rc == BRAID_OK) rc = batch_flush(&w);
    if (rc == BRAID_OK) rc = report_finish(&w);
    writer_close(&w);
    if (rc)
        braid_report_free(w.report);
    else
        *report = w.report;
    return rc;
}
