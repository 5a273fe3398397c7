/* Collections of Milvus that belong to a test program. Each gets a name of its own, so that programs that run at the
 * same time do not meet; all are dropped at the end, and what a program that died has left is swept by the next one.
 *
 * Speaks the server's HTTP side, since it must work when the store under test does not. */
#ifndef TEST_SUPPORT_MILVUS_H
#define TEST_SUPPORT_MILVUS_H

#include <stdbool.h>

#include "base/remote.h"

/* The server that BRAID_TEST_MILVUS=HOST:PORT names, and a database (the beginning of a collection's name) that is not
 * used yet. False, with the reason printed, when the variable is not set. */
bool test_milvus(remote_options *out);
/* Drops the collections of this program. */
void test_milvus_end(void);
bool test_milvus_drop(const char *collection);

#endif
