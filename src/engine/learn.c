/* Learning: fits the models from everything that people did, writes them to the record store, and answers by them from
 * then on. Answers and writes go on meanwhile; one learning at a time, here and among the servers of one database.
 *
 * Patterns (policy/patterns_learn.c) are looked for after the models, or alone; they keep a document of their own.
 *
 * What was learned, when and from how much is kept as a document, written last: so every server of a database can
 * tell it, and a learning that was broken off is due again. How far the one under way is, only this process knows. */
#include <jansson.h>
#include <string.h>

#include "engine/db.h"

enum { MS_NS = 1000000 };
static const char LEASE[] = "learn", DOCUMENT_KIND[] = "learner", DOCUMENT_ID[] = "models";

static int check_what(const char *what, braid_error *err) {
    static const char *const known[] = {"similar", "refresh", "patterns", "all"};
    for (size_t i = 0; what && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(what, known[i]) == 0) return BRAID_OK;
    return error_set(err, BRAID_E_INVALID, "request",
                     "\"%.40s\" cannot be learned; there are similar, refresh, patterns, all", what ? what : "");
}

static int take_turn(braid_db *db, braid_error *err) {
    bool held = false;
    if (pthread_mutex_trylock(&db->learning) != 0)
        return error_set(err, BRAID_E_BUSY, "engine/learn", "learning is under way already; wait for it to end");
    int rc = record_lease(db->record, LEASE, &held, err);
    if (rc == BRAID_OK && !held)
        rc = error_set(err, BRAID_E_LOCKED, "engine/learn",
                       "another server of this database learns: ask that one, with --url or POST /v1/learn");
    if (rc != BRAID_OK) pthread_mutex_unlock(&db->learning);
    return rc;
}

/* ---- what was learned ---- */
typedef struct lesson_report {
    policy_fit_report fit;
    policy_patterns_report patterns;
    bool fitted, looked; /* which of the two was done */
} lesson_report;

static void patterns_print(const policy_patterns_report *r, buf *b) {
    buf_printf(b, ",\"patterns\":{\"people\":%llu,\"sample\":%g,\"seconds\":%.3f,\"kinds\":[",
               (unsigned long long)r->people, r->sample, r->seconds);
    for (int k = 0; k < LEARN_PATTERN_KINDS; k++)
        buf_printf(b, "%s{\"kind\":\"%s\",\"found\":%llu,\"tested\":%llu}", k ? "," : "",
                   policy_pattern_kind_name((learn_pattern_kind)k), (unsigned long long)r->found[k],
                   (unsigned long long)r->tested[k]);
    buf_puts(b, "]}");
}

static void report_print(const lesson_report *all, const char *what, int64_t at, buf *b) {
    const policy_fit_report *r = &all->fit;
    char when[32];
    clock_format_rfc3339(at, when);
    buf_puts(b, "{\"models\":[");
    for (size_t i = 0; i < r->model_count; i++)
        buf_printf(b, "%s{\"model\":\"%s\",\"edges\":%llu,\"seconds\":%.3f}", i ? "," : "", r->models[i].name,
                   (unsigned long long)r->models[i].edges, r->models[i].seconds);
    buf_putc(b, ']');
    if (all->looked) patterns_print(&all->patterns, b);
    buf_printf(b,
               ",\"interactions\":%llu,\"users\":%llu,\"items\":%llu,\"seconds\":%.3f,\"moved\":%llu,"
               "\"counted\":%llu,\"head\":%llu,\"what\":\"%s\",\"at\":\"%s\"}",
               (unsigned long long)r->interactions, (unsigned long long)r->users, (unsigned long long)r->items,
               r->seconds, (unsigned long long)(r->refreshed ? r->moved : r->items), (unsigned long long)r->counted,
               (unsigned long long)r->head, what, when);
}

static int report_keep(braid_db *db, const buf *b, braid_error *err) {
    record_document row = {
        .kind = DOCUMENT_KIND, .id = DOCUMENT_ID, .body = b->data, .body_len = b->len, .expect = RECORD_ANY_VERSION};
    record_change change = {.kind = RECORD_DOCUMENT, .document = &row};
    int rc = record_write(db->record, &change, 1, (record_write_flags){.background = true}, err);
    return rc == BRAID_OK && change.code != BRAID_OK ? error_set(err, change.code, "engine/learn", "%s", change.message)
                                                     : rc;
}

typedef struct learned_read {
    arena *a;
    char *body;
    size_t len;
} learned_read;

