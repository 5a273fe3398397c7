#!/usr/bin/env python3
"""Builds the fuzz targets with clang, replays their corpus, then fuzzes each for some seconds. R22 of the reliability plan.

The library is compiled once with coverage instrumentation (by the Makefile, as a mode of its own under BUILD/fuzz),
and every target is linked against it. A finding fails the run; its input is kept under BUILD/fuzz/findings. The
canaries go first: planted bugs that must be found, or what is silent proves nothing. New inputs stay under
BUILD/fuzz/found, where the next run begins; only what is in test/fuzz/corpus belongs to the repository.

Usage: run.py [--seconds 4] [--only WORD] [--jobs 2] [--seed N]
       run.py --merge TARGET     the smallest set of found inputs, to choose seeds from
"""
import argparse, concurrent.futures, glob, os, re, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "test", "fuzz")
OUT = os.path.join(os.environ.get("BUILD", "build"), "fuzz")
CC = os.environ.get("FUZZ_CC", "clang")
CHECKS = "address,undefined"
FLAGS = f"-O1 -gline-tables-only -fsanitize=fuzzer-no-link,{CHECKS} -fno-sanitize-recover=all -Wno-unknown-attributes"
TARGET_FLAGS = f"-std=c17 -D_GNU_SOURCE -g1 -O1 -I. -Isrc -Iinclude -isystem /usr/include/postgresql -Wall -Wextra -Werror -Wshadow -fsanitize=fuzzer,{CHECKS}"
REMOTE = {"postgresql/libpq-fe.h": "-lpq", "hiredis/hiredis.h": "-lhiredis", "grpc/grpc.h": "-lgrpc -lgpr", "protobuf-c/protobuf-c.h": "-lprotobuf-c"}
LIBS = "-lsqlite3 -ljansson -lyaml -lxxhash -lroaring -lmicrohttpd".split() + [
    w for header, words in REMOTE.items() if os.path.exists("/usr/include/" + header) for w in words.split()] + "-lssl -lcrypto -lm -pthread".split()
BUILD_LIMIT, REPLAY_LIMIT, CANARY_SECONDS = 1200, 240, 120  # a canary ends when its bug is found, within a second on an idle machine

# name: longest input, dictionary, also linked (targets that begin with "canary" have planted bugs)
TARGETS = {
    "model": (4096, "json", ()),
    "request": (2048, "json", ()),
    "stream": (4096, "json", ()),
    "api": (2048, "json", ("libserver.a",)),
    "http": (1024, "http", ("libserver.a",)),
    "snapshot": (4096, None, ()),
    "config": (2048, "yaml", ()),
    "csv": (4096, "csv", ("cli/csv.o",)),
    "packstream": (1024, None, ()),
    "bolt": (1024, None, ()),
    "redis": (1024, None, ()),
    "milvus": (1024, None, ()),
    "filter": (1024, "json", ()),
    "rows": (2048, "json", ()),
}
CANARIES = {"overflow": "heap-buffer-overflow", "undefined": "signed integer overflow", "leak": "detected memory leaks",
            "hang": "libFuzzer: timeout"}  # the planted bug, and how it must be told
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:handle_abort=1:detect_stack_use_after_return=0",
           UBSAN_OPTIONS="print_stacktrace=1", BRAID_CANARY="")


def sh(command, limit, env=ENV, cwd=ROOT):
    """Exit code and output; the whole group is ended when the limit has passed."""
    p = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=limit)
        return p.returncode, out.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, 9)
        out, _ = p.communicate()
        return 124, out.decode("utf-8", "replace") + f"\nended after {limit} s"


def why_not():
    """The reason why nothing can be fuzzed here, or None."""
    if not shutil.which(CC):
        return f"{CC} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "x.c")
        with open(source, "w") as f:
            f.write("int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return (int)(n * 0) * d[0]; }\n")
        code, out = sh([CC, f"-fsanitize=fuzzer,{CHECKS}", source, "-o", os.path.join(folder, "x")], 60)
        return f"{CC} has no fuzzer runtime: {out.strip().splitlines()[-1][:100]}" if code else None


def program(name):
    return os.path.join(OUT, f"fuzz_{name}")


def compile_one(name, extra):
    """Links fuzz_NAME.c against the instrumented library, if it is older than what it is made of."""
    sources = [os.path.join(HERE, f"fuzz_{name}.c"), os.path.join(HERE, "fuzz.h")]
    linked = [os.path.join(OUT, "lib", x) for x in extra] + [os.path.join(OUT, "lib", "libinternal.a")]
    if name == "canary":
        linked = []
    made = os.path.join(ROOT, program(name))
    newest = max(os.path.getmtime(os.path.join(ROOT, p)) for p in sources + linked)
    if os.path.exists(made) and os.path.getmtime(made) > newest:
        return 0, ""
    flags = f"{TARGET_FLAGS} -fno-sanitize-recover=all".split()
    return sh([CC, *flags, sources[0], *linked, "-o", made, *([] if name == "canary" else LIBS)], 120)


def build(names, jobs):
    wanted = {"libinternal.a"} | {x for n in names for x in TARGETS[n][2]}
    make = ["make", "--no-print-directory", f"-j{jobs}", f"CC={CC}", f"BUILD={OUT}", "MODE=lib", f"FLAGS_lib={FLAGS}"]
    code, out = sh([*make, *(os.path.join(OUT, "lib", w) for w in sorted(wanted))], BUILD_LIMIT)
    if code:
        return out
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda n: compile_one(n, TARGETS[n][2] if n in TARGETS else ()), [*names, "canary"]))
    return "\n".join(out for code, out in results if code)


