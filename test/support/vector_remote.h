/* Where the vector tests find the servers of remote stores. Every opening gets a collection of its own, in a schema
 * that belongs to the program, so that programs that run at the same time do not meet; what a program that died has
 * left is swept by the next one. */
#ifndef TEST_SUPPORT_VECTOR_REMOTE_H
#define TEST_SUPPORT_VECTOR_REMOTE_H

#include <stdbool.h>

#include "base/remote.h"

/* A fresh, empty collection for the store of that name; lives until test_vector_remote_end(). False, with the reason
 * printed, when the store's server is not named in the environment:
 *     milvus     BRAID_TEST_MILVUS=HOST:PORT
 *     pgvector   BRAID_TEST_POSTGRES=HOST:PORT, and _USER, _DATABASE, _PASSWORD or _PASSWORD_FILE
 *     neo4j      BRAID_TEST_NEO4J=HOST:PORT, and _USER, _PASSWORD; one database for all: empty it with
 *                test_neo4j_wipe() */
bool test_vector_remote(const char *store, remote_options *out);
/* Drops every collection of this program. */
void test_vector_remote_end(void);
/* Runs SQL as the test's user in the test's schema; the number in the first column of the first row, or -1. */
long long test_vector_sql(const char *sql);

#endif
