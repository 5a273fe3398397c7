/* Every statement that the Neo4j graph store runs; no other file of it holds Cypher. Values are parameters. The one
 * name that must stand in the text, a relation's type, passes the whitelist (relation_type_valid) and stands in
 * backticks.
 *
 * Versions. A row of a batch is applied when its version is not below the one that is stored and is above that of a
 * removal; version 0 means that nobody keeps versions, and is always applied. The first statement of a batch decides,
 * stores the version and says which rows it applied; the later ones, in the same transaction, are about these only. It
 * also says which items are new: their memberships are created without a look whether they are there, which is half the
 * work. Nobody can add some in between, as the transaction holds the nodes that it has set properties of.
 *
 * Many writers. The feed has one at a time; should there be two, the constraints keep nodes single, and MERGE keeps
 * relationships single: before it makes one it locks both ends and looks again. Rows come in the order of their
 * numbers; transactions that wait for each other in a circle all the same are refused by the server and done again.
 * Rejected: locking all ends beforehand with a change that leaves nothing behind. Beside writers of items it made
 * deadlocks the rule where they had been the exception.
 *
 * Reading beside a writer. A statement sees what is committed at the moment it looks, not a snapshot: a node that it
 * has found may be deleted before its properties are read, and these are null then, as is the type of a relationship.
 * So what is to be told is read once and looked at; what has gone is left out, as it would have been a moment later.
 *
 * Parameters. The server keeps one plan of a statement for each size of each list among its parameters (none, 1, to 10,
 * to 100, ...), and plans anew when it meets another: 0.6 to 1.1 s each on a busy machine, again after every start. It
 * does not look into maps. So all parameters are in one map, $p, and a statement is planned once (walks of 200 and
 * 1,000 items ran in 30 to 70 ms so, and in 110 to 140 ms by lists).
 *
 * Rejected: one statement with a subquery for each kind of facet. It is as fast when it is planned, but planning took
 * the server up to 18 s, and it plans anew whenever the counts have grown. Small statements plan in milliseconds and
 * travel in one round trip all the same. Rejected as well: a row an item,
 * its names in a list. A name is looked up once a batch here, with the list of its items (a batch of 1,000 items took
 * 0.85 ms an item by rows, 0.28 to 0.4 by names). */
#include <string.h>

#include "graph/graph_neo4j.h"

#define MEMBERSHIPS "BELONGS_TO|HAS_THEME|HAS_MOOD|IN_CONTEXT|HAS_PERSON"
#define FACETS      "Genre|Theme|Mood|CulturalContext|Person"
#define ADD(label, property, type, how)                                                                                \
    "UNWIND $p.rows AS row "                                                                                           \
    "MERGE (f:" label " {" property ": row[0]}) "                                                                      \
    "WITH row, f UNWIND row[1] AS num "                                                                                \
    "MATCH (m:MediaContent {num: num}) " how " (m)-[:" type "]->(f)"
#define KIND(label, property, type)                                                                                    \
    {                                                                                                                  \
        label, property, type, {                                                                                       \
            ADD(label, property, type, "CREATE"), ADD(label, property, type, "MERGE")                                  \
        }                                                                                                              \
    }

const graph_neo4j_kind graph_neo4j_kinds[GRAPH_NEO4J_KINDS] = {
    KIND("Genre", "name", "BELONGS_TO"),  KIND("Theme", "name", "HAS_THEME"),
    KIND("Mood", "name", "HAS_MOOD"),     KIND("CulturalContext", "region", "IN_CONTEXT"),
    KIND("Person", "name", "HAS_PERSON"),
};

/* What is left of a relation r of m, or of a membership in f, that may be deleted while it is looked at. */
#define RELATION_SEEN                                                                                                  \
    "WITH r, o, type(r) AS type, o.num AS other, startNode(r) = m AS outgoing "                                        \
    "WHERE type IS NOT NULL AND other IS NOT NULL AND outgoing IS NOT NULL "
