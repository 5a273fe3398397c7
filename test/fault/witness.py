"""What a judge of time has to know beside the thing that it judges: how late this machine is, and how well each engine is by itself.

A test that counts seconds on a machine which others use measures the others. Two kinds of witness say what was theirs:
  - Twin: a second process that promises what Braid promises (an answer after so many milliseconds, to each request on a connection of its
    own) and has nothing else to do. How late it is, is how late the machine makes whoever waits in two processes: it excuses a late
    answer of the same moment, and nothing else. How long ten milliseconds of computing took it, is how much of a machine there was: a
    second on a machine that is shared with fifteen others counts as a fifteenth.
  - Witness: each engine asked by a client of its own, past the proxies, for what Braid would ask. It says when an engine that was
    killed answers again (its process, its port and its health check come long before), and when one that nobody disturbed was slow.
"Within ten seconds" is counted in seconds in which the engines were well, on a machine of their own.
No witness asks Braid, so Braid cannot be excused by its own slowness. Standard library and libpq only.
"""
import bisect, collections, ctypes, importlib.util, json, os, socket, subprocess, sys, threading, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAUSE_S = 0.1   # between two questions of a witness
GAP_S = 1.5     # a witness that says nothing for longer than this does not vouch for the time between
SLOWNESS_S = 6  # how long the slowness of a store may be seen in answers: its breaker waits up to 4 s, and then one call tries


# ---- the machine

WAIT_MS, WORK_MS = 100, 10  # what the twin waits, and computes before it answers
WINDOW = 10                 # answers over which the machine's share is taken


def twin():
    """The process: waits, computes, answers how many milliseconds the computing took. Prints its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def answer(link):
        with link:
            link.recv(1)
            threading.Event().wait(WAIT_MS / 1000)
            begun, used = time.monotonic(), time.thread_time()
            while time.thread_time() - used < WORK_MS / 1000:
                pass
            link.sendall(b"%f" % ((time.monotonic() - begun) * 1000))

    while True:
        link, _ = listener.accept()
        threading.Thread(target=answer, args=(link,), daemon=True).start()


class Twin:
    """Asks the twin several times a second. Use with `with`."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "twin"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.port, self.rows, self.ended = int(self.process.stdout.readline()), [], threading.Event()
        self.times, self.owned, self.work = [time.monotonic()], [0.0], collections.deque(maxlen=WINDOW)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(10)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def _run(self):
        while not self.ended.is_set():
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", self.port), 60) as link:
                link.sendall(b"?")
                self.work.append(max(WORK_MS, float(link.recv(64))))
            now = time.monotonic()
            self.rows.append((begun, now, max(0, (now - begun) * 1000 - WAIT_MS - WORK_MS)))
            self.owned.append(self.owned[-1] + (now - self.times[-1]) / self.stretch())
            self.times.append(now)
            time.sleep(PAUSE_S)

    def stretch(self):
        """How many times longer than on a machine of one's own it takes to compute something, of late."""
        return sum(self.work) / (WORK_MS * len(self.work)) if self.work else 1

    def own_s(self, at):
        """The clock of a machine of one's own: its seconds at a time of the wall."""
        n = min(bisect.bisect_left(self.times, at), len(self.owned) - 1)
        return self.owned[n]

    def late_ms(self, since, to):
        """The latest that it was between these times, with a second about them."""
        return max((late for begun, ended, late in self.rows[-4000:] if ended >= since - 1 and begun <= to + 1), default=0)


# ---- the engines

def secret(addresses, store):
    name = addresses.get(f"BRAID_TEST_{store.upper()}_PASSWORD_FILE")
    if not name:
        return ""
    with open(name) as f:
        return f.readline().strip()


class Redis:
    def __init__(self, addresses, _):
        self.at, self.secret = addresses["BRAID_TEST_REDIS"].rsplit(":", 1), secret(addresses, "redis")

    def connect(self):
        self.link = socket.create_connection((self.at[0], int(self.at[1])), 4)
        if self.secret:
            self._say("AUTH", self.secret)

    def _say(self, *words):
        self.link.sendall(b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words]))
        reply = self.link.recv(4096)
        if reply[:1] not in (b"+", b"$") or b"LOADING" in reply:
            raise OSError(f"redis says {reply!r}")

    def ask(self):
        self._say("PING")
        self._say("GET", "braid:nobody")

    def close(self):
        self.link.close()


class Postgres:
    def __init__(self, addresses, _):
        host, port = addresses["BRAID_TEST_POSTGRES"].rsplit(":", 1)
        user, database = addresses.get("BRAID_TEST_POSTGRES_USER", "braid"), addresses.get("BRAID_TEST_POSTGRES_DATABASE", "braid")
        self.where = (f"host={host} port={port} user={user} dbname={database} connect_timeout=4 options='-c client_min_messages=error' "
                      f"password={secret(addresses, 'postgres')}")
        self.pq, self.link = ctypes.CDLL("libpq.so.5"), None
        for name in ("PQconnectdb", "PQexec"):
            getattr(self.pq, name).restype = ctypes.c_void_p
        self.pq.PQerrorMessage.restype = ctypes.c_char_p

    def connect(self):
        self.link = ctypes.c_void_p(self.pq.PQconnectdb(self.where.encode()))
        if self.pq.PQstatus(self.link):
            raise OSError(self.pq.PQerrorMessage(self.link).decode("utf-8", "replace"))

    def ask(self, sql="SELECT count(*) FROM pg_class"):
        result = ctypes.c_void_p(self.pq.PQexec(self.link, sql.encode()))
        fine = self.pq.PQresultStatus(result) in (1, 2)
        self.pq.PQclear(result)
        if not fine:
            raise OSError(self.pq.PQerrorMessage(self.link).decode("utf-8", "replace"))

    def close(self):
        if self.link:
            self.pq.PQfinish(self.link)
            self.link = None


