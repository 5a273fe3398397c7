"""Makes the tables of docs/engines.md, "Measured", from bench/results/engines/*.ndjson (bench/engines.sh writes them).

    engines_table.py [--check]      --check: changes nothing, exit 1 when the page is not what the results say
"""
import glob, json, os, re, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "engines.md")
BEGIN, END = "<!-- made by bench/engines_table.py -->", "<!-- end -->"

ASKED = [("search by a vector, new questions", "engines_search_cold"), ("the same within 10 % of the items", "engines_search_filter_10_percent_cold"),
         ("recommend, new questions", "engines_recommend_cold"), ("recommend, asked before", "engines_recommend_warm")]
SHARES = [("Milvus: search and scores", "engines_recommend_cold_share_vector"), ("of it: scores of what the graph brought", "engines_recommend_cold_share_enrich_vector"),
          ("Neo4j: walk", "engines_recommend_cold_share_graph"), ("Neo4j: evidence, and the sentences", "engines_recommend_cold_share_explain"),
          ("policy (PostgreSQL, Redis)", "engines_recommend_cold_share_policy")]
PEERS = [("all four at once, on threads", "peers_answer"), ("pymilvus: 30 nearest", "peers_milvus_search"), ("neo4j: 30 items", "peers_neo4j_enrich_30"),
         ("psycopg: a policy row", "peers_postgres_policy"), ("redis-py: GET", "peers_redis_get")]


def read(path):
    lines = [json.loads(line) for line in open(path)]
    return lines[0], {d["bench"]: next(v for k, v in d.items() if k not in ("bench", "items", "dim")) for d in lines[1:]}


def ms(figures, name):
    return " / ".join("%.2f" % (figures[f"{name}_{q}"] / 1e3) if f"{name}_{q}" in figures else "-" for q in ("p50", "p99"))


def table(path):
    about, f = read(path)
    items, dim = os.path.basename(path).split(".")[0].split("x")
    rate = lambda name: "%s" % format(round(f[name]), ",") if name in f else "-"
    cpu = lambda name: ", ".join("%s %.2f" % (s, f[f"{name}_cpu_{s}"] / 1e3) for s in ("braid", "milvus", "neo4j", "postgres", "redis") if f"{name}_cpu_{s}" in f)
    out = [f"{int(items):,} items x {dim}, {about['date']}, {about['cpu'].strip()}, {about['cores']} cores, load {about['load_before']} before. Milliseconds, p50 / p99.", "",
           "| | Braid | | through the Python clients |", "|---|---|---|---|"]
    left, right = [(n, ms(f, k)) for n, k in ASKED + SHARES], [(n, ms(f, k)) for n, k in PEERS]
    for i in range(max(len(left), len(right))):
        a, b = left[i] if i < len(left) else ("", ""), right[i] if i < len(right) else ("", "")
        out.append(f"| {a[0]} | {a[1]} | {b[0]} | {b[1]} |")
    return out + ["", f"Loading, items a second into all four: {rate('engines_ingest_in_all_stores')} (acknowledged at {rate('engines_ingest_acknowledged')}); Python clients, three stores at "
                  f"once: {rate('peers_ingest_in_all_stores')}. Processor time an item (ms): {cpu('engines_ingest')}; a new recommendation: {cpu('engines_recommend_cold')}.", ""]


def main():
    page = open(PAGE).read()
    paths = [p for p in glob.glob(os.path.join(ROOT, "bench/results/engines/*x*.ndjson"))]
    made = [line for p in sorted(paths, key=lambda p: int(os.path.basename(p).split("x")[0])) for line in table(p)]
    made = made or ["No run on a quiet machine is kept yet."]
    wanted = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: "\n".join([BEGIN, *made, END]), page, flags=re.S)
    if "--check" in sys.argv:
        sys.exit(wanted != page)
    open(PAGE, "w").write(wanted)


main()
