"""An application to look at: what it was asked, streams, redirects, an upgrade."""

import http.server
import json
import os
import sys
import time


class Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/page":
            self.answer(b"<h1>hello</h1>", headers=[("Content-Type", "text/html")])
        elif path == "/asked":
            asked = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
            self.answer(json.dumps(asked).encode())
        elif path == "/redirect":
            self.answer(b"", 302, [("Location", "/page")])
        elif path == "/absolute":
            self.answer(b"", 302, [("Location", f"http://{self.headers['Host']}/page")])
        elif path == "/stream":
            self.stream()
        elif path == "/echo":
            self.upgrade()
        else:
            self.answer(b"the application knows no such page", 404)

    def do_POST(self):
        body = b""
        if "Content-Length" in self.headers:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        else:
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.answer(body)

    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        self.wfile.flush()
        # The second piece only comes once somebody has seen the first one.
        while not os.path.exists("/workspace/seen"):
            time.sleep(0.005)
        self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

    def upgrade(self):
        assert self.headers["Upgrade"] == "websocket", self.headers
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", "yes")
        self.end_headers()
        while piece := self.connection.recv(65536):
            self.connection.sendall(piece)
        self.close_connection = True

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Application).serve_forever()
