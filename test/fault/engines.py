#!/usr/bin/env python3
"""Faults between Braid and its four engines: a store that is slow, cut, torn or killed costs quality, never a wrong answer, a late one or a lost write.

Starts `braid serve` on PostgreSQL (records), Milvus (vectors), Neo4j (graph) and Redis (cache), each behind a proxy that can be disturbed, and
holds it to R9, R13, R14 and R15 of the reliability plan. A cell is one fault on one store: questions come at a steady rate whether or not the
last one was answered (open loop), writes and deletions run beside them, the fault comes and goes. Then
  - every question was answered within its deadline + 50 ms; by the answer's own clock, and by ours less what this machine itself was late;
  - with Milvus, Neo4j or Redis disturbed every status is 200, and `degraded` names the disturbed store and, but for want of time, no other;
  - with PostgreSQL disturbed questions are still answered from what is in memory (table READS below), and writes are refused with 503 and
    Retry-After;
  - an answer that misses nothing is the answer of the healthy system, item by item, and none shows what was never written or was removed;
  - after the fault the answers are the healthy ones within 10 s, the feeds have no lag within 30 s, `verify` finds nothing missing, extra or
    different, the breakers are closed, and what was acknowledged is read back.
The part with kill -9 does the same with the engine's process instead of the proxy. Canaries: a server that is told to take three times the
deadline must be found late, a forged answer must be found wrong, a forged write must be found lost.

The deadline of the questions is measured first: less than this machine needs when all is well would judge the machine.

Usage: engines.py [--all | --kill] [--only WORD] [--seconds S] [--seed N] [--keep] [BRAID]
  without options   6 faults x 4 stores, start-up with a store away, canaries
  --all             19 faults x 4 stores, start-up, kill -9 and restart of each engine, canaries
  --kill            kill -9 and restart only
Engines of its own are started in build/engines_faults (ports 24xxx) and stopped at the end unless they ran before; with BRAID_TEST_MILVUS,
_NEO4J, _POSTGRES, _REDIS and _TOXIPROXY in the environment those are used instead, for what does not kill them.
"""
import argparse, collections, ctypes, fcntl, http.client, json, math, os, queue, random, re, signal, subprocess, sys, tempfile, threading, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test"))
import engines
from serving import Claims, equal, true

STORES = ("milvus", "neo4j", "redis", "postgres")
OWN = {"BRAID_ENGINES_DIR": os.path.join(ROOT, "build/engines_faults"), "BRAID_ENGINES_MILVUS_PORT": "24530",
       "BRAID_ENGINES_NEO4J_PORT": "24687", "BRAID_ENGINES_POSTGRES_PORT": "24432",
       "BRAID_ENGINES_REDIS_PORT": "24379", "BRAID_ENGINES_TOXIPROXY_PORT": "24474", "BRAID_ENGINES_TIMEOUT": "300"}
DIM, FILMS, SHORTS, PEOPLE = 32, 240, 120, 6
DEADLINE_MS, DEADLINE_MS_MAX, GRACE_MS = 300, 2000, 50  # the deadline is as long as this machine needs (World.calibrate)
RATE, WORKERS, WRITERS = 12, 64, 2           # questions a second, threads that ask, threads that write
NORMAL_S, LAG_S, GONE_S = 10, 30, 3          # after the fault; a removed item may be shown for GONE_S more (feeds are pictured behind the log)
STRANGERS = 0.1                              # share of answers that may miss a store that is well: machines that run tests are busy
BURST_FDS, RSS_MB = 64, 96                   # what a burst of faults may leave open or allocated

# name: (toxic, its attributes, stores that must feel it when it lies on what the engine sends / on what it is sent)
DERIVED = ("milvus", "neo4j", "redis", "postgres")
TOXICS = {"latency": ("latency", {"latency": 2 * DEADLINE_MS_MAX}, DERIVED, DERIVED),
          "bandwidth": ("bandwidth", {"rate": 1}, ("milvus", "neo4j"), ("milvus", "neo4j")), "slow_close": ("slow_close", {"delay": 2000}, (), ()),
          "timeout": ("timeout", {"timeout": 0}, DERIVED, DERIVED), "timeout500": ("timeout", {"timeout": 500}, DERIVED, DERIVED),
          "reset": ("reset_peer", {"timeout": 0}, DERIVED, DERIVED), "reset100": ("reset_peer", {"timeout": 100}, (), ()),
          "slicer": ("slicer", {"average_size": 1, "size_variation": 0, "delay": 10000}, ("milvus", "neo4j"), ("milvus", "neo4j")),
          "limit": ("limit_data", {"bytes": 10}, ("milvus", "neo4j"), DERIVED)}
FAULTS = [f"{name} {way}" for name in TOXICS for way in ("down", "up")] + ["cut"]
FEW = ["latency down", "timeout up", "reset down", "slicer down", "limit up", "cut"]

