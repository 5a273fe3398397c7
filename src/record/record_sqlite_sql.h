/* Every SQL text that the SQLite record store runs, in one list: X(NAME, "text").
 *
 * From it come the ids, the texts and the per-connection caches of prepared statements. Values reach SQL as
 * parameters only; no text is ever put together at run time. Rows of a person hold a number, never the name, so that
 * deleting one row of `persons` cuts every tie. */
/* clang-format off: a table reads by columns */
#ifndef RECORD_SQLITE_SQL_H
#define RECORD_SQLITE_SQL_H

/* Columns of an interaction, in the order that record_sqlite_events.c reads them. */
#define RECORD_SQLITE_INTERACTION_COLUMNS                                                                              \
    "i.lsn, i.item, coalesce(t.id, g.id), i.at, i.type, i.watch_s, i.rating, i.agent, i.session, i.recommendation,"    \
    " i.idempotency, i.device, i.daypart, i.region, i.mood, i.simulated, i.attribution"
#define RECORD_SQLITE_INTERACTION_JOINS                                                                                \
    " LEFT JOIN items t ON t.num = i.item LEFT JOIN items_gone g ON t.num IS NULL AND g.num = i.item"
/* What the person ?1 did, as (at, lsn): what is in the timeline, and what is not yet. */
#define RECORD_SQLITE_TIMELINE                                                                                         \
    "(SELECT at, lsn FROM timeline WHERE person = ?1 UNION ALL SELECT at, lsn FROM interactions WHERE lsn >"           \
    " (SELECT value FROM meta WHERE key = 'timeline') AND person = ?1) x"
/* Columns of an episode, in the order that record_sqlite_episodes.c reads them: of an interaction, and of its own. */
#define RECORD_SQLITE_LEARNED_COLUMNS                                                                                  \
    "i.lsn, i.agent, i.session, e.state_hash, e.state, e.next_state_hash, i.item, coalesce(t.id, g.id), e.reward, e.done," \
    " i.at, p.id, v.data"
#define RECORD_SQLITE_GIVEN_COLUMNS                                                                                    \
    "i.lsn, i.agent, i.session, i.state_hash, i.state, i.next_state_hash, i.item, coalesce(t.id, g.id), i.reward, i.done," \
    " i.at, p.id, v.data"
#define RECORD_SQLITE_EPISODE_JOINS                                                                                    \
    " JOIN persons p ON p.num = i.person LEFT JOIN episode_vectors v ON v.episode = i.lsn" RECORD_SQLITE_INTERACTION_JOINS
#define RECORD_SQLITE_POLICY_COLUMNS "y.agent, y.state_hash, y.state, y.version, y.actions"
#define RECORD_SQLITE_RELATION_COLUMNS "r.from_num, r.to_num, r.type, r.strength, r.version, f.id, t.id"
#define RECORD_SQLITE_RELATION_TABLES "relations r JOIN items f ON f.num = r.from_num JOIN items t ON t.num = r.to_num"

#define RECORD_SQLITE_HOURS_ADDED                                                                                      \
    " ON CONFLICT DO UPDATE SET episodes = episodes + excluded.episodes, finished = finished + excluded.finished,"     \
    " reward_sum = reward_sum + excluded.reward_sum"

