#!/usr/bin/env python3
"""Compares our PackStream with the official Neo4j driver's, value by value and byte by byte. R23 of the reliability plan.

Random values (every kind, times and points in both forms, graph structures) are packed by the driver; ours must read them as the
same values and write them again as the same bytes. Then bytes are damaged (cut, flipped, joined): both must accept or refuse, apart
from what we refuse on purpose (STRICTER). The driver lives in a virtual environment of its own under BUILD/oracle.

Usage: wire_oracle.py [--cases 100000] [--seed N] [--cc "cc -fsanitize=address"]
"""
import argparse, glob, os, random, shlex, struct, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, os.environ.get("BUILD", "build"), "oracle")
DRIVER = "neo4j==5.26.0"
BATCH = 4000
# the driver builds what it can; we refuse it: nothing that a server sends
STRICTER = ("a key is not a string", "nested too deeply", "a length is above 2^31-1", "a map is above 2^30 pairs")


def enter_venv():
    """Runs this script again under a Python that has the driver; a reason if there is none."""
    try:
        import neo4j  # noqa: F401
        return None
    except ImportError:
        pass
    python = os.path.join(OUT, "venv", "bin", "python")
    if os.environ.get("WIRE_ORACLE_VENV"):
        return "the driver cannot be imported in " + python
    if not os.path.exists(os.path.join(OUT, "venv", "ready")):
        for command in ([sys.executable, "-m", "venv", os.path.join(OUT, "venv")], [python, "-m", "pip", "install", "-q", DRIVER]):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                return f"{DRIVER} cannot be installed: " + done.stdout.decode().strip().splitlines()[-1][:150]
        open(os.path.join(OUT, "venv", "ready"), "w").close()
    os.execve(python, [python, os.path.abspath(__file__), *sys.argv[1:]], dict(os.environ, WIRE_ORACLE_VENV="1"))


def build(cc):
    program = os.path.join(OUT, "packstream_lines")
    sources = ["test/oracle/packstream_lines.c", *sorted(glob.glob("src/wire/packstream*.c", root_dir=ROOT)),
               *(f"src/base/{n}.c" for n in ("arena", "buf", "error", "utf8"))]
    os.makedirs(OUT, exist_ok=True)
    command = [*shlex.split(cc), "-std=c17", "-D_GNU_SOURCE", "-O1", "-g", "-Isrc", "-I.", *sources, "-o", program, "-lm"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode()[-3000:])
        print("0 passed, 1 failed")
        sys.exit(1)
    return program


