#!/usr/bin/env python3
"""Faults between Braid and its four engines: a store that is slow, cut, torn or killed costs quality, never a wrong answer, a late one or a lost write.

Starts `braid serve` on PostgreSQL (records), Milvus (vectors), Neo4j (graph) and Redis (cache), each behind a proxy that can be disturbed, and
holds it to R9, R13, R14 and R15 of the reliability plan. A cell is one fault on one store: questions come at a steady rate whether or not the
last one was answered (open loop), writes and deletions run beside them, the fault comes and goes. Then
  - every question was answered within its deadline + 50 ms, by the answer's own clock and by ours;
  - with Milvus, Neo4j or Redis disturbed every status is 200, and `degraded` names the disturbed store and, but for want of time, no other;
  - with PostgreSQL disturbed questions are still answered from what is in memory (table READS below), and writes are refused with 503 and
    Retry-After;
  - an answer that misses nothing is the answer of the healthy system, item by item, and none shows what was never written or was removed;
  - after the fault the answers are the healthy ones within 10 s, the feeds have no lag within 30 s, `verify` finds nothing missing, extra or
    different, the breakers are closed, and what was acknowledged is read back.
The part with kill -9 does the same with the engine's process instead of the proxy. Canaries: a server that is told to take longer than it
promises must be found late, a forged answer must be found wrong, a forged write must be found lost.

What is judged is Braid and not the machine (witness.py): an answer may be late by what a twin was late at the same moment; it may
miss a store that nobody disturbed when that store was slow to its own client; and seconds of recovery are seconds, of a machine of
one's own, in which the engines answered their own clients, each within the deadline. The deadline is measured first: less than this machine needs when all is
well would be missed with or without faults.

Usage: engines.py [--all | --kill | --none] [--only WORD] [--seconds S] [--seed N] [--keep] [BRAID]
  without options   8 faults x 4 stores, start-up with a store away, leaks, canaries
  --all             23 faults x 4 stores, start-up, kill -9 and restart of each engine, leaks, canaries
  --kill            kill -9 and restart, leaks, canaries
  --none            leaks and canaries
Engines of its own are started in build/engines_faults (ports 24xxx) and stopped at the end unless they ran before; with BRAID_TEST_MILVUS,
_NEO4J, _POSTGRES, _REDIS and _TOXIPROXY in the environment those are used instead, for what does not kill or stop them.
"""
import argparse, collections, contextlib, fcntl, json, os, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test"))
import engines
from disturb import FAULTS, FEW, STORES, Disturbance, must_feel
from serving import Claims, equal, true
from witness import Milvus, Postgres, Twin, Witness
from world import DEADLINE_MS_MAX, DIM, RATE, Load, Server, World, Wrong, until

OWN = {"BRAID_ENGINES_DIR": os.path.join(ROOT, "build/engines_faults"), "BRAID_ENGINES_MILVUS_PORT": "24530",
       "BRAID_ENGINES_NEO4J_PORT": "24687", "BRAID_ENGINES_POSTGRES_PORT": "24432",
       "BRAID_ENGINES_REDIS_PORT": "24379", "BRAID_ENGINES_TOXIPROXY_PORT": "24474", "BRAID_ENGINES_TIMEOUT": "300"}
GRACE_MS = 50
NORMAL_S, LAG_S, PATIENCE_S = 10, 30, 400    # seconds in which the engines are well; and on the wall, for a machine that never is
CACHE_MS = 8                                 # what an answer waits for a cache that was late (src/cache/cache.c)
STRANGERS = 0.1                              # share of answers that may miss a store that was well
ROUNDS, ROUND_FILES, ROUND_MB = 10, 24, 8    # faults one after the other, and what the later half of them may leave behind

# What may be asked while PostgreSQL does not answer, and what comes: "answer" from memory, or "refusal" (503 or 504, Retry-After). Judged against
# the design: the record store is the truth; whoever needs it is refused and told to come again, whoever needs only what was derived from it is
# answered.
READS = {("POST", "/v1/search"): "answer", ("POST", "/v1/recommend"): "answer", ("GET", "/healthz"): "answer", ("GET", "/metrics"): "answer",
         ("GET", "/v1/items/film%203"): "refusal", ("GET", "/v1/users/ana0"): "refusal"}


# ---- the stage

