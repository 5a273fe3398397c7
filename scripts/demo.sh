#!/bin/sh
# Loads the sample catalogue and its simulated viewers into FILE unless it is there. Usage: scripts/demo.sh BRAID FILE
# The file appears under its name only when it is complete, so an interrupted first start leaves nothing half-made.
set -eu
braid=$1 file=$2
[ -f "$file" ] && exit 0
mkdir -p "$(dirname "$file")"
new="$file.new"
rm -f "$new" "$new"-*
"$braid" load --db "$new" data/catalogue-*.ndjson data/relations-*.ndjson data/viewers.ndjson
"$braid" simulate --db "$new"
"$braid" learn --db "$new"
mv -f "$new-hnsw" "$file-hnsw" 2>/dev/null || true
rm -f "$new-lock"
mv -f "$new" "$file"
