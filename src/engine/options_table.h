/* The one option table. A row here is a key of braid.yaml, a variable BRAID__SECTION__NAME, a flag, a line of --help, a
 * line of the sample configuration and of `braid info`; nothing else lists options.
 *
 * X(section, name, TYPE, default, min, max, choices, flag, help) */
/* clang-format off: a table reads by columns */
#ifndef ENGINE_OPTIONS_TABLE_H
#define ENGINE_OPTIONS_TABLE_H

#define ENGINE_OPTIONS(X)                                                                                                            \
    X("record", "create", BOOL, "true", 0, 0, NULL, "create", "make the database file if it is not there")                           \
    X("record", "read_only", BOOL, "false", 0, 0, NULL, "read-only", "open without the right to write")                              \
    X("record", "readers", INT, "4", 1, 64, NULL, "readers", "read connections to the record store")                                 \
    X("record", "group_max", INT, "1000", 1, 100000, NULL, "group-max", "most changes that share one commit")                        \
    X("record", "wal_bytes", INT, "16777216", 65536, 1e12, NULL, "wal-bytes", "size of the WAL in bytes that makes a checkpoint")    \
    X("vector", "store", ENUM, "hnsw", 0, 0, "hnsw|flat", "vector-store", "which vector store serves: hnsw, or flat (exact)")        \
    X("vector", "dimension", INT, "384", 2, 4096, NULL, "dimension", "dimension of the vectors, fixed when the file is made")        \
    X("vector", "m", INT, "16", 4, 64, NULL, "hnsw-m", "HNSW M: links of a node a level (twice that on level 0)")                    \
    X("vector", "ef_construction", INT, "200", 8, 2000, NULL, "ef-construction", "HNSW candidates while inserting")                  \
    X("vector", "ef_search", INT, "64", 8, 10000, NULL, "ef-search", "HNSW candidates while searching: recall against time")         \
    X("vector", "kernel", ENUM, "auto", 0, 0, "auto|avx512|avx2|scalar", "kernel", "distance kernel; auto takes the fastest the CPU has") \
    X("graph", "store", ENUM, "adjacency", 0, 0, "adjacency", "graph-store", "which graph store serves")                             \
    X("graph", "hub_max", INT, "200", 1, 1e9, NULL, "hub-max", "facets of more items than this are not walked through")              \
    X("graph", "visits_max", INT, "200000", 100, 1e9, NULL, "visits-max", "edges looked at in one walk at the most")                 \
    X("cache", "store", ENUM, "local", 0, 0, "local", "cache-store", "which cache serves")                                           \
    X("cache", "bytes", INT, "16777216", 65536, 1e12, NULL, "cache-bytes", "memory for cached answers and slates, in bytes")         \
    X("cache", "result_ttl_ms", INT, "60000", 0, 86400000, NULL, "result-ttl", "how long an answer may be repeated, in ms; 0: never") \
    X("cache", "slate_ttl_ms", INT, "3600000", 1000, 86400000, NULL, "slate-ttl", "how long a recommendation_id is remembered, in ms") \
    X("embed", "store", ENUM, "hashing", 0, 0, "hashing", "embedder", "text -> vector; hashing is lexical, not semantic")            \
    X("query", "deadline_ms", INT, "200", 1, 60000, NULL, "deadline", "deadline of a request that names none, in ms")                \
    X("query", "workers", INT, "2", 1, 256, NULL, "workers", "threads that gather strands in parallel")                              \
    X("query", "weight_vector", REAL, "0.5", 0, 1, NULL, "weight-vector", "weight of the vector strand in a recommendation")         \
    X("query", "weight_graph", REAL, "0.25", 0, 1, NULL, "weight-graph", "weight of the graph strand in a recommendation")           \
    X("query", "weight_policy", REAL, "0.25", 0, 1, NULL, "weight-policy", "weight of the policy strand in a recommendation")        \
    X("query", "search_weight_vector", REAL, "0.75", 0, 1, NULL, "search-weight-vector", "weight of the vector strand in a search")  \
    X("query", "search_weight_graph", REAL, "0.15", 0, 1, NULL, "search-weight-graph", "weight of the graph strand in a search")     \
    X("query", "search_weight_policy", REAL, "0.1", 0, 1, NULL, "search-weight-policy", "weight of the policy strand in a search by somebody") \
    X("query", "lang", ENUM, "fr", 0, 0, "fr|en", "lang", "language of the reasons when a request names none")                       \
    X("rights", "region", STRING, "", 0, 0, NULL, "region", "region of a request that names none (ISO 3166 code); empty: only items free everywhere") \
    X("policy", "profiles_max", INT, "10000", 1, 1e7, NULL, "profiles-max", "taste profiles kept in memory")                         \
    X("feed", "batch", INT, "1000", 1, 100000, NULL, "feed-batch", "changes that a derived store applies at once")                   \
    X("feed", "ready_lag", INT, "10000", 0, 1e12, NULL, "ready-lag", "changes a store may lag behind while /readyz still says yes")  \
    X("feed", "snapshot_changes", INT, "20000", 1, 1e12, NULL, "snapshot-changes", "changes after which the vector index is saved again") \
    X("limits", "json_bytes", INT, "16777216", 1024, 1e9, NULL, "json-bytes", "largest JSON document, in bytes")                     \
    X("limits", "json_depth", INT, "64", 4, 512, NULL, "json-depth", "deepest nesting of a JSON document")                           \
    X("limits", "body_bytes", INT, "67108864", 1024, 1e12, NULL, "body-bytes", "largest body of a request, in bytes (NDJSON is not held whole, but counts)") \
    X("server", "listen", STRING, "127.0.0.1:8080", 0, 0, NULL, "listen", "address and port to serve on, HOST:PORT")                 \
    X("server", "threads", INT, "8", 1, 1024, NULL, "threads", "threads that answer requests")                                       \
    X("server", "connections_max", INT, "1000", 1, 100000, NULL, "connections-max", "open connections at the most")                  \
    X("server", "per_address_max", INT, "200", 1, 100000, NULL, "per-address-max", "open connections of one address at the most")    \
    X("server", "request_ms", INT, "10000", 100, 3600000, NULL, "request-ms", "absolute deadline for a client to have sent its request, in ms") \
    X("server", "web", STRING, "", 0, 0, NULL, "web", "folder of the page's files; empty: those built into the program")             \
    X("log", "level", ENUM, "info", 0, 0, "debug|info|warn|error|off", "log-level", "what is worth a log line")

#endif
