#!/bin/sh
# Measures everything that the documents quote and keeps it in bench/results/: one JSON line a figure. Usage: bench/run.sh [quick]
#   quick leaves out the 100,000-item runs. The machine should be idle; figures of a busy one are worth nothing.
set -eu
cd "$(dirname "$0")/.."
out=bench/results
mkdir -p "$out"
make --no-print-directory -j"$(nproc)" build/release/braid build/release/bench/bench_engine build/release/bench/bench_record build/release/bench/bench_episodes build/release/bench/bench_policy \
    build/release/bench/bench_vector build/release/bench/bench_drift build/release/bench/bench_scale
{
    echo "cpu: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores"
    echo "kernel: $(uname -r)"
    echo "date: $(date -u +%Y-%m-%d)"
    echo "version: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
} > "$out/machine.txt"
sizes="400x384 400x768 10000x384 10000x768"
[ "${1:-}" = quick ] || sizes="$sizes 100000x384 100000x768"
for size in $sizes; do
    echo "engine $size"
    build/release/bench/bench_engine "${size%x*}" "${size#*x}" 2000 | tee "$out/engine-$size.ndjson"
done
echo "record"
build/release/bench/bench_record build/bench/record.db | tee "$out/record.txt"
build/release/bench/bench_episodes build/bench/episodes.db 3 | tee "$out/episodes.txt"
build/release/bench/bench_policy build/bench/policy.db | tee "$out/policy.txt"
echo "vector"
build/release/bench/bench_vector 20000 384 | tee "$out/vector-20000x384.txt"
echo "drift"
build/release/bench/bench_drift 100000 1 build/bench | tee "$out/drift.ndjson"
bench/drift_table.py "$out/drift.ndjson"
echo "scale"
build/release/bench/bench_scale 20000 5000 400000 100000 | tee "$out/scale.ndjson"
