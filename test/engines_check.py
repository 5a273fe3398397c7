#!/usr/bin/env python3
"""scripts/engines.sh keeps its word: with Redis and PostgreSQL, in a folder and on ports of this test's own.

Claims run in order, since they share the two servers. Closes with "N passed, N failed, N skipped".
"""
import glob, os, shutil, signal, socket, stat, struct, subprocess, sys, tempfile, time

import engines

claims = []


def claim(f):
    claims.append(f)
    return f


def check(ok, *shown):
    if not ok:
        raise AssertionError(" | ".join(str(s) for s in shown) or "the claim does not hold")


class Skip(Exception):
    """Why a claim cannot be tried here."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


PORTS = {"redis": free_port(), "postgres": free_port()}
HERE = tempfile.mkdtemp(prefix="braid_engines_")
os.chmod(HERE, 0o755)
ENV = {k: v for k, v in os.environ.items() if not k.startswith("BRAID_ENGINES") or k == "BRAID_ENGINES_INSTALL"}
ENV |= {"BRAID_ENGINES_DIR": HERE, **{f"BRAID_ENGINES_{n.upper()}_PORT": str(p) for n, p in PORTS.items()}}
BOTH = ("redis", "postgres")


def script(*words, env=None, limit=120):
    p = subprocess.run([engines.SCRIPT, *words], env=env or ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit)
    return p.returncode, p.stdout + p.stderr


def connect(engine):
    s = socket.create_connection(("127.0.0.1", PORTS[engine]), 5)
    s.settimeout(5)
    return s


def redis(*words):
    """The raw reply to one command."""
    with connect("redis") as s:
        s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words))
        return s.recv(1000).decode()


def sql(text, user="braid", password=None, database="braid"):
    """(exit code, output) of psql, which lies beside the server's program."""
    pid = engines.status("postgres", env=ENV)["postgres"]["pid"]
    psql = os.path.join(os.path.dirname(os.readlink(f"/proc/{pid}/exe")), "psql")
    if password is None:
        password = open(os.path.join(HERE, "postgres", "password")).read()
    p = subprocess.run([psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(PORTS["postgres"]), "-U", user, "-d", database, "-c", text],
                       env=dict(ENV, PGPASSWORD=password), capture_output=True, text=True, timeout=30)
    return p.returncode, (p.stdout + p.stderr).strip()


def listeners(port):
    """The addresses that listen on a port, as /proc writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in open(table).readlines()[1:] if os.path.exists(table) else ():
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rsplit(":", 1)[1], 16) == port:
                found.add(local.rsplit(":", 1)[0])
    return found


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def pids():
    return {n: row["pid"] for n, row in engines.status(*BOTH, env=ENV).items()}


@claim
def nothing_runs_before_up():
    code, out = script("status", *BOTH)
    check(code == 1 and out.count(" down ") == 2, code, out)
    check(script("env", *BOTH) == (0, ""), script("env", *BOTH))


@claim
def up_returns_when_both_answer():
    code, out = script("up", *BOTH)
    check(code == 0, out)
    check(redis("PING") == "+PONG\r\n")
    check(sql("SELECT 6 * 7") == (0, "42"), sql("SELECT 6 * 7"))


@claim
def status_tells_state_address_process_version_and_memory():
    rows = engines.status(*BOTH, env=ENV)
    for name, row in rows.items():
        check(row["state"] == "up" and row["address"] == f"127.0.0.1:{PORTS[name]}" and alive(row["pid"]) and row["rss_kb"] > 1000, name, row)
    check(rows["redis"]["version"].startswith("Redis ") and "pgvector" in rows["postgres"]["version"], rows)
    code, out = script("status", *BOTH)
    check(code == 0 and len(out.splitlines()) == 2, code, out)


@claim
def a_second_up_changes_nothing_and_is_quick():
    before, begun = pids(), time.monotonic()
    code, out = script("up", *BOTH)
    took = time.monotonic() - begun
    check(code == 0 and pids() == before and out.count("running") == 2, out)
    check(took < 5, f"{took:.1f} s")


@claim
def env_names_those_that_are_up():
    found = engines.running(BOTH, env=ENV)
    check(all(found[f"BRAID_TEST_{n.upper()}"] == f"127.0.0.1:{p}" for n, p in PORTS.items()), found)
    check(os.path.exists(found["BRAID_TEST_POSTGRES_PASSWORD_FILE"]), found)


@claim
def an_engine_is_found_where_it_runs_even_if_the_port_setting_is_gone():
    bare = {k: v for k, v in ENV.items() if not k.endswith("_PORT")}
    check(engines.running(["redis"], env=bare) == {"BRAID_TEST_REDIS": f"127.0.0.1:{PORTS['redis']}"})


@claim
def they_listen_on_loopback_only():
    for name, port in PORTS.items():
        check(listeners(port) == {"0100007F"}, name, listeners(port))


BINDS = """
import socket
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"), (socket.AF_INET, "127.0.0.2")):
    s = socket.socket(family)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind((address, 0))
    s.listen()
    print(s.getsockname()[0])
    if address != "127.0.0.2":
        socket.create_connection(("127.0.0.1", s.getsockname()[1]), 5).close()
