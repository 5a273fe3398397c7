/* Roll-ups hour by hour and agent by agent: sql/013_explored.sql makes them anew from an hour on. */
#include "record/record_postgres.h"

enum { ROLL_UP_MS = 120000 };

/* It may take as long as there are episodes in those hours. */
int record_postgres_roll_up(void *self, int64_t since, braid_error *err) {
    return record_postgres_tend(self, SQL_ROLL_UP, since, ROLL_UP_MS, "rolling up", NULL, err);
}

int record_postgres_scan_hours(void *self, const char *agent, int64_t from, int64_t until_at, size_t limit,
                               record_hour_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    bool go_on = true;
    pg_params_init(&p);
    pg_bind_text(&p, agent);
    pg_bind_int8(&p, pg_time(from));
    pg_bind_int8(&p, pg_time(until_at));
    pg_bind_int8(&p, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    int code = record_postgres_read(self, SQL_HOURS_SCAN, &p, 0, "reading roll-ups", &r, err);
    for (int i = 0; code == BRAID_OK && go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_hour hour = {.hour = pg_wall_ms(pg_int8(&row, 0)),
                            .agent = pg_text(&row, 1, NULL),
                            .slates = (uint64_t)pg_int8(&row, 2),
                            .episodes = (uint64_t)pg_int8(&row, 3),
                            .finished = (uint64_t)pg_int8(&row, 4),
                            .reward_sum = pg_double(&row, 5),
                            .places = (uint64_t)pg_int8(&row, 6),
                            .explored = (uint64_t)pg_int8(&row, 7)};
        if (row.bad)
            code = record_postgres_corrupt("reading roll-ups", err);
        else
            go_on = each(ctx, &hour);
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}
