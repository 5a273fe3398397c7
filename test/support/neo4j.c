/* See neo4j.h. The lock is a file that is named after the server's address and is given up when the program ends. */
#include "neo4j.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    return value != NULL ? value : "";
}

static void wait_for_others(const char *address) {
    static bool locked;
    const char *folder = getenv("TMPDIR");
    char path[512];
    if (locked)
        return;
    snprintf(path, sizeof path, "%s/braid-test-neo4j-%s.lock", folder != NULL ? folder : "/tmp", address);
    for (char *c = strrchr(path, '/') + 1; *c != '\0'; c++)
        if (*c == ':' || *c == '/')
            *c = '-';
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        fprintf(stderr, "cannot lock %s: other tests may disturb this one\n", path);
    locked = true;
}

bool test_neo4j(remote_options *out) {
    const char *address = getenv("BRAID_TEST_NEO4J");
    if (address == NULL || address[0] == '\0') {
        printf("neo4j is left out: BRAID_TEST_NEO4J=HOST:PORT is not set\n");
        return false;
    }
    wait_for_others(address);
    *out = (remote_options){.address = address,
                            .database = from_environment("BRAID_TEST_NEO4J_DATABASE"),
                            .user = from_environment("BRAID_TEST_NEO4J_USER"),
                            .password = from_environment("BRAID_TEST_NEO4J_PASSWORD"),
                            .token = "",
                            .tls_ca = "",
                            .connections = 16,
                            .timeout_ms = 20000,
                            .retries = 3,
                            .batch = 1000};
    return true;
}
