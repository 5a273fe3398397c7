#!/usr/bin/env bash
# Measures Braid over all four engines, and next to it the same work through each engine's own Python client. Keeps bench/results/engines/*.ndjson
# and makes the tables of docs/engines.md from them (bench/engines_table.py).
#   bench/engines.sh [ITEMSxDIM...]      default: 10000x768 100000x768
# The engines are a set of their own (build/engines_bench, ports from 31379), started here and stopped at the end unless they ran before.
# The machine should be idle; the first line of each result says how busy it was. Nobody needs to watch: the engines are measured for PART_SECONDS
# at the most, and so are their clients; what a part has printed by then is kept, and the table leaves out the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
export BRAID_ENGINES_DIR=${BRAID_ENGINES_DIR:-build/engines_bench} BRAID_ENGINES_MILVUS_PORT=${BRAID_ENGINES_MILVUS_PORT:-31530}
export BRAID_ENGINES_NEO4J_PORT=${BRAID_ENGINES_NEO4J_PORT:-31687} BRAID_ENGINES_POSTGRES_PORT=${BRAID_ENGINES_POSTGRES_PORT:-31432}
export BRAID_ENGINES_REDIS_PORT=${BRAID_ENGINES_REDIS_PORT:-31379}
engines=(milvus neo4j postgres redis)
out=bench/results/engines work=build/bench/engines build=${BUILD:-build} queries=${QUERIES:-500} seconds=${PART_SECONDS:-900}
peers=build/bench/peers python=build/bench/peers/bin/python

mkdir -p "$out" "$work"
pids() { for e in "${engines[@]}"; do printf '%s=%s ' "$e" "$(cut -d' ' -f1 "$BRAID_ENGINES_DIR/$e/pid")"; done; }
within() { timeout "$seconds" "$@" || echo "bench/engines.sh: ${1##*/} did not end well within $seconds s" >&2; }
ran=1
scripts/engines.sh status "${engines[@]}" >/dev/null || ran=0
scripts/engines.sh up "${engines[@]}"
[ $ran = 1 ] || trap 'scripts/engines.sh down "${engines[@]}"' EXIT
# shellcheck disable=SC2046
export $(scripts/engines.sh env "${engines[@]}")
if [ ! -e "$peers/complete" ]; then
    rm -rf "$peers" && python3 -m venv "$peers"
    "$python" -m pip install -q --disable-pip-version-check 'setuptools<70' pymilvus==2.3.7 'marshmallow<3.20' 'environs<10' neo4j==5.26.0 \
        'psycopg[binary]==3.2.*' 'redis==5.*'
    touch "$peers/complete"
fi
make --no-print-directory -j"$(nproc)" BUILD="$build" "$build/release/bench/bench_engines" "$build/release/bench/bench_cache" \
    "$build/release/bench/bench_episodes" "$build/release/bench/bench_policy"

BENCH_PIDS=$(pids)
export BENCH_PIDS

cat >"$work/braid.yaml" <<YAML
record:
  store: postgres
vector:
  store: milvus
graph:
  store: neo4j
cache:
  store: redis
  result_ttl_ms: 3600000
postgres:
  address: $BRAID_TEST_POSTGRES
  database: braid/bench
  password_file: $BRAID_TEST_POSTGRES_PASSWORD_FILE
milvus:
  address: $BRAID_TEST_MILVUS
  database: bench
neo4j:
  address: $BRAID_TEST_NEO4J
  password_file: $BRAID_TEST_NEO4J_PASSWORD_FILE
  timeout_ms: 60000
redis:
  address: $BRAID_TEST_REDIS
  database: "bench:"
log:
  level: warn
YAML

[ $# -gt 0 ] || set -- 10000x768 100000x768
for size in "$@"; do
    items=${size%x*} dim=${size#*x} result=$work/result.ndjson
    echo "engines $size"
    "$python" bench/engines_peers.py clean "$items" "$dim" "$queries" "$work"
    {
        printf '{"date":"%s","cpu":"%s","cores":%s,"load_before":%s,"version":"%s"}\n' "$(date -u +%F)" \
            "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)" "$(git rev-parse --short HEAD)"
        within "$build/release/bench/bench_engines" "$work/braid.yaml" "$items" "$dim" "$queries" "$work"
        within "$python" bench/engines_peers.py run "$items" "$dim" "$queries" "$work"
    } | tee "$result"
    mv "$result" "$out/$size.ndjson"
done

echo "cache"
within "$build/release/bench/bench_cache" "$BRAID_TEST_REDIS" | tee "$out/cache.ndjson"

python3 bench/engines_table.py

echo "episodes, policies"
within "$build/release/bench/bench_episodes" postgres 3 | tee "$out/episodes.txt"
{
    within "$build/release/bench/bench_policy" postgres
    within "$build/release/bench/bench_policy" redis "$work/policy.db"
} | tee "$out/policy.txt"