static bool learned_row(void *ctx, const record_document *row) {
    learned_read *x = ctx;
    x->body = arena_alloc(x->a, row->body_len + 1);
    if (!x->body) return false;
    memcpy(x->body, row->body, row->body_len);
    x->body[row->body_len] = '\0';
    x->len = row->body_len;
    return true;
}

int engine_learned_get(braid_db *db, arena *a, engine_learned *out, braid_error *err) {
    learned_read x = {.a = a};
    json_t *json = NULL;
    const char *when = NULL;
    json_int_t counted = 0, head = 0;
    *out = (engine_learned){0};
    /* that there is no note is no error, and none that the caller's next one would stand behind */
    braid_error none = {0};
    int rc = record_get_document(db->record, DOCUMENT_KIND, DOCUMENT_ID, learned_row, &x, &none);
    if (rc == BRAID_E_NOT_FOUND) return BRAID_OK;
    if (rc != BRAID_OK) return error_set(err, rc, none.store, "%s", none.message);
    rc = x.body ? model_json_parse(x.body, x.len, &db->limits, &json, err)
                : error_set(err, BRAID_E_NO_MEMORY, "engine/learn", "no memory for what was learned");
    if (rc != BRAID_OK) return rc;
    if (json_unpack(json, "{s:I, s:I, s:s}", "counted", &counted, "head", &head, "at", &when) != 0 ||
        !clock_parse_rfc3339(when, &out->at))
        rc =
            error_set(err, BRAID_E_CORRUPT, "engine/learn", "the note of what was learned cannot be read; learn again");
    out->body = x.body;
    out->counted = (uint64_t)counted;
    out->head = (uint64_t)head;
    json_decref(json);
    return rc;
}

/* ---- learning ---- */
typedef struct telling {
    braid_db *db;
    braid_progress *progress;
    void *ctx;
} telling;

static bool tell(void *ctx, const char *phase, uint64_t done, uint64_t total) {
    telling *t = ctx;
    atomic_store(&t->db->lesson.phase, phase);
    atomic_store(&t->db->lesson.done, done);
    atomic_store(&t->db->lesson.total, total);
    return !t->progress || t->progress(t->ctx, phase, done, total);
}

static int fit(braid_db *db, const char *what, const engine_learned *last, telling *t, policy_fit_report *report,
               braid_error *err) {
    policy_fit_options o = {.threads = (unsigned)option_get_int(db->options, "learn.threads"),
                            .history_max = (size_t)option_get_int(db->options, "learn.history_max"),
                            .ranking = strcmp(what, "all") == 0,
                            .refresh = strcmp(what, "refresh") == 0,
                            .head = last->head,
                            .counted = last->counted,
                            .random_hold_out = strcmp(option_get(db->options, "learn.hold_out"), "random") == 0,
                            .baselines = option_get_bool(db->options, "learn.baselines")};
    policy_fit_rooms rooms = {db->models, db->record, db->catalogue, db->vector, db->dim, &clock_system};
    return policy_fit(&rooms, &o, tell, t, report, err);
}

/* What patterns alone were learned from, in the words of the rest. */
static void report_of_patterns(braid_db *db, lesson_report *r) {
    r->fit.interactions = r->patterns.interactions;
    r->fit.users = r->patterns.people;
    r->fit.items = catalogue_count(db->catalogue);
}

static int learn(braid_db *db, const char *what, const engine_learned *last, telling *t, lesson_report *report,
                 braid_error *err) {
    int rc = BRAID_OK;
    *report = (lesson_report){.fitted = strcmp(what, "patterns") != 0};
    report->looked = !report->fitted || (strcmp(what, "all") == 0 && option_get_bool(db->options, "learn.patterns"));
    atomic_store(&db->lesson.running, true);
    if (report->fitted) rc = fit(db, what, last, t, &report->fit, err);
    if (rc == BRAID_OK && report->looked)
        rc = policy_patterns_learn(db->patterns, 0, &clock_system, tell, t, &report->patterns, err);
    atomic_store(&db->lesson.running, false);
    atomic_store(&db->lesson.phase, NULL);
    if (!report->fitted) report_of_patterns(db, report);
    report->fit.seconds += report->patterns.seconds;
    return rc;
}

