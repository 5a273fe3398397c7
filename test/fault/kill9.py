#!/usr/bin/env python3
"""kill -9 at random instants during mixed writes (items, relations, rules, agents, interactions, episodes): no acknowledged write is lost, and the index agrees with the record store.

The victim (torture.c) tells every acknowledged operation through a pipe; the parent kills it at a random moment, opens the same file with the judge, and goes on with the
same file. R1 of the reliability plan. A canary shows that the test can see: a judge that is told of one operation more than was acknowledged must object.
Usage: kill9.py [--rounds 200] [--seed N] [--threads 4] [--program PATH]
"""
import argparse, os, random, select, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def victim(program, path, seed, done, life):
    """Runs the writer for `life` seconds after its file is open, kills it, and returns the acknowledged counts."""
    p = subprocess.Popen([program, path, "write", str(seed), *map(str, done)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    fd, data, opened, until = p.stdout.fileno(), b"", None, time.monotonic() + 120
    while time.monotonic() < until:
        ready, _, _ = select.select([fd], [], [], max(0, until - time.monotonic()))
        if not ready:
            break
        piece = os.read(fd, 1 << 16)
        if not piece:
            break
        data += piece
        if opened is None and b"open\n" in data:
            opened = time.monotonic()
            until = opened + life
    p.send_signal(signal.SIGKILL)
    data += p.stdout.read()
    died = p.wait()
    complaint = p.stderr.read().decode(errors="replace")
    counts = list(done)
    lines = data.decode(errors="replace").split("\n")
    for line in lines[:-1]:  # the last piece has no newline: not told
        words = line.split()
        if len(words) == 2 and all(w.isdigit() for w in words):
            counts[int(words[0])] = max(counts[int(words[0])], int(words[1]) + 1)
    if died != -signal.SIGKILL:
        raise SystemExit(f"the writer ended by itself ({died}): {data[-300:]!r} {complaint[-2000:]}")
    return counts


def judge(program, path, seed, done):
    p = subprocess.run([program, path, "check", str(seed), *map(str, done)], capture_output=True, text=True, timeout=240)
    return p.returncode == 0 and p.stdout.strip().endswith("ok"), (p.stdout + p.stderr).strip()[-1500:]


def canary(program, folder, seed):
    """Told of operations that never happened, the judge must object."""
    path = os.path.join(folder, "canary.db")
    done = victim(program, path, seed, [0, 0], 0.3)
    return not judge(program, path, seed, [n + 60 for n in done])[0]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--rounds", type=int, default=200)
    a.add_argument("--seed", type=int, default=int(time.time()))
    a.add_argument("--threads", type=int, default=4)
    a.add_argument("--program", default=os.path.join(ROOT, os.environ.get("BUILD", "build"), "release/test/fault/torture"))
    a = a.parse_args()
    r = random.Random(a.seed)
    folder = tempfile.mkdtemp(prefix="braid-kill9-")
    path, done, acks, began = os.path.join(folder, "k.db"), [0] * a.threads, 0, time.monotonic()
    print(f"seed {a.seed}, {a.rounds} rounds, {a.threads} threads", flush=True)
    failed = 0
    try:
        for i in range(a.rounds):
            before = sum(done)
            done = victim(a.program, path, a.seed, done, r.random() ** 2 * 0.4)
            acks += sum(done) - before
            ok, said = judge(a.program, path, a.seed, done)
            if not ok:
                failed += 1
                print(f"round {i}: {said}")
                break
            if sum(done) > 40000:  # a fresh file now and then keeps the judge fast
                for name in os.listdir(folder):
                    os.unlink(os.path.join(folder, name))
                done = [0] * a.threads
        sees = canary(a.program, folder, a.seed)
        if not sees:
            print("canary: the judge did not object to a lost write")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{acks} acknowledged operations, {a.rounds} kills, {time.monotonic() - began:.0f} s")
    print(f"{a.rounds - failed + sees} passed, {failed + (not sees)} failed")
    return 1 if failed or not sees else 0


if __name__ == "__main__":
    sys.exit(main())