class Milvus:
    """A search in the collection under test: Milvus says that it is healthy some seconds before it has loaded its collections again."""

    def __init__(self, addresses, schema):
        self.url = f"http://{addresses['BRAID_TEST_MILVUS']}/v1/vector/"
        self.collection = schema + "_media_embeddings"

    def connect(self):
        pass

    def ask(self):
        body = {"collectionName": self.collection, "vector": [1.0] + [0.0] * (self.dimension() - 1), "limit": 3}
        self._call("search", body)

    def dimension(self):
        return 32

    def _call(self, word, body):
        request = urllib.request.Request(self.url + word, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=4) as reply:
            answer = json.loads(reply.read())
        if answer.get("code") != 200:
            raise OSError(f"milvus says {str(answer)[:200]}")

    def drop(self):
        self._call("collections/drop", {"collectionName": self.collection})

    def close(self):
        pass


class Neo4j:
    """Four statements of the kind that walks are made of: a Neo4j that has just started plans each when it first meets it."""
    STATEMENTS = (
        "UNWIND [1, 2, 3] AS num MATCH (m:MediaContent {num: num})-[r:BELONGS_TO|HAS_THEME|HAS_MOOD]->(f) WHERE NOT f:MediaContent WITH f, "
        "type(r) AS type, collect(num) AS nums, COUNT { (f)<--() } AS degree WHERE degree <= 1000 RETURN id(f), type, degree, nums",
        "MATCH (f:Genre) WITH f LIMIT 3 RETURN id(f), COLLECT { MATCH (f)<--(m:MediaContent) WITH m.num AS num WHERE num IS NOT NULL RETURN num LIMIT 30 }",
        "UNWIND [1, 2, 3] AS num MATCH (m:MediaContent {num: num}) RETURN num, COLLECT { MATCH (m)-[r]-(o:MediaContent) WITH r, o, type(r) AS type "
        "WHERE type IS NOT NULL RETURN [o.num, type, r.strength] LIMIT 30 }",
        "UNWIND [1, 2, 3] AS num MATCH (m:MediaContent {num: num})-[r]->(f) WHERE NOT f:MediaContent RETURN num, type(r), f.name")

    def __init__(self, addresses, _):
        self.at, self.secret = addresses["BRAID_TEST_NEO4J"].rsplit(":", 1), secret(addresses, "neo4j")
        self.user = addresses.get("BRAID_TEST_NEO4J_USER", "neo4j")
        spec = importlib.util.spec_from_file_location("bolt_ping", os.path.join(ROOT, "scripts/engines/neo4j/bolt_ping.py"))
        self.bolt = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.bolt)

    def connect(self):
        self.link = self.bolt.connect(self.at[0], int(self.at[1]), self.user, self.secret)[0]

    def ask(self):
        for statement in self.STATEMENTS:
            self.bolt.run(self.link, statement)

    def close(self):
        self.link.close()


CLIENTS = {"milvus": Milvus, "neo4j": Neo4j, "redis": Redis, "postgres": Postgres}


class Witness:
    """An engine asked by its own client all the time. Use with `with`."""

    def __init__(self, store, addresses, schema):
        self.store, self.client, self.ended = store, CLIENTS[store](addresses, schema), threading.Event()
        self.begun, self.rows, self.last_error = [], [], ""  # when asked; (when asked, when answered, was it)
        self.asking_since = None

    def __enter__(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(20)

    def _run(self):
        connected = False
        while not self.ended.is_set():
            begun, well = time.monotonic(), False
            self.asking_since = begun
            try:
                if not connected:
                    self.client.connect()
                    connected = True
                self.client.ask()
                well = True
            except Exception as e:  # a client that breaks has not been answered
                self.last_error = str(e)
            if not well and connected:
                self.client.close()
                connected = False
            self.asking_since = None
            self.begun.append(begun)
            self.rows.append((begun, time.monotonic(), well))
            self.ended.wait(PAUSE_S)
        if connected:
            self.client.close()

    def good_s(self, since, within_ms, clock=lambda at: at):
        """Seconds by `clock`, from `since` to now, in which it answered its client, each time within so many milliseconds."""
        good, last = 0, None
        rows = self.rows[bisect.bisect_left(self.begun, since):]
        for begun, ended, well in rows:
            fine = well and (ended - begun) * 1000 <= within_ms
            if fine and last is not None and ended - last <= GAP_S + within_ms / 1000:
                good += clock(ended) - clock(last)
            last = ended if fine else None
        return good

    def unwell(self, since, to, within_ms):
        """Whether it failed or was slow so shortly before, or between, these times that answers may have missed it."""
        first = bisect.bisect_left(self.begun, since - SLOWNESS_S - 60)
        asking = self.asking_since
        if asking is not None and asking <= to and (time.monotonic() - asking) * 1000 > within_ms:
            return True
        return any(ended >= since - SLOWNESS_S and begun <= to and not (well and (ended - begun) * 1000 <= within_ms)
                   for begun, ended, well in self.rows[first:])


if __name__ == "__main__" and sys.argv[1:] == ["twin"]:
    twin()
