"""Starts `braid serve` on a free port for a test and ends it; speaks raw HTTP where a library would tidy up what the test wants broken."""
import http.client, json, os, re, shutil, signal, socket, subprocess, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATIENCE_S = 60  # no verdict depends on how fast a machine is: what must come may take so long, what must end by itself is set to last longer


class Serving:
    """A server of its own on a fresh database, with the given options (a dict of flags without dashes). Use with `with`."""

    def __init__(self, braid=None, **flags):
        self.braid = braid or os.path.join(ROOT, "build/release/braid")
        self.flags = {"listen": "127.0.0.1:0", "dimension": "32"} | {k.replace("_", "-"): str(v) for k, v in flags.items()}

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="braid_http_")
        command = [self.braid, "serve", "--json", "--db", os.path.join(self.folder, "t.db")]
        for name, value in self.flags.items():
            command += ["--" + name, value]
        self.errors = open(os.path.join(self.folder, "stderr"), "w+b")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors)
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"braid serve did not start: {self.errors.read().decode('utf-8', 'replace')}\n0 passed, 1 failed")
        self.url = json.loads(line)["url"]
        host, port = self.url[len("http://"):].rsplit(":", 1)
        self.address = (host, int(port))
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.exit_code = self.process.returncode
        self.process.stdout.close()
        self.errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stderr(self):
        self.errors.flush()
        with open(self.errors.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def defects(self):
        """What a sanitizer had to say, or ""."""
        text = self.stderr()
        return text[-3000:] if any(word in text for word in ("Sanitizer", "runtime error", "ERROR: ")) else ""

    def rss_kb(self):
        """Resident memory in KiB."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def unread(self):
        """Bytes that clients have sent and the server has not taken yet."""
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        return sum(int(row[4].split(":")[1], 16) for row in rows if int(row[1].split(":")[1], 16) == self.address[1] and row[3] == "01")

    def connect(self, timeout=PATIENCE_S, source="127.0.0.1"):
        return socket.create_connection(self.address, timeout=timeout, source_address=(source, 0))

    def call(self, method, path, body=None, headers=None, timeout=PATIENCE_S):
        """(status, headers, body) of one request on a connection of its own."""
        c = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            c.request(method, path, body.encode() if isinstance(body, str) else body, headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def json(self, method, path, body=None, headers=None):
        """(status, parsed body) of one request; body may be any JSON value."""
        status, _, text = self.call(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
        return status, json.loads(text)

    def raw(self, data, timeout=PATIENCE_S):
        """Sends bytes as they are and gives everything that came until the server closed or `timeout` passed."""
        with self.connect(timeout) as s:
            s.sendall(data)
            return read_all(s)


def read_all(s):
    out = b""
    try:
        while piece := s.recv(65536):
            out += piece
    except (TimeoutError, ConnectionError):
        pass
    return out


def status_of(answer):
    """The status of a raw answer, or 0 if there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0


def catches(pid, number):
    """Whether a process has a handler for that signal by now."""
    caught = re.search(r"(?m)^SigCgt:\s*(\w+)", open(f"/proc/{pid}/status").read())[1]
    return int(caught, 16) >> number - 1 & 1


class Claims:
    """Collects checks named by what they claim and prints the closing line that the test runner counts."""

    def __init__(self):
        self.rows = []

    def __call__(self, claim):
        def add(function):
            self.rows.append((claim, function))
            return function
        return add

    def run(self, *arguments):
        failed = 0
        for claim, function in self.rows:
            begun = time.monotonic()
            try:
                function(*arguments)
                print(f"ok   {claim} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as e:  # a check that breaks has failed
                failed += 1
                print(f"FAIL {claim}: {type(e).__name__}: {e}", flush=True)
        print(f"{len(self.rows) - failed} passed, {failed} failed")
        return 1 if failed else 0


def equal(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what or 'value'}: got {got!r}, wanted {wanted!r}")


def true(value, what):
    if not value:
        raise AssertionError(what)