#define FACET_SEEN "type IS NOT NULL AND value IS NOT NULL "

/* A facet whose last member has left goes with it. */
#define DROP_EMPTY_FACETS "WITH DISTINCT f WHERE f IS NOT NULL AND NOT EXISTS { (f)--() } DELETE f"

/* So does a node that was nothing but the end of relations, once it has none. */
#define DROP_EMPTY_ENDS                                                                                                \
    "UNWIND [a, b] AS o WITH DISTINCT o "                                                                              \
    "WHERE o.version IS NULL AND o.embedding IS NULL AND NOT EXISTS { (o)--() } DELETE o"

const graph_neo4j_cypher graph_neo4j_statements = {
    /* ---- items ---- */
    /* An id that another number still holds (the item was removed and made anew, and the removal comes later in the
     * log) goes to the row, if the row is to be applied. */
    .release_ids = "UNWIND $p.rows AS row "
                   "MATCH (old:MediaContent {id: row[2].id}) WHERE old.num <> row[0] "
                   "OPTIONAL MATCH (gone:Removed {num: row[0]}) "
                   "OPTIONAL MATCH (m:MediaContent {num: row[0]}) "
                   "WITH row, old, gone, m WHERE row[1] = 0 OR "
                   "((gone.version IS NULL OR gone.version < row[1]) AND "
                   "(m.version IS NULL OR m.version <= row[1])) "
                   "REMOVE old.id",
    /* Which rows were applied, and whether the item was there before. */
    .put_items = "UNWIND $p.rows AS row "
                 "OPTIONAL MATCH (gone:Removed {num: row[0]}) "
                 "WITH row, gone WHERE row[1] = 0 OR gone.version IS NULL OR gone.version < row[1] "
                 "MERGE (m:MediaContent {num: row[0]}) "
                 "WITH row, m, m.version AS before WHERE row[1] = 0 OR before IS NULL OR before <= row[1] "
                 "SET m += row[2], m.version = row[1], m.updated_at = $p.now "
                 "RETURN row[0], before IS NOT NULL",
    .drop_memberships = "UNWIND $p.rows AS row "
                        "MATCH (m:MediaContent {num: row.num}) "
                        "WHERE COUNT { (m)-[:" MEMBERSHIPS "]->() } <> row.count "
                        "MATCH (m)-[r:" MEMBERSHIPS "]->(f) "
                        "WHERE NOT f:MediaContent AND NOT coalesce(f.name, f.region) IN row[type(r)] "
                        "DELETE r " DROP_EMPTY_FACETS,
    /* The removal carries the newest version that the item or one of its relations had: what comes late is not above
     * it. */
    .remember_items = "UNWIND $p.nums AS num "
                      "MATCH (m:MediaContent {num: num}) WHERE m.version > 0 "
                      "OPTIONAL MATCH (m)-[r]-(:MediaContent) "
                      "WITH m, max(r.version) AS newest "
                      "MERGE (gone:Removed {num: m.num}) "
                      "SET gone.at = $p.now, "
                      "gone.version = CASE WHEN newest > m.version THEN newest ELSE m.version END",
    .remove_memberships = "UNWIND $p.nums AS num "
                          "MATCH (m:MediaContent {num: num})-[r:" MEMBERSHIPS "]->(f) WHERE NOT f:MediaContent "
                          "DELETE r " DROP_EMPTY_FACETS,
    .remove_relations_of = "UNWIND $p.nums AS num "
                           "MATCH (a:MediaContent {num: num})-[r]-(b:MediaContent) "
                           "DELETE r WITH DISTINCT b AS o "
                           "WHERE o.version IS NULL AND o.embedding IS NULL AND NOT EXISTS { (o)--() } DELETE o",
    .remove_items = "UNWIND $p.nums AS num "
                    "MATCH (m:MediaContent {num: num}) "
                    "WITH m, m.embedding IS NULL AS bare "
                    "FOREACH (x IN CASE WHEN bare THEN [m] ELSE [] END | DELETE x) "
                    "FOREACH (x IN CASE WHEN bare THEN [] ELSE [m] END | REMOVE x.id, x.title, x.kind, "
                    "x.language, x.year, x.version, x.updated_at)",
    .forget_items = "MATCH (gone:Removed) WHERE gone.at < $p.before WITH gone LIMIT 1000 DELETE gone",
    .forget_relations = "MATCH (gone:RemovedRelation) WHERE gone.at < $p.before WITH gone LIMIT 1000 DELETE gone",

    /* ---- relations ---- */
    .remember_relations = "UNWIND $p.rows AS row "
                          "WITH row WHERE row[2] > 0 "
                          "MERGE (gone:RemovedRelation {from: row[0], to: row[1], type: row[3]}) "
                          "SET gone.at = $p.now, "
                          "gone.version = CASE WHEN gone.version > row[2] THEN gone.version ELSE row[2] END",

    /* ---- walking ---- */
    .relations_of = "UNWIND $p.nums AS num "
                    "MATCH (m:MediaContent {num: num}) "
                    "RETURN num, COLLECT { MATCH (m)-[r]-(o:MediaContent) " RELATION_SEEN
                    "RETURN [other, type, r.strength, outgoing] LIMIT $p.most }",
    .facets_of = "UNWIND $p.nums AS num "
                 "MATCH (m:MediaContent {num: num})-[r:" MEMBERSHIPS "]->(f) WHERE NOT f:MediaContent "
                 "WITH f, type(r) AS type, collect(num) AS nums, COUNT { (f)<--() } AS degree, "
                 "coalesce(f.name, f.region) AS value "
                 "WHERE degree <= $p.hub_max AND " FACET_SEEN "RETURN id(f), type, value, degree, nums",
    .members_of = "UNWIND $p.ids AS id "
                  "MATCH (f) WHERE id(f) = id "
                  "RETURN id, COLLECT { MATCH (f)<--(m:MediaContent) WITH m.num AS num WHERE num IS NOT NULL "
                  "RETURN num LIMIT $p.most }",

    /* ---- evidence ---- */
    .shared_facets = "UNWIND $p.nums AS num "
                     "MATCH (m:MediaContent {num: num})-[r:" MEMBERSHIPS "]->(f) WHERE NOT f:MediaContent "
                     "WITH f, type(r) AS type, collect(num) AS nums WHERE size(nums) > 1 "
                     "WITH f, type, nums, coalesce(f.name, f.region) AS value WHERE " FACET_SEEN
                     "RETURN type, value, COUNT { (f)<--() }, nums",
    .shared_relations = "UNWIND $p.pairs AS pair "
                        "MATCH (a:MediaContent {num: pair[1]}) MATCH (b:MediaContent {num: pair[2]}) "
                        "MATCH (a)-[r]-(b) "
                        "WITH pair[0] AS at, r, b, type(r) AS type, startNode(r) = a AS outgoing "
                        "WHERE type IS NOT NULL AND outgoing IS NOT NULL "
                        "RETURN at, type, r.strength, outgoing, COUNT { (b)--() }",
    .enrich = "UNWIND $p.rows AS row "
              "MATCH (m:MediaContent {num: row[1]}) "
              "WHERE m.version IS NOT NULL OR EXISTS { (m)--() } "
              "RETURN row[0], "
              "COLLECT { MATCH (m)-[r]-(o:MediaContent) " RELATION_SEEN
              "RETURN [other, type, coalesce(r.strength, 0.0), outgoing, COUNT { (o)--() }] AS one ORDER BY one }, "
              "COLLECT { MATCH (m)-[r:" MEMBERSHIPS "]->(f) WHERE NOT f:MediaContent "
              "WITH f, type(r) AS type, coalesce(f.name, f.region) AS value WHERE " FACET_SEEN
              "RETURN [type, value, COUNT { (f)<--() }] AS one ORDER BY one }",

    /* ---- everything ---- */
    .scan = "MATCH (m:MediaContent) WHERE m.num > $p.after "
            "WITH m ORDER BY m.num LIMIT $p.most "
            "RETURN m.num, m.version, COUNT { (m)-[:" MEMBERSHIPS "]->(f) WHERE NOT f:MediaContent }, "
            "CASE WHEN $p.edges THEN COLLECT { MATCH (m)-[r]->(o:MediaContent) "
            "WITH r, type(r) AS type, o.num AS other WHERE type IS NOT NULL AND other IS NOT NULL "
            "RETURN [other, type, r.strength, r.version] } ELSE [] END",
    /* All but the first come from the server's own counters. */
    .info = "MATCH (m:MediaContent) WHERE m.version IS NOT NULL RETURN count(m) "
            "UNION ALL MATCH (f:Genre) RETURN count(f) AS `count(m)` "
            "UNION ALL MATCH (f:Theme) RETURN count(f) AS `count(m)` "
            "UNION ALL MATCH (f:Mood) RETURN count(f) AS `count(m)` "
            "UNION ALL MATCH (f:CulturalContext) RETURN count(f) AS `count(m)` "
            "UNION ALL MATCH (f:Person) RETURN count(f) AS `count(m)` "
            "UNION ALL MATCH ()-[r]->(:MediaContent) RETURN count(r) AS `count(m)` "
            "UNION ALL MATCH (:MediaContent)-[r]->() RETURN count(r) AS `count(m)`",
    .constraints = "SHOW CONSTRAINTS YIELD type, labelsOrTypes, properties "
                   "WHERE type IN ['UNIQUENESS', 'NODE_PROPERTY_UNIQUENESS', 'NODE_KEY'] "
                   "RETURN labelsOrTypes[0], "
                   "reduce(all = '', p IN properties | all + CASE WHEN all = '' THEN '' ELSE ',' END + p)",
    .clear =
        {
            "MATCH (f:" FACETS ") WITH f LIMIT $most DETACH DELETE f RETURN count(*)",
            "MATCH (:MediaContent)-[r]->(:MediaContent) WITH r LIMIT $most DELETE r RETURN count(*)",
            "MATCH (m:MediaContent) WHERE m.embedding IS NULL WITH m LIMIT $most DETACH DELETE m RETURN count(*)",
            "MATCH (m:MediaContent) WHERE m.version IS NOT NULL WITH m LIMIT $most "
            "REMOVE m.id, m.title, m.kind, m.language, m.year, m.version, m.updated_at RETURN count(*)",
            "MATCH (gone:Removed) WHERE gone.version IS NOT NULL WITH gone LIMIT $most REMOVE gone.version "
            "FOREACH (x IN CASE WHEN gone.embedding_version IS NULL THEN [gone] ELSE [] END | DELETE x) "
            "RETURN count(*)",
            "MATCH (gone:RemovedRelation) WITH gone LIMIT $most DELETE gone RETURN count(*)",
        },
    .check =
        {
            "MATCH (m:MediaContent) WHERE m.num IS NULL "
            "WITH count(m) AS c WHERE c > 0 RETURN 'nodes without a number: ' + c",
            "MATCH (m:MediaContent)-[r]->(o) WITH m, o, type(r) AS type, count(*) AS c WHERE c > 1 "
            "RETURN 'item ' + m.num + ' has ' + c + ' relationships ' + type + ' to ' + "
            "coalesce(toString(o.num), o.name, o.region, '?') LIMIT $p.most",
            "MATCH (m:MediaContent)-[:" MEMBERSHIPS "]->(f) WHERE m.version IS NULL AND NOT f:MediaContent "
            "RETURN DISTINCT 'item ' + m.num + ' is not known and yet has facets' LIMIT $p.most",
            "MATCH (f:" FACETS ") WHERE NOT EXISTS { (f)--() } "
            "RETURN 'nobody belongs to the facet ' + coalesce(f.name, f.region, '?') LIMIT $p.most",
            "MATCH (:MediaContent)-[r]->(o:MediaContent) "
            "WHERE NOT coalesce(0 <= r.strength <= 1, false) "
            "RETURN 'the relation ' + type(r) + ' to item ' + coalesce(toString(o.num), '?') + "
            "' has no strength of 0..1' "
            "LIMIT $p.most",
        },
};

