/* Learning by itself, behind the log: after so many interactions (learn.after) or hours (learn.hours), in a thread that
 * gives way to everybody. Off by default: a learning reads everything that people did and writes a row for each item,
 * which whoever opens a file to look into it did not ask for; a server turns it on.
 *
 * Interactions are counted by the record store, and counting may cost it a pass over them. So it is asked only once the
 * log has grown by as many entries as interactions were missing, each being at least one, or when the hours are over.
 *
 * Whether another server has learned meanwhile is told by the document that the last one left (learn.c). A learning
 * that is broken off, by closing or by a crash, leaves it as it was, and the next start learns. One that fails is
 * tried again after a rest. */
#include <time.h>

#include "engine/db.h"

enum { TICK_S = 1, FIRST_LOOK_S = 3, REST_S = 300, HOUR_MS = 3600000, NICER = 5 };

typedef struct teacher {
    braid_db *db;
    uint64_t look_at;   /* LSN at which to count again */
    int64_t hours_over; /* wall ms at which the hours are, INT64_MAX: never */
} teacher;

static bool closing(braid_db *db) {
    pthread_mutex_lock(&db->keeper_lock);
    bool now = db->closing;
    pthread_mutex_unlock(&db->keeper_lock);
    return now;
}

static bool go_on(void *ctx, const char *phase, uint64_t done, uint64_t total) {
    (void)phase;
    (void)done;
    (void)total;
    return !closing(ctx);
}

/* Counts, and says whether it is time; else, when to count again. */
static int look(teacher *t, bool *due, braid_error *err) {
    braid_db *db = t->db;
    uint64_t after = (uint64_t)option_get_int(db->options, "learn.after"), head = record_head(db->record);
    double hours = option_get_real(db->options, "learn.hours");
    engine_learned last;
    record_info info;
    arena *a = arena_new(4096);
    int rc = a ? engine_learned_get(db, a, &last, err)
               : error_set(err, BRAID_E_NO_MEMORY, "engine/teacher", "no memory to look");
    arena_free(a);
    *due = false;
    if (rc == BRAID_OK) rc = record_get_info(db->record, &info, err);
    if (rc != BRAID_OK) return rc;
    uint64_t fresh = info.interactions > last.counted ? info.interactions - last.counted : 0;
    int64_t over = hours > 0 ? last.at + (int64_t)(hours * HOUR_MS) : INT64_MAX;
    *due = fresh > 0 && ((after > 0 && fresh >= after) || clock_wall_ms(&clock_system) >= over);
    t->look_at = after > 0 ? head + (fresh < after ? after - fresh : 1) : UINT64_MAX;
    t->hours_over = over;
    if (fresh == 0 && over != INT64_MAX) { /* the hours wait for the first interaction */
        t->hours_over = INT64_MAX;
        t->look_at = head + 1;
    }
    return BRAID_OK;
}

/* Seconds to rest. */
static int teach(teacher *t) {
    braid_db *db = t->db;
    braid_error err = {0};
    bool due = false;
    char *json = NULL;
    if (record_head(db->record) < t->look_at && clock_wall_ms(&clock_system) < t->hours_over) return TICK_S;
    int rc = look(t, &due, &err);
    if (rc == BRAID_OK && due) rc = braid_learn(db, "all", go_on, db, &json, &err);
    if (rc == BRAID_OK && due) {
        log_write(&db->log, LOG_INFO, "engine/teacher", "learned: %.400s", json);
        rc = look(t, &due, &err);
    }
    braid_free(json);
    if (rc == BRAID_OK || rc == BRAID_E_CLOSED) return TICK_S;
    t->look_at = 0; /* again, after a rest */
    if (rc != BRAID_E_BUSY && rc != BRAID_E_LOCKED)
        log_write(&db->log, LOG_WARN, err.store, "learning by itself: %s; trying again in %d s", err.message, REST_S);
    return rc == BRAID_E_BUSY || rc == BRAID_E_LOCKED ? FIRST_LOOK_S : REST_S;
}

static void *teacher_main(void *ctx) {
    teacher t = {.db = ctx};
    braid_db *db = ctx;
    turn_give_way(NICER); /* the threads that it starts inherit it */
    for (int rest = FIRST_LOOK_S; !closing(db); rest = teach(&t)) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += rest;
        pthread_mutex_lock(&db->keeper_lock);
        while (!db->closing && pthread_cond_timedwait(&db->keeper_wake, &db->keeper_lock, &until) == 0) {}
        pthread_mutex_unlock(&db->keeper_lock);
    }
    return NULL;
}

int teacher_start(braid_db *db, braid_error *err) {
    bool wanted = option_get_int(db->options, "learn.after") > 0 || option_get_real(db->options, "learn.hours") > 0;
    if (!wanted || option_get_bool(db->options, "record.read_only")) return BRAID_OK;
    if (pthread_create(&db->teacher, NULL, teacher_main, db) != 0)
        return error_set(err, BRAID_E_NO_MEMORY, "engine", "the thread that learns could not be started");
    db->teacher_runs = true;
    return BRAID_OK;
}

void teacher_stop(braid_db *db) {
    if (!db->teacher_runs) return;
    pthread_join(db->teacher, NULL);
    db->teacher_runs = false;
}
