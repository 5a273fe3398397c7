/* The one option table. A row here is a key of braid.yaml, a variable BRAID__SECTION__NAME, a flag, a line of --help, a
 * line of the sample configuration and of `braid info`; nothing else lists options.
 *
 * X(section, name, TYPE, default, min, max, choices, flag, help) */
/* clang-format off: a table reads by columns */
#ifndef ENGINE_OPTIONS_TABLE_H
#define ENGINE_OPTIONS_TABLE_H

#define ENGINE_OPTIONS(X)                                                                                                            \
    X("record", "store", ENUM, "sqlite", 0, 0, "sqlite|postgres", "record-store", \
      "where the truth lies: sqlite is a file, postgres is shared") \
    X("record", "create", BOOL, "true", 0, 0, NULL, "create", "make the database file if it is not there")                           \
    X("record", "read_only", BOOL, "false", 0, 0, NULL, "read-only", "open without the right to write")                              \
    X("record", "readers", INT, "4", 1, 64, NULL, "readers", "read connections to the record store")                                 \
    X("record", "queue", INT, "100000", 1, 1e7, NULL, "record-queue", "interactions with ack=queued that may wait to be written") \
    X("record", "group_max", INT, "1000", 1, 100000, NULL, "group-max", "most changes that share one commit")                        \
    X("record", "wal_bytes", INT, "16777216", 65536, 1e12, NULL, "wal-bytes", \
      "size of the WAL in bytes that makes a checkpoint") \
    X("vector", "store", ENUM, "hnsw", 0, 0, "hnsw|flat|milvus|pgvector|neo4j", "vector-store", \
      "which vector store serves: hnsw and flat (exact) are in this process") \
    X("vector", "dimension", INT, "384", 2, 4096, NULL, "dimension", \
      "dimension of the vectors, fixed when the file is made") \
    X("vector", "m", INT, "16", 4, 64, NULL, "hnsw-m", "HNSW M: links of a node a level (twice that on level 0)")                    \
    X("vector", "ef_construction", INT, "200", 8, 2000, NULL, "ef-construction", "HNSW candidates while inserting")                  \
    X("vector", "ef_search", INT, "64", 8, 10000, NULL, "ef-search", \
      "HNSW candidates while searching: recall against time") \
    X("vector", "kept_bytes", INT, "134217728", 0, 1099511627776, NULL, "vector-kept-bytes", \
      "bytes of vectors that are kept of a remote store, for scoring; 0: none")                                                      \
    X("vector", "kernel", ENUM, "auto", 0, 0, "auto|avx512|avx2|scalar", "kernel", \
      "distance kernel; auto takes the fastest the CPU has") \
    X("graph", "store", ENUM, "adjacency", 0, 0, "adjacency|neo4j", "graph-store", \
      "which graph store serves: adjacency is in this process") \
    X("graph", "kept_bytes", INT, "33554432", 0, 1099511627776, NULL, "graph-kept-bytes", \
      "bytes of what was read of a remote graph that are kept for the next walk; 0: none")                                          \
    X("graph", "hub_max", INT, "200", 1, 1e9, NULL, "hub-max", \
      "facets of more items than this are not walked through") \
    X("graph", "visits_max", INT, "200000", 100, 1e9, NULL, "visits-max", "edges looked at in one walk at the most")                 \
    X("cache", "store", ENUM, "local", 0, 0, "local|redis", "cache-store", \
      "which cache serves: local is in this process") \
    X("cache", "bytes", INT, "16777216", 65536, 1e12, NULL, "cache-bytes", \
      "memory for cached answers and slates, in bytes") \
    X("cache", "result_ttl_ms", INT, "3600000", 0, 86400000, NULL, "result-ttl", \
      "how long an answer for nobody in particular may be repeated, in ms; 0: never") \
    X("cache", "personal_ttl_ms", INT, "300000", 0, 86400000, NULL, "personal-ttl", \
      "how long an answer for a person may be repeated to them, in ms; 0: never") \
    X("cache", "slate_ttl_ms", INT, "3600000", 1000, 86400000, NULL, "slate-ttl", \
      "how long a recommendation_id is remembered, in ms") \
    X("slates", "share", REAL, "1", 0, 1, NULL, "slates-share", \
      "share of the recommendations that are kept for judging (in experiments: all, unless it is 0)")                  \
    X("slates", "queue", INT, "10000", 1, 1000000, NULL, "slates-queue", \
      "recommendations that wait to be kept; more are dropped and counted")                                                         \
    X("slates", "days", INT, "90", 1, 3650, NULL, "slates-days", \
      "how many days a recommendation is kept for judging")                                                                         \
    X("episodes", "days", INT, "0", 0, 3650, NULL, "episodes-days", \
      "days an episode is kept, where its agent says nothing; 0: for ever")                                             \
    X("embed", "store", ENUM, "hashing", 0, 0, "hashing", "embedder", \
      "text -> vector; hashing is lexical, not semantic") \
    X("query", "deadline_ms", INT, "200", 1, 60000, NULL, "deadline", \
      "deadline of a request that names none, in ms") \
    X("cache", "policy_ttl_ms", INT, "3600000", 0, 86400000, NULL, "policy-ttl", \
      "life of policies and people's states before a remote record store, in ms; 0: none") \
    X("query", "workers", INT, "2", 1, 256, NULL, "workers", "threads that gather strands in parallel")                              \
    X("query", "weight_vector", REAL, "0.5", 0, 1, NULL, "weight-vector", \
      "weight of the vector strand in a recommendation") \
    X("query", "weight_graph", REAL, "0.25", 0, 1, NULL, "weight-graph", \
      "weight of the graph strand in a recommendation") \
    X("query", "weight_policy", REAL, "0.25", 0, 1, NULL, "weight-policy", \
      "weight of the policy strand in a recommendation") \
    X("query", "search_weight_vector", REAL, "0.75", 0, 1, NULL, "search-weight-vector", \
      "weight of the vector strand in a search") \
    X("query", "search_weight_graph", REAL, "0.15", 0, 1, NULL, "search-weight-graph", \
      "weight of the graph strand in a search") \
    X("query", "search_weight_policy", REAL, "0.1", 0, 1, NULL, "search-weight-policy", \
      "weight of the policy strand in a search by somebody") \
    X("query", "lang", ENUM, "fr", 0, 0, "fr|en", "lang", "language of the reasons when a request names none")                       \
    X("rights", "region", STRING, "", 0, 0, NULL, "region", \
      "region of a request that names none (ISO 3166 code); empty: only items free everywhere") \
    X("policy", "state", STRING, "daypart,device,mood,region", 0, 0, NULL, "policy-state", \
      "what tells one state from another: daypart, device, mood, region, taste") \
    X("policy", "profiles_max", INT, "10000", 1, 1e7, NULL, "profiles-max", "taste profiles kept in memory")                         \
    X("learn", "threads", INT, "2", 1, 64, NULL, "learn-threads", "threads that fit models on request") \
    X("learn", "history_max", INT, "500", 10, 100000, NULL, "learn-history-max", \
      "newest interactions of a person that models are fitted from") \
    X("learn", "hold_out", ENUM, "latest", 0, 0, "latest|random", "learn-hold-out", \
      "which fifth of a person's interactions the ranking is fitted on") \
    X("learn", "baselines", BOOL, "false", 0, 0, NULL, "learn-baselines", \
      "also fit the models that are there to compare with (rankers neighbours and ease)") \
    X("learn", "patterns", BOOL, "true", 0, 0, NULL, "learn-patterns", \
      "learn all looks for patterns too, and answers lean on those that there are") \
    X("learn", "after", INT, "0", 0, 1e12, NULL, "learn-after", \
      "interactions after which an open database learns again by itself; 0: only when asked") \
    X("learn", "hours", REAL, "0", 0, 8760, NULL, "learn-hours", \
      "hours after which it learns again by itself, if there were any; 0: only when asked") \
    X("feed", "batch", INT, "4000", 1, 100000, NULL, "feed-batch", "changes that a derived store applies at once, at most")          \
    X("feed", "ready_lag", INT, "10000", 0, 1e12, NULL, "ready-lag", \
      "changes a store may lag behind while /readyz still says yes") \
    X("feed", "snapshot_changes", INT, "20000", 1, 1e12, NULL, "snapshot-changes", \
      "changes after which the vector index is saved again") \
    X("limits", "json_bytes", INT, "16777216", 1024, 1e9, NULL, "json-bytes", "largest JSON document, in bytes")                     \
    X("limits", "json_depth", INT, "64", 4, 512, NULL, "json-depth", "deepest nesting of a JSON document")                           \
    X("limits", "body_bytes", INT, "67108864", 1024, 1e12, NULL, "body-bytes", \
      "largest body of a request, in bytes (NDJSON is not held whole, but counts)") \
    X("server", "listen", STRING, "127.0.0.1:8080", 0, 0, NULL, "listen", "address and port to serve on, HOST:PORT")                 \
    X("server", "threads", INT, "64", 1, 1024, NULL, "threads", "requests that are answered at once; others wait their turn")          \
    X("server", "connections_max", INT, "1000", 1, 100000, NULL, "connections-max", "open connections at the most")                  \
    X("server", "per_address_max", INT, "200", 1, 100000, NULL, "per-address-max", \
      "open connections of one address at the most") \
    X("server", "request_ms", INT, "10000", 100, 3600000, NULL, "request-ms", \
      "absolute deadline for a client to have sent its request, in ms") \
    X("server", "web", STRING, "", 0, 0, NULL, "web", \
      "folder of the page's files; empty: those built into the program") \
    X("milvus", "address", STRING, "127.0.0.1:19530", 0, 0, NULL, "milvus-address", "Milvus: HOST:PORT") \
    X("milvus", "database", STRING, "", 0, 0, NULL, "milvus-database", \
      "Milvus: word before the collection's name: braid gives braid_media_embeddings") \
    X("milvus", "user", STRING, "", 0, 0, NULL, "milvus-user", "Milvus: user name; empty: none is sent") \
    X("milvus", "password", SECRET, "", 0, 0, NULL, "", \
      "Milvus: password; from braid.yaml or the environment only, and never printed") \
    X("milvus", "password_file", STRING, "", 0, 0, NULL, "milvus-password-file", \
      "Milvus: file whose first line is the password") \
    X("milvus", "token", SECRET, "", 0, 0, NULL, "", "Milvus: token, instead of user and password") \
    X("milvus", "tls", BOOL, "false", 0, 0, NULL, "milvus-tls", \
      "Milvus: speak TLS and verify the server's certificate") \
    X("milvus", "tls_ca", STRING, "", 0, 0, NULL, "milvus-tls-ca", \
      "Milvus: file of certificates to trust; empty: those of the system") \
    X("milvus", "tls_insecure", BOOL, "false", 0, 0, NULL, "milvus-tls-insecure", \
      "Milvus: accept any certificate; for tests only") \
    X("milvus", "connections", INT, "32", 1, 1024, NULL, "milvus-connections", \
      "Milvus: connections or requests in flight at the most") \
    X("milvus", "timeout_ms", INT, "2000", 1, 600000, NULL, "milvus-timeout", \
      "Milvus: time for a call that has no deadline of its own, and for connecting, in ms") \
    X("milvus", "write_timeout_ms", INT, "10000", 1, 600000, NULL, "milvus-write-timeout", \
      "Milvus: time for a written batch, in ms; at least timeout_ms") \
    X("milvus", "retries", INT, "3", 0, 10, NULL, "milvus-retries", \
      "Milvus: further attempts at what may be tried again") \
    X("milvus", "batch", INT, "1000", 1, 10000, NULL, "milvus-batch", "Milvus: rows in one call of a bulk write") \
    X("neo4j", "address", STRING, "127.0.0.1:7687", 0, 0, NULL, "neo4j-address", "Neo4j: HOST:PORT") \
    X("neo4j", "database", STRING, "neo4j", 0, 0, NULL, "neo4j-database", "Neo4j: name of the database") \
    X("neo4j", "user", STRING, "neo4j", 0, 0, NULL, "neo4j-user", "Neo4j: user name; empty: none is sent") \
    X("neo4j", "password", SECRET, "", 0, 0, NULL, "", \
      "Neo4j: password; from braid.yaml or the environment only, and never printed") \
    X("neo4j", "password_file", STRING, "", 0, 0, NULL, "neo4j-password-file", \
      "Neo4j: file whose first line is the password") \
    X("neo4j", "tls", BOOL, "false", 0, 0, NULL, "neo4j-tls", \
      "Neo4j: speak TLS and verify the server's certificate") \
    X("neo4j", "tls_ca", STRING, "", 0, 0, NULL, "neo4j-tls-ca", \
      "Neo4j: file of certificates to trust; empty: those of the system") \
    X("neo4j", "tls_insecure", BOOL, "false", 0, 0, NULL, "neo4j-tls-insecure", \
      "Neo4j: accept any certificate; for tests only") \
    X("neo4j", "connections", INT, "32", 1, 1024, NULL, "neo4j-connections", \
      "Neo4j: connections or requests in flight at the most") \
    X("neo4j", "timeout_ms", INT, "2000", 1, 600000, NULL, "neo4j-timeout", \
      "Neo4j: time for a call that has no deadline of its own, and for connecting, in ms") \
    X("neo4j", "write_timeout_ms", INT, "30000", 1, 600000, NULL, "neo4j-write-timeout", \
      "Neo4j: time for a written batch, in ms; at least timeout_ms") \
    X("neo4j", "retries", INT, "3", 0, 10, NULL, "neo4j-retries", \
      "Neo4j: further attempts at what may be tried again") \
    X("neo4j", "batch", INT, "1000", 1, 10000, NULL, "neo4j-batch", "Neo4j: rows in one call of a bulk write") \
    X("postgres", "address", STRING, "127.0.0.1:5432", 0, 0, NULL, "postgres-address", "PostgreSQL: HOST:PORT") \
    X("postgres", "database", STRING, "braid", 0, 0, NULL, "postgres-database", "PostgreSQL: name of the database, or NAME/SCHEMA") \
    X("postgres", "user", STRING, "braid", 0, 0, NULL, "postgres-user", \
      "PostgreSQL: user name; empty: none is sent") \
    X("postgres", "password", SECRET, "", 0, 0, NULL, "", \
      "PostgreSQL: password; from braid.yaml or the environment only, and never printed") \
    X("postgres", "password_file", STRING, "", 0, 0, NULL, "postgres-password-file", \
      "PostgreSQL: file whose first line is the password") \
    X("postgres", "tls", BOOL, "false", 0, 0, NULL, "postgres-tls", \
      "PostgreSQL: speak TLS and verify the server's certificate") \
    X("postgres", "tls_ca", STRING, "", 0, 0, NULL, "postgres-tls-ca", \
      "PostgreSQL: file of certificates to trust; empty: those of the system") \
    X("postgres", "tls_insecure", BOOL, "false", 0, 0, NULL, "postgres-tls-insecure", \
      "PostgreSQL: accept any certificate; for tests only") \
    X("postgres", "connections", INT, "16", 1, 1024, NULL, "postgres-connections", \
      "PostgreSQL: connections or requests in flight at the most") \
    X("postgres", "timeout_ms", INT, "2000", 1, 600000, NULL, "postgres-timeout", \
      "PostgreSQL: time for a call that has no deadline of its own, and for connecting, in ms") \
    X("postgres", "write_timeout_ms", INT, "10000", 1, 600000, NULL, "postgres-write-timeout", \
      "pgvector: time for a written batch, in ms; at least timeout_ms") \
    X("postgres", "retries", INT, "3", 0, 10, NULL, "postgres-retries", \
      "PostgreSQL: further attempts at what may be tried again") \
    X("postgres", "batch", INT, "1000", 1, 10000, NULL, "postgres-batch", \
      "PostgreSQL: rows in one call of a bulk write") \
    X("redis", "address", STRING, "127.0.0.1:6379", 0, 0, NULL, "redis-address", "Redis: HOST:PORT") \
    X("redis", "database", STRING, "braid:", 0, 0, NULL, "redis-database", "Redis: prefix of every key") \
    X("redis", "user", STRING, "", 0, 0, NULL, "redis-user", "Redis: user name; empty: none is sent") \
    X("redis", "password", SECRET, "", 0, 0, NULL, "", \
      "Redis: password; from braid.yaml or the environment only, and never printed") \
    X("redis", "password_file", STRING, "", 0, 0, NULL, "redis-password-file", \
      "Redis: file whose first line is the password") \
    X("redis", "tls", BOOL, "false", 0, 0, NULL, "redis-tls", \
      "Redis: speak TLS and verify the server's certificate") \
    X("redis", "tls_ca", STRING, "", 0, 0, NULL, "redis-tls-ca", \
      "Redis: file of certificates to trust; empty: those of the system") \
    X("redis", "tls_insecure", BOOL, "false", 0, 0, NULL, "redis-tls-insecure", \
      "Redis: accept any certificate; for tests only") \
    X("redis", "connections", INT, "32", 1, 1024, NULL, "redis-connections", \
      "Redis: connections or requests in flight at the most") \
    X("redis", "timeout_ms", INT, "50", 1, 600000, NULL, "redis-timeout", \
      "Redis: time for a call that has no deadline of its own, and for connecting, in ms") \
    X("redis", "retries", INT, "3", 0, 10, NULL, "redis-retries", \
      "Redis: further attempts at what may be tried again") \
    X("redis", "batch", INT, "1000", 1, 10000, NULL, "redis-batch", "Redis: rows in one call of a bulk write") \
    X("log", "level", ENUM, "info", 0, 0, "debug|info|warn|error|off", "log-level", "what is worth a log line")

#endif
