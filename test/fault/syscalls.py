#!/usr/bin/env python3
"""Death and disk errors at every system call: no acknowledged write is lost, nothing is acknowledged that failed, the file opens again.

The victim (steps.c) opens a small database, writes three times, checkpoints, writes once more and closes, and tells each step that was
acknowledged. strace first lists its system calls on the database's files; then, from a fresh copy of the base each time, it
  kills     the victim at the i-th pwrite64, write, fdatasync, fsync, ftruncate, rename, unlink or msync on a file    (R2)
  fails     the i-th call, or the i-th and all after it, with EIO, ENOSPC, EMFILE, or as a write of no byte           (R5)
and the judge opens what is left: what was told must be there, braid verify must be content, a further write must succeed. A victim under
errors must end by itself; after a write that failed in a sync, it must not be told that a later one succeeded.

There are two bases: one closed cleanly, one whose WAL is full of work. strace counts calls for each thread apart: where two threads make the
i-th call on the same file, the earlier one is hit; how many later ones that hides is printed. When there are more points than the time
allows, every n-th is taken, from a start that the seed gives; --all takes all.
Usage: syscalls.py [--all] [--seed N] [--seconds 40] [--jobs 2] [--program PATH] [--only WORD] [--verbose]
"""
import argparse, collections, concurrent.futures, os, random, re, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KILLED = ["pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "msync"]
SYNCS = ("fdatasync", "fsync")
ERRORS = ([(c, f"error=EIO") for c in KILLED + ["pread64", "openat"]] + [("openat", "error=EMFILE")] +
          [(c, "error=ENOSPC") for c in ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "openat")] + [("pwrite64", "retval=0")])
LISTED = sorted({c for c, _ in ERRORS})
LIMIT = 240

Point = collections.namedtuple("Point", "part base call path what when")


def name_of(p):
    return f"{p.part}: {p.call} {p.what} when={p.when} on FILE{p.path} ({p.base} base)"


class Bench:
    """The program, the bases, and the folders that points are tried in."""

    def __init__(self, program, folder):
        self.program, self.folder, self.serial = program, folder, 0
        for base in ("clean", "hot"):
            os.mkdir(os.path.join(folder, base))
            self.run([program, self.file(base), "base"] + (["hot"] if base == "hot" else []), check=True)

    def file(self, name):
        return os.path.join(self.folder, name, "f.db")

    def run(self, command, check=False):
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        p = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=env, stdin=subprocess.DEVNULL)
        if check and p.returncode:
            raise SystemExit(f"{command}: {p.returncode}\n{p.stdout}{p.stderr}")
        return p

    def copy(self, base, name):
        where = os.path.join(self.folder, name)
        shutil.rmtree(where, ignore_errors=True)
        shutil.copytree(os.path.join(self.folder, base), where)
        return self.file(name)

    def judge(self, path, told):
        p = self.run([self.program, path, "judge", *told])
        return p.returncode == 0 and p.stdout.strip() == "ok", (p.stdout + p.stderr).strip()[-600:]

    def strace(self, path, *options):
        return self.run(["strace", "-f", *options, self.program, path, "run"])


def usable(bench):
    """None, or why strace cannot be used here."""
    if not shutil.which("strace"):
        return "strace is not installed"
    path = bench.copy("clean", "probe")
    try:
        p = bench.strace(path, "-o", "/dev/null", "-e", "trace=ftruncate", "-P", path + "-lock", "-e", "inject=ftruncate:signal=SIGKILL:when=1")
    except subprocess.TimeoutExpired:
        return "strace did not come back"
    if p.returncode == -9 and "ok open" not in p.stdout:
        return None
    return f"strace may not trace or inject here: {p.stderr.strip().splitlines()[-1] if p.stderr.strip() else p.returncode}"


def calls_of(bench, base):
    """{(call, path suffix): most calls by one thread}, and how many calls of other threads are hidden behind these."""
    path, log = bench.copy(base, "count"), os.path.join(bench.folder, "log")
    p = bench.strace(path, "-y", "-s", "0", "-o", log, "-e", "trace=" + ",".join(LISTED))
    if p.returncode or "ok close" not in p.stdout:
        raise SystemExit(f"the victim fails without faults: {p.stdout}{p.stderr}")
    ok, said = bench.judge(path, ["1", "2", "3", "4"])
    if not ok:
        raise SystemExit(f"the judge objects without faults: {said}")
    by_thread = collections.defaultdict(collections.Counter)
    folder = os.path.dirname(path)
    for line in open(log, errors="replace"):
        m = re.match(r"(\d+)\s+(\w+)\((.*)", line)
        if not m or m[2] not in LISTED:
            continue
        # the last path counts: openat names its folder before the file
        paths = [x for x in re.findall(r'[<"](/[^<>"]*)[>"]', m[3].split(" = ")[0]) if x == folder or x.startswith(path)]
        if m[2].startswith("rename"):
            paths = paths[:1]
        if paths:
            by_thread[m[2], "/.." if paths[-1] == folder else paths[-1][len(path):]][m[1]] += 1
    hidden = sum(sum(c.values()) - max(c.values()) for (call, _), c in by_thread.items() if call in KILLED)
    return {k: max(c.values()) for k, c in by_thread.items()}, hidden


def points_of(counts, base):
    kills, errors = [], []
    for (call, path), n in sorted(counts.items()):
        for i in range(1, n + 1):
            if call in KILLED:
                kills.append(Point("kill", base, call, path, "signal=SIGKILL", str(i)))
            for c, what in ERRORS:
                if c == call:
                    errors += [Point("error", base, call, path, what, str(i)), Point("error", base, call, path, what, f"{i}+")]
    return kills, errors