int braid_learn(braid_db *db, const char *what, braid_progress *progress, void *ctx, char **json, braid_error *err) {
    lesson_report report;
    engine_learned last;
    telling t = {db, progress, ctx};
    buf b;
    *json = NULL;
    int rc = check_what(what, err);
    if (rc != BRAID_OK) return rc;
    if (option_get_bool(db->options, "record.read_only"))
        return error_set(err, BRAID_E_READ_ONLY, "engine/learn", "the database was opened without the right to write");
    if ((rc = take_turn(db, err)) != BRAID_OK) return rc;
    buf_init(&b, 0);
    arena *a = arena_new(4096);
    rc = a ? engine_learned_get(db, a, &last, err)
           : error_set(err, BRAID_E_NO_MEMORY, "engine/learn", "no memory to learn");
    arena_free(a);
    if (rc == BRAID_OK) rc = learn(db, what, &last, &t, &report, err);
    if (rc == BRAID_OK) report_print(&report, what, clock_wall_ms(&clock_system), &b);
    if (rc == BRAID_OK && b.failed)
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine/learn", "no memory to tell what was learned");
    /* patterns alone leave the models as old as they are */
    if (rc == BRAID_OK && report.fitted) rc = report_keep(db, &b, err);
    pthread_mutex_unlock(&db->learning);
    if (rc == BRAID_OK) return engine_text(&b, json, err);
    buf_free(&b);
    return rc;
}

/* ---- patterns, listed ---- */
int braid_patterns(braid_db *db, const char *kind, const char *person, size_t limit, char **json, braid_error *err) {
    learn_pattern_kind of;
    const policy_profile *who = NULL;
    buf b;
    *json = NULL;
    if (limit < 1 || limit > 1000) return error_set(err, BRAID_E_INVALID, "request", "\"limit\" is from 1 to 1000");
    if (kind && !policy_pattern_kind_of(kind, &of))
        return error_set(
            err, BRAID_E_INVALID, "request",
            "there is no kind of pattern \"%.40s\"; there are genre_affinity, user_preference, seasonal_trend, mood_correlation",
            kind);
    if (person && kind && of != LEARN_USER_PREFERENCE)
        return error_set(err, BRAID_E_INVALID, "request", "of one user there is only user_preference");
    int rc = person ? model_check_id(person, strlen(person), "user", err) : BRAID_OK;
    if (rc == BRAID_OK && person)
        rc = policy_profile_get(db->profiles, person,
                                clock_mono_ns(&clock_system) + option_get_int(db->options, "query.deadline_ms") * MS_NS,
                                &who, err);
    if (rc == BRAID_OK && who && !who->known)
        rc = error_set(err, BRAID_E_NOT_FOUND, "record", "nothing is known of a user \"%.120s\"", person);
    buf_init(&b, 0);
    if (rc == BRAID_OK && policy_patterns_print(db->patterns, kind ? &of : NULL, who, limit, &b) != BRAID_OK)
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine/learn", "no memory to list patterns");
    if (who) policy_profile_release(who);
    if (rc == BRAID_OK) return engine_text(&b, json, err);
    buf_free(&b);
    return rc;
}

/* ---- how it stands ---- */
int braid_learners(braid_db *db, char **json, braid_error *err) {
    engine_learned last;
    record_info info;
    buf b;
    *json = NULL;
    arena *a = arena_new(4096);
    int rc = a ? engine_learned_get(db, a, &last, err)
               : error_set(err, BRAID_E_NO_MEMORY, "engine/learn", "no memory to tell what was learned");
    if (rc == BRAID_OK) rc = record_get_info(db->record, &info, err);
    if (rc != BRAID_OK) {
        arena_free(a);
        return rc;
    }
    const char *phase = atomic_load(&db->lesson.phase);
    buf_init(&b, 0);
    buf_printf(&b, "{\"running\":%s,\"phase\":", atomic_load(&db->lesson.running) ? "true" : "false");
    if (phase)
        buf_json_string(&b, phase);
    else
        buf_puts(&b, "null");
    buf_printf(&b, ",\"done\":%llu,\"total\":%llu", (unsigned long long)(phase ? atomic_load(&db->lesson.done) : 0),
               (unsigned long long)(phase ? atomic_load(&db->lesson.total) : 0));
    buf_printf(&b, ",\"new_interactions\":%llu",
               (unsigned long long)(info.interactions > last.counted ? info.interactions - last.counted : 0));
    buf_printf(&b, ",\"automatic\":{\"after\":%lld,\"hours\":%g},\"last\":%s}",
               (long long)option_get_int(db->options, "learn.after"), option_get_real(db->options, "learn.hours"),
               last.body ? last.body : "null");
    arena_free(a);
    return engine_text(&b, json, err);
}
