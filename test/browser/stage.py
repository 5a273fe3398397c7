"""What the page's tests stand on: a fresh database with the sample, a server of their own on a free port, and axe-core if npm can bring it."""
import glob, json, os, shutil, socket, subprocess, tempfile, time, urllib.error, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
AXE = "axe-core@4.10.3"


class Server:
    def __init__(self, braid):
        self.braid, self.folder = braid, tempfile.mkdtemp(prefix="braid-page-")
        self.db = os.path.join(self.folder, "page.db")
        data = [f for name in ("catalogue-*", "relations-*", "viewers") for f in sorted(glob.glob(os.path.join(ROOT, "data", name + ".ndjson")))]
        self.run("load", "--db", self.db, *data)
        self.run("simulate", "--db", self.db)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen([braid, "serve", "--db", self.db, "--listen", f"127.0.0.1:{self.port}", "--region", "CA"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.folder)
        self.wait()

    def run(self, *args):
        done = subprocess.run([self.braid, *args], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
        if done.returncode:
            raise RuntimeError(f"braid {args[0]} failed: {done.stdout.decode('utf-8', 'replace')[-800:]}")

    def wait(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=10):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise RuntimeError("the server did not get ready: " + open(os.path.join(self.folder, "log"), errors="replace").read()[-800:])

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def put(self, path, body):
        return self.post(path, body, "PUT")

    def post(self, path, body, method="POST"):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def axe_source():
    """(source, None), or (None, the reason why there is none)."""
    folder = os.path.join(BUILD, "browser")
    path = os.path.join(folder, "node_modules", "axe-core", "axe.min.js")
    if not os.path.exists(path):
        if not shutil.which("npm"):
            return None, "npm is not installed"
        os.makedirs(folder, exist_ok=True)
        try:
            done = subprocess.run(["npm", "install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", AXE], cwd=folder,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=90)
        except subprocess.TimeoutExpired:
            return None, f"npm could not bring {AXE} within 90 s"
        if done.returncode or not os.path.exists(path):
            return None, f"npm could not bring {AXE}: " + done.stdout.decode("utf-8", "replace").strip().split("\n")[0][:120]
    with open(path, encoding="utf-8") as f:
        return f.read(), None
