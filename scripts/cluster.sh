#!/bin/sh
# Writes the settings of a Braid on the four engines that scripts/engines.sh has started, and loads the sample catalogue into them unless it
# is there. Usage: scripts/cluster.sh BRAID FILE.yaml
# Loading it again would change nothing, so an interrupted first start needs no care.
set -eu
braid=$1 file=$2
at() { printf '%s\n' "$found" | sed -n "s/^BRAID_TEST_$1=//p"; }
found=$(scripts/engines.sh env)
for engine in POSTGRES MILVUS NEO4J REDIS; do
    [ -n "$(at $engine)" ] || { echo "braid: $engine is not up; see scripts/engines.sh status" >&2; exit 1; }
done
mkdir -p "$(dirname "$file")"
cat > "$file.new" <<EOF
# Braid on four engines. What each setting means: docs/options.md; what happens when an engine fails: docs/engines.md
record: {store: postgres}
vector: {store: milvus}
graph: {store: neo4j}
cache: {store: redis}
rights: {region: CA}
query: {deadline_ms: 1000} # four servers, a browser and Braid share this machine; beside servers of their own 200 is enough
postgres: {address: "$(at POSTGRES)", user: "$(at POSTGRES_USER)", database: "$(at POSTGRES_DATABASE)/braid_cluster", password_file: "$(at POSTGRES_PASSWORD_FILE)"}
milvus: {address: "$(at MILVUS)", database: braid_cluster}
neo4j: {address: "$(at NEO4J)", user: "$(at NEO4J_USER)", password_file: "$(at NEO4J_PASSWORD_FILE)"}
redis: {address: "$(at REDIS)", database: "braid_cluster:"}
EOF
mv -f "$file.new" "$file"
if "$braid" info record --config "$file" --json 2>/dev/null | grep -q '"interactions":[[:space:]]*[1-9]'; then
    exit 0
fi
"$braid" load --config "$file" data/catalogue-*.ndjson data/relations-*.ndjson data/viewers.ndjson
"$braid" simulate --config "$file"
