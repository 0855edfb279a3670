"""Pictures of the live page: screenshots.py TUNNEL FOLDER"""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from webdriver import Browser

TUNNEL, FOLDER = sys.argv[1:3]
READY = "return document.querySelectorAll('.turn pre').length >= 6 && " \
    "[...document.querySelectorAll('.turn pre')].slice(0, 4).every((pre) => pre.textContent)"


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(0.14 if "slow" in self.path else 0.003)
        number = int(self.path.rsplit("/", 1)[1])
        body = json.dumps({"item": number, "name": "teapot", "stock": 418 - number}).encode()
        self.send_response(404 if number > 40 else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.path = "/order/7"
        self.do_GET()

    def log_message(self, *_):
        pass


def serve(certificate=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    # A client that resets its connection is part of the show.
    server.handle_error = lambda *_: None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def connect(proxy, port):
    """A connection by SOCKS5 (RFC 1928)."""
    client = socket.create_connection(("127.0.0.1", proxy))
    name = b"localhost"
    client.sendall(b"\5\1\0" + b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    left = 2 + 10
    while left > 0:
        left -= len(client.recv(left))
    return client


def ask(client, *requests):
    for request in requests:
        method, path, *body = request.split(" ", 2)
        head = f"{method} {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: demo/1.0\r\n"
        if body:
            head += f"Content-Length: {len(body[0])}\r\n"
        client.sendall((head + "\r\n" + "".join(body)).encode())
        reply = b""
        while b"}" not in reply:
            reply += client.recv(65536)
    return client


def play(proxy, plain, secret, keys):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.keylog_filename = keys
    wrapped = lambda: context.wrap_socket(connect(proxy, secret), server_hostname="shop.example")
    items = [f"GET /items/{number}" for number in (1, 2)] + ["GET /slow/3"]
    order = 'POST /order {"item": 3, "count": 2, "note": "no sugar"}'
    kept = []
    for number in range(24):
        client = wrapped() if number % 3 == 0 else connect(proxy, plain)
        ask(client, *items[: 1 + number % 3], order)
        if number % 5 == 4:
            kept.append(client)
        else:
            client.close()
    gone = connect(proxy, plain)
    gone.sendall(b"GET / HTTP/1.1\r\n")
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    kept.append(ask(wrapped(), *items, order, "GET /items/41"))
    return kept


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem", "keys.log")]
        command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=shop.example", "-newkey", "ec",
                   "-pkeyopt", "ec_paramgen_curve:P-256", "-out", files[0], "-keyout", files[1]]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        plain, secret = serve(), serve(files[:2])
        command = [TUNNEL, "--proxy", "127.0.0.1:0", "--web", "127.0.0.1:0", "-q"]
        command += ["--tls", "decrypt", "--tls-keylog", files[2], "--shutdown-timeout", "0s"]
        tunnel = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            proxy = int(tunnel.stderr.readline().split()[2].rsplit(":", 1)[1])
            url = tunnel.stderr.readline().split()[2]
            kept = play(proxy, plain, secret, files[2])
            for name, width, height, dark in [("light", 1100, 620, False), ("dark", 1100, 620, True),
                                              ("narrow", 400, 760, False)]:
                with Browser(width, height, dark) as browser:
                    browser.open(url + "#26")
                    browser.wait(READY)
                    browser.wait("return document.getElementById('status').textContent === 'live'")
                    browser.screenshot(os.path.join(FOLDER, name + ".png"))
                    assert browser.log() == []
            del kept
        finally:
            tunnel.terminate()
            tunnel.wait()


main()