raise SystemExit(7)
"""


@claim
def a_server_without_a_setting_for_it_is_held_to_loopback_too():
    tool = os.path.join(HERE, "loopback")
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wvla", "-o", tool,
                    os.path.join(engines.ROOT, "scripts/engines/loopback.c")], check=True, timeout=60)
    if subprocess.run([tool, "true"], stderr=subprocess.DEVNULL).returncode == 125:
        raise Skip("this kernel has no seccomp user notification")
    p = subprocess.run([tool, sys.executable, "-c", BINDS], capture_output=True, text=True, timeout=30)
    check(p.stdout.split() == ["127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2"] and p.returncode == 7, p)


@claim
def passwords_are_asked_for_and_kept_from_others():
    check(sql("SELECT 1", password="wrong")[0] != 0)
    check(sql("SELECT 1", user="postgres", password="")[0] != 0)
    for name in ("password", "superuser_password"):
        mode = os.stat(os.path.join(HERE, "postgres", name)).st_mode
        check(stat.S_IMODE(mode) == 0o600, name, oct(mode))
    secret = open(os.path.join(HERE, "postgres", "password")).read()
    check(len(secret) == 32 and secret not in open(os.path.join(HERE, "postgres", "log")).read())


@claim
def vectors_can_be_stored_in_every_database_and_the_user_is_no_superuser():
    check(sql("SELECT '[3,4]'::vector <-> '[0,0]'") == (0, "5"))
    check(sql("CREATE DATABASE another")[0] == 0)
    check(sql("SELECT vector_dims('[1,2,3]'::vector)", database="another") == (0, "3"))
    check(sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'braid'") == (0, "f"))


@claim
def what_was_written_is_there_after_kill_and_up():
    check(sql("CREATE TABLE kept AS SELECT 17 AS n")[0] == 0)
    check(redis("SET", "kept", "18") == "+OK\r\n")
    time.sleep(1.2)  # Redis syncs each second
    before = pids()
    engines.kill("redis", env=ENV)
    engines.kill("postgres", env=ENV)
    check(not any(map(alive, before.values())))
    check({r["state"] for r in engines.status(*BOTH, env=ENV).values()} == {"down"})
    engines.up(*BOTH, env=ENV)
    check(sql("SELECT n FROM kept") == (0, "17"), sql("SELECT n FROM kept"))
    check(redis("GET", "kept") == "$2\r\n18\r\n")


@claim
def restart_gives_a_new_process_on_the_same_address():
    before = pids()["redis"]
    engines.restart("redis", env=ENV)
    check(pids()["redis"] != before and not alive(before) and redis("PING") == "+PONG\r\n")


@claim
def a_server_that_hangs_is_told_from_one_that_is_up():
    pid = pids()["redis"]
    os.kill(pid, signal.SIGSTOP)
    try:
        row = engines.status("redis", env=ENV)["redis"]
        check(row["state"] == "silent" and row["pid"] == pid, row)
        check(engines.running(["redis"], env=ENV) == {})
        code, out = script("up", "redis", env=dict(ENV, BRAID_ENGINES_TIMEOUT="2"))
        check(code == 1 and "no answer" in out and "restart redis" in out, code, out)
    finally:
        os.kill(pid, signal.SIGCONT)


@claim
def a_taken_port_is_named_with_the_remedy_and_its_owner_is_left_alone():
    with socket.socket() as taken, tempfile.TemporaryDirectory() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, out = script("up", "redis", env=dict(ENV, BRAID_ENGINES_DIR=other, BRAID_ENGINES_REDIS_PORT=port))
        check(code == 1 and port in out and "BRAID_ENGINES_REDIS_PORT" in out, code, out)
    check(redis("PING") == "+PONG\r\n")


@claim
def a_stale_pid_never_ends_a_stranger():
    with tempfile.TemporaryDirectory() as other:
        stranger = subprocess.Popen(["sleep", "60"])
        try:
            os.mkdir(os.path.join(other, "redis"))
            with open(os.path.join(other, "redis", "pid"), "w") as f:
                boot = open("/proc/sys/kernel/random/boot_id").read().strip()
                f.write(f"{stranger.pid} 12345 {boot}\n")
            for word in ("down", "kill"):
                script(word, "redis", env=dict(ENV, BRAID_ENGINES_DIR=other))
            time.sleep(0.2)
            check(stranger.poll() is None, "the stranger was ended")
        finally:
            stranger.kill()
            stranger.wait()


@claim
def an_install_that_fails_says_why_and_leaves_nothing():
    cache = os.path.join(HERE, "cache")
    env = {k: v for k, v in ENV.items() if not k.startswith("PIP_")}
    env |= {"BRAID_ENGINES_INSTALL": cache, "PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    code, out = script("install", "postgres", env=env)
    check(code == 1 and "could not be installed" in out and "engines.sh install postgres" in out, code, out)
    check(glob.glob(os.path.join(cache, "postgres-*")) == [] and not os.path.exists(os.path.join(cache, ".new-postgres")), os.listdir(cache))


@claim
def what_is_unknown_is_refused():
    check(script("up", "oracle")[0] == 2 and script("dance")[0] == 2 and script("kill")[0] == 2)


@claim
def down_stops_both_and_frees_their_ports():
    before = pids()
    code, out = script("down", *BOTH)
    check(code == 0 and out.count("stopped") == 2, out)
    check(not any(map(alive, before.values())) and not any(map(listeners, PORTS.values())))
    check(script("down", *BOTH)[0] == 0, "a second down is no error")


@claim
def two_ups_at_the_same_time_start_one_server():
    both = [subprocess.Popen([engines.SCRIPT, "up", "redis"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = sorted(p.communicate(timeout=60)[0] for p in both)
    check([p.returncode for p in both] == [0, 0] and sum("started" in s for s in said) == 1 and sum("running" in s for s in said) == 1, said)


@claim
def wipe_removes_the_data():
    code, out = script("wipe", *BOTH)
    check(code == 0 and all(os.listdir(os.path.join(HERE, n)) == ["lock"] for n in BOTH), code, out)


def main():
    passed = failed = skipped = 0
    try:
        code, out = script("install", *BOTH, limit=engines.START_SECONDS)
        if code:
            print(f"SKIP: the engines cannot be installed here: {out.strip()[-300:]}")
            skipped = len(claims)
        for f in claims if code == 0 else ():
            begun = time.monotonic()
            try:
                f()
                passed += 1
                print(f"ok   {f.__name__.replace('_', ' ')} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Skip as why:
                skipped += 1
                print(f"SKIP {f.__name__.replace('_', ' ')}: {why}", flush=True)
            except Exception as e:  # whatever goes wrong is that claim's failure
                failed += 1
                print(f"FAIL {f.__name__.replace('_', ' ')}: {type(e).__name__}: {e}", flush=True)
    finally:
        script("wipe", *BOTH)
        shutil.rmtree(HERE, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
