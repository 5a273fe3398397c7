/* Every statement that the Neo4j vector store runs; no other file of it holds Cypher. All values are parameters, the
 * index's name too.
 *
 * Vectors are written by the server's own procedure, which keeps them in single precision: half the space, and what is
 * read back is what was written. Scores come as (1 + cosine) / 2; the search turns them back.
 *
 * Parameters of statements with lists lie in one map, $p: graph/graph_neo4j_cypher.c says why.
 *
 * A statement sees what is committed at the moment it looks: of a node that is deleted meanwhile the properties are
 * null. So a vector is read once, looked at, and left out when it has gone. */
#include "vector/vector_neo4j.h"

#define IF_BARE "m.version IS NULL AND NOT EXISTS { (m)--() }"

const vector_neo4j_cypher vector_neo4j_statements = {
    /* A row is applied when its version is not below the stored one and above that of a removal, be it of the vector or
     * of the whole item; version 0 means that nobody keeps versions. */
    .upsert = "UNWIND $p.rows AS row "
              "OPTIONAL MATCH (gone:Removed {num: row[0]}) "
              "WITH row, gone WHERE row[1] = 0 OR "
              "(coalesce(gone.version, 0) < row[1] AND coalesce(gone.embedding_version, 0) < row[1]) "
              "MERGE (m:MediaContent {num: row[0]}) "
              "WITH row, m WHERE row[1] = 0 OR m.embedding_version IS NULL OR m.embedding_version <= row[1] "
              "SET m.embedding_version = row[1] "
              "WITH row, m CALL db.create.setNodeVectorProperty(m, 'embedding', row[2])",
    .remember = "UNWIND $p.nums AS num "
                "MATCH (m:MediaContent {num: num}) WHERE m.embedding_version > 0 "
                "MERGE (gone:Removed {num: num}) SET gone.at = $p.now, gone.embedding_version = m.embedding_version",
    .remove = "UNWIND $p.nums AS num "
              "MATCH (m:MediaContent {num: num}) WHERE m.embedding IS NOT NULL "
              "WITH m, " IF_BARE " AS bare "
              "REMOVE m.embedding, m.embedding_version "
              "FOREACH (x IN CASE WHEN bare THEN [m] ELSE [] END | DELETE x)",
    .forget = "MATCH (gone:Removed) WHERE gone.at < $p.before WITH gone LIMIT 1000 DELETE gone",

    .fetch = "MATCH (m:MediaContent {num: $num}) WITH m.embedding AS v WHERE v IS NOT NULL RETURN v",
    .fetch_many = "UNWIND $p.nums AS num "
                  "MATCH (m:MediaContent {num: num}) WITH num, m.embedding AS v WHERE v IS NOT NULL RETURN num, v",
    .score = "UNWIND $p.nums AS num "
             "MATCH (m:MediaContent {num: num}) WITH num, m.embedding AS v WHERE v IS NOT NULL "
             "RETURN num, vector.similarity.cosine(v, $p.vector)",
    .scan = "MATCH (m:MediaContent) WHERE m.num > $after "
            "WITH m, m.num AS num, m.embedding AS v ORDER BY num WHERE v IS NOT NULL "
            "RETURN num, m.embedding_version, v LIMIT $most",

    .walk = "CALL db.index.vector.queryNodes($index, $most, $vector) YIELD node, score "
            "WITH node.num AS num, score WHERE num IS NOT NULL RETURN num, score",
    .nearest_of = "UNWIND $p.nums AS num "
                  "MATCH (m:MediaContent {num: num}) WITH num, m.embedding AS v WHERE v IS NOT NULL "
                  "WITH num, vector.similarity.cosine(v, $p.vector) AS score "
                  "RETURN num, score ORDER BY score DESC, num LIMIT $p.most",
    .nearest_of_all =
        "MATCH (m:MediaContent) WITH m.num AS num, m.embedding AS v WHERE num IS NOT NULL AND v IS NOT NULL "
        "WITH num, vector.similarity.cosine(v, $vector) AS score "
        "RETURN num, score ORDER BY score DESC, num LIMIT $most",
    .total = "MATCH (m:MediaContent) RETURN count(m)", /* from the server's own counters */

    .count = "MATCH (m:MediaContent) WHERE m.embedding IS NOT NULL RETURN count(m)",
    .check = "MATCH (m:MediaContent) WHERE m.embedding IS NOT NULL "
             "WITH m, size(m.embedding) <> $dim AS wrong, m.embedding_version IS NULL AS unversioned, "
             "abs(reduce(sum = 0.0, x IN m.embedding | sum + x * x) - 1.0) > 0.001 AS long "
             "RETURN count(m), sum(CASE WHEN wrong OR unversioned OR long THEN 1 ELSE 0 END), "
             "min(CASE WHEN wrong OR unversioned OR long THEN m.num END)",
    .clear = "MATCH (m:MediaContent) WHERE m.embedding IS NOT NULL WITH m LIMIT $most "
             "WITH m, " IF_BARE " AS bare "
             "REMOVE m.embedding, m.embedding_version "
             "FOREACH (x IN CASE WHEN bare THEN [m] ELSE [] END | DELETE x) "
             "RETURN count(*)",
    .clear_removed = "MATCH (gone:Removed) WHERE gone.embedding_version IS NOT NULL WITH gone LIMIT $most "
                     "WITH gone, gone.version IS NULL AS bare REMOVE gone.embedding_version "
                     "FOREACH (x IN CASE WHEN bare THEN [gone] ELSE [] END | DELETE x) RETURN count(*)",

    .constraints = "SHOW CONSTRAINTS YIELD type, labelsOrTypes, properties "
                   "WHERE type IN ['UNIQUENESS', 'NODE_PROPERTY_UNIQUENESS', 'NODE_KEY'] "
                   "AND labelsOrTypes IN [['MediaContent'], ['Removed']] AND properties = ['num'] "
                   "RETURN count(*)",
    .indexes = "SHOW VECTOR INDEXES YIELD name, labelsOrTypes, properties, options "
               "WHERE labelsOrTypes = ['MediaContent'] AND properties = ['embedding'] "
               "RETURN name, options.indexConfig['vector.dimensions'], "
               "options.indexConfig['vector.similarity_function']",
    /* In the words of cypher/003_vector_index.cypher. */
    .create_constraints =
        {
            "CREATE CONSTRAINT braid_media_num IF NOT EXISTS FOR (m:MediaContent) REQUIRE m.num IS UNIQUE",
            "CREATE CONSTRAINT braid_removed_num IF NOT EXISTS FOR (t:Removed) REQUIRE t.num IS UNIQUE",
        },
    .create_index = "CREATE VECTOR INDEX " VECTOR_NEO4J_INDEX " IF NOT EXISTS FOR (m:MediaContent) ON (m.embedding) "
                    "OPTIONS $options",
    .drop_index = "DROP INDEX " VECTOR_NEO4J_INDEX " IF EXISTS",
    .await_index = "CALL db.awaitIndex($index, $seconds)",
};
