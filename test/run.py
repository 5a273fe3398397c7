#!/usr/bin/env python3
"""Runs every test and prints one summary.

A suite is a command with a time limit, which ends what hangs and is far from what a busy machine needs, and a way to count: cmocka programs are
counted by their own lines, scripts by their closing line "N passed, N failed". A program that dies counts as one failure with its last lines shown. Usage: test/run.py [--only WORD] [--list]

A suite that fails is run once more, alone, and both runs are told: what fails beside others and not alone is counted as unsteady, not as failed. What a
sanitizer reports is never run again; it has been seen.

The suites that need the real engines (Milvus, Neo4j, PostgreSQL, Redis) run last, one by one, on those that scripts/engines.sh starts; where they
cannot be installed that is said, and these suites are left out. BRAID_TEST_ENGINES=no leaves them out at once, =must makes it a failure. None of them
is begun later than BRAID_TEST_MINUTES (35) after the start, so that a slow machine ends in time; those that were not are counted as skipped.
"""
import argparse, concurrent.futures, glob, os, re, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("BUILD", "build")
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:allocator_may_return_null=1", UBSAN_OPTIONS="print_stacktrace=1",
           TSAN_OPTIONS=f"halt_on_error=1:second_deadlock_stack=1:suppressions={ROOT}/test/tsan.supp", BRAID_TEST_DATA=os.path.join(ROOT, "data"))


def sh(command, limit):
    """Exit code, output and seconds; 124 when the limit passed. The whole process group is ended with it."""
    begun = time.monotonic()
    p = subprocess.Popen(command, cwd=ROOT, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=limit)
        code = p.returncode
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, 9)
        out, _ = p.communicate()
        code = 124
    return code, out.decode("utf-8", "replace"), time.monotonic() - begun


def count(code, out):
    """(passed, failed, skipped) from what a suite printed."""
    scripts = re.findall(r"(?m)^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", out)
    if scripts:
        passed, failed, skipped = (int(x or 0) for x in scripts[-1])
    else:
        passed = len(re.findall(r"(?m)^\[\s+OK \]", out))
        failed = len(set(re.findall(r"(?m)^\[\s*FAILED\s*\]\s*(\S+)", out)) - {"TESTS"})
        skipped = len(set(re.findall(r"(?m)^\[\s*SKIPPED\s*\]\s*(\S+)", out)) - {"TESTS"})
    if code != 0 and failed == 0:
        failed = 1
    if code == 0 and passed + failed + skipped == 0:
        failed = 1  # a suite that ran nothing is a defect
    return passed, failed, skipped


def programs(mode):
    for source in sorted(glob.glob(os.path.join(ROOT, "test/unit/*.c")) + glob.glob(os.path.join(ROOT, "test/contract_*.c"))):
        name = os.path.relpath(source, ROOT)[:-2]
        yield f"{mode} {name[5:]}", [os.path.join(ROOT, BUILD, mode, name)], 1200


def scripts():
    """Suites that are scripts, where they exist: (name, command, seconds)."""
    braid = os.path.join(ROOT, BUILD, "release", "braid")
    rows = [
        ("data catalogue", ["python3", "test/data.py"], 60),
        ("tidy architecture", ["python3", "test/tidy.py", braid], 60),
        ("http conformance", ["python3", "test/http_api.py", braid], 240),
        ("http slow clients", ["python3", "test/fault/slow.py", braid], 240),
        ("cli commands", ["python3", "test/cli.py", braid], 300),
        ("eval protocols", ["python3", "test/eval.py", braid], 300),
        ("example hello.c", ["python3", "test/install.py"], 240),
        ("example bolt.c", ["python3", "test/bolt_library.py"], 240),
        ("fault kill -9", ["python3", "test/fault/kill9.py", "--rounds", os.environ.get("KILL9_ROUNDS", "40")], 400),
        ("fault system calls", ["python3", "test/fault/syscalls.py"], 400),
        ("fuzz smoke", ["python3", "test/fuzz/run.py", "--seconds", "4"], 400),
        ("browser page", ["python3", "test/browser/run.py", braid], 300),
    ]
    for name, command, limit in rows:
        if os.path.exists(os.path.join(ROOT, command[1])):
            yield name, command, 3 * limit


# On the engines: every suite in release, and with a sanitizer those whose own code talks to a server.
ENGINE_PROGRAMS = {
    "release": r"contract_\w+|unit/(graph_neo4j|vector_(neo4j|milvus|pgvector)\w*|cache_redis\w*|record_postgres\w*|wire_(bolt_client|grpc|pg\w*)|engine_cache|policy_rows\w*)",
    "asan": r"contract_(record\w*|cache|graph)|unit/(graph_neo4j|vector_neo4j|cache_redis|record_postgres(_neighbours)?|wire_pg\w*|wire_bolt_client)",
    "tsan": r"contract_(record\w*|cache)",
}
MIXES = ("remote", "milvus", "postgres", "neo4j")
# Where each of the engine's suites runs: everywhere, or where the stores make a difference to it. What is learned lies in the records, and Milvus,
# which shows a write after seconds, is in "remote" already.
MIX_PROGRAMS = {"answers": MIXES, "learning": MIXES, "rights": MIXES, "verify": MIXES, "injection": MIXES, "models": ("remote", "postgres"),
                "threads": ("remote", "postgres", "neo4j"), "cache": ("remote", "postgres", "neo4j"), "rules": ("remote", "postgres"),
                "episodes": ("postgres",), "queue": ("postgres",), "policies": ("postgres",), "patterns": ("postgres",)}


