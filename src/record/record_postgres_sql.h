/* Every SQL text that the PostgreSQL record store runs, in one list: X(NAME, "types of the parameters", "text").
 *
 * Types are the letters of wire/pg.h. What a change means is in the functions of sql/004_write.sql; here they are called.
 * Values reach SQL as parameters only. An LSN is a bigint: (transaction << 20) | number of the change in it. */
/* clang-format off: a table reads by columns */
#ifndef RECORD_POSTGRES_SQL_H
#define RECORD_POSTGRES_SQL_H

/* Columns of an interaction, in the order that record_postgres_events.c reads them. */
#define RECORD_POSTGRES_INTERACTION_COLUMNS                                                                            \
    "i.lsn, i.item, coalesce(t.id, g.id), i.at, i.type, i.watch_s, i.rating, i.agent, i.session, i.recommendation,"    \
    " i.idempotency, i.device, i.daypart, i.region, i.mood, i.simulated, i.attribution, p.id"
#define RECORD_POSTGRES_INTERACTION_JOINS                                                                              \
    " LEFT JOIN items t ON t.num = i.item LEFT JOIN items_gone g ON t.num IS NULL AND g.num = i.item"
/* Columns of an episode, in the order that record_postgres_episodes.c reads them. */
#define RECORD_POSTGRES_EPISODE_COLUMNS                                                                                \
    "e.interaction, e.agent, e.session, e.state_hash, e.state, e.next_state_hash, e.item, e.action, e.reward, e.done, e.at," \
    " p.id, v.state"
#define RECORD_POSTGRES_EPISODE_JOINS                                                                                  \
    " JOIN persons p ON p.num = e.person LEFT JOIN episode_states v ON v.episode = e.interaction AND v.at = e.at"
#define RECORD_POSTGRES_POLICY_COLUMNS                                                                                 \
    "y.agent, y.state_hash, y.state, y.version, y.actions, y.means, y.variances, y.counts, y.versions"
#define RECORD_POSTGRES_RELATION_COLUMNS "r.from_num, r.to_num, r.type, r.strength, r.version, f.id, t.id"
#define RECORD_POSTGRES_RELATION_TABLES                                                                                \
    "relations r JOIN items f ON f.num = r.from_num JOIN items t ON t.num = r.to_num"
#define RECORD_POSTGRES_VERDICT "SELECT o_verdict, o_lsn, o_num FROM "