/* ---- the schema, in the words of cypher/ ---- */

#define UNIQUE(name, variable, label, property, list)                                                                  \
    {                                                                                                                  \
        "CREATE CONSTRAINT " name " IF NOT EXISTS FOR (" variable ":" label ") REQUIRE " property " IS UNIQUE", label, \
            list                                                                                                       \
    }

const graph_neo4j_rule *graph_neo4j_schema(size_t i) {
    static const graph_neo4j_rule rules[] = {
        UNIQUE("braid_media_num", "m", "MediaContent", "m.num", "num"),
        UNIQUE("braid_media_id", "m", "MediaContent", "m.id", "id"),
        UNIQUE("braid_genre_name", "f", "Genre", "f.name", "name"),
        UNIQUE("braid_theme_name", "f", "Theme", "f.name", "name"),
        UNIQUE("braid_mood_name", "f", "Mood", "f.name", "name"),
        UNIQUE("braid_context_region", "f", "CulturalContext", "f.region", "region"),
        UNIQUE("braid_person_name", "f", "Person", "f.name", "name"),
        UNIQUE("braid_removed_num", "t", "Removed", "t.num", "num"),
        UNIQUE("braid_removed_relation", "t", "RemovedRelation", "(t.from, t.to, t.type)", "from,to,type"),
        {"CREATE INDEX braid_removed_at IF NOT EXISTS FOR (t:Removed) ON (t.at)", NULL, NULL},
        {"CREATE INDEX braid_removed_relation_at IF NOT EXISTS FOR (t:RemovedRelation) ON (t.at)", NULL, NULL},
    };
    return i < sizeof rules / sizeof rules[0] ? &rules[i] : NULL;
}