class Stage:
    """Engines, proxies and witnesses; one server and its world come and go on it."""

    def __init__(self, options):
        self.options = options
        wanted = [f"BRAID_TEST_{n.upper()}" for n in engines.NAMES]
        self.borrowed = all(n in os.environ for n in wanted) and not options.kill and not options.all
        self.env = None if self.borrowed else dict(os.environ, **{k: os.environ.get(k, v) for k, v in OWN.items()})
        self.schema = f"braid_faults_{os.getpid()}"

    def __enter__(self):
        self.ran = [n for n, row in engines.status(*engines.NAMES, env=self.env).items() if row["state"] == "up"] if self.env else list(engines.NAMES)
        self.addresses = {k: v for k, v in os.environ.items() if k.startswith("BRAID_TEST_")} if self.borrowed else engines.ensure(engines.NAMES, env=self.env)
        self.closing = contextlib.ExitStack()
        self._lock_neo4j()
        control = self.addresses["BRAID_TEST_TOXIPROXY"]
        proxy = lambda n: engines.Proxy(f"faults_{n}_{os.getpid()}", self.addresses[f"BRAID_TEST_{n.upper()}"], control)
        self.closing.callback(self._stop_engines)
        self.proxies = {n: self.closing.enter_context(proxy(n)) for n in STORES}
        self.closing.callback(self._forget)
        self.twin = self.closing.enter_context(Twin())
        self.witnesses = {n: self.closing.enter_context(Witness(n, self.addresses, self.schema)) for n in STORES}
        self.ways = {n: Disturbance(self.proxies[n], n, self.env, self.options.seed) for n in STORES}
        self.closing.callback(self.heal)
        return self

    def __exit__(self, *_):
        self.closing.close()

    def _stop_engines(self):
        if self.env and not self.options.keep:
            engines.down(*[n for n in engines.NAMES if n not in self.ran], env=self.env)

    def _lock_neo4j(self):
        """Community edition has one database: one test at a time, by the lock that the other tests take too."""
        name = "braid-test-neo4j-" + self.addresses["BRAID_TEST_NEO4J"].replace(":", "-") + ".lock"
        self.lock = open(os.path.join(os.environ.get("TMPDIR", "/tmp"), name), "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def _forget(self):
        """Removes what this run made: a schema in PostgreSQL, a collection in Milvus. Redis forgets by itself."""
        try:
            postgres = Postgres(self.addresses, self.schema)
            postgres.connect()
            postgres.ask(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
            postgres.close()
            Milvus(self.addresses, self.schema).drop()
        except OSError as e:
            print(f"     {self.schema} stays: {e}")

    def server(self, **settings):
        return Server(self.options.braid, self.addresses, self.proxies, self.schema, **settings)

    def heal(self):
        """Whole again. Toxiproxy drains a link before it gives up a toxic, which may take longer than its control connection waits."""
        for name, way in self.ways.items():
            until(f"{name} healed", lambda way=way: way.end() or True, 60)

    def well_s(self, since, within_ms):
        """Seconds since then, of a machine of one's own, in which every engine answered its own client, each time within so many milliseconds."""
        return min(w.good_s(since, within_ms, self.twin.own_s) for w in self.witnesses.values())

    def excused(self, store, a, within_ms):
        """Whether the machine or the store itself was too slow for answer `a` to have it. The cache is given up soonest: it is there to save time."""
        within_ms = min(within_ms, CACHE_MS) if store == "redis" else within_ms
        return self.witnesses[store].unwell(a.sent, a.ended, within_ms) or self.twin.late_ms(a.sent, a.ended) > within_ms


# ---- judging

def judge(stage, load, store, felt, felt_from, felt_to):
    """Holds the answers of a cell to the promises; gives its figures as text. `felt`: the store must have been named, between these times."""
    answers, promised = load.answers, load.world.deadline_ms
    during = [a for a in answers if felt_from <= a.sent < felt_to]
    statuses, names = collections.Counter(a.status for a in answers), collections.Counter(d for a in answers for d in a.degraded)
    over = [(a, max(a.own_ms, a.ms) - promised - GRACE_MS) for a in answers]
    twin = lambda a: stage.twin.late_ms(a.sent, a.ended)
    # by our clock there are two ways more, to the server and back: the twin's lateness twice
    late = [(a, ms) for a, ms in over if ms > 0 and (a.own_ms - promised - GRACE_MS > twin(a) or ms > 2 * twin(a))]
    strangers = [(a, d) for a in answers for d in set(a.degraded) & set(STORES) - {store}
                 if a.own_ms < promised / 2 and not stage.excused(d, a, promised / 4)]
    text = (f"{len(answers)} answers, {sum(bool(a.degraded) for a in answers)} degraded {dict(names)}, "
            f"worst {max((a.own_ms for a in answers), default=0):.0f} ms by its own clock, {max((a.ms for a in answers), default=0):.0f} by ours (the twin was "
            f"{max(map(twin, answers), default=0):.0f} late, /healthz {load.health_ms:.0f}, excused "
            f"{sum(ms > 0 for _, ms in over) - len(late)}, machine x{stage.twin.stretch():.1f}); writes {dict(load.writes)}, worst {max(load.write_ms, default=0):.0f} ms")
    if load.wrongs:
        raise Wrong(f"{len(load.wrongs)} wrong: {load.wrongs[:2]}; {text}")
    if load.asked != len(answers) or not during:
        raise Wrong(f"{load.asked - len(answers)} questions have no answer; {text}")
    if set(statuses) - {200}:
        raise Wrong(f"statuses {dict(statuses)}: {next(a.detail for a in answers if a.status != 200)}; {text}")
    if late:
        worst, ms = max(late, key=lambda row: row[1])
        raise Wrong(f"{len(late)} late; question {worst.number} was {ms:.0f} ms over, the twin {twin(worst):.0f}; {text}")
    if len(strangers) > STRANGERS * len(answers):
        said = collections.Counter(d for _, d in strangers)
        raise Wrong(f"{len(strangers)} answers name stores that were well: {dict(said)}; {text}")
    if felt and store != "postgres" and not names[store]:
        raise Wrong(f"the fault was not felt; {text}")
    if store != "postgres" and set(load.writes) - {"acknowledged"}:
        raise Wrong(f"writes were refused; {text}")
    if store == "postgres" and felt and set(load.writes) == {"acknowledged"}:
        raise Wrong(f"the fault was not felt; {text}")
    if store == "postgres" and any("without" in w for w in load.writes):
        raise Wrong(f"refusals without Retry-After; {text}")
    return text


def while_well(stage, world, what, check, seconds, begun=None):
    """Waits for check(), which gives what is still amiss, or nothing. Wrong when the engines were well for `seconds` and it is still not so.
    Gives the seconds on the wall."""
    begun = begun or time.monotonic()
    while amiss := check():
        well = stage.well_s(begun, world.deadline_ms)
        if well > seconds:
            raise Wrong(f"{what}: not within {seconds} s of the engines' good time ({time.monotonic() - begun:.0f} s by the wall, the machine "
                        f"{stage.twin.stretch():.1f} times slower than alone): {amiss}")
        if time.monotonic() - begun > PATIENCE_S:
            errors = {n: w.last_error[:120] for n, w in stage.witnesses.items() if w.good_s(time.monotonic() - 10, world.deadline_ms) < 5}
            raise Wrong(f"{what}: the engines were well for {well:.1f} of {PATIENCE_S} s only ({errors}), and it is still so: {amiss}")
        time.sleep(0.05)
    return time.monotonic() - begun


def normal(stage, s, world, seconds=NORMAL_S, begun=None):
    """Waits until each question has been answered as when all is well, a write was acknowledged, and the breakers are closed."""
    left = set(range(len(world.questions)))

    def amiss():
        bad = {}
        for number in sorted(left):
            status, answer = world.ask(s, number)
            if status != 200 or answer["degraded"]:
                bad[number] = answer.get("degraded", status)
            else:
                world.check(number, status, answer, time.monotonic())
                left.discard(number)
        if not bad and (status := s.call("PUT", "/v1/users/nobody", "{}")[0]) != 200:
            bad["a write"] = status
        return bad or {labels: state for labels, state in s.metric("breaker_state").items() if state}

    return while_well(stage, world, "answers as when all is well", amiss, seconds, begun)


def converged(stage, s, world, lag_s=LAG_S, begun=None):
    """The stores hold what the record store holds; gives the seconds until the feeds had no lag."""
    took = while_well(stage, world, "feeds without lag", lambda: {k: v for k, v in s.metric("feed_lag").items() if v}, lag_s, begun)
    status, report = s.json("POST", "/v1/verify", timeout=120)
    if status != 200 or not report["ok"]:
        raise Wrong(f"verify: {json.dumps(report)[:600]}")
    world.shorts.check_kept(lambda id: read_short(s, id))
    return took


def read_short(s, id):
    status, item = s.json("GET", "/v1/items/" + id.replace(" ", "%20"))
    true(status in (200, 404), f"GET {id}: {status} {item}")
    return int(item["title"][6:]) if status == 200 else None


# ---- the claims

def under_load(stage, s, world, store, felt, break_it, mend_it, seconds, lag_s=LAG_S):
    """One cell: load, break, mend, judge, and wait until nothing is left of it. The figures, as text."""
    load = Load(s, world, stage.options.seed)
    try:
        time.sleep(0.3)
        broken = time.monotonic()
        break_it()
        time.sleep(seconds)
        reads = postgres_reads(s) if store == "postgres" and felt else ""
        if felt and store != "postgres":  # how soon a breaker opens depends on how many calls there are
            begun = len(load.answers)
            while not load.opened(store):
                if len(load.answers) - begun > 15 * RATE:
                    raise Wrong(f"{len(load.answers) - begun} answers did not open the breaker of {store}")
                time.sleep(0.05)
        mending = time.monotonic()
        mend_it()
        mended = time.monotonic()
        load.stop_writing()
    finally:
        stage.heal()
        load.stop()
    text = judge(stage, load, store, felt, broken, mending) + reads
    back = normal(stage, s, world, begun=mended)
    lag = converged(stage, s, world, lag_s, begun=mended)
    normal(stage, s, world)
    world.shorts.settle()
    return f"{text}; normal {back:.1f} s after the fault, lag gone {lag:.1f} s after it, breaker {'opened' if load.opened(store) else 'stayed closed'}"


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
            if stage.options.only not in f"{store} {fault}" or (fault == "stopped" and stage.borrowed):
                continue

            @claim(f"{store}, {fault}: nothing wrong, nothing late, nothing lost")
            def _(s, store=store, fault=fault):
                way = stage.ways[store]
                text = under_load(stage, s, world, store, must_feel(store, fault), lambda: way.begin(fault), stage.heal, stage.options.seconds)
                print(f"     {text}")


def killings(claim, stage, world):
    for store in STORES:
        if stage.options.only not in f"{store} kill":
            continue

        @claim(f"{store}, kill -9 and restart while writing and asking: nothing wrong, nothing lost, back within {NORMAL_S} s")
        def _(s, store=store):
            begun = time.monotonic()
            text = under_load(stage, s, world, store, True, lambda: engines.kill(store, env=stage.env), lambda: engines.up(store, env=stage.env), 1.5,
                              lag_s=NORMAL_S)
            print(f"     {text}; {time.monotonic() - begun:.0f} s in all")


def starts(claim, stage, world):
    for store in ("milvus", "neo4j", "redis"):
        for fault in ("cut", "timeout up"):
            if stage.options.only not in f"start {store} {fault}":
                continue

            @claim(f"a start with {store} away ({fault}) serves without it, and gets well by itself")
            def _(_, store=store, fault=fault):
                stage.ways[store].begin(fault)
                try:
                    with stage.server() as s:
                        answers = [world.ask(s, n) for n in (0, 3, 6, 9, 14, 15)]
                        equal({status for status, _ in answers}, {200}, "statuses")
                        named = {d for _, a in answers for d in a["degraded"]}
                        true(store in named, f"degraded names {named}")  # a cold start may be short of time for others, too
                        stage.heal()
                        took = normal(stage, s, world)
                        converged(stage, s, world)
                        print(f"     started in {s.started_s:.1f} s, first answers name {sorted(named)}, normal {took:.1f} s after {store} came back")
                finally:
                    stage.heal()

    if stage.options.only in "start postgres":
        @claim("a start with PostgreSQL away says so, names it and ends")
        def _(_):
            stage.ways["postgres"].begin("cut")
            try:
                with stage.server():
                    raise Wrong("it started")
            except Wrong as e:
                true("exit 1" in str(e) and "postgres" in str(e) and "traceback" not in str(e).lower(), str(e))
                print(f"     {e}")
            finally:
                stage.heal()


def canaries(claim, stage, world):
    @claim("canary: a server that takes longer than it promises is found late")
    def _(s):
        # three times what it promises; more where the machine is so late that this could be its own doing
        machine = 4 * (GRACE_MS + stage.twin.late_ms(time.monotonic() - 60, time.monotonic()))
        world.patience_ms = round(world.deadline_ms + max(2 * world.deadline_ms, machine))
        try:
            under_load(stage, s, world, "milvus", True, lambda: stage.ways["milvus"].begin("timeout up"), stage.heal,
                       2 * world.patience_ms / 1000)
        except Wrong as e:
            true(" late; " in str(e), f"found something else: {e}")
        else:
            raise Wrong("was not found")
        finally:
            world.patience_ms = world.deadline_ms
            normal(stage, s, world)
            world.shorts.settle()

    @claim("canary: an engine that does not answer its own client is not well, and a wait for it fails in its good time")
    def _(s):
        begun, witness = time.monotonic(), stage.witnesses["redis"]
        true(not witness.unwell(begun - 1, begun, DEADLINE_MS_MAX), "it was unwell before")
        try:
            while_well(stage, world, "what never comes", lambda: "as ever", 1)
        except Wrong as e:
            true("good time" in str(e), f"found something else: {e}")
        else:
            raise Wrong("a wait without end ended")
        if not stage.borrowed:
            engines.pause("redis", env=stage.env)
            paused = time.monotonic()
            try:
                time.sleep(1)
                true(witness.unwell(paused, time.monotonic(), 500), "a stopped engine was called well")
                well = stage.well_s(paused, world.deadline_ms)
                time.sleep(1.5)
                true(stage.well_s(paused, world.deadline_ms) <= well + 0.5, "seconds without an engine were counted as its good time")
            finally:
                engines.resume("redis", env=stage.env)
            normal(stage, s, world)

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


def leaks(claim, stage, world):
    @claim(f"{ROUNDS} rounds of faults leave no connection and no memory behind: the second half no more than the first")
    def _(s):
        files, sizes = [], []
        for n in range(ROUNDS):
            load = Load(s, world, stage.options.seed + n)
            try:
                for store in STORES:
                    stage.ways[store].begin(("reset down", "timeout up", "cut", "limit down")[n % 4])
                time.sleep(1)
            finally:
                stage.heal()
                load.stop()
            normal(stage, s, world)
            world.shorts.settle()
            files.append(s.open_files())
            sizes.append(round(s.rss_mb()))
        print(f"     open files {files}, resident MB {sizes}")
        half = ROUNDS // 2
        true(max(files[half:]) <= max(files[:half]) + ROUND_FILES, f"open files {files}")
        true(max(sizes[half:]) <= max(sizes[:half]) + ROUND_MB, f"resident MB {sizes}")


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
    a.add_argument("--none", action="store_true")
    a.add_argument("--only", default="")
    a.add_argument("--seconds", type=float, default=2)
    a.add_argument("--seed", type=int, default=int(time.time()))
    a.add_argument("--keep", action="store_true", help="leave the engines running")
    options = a.parse_args()
    options.braid = os.path.abspath(options.braid)
    began, claim = time.monotonic(), Claims()
    print(f"seed {options.seed}", flush=True)
    with Stage(options) as stage:
        world = World(options.seed)
        with stage.server() as s:
            world.load(s)
            while_well(stage, world, "feeds without lag", lambda: {k: v for k, v in s.metric("feed_lag").items() if v}, 180)
            world.learn_healthy(s)
            world.calibrate(s, options.seed)
            print(f"engines and server ready after {time.monotonic() - began:.0f} s; {len(world.questions)} questions, {RATE} a second", flush=True)

            @claim("under load and without a fault nothing is degraded and nothing late")
            def _(s):
                print(f"     {under_load(stage, s, world, '', False, lambda: None, lambda: None, 1.0)}")

            if not options.kill and not options.none:
                cells(claim, stage, world, FAULTS if options.all else FEW)
            if options.kill or options.all:
                killings(claim, stage, world)
            if options.only in "leaks":
                leaks(claim, stage, world)
            if options.only in "canary":
                canaries(claim, stage, world)
            bad = hold(claim, stage, s)
        again = Claims()
        if not options.kill and not options.none:
            starts(again, stage, world)
        bad += hold(again, stage, None)
    print(f"{time.monotonic() - began:.0f} s in all")
    print(f"{len(claim.rows) + len(again.rows) - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
