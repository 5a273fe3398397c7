/* See neo4j.h. The lock is a file that is named after the server's address and is given up when the program ends. */
#include "neo4j.h"
#include "engine_env.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

static void wait_for_others(const char *address) {
    static bool locked;
    const char *folder = getenv("TMPDIR");
    char path[512];
    if (locked) return;
    snprintf(path, sizeof path, "%s/braid-test-neo4j-%s.lock", folder != NULL ? folder : "/tmp", address);
    for (char *c = strrchr(path, '/') + 1; *c != '\0'; c++)
        if (*c == ':' || *c == '/') *c = '-';
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) fprintf(stderr, "cannot lock %s: other tests may disturb this one\n", path);
    locked = true;
}

bool test_neo4j(remote_options *out) {
    const char *address = test_engine("NEO4J", "");
    if (address[0] == '\0') {
        printf("neo4j is left out: BRAID_TEST_NEO4J=HOST:PORT is not set\n");
        return false;
    }
    wait_for_others(address);
    *out = (remote_options){.address = address,
                            .database = test_engine("NEO4J", "DATABASE"),
                            .user = test_engine("NEO4J", "USER"),
                            .password = test_engine_password("NEO4J"),
                            .token = "",
                            .tls_ca = "",
                            .connections = 16,
                            .timeout_ms = 20000,
                            .retries = 3,
                            .batch = 1000};
    return true;
}
