"""The faults of R9 and R13, F1 to F24 of the reliability plan, on the way between Braid and an engine.

    with Disturbance(proxy, engine, env) as d:     # proxy: test/engines.py
        d.begin("slicer down"); ...; d.end()

F1 to F18 are toxics of Toxiproxy, nine on each direction; F19 cuts: connections are closed and new ones refused. F20 stops the engine's processes
(SIGSTOP): it accepts and says nothing. F21, kill -9, is not here since it takes an engine's start to end it. F22 to F24 put something
else on the port that Braid connects to:
  - full: a listener that accepts nobody and whose queue is full, so that a connect is neither taken nor refused;
  - protocol: a server of another kind, which greets as SSH does and answers every request as a web server would;
  - garbage: the engine itself for some bytes of each connection, then noise until the end.
"""
import os, random, socket, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import engines

LATENCY_MS = 4000  # longer than any deadline here

# name: (toxic, its attributes, stores that must feel it when it lies on what the engine sends / on what it is sent)
STORES = ("milvus", "neo4j", "redis", "postgres")
TOXICS = {"latency": ("latency", {"latency": LATENCY_MS}, STORES, STORES),
          "bandwidth": ("bandwidth", {"rate": 1}, ("milvus", "neo4j"), ("milvus", "neo4j")), "slow_close": ("slow_close", {"delay": 2000}, (), ()),
          "timeout": ("timeout", {"timeout": 0}, STORES, STORES), "timeout500": ("timeout", {"timeout": 500}, STORES, STORES),
          "reset": ("reset_peer", {"timeout": 0}, STORES, STORES), "reset100": ("reset_peer", {"timeout": 100}, (), ()),
          "slicer": ("slicer", {"average_size": 1, "size_variation": 0, "delay": 10000}, ("milvus", "neo4j"), ("milvus", "neo4j")),
          "limit": ("limit_data", {"bytes": 10}, ("milvus", "neo4j"), STORES)}
OTHERS = ("cut", "stopped", "full", "protocol", "garbage")  # F19, F20, F22, F23, F24; every store must feel them
FAULTS = [f"{name} {way}" for name in TOXICS for way in ("down", "up")] + list(OTHERS)
FEW = ["latency down", "timeout up", "reset down", "slicer down", "limit up", "cut", "stopped", "garbage"]


def must_feel(store, fault):
    name, _, way = fault.partition(" ")
    return name in OTHERS or store in TOXICS[name][2 if way == "down" else 3]


class StandIn:
    """Something that is not the engine, at the proxy's address."""

    def __init__(self, kind, address, upstream, seed=0):
        host, port = address.rsplit(":", 1)
        self.kind, self.upstream, self.random = kind, upstream.rsplit(":", 1), random.Random(seed)
        self.links, self.lock, self.ended = [], threading.Lock(), False
        self.listener = self._listen(host, int(port))
        if kind == "full":
            for _ in range(3):  # one waits in the queue, and there is no room for another
                link = socket.socket()
                link.setblocking(False)
                link.connect_ex((host, int(port)))
                self.links.append(link)
        else:
            threading.Thread(target=self._accept, daemon=True).start()

    def _listen(self, host, port):
        """The proxy may need a moment to let go of its port."""
        until = time.monotonic() + 10
        while True:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
                listener.listen(0 if self.kind == "full" else 128)
                return listener
            except OSError:
                listener.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def close(self):
        with self.lock:
            self.ended, links = True, list(self.links)
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        except OSError:
            pass
        self.listener.close()
        for link in links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            link.close()

    def _keep(self, link):
        with self.lock:
            if not self.ended:
                self.links.append(link)
                return True
        link.close()
        return False

    def _accept(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            if self._keep(link):
                threading.Thread(target=self._ssh_and_web if self.kind == "protocol" else self._garble, args=(link,), daemon=True).start()

    def _ssh_and_web(self, link):
        try:
            link.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            while link.recv(65536):
                link.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nBad Request")
        except OSError:
            pass

    def _garble(self, link):
        """The engine for a while, noise then. Both ways in a thread each; what one ends, the other notices."""
        try:
            engine = socket.create_connection((self.upstream[0], int(self.upstream[1])), 10)
            engine.settimeout(None)
        except OSError:
            link.close()
            return
        if not self._keep(engine):
            link.close()
            return
        valid = self.random.randrange(4, 400)

        def up():
            try:
                while data := link.recv(65536):
                    engine.sendall(data)
            except OSError:
                pass
            self._end(engine)

        threading.Thread(target=up, daemon=True).start()
        try:
            while data := engine.recv(65536):
                if valid < len(data):
                    data = data[:valid] + self.random.randbytes(len(data) - valid + 16)
                valid = max(0, valid - len(data))
                link.sendall(data)
        except OSError:
            pass
        self._end(link)

    @staticmethod
    def _end(link):
        try:
            link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Disturbance:
    """One engine's way, whole until begin(). `env` finds the engine for what stops it; None where it is not ours to stop."""

    def __init__(self, proxy, engine, env, seed=0):
        self.proxy, self.engine, self.env, self.seed = proxy, engine, env, seed
        self.stand_in, self.stopped = None, False

    def begin(self, fault):
        name, _, way = fault.partition(" ")
        if name in TOXICS:
            kind, attributes, _, _ = TOXICS[name]
            self.proxy.add(kind, stream=way + "stream", **attributes)
        elif name == "stopped":
            self.stopped = True
            engines.pause(self.engine, env=self.env)
        else:
            self.proxy.disable()
            if name != "cut":
                self.stand_in = StandIn(name, self.proxy.address, self.proxy.upstream, self.seed)

    def end(self):
        """Whole again; may be said at any time, and again when it failed."""
        if self.stopped:
            engines.resume(self.engine, env=self.env)
            self.stopped = False
        if self.stand_in:
            self.stand_in.close()
            self.stand_in = None
        self.proxy.clear()
