/* PostgreSQL as the record store: opening, closing, and the table of functions.
 *
 * For many servers on one database. An LSN names a transaction and a change in it, so numbers have gaps, and a change
 * is settled (may be read from the log) when every older transaction has ended: usually at once, and after what is
 * written in record_postgres_head.c when something keeps a transaction open. See sql/ for the tables and for what a
 * change means, record_postgres_commit.c for how it is written, record_postgres_log.c for how it is read again.
 *
 * A restored, cloned or failed-over database is another one, though its name is the same: its transaction numbers may
 * begin again, and what this process has derived from the log may never have been. Each connection is asked for the
 * database's epoch when it is made by whoever would suffer (writers, watcher, leases); when it is not the one that was
 * opened, all calls fail until the store is opened again. */
#include "record/record_postgres.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const pg_statement record_postgres_statements[SQL_COUNT] = {
#define RECORD_POSTGRES_STATEMENT(name, given, text) [SQL_##name] = {.types = (given), .sql = (text)},
    RECORD_POSTGRES_STATEMENTS(RECORD_POSTGRES_STATEMENT)
#undef RECORD_POSTGRES_STATEMENT
};
_Static_assert((int)SQL_COUNT <= (int)PG_STATEMENTS_MAX, "a session has room for every statement");

int64_t record_postgres_now(const record_postgres *s) {
    return clock_mono_ns(s->options.clock);
}

deadline record_postgres_until(const record_postgres *s, deadline until) {
    return pg_deadline(&s->reading, until);
}

int64_t record_postgres_timeout_ns(const record_postgres *s) {
    unsigned ms = s->options.remote->timeout_ms;
    return (int64_t)(ms != 0 ? ms : RECORD_POSTGRES_TIMEOUT_MS) * 1000000;
}

int record_postgres_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, RECORD_POSTGRES, "no memory");
}

void record_postgres_condition(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool record_postgres_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns) {
    struct timespec t;
    if (ns < 0) return pthread_cond_wait(cond, mutex) == 0;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec += (long)(ns % 1000000000);
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(cond, mutex, &t) != ETIMEDOUT;
}

int record_postgres_alive(record_postgres *s, braid_error *err) {
    if (atomic_load_explicit(&s->gone, memory_order_relaxed) == 0) return BRAID_OK;
    return error_set(
        err, BRAID_E_UNAVAILABLE, RECORD_POSTGRES,
        "the database at %s is not the one that was opened (restored, or failed over): start again, so that"
        " everything derived from it is made anew",
        s->options.remote->address);
}

int record_postgres_same(record_postgres *s, pg_session *session, deadline until, braid_error *err) {
    PGresult *r = NULL;
    int code = pg_run(session, SQL_META, NULL, until, "reading the database's facts", &r, err);
    pg_row row = {.r = r};
    bool same = code == BRAID_OK && pg_rows(r) == 1 && (uint32_t)pg_int4(&row, 0) == s->dim &&
                (uint64_t)pg_int8(&row, 1) == s->epoch && !row.bad;
    PQclear(r);
    if (code != BRAID_OK || same) return code;
    if (atomic_exchange(&s->gone, 1) == 0 && s->options.log != NULL)
        log_write(s->options.log, LOG_ERROR, "record",
                  "the database at %s is not the one that was opened: it was restored or failed over",
                  s->options.remote->address);
    return record_postgres_alive(s, err);
}

/* ---- opening ---- */

static void postgres_measure(record_postgres *s) {
    metrics *m = s->options.metrics;
    s->commits = metrics_counter(m, "record_commits_total", "", "Transactions of the record store.");
    s->changes = metrics_counter(m, "record_changes_total", "", "Changes written to the record store.");
    s->refused = metrics_counter(m, "record_refused_total", "", "Changes that the record store refused.");
    s->again = metrics_counter(m, "record_again_total", "", "Transactions begun again since another one was quicker.");
    s->unsure = metrics_counter(m, "record_unsure_total", "",
                                "Commits whose connection was lost, so that the server was asked what became of them.");
    s->queue_gauge = metrics_gauge(m, "record_queue", "", "Changes that wait to be written.");
    s->horizon_gauge = metrics_gauge(m, "record_horizon_seconds", "",
                                     "For how long an open transaction has held back rows of the change log.");
    s->commit_time = metrics_histogram(m, "record_commit_duration_seconds", "", "Time of a commit.");
}

static record_postgres *postgres_new(const record_options *options) {
    record_postgres *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->options = *options;
    if (s->options.clock == NULL) s->options.clock = &clock_system;
    if (s->options.group_max == 0) s->options.group_max = 1000;
    if (s->options.queue_max == 0) s->options.queue_max = 100000;
    unsigned timeout = (unsigned)(record_postgres_timeout_ns(s) / 1000000);
    s->reading = (pg_options){.store = RECORD_POSTGRES,
                              .remote = options->remote,
                              .statements = record_postgres_statements,
                              .statement_count = SQL_COUNT,
                              .clock = s->options.clock,
                              .read_only = options->read_only};
    s->writing = s->reading;
    s->writing.statement_timeout_ms = timeout > RECORD_POSTGRES_SCHEMA_MS ? timeout : RECORD_POSTGRES_SCHEMA_MS;
    s->wake_fd = -1;
    pthread_mutex_init(&s->queue_mutex, NULL);
    pthread_mutex_init(&s->head_mutex, NULL);
    pthread_mutex_init(&s->lease_mutex, NULL);
    pthread_mutex_init(&s->keeper_mutex, NULL);
    record_postgres_condition(&s->queue_cond);
    record_postgres_condition(&s->head_cond);
    record_postgres_condition(&s->keeper_cond);
    postgres_measure(s);
    return s;
}

