"""The work of one hybrid answer through each engine's own Python client, on the stores that bench_engines has just filled.

    engines_peers.py clean|run ITEMS DIM QUERIES FOLDER       addresses come from BRAID_TEST_* (scripts/engines.sh env)

An answer asks Milvus for the 30 nearest of a vector, Neo4j for the genres, themes, moods, people and relations of 30 items in one query, PostgreSQL for a
person's policy row and Redis for a key; all four at once, on threads, as Braid does. Each is timed alone too. Then the first 20,000 items of FOLDER/items.ndjson
are written into a collection, labels and a table beside those of Braid, all three stores at once. One JSON line a figure, as bench_engines prints them.
"""
import concurrent.futures, itertools, json, os, random, sys, threading, time

import numpy, psycopg, redis
from neo4j import GraphDatabase
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

COMMAND, ITEMS, DIM, QUERIES, FOLDER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
WRITTEN = min(ITEMS, 20000)
BRAIDS, OURS, SCHEMA, PREFIX = "bench_media_embeddings", "bench_peer", "bench", "bench:"
ENRICH = """UNWIND $nums AS num MATCH (m:MediaContent {num: num})
RETURN num, [(m)-[:BELONGS_TO]->(g:Genre) | g.name] AS genres, [(m)-[:HAS_THEME]->(t:Theme) | t.name] AS themes,
[(m)-[:HAS_MOOD]->(d:Mood) | d.name] AS moods, [(m)-[:HAS_PERSON]->(p:Person) | p.name] AS people,
[(m)-[r]-(o:MediaContent) | [o.num, type(r), r.strength]] AS relations"""


def password(engine):
    return open(os.environ[f"BRAID_TEST_{engine}_PASSWORD_FILE"]).readline().strip()


def address(engine):
    host, port = os.environ[f"BRAID_TEST_{engine}"].rsplit(":", 1)
    return host, int(port)


def postgres():
    host, port = address("POSTGRES")
    return psycopg.connect(host=host, port=port, dbname="braid", user="braid", password=password("POSTGRES"), autocommit=True)


def milvus():
    connections.connect(host=address("MILVUS")[0], port=str(address("MILVUS")[1]))


def bolt():
    return GraphDatabase.driver("bolt://%s:%d" % address("NEO4J"), auth=("neo4j", password("NEO4J")))


def cache():
    return redis.Redis(*address("REDIS"))


def figure(name, unit, value):
    print(json.dumps({"bench": name, "items": ITEMS, "dim": DIM, unit: float("%.6g" % value)}), flush=True)


