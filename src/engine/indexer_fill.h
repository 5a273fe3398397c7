/* Filling a derived store from the record store: at a start, when the log no longer reaches back, or on request.
 *
 * What changes meanwhile comes again from the log, and versions keep the newer. */
#ifndef ENGINE_INDEXER_FILL_H
#define ENGINE_INDEXER_FILL_H

#include "engine/db.h"

/* Who is told of the rows that went by; NULL in its place: nobody. */
typedef struct fill_watch {
    braid_progress *each;
    void *ctx;
    uint64_t done, total;
    bool stopped; /* `each` said so: the call returns CLOSED */
} fill_watch;

int fill_relations(braid_db *db, fill_watch *w, braid_error *err); /* into the graph as it is */
/* into the vector store as it is; nobody else writes to it */
int fill_vectors(braid_db *db, fill_watch *w, braid_error *err);
/* Forget everything first. They take the lock of the store's writers. */
int fill_vectors_anew(braid_db *db, fill_watch *w, braid_error *err);
int fill_graph_anew(braid_db *db, fill_watch *w, braid_error *err);

#endif
