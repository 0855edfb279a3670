"""Scenes in a browser: page.py SCENE TUNNEL FOLDER"""

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time

from webdriver import Browser

PATIENCE = 60
SCENE, TUNNEL, FOLDER = sys.argv[1:4]
ROWS = "return [...document.querySelectorAll('#body [role=row]')]"
TURNS = "return [...document.querySelectorAll('.turn pre')].map((pre) => pre.textContent)"


class Tunnel:
    """A tunnel with a page, and a server that the scene answers for."""

    def __init__(self, *options):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.start(self.server.getsockname()[1], *options)

    def start(self, port, *options):
        command = [TUNNEL, "--from", "127.0.0.1:0", "--to", f"127.0.0.1:{port}"]
        command += ["--web", "127.0.0.1:0", "-q", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            words = line.split()
            if line.startswith("listening on "):
                self.port = int(words[2].rsplit(":", 1)[1])
            if line.startswith("web on "):
                self.url = words[2]
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def client(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def connect(self):
        """A client and its server."""
        client = self.client()
        server = self.server.accept()[0]
        server.settimeout(PATIENCE)
        return client, server

    def talk(self, *said):
        """A connection whose sides speak in turn, the client first, and finish."""
        client, server = self.connect()
        for index, data in enumerate(said):
            pass_on(*((client, server) if index % 2 == 0 else (server, client)), data)
        client.close()
        assert server.recv(1) == b""
        server.close()


def pass_on(sender, receiver, data):
    sending = threading.Thread(target=sender.sendall, args=(data,))
    sending.start()
    left = len(data)
    while left > 0:
        heard = len(receiver.recv(min(left, 1 << 16)))
        assert heard > 0, "cut off"
        left -= heard
    sending.join()


class Web(http.server.BaseHTTPRequestHandler):
    """A web server that keeps what it was sent."""

    protocol_version = "HTTP/1.1"
    requests = []

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = sorted((n.lower(), v) for n, v in self.headers.items() if n != "Connection")
        self.requests.append((self.command, self.path, headers, body))
        reply = f"reply to {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web_tunnel():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tunnel = Tunnel.__new__(Tunnel)
    tunnel.start(server.server_port)
    with tunnel:
        yield tunnel


def shown(browser):
    """The numbers of the connections whose rows exist."""
    return browser.run(ROWS + ".map((row) => Number(row.dataset.id)).sort((a, b) => a - b)")


def wait_for_rows(browser, *numbers):
    script = ROWS + ".map((row) => Number(row.dataset.id)).sort((a, b) => a - b).join() "
    browser.wait(script + "=== arguments[0] || (arguments[0] === '' && !document.querySelector"
                 "('#body [role=row]'))", ",".join(map(str, numbers)))


def set_filter(browser, line):
    browser.run("const box = document.getElementById('filter'); box.value = arguments[0];"
                "box.dispatchEvent(new Event('input'))", line)


def live():
    with Tunnel() as tunnel, Browser() as browser:
        browser.open(tunnel.url)
        browser.wait_for_text("#status", "live")
        browser.wait("return !document.getElementById('empty').hidden")
        client, server = tunnel.connect()
        wait_for_rows(browser, 1)
        browser.wait_for_text("#row-1", "open")
        pass_on(client, server, b"x" * 1234)
        browser.wait_for_text("#row-1", "1.23 kB")
        pass_on(server, client, b"x" * 77)
        browser.wait_for_text("#row-1", "77 B")
        client.shutdown(socket.SHUT_WR)
        browser.wait_for_text("#row-1", "half-closed")
        server.close()
        browser.wait_for_text("#row-1", "closed")
        client, server = tunnel.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        browser.wait_for_text("#row-2", "reset")
        # Everything came from the page's own server.
        origins = "return performance.getEntriesByType('resource').map((e) => new URL(e.name).origin)"
        assert set(browser.run(origins)) == {browser.run("return location.origin")}
        assert browser.log() == []


def conversation():
    said = [bytes(range(32, 127)), "grüße\n".encode(), b"\0\1\2 binary \xff", b"last words"]
    with Tunnel() as tunnel, Browser() as browser:
        tunnel.talk(*said)
        browser.open(tunnel.url)
        wait_for_rows(browser, 1)
        browser.click("#row-1")
        browser.wait("return document.querySelectorAll('.turn').length === 4")
        browser.wait(TURNS + ".every(Boolean)")
        sides = "return [...document.querySelectorAll('.turn')].map((turn) => turn.className)"
        assert browser.run(sides) == ["turn client", "turn server"] * 2
        texts = browser.run(TURNS)
        assert texts[0].encode() == said[0] and texts[1].encode() == said[1]
        assert texts[2] == "\u2400\u2401\u2402 binary \ufffd"
        browser.keys("x")
        for text, data in zip(browser.run(TURNS), said):
            rows = [row.split("|")[0].split()[1:] for row in text.split("\n")]
            assert bytes.fromhex("".join(byte for row in rows for byte in row)) == data
        colors = "return [...document.querySelectorAll('.turn')].map((t) => getComputedStyle(t)" \
                 ".backgroundColor)"
        client, server, *_ = browser.run(colors)
        assert client != server
        # A conversation that is open grows, and a silence is marked.
        client, server = tunnel.connect()
        pass_on(client, server, b"first")
        browser.wait("return document.querySelector('#row-2')")
        browser.keys("j")
        browser.wait_for_text("#conversation h2", "2: ")
        browser.wait(TURNS + ".length === 1")
        time.sleep(0.2)
        pass_on(server, client, b"second")
        browser.wait(TURNS + ".length === 2")
        browser.wait_for_text(".gap", " ms later")
        assert browser.log() == []


def third_reply():
    with web_tunnel() as tunnel, Browser() as browser:
        client = tunnel.client()
        for number in range(1, 6):
            client.sendall(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while not client.recv(4096).endswith(f"reply to /{number}\n".encode()):
                pass
        browser.open(tunnel.url)
        wait_for_rows(browser, 1)
        browser.keys("j", "Enter")
        third = "return [...document.querySelectorAll('.turn.server')][2]?.textContent"
        browser.wait(third + ".includes('reply to /3')")
        assert "Server 3" in browser.run(third)
        browser.keys("Escape")
        browser.wait("return document.getElementById('conversation').hidden")
        browser.keys("?")
        browser.wait("return document.getElementById('help-dialog').open")
        browser.keys("Escape")
        browser.wait("return !document.getElementById('help-dialog').open")
        browser.keys("/", "nothing has this")
        wait_for_rows(browser)
        browser.keys("Escape")
        wait_for_rows(browser, 1)


def filter():
    with Tunnel() as tunnel, Browser() as browser:
        tunnel.talk(b"small", b"GET /needle")
        tunnel.talk(b"x" * 2_000_000, b"\r\n\r\n")
        client, server = tunnel.connect()
        browser.open(tunnel.url)
        wait_for_rows(browser, 1, 2, 3)
        for line, numbers in [
            ("state:open", [3]), ("state:closed", [1, 2]), ("bytes>1MB", [2]),
            ("bytes<1MiB", [1, 3]), ("127.0.0.1", [1, 2, 3]), (f"localhost:{tunnel.port}", []),
            (f"addr:{tunnel.port}", [1, 2, 3]), ("-state:closed", [3]), ("text:needle", [1]),
            ('text:"GET /"', [1]), ("hex:0d0a0d0a", [2]), ("-text:needle state:closed", [2]),
            ("finished", [1, 2]), ("conn>=2 conn<3", [2]), ("sni:example", []), ("", [1, 2, 3]),
        ]:
            set_filter(browser, line)
            wait_for_rows(browser, *numbers)
            assert browser.run("return document.getElementById('filter-error').hidden"), line
        for line, words in [
            ("bytes>lots", "bytes>1MB"), ("state:asleep", "expected connecting"),
            ("proces:curl", "proces: is no column"), ('text:"open', "has no partner"),
            ("hex:0d0", "pairs of hexadecimal digits"), ("sni>3", "can be compared"),
        ]:
            set_filter(browser, line)
            browser.wait_for_text("#filter-error:not([hidden])", words)
            assert shown(browser) == [1, 2, 3], "what was shown stays"
        # What comes later is looked for, too.
        set_filter(browser, "text:later")
        wait_for_rows(browser)
        pass_on(client, server, b"sooner or later")
        wait_for_rows(browser, 3)


def long_block():
    line = "".join(f"{number:07d}\n" for number in range(131072))
    with Tunnel() as tunnel, Browser() as browser:
        tunnel.talk(line.encode(), b"short")
        browser.open(tunnel.url + "#1")
        browser.wait(TURNS + "[0]?.length === 16384")
        browser.run("document.querySelector('.more').click()")
        browser.wait(TURNS + "[0].length === 16384 + 65536")
        assert browser.run(TURNS)[0] == line[:16384 + 65536]
        offset = "document.querySelector('[aria-label=\"Offset to jump to\"]')"
        browser.run(f"{offset}.value = '0x80008'; {offset}.focus()")
        browser.keys("Enter")
        browser.wait(TURNS + "[0].startsWith('0065536')")
        browser.run(f"{offset}.value = '99999999'; {offset}.focus()")
        browser.keys("Enter")
        browser.wait_for_text("#notice", "is not held")


def copy():
    request = b"POST /up?a='b'%20c HTTP/1.1\r\nHost: example.test\r\nX-Odd: it's $HOME `x`\r\n" \
        b"Content-Type: text/plain\r\nUser-Agent: me\r\nAccept: */*\r\nContent-Length: 14\r\n\r\n" \
        b"100% '\\\0\xff\n\r$x\t"
    with web_tunnel() as tunnel, Browser() as browser:
        client = tunnel.client()
        client.sendall(request)
        reply = b""
        while not reply.endswith(b"c\n"):
            reply += client.recv(4096)
        browser.open(tunnel.url + "#1")
        browser.wait(TURNS + ".length === 2")
        # What goes to the clipboard, which a browser without a window may not have.
        browser.run("navigator.clipboard.writeText = async (text) => { window.copied = text }")
        copied = {}
        for form in ["curl", "array", "hex", "text"]:
            browser.run("window.copied = null; const format = document.querySelector("
                        "'[aria-label=\"Copy as\"]'); format.value = arguments[0];"
                        "document.querySelector('.turn header button').click()", form)
            copied[form] = browser.wait("return window.copied")
        command = copied["curl"].replace("http://example.test/", f"http://127.0.0.1:{tunnel.port}/")
        command = command.replace("curl ", "curl -s --noproxy '*' -H 'Host: example.test' ")
        subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL)
        first, second = Web.requests
        assert first == second, (first, second, command)
        assert bytes.fromhex(copied["hex"].replace("\n", "")) == request
        numbers = copied["array"].split("{")[1].split("}")[0].split(",")
        assert bytes(int(number, 16) for number in numbers) == request
        assert copied["text"].startswith("POST /up")


def download():
    with open(os.path.join(FOLDER, "said"), "rb") as file:
        said = file.read()
    with Tunnel() as tunnel, Browser() as browser:
        browser.devtools("Browser.setDownloadBehavior",
                         {"behavior": "allow", "downloadPath": FOLDER})
        tunnel.talk(b"one", b"answer")
        tunnel.talk(said, b"answer")
        tunnel.talk(b"three", b"answer")
        browser.open(tunnel.url + "#2")
        browser.wait(TURNS + ".length === 2")
        wait_for_rows(browser, 1, 2, 3)
        browser.click("#take")
        for name, label in [("connection-2.pcapng", "Capture (pcapng)"),
                            ("connection-2-client.bin", "What the client sent"),
                            ("connection-2.json", "The conversation as JSON")]:
            get(browser, name, f"[...document.querySelectorAll('#take-body a')].find((a) =>"
                               f"a.textContent === '{label}')")
        get(browser, "tcp_tunn.pcapng", "[...document.querySelectorAll('#take-body a')].at(-1)")
        command = browser.text("#take-body code")
        assert command.startswith("curl -s 'http") and command.endswith("' | wireshark -k -i -")
        ran = command.replace("wireshark -k -i -", "tshark -r -").replace("curl ", "curl --noproxy '*' ")
        rows = subprocess.run(["bash", "-c", ran], check=True, capture_output=True, text=True).stdout
        assert "[SYN]" in rows, rows


def get(browser, name, link):
    browser.run(f"{link}.click()")
    path = os.path.join(FOLDER, name)
    end = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        assert time.monotonic() < end, f"{name} does not come: {os.listdir(FOLDER)}"
        time.sleep(0.05)


def hostile():
    script = b"<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
    bidi = "\u202egnp.exe\u2066\u200b\ufeff".encode()
    line = b"A" * (1 << 20)
    nul = b"\0<b>\x1b[2J\x07\r\n"
    with Tunnel() as tunnel, Browser() as browser:
        tunnel.talk(script, bidi, nul, line)
        browser.open(tunnel.url + "#1")
        browser.wait("return document.querySelectorAll('.turn').length === 4")
        browser.wait(TURNS + ".every(Boolean)")
        texts = browser.run(TURNS)
        assert texts[0].encode() == script
        assert texts[1] == "\\u{202e}gnp.exe\\u{2066}\\u{200b}\\u{feff}", texts[1]
        assert texts[2] == "\u2400<b>\u241b[2J\u2407\n", texts[2]
        assert texts[3] == "A" * 16384
        inert = "return [...document.querySelectorAll('.turn pre')].every((pre) => " \
            "pre.childNodes.length === 1 && pre.firstChild.nodeType === Node.TEXT_NODE)"
        assert browser.run(inert)
        assert browser.run("return window.pwned === undefined && document.images.length === 0")
        assert browser.run("return document.scripts.length === 1")
        for _ in range(16):
            before = len(browser.run(TURNS)[3])
            browser.run("[...document.querySelectorAll('.more')].at(-1).click()")
            browser.wait("return arguments[0] < document.querySelectorAll('.turn pre')[3]"
                         ".textContent.length", before)
            if browser.run("return [...document.querySelectorAll('.more')].at(-1).hidden"):
                break
        assert browser.run(TURNS)[3] == line.decode()
        width = "return document.documentElement.scrollWidth <= innerWidth"
        assert browser.run(width), "the long line is wrapped"
        # Markup cannot be made of text at all, not even by a mistake of the page's own.
        refused = "try { document.body.insertAdjacentHTML('beforeend', '<i>') ; return false }" \
            "catch (error) { return error instanceof TypeError }"
        assert browser.run(refused)


class Forwarder:
    """The network between the browser and the tunnel, which can be cut."""

    def __init__(self, to):
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.serve()

    def serve(self):
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.to))
                self.sockets += [near, far]
                for ends in [(near, far), (far, near)]:
                    threading.Thread(target=self.copy, args=ends, daemon=True).start()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.sockets = []

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.serve()