def spread(name, seconds):
    seconds.sort()
    figure(name + "_p50", "us", seconds[len(seconds) // 2] * 1e6)
    figure(name + "_p99", "us", seconds[len(seconds) * 99 // 100] * 1e6)


def cpu_seconds(pid):
    """Of a process and its children, those that ended included; 0 when it is gone."""
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, children))


def processes():
    """This one and the servers of BENCH_PIDS, by name."""
    return {"python": os.getpid(), **{name: int(pid) for name, pid in (part.split("=") for part in os.environ.get("BENCH_PIDS", "").split())}}


def timed(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def clean():
    """Forgets what an earlier run left, ours and Braid's."""
    milvus()
    for name in (BRAIDS, OURS):
        if utility.has_collection(name):
            utility.drop_collection(name)
    with postgres() as db:
        db.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        db.execute("DROP TABLE IF EXISTS bench_peer")
    with bolt() as driver, driver.session() as session:
        for label in ("MediaContent", "Genre", "Theme", "Mood", "CulturalContext", "Person", "Removed", "RemovedRelation", "PeerItem", "PeerFacet"):
            session.run(f"MATCH (n:{label}) CALL (n) {{ DETACH DELETE n }} IN TRANSACTIONS OF 5000 ROWS").consume()
    keys = cache()
    for page in iter(lambda: list(itertools.islice(keys.scan_iter(PREFIX + "*", 1000), 1000)), []):
        keys.unlink(*page)


# ---- asking ----

def ask():
    vectors = numpy.fromfile(os.path.join(FOLDER, "queries.f32"), dtype=numpy.float32).reshape(-1, DIM).tolist()[:QUERIES]
    milvus()
    collection, pg, driver, keys = Collection(BRAIDS), postgres(), bolt(), cache()
    collection.load()
    session, chance = driver.session(), random.Random(1)
    nums = [row["num"] for row in session.run("MATCH (m:MediaContent) RETURN m.num AS num")]
    people = [row[0] for row in pg.execute(f"SELECT person FROM {SCHEMA}.rl_policies").fetchall()]
    keys.set(PREFIX + "peer", b"x" * 2000)

    def near(i):
        return collection.search([vectors[i % len(vectors)]], "vector", {"metric_type": "COSINE", "params": {"ef": 64}}, limit=30, output_fields=["num"])

    def enrich(_):
        return session.run(ENRICH, nums=chance.sample(nums, 30)).values()

    def policy(_):
        return pg.execute(f"SELECT actions, means, variances, counts FROM {SCHEMA}.rl_policies WHERE person = %s", (chance.choice(people),)).fetchall()

    def key(_):
        return keys.get(PREFIX + "peer")

    parts = {"milvus_search": near, "neo4j_enrich_30": enrich, "postgres_policy": policy, "redis_get": key}
    for work in parts.values():
        for i in range(20):
            work(i)
    for name, work in parts.items():
        spread("peers_" + name, [timed(lambda: work(i)) for i in range(QUERIES)])
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        def answer(i):
            for done in [pool.submit(work, i) for work in parts.values()]:
                done.result()
        before = {name: cpu_seconds(pid) for name, pid in processes().items()}
        spread("peers_answer", [timed(lambda: answer(i)) for i in range(QUERIES)])
        for name, pid in processes().items():
            figure(f"peers_answer_cpu_{name}", "us", (cpu_seconds(pid) - before[name]) / QUERIES * 1e6)
    session.close()
    driver.close()
    pg.close()


# ---- writing ----

def read_items():
    with open(os.path.join(FOLDER, "items.ndjson")) as lines:
        return [json.loads(line)["item"] for line in itertools.islice(lines, WRITTEN)]


def batches(rows, size=1000):
    for at in range(0, len(rows), size):
        yield at, rows[at:at + size]


def write_milvus(rows):
    fields = [FieldSchema("num", DataType.INT64, is_primary=True), FieldSchema("title", DataType.VARCHAR, max_length=512), FieldSchema("year", DataType.INT32),
              FieldSchema("attributes", DataType.JSON), FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIM)]
    collection = Collection(OURS, CollectionSchema(fields))
    collection.create_index("vector", {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 200}})
    collection.load()
    for at, some in batches(rows):
        collection.upsert([list(range(at, at + len(some))), [r["title"] for r in some], [r["year"] for r in some], [r["attributes"] for r in some],
                           [r["vectors"]["default"] for r in some]])


def write_neo4j(rows):
    with bolt() as driver, driver.session() as session:
        session.run("CREATE CONSTRAINT peer_item IF NOT EXISTS FOR (n:PeerItem) REQUIRE n.id IS UNIQUE").consume()
        session.run("CREATE CONSTRAINT peer_facet IF NOT EXISTS FOR (n:PeerFacet) REQUIRE n.name IS UNIQUE").consume()
        for _, some in batches(rows):
            session.execute_write(lambda tx: tx.run(
                "UNWIND $rows AS row MERGE (m:PeerItem {id: row.id}) SET m.title = row.title, m.year = row.year "
                "WITH m, row UNWIND row.facets AS f MERGE (x:PeerFacet {name: f}) MERGE (m)-[:HAS]->(x)",
                rows=[{"id": r["id"], "title": r["title"], "year": r["year"], "facets": r["genres"] + r["themes"] + r["moods"] + r["people"]} for r in some]).consume())


def write_postgres(rows):
    with postgres() as db:
        db.execute("CREATE TABLE bench_peer (num bigint PRIMARY KEY, body jsonb NOT NULL, vector real[] NOT NULL)")
        for at, some in batches(rows):
            with db.cursor().copy("COPY bench_peer FROM STDIN") as copy:
                for i, r in enumerate(some):
                    body = {k: v for k, v in r.items() if k != "vectors"}
                    copy.write_row((at + i, json.dumps(body), r["vectors"]["default"]))


def write():
    rows, took = read_items(), {}
    parts = {"milvus": write_milvus, "neo4j": write_neo4j, "postgres": write_postgres}
    milvus()

    def one(name):
        took[name] = timed(lambda: parts[name](rows))
    threads = [threading.Thread(target=one, args=(name,)) for name in parts]
    whole = timed(lambda: ([t.start() for t in threads], [t.join() for t in threads]))
    for name, seconds in took.items():
        figure(f"peers_ingest_{name}", "items_per_s", WRITTEN / seconds)
    figure("peers_ingest_in_all_stores", "items_per_s", WRITTEN / whole)


if COMMAND == "clean":
    clean()
else:
    ask()
    write()
