"""Drives headless Chromium over its DevTools protocol with nothing but Python's own library.

Two classes: Socket is a WebSocket client (RFC 6455, what the protocol needs of it), Page a tab with the verbs that a test wants: open, evaluate, wait, press a key,
resize, take a picture, read what the console said. A driver from npm or PyPI was rejected: the tests must run where there is no network.
"""
import base64, json, os, shutil, socket, struct, subprocess, tempfile, time, urllib.request

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=fr"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser():
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Socket:
    def __init__(self, url, timeout=60):
        host, path = url.removeprefix("ws://").split("/", 1)
        name, port = host.split(":")
        self.sock = socket.create_connection((name, int(port)), timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                           "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError("the browser refused the WebSocket: " + head.decode("latin-1"))

    def _more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("the browser closed the connection")
        return data

    def _take(self, n):
        while len(self.rest) < n:
            self.rest += self._more()
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def _frame(self, opcode, data):
        mask, n = os.urandom(4), len(data)
        size = bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + struct.pack("!H", n) if n < 65536 else bytes([0x80 | 127]) + struct.pack("!Q", n)
        wide = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(wide, "big")).to_bytes(n, "big")
        self.sock.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def send(self, text):
        self._frame(1, text.encode())

    def receive(self, timeout):
        """One message, or None when nothing came in time. A frame that has begun is waited for."""
        self.sock.settimeout(max(timeout, 0.01))
        message = b""
        while True:
            try:
                first, second = self._take(2)
            except TimeoutError:
                if message:
                    continue
                return None
            self.sock.settimeout(60)
            n = second & 127
            n = struct.unpack("!H", self._take(2))[0] if n == 126 else struct.unpack("!Q", self._take(8))[0] if n == 127 else n
            data = self._take(n)
            if first & 15 == 9:
                self._frame(10, data)
            elif first & 15 == 8:
                raise ConnectionError("the browser closed the connection")
            else:
                message += data
                if first & 0x80:
                    return message.decode()

    def close(self):
        self.sock.close()


class Browser:
    def __init__(self, path):
        self.folder = tempfile.mkdtemp(prefix="braid-browser-")
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen([path, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={self.folder}/profile", "about:blank"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.port = self._port()

    def _port(self):
        path = os.path.join(self.folder, "profile", "DevToolsActivePort")
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if os.path.exists(path):
                lines = open(path).read().split("\n")
                if len(lines) > 1:
                    return int(lines[0])
            time.sleep(0.1)
        text = open(os.path.join(self.folder, "log"), errors="replace").read()
        self.close()
        raise RuntimeError("the browser did not start: " + text[-600:])

    def page(self):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"])

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


KEYS = {"Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "Space": ("Space", 32, " "), "ArrowDown": ("ArrowDown", 40, "")}


class Page:
    """A tab. What it complains about is collected in `complaints`: exceptions, console errors, failed requests, violations of the content policy."""

    def __init__(self, url):
        self.socket, self.last, self.complaints, self.requests = Socket(url), 0, [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.last += 1
        mine = self.last
        self.socket.send(json.dumps({"id": mine, "method": method, "params": params}))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            text = self.socket.receive(end - time.monotonic())
            if text is None:
                break
            message = json.loads(text)
            if message.get("id") == mine:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._event(message)
        raise TimeoutError(f"{method}: no answer from the browser")

    def _event(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details.get("text", ""))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def js(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def wait(self, expression, what=None, seconds=60):
        """Waits until the expression is true; its value."""
        end = time.monotonic() + seconds
        while True:
            try:
                value = self.js(expression)
            except RuntimeError:
                value = None  # the page is between two documents
            if value or isinstance(value, dict):  # an element comes back as {}
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s in vain for: {what or expression}")
            time.sleep(0.05)

    def press(self, key, shift=False):
        name, code, text = KEYS[key]
        common = {"key": " " if key == "Space" else name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def media(self, **features):
        self.call("Emulation.setEmulatedMedia", features=[{"name": k.replace("_", "-"), "value": v} for k, v in features.items()])

    def close(self):
        try:
            self.call("Page.close")
        except (ConnectionError, TimeoutError, RuntimeError):
            pass  # it is gone already
        self.socket.close()

    def picture(self, path, whole=False):
        time.sleep(0.45)  # let a movement end
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))
