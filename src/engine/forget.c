/* Forgetting what happened longer ago than it is kept for: slates and episodes, once an hour.
 *
 * How long is the option's, and of episodes an agent's own where its document says so ("episodes_days"). The documents
 * are read anew each time, past every cache, and when one cannot be read nothing is forgotten: another server may have
 * just been told to keep what is about to go.
 *
 * A store forgets in slices that give way to writers, or by whole months. A number of days that is 0 keeps for
 * ever. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

#define DAY_MS INT64_C(86400000)

typedef struct kept_list {
    record_agent_before *list;
    size_t count, room;
    int64_t now, others; /* days that the option says */
    bool failed;         /* no memory */
} kept_list;

static int64_t before_of(int64_t now, int64_t days) {
    return days > 0 ? now - days * DAY_MS : TIME_NONE;
}

static bool add_agent(void *ctx, const char *name, const agent_settings *a) {
    kept_list *k = ctx;
    if (a->episodes_days < 0 || a->episodes_days == k->others) return true;
    if (k->count == k->room) {
        size_t room = k->room > 0 ? 2 * k->room : 16;
        record_agent_before *grown = realloc(k->list, room * sizeof *grown);
        if (grown == NULL) return !(k->failed = true);
        k->list = grown;
        k->room = room;
    }
    char *copy = strdup(name);
    if (copy == NULL) return !(k->failed = true);
    k->list[k->count++] = (record_agent_before){copy, before_of(k->now, a->episodes_days)};
    return true;
}

static int forget_episodes(braid_db *db, int64_t now, int64_t days, uint64_t *removed, braid_error *err) {
    kept_list k = {.now = now, .others = days};
    int rc = policy_agents_each(db->agents, add_agent, &k, err);
    if (rc == BRAID_OK && k.failed)
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for how long agents keep their episodes");
    record_old old = {.kind = RECORD_EPISODE, .before = before_of(now, days), .agents = k.list, .agent_count = k.count};
    if (rc == BRAID_OK) rc = record_forget(db->record, &old, removed, err);
    for (size_t i = 0; i < k.count; i++) free((char *)k.list[i].agent);
    free(k.list);
    return rc;
}

static int forget_slates(braid_db *db, int64_t now, int64_t days, uint64_t *removed, braid_error *err) {
    return record_forget(db->record, &(record_old){.kind = RECORD_SLATE, .before = before_of(now, days)}, removed, err);
}

void engine_forget(braid_db *db) {
    static const struct {
        int (*forget)(braid_db *db, int64_t now, int64_t days, uint64_t *removed, braid_error *err);
        const char *option, *what, *metric, *help;
    } old[] = {
        {forget_slates, "slates.days", "slates", "slates_forgotten_total",
         "Slates that were older than they are kept for."},
        {forget_episodes, "episodes.days", "episodes", "episodes_forgotten_total",
         "Episodes that were older than they are kept for."},
    };
    int64_t now = clock_wall_ms(&clock_system);
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        braid_error err = {0};
        uint64_t removed = 0;
        if (old[i].forget(db, now, option_get_int(db->options, old[i].option), &removed, &err) != BRAID_OK)
            log_write(&db->log, LOG_WARN, err.store, "old %s could not be forgotten: %s", old[i].what, err.message);
        metric_add(metrics_counter(db->metrics, old[i].metric, "", old[i].help), removed);
    }
}