def cut():
    with Tunnel() as tunnel, Browser() as browser:
        origin, query = tunnel.url.split("/?")
        network = Forwarder(int(origin.rsplit(":", 1)[1]))
        tunnel.talk(b"1", b"1")
        browser.open(f"http://localhost:{network.port}/?{query}")
        wait_for_rows(browser, 1)
        browser.wait_for_text("#status", "live")
        network.cut()
        browser.wait_for_text("#status", "lost, connecting again")
        tunnel.talk(b"2", b"2")
        network.mend()
        browser.wait_for_text("#status", "live")
        wait_for_rows(browser, 1, 2)
        tunnel.talk(b"3", b"3")
        wait_for_rows(browser, 1, 2, 3)


def end():
    with Tunnel("--shutdown-timeout", "0s") as tunnel, Browser() as browser:
        tunnel.talk(b"1", b"2")
        browser.open(tunnel.url + "#1")
        browser.wait(TURNS + ".length === 2")
        client, _server = tunnel.connect()
        wait_for_rows(browser, 1, 2)
        client.close()
        tunnel.process.terminate()
        browser.wait_for_text("#status", "the tunnel has ended")
        browser.wait_for_text("#notice:not([hidden])", "The tunnel has ended.")
        browser.wait("return document.querySelector('#row-2').textContent.includes('closed') || "
                     "document.querySelector('#row-2').textContent.includes('stopped')")
        assert browser.run(TURNS) == ["1", "2"], "what is open stays"
        assert tunnel.process.wait(PATIENCE) == 0


