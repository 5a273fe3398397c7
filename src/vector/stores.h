/* The tables of the stores, for the registry in vector.c; private to src/vector. */
#ifndef VECTOR_STORES_H
#define VECTOR_STORES_H

#include "vector/vector.h"

extern const vector_ops vector_hnsw, vector_flat, vector_neo4j;
#ifdef BRAID_HAVE_MILVUS
extern const vector_ops vector_milvus;
#endif
#ifdef BRAID_HAVE_POSTGRES
extern const vector_ops vector_pgvector;
#endif

#endif
