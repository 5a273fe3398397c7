/* The engine's tests over other stores than the embedded ones. BRAID_TEST_MIX names the mix:
 *     remote     PostgreSQL, Milvus, Neo4j and Redis
 *     milvus     SQLite and Milvus, the rest in this process
 *     postgres   PostgreSQL with pgvector, the graph and the cache in this process
 *     neo4j      SQLite, Neo4j for the vectors and for the graph
 * Not set: everything embedded. Where the servers are is said in engine_env.h. */
#ifndef TEST_SUPPORT_MIX_H
#define TEST_SUPPORT_MIX_H

#include <stdbool.h>

/* Settings (key, value, ..., NULL) of a database of its own, empty, until the next call; NULL when no mix is asked
 * for. A mix whose servers are not named ends the program: who asks for a mix means it. */
const char *const *test_mix_begin(void);
/* Whether the records lie in a server, so that there is no file to name. */
bool test_mix_has_no_file(void);
/* Whether the mix has Milvus: there an answer is not kept for the seconds in which the store may still miss a write. */
bool test_mix_shows_late(void);
/* Removes what this program has made in the servers. */
void test_mix_end(void);

#endif