def engine_suites():
    """(name, command, seconds) of what is run on real engines."""
    for mode, pattern in ENGINE_PROGRAMS.items():
        for name, command, _ in programs(mode):
            if re.fullmatch(f"{mode} ({pattern})", name):
                yield f"engines {name}", command, 900
    for mix in MIXES:
        for part in (p for p, where in MIX_PROGRAMS.items() if mix in where):
            yield f"engines mix {mix} engine_{part}", ["env", f"BRAID_TEST_MIX={mix}", os.path.join(ROOT, BUILD, "release/test/unit", f"engine_{part}")], 600
    for name, script, limit in (("script", "test/engines_check.py", 400), ("bolt oracle", "test/wire_oracle.py", 400), ("faults", "test/fault/engines.py", 900)):
        if os.path.exists(os.path.join(ROOT, script)) and (name != "faults" or os.environ.get("BRAID_TEST_ENGINES") == "must"):
            yield f"engines {name}", ["python3", script], limit  # the faults are a matter of seconds: `make test-engines`, on a machine that has time


def engines_up():
    """The engines' addresses for the environment, and whether they were started here; None and the reason when they cannot be had."""
    if os.environ.get("BRAID_TEST_ENGINES") == "no":
        return None, "BRAID_TEST_ENGINES=no"
    were_up = sh(["scripts/engines.sh", "status"], 60)[0] == 0
    for command, limit in ((["scripts/deps.sh", "engines"], 600), (["scripts/engines.sh", "up"], 900)):
        code, out, seconds = (0, "", 0) if were_up else sh(command, limit)
        if code:
            return None, f"{' '.join(command)} ended with {code} after {seconds:.0f} s: " + " | ".join(out.strip().splitlines()[-3:])[-400:]
    code, out, _ = sh(["scripts/engines.sh", "env"], 60)
    return (dict(line.split("=", 1) for line in out.split() if "=" in line), not were_up) if code == 0 else (None, out[-400:])


def build():
    victims = [f"{BUILD}/release/test/fault/{os.path.basename(p)[:-2]}" for p in sorted(glob.glob(os.path.join(ROOT, "test/fault/*.c")))]
    for mode, targets in (("release", [f"{BUILD}/release/braid", "test-programs", *victims]), ("asan", [f"{BUILD}/asan/braid", "test-programs"]), ("tsan", ["test-programs"])):
        print(f"building {mode}", flush=True)
        code, out, seconds = sh(["make", "--no-print-directory", f"-j{os.cpu_count()}", f"MODE={mode}", *targets], 3600)
        if code:
            print(out[-6000:])
            print("0 passed, 1 failed")
            sys.exit(1)
        print(f"  {seconds:.0f} s", flush=True)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--only", default="")
    args.add_argument("--list", action="store_true")
    args.add_argument("--no-build", action="store_true")
    args = args.parse_args()
    begun, minutes = time.monotonic(), float(os.environ.get("BRAID_TEST_MINUTES", "35"))
    parallel = [s for mode in ("asan", "tsan", "release") for s in programs(mode)]
    alone = list(scripts())
    if args.list:
        print("\n".join(name for name, _, _ in parallel + alone + list(engine_suites())))
        return 0
    if not args.no_build:
        build()
    chosen = lambda suites: [s for s in suites if args.only in s[0]]
    total = [0, 0, 0]
    bad, unsteady = [], []

    def show(name, code, out, seconds):
        passed, failed, skipped = count(code, out)
        for i, n in enumerate((passed, failed, skipped)):
            total[i] += n
        mark = "ok  " if failed == 0 else "FAIL"
        print(f"{mark} {name:<44} {passed:>4} passed {failed:>3} failed {skipped:>3} skipped {seconds:6.1f} s", flush=True)
        if failed:
            bad.append((name, code, out))
        elif skipped:
            for line in re.findall(r"(?m)^.*(?:SKIP|skipped).*$", out)[:3]:
                print("       " + line.strip()[:150])

    def steady(name, command, limit, first):
        """What is to be shown of a suite whose first run ended so."""
        if not count(*first[:2])[1] or re.search("Sanitizer|runtime error:", first[1]):
            return first
        print(f"again {name}: failed with\n" + first[1][-1500:], flush=True)
        second = sh(command, limit)
        if not count(*second[:2])[1]:
            unsteady.append(name)
        return second

    later = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        futures = {pool.submit(sh, command, limit): (name, command, limit) for name, command, limit in chosen(parallel)}
        for f in concurrent.futures.as_completed(futures):
            if count(*f.result()[:2])[1]:
                later.append((*futures[f], f.result()))
            else:
                show(futures[f][0], *f.result())
    for name, command, limit, first in later:
        show(name, *steady(name, command, limit, first))
    for name, command, limit in chosen(alone):
        show(name, *steady(name, command, limit, sh(command, limit)))
    on_engines = chosen(engine_suites())
    found, more = engines_up() if on_engines else (None, None)
    if found is None and on_engines:
        must = os.environ.get("BRAID_TEST_ENGINES") == "must"
        show("engines", 1 if must else 0, f"0 passed, {int(must)} failed, {len(on_engines)} skipped\nskipped: {more}", 0)
    elif on_engines:
        ENV.update(found)
        for name, command, limit in on_engines:
            if time.monotonic() - begun > minutes * 60:
                show(name, 0, f"0 passed, 0 failed, 1 skipped\nskipped: {minutes:.0f} minutes have passed (BRAID_TEST_MINUTES)", 0)
                continue
            show(name, *steady(name, command, limit, sh(command, limit)))
        if more:
            sh(["scripts/engines.sh", "down"], 120)

    for name, code, out in bad:
        print(f"\n==== {name} (exit {code}) ====")
        print(out[-4000:])
    if unsteady:
        print("\nunsteady, failed once and passed alone: " + ", ".join(unsteady))
    print(f"\n{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
