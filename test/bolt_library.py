#!/usr/bin/env python3
"""The Bolt client as an outsider gets it: `make install-bolt` into an empty folder, then examples/bolt.c and the program in docs/bolt.md are built with
nothing but what was installed, and run: against a small server in this file, and against BRAID_TEST_NEO4J where that is set.

Also: the library shows the names that its header declares and no others, and can stand beside libbraid's."""
import os, re, shutil, socket, struct, subprocess, sys, tempfile, threading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
results = []


def run(*command, **kw):
    return subprocess.run(command, capture_output=True, text=True, cwd=kw.pop("cwd", ROOT), timeout=600, **kw)


def claim(name, ok, detail=""):
    results.append(bool(ok))
    if not ok:
        print(f"FAILED {name}: {detail[-1500:]}")


def packed(value):
    """PackStream of small values."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return struct.pack(">b", value)
    if isinstance(value, str):
        return bytes([0x80 + len(value.encode())]) + value.encode()
    if isinstance(value, list):
        return bytes([0x90 + len(value)]) + b"".join(map(packed, value))
    return bytes([0xA0 + len(value)]) + b"".join(packed(k) + packed(v) for k, v in value.items())


class Server:
    """Answers every statement with two rows, in Bolt 5.4, and remembers what it was told."""
    SUCCESS, RECORD = 0x70, 0x71

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.seen = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    def talk(self, conn):
        stream = conn.makefile("rwb")
        if stream.read(20)[:4] != b"\x60\x60\xb0\x17":
            return
        stream.write(bytes([0, 0, 4, 5]))
        stream.flush()
        while True:
            message = b""
            while (head := stream.read(2)) not in (b"", b"\0\0"):
                message += stream.read(struct.unpack(">H", head)[0])
            if len(message) < 2 or message[1] == 0x02:
                return
            self.seen.append(message)
            if message[1] == 0x3F:  # PULL
                self.say(stream, self.RECORD, ["Ada", 36])
                self.say(stream, self.RECORD, ["Grace", 85])
            self.say(stream, self.SUCCESS, {0x01: {"server": "Stub/1"}, 0x10: {"fields": ["name", "age"]}}.get(message[1], {}))
            stream.flush()

    def say(self, stream, tag, value):
        data = bytes([0xB1, tag]) + packed(value)
        stream.write(struct.pack(">H", len(data)) + data + b"\0\0")


def real_server():
    """(address, user, password) of a Neo4j that may be used, or None."""
    address = os.environ.get("BRAID_TEST_NEO4J")
    if not address:
        return None
    password = os.environ.get("BRAID_TEST_NEO4J_PASSWORD", "")
    if os.environ.get("BRAID_TEST_NEO4J_PASSWORD_FILE"):
        password = open(os.environ["BRAID_TEST_NEO4J_PASSWORD_FILE"]).readline().strip()
    return address, os.environ.get("BRAID_TEST_NEO4J_USER", ""), password


def names_shown(library, header):
    shown = {m[1] for m in re.finditer(r"(?m)^\w+ [TDBRVW] (\S+)$", run("nm", "-g", "--defined-only", library).stdout)}
    claim("the library shows its calls", {"bolt_open", "bolt_run", "ps_next", "ps_put_map"} <= shown, f"{len(shown)} names")
    strange = sorted(n for n in shown if not re.search(rf"\b{re.escape(n)}\b", header))
    claim("the library shows what the header declares and no more", not strange, f"{strange[:10]}")
    claim("no inner name is shown", not any(n.startswith(("bolt_conn_", "bolt_client_", "stream_", "conn_pool_")) for n in shown), f"{sorted(shown)[:10]}")


def examples(folder, env, flags, server):
    document = open(os.path.join(ROOT, "docs", "bolt.md"), encoding="utf-8").read()
    shown = os.path.join(folder, "shown.c")
    blocks = re.findall(r"(?s)```c\n(.*?)```", document)
    claim("docs/bolt.md holds a program", len(blocks) == 1, f"{len(blocks)} blocks")
    with open(shown, "w", encoding="utf-8") as f:
        f.write(blocks[0] if blocks else "")
    programs = {}
    for source in (os.path.join(ROOT, "examples", "bolt.c"), shown):
        program = os.path.join(folder, os.path.basename(source)[:-2])
        p = run("cc", "-std=c17", "-Wall", "-Wextra", "-Werror", source, "-o", program, *flags, env=env, cwd=folder)
        claim(f"{os.path.basename(source)} builds with what was installed", p.returncode == 0, p.stderr)
        programs[os.path.basename(source)[:-2]] = program
    if not all(os.path.exists(p) for p in programs.values()):
        return
    secret = dict(env, BOLT_USER="neo4j", BOLT_PASSWORD="not to be shown")
    p = run(programs["bolt"], server.address, "MATCH (p {age: $age}) RETURN p.name AS name, p.age AS age", "age=36", env=secret)
    claim("the example prints columns and rows", p.returncode == 0 and p.stdout == "name | age\nAda | 36\nGrace | 85\n", p.stdout + p.stderr)
    claim("the parameter goes along as a number", any(b"\x83age\x24" in m for m in server.seen if m[1] == 0x10), f"{server.seen}")
    p = run(programs["shown"], server.address, "neo4j", "not to be shown", env=env)
    claim("the program of the document prints its rows", p.returncode == 0 and p.stdout == "Ada is 36\nGrace is 85\n", p.stdout + p.stderr)
    claim("it commits what it wrote", any(m[1] == 0x12 for m in server.seen), f"{[hex(m[1]) for m in server.seen]}")
    p = run(programs["bolt"], "127.0.0.1:1", "RETURN 1", env=secret)
    claim("without a server the example says where it looked", p.returncode == 1 and "127.0.0.1:1" in p.stderr, p.stderr)
    claim("nothing shows the password", "not to be shown" not in p.stderr + p.stdout, p.stderr)
    real = real_server()
    if real is None:
        print("skipped: BRAID_TEST_NEO4J is not set, the examples were not run against a real server")
        return
    secret = dict(env, BOLT_USER=real[1], BOLT_PASSWORD=real[2])
    p = run(programs["bolt"], real[0], "UNWIND range(1, $n) AS i RETURN i, [i, null, 2.5] AS list, {a: 'é'} AS map", "n=2", env=secret)
    claim("the example asks a real server", p.returncode == 0 and "2 | [2, null, 2.5] | {a: é}" in p.stdout, p.stdout + p.stderr)
    p = run(programs["shown"], *real, env=env)
    claim("the program of the document writes to a real server and reads it back", p.returncode == 0 and "Ada is 36" in p.stdout, p.stdout + p.stderr)
    p = run(programs["bolt"], real[0], "MATCH (p:BoltExample) DELETE p RETURN count(*)", env=secret)
    claim("and can be cleaned up after", p.returncode == 0 and "\n1\n" in p.stdout, p.stdout + p.stderr)
    p = run(programs["bolt"], real[0], "RETURN 1", env=dict(secret, BOLT_PASSWORD="wrong"))
    claim("a wrong password is told", p.returncode == 1 and "check user and password" in p.stderr, p.stderr)


def main():
    folder = tempfile.mkdtemp(prefix="braid-bolt-")
    prefix = os.path.join(folder, "usr")
    try:
        p = run("make", "--no-print-directory", "install-bolt", f"PREFIX={prefix}", f"BUILD={os.environ.get('BUILD', 'build')}")
        claim("make install-bolt works in an empty folder", p.returncode == 0, p.stdout + p.stderr)
        include, library = os.path.join(prefix, "include"), os.path.join(prefix, "lib", "libbraidbolt.a")
        claim("it installs a header, a library and what pkg-config wants, no more",
              sorted(os.path.relpath(os.path.join(d, f), prefix) for d, _, fs in os.walk(prefix) for f in fs) ==
              ["include/braid_bolt.h", "lib/libbraidbolt.a", "lib/pkgconfig/braid-bolt.pc"])
        header = open(os.path.join(include, "braid_bolt.h"), encoding="utf-8").read()
        claim("the header includes nothing of the house", '#include "' not in header)
        p = run("cc", "-x", "c", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{include}", "-", input="#include <braid_bolt.h>\n")
        claim("braid_bolt.h compiles alone as c17", p.returncode == 0, p.stderr)
        p = run("cc", "-x", "c", "-std=c17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}", "-Iinclude", "-",
                input="#include <braid.h>\n#include <braid_bolt.h>\n")
        claim("it can stand beside braid.h", p.returncode == 0, p.stderr)
        names_shown(library, header)
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(prefix, "lib", "pkgconfig"))
        flags = run("pkg-config", "--cflags", "--libs", "braid-bolt", env=env).stdout.split()
        claim("pkg-config knows braid-bolt", "-lbraidbolt" in flags, " ".join(flags))
        examples(folder, env, flags, Server())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
