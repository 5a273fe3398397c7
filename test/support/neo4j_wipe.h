/* Empties the tests' Neo4j: nodes, and the vector index whatever its dimension. For programs that are linked with
 * the Bolt client; the others include neo4j.h alone. */
#ifndef TEST_SUPPORT_NEO4J_WIPE_H
#define TEST_SUPPORT_NEO4J_WIPE_H

#include <stdio.h>

#include "wire/bolt.h"

static inline bool test_neo4j_wipe(const remote_options *server) {
    static const char *const texts[] = {
        "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 2000 ROWS",
        "DROP INDEX braid_media_embedding IF EXISTS",
    };
    bolt_client *c = NULL;
    braid_error err = {0};
    int64_t until = clock_mono_ns(&clock_system) + INT64_C(120000000000); /* somebody may have left much */
    bool ok = bolt_open(&(bolt_options){.remote = server}, &c, &err) == BRAID_OK;
    for (size_t i = 0; ok && i < sizeof texts / sizeof texts[0]; i++)
        ok = bolt_run(c, &(bolt_call){.until = until}, &(bolt_statement){.text = texts[i]}, &err) == BRAID_OK;
    bolt_close(c);
    if (!ok) fprintf(stderr, "the tests' Neo4j cannot be emptied: %s\n", err.message);
    return ok;
}

#endif