/* ---- names in the text ---- */

/* Nobody's relation comes back after its removal, nor after that of one of its ends. */
bool graph_neo4j_put_relations_text(const char *type, buf *out) {
    return relation_type_valid(type) &&
           buf_printf(out,
                      "UNWIND $p.rows AS row "
                      "OPTIONAL MATCH (gone:RemovedRelation {from: row[0], to: row[1], type: $p.type}) "
                      "OPTIONAL MATCH (from:Removed {num: row[0]}) "
                      "OPTIONAL MATCH (to:Removed {num: row[1]}) "
                      "WITH row WHERE row[3] = 0 OR (coalesce(gone.version, 0) < row[3] AND "
                      "coalesce(from.version, 0) < row[3] AND coalesce(to.version, 0) < row[3]) "
                      "MERGE (a:MediaContent {num: row[0]}) "
                      "MERGE (b:MediaContent {num: row[1]}) "
                      "MERGE (a)-[r:`%s`]->(b) "
                      "WITH row, r WHERE row[3] = 0 OR r.version IS NULL OR r.version <= row[3] "
                      "SET r.strength = row[2], r.version = row[3]",
                      type);
}

bool graph_neo4j_remove_relations_text(const char *type, buf *out) {
    return relation_type_valid(type) &&
           buf_printf(out,
                      "UNWIND $p.rows AS row "
                      "MATCH (a:MediaContent {num: row[0]}) MATCH (b:MediaContent {num: row[1]}) "
                      "MATCH (a)-[r:`%s`]->(b) "
                      "WHERE row[2] = 0 OR r.version IS NULL OR r.version <= row[2] "
                      "DELETE r WITH a, b " DROP_EMPTY_ENDS,
                      type);
}

graph_node_kind graph_neo4j_kind_of(ps_text type) {
    for (int i = 0; i < GRAPH_NEO4J_KINDS; i++)
        if (ps_text_is(type, graph_neo4j_kinds[i].type)) return (graph_node_kind)(GRAPH_GENRE + i);
    return GRAPH_ITEM;
}
