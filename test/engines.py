"""The real engines for tests: starting, crashing and disturbing them. Used by test/run.py and the fault tests.

    addresses = engines.ensure(["redis", "toxiproxy"])          # {"BRAID_TEST_REDIS": "127.0.0.1:26379", ...}, for a test's environment
    with engines.Proxy("slow redis", addresses["BRAID_TEST_REDIS"]) as proxy:   # between the test and Redis
        proxy.add("latency", latency=200)                         # a toxic, by its name at Toxiproxy
        ... proxy.address ...
        proxy.clear()
    engines.kill("redis"); engines.up("redis")                    # a crash and the start after it

Everything that starts or ends a process is done by scripts/engines.sh; this module only calls it. Standard library only.
"""
import json, os, shlex, subprocess, urllib.error, urllib.parse, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = os.path.join(ROOT, "scripts", "engines.sh")
NAMES = ("milvus", "neo4j", "postgres", "redis", "toxiproxy")
START_SECONDS = 900  # the first start downloads


class EngineError(Exception):
    """What scripts/engines.sh said when it failed."""


def run(word, *words, env=None, limit=300):
    """Standard output of `scripts/engines.sh WORD ...`; EngineError with its last lines when it fails or takes longer than `limit`."""
    try:
        done = subprocess.run([SCRIPT, word, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise EngineError(f"engines.sh {word} {' '.join(words)}: no end after {limit} s") from None
    if done.returncode:
        raise EngineError((done.stderr + done.stdout).strip()[-2000:] or f"engines.sh {word}: exit {done.returncode}")
    return done.stdout


def up(*names, env=None):
    run("up", *names, env=env, limit=START_SECONDS)


def down(*names, env=None):
    run("down", *names, env=env)


def restart(name, env=None):
    """An orderly stop and a start; returns when the engine answers again."""
    run("restart", name, env=env)


def kill(name, env=None):
    """SIGKILL to the engine and its children; returns when they are gone. Its data stays; up() starts it again on it."""
    run("kill", name, env=env)


def pause(name, env=None):
    """SIGSTOP to the engine and its children: connections are taken, nothing is answered, until resume()."""
    run("pause", name, env=env)


def resume(name, env=None):
    run("resume", name, env=env)


def status(*names, env=None):
    """{engine: {"state": "up"|"silent"|"down"|"absent", "address", "pid", "version", "rss_kb", "folder"}}"""
    done = subprocess.run([SCRIPT, "status", "--json", *names], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    try:
        return {row.pop("engine"): row for row in json.loads(done.stdout)}
    except ValueError:
        raise EngineError(done.stderr.strip() or "engines.sh status printed no JSON") from None


def running(names=NAMES, env=None):
    """The BRAID_TEST_... variables of those that are up, as a dict."""
    words = (shlex.split(line)[0] for line in run("env", *names, env=env).splitlines())
    return dict(word.split("=", 1) for word in words)


def ensure(names, env=None):
    """Starts what is not running and gives the BRAID_TEST_... variables of all `names`."""
    up(*names, env=env)
    return running(names, env=env)


class Toxiproxy:
    """The control API of a Toxiproxy at HOST:PORT."""

    def __init__(self, address):
        self.url = f"http://{address}"

    def call(self, method, path, body=None):
        # Toxiproxy refuses requests of browsers, which it knows by their user agent; urllib names itself.
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                text = reply.read()
        except urllib.error.HTTPError as e:
            raise EngineError(f"toxiproxy: {method} {path}: {e.code} {e.read().decode('utf-8', 'replace').strip()}") from None
        except OSError as e:
            raise EngineError(f"toxiproxy: {method} {self.url}{path}: {e}") from None
        return json.loads(text) if text.strip() else None

    def reset(self):
        """Removes every toxic and enables every proxy, those of other tests too."""
        self.call("POST", "/reset")

    def proxies(self):
        return self.call("GET", "/proxies")


class Proxy:
    """A way to `upstream` (HOST:PORT) that can be disturbed; `address` is where the test connects. Use with `with`: it is removed at the end."""

    def __init__(self, name, upstream, control=None):
        self.control = Toxiproxy(control or running(["toxiproxy"]).get("BRAID_TEST_TOXIPROXY") or "127.0.0.1:28474")
        self.name, self.upstream, self.toxics = name.replace("/", "_"), upstream, 0  # Toxiproxy finds no name with a slash again
        self.path = "/proxies/" + urllib.parse.quote(self.name, safe="")

    def __enter__(self):
        try:
            self.control.call("DELETE", self.path)  # left by a test that was killed
        except EngineError as e:
            if " 404 " not in str(e):
                raise
        self.address = self.control.call("POST", "/proxies", {"name": self.name, "listen": "127.0.0.1:0", "upstream": self.upstream, "enabled": True})["listen"]
        return self

    def __exit__(self, *_):
        self.control.call("DELETE", self.path)

    def add(self, kind, stream="downstream", toxicity=1.0, **attributes):
        """A toxic (latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data) on what the engine sends, or with
        stream="upstream" on what it is sent. Gives its name, for remove()."""
        self.toxics += 1
        body = {"name": f"{kind}_{self.toxics}", "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        return self.control.call("POST", self.path + "/toxics", body)["name"]

    def remove(self, toxic):
        self.control.call("DELETE", f"{self.path}/toxics/{urllib.parse.quote(toxic, safe='')}")

    def clear(self):
        """Healthy again: no toxic, enabled."""
        for toxic in self.control.call("GET", self.path)["toxics"]:
            self.remove(toxic["name"])
        self.enable()

    def disable(self):
        """Connections are cut and new ones refused; the address stays this proxy's."""
        self.control.call("POST", self.path, {"listen": self.address, "upstream": self.upstream, "enabled": False})

    def enable(self):
        self.control.call("POST", self.path, {"listen": self.address, "upstream": self.upstream, "enabled": True})
