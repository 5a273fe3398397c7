/* Learning on request: fits the models from everything that people did, writes them to the record store, and answers by
 * them from then on. Answers and writes go on meanwhile; one learning at a time, here and among the servers of one database.
 */
#include <string.h>

#include "engine/db.h"

static const char LEASE[] = "learn";

static int check_what(const char *what, braid_error *err) {
    static const char *const known[] = {"similar", "all"};
    for (size_t i = 0; what && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(what, known[i]) == 0) return BRAID_OK;
    return error_set(err, BRAID_E_INVALID, "request", "\"%.40s\" cannot be learned; there are similar, all",
                     what ? what : "");
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

static int report_json(const policy_fit_report *r, char **json, braid_error *err) {
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "{\"models\":[");
    for (size_t i = 0; i < r->model_count; i++)
        buf_printf(&b, "%s{\"model\":\"%s\",\"edges\":%llu,\"seconds\":%.3f}", i ? "," : "", r->models[i].name,
                   (unsigned long long)r->models[i].edges, r->models[i].seconds);
    buf_printf(&b, "],\"interactions\":%llu,\"users\":%llu,\"items\":%llu,\"seconds\":%.3f}",
               (unsigned long long)r->interactions, (unsigned long long)r->users, (unsigned long long)r->items, r->seconds);
    return engine_text(&b, json, err);
}

int braid_learn(braid_db *db, const char *what, braid_progress *progress, void *ctx, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_what(what, err);
    if (rc != BRAID_OK) return rc;
    if (option_get_bool(db->options, "record.read_only"))
        return error_set(err, BRAID_E_READ_ONLY, "engine/learn", "the database was opened without the right to write");
    if ((rc = take_turn(db, err)) != BRAID_OK) return rc;
    policy_fit_options o = {.threads = (unsigned)option_get_int(db->options, "learn.threads"),
                            .history_max = (size_t)option_get_int(db->options, "learn.history_max"),
                            .ranking = strcmp(what, "similar") != 0,
                            .random_hold_out = strcmp(option_get(db->options, "learn.hold_out"), "random") == 0,
                            .baselines = option_get_bool(db->options, "learn.baselines")};
    policy_fit_rooms rooms = {db->models, db->record, db->catalogue, db->vector, db->dim, &clock_system};
    policy_fit_report report;
    rc = policy_fit(&rooms, &o, progress, ctx, &report, err);
    pthread_mutex_unlock(&db->learning);
    return rc == BRAID_OK ? report_json(&report, json, err) : rc;
}
