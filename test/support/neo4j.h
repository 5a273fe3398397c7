/* Where the tests find a Neo4j server, and how test programs that run at the same time keep out of each other's way.
 * Its community edition holds one database, so only one program may use it at a time. */
#ifndef TEST_SUPPORT_NEO4J_H
#define TEST_SUPPORT_NEO4J_H

#include <stdbool.h>

#include "base/remote.h"

/* From BRAID_TEST_NEO4J=HOST:PORT (and _USER, _PASSWORD or _PASSWORD_FILE); waits for other test programs to be done
 * with it. False, with the reason printed, when the variable is not set. */
bool test_neo4j(remote_options *out);

#endif