def narrow():
    with Tunnel() as tunnel, Browser(400, 700) as browser:
        tunnel.talk(b"x" * 5000, bytes(range(256)))
        browser.open(tunnel.url)
        wait_for_rows(browser, 1)
        fits = "return document.documentElement.scrollWidth <= 400 && " \
            "document.getElementById('grid').scrollWidth <= 400"
        assert browser.run(fits)
        browser.keys("j", "Enter")
        browser.wait(TURNS + ".length === 2")
        browser.wait("return document.documentElement.scrollWidth <= 400")
        assert browser.run("return document.querySelector('#list').offsetWidth === 0")
        browser.keys("x", "Escape")
        browser.wait("return document.querySelector('#list').offsetWidth > 0")


def crowd():
    count = 10_000
    with Tunnel() as tunnel, Browser() as browser:
        browser.open(tunnel.url)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    tunnel.server.accept()[0].close()

        threading.Thread(target=serve, daemon=True).start()
        begun = time.monotonic()
        for _ in range(count):
            client = tunnel.client()
            assert client.recv(1) == b""
            client.close()
        took = time.monotonic() - begun
        browser.wait_for_text("#counts", f"{count} connections")
        rows = "document.querySelectorAll('#body [role=row]').length"
        most = 0
        frames = browser.call("POST", "/execute/async", {"args": [], "script": """
            const done = arguments[0];
            const grid = document.getElementById("grid");
            grid.scrollTop = 0;
            const frames = [];
            let most = 0;
            let last = performance.now();
            const step = (now) => {
                frames.push(now - last);
                last = now;
                most = Math.max(most, document.querySelectorAll("#body [role=row]").length);
                if (frames.length > 120) return done({ frames, most });
                grid.scrollTop += 2500;
                requestAnimationFrame(step);
            };
            requestAnimationFrame(step);"""})
        most = frames["most"]
        assert most < 100, f"{most} rows exist"
        paces = sorted(frames["frames"])
        print(f"{count} connections in {took:.1f} s; scrolled at {paces[len(paces) // 2]:.1f} ms a "
              f"frame, {paces[-7]:.1f} ms at the 95th percentile; {most} rows exist at most")
        browser.wait("document.getElementById('grid').scrollTop = 1e9;"
                     f"return document.querySelector('#row-{count}')")
        set_filter(browser, "conn=5000")
        wait_for_rows(browser, 5000)
        set_filter(browser, "")
        browser.wait(f"return {rows} > 10")
        browser.run("document.getElementById('grid').focus()")
        browser.keys("Escape")
        browser.wait("document.getElementById('grid').scrollTop = 0;"
                     "return document.querySelector('#row-1')")


globals()[SCENE]()