def retried(transcript):
    """The later success that was told after a write had failed, or None."""
    failed = None
    for line in transcript.splitlines():
        if line.startswith("no write"):
            failed = failed or line
        elif failed and (line.startswith("ok write") or line.startswith("ok checkpoint")):
            return f"'{line}' after '{failed}'"
    return None


def attempt(bench, point, name):
    """(complaint or None, how it went)"""
    path = bench.copy(point.base, name)
    file = os.path.dirname(path) if point.path == "/.." else path + point.path
    try:
        p = bench.strace(path, "-o", "/dev/null", "-e", f"trace={point.call}", "-P", file, "-e",
                         f"inject={point.call}:{point.what}:when={point.when}")
        told = re.findall(r"(?m)^ok write (\d+)$", p.stdout)
        if point.part == "error" and p.returncode:
            return f"the victim ended with {p.returncode}: {(p.stdout + p.stderr)[-800:]}", ""
        if point.part == "kill" and p.returncode not in (0, -9):
            return f"the victim ended with {p.returncode}: {(p.stdout + p.stderr)[-800:]}", ""
        if point.part == "error" and point.call in SYNCS and point.path in ("", "-wal") and retried(p.stdout):
            return "a failed sync was followed by success: " + retried(p.stdout), ""
        ok, said = bench.judge(path, told)
    except subprocess.TimeoutExpired as e:
        return f"no end after {LIMIT} s: {' '.join(e.cmd[-4:])}: {(e.stdout or b'').decode()[-300:]}", ""
    if not ok:
        return f"told {told}: {said}\nthe victim said:\n{p.stdout[-1200:]}", ""
    return None, "killed" if p.returncode == -9 else "refused" if re.search(r"(?m)^no ", p.stdout) else "unharmed"


def canaries(bench):
    """What must be objected to, and is not."""
    silent = []
    path = bench.copy("clean", "canary")
    bench.strace(path, "-o", "/dev/null", "-e", "trace=fdatasync", "-P", path + "-wal", "-e", "inject=fdatasync:signal=SIGKILL:when=3")
    if bench.judge(path, ["5"])[0]:
        silent.append("kill: the judge did not miss a write that was never made")
    if bench.judge(bench.copy("clean", "canary"), ["1", "2"])[0]:
        silent.append("error: the judge did not miss writes that were told and not made")
    if not retried("ok open\nok write 1\nno write 2 IO x\nok write 3\n") or retried("ok write 1\nno write 2 IO x\nno write 3 UNAVAILABLE x\n"):
        silent.append("error: success after a failed sync is not seen")
    return silent


def chosen(points, wanted, r):
    if len(points) <= wanted:
        return points
    step = len(points) / wanted
    first = r.random() * step
    return [points[int(first + i * step)] for i in range(wanted) if int(first + i * step) < len(points)]


def try_all(bench, points, jobs, verbose):
    went, failed = collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        slots = [f"slot{i}" for i in range(jobs)]

        def one(point):
            slot = slots.pop()
            try:
                return attempt(bench, point, slot)
            finally:
                slots.append(slot)

        for point, (complaint, how) in zip(points, pool.map(one, points)):
            went[how] += complaint is None
            if verbose:
                print(name_of(point), how or "FAILED", flush=True)
            if complaint:
                failed += 1
                print(f"FAILED {name_of(point)}\n  {complaint}", flush=True)
    return went, failed


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--all", action="store_true")
    a.add_argument("--seed", type=int, default=int(time.time()))
    a.add_argument("--seconds", type=float, default=40)
    a.add_argument("--jobs", type=int, default=2)
    a.add_argument("--program")
    a.add_argument("--only", default="")
    a.add_argument("--verbose", action="store_true")
    a = a.parse_args()
    build = os.environ.get("BUILD", "build")
    program = a.program or os.path.join(ROOT, build, "release/test/fault/steps")
    if not a.program:
        subprocess.run(["make", "--no-print-directory", f"BUILD={build}", f"{build}/release/test/fault/steps"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    folder, began = os.path.realpath(tempfile.mkdtemp(prefix="braid-syscalls-")), time.monotonic()
    try:
        bench = Bench(program, folder)
        why = usable(bench)
        if why:
            print(f"SKIPPED: {why}\n0 passed, 0 failed, 2 skipped")
            return 0
        kills, errors, hidden = [], [], 0
        measured = time.monotonic()
        for base in ("clean", "hot"):
            counts, more = calls_of(bench, base)
            k, e = points_of(counts, base)
            kills, errors, hidden = kills + k, errors + e, hidden + more
        measured = (time.monotonic() - measured) / 2 * 1.3  # a victim and a judge, and two of them at once slow each other
        r, room = random.Random(a.seed), max(20, int(a.seconds * a.jobs / measured / 2))
        print(f"seed {a.seed}: {len(kills)} points to die at, {len(errors)} to fail at, {hidden} calls hidden behind another thread's; "
              f"{'all' if a.all else f'at most {room} of each'} are tried", flush=True)
        passed = failed = 0
        for part, points in (("kill", kills), ("error", errors)):
            points = [p for p in points if a.only in name_of(p)]
            points = points if a.all else chosen(points, room, r)
            went, bad = try_all(bench, points, a.jobs, a.verbose)
            wanted = "killed" if part == "kill" else "refused"
            if not a.only and went[wanted] * 4 < len(points):
                print(f"FAILED {part}: only {went[wanted]} of {len(points)} faults were felt")
                bad += 1
            print(f"{part}: {len(points)} points, {dict(went)}, {bad} failed, {time.monotonic() - began:.0f} s", flush=True)
            passed, failed = passed + sum(went.values()), failed + bad
        silent = canaries(bench)
        for line in silent:
            print("canary: " + line)
        passed, failed = passed + 3 - len(silent), failed + len(silent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
