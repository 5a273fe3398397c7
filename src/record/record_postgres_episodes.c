/* Reading and comparing episodes; sql/010_episodes.sql says how their states are kept and found. */
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

enum { VECTOR_HEAD_BYTES = 4 };

/* RECORD_POSTGRES_EPISODE_COLUMNS; `room` is for the state, RECORD_STATE_DIM_MAX floats. */
static bool episode_row(pg_row *row, float *room, record_episode *out) {
    int64_t num = pg_int8(row, 6);
    size_t bytes = 0;
    *out = (record_episode){.interaction_lsn = (uint64_t)pg_int8(row, 0),
                            .agent = pg_text(row, 1, NULL),
                            .user = pg_text(row, 11, NULL),
                            .session = pg_text(row, 2, NULL),
                            .state_hash = pg_text(row, 3, NULL),
                            .state = pg_text(row, 4, NULL),
                            .next_state_hash = pg_text(row, 5, NULL),
                            .item_num = (uint32_t)num,
                            .action = pg_text(row, 7, NULL),
                            .reward = pg_double(row, 8),
                            .done = pg_bool(row, 9),
                            .at = pg_wall_ms(pg_int8(row, 10))};
    if (row->bad || num <= 0 || num > UINT32_MAX) return false;
    if (pg_bytes(row, 12, &bytes) == NULL) return true;
    size_t dim = bytes > VECTOR_HEAD_BYTES ? (bytes - VECTOR_HEAD_BYTES) / sizeof(float) : 0;
    if (dim < 1 || dim > RECORD_STATE_DIM_MAX || !pg_vector(row, 12, room, (uint32_t)dim)) return false;
    out->vector = room;
    out->dim = (uint32_t)dim;
    return true;
}

int record_postgres_user_episodes(void *self, const char *user_id, size_t limit, record_episode_fn *each, void *ctx,
                                  braid_error *err) {
    pg_params p;
    bool go_on = true;
    int64_t before = INT64_MAX, number = INT64_MAX;
    float *room = malloc(RECORD_STATE_DIM_MAX * sizeof *room);
    int code = room != NULL ? BRAID_OK : record_postgres_no_memory(err);
    pg_params_init(&p);
    for (size_t got = 1; code == BRAID_OK && go_on && limit > 0 && got > 0;) {
        PGresult *r = NULL;
        size_t page = limit < RECORD_POSTGRES_PAGE_VECTORS ? limit : RECORD_POSTGRES_PAGE_VECTORS;
        pg_params_reset(&p);
        pg_bind_text(&p, user_id);
        pg_bind_int8(&p, pg_time(before));
        pg_bind_int8(&p, number);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(self, SQL_PERSON_EPISODES, &p, 0, "reading episodes", &r, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        limit -= got;
        for (size_t i = 0; go_on && i < got; i++) {
            pg_row row = {.r = r, .row = (int)i};
            record_episode e;
            if (!episode_row(&row, room, &e)) {
                code = record_postgres_corrupt("reading episodes", err);
                break;
            }
            before = e.at;
            number = (int64_t)e.interaction_lsn;
            go_on = each(ctx, &e);
        }
        if (got < page) got = 0;
        PQclear(r);
    }
    pg_params_free(&p);
    free(room);
    return code;
}

int record_postgres_similar_episodes(void *self, const char *agent, const float *vector, uint32_t dim, size_t k,
                                     int64_t since, deadline until, record_similar_fn *each, void *ctx,
                                     braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    bool go_on = true;
    float *room = malloc(RECORD_STATE_DIM_MAX * sizeof *room);
    if (room == NULL) return record_postgres_no_memory(err);
    pg_params_init(&p);
    pg_bind_text(&p, agent);
    pg_bind_vector(&p, vector, dim);
    pg_bind_int8(&p, (int64_t)k);
    pg_bind_int8(&p, pg_time(since));
    int code = record_postgres_read(self, SQL_NEAREST_EPISODES, &p, until, "looking for similar episodes", &r, err);
    for (int i = 0; code == BRAID_OK && go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_episode e;
        double similarity = pg_double(&row, 13);
        if (!episode_row(&row, room, &e))
            code = record_postgres_corrupt("looking for similar episodes", err);
        else
            go_on = each(ctx, &e, (float)(similarity > 1 ? 1 : similarity < -1 ? -1 : similarity));
    }
    PQclear(r);
    pg_params_free(&p);
    free(room);
    return code;
}
