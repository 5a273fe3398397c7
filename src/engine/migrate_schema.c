/* Making or upgrading the record store's schema, and nothing else: for whoever wants to see it done before servers
 * start. */
#include <stdio.h>
#include <string.h>

#include "engine/db.h"

static void note_step(void *ctx, unsigned step, const char *name) {
    buf *steps = ctx;
    buf_printf(steps, "%s{\"step\":%u,\"name\":", steps->len > 0 ? "," : "", step);
    buf_json_string(steps, name);
    buf_puts(steps, "}");
}

static void say_where(const braid_db *db, buf *out) {
    const remote_options *r = &db->remotes[ROLE_RECORD];
    char text[640];
    snprintf(text, sizeof text, "%.300s, database %.300s", r->address ? r->address : "",
             r->database ? r->database : "");
    buf_json_string(out, record_caps_of(db->record) & RECORD_CAP_REMOTE ? text : db->path);
}

static int report(const braid_db *db, const buf *steps, char **json, braid_error *err) {
    record_info info;
    buf b;
    int rc = record_get_info(db->record, &info, err);
    if (rc) return rc;
    buf_init(&b, 0);
    buf_printf(&b, "{\"store\":\"%s\",\"where\":", record_name(db->record));
    say_where(db, &b);
    buf_printf(&b, ",\"schema\":%d,\"steps\":[", info.schema_version);
    if (steps->len > 0) buf_add(&b, steps->data, steps->len);
    buf_puts(&b, "]}");
    if (steps->failed) b.failed = true;
    rc = engine_text(&b, json, err);
    buf_free(&b);
    return rc;
}

int braid_migrate_schema(const char *path, const braid_options *options, char **json, braid_error *err) {
    braid_db *db = NULL;
    buf steps;
    *json = NULL;
    buf_init(&steps, 0);
    int rc = engine_db_new(path, options, &db, err);
    if (rc == BRAID_OK && option_get_bool(db->options, "record.read_only"))
        rc = error_set(err, BRAID_E_READ_ONLY, "engine", "a schema is not made with record.read_only: leave it out");
    if (rc == BRAID_OK) rc = engine_record_open(db, note_step, &steps, err);
    if (rc == BRAID_OK) rc = report(db, &steps, json, err);
    braid_close(db);
    buf_free(&steps);
    return rc;
}
