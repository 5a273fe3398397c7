"""The server under test for the fault tests, what is in it, what was done to it, and the load: questions at a steady rate and writers beside them.

  Server    `braid serve` on the four engines, each behind a proxy
  World     films that nobody changes, the questions about them and their answers when all is well; and shorts, which writers change all the time
  Ledger    what the writers did and what was said to them: the judge of lost writes and of items that nobody wrote
  Load      an open loop: a question is asked when its time has come, whether or not the last one was answered
"""
import collections, http.client, json, math, os, queue, random, re, signal, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import engines
from serving import equal, true

DIM, FILMS, SHORTS, PEOPLE = 32, 240, 120, 6
DEADLINE_MS, DEADLINE_MS_MAX = 300, 2000     # the deadline is as long as this machine needs (World.calibrate)
RATE, WORKERS, WRITERS = 12, 64, 2           # questions a second, threads that ask, threads that write
GONE_S = 3                                   # a removed item may be shown for so much longer (feeds are pictured behind the log)


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
        """The answers of the healthy system: of each question the one that came twice in a row and missed nothing, since a test that takes noise
        for truth proves nothing."""
        fixed, last = range(len(self.questions) - 2), {}
        healthy = {}

        def ask():
            for n in set(fixed) - healthy.keys():
                a = self.ask(s, n)[1]
                ids = [h["id"] for h in a["results"]]
                if not a["degraded"] and last.get(n) == ids:
                    healthy[n] = ids
                last[n] = a["degraded"] or ids
            return len(healthy) == len(fixed)

        try:
            until("the same healthy answer twice to every question", ask, 200)
        except Wrong as e:
            raise Wrong(f"{e}: {({n: last[n] for n in set(fixed) - healthy.keys()})}") from None
        self.healthy = [healthy[n] for n in fixed] + [None, None]

    def ask(self, s, number):
        """With as much time as may be asked for: what is looked at here is what the answer says."""
        path, body = self.questions[number]
        return s.json("POST", path, body | {"deadline_ms": DEADLINE_MS_MAX})

    def calibrate(self, s, seed):
        """A deadline that this machine keeps under this load when nothing is broken; else every cell would judge the machine."""
        load = Load(s, self, seed)
        time.sleep(4)
        load.stop()
        slow = sorted(a.own_ms for a in load.answers)
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

# `ms` by our clock, `own_ms` by the answer's own
Answer = collections.namedtuple("Answer", "sent ended number status ms own_ms degraded retry detail")


class Load:
    """Questions at a steady rate and writers beside them, from construction until stop()."""

    def __init__(self, s, world, seed, rate=RATE):
        self.s, self.world, self.random, self.rate = s, world, random.Random(seed), rate
        self.ended, self.writes_ended, self.jobs, self.lock = threading.Event(), threading.Event(), queue.Queue(), threading.Lock()
        self.answers, self.wrongs, self.writes, self.states = [], [], collections.Counter(), collections.Counter()
        self.write_ms, self.health_ms, self.asked = [], 0, 0
        jobs = [self._clock, self._watch, self._live] + [self._ask] * WORKERS
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
            sent, ended, status, answer, retry = time.monotonic(), None, 0, {}, None
            try:
                status, headers, text = self.s.call("POST", path, body | {"deadline_ms": self.world.patience_ms})
                ended, retry, answer = time.monotonic(), headers["Retry-After"], json.loads(text)
                self.world.check(number, status, answer, sent)
            except Wrong as e:
                self.wrongs.append(str(e))
            except (OSError, http.client.HTTPException, ValueError) as e:
                answer = {"detail": repr(e)}
            ended = ended or time.monotonic()
            own_ms = answer.get("timing_us", {}).get("total", 0) / 1000
            self.answers.append(Answer(sent, ended, number, status, (ended - sent) * 1000, own_ms, tuple(answer.get("degraded", ())), retry,
                                       answer.get("detail")))

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

    def opened(self, store):
        return any(name == store and state for name, state in list(self.states))

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