def run_program(name, words, limit, findings, canary=""):
    """Runs a target with a temporary folder of its own, in memory where that can be had; what is left goes with it."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="braid-fuzz-run-", dir=parent) as folder:
        env = dict(ENV, TMPDIR=folder, BRAID_CANARY=canary)
        os.makedirs(os.path.join(ROOT, findings), exist_ok=True)
        common = ["-rss_limit_mb=1024", f"-artifact_prefix={findings}/", "-print_final_stats=1", "-verbosity=1"]
        return sh([os.path.join(ROOT, program(name)), *common, *words], limit, env)


def kept(out, name="", findings=""):
    """The input that libFuzzer says it wrote; of a replay the last file it began, copied to the findings; or None."""
    m = re.search(r"Test unit written to (\S+)", out)
    if m:
        return m[1]
    begun = re.findall(r"(?m)^Running: (\S+)", out)
    if not begun or "fuzzing was not performed" in out:
        return None
    copy = os.path.join(findings, name, "seed-" + os.path.basename(begun[-1]))
    shutil.copy(begun[-1], os.path.join(ROOT, copy))
    return copy


def executions(out):
    m = re.search(r"stat::number_of_executed_units:\s+(\d+)", out)
    return int(m[1]) if m else 0


def first_complaint(out):
    words = "PROMISE BROKEN|runtime error|assertion failed|ERROR: (?:Address|Leak)Sanitizer|ERROR: libFuzzer"
    m = re.search(rf"(?m)^.*(?:{words}).*$", out)
    return m[0].strip()[:220] if m else out.strip().splitlines()[-1][:220] if out.strip() else ""


def canary(kind, seed):
    """True when the planted bug is found, and by the check that is there for it."""
    told = CANARIES[kind]
    folder = os.path.join(OUT, "canary", kind)
    words = [f"-seed={seed}", f"-max_total_time={CANARY_SECONDS}", "-timeout=1", "-max_len=32"]
    begun = time.monotonic()
    code, out = run_program("canary", words, CANARY_SECONDS + 30, folder, kind)
    found = code != 0 and told in out and kept(out) is not None
    mark, verdict = ("ok  ", "found") if found else ("FAIL", "NOT found")
    print(f"{mark} canary {kind:<10} {verdict} after {time.monotonic() - begun:.1f} s", flush=True)
    if not found:
        print(out[-1500:])
    return found


def fuzz(name, seconds, seed):
    """One target: the corpus, then new inputs. True if nothing was found; the line that says so."""
    max_len, words, _ = TARGETS[name]
    findings, found, corpus = os.path.join(OUT, "findings"), os.path.join(OUT, "found", name), f"test/fuzz/corpus/{name}"
    os.makedirs(os.path.join(ROOT, found), exist_ok=True)
    seeds = sorted(glob.glob(os.path.join(ROOT, corpus, "*")))
    begun = time.monotonic()
    if not seeds:
        return False, f"FAIL {name}: there is no corpus in {corpus}", ""
    code, out = run_program(name, ["-timeout=10", *seeds], REPLAY_LIMIT, f"{findings}/{name}")
    if code == 0:
        more = [f"-dict={HERE}/corpus/{words}.dict"] if words else []
        more += [f"-max_len={max_len}", "-timeout=10", f"-max_total_time={seconds}", f"-seed={seed}", "-detect_leaks=1"]
        code, out = run_program(name, [*more, found, corpus], seconds + 90, f"{findings}/{name}")
    took = time.monotonic() - begun
    n = executions(out)
    if code == 0 and n == 0:
        return False, f"FAIL {name}: nothing was executed", out
    if code == 0:
        return True, f"ok   {name:<10} {len(seeds):>3} seeds, {n:>8} executions, {n / took:>7.0f}/s, {took:5.1f} s", ""
    path = kept(out, name, findings) or "none"
    alone = ""
    if path != "none":
        again, _ = run_program(name, ["-timeout=10", path], REPLAY_LIMIT, os.path.join(OUT, "again"))
        alone = "; fails alone too" if again else "; passes alone: what came before it counts"
    return False, f"FAIL {name:<10} {n} executions: {first_complaint(out)}\n     input: {path}{alone}", out


def merge(name):
    into = os.path.join(OUT, "merged", name)
    shutil.rmtree(os.path.join(ROOT, into), ignore_errors=True)
    os.makedirs(os.path.join(ROOT, into))
    words = ["-merge=1", into, f"test/fuzz/corpus/{name}", os.path.join(OUT, "found", name)]
    code, out = run_program(name, words, 900, os.path.join(OUT, "again"))
    print(out[-400:])
    print(f"{len(os.listdir(os.path.join(ROOT, into)))} inputs in {into}")
    return code


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seconds", type=int, default=4)
    args.add_argument("--only", default="")
    args.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    args.add_argument("--seed", type=int, default=int(time.time()))
    args.add_argument("--merge", choices=sorted(TARGETS))
    args = args.parse_args()
    names = [n for n in TARGETS if args.only in n]
    reason = why_not()
    if reason:
        print(f"skipped: {reason}\n0 passed, 0 failed, {len(names) + len(CANARIES)} skipped")
        return 0
    begun = time.monotonic()
    complaint = build(names, args.jobs)
    if complaint:
        print(f"{complaint[-4000:]}\n0 passed, 1 failed, 0 skipped")
        return 1
    print(f"built in {time.monotonic() - begun:.0f} s; seed {args.seed}", flush=True)
    if args.merge:
        return merge(args.merge)
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for good in pool.map(lambda kind: canary(kind, args.seed), CANARIES):
            passed, failed = passed + good, failed + (not good)
        for future in concurrent.futures.as_completed([pool.submit(fuzz, n, args.seconds, args.seed) for n in names]):
            good, line, out = future.result()
            print(line if good else f"{line}\n{out[-3500:]}", flush=True)
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