class Ours:
    """The program at the other end of a pipe, asked in batches."""

    def __init__(self, program):
        self.program = program

    def ask(self, messages):
        text = "".join(m.hex() + "\n" for m in messages)
        done = subprocess.run([self.program], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = done.stdout.decode().splitlines()
        if done.returncode or len(lines) != len(messages):
            print(done.stderr.decode()[-3000:])
            raise SystemExit(f"the program ended with {done.returncode} after {len(lines)} of {len(messages)} messages\n0 passed, 1 failed")
        return lines


class Values:
    """Random values that a server or an application may send."""

    def __init__(self, rng):
        from neo4j import time as nt
        from neo4j.spatial import CartesianPoint, WGS84Point
        from neo4j._codec.packstream import Structure
        import pytz
        self.rng, self.nt, self.pytz, self.Structure, self.points = rng, nt, pytz, Structure, (CartesianPoint, WGS84Point)
        self.zones = ["Europe/Paris", "America/Montreal", "UTC", "Asia/Kathmandu", "Pacific/Auckland"]

    def text(self):
        r = self.rng
        size = 300 if r.random() < 0.01 else r.choice((0, 1, 5, 15, 16, 17, 40))
        if r.random() < 0.8:
            return "".join(r.choices("abcdefghijklmnop _-.", k=size))
        return "".join(chr(r.choice((r.randrange(1, 0x80), r.randrange(0x80, 0x800), r.randrange(0x800, 0xD800), r.randrange(0x10000, 0x110000))))
                       for _ in range(size))

    def integer(self):
        r = self.rng
        edge = r.choice((0, 16, 127, 128, 255, 32767, 32768, 65536, 2**31, 2**32, 2**63 - 1, r.getrandbits(r.randrange(1, 64))))
        value = r.choice((1, -1)) * edge + r.choice((-1, 0, 0, 1))
        return max(-2**63, min(2**63 - 1, value))

    def real(self):
        r = self.rng
        return r.choice((0.0, -0.0, float("inf"), r.random(), r.gauss(0, 1e9), struct.unpack(">d", r.randbytes(8))[0]))

    def moment(self):
        r, nt = self.rng, self.nt
        kind = r.randrange(7)
        day = nt.Date(r.randrange(1, 10000), r.randrange(1, 13), r.randrange(1, 29))
        clock = (r.randrange(24), r.randrange(60), r.randrange(60), r.choice((0, 1, 999999999, r.randrange(10**9))))
        offset = self.pytz.FixedOffset(r.randrange(-1080, 1081))
        if kind == 0:
            return day
        if kind == 1:
            return nt.Time(*clock, tzinfo=offset)
        if kind == 2:
            return nt.Time(*clock)
        if kind == 3:
            return nt.DateTime.combine(day, nt.Time(*clock))
        day = nt.Date(r.randrange(1910, 2037), r.randrange(1, 13), r.randrange(1, 29))
        if kind == 4:
            return nt.DateTime.combine(day, nt.Time(*clock)).replace(tzinfo=offset)
        if kind == 5:
            return self.pytz.timezone(r.choice(self.zones)).localize(nt.DateTime.combine(day, nt.Time(*clock)))
        return nt.Duration(months=r.randrange(-1000, 1000), days=r.randrange(-1000, 1000), seconds=r.randrange(-10**9, 10**9),
                           nanoseconds=r.randrange(10**9))

    def node(self, five):
        r = self.rng
        labels = [self.text() for _ in range(r.randrange(3))]
        return self.Structure(b"N", self.integer(), labels, self.properties(), *([self.text()] if five else []))

    def graph(self):
        r, S = self.rng, self.Structure
        five, kind = r.random() < 0.6, r.randrange(4)
        unbound = lambda: S(b"r", self.integer(), self.text(), self.properties(), *([self.text()] if five else []))
        if kind == 0:
            return self.node(five)
        if kind == 1:
            ids = [self.text() for _ in range(3)] if five else []
            return S(b"R", self.integer(), self.integer(), self.integer(), self.text(), self.properties(), *ids)
        if kind == 2:
            return unbound()
        nodes, rels = r.randrange(1, 4), r.randrange(0, 4)
        indices = [x for _ in range(r.randrange(4) if rels else 0)
                   for x in (r.choice((1, -1)) * r.randrange(1, rels + 1), r.randrange(nodes))]
        return S(b"P", [self.node(five) for _ in range(nodes)], [unbound() for _ in range(rels)], indices)

    def properties(self):
        return {self.text(): self.value(9) for _ in range(self.rng.randrange(3))}

    def value(self, depth=0):
        r = self.rng
        kind = r.randrange(14 if depth < 4 else 9)
        if kind == 0:
            return r.choice((None, True, False))
        if kind <= 2:
            return self.integer()
        if kind == 3:
            return self.real()
        if kind <= 5:
            return self.text()
        if kind == 6:
            return bytearray(r.randbytes(400 if r.random() < 0.01 else r.choice((0, 3, 20))))
        if kind == 7:
            return self.moment()
        if kind == 8:
            point = r.choice(self.points)
            return point([self.real() for _ in range(r.choice((2, 3)))])
        if kind == 9:
            return self.graph()
        if kind == 10:
            return [self.real() for _ in range(70 if r.random() < 0.05 else r.choice((1, 16)))]
        size = 17 if r.random() < 0.03 else r.randrange(4)
        if kind == 11:
            return {f"k{i}": self.value(depth + 2) for i in range(size)}
        return [self.value(depth + 1) for _ in range(size)]


class Theirs:
    def __init__(self):
        from neo4j._codec.hydration import v1, v2
        from neo4j._codec.packstream.v1 import PackableBuffer, Packer, UnpackableBuffer, Unpacker
        self.handlers = (v2.HydrationHandler(), v1.HydrationHandler())
        self.PackableBuffer, self.Packer, self.UnpackableBuffer, self.Unpacker = PackableBuffer, Packer, UnpackableBuffer, Unpacker

    def pack(self, value, utc):
        """With times in UTC (Bolt 5), or as Bolt 4.4 had them."""
        out = self.PackableBuffer()
        Packed(self.Packer(out)).pack(value, self.handlers[0 if utc else 1].dehydration_hooks)
        return bytes(out.data)

    def unpack(self, data):
        """(True, value), or (False, why). A driver reads past the end without a word: where it stops tells."""
        buffer = self.UnpackableBuffer(data)
        try:
            value = self.Unpacker(buffer).unpack()
        except RecursionError:
            return None, "nested"
        except Exception as e:  # it has no class of its own for bad messages
            return False, repr(e)
        return (True, value) if buffer.p == len(data) else (False, "read past the end" if buffer.p > len(data) else "bytes follow")


class Packed:
    """The driver's packer, which forgets its hooks inside of structures: they are replaced before."""

    def __init__(self, packer):
        self.packer = packer

    def pack(self, value, hooks):
        self.packer.pack(self.plain(value, hooks), hooks)

    def plain(self, value, hooks):
        if isinstance(value, list):
            return [self.plain(v, hooks) for v in value]
        if isinstance(value, dict):
            return {k: self.plain(v, hooks) for k, v in value.items()}
        if type(value).__name__ == "Structure":
            return type(value)(value.tag, *(self.plain(f, hooks) for f in value.fields))
        transform = hooks.get_transformer(value)
        return transform(value) if transform else value


def text(value):
    """As packstream_lines.c prints it."""
    if value is None:
        return "N"
    if value is True or value is False:
        return "T" if value else "F"
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return "f" + struct.pack(">d", value).hex()
    if isinstance(value, str):
        return "s" + value.encode().hex()
    if isinstance(value, (bytes, bytearray)):
        return "b" + bytes(value).hex()
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(text(k) + ":" + text(v) for k, v in value.items()) + "}"
    return "(" + value.tag.hex() + "".join("," + text(f) for f in value.fields) + ")"


def damage(rng, message, other):
    data = bytearray(message)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(data[:rng.randrange(len(data))])
    if kind == 1:
        return bytes(data) + bytes(other[:rng.randrange(1, 4)])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data))
        if kind == 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            data[at] = rng.choice((0xC0, 0xC1, 0xCB, 0xCC, 0xCE, 0xD0, 0xD2, 0xD4, 0xD6, 0xD8, 0xDA, 0xA1, 0x91, 0xB1, 0xFF, rng.randrange(256)))
        elif len(data) > 1:
            del data[at]
    return bytes(data)