static void postgres_close(void *self) {
    record_postgres *s = self;
    if (s == NULL) return;
    record_postgres_writers_stop(s);
    record_postgres_keeper_stop(s);
    record_postgres_watcher_stop(s);
    record_postgres_lease_end(s);
    record_postgres_readers_end(s);
    conn_pool_free(s->pool);
    pthread_cond_destroy(&s->queue_cond);
    pthread_cond_destroy(&s->head_cond);
    pthread_cond_destroy(&s->keeper_cond);
    pthread_mutex_destroy(&s->queue_mutex);
    pthread_mutex_destroy(&s->head_mutex);
    pthread_mutex_destroy(&s->lease_mutex);
    pthread_mutex_destroy(&s->keeper_mutex);
    free(s);
}

/* The head as it is now, so that a consumer that starts at once sees all that is there. */
static int postgres_first_look(record_postgres *s, braid_error *err) {
    PGresult *r = NULL;
    int code = record_postgres_read(s, SQL_HEAD, NULL, 0, "looking at the log", &r, err);
    pg_row row = {.r = r};
    if (code == BRAID_OK && pg_rows(r) != 1) code = record_postgres_corrupt("looking at the log", err);
    if (code == BRAID_OK) {
        atomic_store(&s->head, (uint64_t)pg_int8(&row, 0));
        atomic_store(&s->tip, (uint64_t)pg_int8(&row, 1));
        atomic_store(&s->newest, (uint64_t)pg_int8(&row, 2));
        if (row.bad) code = record_postgres_corrupt("looking at the log", err);
    }
    PQclear(r);
    return code;
}

static int postgres_open(const record_options *options, void **self, braid_error *err) {
    *self = NULL;
    if (options->remote == NULL || options->remote->address == NULL || options->remote->address[0] == '\0')
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES,
                         "where is PostgreSQL? Set its address, HOST:PORT, and the database");
    record_postgres *s = postgres_new(options);
    if (s == NULL) return record_postgres_no_memory(err);
    unsigned connections = options->remote->connections != 0 ? options->remote->connections
                           : options->readers != 0           ? options->readers
                                                             : RECORD_POSTGRES_CONNECTIONS;
    conn_pool_options lending = {.name = "postgres",
                                 .address = options->remote->address,
                                 .max = connections,
                                 .clock = s->options.clock,
                                 .metrics = s->options.metrics};
    int code = record_postgres_schema_open(s, err);
    if (code == BRAID_OK) code = conn_pool_new(&pg_pool_ops, &s->reading, &lending, &s->pool, err);
    if (code == BRAID_OK) code = postgres_first_look(s, err);
    if (code == BRAID_OK) code = record_postgres_watcher_start(s, err);
    if (code == BRAID_OK && !options->read_only) code = record_postgres_writers_start(s, err);
    if (code == BRAID_OK && !options->read_only) code = record_postgres_keeper_start(s, err);
    if (code != BRAID_OK) {
        postgres_close(s);
        return code;
    }
    *self = s;
    return BRAID_OK;
}

extern const record_ops record_ops_postgres;
const record_ops record_ops_postgres = {
    .version = 1,
    .name = "postgres",
    .caps = RECORD_CAP_REMOTE,
    .open = postgres_open,
    .close = postgres_close,
    .write = record_postgres_write,
    .get_item = record_postgres_get_item,
    .get_item_num = record_postgres_get_item_num,
    .get_items = record_postgres_get_items,
    .scan_items = record_postgres_scan_items,
    .list_items = record_postgres_list_items,
    .item_vectors = record_postgres_item_vectors,
    .scan_relations = record_postgres_scan_relations,
    .item_relations = record_postgres_item_relations,
    .get_relations = record_postgres_get_relations,
    .list_relations = record_postgres_list_relations,
    .get_user = record_postgres_get_user,
    .list_users = record_postgres_list_users,
    .user_interactions = record_postgres_user_interactions,
    .scan_interactions = record_postgres_scan_interactions,
    .user_policies = record_postgres_user_policies,
    .get_policies = record_postgres_get_policies,
    .user_episodes = record_postgres_user_episodes,
    .scan_stats = record_postgres_scan_stats,
    .scan_neighbours = record_postgres_scan_neighbours,
    .item_neighbours = record_postgres_item_neighbours,
    .similar_episodes = record_postgres_similar_episodes,
    .get_document = record_postgres_get_document,
    .list_documents = record_postgres_list_documents,
    .get_slate = record_postgres_get_slate,
    .scan_slates = record_postgres_scan_slates,
    .forget = record_postgres_forget,
    .roll_up = record_postgres_roll_up,
    .scan_hours = record_postgres_scan_hours,
    .log_read = record_postgres_log_read,
    .log_wait = record_postgres_log_wait,
    .log_wake = record_postgres_log_wake,
    .log_trim = record_postgres_log_trim,
    .head = record_postgres_head,
    .lag = record_postgres_lag,
    .lease = record_postgres_lease,
    .cursor_get = record_postgres_cursor_get,
    .info = record_postgres_info,
    .integrity = record_postgres_integrity,
    .checkpoint = record_postgres_checkpoint,
};