#define RECORD_POSTGRES_STATEMENTS(X)                                                                                  \
    /* transactions */                                                                                                 \
    X(BEGIN, "", "BEGIN")                                                                                              \
    X(BEGIN_WRITE, "lbtl", "SELECT begin_write($1, $2, $3, $4)")                                                       \
    X(COMMIT, "", "COMMIT")                                                                                            \
    X(ROLLBACK, "", "ROLLBACK")                                                                                        \
    X(SAVEPOINT, "", "SAVEPOINT change")                                                                               \
    X(RELEASE, "", "RELEASE SAVEPOINT change")                                                                         \
    X(UNDO, "", "ROLLBACK TO SAVEPOINT change")                                                                        \
    X(KEEP_WRITER, "t", "INSERT INTO writers (name, token) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING")              \
    X(DROP_WRITER, "t", "DELETE FROM writers WHERE name = $1")                                                         \
    /* waits for a transaction of that writer that is still open */                                                    \
    X(WRITER_TOKEN, "t", "SELECT token FROM writers WHERE name = $1 FOR UPDATE")                                       \
    /* writing: see sql/004_write.sql */                                                                               \
    X(PUT_ITEM, "ittbyTY", RECORD_POSTGRES_VERDICT "put_item($1, $2, $3, $4, $5, $6, $7)")                             \
    X(DROP_ITEM, "it", RECORD_POSTGRES_VERDICT "drop_item($1, $2)")                                                    \
    X(PUT_RELATION, "itttdb", RECORD_POSTGRES_VERDICT "put_relation($1, $2, $3, $4, $5, $6)")                          \
    X(PUT_USER, "itt", RECORD_POSTGRES_VERDICT "put_user($1, $2, $3)")                                                 \
    X(DROP_USER, "it", RECORD_POSTGRES_VERDICT "drop_user($1, $2)")                                                    \
    X(PUT_INTERACTION, "ittzhidttttttttbt", RECORD_POSTGRES_VERDICT                                                    \
      "put_interaction($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)")                   \
    X(PUT_POLICY, "iittttlTDDDL", RECORD_POSTGRES_VERDICT                                                              \
      "put_policy($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)")                                                 \
    X(PUT_EPISODE, "iltttttttdbztv", RECORD_POSTGRES_VERDICT                                                           \
      "put_episode($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::vector)")                              \
    X(ADMIT_EPISODES, "ITTT", "SELECT o_n, o_verdict, o_episode, o_person, o_item FROM admit_episodes($1, $2, $3, $4)") \
    X(FORGET_EPISODES, "z", "SELECT forget_episodes($1)")                                                              \
    X(FORGET_SLATES, "z", "SELECT forget_slates($1)")                                                                  \
    /* the lock of drop_months, for as long as the transaction; and rows by their keys, whatever statistics say */      \
    X(FORGET_LOCK, "", "SELECT pg_advisory_xact_lock(hashtextextended('drop_months.' || current_schema(), 0)),"        \
      " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"                      \
      " set_config('enable_seqscan', 'off', true)")                                                                    \
    X(NEXT_AGENT, "t", "SELECT agent FROM agent_episodes WHERE agent > $1 ORDER BY agent LIMIT 1")                     \
    X(FORGET_OF_AGENT, "tzl", "WITH old AS (SELECT interaction, at FROM agent_episodes WHERE agent = $1 AND at < $2"   \
      " ORDER BY at LIMIT $3), gone AS (DELETE FROM agent_episodes e USING old o"                                      \
      " WHERE e.interaction = o.interaction AND e.at = o.at RETURNING e.interaction, e.at, e.own), keys AS"            \
      " (DELETE FROM episode_keys k USING gone g WHERE g.own AND k.episode = g.interaction), states AS"                \
      " (DELETE FROM episode_states s USING gone g WHERE s.episode = g.interaction AND s.at = g.at)"                   \
      " SELECT count(*) FROM gone")                                                                                    \
    X(STATES_TO_INDEX, "", "SELECT part, dim FROM states_to_index()")                                                  \
    X(PUT_STATS, "lddld", RECORD_POSTGRES_VERDICT "put_stats($1, $2, $3, $4, $5)")                                     \
    X(PUT_NEIGHBOURS, "iltly", RECORD_POSTGRES_VERDICT "put_neighbours($1, $2, $3, $4, $5)")                           \
    X(PUT_DOCUMENT, "itttl", RECORD_POSTGRES_VERDICT "put_document($1, $2, $3, $4, $5)")                               \
    X(PUT_SLATE, "itttzyii", RECORD_POSTGRES_VERDICT "put_slate($1, $2, $3, $4, $5, $6, $7, $8)")                      \
    X(PUT_CURSOR, "tll", RECORD_POSTGRES_VERDICT "put_cursor($1, $2, $3)")                                             \
    X(PUT_STAGED, "", "SELECT o_n, o_lsn, o_num FROM put_staged_items()")                                              \
    X(PUT_STAGED_NEIGHBOURS, "", "SELECT o_n, o_verdict, o_lsn FROM put_staged_neighbours()")                          \
    X(PUT_STAGED_SLATES, "", "SELECT o_n, o_verdict, o_lsn FROM put_staged_lists()")                                   \
    /* the log */                                                                                                      \
    X(HORIZON, "", "SELECT horizon()")                                                                                 \
    /* nothing can appear up to here; the last row that is settled; the last row */                                    \
    X(HEAD, "", "SELECT horizon(), settled(), greatest((SELECT l.lsn FROM log l ORDER BY l.lsn DESC LIMIT 1),"         \
      " (SELECT i.lsn FROM interactions i ORDER BY i.lsn DESC LIMIT 1), 0)")                                           \
    /* rows up to the last that is settled in the same snapshot; always at least one row, for that number's sake */    \
    X(LOG_READ, "llHb", "SELECT h.at, r.lsn, r.kind, r.removed, r.num, r.num2, r.key, h.after"                         \
      " FROM (SELECT settled() AS at, greatest($1, (SELECT trimmed FROM meta)) AS after OFFSET 0) h LEFT JOIN LATERAL (" \
      "(SELECT i.lsn, 4::smallint AS kind, false AS removed, i.item AS num, 0::bigint AS num2, p.id AS key"            \
      " FROM interactions i JOIN persons p ON p.num = i.person"                                                        \
      " WHERE $4 AND i.lsn > h.after AND i.lsn <= h.at ORDER BY i.lsn LIMIT $2)"                                       \
      " UNION ALL"                                                                                                     \
      " (SELECT l.lsn, l.kind, l.removed, l.num, l.num2, coalesce(q.id, l.key, '') FROM log l"                         \
      " LEFT JOIN persons q ON q.num = l.person WHERE l.lsn > h.after AND l.lsn <= h.at AND l.kind = ANY ($3)"         \
      " AND (l.person IS NULL OR q.num IS NOT NULL) ORDER BY l.lsn LIMIT $2)"                                          \
      " ORDER BY 1 LIMIT $2) r ON true ORDER BY r.lsn")                                                                \
    X(LAG, "ll", "SELECT (SELECT count(*) FROM (SELECT 1 FROM log WHERE lsn > $1 LIMIT $2) l)"                         \
      " + (SELECT count(*) FROM (SELECT 1 FROM interactions WHERE lsn > $1 LIMIT $2) i)")                              \
    X(TRIM_MARK, "lt", "UPDATE meta SET trimmed = greatest(trimmed, trimmable($1, $2)) RETURNING trimmed")             \
    X(KEEP_READER, "tl", "SELECT keep_reader($1, $2)")                                                                 \
    X(DROP_READER, "t", "DELETE FROM readers WHERE name = $1")                                                         \
    X(TRIM, "ll", "DELETE FROM log WHERE lsn <= $1 AND lsn <= (SELECT max(lsn) FROM"                                   \
      " (SELECT lsn FROM log ORDER BY lsn LIMIT $2) oldest)")                                                          \
    X(CURSOR_GET, "tl", "SELECT lsn FROM cursors WHERE name = $1 AND epoch = $2")                                      \
    X(NOTIFY, "t", "SELECT pg_notify($1, '')")                                                                         \
    X(LEASE, "tl", "SELECT pg_try_advisory_lock(hashtextextended($1, $2))")                                            \
    X(ALIVE, "", "SELECT true")                                                                                        \
    X(MAKE_PARTITIONS, "", "SELECT make_partitions(3)")                                                        \
    X(ROLL_UP, "z", "SELECT roll_up_performance($1)")                                                                  \
    X(HOURS_SCAN, "tzzl", "SELECT m.hour, m.agent, m.slates, m.episodes, m.finished, m.reward_sum, m.places, m.explored"      \
      " FROM performance_metrics m" \
      " WHERE ($1 IS NULL OR m.agent = $1) AND m.hour >= $2 AND m.hour < $3 ORDER BY m.hour, m.agent LIMIT $4")        \
    X(LEARN_PATTERNS, "", "SELECT learn_patterns()")                                                                   \
    /* facts */                                                                                                        \
    X(META, "", "SELECT m.dim, epoch(), 'log'::regclass::oid::bigint, m.trimmed FROM meta m")                          \
    X(SIZE, "", "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"                       \
      " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'm')")                            \
    X(COUNTS, "", "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM relations),"                             \
      " (SELECT count(*) FROM users), (SELECT count(*) FROM interactions), (SELECT count(*) FROM agent_episodes),"     \
      " (SELECT count(*) FROM rl_policies),"                                                                           \
      " (SELECT count(*) FROM log l LEFT JOIN persons p ON p.num = l.person WHERE l.lsn > m.trimmed"                   \
      " AND (l.person IS NULL OR p.num IS NOT NULL)) + (SELECT count(*) FROM interactions i WHERE i.lsn > m.trimmed)," \
      " (SELECT count(*) FROM items WHERE given), (SELECT count(*) FROM neighbours WHERE list <> ''),"                 \
      " (SELECT coalesce(max(version), 0) FROM relations), (SELECT count(*) FROM documents),"                          \
      " (SELECT count(*) FROM slates), m.trimmed, settled() FROM meta m")                          \
    /* reading items */                                                                                                \
    X(ITEM_BY_ID, "t", "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                           \
      " LEFT JOIN vectors v ON v.num = i.num WHERE i.id = $1")                                                         \
    X(ITEM_BY_NUM, "l", "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                          \
      " LEFT JOIN vectors v ON v.num = i.num WHERE i.num = $1")                                                        \
    X(ITEMS_BY_NUM, "L", "SELECT num, version, id, body, given FROM items WHERE num = ANY ($1) ORDER BY num")           \
    X(ITEMS_BY_NUM_VECTORS, "L", "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                 \
      " LEFT JOIN vectors v ON v.num = i.num WHERE i.num = ANY ($1) ORDER BY i.num")                                   \
    X(ITEMS_SCAN, "ll", "SELECT num, version, id, body, given FROM items WHERE num > $1 ORDER BY num LIMIT $2")        \
    X(ITEMS_SCAN_VECTORS, "ll", "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                  \
      " LEFT JOIN vectors v ON v.num = i.num WHERE i.num > $1 ORDER BY i.num LIMIT $2")                                \
    X(ITEMS_LIST, "tl", "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                          \
      " LEFT JOIN vectors v ON v.num = i.num WHERE i.id > $1 ORDER BY i.id LIMIT $2")                                  \
    X(NAMED_VECTORS, "l", "SELECT name, data FROM named_vectors WHERE num = $1 ORDER BY name")                         \
    /* reading relations */                                                                                            \
    X(RELATIONS_LIST, "lltl", "SELECT " RECORD_POSTGRES_RELATION_COLUMNS " FROM " RECORD_POSTGRES_RELATION_TABLES      \
      " WHERE (r.from_num, r.to_num, r.type) > ($1, $2, $3) ORDER BY r.from_num, r.to_num, r.type LIMIT $4")           \
    X(RELATIONS_OF, "l", "SELECT " RECORD_POSTGRES_RELATION_COLUMNS ", 0 FROM " RECORD_POSTGRES_RELATION_TABLES        \
      " WHERE r.from_num = $1 UNION ALL"                                                                               \
      " SELECT " RECORD_POSTGRES_RELATION_COLUMNS ", 1 FROM " RECORD_POSTGRES_RELATION_TABLES                          \
      " WHERE r.to_num = $1 AND r.from_num <> $1 ORDER BY 8, 1, 2, 3")                                                 \
    X(RELATIONS_BY_KEY, "LLT", "SELECT " RECORD_POSTGRES_RELATION_COLUMNS ", k.which"                                  \
      " FROM unnest($1, $2, $3) WITH ORDINALITY AS k (from_num, to_num, type, which) JOIN relations r"                 \
      " ON r.from_num = k.from_num AND r.to_num = k.to_num AND r.type = k.type"                                        \
      " JOIN items f ON f.num = r.from_num JOIN items t ON t.num = r.to_num")                                          \
    /* reading people */                                                                                               \
    X(USER_GET, "t", "SELECT id, body, version FROM users WHERE id = $1")                                              \
    X(USERS_LIST, "tl", "SELECT id, body, version FROM users WHERE id > $1 ORDER BY id LIMIT $2")                      \
    /* reading events */                                                                                               \
    X(PERSON_INTERACTIONS, "tzll", "SELECT " RECORD_POSTGRES_INTERACTION_COLUMNS " FROM interactions i"                \
      " JOIN persons p ON p.num = i.person" RECORD_POSTGRES_INTERACTION_JOINS                                          \
      " WHERE i.person = (SELECT num FROM persons WHERE id = $1) AND (i.at, i.lsn) < ($2, $3)"                         \
      " ORDER BY i.at DESC, i.lsn DESC LIMIT $4")                                                                      \
    X(INTERACTIONS_SCAN, "lll", "SELECT " RECORD_POSTGRES_INTERACTION_COLUMNS " FROM interactions i"                   \
      " JOIN persons p ON p.num = i.person" RECORD_POSTGRES_INTERACTION_JOINS                                          \
      " WHERE i.lsn > $1 AND i.lsn <= $2 ORDER BY i.lsn LIMIT $3")                                                     \
    X(PERSON_EPISODES, "tzll", "SELECT " RECORD_POSTGRES_EPISODE_COLUMNS " FROM agent_episodes e"                       \
      RECORD_POSTGRES_EPISODE_JOINS " WHERE e.person = (SELECT num FROM persons WHERE id = $1)" \
      " AND (e.at, e.interaction) < ($2, $3) ORDER BY e.at DESC, e.interaction DESC LIMIT $4")                         \
    X(NEAREST_EPISODES, "tvlz", "SELECT " RECORD_POSTGRES_EPISODE_COLUMNS ", n.similarity"                             \
      " FROM nearest_episodes($1, $2::vector, $3, $4) n JOIN agent_episodes e ON e.interaction = n.episode AND e.at = n.at" \
      RECORD_POSTGRES_EPISODE_JOINS " ORDER BY n.similarity DESC, e.interaction DESC")                                 \
    X(PERSON_POLICIES, "tt", "SELECT " RECORD_POSTGRES_POLICY_COLUMNS " FROM rl_policies y"                            \
      " WHERE y.person = (SELECT num FROM persons WHERE id = $1) AND ($2 IS NULL OR y.agent = $2)"                     \
      " ORDER BY y.agent, y.state_hash")                                                                               \
    X(POLICY_GET, "ttt", "SELECT " RECORD_POSTGRES_POLICY_COLUMNS ", 1::bigint FROM rl_policies y"                     \
      " WHERE y.person = (SELECT num FROM persons WHERE id = $2) AND y.agent = $1 AND y.state_hash = $3")              \
    /* key by key: a planner that may join reads all people before it looks up a few */                                \
    X(POLICIES_GET, "tTT", "SELECT y.*, k.which FROM unnest($2, $3) WITH ORDINALITY AS k (person, state_hash, which)," \
      " LATERAL (SELECT " RECORD_POSTGRES_POLICY_COLUMNS " FROM rl_policies y"                                         \
      " WHERE y.person = (SELECT num FROM persons WHERE id = k.person) AND y.agent = $1 AND y.state_hash = k.state_hash"\
      " LIMIT 1) y ORDER BY k.which")                                                                                  \
    X(STATS_SCAN, "ll", "SELECT num, interactions, reward_sum, last_at, recent FROM stats WHERE num > $1 ORDER BY num LIMIT $2") \
    X(NEIGHBOURS_SCAN, "tll", "SELECT num, model, at, version, list FROM neighbours WHERE model = $1 AND num > $2"     \
      " AND list <> '' ORDER BY num LIMIT $3")                                                                         \
    X(ITEM_NEIGHBOURS, "l", "SELECT num, model, at, version, list FROM neighbours WHERE num = $1 AND list <> ''"       \
      " ORDER BY model")                                                                                               \
    X(DOCUMENT_GET, "tt", "SELECT kind, id, body, version FROM documents WHERE kind = $1 AND id = $2")                 \
    X(DOCUMENTS_LIST, "ttl", "SELECT kind, id, body, version FROM documents WHERE kind = $1 AND id > $2"               \
      " ORDER BY id LIMIT $3")                                                                                         \
    X(SLATE_GET, "t", "SELECT s.id, p.id, s.agent, s.at, s.body, s.places, s.explored FROM slates s"                   \
      " JOIN persons p ON p.num = s.person WHERE s.id = $1 LIMIT 1")                                                                                      \
    X(SLATES_SCAN, "tzztl", "SELECT s.id, p.id, s.agent, s.at, s.body, s.places, s.explored FROM slates s"             \
      " JOIN persons p ON p.num = s.person WHERE ($1 IS NULL OR s.agent = $1) AND s.at < $2 AND (s.at, s.id) > ($3, $4)" \
      " AND s.at >= $3 ORDER BY s.at, s.id LIMIT $5")                                                                  \
    /* each returns one line for a defect, none when all is well; $1 bytes of a vector */                              \
    X(CHECK_ITEM_LOG, "", "SELECT format('item %s has no log row for its version %s', id, version)"                    \
      " FROM items WHERE version > (SELECT trimmed FROM meta) AND NOT EXISTS (SELECT 1 FROM log l"                     \
      " WHERE l.lsn = version AND l.kind = 1 AND l.num = items.num) LIMIT 5")                                          \
    X(CHECK_RELATION_LOG, "", "SELECT format('relation %s %s %s has no log row for its version %s', from_num, type,"   \
      " to_num, version) FROM relations r WHERE version > (SELECT trimmed FROM meta) AND NOT EXISTS (SELECT 1 FROM"    \
      " log l WHERE l.lsn = r.version AND l.kind = 2 AND l.num = r.from_num AND l.num2 = r.to_num) LIMIT 5")           \
    X(CHECK_USER_LOG, "", "SELECT format('user %s has no log row for its version %s', id, version) FROM users"         \
      " WHERE version > (SELECT trimmed FROM meta) AND NOT EXISTS (SELECT 1 FROM log l WHERE l.lsn = version"          \
      " AND l.kind = 3 AND l.person = users.person) LIMIT 5")                                                          \
    X(CHECK_LSN_TWICE, "", "SELECT format('LSN %s is used twice', l.lsn) FROM log l"                                   \
      " JOIN interactions i ON i.lsn = l.lsn LIMIT 5")                                                                 \
    X(CHECK_LSN_AHEAD, "", "SELECT format('LSN %s is of a transaction that is still to come', max(lsn)) FROM"          \
      " (SELECT max(lsn) AS lsn FROM log UNION ALL SELECT max(lsn) FROM interactions) m"                               \
      " HAVING max(lsn) >> 20 >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint")                               \
    X(CHECK_VECTORS, "l", "SELECT format('vector of item number %s is wrong', v.num) FROM vectors v"                   \
      " LEFT JOIN items i ON i.num = v.num WHERE i.num IS NULL OR i.given IS NULL OR octet_length(v.data) <> $1"       \
      " LIMIT 5")                                                                                                      \
    X(CHECK_VECTORS_LACK, "", "SELECT format('item number %s lacks its vector', i.num) FROM items i"                   \
      " WHERE i.given IS NOT NULL AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.num = i.num) LIMIT 5")               \
    X(CHECK_PERSONS, "", "SELECT format('interaction %s belongs to nobody', lsn) FROM interactions i"                  \
      " WHERE NOT EXISTS (SELECT 1 FROM persons p WHERE p.num = i.person) LIMIT 5")                                    \
    X(CHECK_ITEMS, "", "SELECT format('interaction %s is about an item that never was', lsn) FROM interactions i"      \
      " WHERE NOT EXISTS (SELECT 1 FROM items t WHERE t.num = i.item)"                                                 \
      " AND NOT EXISTS (SELECT 1 FROM items_gone g WHERE g.num = i.item) LIMIT 5")                                     \
    X(CHECK_EPISODES, "", "SELECT format('episode %s has no interaction', interaction) FROM agent_episodes e"          \
      " WHERE NOT own AND NOT EXISTS (SELECT 1 FROM interactions i WHERE i.lsn = e.interaction) LIMIT 5")                          \
    X(CHECK_NEIGHBOURS, "", "SELECT format('neighbours of item number %s by %s are wrong', n.num, n.model) FROM neighbours n"\
      " WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.num = n.num) OR octet_length(n.list) % 8 <> 0"                 \
      " OR octet_length(n.list) > 8 * 4096 LIMIT 5")                                                                   \
    X(CHECK_NEIGHBOURS_LOG, "", "SELECT format('neighbours of item number %s by %s have no log row for their version %s',"\
      " n.num, n.model, n.version) FROM neighbours n WHERE n.version > (SELECT trimmed FROM meta) AND NOT EXISTS"      \
      " (SELECT 1 FROM log l WHERE l.lsn = n.version AND l.kind = 9 AND l.num = n.num) LIMIT 5")                       \
    X(CHECK_DOCUMENTS_LOG, "", "SELECT format('document %s/%s has no log row for its version %s', d.kind, d.id,"       \
      " d.version) FROM documents d WHERE d.version > (SELECT trimmed FROM meta) AND NOT EXISTS (SELECT 1 FROM log l"  \
      " WHERE l.lsn = d.version AND l.kind = 10 AND l.key = d.kind || '/' || d.id) LIMIT 5")                           \
    X(CHECK_SLATES, "", "SELECT format('slate %s belongs to nobody', s.id) FROM slates s"                              \
      " WHERE NOT EXISTS (SELECT 1 FROM persons p WHERE p.num = s.person) LIMIT 5")                                    \
    X(CHECK_OWN, "", "SELECT format('episode %s belongs to nobody or nothing', e.interaction) FROM agent_episodes e"   \
      " WHERE own AND (NOT EXISTS (SELECT 1 FROM persons p WHERE p.num = e.person) OR NOT EXISTS (SELECT 1 FROM items t" \
      " WHERE t.num = e.item) AND NOT EXISTS (SELECT 1 FROM items_gone g WHERE g.num = e.item)) LIMIT 5")              \
    X(CHECK_STATES, "", "SELECT format('the state of episode %s has no episode', v.episode) FROM episode_states v"    \
      " WHERE NOT EXISTS (SELECT 1 FROM agent_episodes e WHERE e.interaction = v.episode AND e.at = v.at) LIMIT 5")

typedef enum record_postgres_sql {
#define RECORD_POSTGRES_SQL_ID(name, types, text) SQL_##name,
    RECORD_POSTGRES_STATEMENTS(RECORD_POSTGRES_SQL_ID)
#undef RECORD_POSTGRES_SQL_ID
    SQL_COUNT
} record_postgres_sql;

#endif
