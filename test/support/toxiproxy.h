/* A proxy that misbehaves on purpose, between a test and a real server: a small client of Toxiproxy's HTTP control API
 * (BRAID_TEST_TOXIPROXY = HOST:PORT).
 *
 * Each proxy has a name of its own (the given word, the process and a number) and a free port of 127.0.0.1, so that
 * programs which share one Toxiproxy never meet. What a test leaves behind, also by failing, is deleted when the
 * program ends. A call that fails prints why to stderr and is false; a control call takes five seconds at most.
 * Thread-safe. */
#ifndef TEST_SUPPORT_TOXIPROXY_H
#define TEST_SUPPORT_TOXIPROXY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct toxiproxy {
    char name[64];
    char address[64]; /* "127.0.0.1:PORT": what the program under test is told to connect to */
    unsigned toxics;  /* added so far: their names are t1, t2, ... */
} toxiproxy;

/* Whether there is one to use. */
bool toxiproxy_there(void);

/* In front of `upstream` (HOST:PORT). `word` is short and of letters, digits and dashes. */
bool toxiproxy_create(toxiproxy *p, const char *word, const char *upstream);
void toxiproxy_delete(toxiproxy *p); /* breaks what runs through it; one that was never created is allowed */

/* Adds a toxic to what runs and to what comes. type: latency, bandwidth, slow_close, timeout, reset_peer, slicer,
 * limit_data. upstream: on the way to the server, else on the way back. share 0..1: of the connections. attributes:
 * the inside of a JSON object, such as "\"latency\":2000,\"jitter\":0"; "" for none. */
bool toxiproxy_toxic(toxiproxy *p, const char *type, bool upstream, double share, const char *attributes);
/* No toxics any more, and enabled. Connections that a toxic has broken stay broken. */
bool toxiproxy_heal(toxiproxy *p);
/* false: connections break and new ones are refused. The port stays the same. */
bool toxiproxy_enable(toxiproxy *p, bool enabled);

/* The faults F1 to F19 of the reliability plan, in its order. */
typedef struct toxiproxy_fault {
    const char *name;
    const char *type; /* NULL: the proxy is down */
    bool upstream;
    const char *attributes;
} toxiproxy_fault;
enum { TOXIPROXY_FAULTS = 19 };
const toxiproxy_fault *toxiproxy_fault_at(size_t i);
bool toxiproxy_inflict(toxiproxy *p, const toxiproxy_fault *fault);

#endif