# What may be asked while PostgreSQL does not answer, and what comes: "answer" from memory, or "refusal" (503 or 504, Retry-After). Judged against
# the design: the record store is the truth; whoever needs it is refused and told to come again, whoever needs only what was derived from it is
# answered.
READS = {("POST", "/v1/search"): "answer", ("POST", "/v1/recommend"): "answer", ("GET", "/healthz"): "answer", ("GET", "/metrics"): "answer",
         ("GET", "/v1/items/film%203"): "refusal", ("GET", "/v1/users/ana0"): "refusal"}


class Wrong(Exception):
    """An answer or a state that must not be."""


# ---- the server under test

class Server:
    """`braid serve` on the four engines behind proxies; everything it is told goes by the environment. Use with `with`."""

    def __init__(self, braid, addresses, proxies, schema, **settings):
        self.braid, self.env = braid, dict(os.environ)
        self.at = at = {name: proxies[name].address for name in proxies}
        secret = lambda name: addresses[f"BRAID_TEST_{name}_PASSWORD_FILE"]
        rows = {"RECORD__STORE": "postgres", "POSTGRES__ADDRESS": at["postgres"],
                "POSTGRES__DATABASE": f"{addresses.get('BRAID_TEST_POSTGRES_DATABASE', 'braid')}/{schema}",
                "POSTGRES__USER": addresses.get("BRAID_TEST_POSTGRES_USER", "braid"), "POSTGRES__PASSWORD_FILE": secret("POSTGRES"),
                "VECTOR__STORE": "milvus", "VECTOR__DIMENSION": DIM, "MILVUS__ADDRESS": at["milvus"], "MILVUS__DATABASE": schema,
                "GRAPH__STORE": "neo4j", "NEO4J__ADDRESS": at["neo4j"], "NEO4J__USER": addresses.get("BRAID_TEST_NEO4J_USER", "neo4j"),
                "NEO4J__PASSWORD_FILE": secret("NEO4J"),
                "CACHE__STORE": "redis", "REDIS__ADDRESS": at["redis"], "REDIS__DATABASE": schema + ":", "QUERY__DEADLINE_MS": DEADLINE_MS_MAX,
                "SERVER__LISTEN": "127.0.0.1:0", "SERVER__THREADS": 64, "RIGHTS__REGION": "FR", "LOG__LEVEL": "warn"}
        self.env.update({"BRAID__" + k: str(v) for k, v in (rows | settings).items()})

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="braid-faults-")
        self.log = open(os.path.join(self.folder, "log"), "w+b")
        begun = time.monotonic()
        self.process = subprocess.Popen([self.braid, "serve", "--json"], cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        self.started_s = time.monotonic() - begun
        if not line:
            self.process.wait()
            raise Wrong(f"braid serve did not start (stores at {self.at}; exit {self.process.returncode}, {self.started_s:.1f} s): {self.said()[-600:]}")
        host, port = json.loads(line)["url"][len("http://"):].rsplit(":", 1)
        self.address = (host, int(port))
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def said(self):
        with open(self.log.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def call(self, method, path, body=None, headers=None, timeout=20):
        """(status, headers, text); every call on a connection of its own, so that none waits behind another."""
        c = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            c.request(method, path, body if body is None or isinstance(body, str) else json.dumps(body), headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def json(self, method, path, body=None, headers=None, timeout=20):
        status, _, text = self.call(method, path, body, headers, timeout)
        return status, json.loads(text)

    def metric(self, name, text=None):
        """{labels: value} of a metric."""
        text = text or self.call("GET", "/metrics")[2].decode()
        return {m[1] or "": float(m[2]) for m in re.finditer(rf"(?m)^\S*?{name}(\{{[^}}]*\}})? (\S+)$", text)}

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_mb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


# ---- what is in it, and what may be asked

def unit(r):
    v = [r.gauss(0, 1) for _ in range(DIM)]
    return [x / math.sqrt(sum(y * y for y in v)) for x in v]


class World:
    """The films, which nobody changes while faults come and go, and the questions about them; and the shorts, which the writers change all the time."""

    def __init__(self, seed):
        r = random.Random(seed)
        self.vectors = {f"film {i}": unit(r) for i in range(FILMS)}
        self.films = [{"id": id, "title": f"Film {id[5:]}", "kind": "film", "year": 1950 + i % 70, "genres": [f"g{i % 7}"],
                       "themes": [f"t{i % 11}"], "vectors": {"default": v}}
                      for i, (id, v) in enumerate(self.vectors.items())]
        self.relations = [{"from": f"film {i}", "to": f"film {(i * 7 + 3) % FILMS}", "type": "SIMILAR_TO", "strength": 0.8}
                          for i in range(FILMS) if (i * 7 + 3) % FILMS != i]
        self.seen = {f"ana{p}": [f"film {(p * 31 + n * 5) % FILMS}" for n in range(8)] for p in range(PEOPLE)}
        only, fixed = {"kind": "film"}, {"k": 5, "seed": 7, "strategy": "hybrid_parallel"}
        self.questions = [("/v1/search", fixed | {"vector": self.vectors[f"film {i * 17}"], "filter": only, "cache": i % 2 == 0}) for i in range(8)]
        self.questions += [("/v1/search", fixed | {"like": f"film {i * 13}", "filter": only, "cache": i % 2 == 0}) for i in range(6)]
        self.questions += [("/v1/recommend", fixed | {"user": user, "filter": only, "cache": i % 2 == 0}) for i, user in enumerate(self.seen)]
        self.questions += [("/v1/search", {"vector": self.vectors["film 5"], "filter": {"kind": "short"}, "k": 5, "cache": i % 2 == 0}) for i in range(2)]
        self.deadline_ms = self.patience_ms = 10000  # what is promised, and what is sent
        self.healthy = None  # the ids that each question is answered with when all is well; None where writers change it
        self.shorts = Ledger()

    def load(self, s):
        for path, rows in (("/v1/items", self.films), ("/v1/relations", self.relations),
                           ("/v1/interactions", [{"user": u, "item": f, "type": "like"} for u, films in self.seen.items() for f in films])):
            for i in range(0, len(rows), 100):
                status, report = s.json("POST", path, rows[i:i + 100], timeout=60)
                equal((status, report.get("accepted")), (200, len(rows[i:i + 100])), f"loading {path} {report}")

    def learn_healthy(self, s):
        """The answers of the healthy system; asked until two rounds are equal, since a test that takes noise for truth proves nothing."""
        rounds = [None]

        def ask():
            answers = [self.ask(s, n)[1] for n in range(len(self.questions))]
            rounds.append([a["degraded"] or [h["id"] for h in a["results"]] for a in answers][:-2])
            return rounds[-1] == rounds[-2] and not any(a["degraded"] for a in answers)

        try:
            until("two equal rounds of healthy answers", ask, 40)
        except Wrong as e:
            raise Wrong(f"{e}: {[(n, x, y) for n, (x, y) in enumerate(zip(*rounds[-2:])) if x != y or 'milvus' in x or 'neo4j' in x]}") from None
        self.healthy = rounds[-1] + [None, None]

    def ask(self, s, number):
        path, body = self.questions[number]
        return s.json("POST", path, body | {"deadline_ms": self.patience_ms})

    def calibrate(self, s, seed):
        """A deadline that this machine keeps under this load when nothing is broken; else every cell would judge the machine."""
        load = Load(s, self, seed)
        time.sleep(4)
        load.stop()
        slow = sorted(a[4] for a in load.answers)
        self.deadline_ms = self.patience_ms = round(min(DEADLINE_MS_MAX, max(DEADLINE_MS, 1.5 * slow[len(slow) * 95 // 100])))
        print(f"deadline {self.deadline_ms} ms: without a fault half of {len(slow)} answers took {slow[len(slow) // 2]:.0f} ms, the slowest "
              f"{slow[-1]:.0f}", flush=True)

    def check(self, number, status, answer, sent):
        """Wrong if the answer of question `number` cannot be right."""
        path, body = self.questions[number]
        if status != 200:
            return
        ids = [h["id"] for h in answer["results"]]
        if len(set(ids)) != len(ids) or len(ids) > body["k"]:
            raise Wrong(f"question {number}: {ids}")
        for h in answer["results"]:
            if body["filter"]["kind"] == "short":
                self.shorts.check_shown(h["id"], h["title"], sent)
            elif h["id"] not in self.vectors or h["title"] != "F" + h["id"][1:]:
                raise Wrong(f"question {number}: {h['id']!r} called {h['title']!r}")
            if h["id"] in self.seen.get(body.get("user"), ()):
                raise Wrong(f"question {number}: {body['user']} has seen {h['id']}")
        if self.healthy and self.healthy[number] is not None and not answer["degraded"] and ids != self.healthy[number]:
            raise Wrong(f"question {number} misses nothing and answers {ids}, healthy is {self.healthy[number]} ({answer['strategy']}, cached "
                        f"{answer['cached']})")


class Ledger:
    """What the writers did: for each short the last acknowledged state (a version, or None for removed), and the attempts of which nobody knows
    whether they happened."""

    def __init__(self):
        self.lock, self.acked, self.unknown, self.removed_at = threading.Lock(), {}, collections.defaultdict(set), {}
        self.tried = collections.defaultdict(set)  # every version that was ever sent: nothing else may be shown
        self.acks = self.refused = 0

    def attempt(self, changes):
        with self.lock:
            for id, version in changes:
                self.tried[id].add(version)
                self.removed_at.pop(id, None)

    def outcome(self, changes, known):
        """`known`: acknowledged, else nobody knows."""
        with self.lock:
            for id, version in changes:
                if known:
                    self.acked[id], self.acks = version, self.acks + 1
                    if version is None:
                        self.removed_at[id] = time.monotonic()
                else:
                    self.unknown[id].add(version)
                    self.refused += 1

    def settle(self):
        """Nothing is under way any more: unknown attempts that did not happen will not."""
        with self.lock:
            self.unknown.clear()

    def check_shown(self, id, title, sent):
        with self.lock:
            gone = self.removed_at.get(id)
            if not any(title == f"Short {v}" for v in self.tried.get(id, ()) if v is not None):
                raise Wrong(f"{id!r} is called {title!r}, which nobody wrote")
            if gone is not None and sent - gone > GONE_S and not self.unknown[id]:
                raise Wrong(f"{id!r} was removed {sent - gone:.1f} s before it was shown")

    def check_kept(self, read):
        """Reads every short back: `read(id)` gives its version, or None. What was found becomes what is known."""
        lost = []
        for id in sorted(self.acked.keys() | self.unknown.keys()):
            found = read(id)
            if found != self.acked.get(id) and found not in self.unknown[id]:
                lost.append(f"{id}: found {found}, acknowledged {self.acked.get(id)}, unknown {sorted(map(str, self.unknown[id]))}")
            self.acked[id] = found
        if lost:
            raise Wrong(f"{len(lost)} of {len(self.acked)} acknowledged states lost: {lost[:3]}")


# ---- the load

class Load:
    """Questions at a steady rate and writers beside them, from construction until stop()."""

    def __init__(self, s, world, seed, rate=RATE):
        self.s, self.world, self.random, self.rate = s, world, random.Random(seed), rate
        self.ended, self.writes_ended, self.jobs, self.lock = threading.Event(), threading.Event(), queue.Queue(), threading.Lock()
        self.answers, self.wrongs, self.writes, self.states = [], [], collections.Counter(), collections.Counter()
        self.write_ms, self.stall_ms, self.health_ms, self.asked = [], 0, 0, 0
        jobs = [self._clock, self._watch, self._stall, self._live] + [self._ask] * WORKERS
        self.threads = [threading.Thread(target=f, daemon=True) for f in jobs]
        self.writers = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(WRITERS)]
        for t in self.threads + self.writers:
            t.start()

    def _clock(self):
        at = time.monotonic()
        while not self.ended.is_set():
            self.jobs.put(self.random.randrange(len(self.world.questions)))
            self.asked += 1
            at += 1 / self.rate
            time.sleep(max(0, at - time.monotonic()))
        for _ in range(WORKERS):
            self.jobs.put(None)

    def _stall(self):
        """How late this process itself is: what its own sleeps overshoot is not the server's fault."""
        while not self.ended.is_set():
            at = time.monotonic()
            time.sleep(0.005)
            self.stall_ms = max(self.stall_ms, (time.monotonic() - at) * 1000 - 5)

    def _live(self):
        """How long an answer takes that needs no store: what stands in front of the questions is the server's."""
        while not self.ended.is_set():
            begun = time.monotonic()
            try:
                equal(self.s.call("GET", "/healthz")[0], 200, "/healthz")
            except (OSError, http.client.HTTPException, AssertionError) as e:
                self.wrongs.append(f"/healthz: {e!r}")
            self.health_ms = max(self.health_ms, (time.monotonic() - begun) * 1000)
            time.sleep(0.05)

    def _ask(self):
        while (number := self.jobs.get()) is not None:
            path, body = self.world.questions[number]
            sent, status, answer, retry = time.monotonic(), 0, {}, None
            try:
                status, headers, text = self.s.call("POST", path, body | {"deadline_ms": self.world.patience_ms})
                ms, retry, answer = (time.monotonic() - sent) * 1000, headers["Retry-After"], json.loads(text)
                self.world.check(number, status, answer, sent)
            except Wrong as e:
                self.wrongs.append(str(e))
            except (OSError, http.client.HTTPException, ValueError) as e:
                ms, answer = (time.monotonic() - sent) * 1000, {"detail": repr(e)}
            own_ms = answer.get("timing_us", {}).get("total", 0) / 1000
            self.answers.append((sent, number, status, ms, own_ms, tuple(answer.get("degraded", ())), retry, answer.get("detail")))

    def _write(self, n):
        """Batches of puts and deletions of this writer's own shorts; one after the other, so that an acknowledged state is the last one."""
        r, ledger = random.Random(f"{self.random.random()}{n}"), self.world.shorts
        mine = [f"short {i}" for i in range(n, SHORTS, WRITERS)]
        while not self.writes_ended.is_set():
            changes, lines = [], []
            for id in r.sample(mine, 8):
                there = ledger.acked.get(id) is not None
                version = None if there and r.random() < 0.3 else r.randrange(1 << 30)
                changes.append((id, version))
                short = {"id": id, "title": f"Short {version}", "kind": "short", "genres": [f"g{(version or 0) % 7}"], "themes": [f"t{(version or 0) % 5}"],
                         "vectors": {"default": unit(r)}}
                lines.append({"delete": {"item": id}} if version is None else {"item": short})
            puts = [id for id, version in changes if version is not None]
            if len(puts) > 1:
                lines.append({"relation": {"from": puts[0], "to": puts[1], "type": "RELATED_TO", "strength": 0.5}})
            ledger.attempt(changes)
            begun, status, report, retry = time.monotonic(), 0, {}, None
            try:
                status, headers, text = self.s.call("POST", "/v1/items", "\n".join(map(json.dumps, lines)), {"Content-Type": "application/x-ndjson"})
                retry, report = headers["Retry-After"], json.loads(text)
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.wrongs.append(f"a write was not answered: {e!r}")
            refused = {row["line"]: row for row in report.get("rejected", ())}
            for i, change in enumerate(changes):
                row = refused.get(i + 1)
                # to remove what is not there is refused: then it is known not to be there
                ledger.outcome([change], status == 200 and (row is None or (row["code"] == "NOT_FOUND" and change[1] is None)))
                if row and row["code"] != "NOT_FOUND":
                    self.wrongs.append(f"write {status}: {row}")
            self.writes["acknowledged" if status == 200 else f"{status}{' with' if retry else ' without'} Retry-After"] += 1
            self.write_ms.append((time.monotonic() - begun) * 1000)
            time.sleep(0.1)

    def _watch(self):
        """Breakers as /metrics shows them."""
        while not self.ended.is_set():
            try:
                for labels, value in self.s.metric("breaker_state").items():
                    self.states[(re.search(r'store="(\w+)"', labels)[1], int(value))] += 1
            except (OSError, http.client.HTTPException) as e:
                self.wrongs.append(f"/metrics was not answered: {e!r}")
            time.sleep(0.15)

    def stop_writing(self):
        self.writes_ended.set()
        for t in self.writers:
            t.join(60)
            true(not t.is_alive(), "a writer hangs: its request was not answered in a minute")

    def stop(self):
        self.stop_writing()
        self.ended.set()
        for t in self.threads:
            t.join(30)
            true(not t.is_alive(), "an asker hangs: its question was not answered in half a minute")


def until(what, check, seconds, pause=0.05):
    """Seconds that it took; Wrong when it took longer."""
    begun, last = time.monotonic(), None
    while True:
        try:
            if check():
                return time.monotonic() - begun
        except (OSError, http.client.HTTPException, KeyError, ValueError, engines.EngineError) as e:
            last = e
        if time.monotonic() - begun > seconds:
            raise Wrong(f"not within {seconds} s: {what}{f' ({last!r})' if last else ''}")
        time.sleep(pause)


# ---- judging

def judge(load, store, felt, felt_from, felt_to):
    """Holds the answers of a cell to the promises; gives its figures as text. `felt`: the store must have been named, between these times."""
    during = [a for a in load.answers if felt_from <= a[0] < felt_to]
    statuses, names = collections.Counter(a[2] for a in load.answers), collections.Counter(d for a in load.answers for d in a[5])
    inner, outer = max((a[4] for a in load.answers), default=0), max((a[3] for a in load.answers), default=0)
    text = (f"{len(load.answers)} answers, {sum(bool(a[5]) for a in load.answers)} degraded {dict(names)}, worst {inner:.0f} ms by its own clock, "
            f"{outer:.0f} by ours (we were {load.stall_ms:.0f} late, /healthz {load.health_ms:.0f}); "
            f"writes {dict(load.writes)}, worst {max(load.write_ms, default=0):.0f} ms")
    if load.wrongs:
        raise Wrong(f"{len(load.wrongs)} wrong: {load.wrongs[:2]}; {text}")
    if load.asked != len(load.answers) or not during:
        raise Wrong(f"{load.asked - len(load.answers)} questions have no answer; {text}")
    if set(statuses) - {200}:
        raise Wrong(f"statuses {dict(statuses)}: {next(a[7] for a in load.answers if a[2] != 200)}; {text}")
    due = load.world.deadline_ms + GRACE_MS
    late = sum(max(a[4], a[3]) > due + load.stall_ms for a in load.answers)
    if late:
        raise Wrong(f"{late} late; {text}")
    # a store that is well may be missed by an answer that was short of time, not by one that had half of it left
    strangers = sum(bool(set(a[5]) - {store, "feed"}) and a[4] < load.world.deadline_ms / 2 for a in load.answers)
    if strangers > STRANGERS * len(load.answers):
        raise Wrong(f"{strangers} answers name stores that are well; {text}")
    if felt and store != "postgres" and not names[store]:
        raise Wrong(f"the fault was not felt; {text}")
    if store != "postgres" and set(load.writes) - {"acknowledged"}:
        raise Wrong(f"writes were refused; {text}")
    if store == "postgres" and felt and set(load.writes) == {"acknowledged"}:
        raise Wrong(f"the fault was not felt; {text}")
    if store == "postgres" and any("without" in w for w in load.writes):
        raise Wrong(f"refusals without Retry-After; {text}")
    return text


def normal(s, world):
    """Every question is answered as when all is well, and a write is acknowledged."""
    for number, (path, body) in enumerate(world.questions):
        status, answer = world.ask(s, number)
        if status != 200 or answer["degraded"]:
            return False
        world.check(number, status, answer, time.monotonic())
    return s.call("PUT", "/v1/users/nobody", "{}")[0] == 200


def normal_after(s, world, seconds):
    """Asks every question until each was answered as when all is well, one after the other; gives when the last bad answer was, seconds from now."""
    begun = bad = time.monotonic()
    while not normal(s, world):
        bad = time.monotonic()
        if bad - begun > seconds:
            raise Wrong(f"after {bad - begun:.0f} s answers are not normal: {[world.ask(s, n)[1].get('degraded') for n in range(len(world.questions))]}")
        time.sleep(0.05)
    return bad - begun


def converged(s, world, lag_s=LAG_S):
    """The stores hold what the record store holds; gives the seconds until the feeds had no lag."""
    took = until("feeds without lag", lambda: not any(s.metric("feed_lag").values()), lag_s)
    status, report = s.json("POST", "/v1/verify", timeout=120)
    if status != 200 or not report["ok"]:
        raise Wrong(f"verify: {json.dumps(report)[:600]}")
    world.shorts.check_kept(lambda id: read_short(s, id))
    return took


def read_short(s, id):
    status, item = s.json("GET", "/v1/items/" + id.replace(" ", "%20"))
    true(status in (200, 404), f"GET {id}: {status} {item}")
    return int(item["title"][6:]) if status == 200 else None


def breakers_closed(s):
    return not any(s.metric("breaker_state").values())


# ---- the claims

class Stage:
    """Engines, proxies, one server and its world, and what the claims measured."""

    def __init__(self, options):
        self.options, self.figures = options, []
        wanted = [f"BRAID_TEST_{n.upper()}" for n in engines.NAMES]
        self.borrowed = all(n in os.environ for n in wanted) and not options.kill and not options.all
        self.env = None if self.borrowed else dict(os.environ, **{k: os.environ.get(k, v) for k, v in OWN.items()})
        self.schema = f"braid_faults_{os.getpid()}"

    def __enter__(self):
        self.ran = [n for n, row in engines.status(*engines.NAMES, env=self.env).items() if row["state"] == "up"] if self.env else list(engines.NAMES)
        self.addresses = {k: v for k, v in os.environ.items() if k.startswith("BRAID_TEST_")} if self.borrowed else engines.ensure(engines.NAMES, env=self.env)
        self._lock_neo4j()
        control = self.addresses["BRAID_TEST_TOXIPROXY"]
        self.proxies = {n: engines.Proxy(f"faults_{n}_{os.getpid()}", self.addresses[f"BRAID_TEST_{n.upper()}"], control).__enter__() for n in STORES}
        return self

    def __exit__(self, *_):
        for p in self.proxies.values():
            p.__exit__()
        self._forget()
        if self.env and not self.options.keep:
            engines.down(*[n for n in engines.NAMES if n not in self.ran], env=self.env)

    def _lock_neo4j(self):
        """Community edition has one database: one test at a time, by the lock that the other tests take too."""
        name = "braid-test-neo4j-" + self.addresses["BRAID_TEST_NEO4J"].replace(":", "-") + ".lock"
        self.lock = open(os.path.join(os.environ.get("TMPDIR", "/tmp"), name), "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def _forget(self):
        """Removes what this run made: a schema in PostgreSQL, a collection in Milvus. Redis forgets by itself."""
        a = self.addresses
        host, port = a["BRAID_TEST_POSTGRES"].rsplit(":", 1)
        pq = ctypes.CDLL("libpq.so.5")
        pq.PQconnectdb.restype = pq.PQexec.restype = ctypes.c_void_p
        with open(a["BRAID_TEST_POSTGRES_PASSWORD_FILE"]) as f:
            secret = f.readline().strip()
        user, database = a.get("BRAID_TEST_POSTGRES_USER", "braid"), a.get("BRAID_TEST_POSTGRES_DATABASE", "braid")
        where = f"host={host} port={port} user={user} dbname={database} options='-c client_min_messages=error' password={secret}"
        link = ctypes.c_void_p(pq.PQconnectdb(where.encode()))
        pq.PQclear(ctypes.c_void_p(pq.PQexec(link, f"DROP SCHEMA IF EXISTS {self.schema} CASCADE".encode())))
        pq.PQfinish(link)
        body = json.dumps({"collectionName": self.schema + "_media_embeddings"}).encode()
        try:
            drop = urllib.request.Request(f"http://{a['BRAID_TEST_MILVUS']}/v1/vector/collections/drop", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(drop, timeout=20).read()
        except OSError as e:
            print(f"     the collection {self.schema} stays in Milvus: {e}")

    def server(self, **settings):
        return Server(self.options.braid, self.addresses, self.proxies, self.schema, **settings)

    def heal(self):
        """Whole again. Toxiproxy drains a link before it gives up a toxic, which may take longer than its control connection waits."""
        for p in self.proxies.values():
            until(f"{p.name} cleared", lambda p=p: p.clear() or True, 40)


def disturb(proxy, fault):
    name, _, way = fault.partition(" ")
    if name == "cut":
        proxy.disable()
    else:
        kind, attributes, _, _ = TOXICS[name]
        proxy.add(kind, stream=way + "stream", **attributes)


def must_feel(store, fault):
    name, _, way = fault.partition(" ")
    return name == "cut" or store in TOXICS[name][2 if way == "down" else 3]


def under_load(stage, s, world, store, felt, break_it, mend_it, seconds, normal_s=NORMAL_S, lag_s=LAG_S):
    """One cell: load, break, mend, judge, and wait until nothing is left of it. The figures, as text."""
    load = Load(s, world, stage.options.seed)
    try:
        time.sleep(0.3)
        broken = time.monotonic()
        break_it()
        time.sleep(seconds)
        if felt and store != "postgres":  # how soon a breaker opens depends on how many calls there are
            until(f"the breaker of {store} open", lambda: any(name == store and state for name, state in list(load.states)), 10)
        reads = postgres_reads(s) if store == "postgres" and felt else ""
        mending = time.monotonic()
        mend_it()
        mended = time.monotonic()
        load.stop_writing()
        stopped = time.monotonic()
    finally:
        stage.heal()
        load.stop()
    text = judge(load, store, felt, broken, mending) + reads
    back = normal_after(s, world, normal_s)
    lag = converged(s, world, lag_s)
    until("breakers closed", lambda: normal(s, world) and breakers_closed(s), normal_s)
    world.shorts.settle()
    opened = any(state for name, state in load.states if name == store)
    return (f"{text}; normal {back:.1f} s after the load ended (writers {stopped - mended:.1f} s after the fault), lag gone in {lag:.1f} s more, breaker "
            f"{'opened' if opened else 'stayed closed'}")


def postgres_reads(s):
    """What is said of reads without PostgreSQL, held to READS."""
    for (method, path), wanted in READS.items():
        body = {"vector": [1.0] * DIM, "k": 3, "cache": False} if path == "/v1/search" else {"user": "ana0", "k": 3} if path == "/v1/recommend" else None
        begun = time.monotonic()
        status, headers, text = s.call(method, path, body)
        ms = (time.monotonic() - begun) * 1000
        if (wanted == "answer") != (status == 200) or (wanted == "refusal" and (status not in (503, 504) or headers["Retry-After"] is None)):
            raise Wrong(f"without PostgreSQL {method} {path} is {status} in {ms:.0f} ms, wanted an {wanted}: {text[:200]!r}")
    return "; reads as in the table"


def cells(claim, stage, world, faults):
    for fault in faults:
        for store in STORES:
            if stage.options.only not in f"{store} {fault}":
                continue

            @claim(f"{store}, {fault}: nothing wrong, nothing late, nothing lost")
            def _(s, store=store, fault=fault):
                text = under_load(stage, s, world, store, must_feel(store, fault), lambda: disturb(stage.proxies[store], fault), stage.heal,
                                  stage.options.seconds)
                print(f"     {text}")


def killings(claim, stage, world):
    for store in STORES:
        if stage.options.only not in f"{store} kill":
            continue

        @claim(f"{store}, kill -9 and restart while writing and asking: nothing wrong, nothing lost, back within {NORMAL_S} s")
        def _(s, store=store):
            dead = []

            def mend():
                engines.up(store, env=stage.env)
                dead.append(time.monotonic())

            text = under_load(stage, s, world, store, True, lambda: engines.kill(store, env=stage.env), mend, 1.5, lag_s=NORMAL_S)
            print(f"     {text}")


def starts(claim, stage, world):
    for store in ("milvus", "neo4j", "redis"):
        for fault in ("cut", "timeout up"):
            if stage.options.only not in f"start {store} {fault}":
                continue

            @claim(f"a start with {store} away ({fault}) serves without it, and gets well by itself")
            def _(_, store=store, fault=fault):
                disturb(stage.proxies[store], fault)
                try:
                    with stage.server() as s:
                        answers = [world.ask(s, n) for n in (0, 3, 6, 9, 14, 15)]
                        equal({status for status, _ in answers}, {200}, "statuses")
                        named = {d for _, a in answers for d in a["degraded"]}
                        true(store in named, f"degraded names {named}")  # a cold start may be short of time for others, too
                        stage.heal()
                        took = normal_after(s, world, NORMAL_S)
                        converged(s, world)
                        print(f"     started in {s.started_s:.1f} s, first answers name {sorted(named)}, normal {took:.1f} s after {store} came back")
                finally:
                    stage.heal()

    if stage.options.only in "start postgres":
        @claim("a start with PostgreSQL away says so, names it and ends")
        def _(_):
            stage.proxies["postgres"].disable()
            try:
                with stage.server():
                    raise Wrong("it started")
            except Wrong as e:
                true("exit 1" in str(e) and "postgres" in str(e) and "traceback" not in str(e).lower(), str(e))
                print(f"     {e}")
            finally:
                stage.heal()


def canaries(claim, stage, world):
    @claim("canary: a server that takes three times the deadline is found late")
    def _(s):
        world.patience_ms = 3 * world.deadline_ms
        try:
            under_load(stage, s, world, "milvus", True, lambda: disturb(stage.proxies["milvus"], "timeout up"), stage.heal, 2 * world.deadline_ms / 1000)
        except Wrong as e:
            true(" late; " in str(e), f"found something else: {e}")
        else:
            raise Wrong("was not found")
        finally:
            world.patience_ms = world.deadline_ms
            until("normal", lambda: normal(s, world) and breakers_closed(s), NORMAL_S)
            world.shorts.settle()

    @claim("canary: another question's answer, a stranger among the items, a removed item and a lost write are found")
    def _(s):
        world.shorts.settle()
        right, other = (world.ask(s, n)[1] for n in (0, 2))
        right["degraded"] = other["degraded"] = []
        world.check(0, 200, right, time.monotonic())
        ledger, stranger = world.shorts, json.loads(json.dumps(right))
        stranger["results"][0]["title"] = "Film of another database"
        there = next((id for id, version in ledger.acked.items() if version is not None), None)
        true(there, "no short is there")
        was = ledger.acked[there]
        forged = ({"results": [{"id": there, "title": f"Short {was}"}], "degraded": []}, dict(ledger.removed_at), dict(ledger.acked))

        def show_removed():
            ledger.removed_at[there] = time.monotonic() - 60
            world.check(len(world.questions) - 1, 200, forged[0], time.monotonic())

        def lose():
            ledger.acked[there] = was + 1
            ledger.check_kept(lambda id: read_short(s, id))

        for what, look in (("another answer", lambda: world.check(0, 200, other, 0)), ("a stranger", lambda: world.check(0, 200, stranger, 0)),
                           ("a removed item", show_removed), ("a lost write", lose)):
            try:
                look()
            except Wrong:
                ledger.removed_at, ledger.acked = dict(forged[1]), dict(forged[2])
                continue
            raise Wrong(f"{what} was not found")


def leaks(claim, stage, before):
    @claim("no connection and no memory is left behind")
    def _(s):
        until("connections closed", lambda: s.open_files() <= before["files"] + BURST_FDS, 20, 0.5)
        files, rss = s.open_files(), s.rss_mb()
        print(f"     open files {before['files']} before, {files} after; resident {before['rss']:.0f} MB before, {rss:.0f} after")
        true(rss <= before["rss"] + RSS_MB, f"{rss - before['rss']:.0f} MB more")


def hold(claim, stage, s):
    """Runs the claims; how many failed."""
    failed = 0
    for text, function in claim.rows:
        begun = time.monotonic()
        try:
            function(s)
            print(f"ok   {text} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception as e:  # a check that breaks has failed
            failed += 1
            print(f"FAIL {text} ({time.monotonic() - begun:.1f} s): {type(e).__name__}: {e}", flush=True)
            if s and s.process.poll() is not None:
                raise SystemExit(f"braid ended ({s.process.returncode}): {s.said()[-3000:]}\n0 passed, 1 failed")
        stage.heal()
    return failed


def main():
    a = argparse.ArgumentParser()
    a.add_argument("braid", nargs="?", default=os.path.join(ROOT, os.environ.get("BUILD", "build"), "release/braid"))
    a.add_argument("--all", action="store_true")
    a.add_argument("--kill", action="store_true")
    a.add_argument("--only", default="")
    a.add_argument("--seconds", type=float, default=2)
    a.add_argument("--seed", type=int, default=int(time.time()))
    a.add_argument("--keep", action="store_true", help="leave the engines running")
    options = a.parse_args()
    options.braid = os.path.abspath(options.braid)
    began, claim, before = time.monotonic(), Claims(), {}
    print(f"seed {options.seed}", flush=True)
    with Stage(options) as stage:
        world = World(options.seed)
        with stage.server() as s:
            world.load(s)
            until("feeds without lag", lambda: not any(s.metric("feed_lag").values()), 180)
            world.learn_healthy(s)
            world.calibrate(s, options.seed)
            print(f"engines and server ready after {time.monotonic() - began:.0f} s; {len(world.questions)} questions, {RATE} a second", flush=True)

            @claim("under load and without a fault nothing is degraded and nothing late")
            def _(s):
                print(f"     {under_load(stage, s, world, '', False, lambda: None, lambda: None, 1.0)}")
                before.update(files=s.open_files(), rss=s.rss_mb())

            if not options.kill:
                cells(claim, stage, world, FAULTS if options.all else FEW)
            if options.kill or options.all:
                killings(claim, stage, world)
            leaks(claim, stage, before)
            if options.only in "canary":
                canaries(claim, stage, world)
            bad = hold(claim, stage, s)
        again = Claims()
        if not options.kill:
            starts(again, stage, world)
        bad += hold(again, stage, None)
    print(f"{time.monotonic() - began:.0f} s in all")
    print(f"{len(claim.rows) + len(again.rows) - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