#define RECORD_SQLITE_STATEMENTS(X)                                                                                    \
    /* transactions */                                                                                                 \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(BEGIN_READ, "BEGIN")                                                                                             \
    X(COMMIT, "COMMIT")                                                                                                \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(SAVEPOINT, "SAVEPOINT change")                                                                                   \
    X(RELEASE, "RELEASE change")                                                                                       \
    X(UNDO, "ROLLBACK TO change")                                                                                      \
    /* facts of the file */                                                                                            \
    X(META_GET, "SELECT value FROM meta WHERE key = ?1")                                                               \
    X(META_PUT, "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value")   \
    X(LSN_MAX, "SELECT max(coalesce((SELECT max(lsn) FROM log), 0),"                                                   \
               " coalesce((SELECT max(lsn) FROM interactions), 0))")                                                   \
    X(GIVEN_LSN_MAX, "SELECT coalesce(max(lsn), 0) FROM episodes_given")                                               \
    X(ITEM_NUM_MAX, "SELECT coalesce(max(num), 0) FROM items")                                                         \
    X(PERSON_NUM_MAX, "SELECT coalesce(max(num), 0) FROM persons")                                                     \
    /* writing items */                                                                                                \
    X(ITEM_NUM, "SELECT num FROM items WHERE id = ?1")                                                                 \
    X(ITEM_THERE, "SELECT 1 FROM items WHERE num = ?1")                                                                \
    X(ITEM_ADD, "INSERT INTO items(num, id, version, given, body) VALUES(?1, ?2, ?3, ?4, ?5)")                         \
    X(ITEM_CHANGE, "UPDATE items SET version = ?3, given = ?4, body = ?5 WHERE num = ?1")                              \
    X(ITEM_DROP, "DELETE FROM items WHERE num = ?1")                                                                   \
    X(ITEM_GONE, "INSERT INTO items_gone(num, id) VALUES(?1, ?2)")                                                     \
    X(VECTOR_PUT, "INSERT INTO vectors(num, data) VALUES(?1, ?2) ON CONFLICT(num) DO UPDATE SET data = excluded.data") \
    X(VECTOR_DROP, "DELETE FROM vectors WHERE num = ?1")                                                               \
    X(NAMED_PUT, "INSERT INTO named_vectors(num, name, data) VALUES(?1, ?2, ?3)")                                      \
    X(NAMED_DROP, "DELETE FROM named_vectors WHERE num = ?1")                                                          \
    X(STATS_DROP, "DELETE FROM stats WHERE num = ?1")                                                                  \
    X(ITEM_NEIGHBOURS_DROP, "DELETE FROM neighbours WHERE num = ?1")                                                   \
    /* writing relations */                                                                                            \
    X(RELATION_PUT, "INSERT INTO relations(from_num, to_num, type, strength, version) VALUES(?1, ?2, ?3, ?4, ?5)"      \
                    " ON CONFLICT DO UPDATE SET strength = excluded.strength, version = excluded.version")             \
    X(RELATION_DROP, "DELETE FROM relations WHERE from_num = ?1 AND to_num = ?2 AND type = ?3")                        \
    X(RELATIONS_DROP_FROM, "DELETE FROM relations WHERE from_num = ?1")                                                \
    X(RELATIONS_DROP_TO, "DELETE FROM relations WHERE to_num = ?1")                                                    \
    /* writing people */                                                                                               \
    X(PERSON, "SELECT num, born FROM persons WHERE id = ?1")                                                           \
    X(PERSON_ADD, "INSERT INTO persons(id, num, born) VALUES(?1, ?2, ?3)")                                             \
    X(PERSON_DROP, "DELETE FROM persons WHERE id = ?1")                                                                \
    X(USER_PUT, "INSERT INTO users(person, id, version, body) VALUES(?1, ?2, ?3, ?4)"                                  \
                " ON CONFLICT(person) DO UPDATE SET version = excluded.version, body = excluded.body")                 \
    X(USER_DROP, "DELETE FROM users WHERE person = ?1")                                                                \
    X(PERSON_TIMELINE_FILL, "INSERT INTO timeline(person, at, lsn) SELECT person, at, lsn FROM interactions"           \
                            " WHERE lsn > (SELECT value FROM meta WHERE key = 'timeline') AND person = ?1")            \
    X(PERSON_INTERACTIONS_DROP, "DELETE FROM interactions WHERE lsn IN (SELECT lsn FROM timeline WHERE person = ?1)")  \
    X(PERSON_TIMELINE_DROP, "DELETE FROM timeline WHERE person = ?1")                                                  \
    X(PERSON_EPISODES_DROP, "DELETE FROM episodes WHERE interaction IN (SELECT lsn FROM timeline WHERE person = ?1)")  \
    X(PERSON_GIVEN_TIMELINE_FILL, "INSERT INTO episodes_timeline(person, at, lsn) SELECT person, at, lsn FROM episodes_given" \
                                  " WHERE lsn > (SELECT value FROM meta WHERE key = 'timeline') AND person = ?1")      \
    X(PERSON_VECTORS_DROP, "DELETE FROM episode_vectors WHERE episode IN (SELECT lsn FROM timeline WHERE person = ?1"  \
                           " UNION ALL SELECT lsn FROM episodes_timeline WHERE person = ?1)")                          \
    X(PERSON_GIVEN_DROP, "DELETE FROM episodes_given WHERE lsn IN (SELECT lsn FROM episodes_timeline WHERE person = ?1)") \
    X(PERSON_GIVEN_TIMELINE_DROP, "DELETE FROM episodes_timeline WHERE person = ?1")                                   \
    X(PERSON_POLICIES_DROP, "DELETE FROM policies WHERE person = ?1")                                                  \
    X(PERSON_SLATES_DROP, "DELETE FROM slates WHERE person = ?1")                                                      \
    /* writing events and what is learned from them */                                                                 \
    X(INTERACTION_BY_KEY, "SELECT lsn, item FROM interactions WHERE person = ?1 AND idempotency = ?2")                 \
    X(INTERACTION_ADD, "INSERT INTO interactions(lsn, person, item, at, type, watch_s, rating, agent, session,"        \
                       " recommendation, idempotency, device, daypart, region, mood, simulated, attribution)"          \
                       " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)")          \
    X(TIMELINE_FILL, "INSERT INTO timeline(person, at, lsn) SELECT person, at, lsn FROM interactions"                  \
                     " WHERE lsn > (SELECT value FROM meta WHERE key = 'timeline') AND lsn <= ?1"                      \
                     " ORDER BY person, at, lsn")                                                                      \
    X(GIVEN_TIMELINE_FILL, "INSERT INTO episodes_timeline(person, at, lsn) SELECT person, at, lsn FROM episodes_given" \
                           " WHERE lsn > (SELECT value FROM meta WHERE key = 'timeline') AND lsn <= ?1"                \
                           " ORDER BY person, at, lsn")                                                                \
    X(TIMELINE_LEFT, "SELECT (SELECT count(*) FROM interactions WHERE lsn > m.value)"                                  \
                     " + (SELECT count(*) FROM episodes_given WHERE lsn > m.value) FROM meta m WHERE m.key = 'timeline'") \
    X(INTERACTION_PERSON, "SELECT person FROM interactions WHERE lsn = ?1")                                            \
    X(EPISODE_ADD, "INSERT INTO episodes(interaction, state_hash, state, next_state_hash, reward, done)"               \
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(interaction) DO NOTHING")                              \
    X(GIVEN_BY_KEY, "SELECT lsn, item FROM episodes_given WHERE person = ?1 AND idempotency = ?2")                     \
    X(GIVEN_ADD, "INSERT INTO episodes_given(lsn, person, item, at, agent, session, state_hash, state, next_state_hash," \
                 " reward, done, idempotency) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")              \
    X(GIVEN_STATE_ADD, "INSERT INTO episode_vectors(episode, at, agent, data) VALUES(?1, ?2, ?3, ?4)")                 \
    X(LEARNED_STATE_ADD, "INSERT INTO episode_vectors(episode, at, agent, data) SELECT lsn, at, agent, ?2"             \
                         " FROM interactions WHERE lsn = ?1")                                                          \
    /* forgetting: ?1 < number <= ?2, of before what ?3 (a record_old; of slates, a time) says of the agent */          \
    X(EPISODES_UPTO, "SELECT max(x) FROM (SELECT interaction AS x FROM episodes WHERE interaction > ?1"                \
                     " ORDER BY interaction LIMIT ?2)")                                                                \
    X(GIVEN_UPTO, "SELECT max(x) FROM (SELECT lsn AS x FROM episodes_given WHERE lsn > ?1 ORDER BY lsn LIMIT ?2)")     \
    X(EPISODES_FORGET, "DELETE FROM episodes WHERE interaction > ?1 AND interaction <= ?2"                             \
                       " AND (SELECT i.at < old_before(?3, i.agent) FROM interactions i WHERE i.lsn = interaction)")  \
    X(STATES_FORGET, "DELETE FROM episode_vectors WHERE episode > ?1 AND episode <= ?2"                                \
                     " AND at < old_before(?3, agent)")                                                                \
    X(GIVEN_TIMELINE_FORGET, "DELETE FROM episodes_timeline WHERE (person, at, lsn) IN (SELECT person, at, lsn FROM"   \
                             " episodes_given WHERE lsn > ?1 AND lsn <= ?2 AND at < old_before(?3, agent))")           \
    X(GIVEN_FORGET, "DELETE FROM episodes_given WHERE lsn > ?1 AND lsn <= ?2 AND at < old_before(?3, agent)")          \
    X(SLATES_FORGET, "DELETE FROM slates WHERE rowid IN (SELECT rowid FROM slates WHERE at < ?3 ORDER BY at LIMIT ?2)") \
    /* roll-ups: ?1 < number <= ?2, or ?1 <= time < ?2 */                                                              \
    X(HOURS_ADD_LEARNED, "INSERT INTO hours(hour, agent, slates, episodes, finished, reward_sum)"                      \
                         " SELECT i.at - ((i.at % 3600000) + 3600000) % 3600000, coalesce(i.agent, 'default'), 0, count(*)," \
                         " sum(e.done), sum(e.reward) FROM episodes e CROSS JOIN interactions i ON i.lsn = e.interaction" \
                         " WHERE e.interaction > ?1 AND e.interaction <= ?2 GROUP BY 1, 2" RECORD_SQLITE_HOURS_ADDED)  \
    X(HOURS_ADD_GIVEN, "INSERT INTO hours(hour, agent, slates, episodes, finished, reward_sum)"                        \
                       " SELECT e.at - ((e.at % 3600000) + 3600000) % 3600000, coalesce(e.agent, 'default'), 0, count(*)," \
                       " sum(e.done), sum(e.reward) FROM episodes_given e WHERE e.lsn > ?1 AND e.lsn <= ?2 GROUP BY 1, 2" \
                       RECORD_SQLITE_HOURS_ADDED)                                                                      \
    X(SLATES_NEXT, "SELECT at FROM slates WHERE at >= ?1 ORDER BY at LIMIT 1")                                         \
    X(HOURS_COUNT_SLATES, "INSERT INTO hours(hour, agent, slates, episodes, finished, reward_sum, places, explored)"   \
                          " SELECT ?1, agent, count(*), 0, 0, 0, sum(places), sum(explored) FROM slates"               \
                          " WHERE at >= ?1 AND at < ?2 GROUP BY agent"                                                 \
                          " ON CONFLICT DO UPDATE SET slates = max(slates, excluded.slates),"                          \
                          " places = max(places, excluded.places), explored = max(explored, excluded.explored)")       \
    X(HOURS_SCAN, "SELECT hour, agent, slates, episodes, finished, reward_sum, places, explored FROM hours"            \
                  " WHERE hour >= ?1 AND hour < ?2"                                                                    \
                  " AND (?3 IS NULL OR agent = ?3) ORDER BY hour, agent LIMIT ?4")                                     \
    X(POLICY_PUT, "INSERT INTO policies(person, agent, state_hash, state, version, actions)"                           \
                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET state = excluded.state,"                  \
                  " version = excluded.version, actions = excluded.actions WHERE excluded.version >= version")         \
    X(STATS_PUT, "INSERT INTO stats(num, interactions, reward_sum, last_at, recent) VALUES(?1, ?2, ?3, ?4, ?5)"        \
                 " ON CONFLICT(num) DO UPDATE SET interactions = excluded.interactions,"                               \
                 " reward_sum = excluded.reward_sum, last_at = excluded.last_at, recent = excluded.recent")            \
    X(NEIGHBOURS_PUT, "INSERT INTO neighbours(model, num, at, version, list) VALUES(?1, ?2, ?3, ?4, ?5)"               \
                      " ON CONFLICT DO UPDATE SET at = excluded.at, version = excluded.version, list = excluded.list") \
    X(NEIGHBOURS_DROP, "DELETE FROM neighbours WHERE model = ?1 AND num = ?2")                                         \
    X(DOCUMENT_VERSION, "SELECT version FROM documents WHERE kind = ?1 AND id = ?2")                                   \
    X(DOCUMENT_PUT, "INSERT INTO documents(kind, id, version, body) VALUES(?1, ?2, ?3, ?4)"                            \
                    " ON CONFLICT(kind, id) DO UPDATE SET version = excluded.version, body = excluded.body")           \
    X(DOCUMENT_DROP, "DELETE FROM documents WHERE kind = ?1 AND id = ?2")                                              \
    X(SLATE_THERE, "SELECT 1 FROM slates WHERE id = ?1")                                                               \
    X(SLATE_ADD, "INSERT INTO slates(id, person, agent, at, body, places, explored)"                                   \
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                                                \
    X(CURSOR_PUT, "INSERT INTO cursors(name, lsn) VALUES(?1, ?2)"                                                      \
                  " ON CONFLICT(name) DO UPDATE SET lsn = max(lsn, excluded.lsn)")                                     \
    /* the log */                                                                                                      \
    X(LOG_ADD, "INSERT INTO log(lsn, kind, removed, num, num2, person, key) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")       \
    X(LOG_TRIM, "DELETE FROM log WHERE lsn <= ?1 AND lsn <= (SELECT max(lsn) FROM"                                     \
                " (SELECT lsn FROM log ORDER BY lsn LIMIT ?2))")                                                       \
    /* ?3: a bit for each kind that is wanted. Without interactions the table of interactions is not looked at. */     \
    X(LOG_READ, "SELECT lsn, 4 AS kind, 0 AS removed, item AS num, 0 AS num2, '' AS key FROM interactions"             \
                " WHERE lsn > ?1 UNION ALL"                                                                            \
                " SELECT l.lsn, l.kind, l.removed, l.num, l.num2, coalesce(p.id, l.key, '') FROM log l"                \
                " LEFT JOIN persons p ON p.num = l.person WHERE l.lsn > ?1 AND (?3 >> l.kind) & 1"                     \
                " AND (l.person IS NULL OR p.num IS NOT NULL)"                                                         \
                " ORDER BY 1 LIMIT ?2")                                                                                \
    X(LOG_READ_OTHERS, "SELECT l.lsn, l.kind, l.removed, l.num, l.num2, coalesce(p.id, l.key, '') FROM log l"          \
                       " LEFT JOIN persons p ON p.num = l.person WHERE l.lsn > ?1 AND (?3 >> l.kind) & 1"              \
                       " AND (l.person IS NULL OR p.num IS NOT NULL)"                                                  \
                       " ORDER BY 1 LIMIT ?2")                                                                         \
    X(CURSOR_GET, "SELECT lsn FROM cursors WHERE name = ?1")                                                           \
    /* reading items */                                                                                                \
    X(ITEM_BY_ID, "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                                \
                  " LEFT JOIN vectors v ON v.num = i.num WHERE i.id = ?1")                                             \
    X(ITEM_BY_NUM, "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                               \
                   " LEFT JOIN vectors v ON v.num = i.num WHERE i.num = ?1")                                           \
    X(ITEM_BY_NUM_BARE, "SELECT num, version, id, body, given FROM items WHERE num = ?1")                                          \
    X(ITEMS_SCAN, "SELECT num, version, id, body, given FROM items WHERE num > ?1 ORDER BY num")                       \
    X(ITEMS_SCAN_VECTORS, "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                        \
                          " LEFT JOIN vectors v ON v.num = i.num WHERE i.num > ?1 ORDER BY i.num")                     \
    X(ITEMS_LIST, "SELECT i.num, i.version, i.id, i.body, i.given, v.data FROM items i"                                \
                  " LEFT JOIN vectors v ON v.num = i.num WHERE i.id > ?1 ORDER BY i.id LIMIT ?2")                      \
    X(NAMED_VECTORS, "SELECT name, data FROM named_vectors WHERE num = ?1 ORDER BY name")                              \
    /* reading relations */                                                                                            \
    X(RELATIONS_LIST, "SELECT " RECORD_SQLITE_RELATION_COLUMNS " FROM " RECORD_SQLITE_RELATION_TABLES                  \
                      " WHERE (r.from_num, r.to_num, r.type) > (?1, ?2, ?3)"                                           \
                      " ORDER BY r.from_num, r.to_num, r.type LIMIT ?4")                                               \
    X(RELATION_BY_KEY, "SELECT " RECORD_SQLITE_RELATION_COLUMNS " FROM " RECORD_SQLITE_RELATION_TABLES                 \
                       " WHERE r.from_num = ?1 AND r.to_num = ?2 AND r.type = ?3")                                     \
    X(RELATIONS_FROM, "SELECT " RECORD_SQLITE_RELATION_COLUMNS " FROM " RECORD_SQLITE_RELATION_TABLES                  \
                      " WHERE r.from_num = ?1 ORDER BY r.to_num, r.type")                                              \
    X(RELATIONS_TO, "SELECT " RECORD_SQLITE_RELATION_COLUMNS " FROM " RECORD_SQLITE_RELATION_TABLES                    \
                    " WHERE r.to_num = ?1 AND r.from_num <> ?1 ORDER BY r.from_num, r.type")                           \
    /* reading people */                                                                                               \
    X(USER_GET, "SELECT id, body, version FROM users WHERE id = ?1")                                                   \
    X(USERS_LIST, "SELECT id, body, version FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")                            \
    /* reading events */                                                                                               \
    X(PERSON_INTERACTIONS, "SELECT " RECORD_SQLITE_INTERACTION_COLUMNS ", ?2 FROM " RECORD_SQLITE_TIMELINE             \
                           " JOIN interactions i ON i.lsn = x.lsn" RECORD_SQLITE_INTERACTION_JOINS                     \
                           " ORDER BY x.at DESC, x.lsn DESC LIMIT ?3")                                                 \
    X(INTERACTIONS_SCAN, "SELECT " RECORD_SQLITE_INTERACTION_COLUMNS ", p.id FROM interactions i"                      \
                         " JOIN persons p ON p.num = i.person" RECORD_SQLITE_INTERACTION_JOINS                         \
                         " WHERE i.lsn > ?1 AND i.lsn <= ?2 ORDER BY i.lsn LIMIT ?3")                                  \
    X(PERSON_EPISODES, "SELECT " RECORD_SQLITE_LEARNED_COLUMNS " FROM " RECORD_SQLITE_TIMELINE                         \
                       " JOIN interactions i ON i.lsn = x.lsn JOIN episodes e ON e.interaction = i.lsn"                \
                       RECORD_SQLITE_EPISODE_JOINS " UNION ALL SELECT " RECORD_SQLITE_GIVEN_COLUMNS " FROM"            \
                       " (SELECT lsn FROM episodes_timeline WHERE person = ?1 UNION ALL SELECT lsn FROM episodes_given WHERE" \
                       " lsn > (SELECT value FROM meta WHERE key = 'timeline') AND person = ?1) x"                     \
                       " JOIN episodes_given i ON i.lsn = x.lsn" RECORD_SQLITE_EPISODE_JOINS                           \
                       " ORDER BY 11 DESC, 1 DESC LIMIT ?2")                                                           \
    X(EPISODE_GET, "SELECT " RECORD_SQLITE_LEARNED_COLUMNS " FROM episodes e JOIN interactions i ON i.lsn = e.interaction" \
                   RECORD_SQLITE_EPISODE_JOINS " WHERE e.interaction = ?1 UNION ALL SELECT " RECORD_SQLITE_GIVEN_COLUMNS \
                   " FROM episodes_given i" RECORD_SQLITE_EPISODE_JOINS " WHERE i.lsn = ?1")                           \
    X(STATES_SCAN, "SELECT episode, data FROM episode_vectors WHERE episode < ?1 AND at >= ?2"                         \
                   " AND (?3 IS NULL OR coalesce(agent, 'default') = ?3) AND length(data) = ?4 ORDER BY episode DESC") \
    X(PERSON_POLICIES, "SELECT " RECORD_SQLITE_POLICY_COLUMNS " FROM policies y WHERE y.person = ?1"                   \
                       " ORDER BY y.agent, y.state_hash")                                                              \
    X(PERSON_POLICIES_OF, "SELECT " RECORD_SQLITE_POLICY_COLUMNS " FROM policies y"                                    \
                          " WHERE y.person = ?1 AND y.agent = ?2 ORDER BY y.state_hash")                               \
    X(POLICY_GET, "SELECT " RECORD_SQLITE_POLICY_COLUMNS " FROM persons p JOIN policies y ON y.person = p.num"         \
                  " WHERE p.id = ?1 AND y.agent = ?2 AND y.state_hash = ?3")                                           \
    X(STATS_SCAN, "SELECT num, interactions, reward_sum, last_at, recent FROM stats WHERE num > ?1 ORDER BY num")      \
    X(NEIGHBOURS_SCAN, "SELECT num, model, at, version, list FROM neighbours WHERE model = ?1 AND num > ?2"            \
                       " ORDER BY num")                                                                                \
    X(ITEM_NEIGHBOURS, "SELECT num, model, at, version, list FROM neighbours WHERE num = ?1 ORDER BY model")           \
    X(DOCUMENT_GET, "SELECT kind, id, body, version FROM documents WHERE kind = ?1 AND id = ?2")                       \
    X(DOCUMENTS_LIST, "SELECT kind, id, body, version FROM documents WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3") \
    X(SLATE_GET, "SELECT s.id, p.id, s.agent, s.at, s.body, s.places, s.explored FROM slates s"                        \
                 " JOIN persons p ON p.num = s.person WHERE s.id = ?1")                                                \
    X(SLATES_SCAN, "SELECT s.id, p.id, s.agent, s.at, s.body, s.places, s.explored FROM slates s"                      \
                   " JOIN persons p ON p.num = s.person"                                                               \
                   " WHERE (s.at, s.id) > (?1, ?2) AND s.at < ?3 AND (?4 IS NULL OR s.agent = ?4) ORDER BY s.at, s.id") \
    /* counting and checking */                                                                                        \
    X(COUNTS, "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM relations), (SELECT count(*) FROM users),"   \
              " (SELECT count(*) FROM interactions), (SELECT count(*) FROM episodes) + (SELECT count(*) FROM episodes_given), (SELECT count(*) FROM"           \
              " policies),"                                                                                            \
              " (SELECT count(*) FROM log l LEFT JOIN persons p ON p.num = l.person"                                   \
              "  WHERE l.lsn > ?1 AND (l.person IS NULL OR p.num IS NOT NULL))"                                        \
              " + (SELECT count(*) FROM interactions WHERE lsn > ?1),"                                                 \
              " (SELECT count(*) FROM items WHERE given = 1), (SELECT count(*) FROM neighbours),"                      \
              " (SELECT coalesce(max(version), 0) FROM relations), (SELECT count(*) FROM documents),"                  \
              " (SELECT count(*) FROM slates)")                                                    \
    X(QUICK_CHECK, "PRAGMA quick_check(5)")                                                                            \
    X(INTEGRITY_CHECK, "PRAGMA integrity_check(5)")                                                                    \
    X(FOREIGN_KEY_CHECK, "PRAGMA foreign_key_check")                                                                   \
    X(PAGE_COUNT, "PRAGMA page_count")                                                                                 \
    X(PAGE_SIZE, "PRAGMA page_size")                                                                                   \
    /* each returns one line for a defect, none when all is well; ?1 the trim mark, ?2 bytes of a vector */            \
    X(CHECK_ITEM_LOG, "SELECT 'item ' || id || ' has no log row for its version ' || version FROM items WHERE"         \
                      " version > ?1 AND NOT EXISTS(SELECT 1 FROM log l WHERE l.lsn = version AND l.kind = 1"          \
                      " AND l.num = items.num) LIMIT 5")                                                               \
    X(CHECK_RELATION_LOG, "SELECT 'relation ' || from_num || ' ' || type || ' ' || to_num || ' has no log row for its" \
                          " version ' || version FROM relations r WHERE version > ?1 AND NOT EXISTS(SELECT 1 FROM"     \
                          " log l"                                                                                     \
                          " WHERE l.lsn = r.version AND l.kind = 2 AND l.num = r.from_num AND l.num2 = r.to_num)"      \
                          " LIMIT 5")                                                                                  \
    X(CHECK_USER_LOG, "SELECT 'user ' || id || ' has no log row for its version ' || version FROM users WHERE"         \
                      " version > ?1 AND NOT EXISTS(SELECT 1 FROM log l WHERE l.lsn = version AND l.kind = 3"          \
                      " AND l.person = users.person) LIMIT 5")                                                         \
    X(CHECK_LSN_TWICE, "SELECT 'LSN ' || l.lsn || ' is used twice' FROM log l JOIN interactions i ON i.lsn = l.lsn"    \
                       " LIMIT 5")                                                                                     \
    X(CHECK_RELATION_ENDS, "SELECT 'relation ' || from_num || ' ' || type || ' ' || to_num || ' lacks an end'"         \
                           " FROM relations WHERE NOT EXISTS(SELECT 1 FROM items WHERE num = from_num)"                \
                           " OR NOT EXISTS(SELECT 1 FROM items WHERE num = to_num) LIMIT 5")                           \
    X(CHECK_VECTORS, "SELECT 'vector of item number ' || v.num || ' is wrong' FROM vectors v LEFT JOIN items i"        \
                     " ON i.num = v.num WHERE i.num IS NULL OR i.given IS NULL OR length(v.data) <> ?2 LIMIT 5")       \
    X(CHECK_PERSONS, "SELECT 'interaction ' || lsn || ' belongs to nobody' FROM interactions i WHERE"                  \
                     " NOT EXISTS(SELECT 1 FROM persons p WHERE p.num = i.person) LIMIT 5")                            \
    X(CHECK_ITEMS, "SELECT 'interaction ' || lsn || ' is about an item that never was' FROM interactions i WHERE"      \
                   " NOT EXISTS(SELECT 1 FROM items t WHERE t.num = i.item)"                                           \
                   " AND NOT EXISTS(SELECT 1 FROM items_gone g WHERE g.num = i.item) LIMIT 5")                         \
    X(CHECK_TIMELINE, "SELECT 'interaction ' || lsn || ' is not in the timeline of its person' FROM interactions i"    \
                      " WHERE lsn <= (SELECT value FROM meta WHERE key = 'timeline') AND NOT EXISTS(SELECT 1 FROM"     \
                      " timeline t WHERE t.person = i.person AND t.at = i.at AND t.lsn = i.lsn) LIMIT 5")              \
    X(CHECK_TIMELINE_ENDS, "SELECT 'the timeline names ' || lsn || ', which is no interaction' FROM timeline t WHERE"  \
                           " NOT EXISTS(SELECT 1 FROM interactions i WHERE i.lsn = t.lsn) LIMIT 5")                    \
    X(CHECK_EPISODES, "SELECT 'episode ' || interaction || ' has no interaction' FROM episodes e WHERE"                \
                      " NOT EXISTS(SELECT 1 FROM interactions i WHERE i.lsn = e.interaction) LIMIT 5")                 \
    X(CHECK_NEIGHBOURS, "SELECT 'neighbours of item number ' || n.num || ' by ' || n.model || ' are wrong' FROM"       \
                        " neighbours n WHERE NOT EXISTS(SELECT 1 FROM items i WHERE i.num = n.num)"                    \
                        " OR length(n.list) % 8 <> 0 OR length(n.list) NOT BETWEEN 8 AND 8 * 4096 LIMIT 5")            \
    X(CHECK_NEIGHBOURS_LOG, "SELECT 'neighbours of item number ' || n.num || ' by ' || n.model || ' have no log row for"\
                            " their version ' || n.version FROM neighbours n WHERE n.version > ?1 AND NOT EXISTS(SELECT"\
                            " 1 FROM log l WHERE l.lsn = n.version AND l.kind = 9 AND l.num = n.num) LIMIT 5")         \
    X(CHECK_DOCUMENTS_LOG, "SELECT 'document ' || d.kind || '/' || d.id || ' has no log row for its version ' ||"      \
                           " d.version FROM documents d WHERE d.version > ?1 AND NOT EXISTS(SELECT 1 FROM log l"       \
                           " WHERE l.lsn = d.version AND l.kind = 10 AND l.key = d.kind || '/' || d.id) LIMIT 5")      \
    X(CHECK_SLATES, "SELECT 'slate ' || s.id || ' belongs to nobody' FROM slates s WHERE NOT EXISTS(SELECT 1 FROM"     \
                    " persons p WHERE p.num = s.person) LIMIT 5")                                                      \
    X(CHECK_GIVEN, "SELECT 'episode ' || e.lsn || ' belongs to nobody or nothing' FROM episodes_given e WHERE"         \
                   " NOT EXISTS(SELECT 1 FROM persons p WHERE p.num = e.person) OR NOT EXISTS(SELECT 1 FROM items t"   \
                   " WHERE t.num = e.item) AND NOT EXISTS(SELECT 1 FROM items_gone g WHERE g.num = e.item) LIMIT 5")   \
    X(CHECK_GIVEN_TIMELINE, "SELECT 'episode ' || e.lsn || ' is not in the timeline of its person' FROM episodes_given e" \
                            " WHERE lsn <= (SELECT value FROM meta WHERE key = 'timeline') AND NOT EXISTS(SELECT 1 FROM" \
                            " episodes_timeline t WHERE t.person = e.person AND t.at = e.at AND t.lsn = e.lsn) UNION ALL" \
                            " SELECT 'the timeline names ' || t.lsn || ', which is no episode' FROM episodes_timeline t" \
                            " WHERE NOT EXISTS(SELECT 1 FROM episodes_given e WHERE e.lsn = t.lsn) LIMIT 5")           \
    X(CHECK_GIVEN_LSN, "SELECT 'LSN ' || e.lsn || ' is used twice' FROM episodes_given e WHERE EXISTS(SELECT 1 FROM log l" \
                       " WHERE l.lsn = e.lsn) OR EXISTS(SELECT 1 FROM interactions i WHERE i.lsn = e.lsn) LIMIT 5")    \
    X(CHECK_STATES, "SELECT 'the state of episode ' || v.episode || ' is wrong' FROM episode_vectors v WHERE"           \
                    " length(v.data) % 4 <> 0 OR length(v.data) NOT BETWEEN 4 AND 4 * 4096 OR NOT EXISTS(SELECT 1 FROM" \
                    " episodes e WHERE e.interaction = v.episode) AND NOT EXISTS(SELECT 1 FROM episodes_given g WHERE"   \
                    " g.lsn = v.episode) LIMIT 5")

typedef enum record_sqlite_sql {
#define RECORD_SQLITE_SQL_ID(name, text) SQL_##name,
    RECORD_SQLITE_STATEMENTS(RECORD_SQLITE_SQL_ID)
#undef RECORD_SQLITE_SQL_ID
    SQL_COUNT
} record_sqlite_sql;

#endif
