/* How far this server has read the log, told to the others, so that none of them trims what it still needs.
 *
 * Whoever follows the log here asks for more from where it stands at least every few seconds: log_read, or log_wait.
 * The lowest place that was asked from during the last minutes is therefore below everybody's. It is kept in two
 * windows of time, so that what has moved on is forgotten; a consumer that is stuck for longer than a window is told by
 * log_read that its rows are gone, and never reads on as if nothing were missing.
 *
 * The watcher tells the place: when it has risen and rows lie between, at most every few seconds, and once a minute
 * to be seen. A server that is only starting holds back what was there when it opened. */
#include <inttypes.h>
#include <stdio.h>

#include "record/record_postgres.h"

enum { READERS_WINDOW_S = 120, READERS_TELL_S = 5, READERS_SEEN_S = 60 };

void record_postgres_reading(record_postgres *s, uint64_t after) {
    uint64_t low = atomic_load_explicit(&s->reading_low, memory_order_relaxed);
    while (after < low && !atomic_compare_exchange_weak(&s->reading_low, &low, after)) {}
}

static int reader_keep(record_postgres *s, pg_session *session, const uint64_t *lsn, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_text(&p, s->reader);
    if (lsn != NULL)
        pg_bind_int8(&p, (int64_t)*lsn);
    else
        pg_bind_null(&p);
    int code = pg_run(session, SQL_KEEP_READER, &p, 0, "telling how far the log was read", &r, err);
    pg_row row = {.r = r};
    if (code == BRAID_OK && pg_rows(r) == 1) s->reading_told = (uint64_t)pg_int8(&row, 0);
    PQclear(r);
    pg_params_free(&p);
    s->reading_told_ns = record_postgres_now(s);
    return code;
}

int record_postgres_readers_begin(record_postgres *s, pg_session *session, braid_error *err) {
    rng random;
    rng_seed(&random, (uint64_t)clock_mono_ns(&clock_system) ^ (uint64_t)(uintptr_t)s ^ s->epoch);
    snprintf(s->reader, sizeof s->reader, "%016" PRIx64, rng_next(&random));
    s->reading_window_ns = record_postgres_now(s);
    atomic_store(&s->reading_low, UINT64_MAX);
    int code = reader_keep(s, session, NULL, err);
    s->reading_before = s->reading_told; /* counts for the first window */
    return code;
}

void record_postgres_readers_tell(record_postgres *s, pg_session *session) {
    int64_t now = record_postgres_now(s), second = 1000000000;
    if (s->options.read_only || now - s->reading_told_ns < READERS_TELL_S * second) return;
    if (now - s->reading_window_ns >= READERS_WINDOW_S * second) {
        s->reading_before = atomic_exchange(&s->reading_low, UINT64_MAX);
        s->reading_window_ns = now;
    }
    uint64_t low = atomic_load(&s->reading_low);
    if (s->reading_before < low) low = s->reading_before;
    if (low >= INT64_MAX) low = s->reading_told; /* nobody reads */
    bool risen = low > s->reading_told && atomic_load(&s->tip) > s->reading_told;
    if (risen || low < s->reading_told || now - s->reading_told_ns >= READERS_SEEN_S * second)
        (void)reader_keep(s, session, &low, NULL);
}

/* The first farewell that the server does not hear is the last. */
void record_postgres_readers_end(record_postgres *s) {
    pg_params p;
    PGresult *r = NULL;
    if (s->pool == NULL || s->reader[0] == '\0' || atomic_load(&s->gone) != 0) return;
    pg_params_init(&p);
    pg_bind_text(&p, s->reader);
    int code = record_postgres_read(s, SQL_DROP_READER, &p, 0, "closing", &r, NULL);
    PQclear(r);
    for (int i = 0; code == BRAID_OK && i < RECORD_POSTGRES_WRITERS; i++) {
        pg_params_reset(&p);
        pg_bind_text(&p, s->writers[i].name);
        code = record_postgres_read(s, SQL_DROP_WRITER, &p, 0, "closing", &r, NULL);
        PQclear(r);
    }
    pg_params_free(&p);
}
