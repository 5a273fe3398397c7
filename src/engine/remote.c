/* How the servers of this database are reached: one section of the options for each engine, and which section a store
 * reads. This is the one place that knows both; a new engine is a row here and a section in the table of options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

enum { SECRET_BYTES_MAX = 1024 };

static const struct {
    const char *store, *section;
} sections[] = {
    {"postgres", "postgres"}, {"pgvector", "postgres"}, {"milvus", "milvus"}, {"neo4j", "neo4j"}, {"redis", "redis"}};

static const char *section_of(const char *store) {
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (strcmp(sections[i].store, store) == 0) return sections[i].section;
    return NULL;
}

static const char *remote_text(const braid_db *db, const char *section, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", section, name);
    return option_get(db->options, key);
}

static unsigned remote_number(const braid_db *db, const char *section, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", section, name);
    return (unsigned)option_get_int(db->options, key);
}

static bool remote_flag(const braid_db *db, const char *section, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", section, name);
    return option_get_bool(db->options, key);
}

/* The first line of a file, without its end. The caller frees it with engine_secret_free. */
static int read_secret(const char *path, const char *section, char **out, braid_error *err) {
    char line[SECRET_BYTES_MAX + 2] = "";
    FILE *in = fopen(path, "re");
    if (!in)
        return error_set(err, BRAID_E_IO, "engine", "%s.password_file: cannot read '%s': %s", section, path,
                         strerror(errno));
    bool there = fgets(line, sizeof line, in) != NULL;
    fclose(in);
    size_t len = strcspn(line, "\r\n");
    bool whole = there && len <= SECRET_BYTES_MAX;
    line[len] = '\0';
    *out = whole ? strdup(line) : NULL;
    explicit_bzero(line, sizeof line);
    if (*out) return BRAID_OK;
    return whole ? error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a password")
                 : error_set(err, BRAID_E_INVALID, "engine", "%s.password_file: '%s' holds no line of 1..%d bytes",
                             section, path, SECRET_BYTES_MAX);
}

void engine_secret_free(char *secret) {
    if (!secret) return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

int engine_remote_of(braid_db *db, engine_role role, const char *store, const remote_options **out, braid_error *err) {
    const char *section = section_of(store);
    *out = NULL;
    if (!section) return BRAID_OK;
    remote_options *r = &db->remotes[role];
    const char *file = remote_text(db, section, "password_file");
    engine_secret_free(db->secrets[role]);
    db->secrets[role] = NULL;
    if (*file) {
        int rc = read_secret(file, section, &db->secrets[role], err);
        if (rc) return rc;
    }
    *r = (remote_options){
        .name = section,
        .address = remote_text(db, section, "address"),
        .database = remote_text(db, section, "database"),
        .user = remote_text(db, section, "user"),
        .password = *file ? db->secrets[role] : remote_text(db, section, "password"),
        .token = strcmp(section, "milvus") == 0 ? remote_text(db, section, "token") : "",
        .tls = remote_flag(db, section, "tls"),
        .tls_insecure = remote_flag(db, section, "tls_insecure"),
        .tls_ca = remote_text(db, section, "tls_ca"),
        .connections = remote_number(db, section, "connections"),
        .timeout_ms = remote_number(db, section, "timeout_ms"),
        .write_timeout_ms = strcmp(section, "redis") == 0 ? 0 : remote_number(db, section, "write_timeout_ms"),
        .retries = remote_number(db, section, "retries"),
        .batch = remote_number(db, section, "batch"),
    };
    *out = r;
    return BRAID_OK;
}

int engine_not_built(const char *option, const char *store, braid_error *err) {
    return error_set(
        err, BRAID_E_INVALID, "engine",
        "%s: this Braid was built without %s; install its client library (scripts/deps.sh test names it) and"
        " build again, or choose another store. `braid info` lists what is compiled in",
        option, store);
}
