#!/usr/bin/env python3
"""Writes what bench_drift measured into docs/quality.md, between <!-- drift --> and <!-- /drift -->.

Usage: bench/drift_table.py bench/results/drift.ndjson
"""
import json
import re
import sys

PAGE = "docs/quality.md"


def table(lines):
    last, first = {}, {}
    for line in lines:
        row = json.loads(line)
        first.setdefault(row["picker"], row)
        last[row["picker"]] = row
    early = min(row["interactions"] for row in first.values())
    out = [f"| who picks | regret, all | a list | 95 % | a list, first {early:,} | liked |", "|---|---|---|---|---|---|"]
    for name, row in sorted(last.items(), key=lambda pair: pair[1]["regret"]):
        out.append(f"| {name} | {row['regret']:,.0f} | {row['each']:.4f} | ± {row['within']:.4f} | {first[name]['each']:.4f} | {row['liked']:.3f} |")
    total = {row["interactions"] for row in last.values()}
    assert len(total) == 1, "the rehearsals are of different lengths"
    return [f"{total.pop():,} interactions each:", ""] + out


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        new = "\n".join(table(lines))
    with open(PAGE, encoding="utf-8") as page:
        text = page.read()
    marked = re.compile(r"(?s)(<!-- drift -->\n).*?(\n<!-- /drift -->)")
    assert marked.search(text), f"{PAGE} has no place for it"
    with open(PAGE, "w", encoding="utf-8") as page:
        page.write(marked.sub(lambda m: m[1] + new + m[2], text))


if __name__ == "__main__":
    main()