def check_good(messages, values, ours, show):
    bad = 0
    for message, value, line in zip(messages, values, ours.ask(messages)):
        word, _, rest = line.partition(" ")
        again, _, printed = rest.partition(" ")
        if word != "ok" or again != message.hex() or printed != text(value):
            bad += 1
            if bad <= show:
                print(f"differs: {message.hex()[:300]}\n   ours: {line[:300]}\n   driver: {text(value)[:300]}")
    return bad


def check_damaged(messages, theirs, ours, show, counts):
    bad = 0
    for message, line in zip(messages, ours.ask(messages)):
        accepted, value = theirs.unpack(message)
        we = line.startswith("ok ")
        why = line[3:]
        counts["accepted"] += we
        if not we and accepted is not False and why in STRICTER:
            counts["stricter"] += 1
            continue
        # a map with a key twice: the driver keeps one, we hand out both
        same = not we or line.split(" ")[2] == text(value) or len(text(value)) < len(line.split(" ")[2])
        if accepted is not we or not same:
            bad += 1
            if bad <= show:
                print(f"differs: {message.hex()[:300]}\n   ours: {line[:300]}\n   driver: {accepted} {str(value)[:300]}")
    return bad


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--cases", type=int, default=100000)
    args.add_argument("--seed", type=int, default=int(time.time()))
    args.add_argument("--cc", default=os.environ.get("CC", "cc"))
    args = args.parse_args()
    reason = enter_venv()
    if reason:
        print(f"skipped: {reason}\n0 passed, 0 failed, 2 skipped")
        return 0
    begun = time.monotonic()
    rng = random.Random(args.seed)
    values, theirs, ours = Values(rng), Theirs(), Ours(build(args.cc))
    good = bad_good = damaged = bad_damaged = 0
    counts = {"accepted": 0, "stricter": 0}
    while good + damaged < args.cases:
        messages, raw = [], []
        for _ in range(BATCH // 5):
            value = values.value()
            messages.append(theirs.pack(value, rng.random() < 0.8))
            raw.append(theirs.unpack(messages[-1])[1])
        bad_good += check_good(messages, raw, ours, 5 - min(5, bad_good))
        hurt = [damage(rng, m, rng.choice(messages)) for m in messages for _ in range(4)]
        bad_damaged += check_damaged(hurt, theirs, ours, 5 - min(5, bad_damaged), counts)
        good, damaged = good + len(messages), damaged + len(hurt)
    print(f"{'ok  ' if not bad_good else 'FAIL'} {good} values: the same values and the same bytes; {bad_good} differ")
    print(f"{'ok  ' if not bad_damaged else 'FAIL'} {damaged} damaged messages: accepted {counts['accepted']}, refused by ours alone "
          f"on purpose {counts['stricter']}; {bad_damaged} differ")
    if not counts["accepted"] or good < 100:
        bad_damaged += 1
        print("FAIL nothing was compared")
    print(f"seed {args.seed}, {time.monotonic() - begun:.0f} s")
    failed = bool(bad_good) + bool(bad_damaged)
    print(f"{2 - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
