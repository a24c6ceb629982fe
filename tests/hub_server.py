"""A hub for tests: the parts of the API that `pull` uses, over a folder of files, with the faults that
a real one has now and then.

    hub_server.py FOLDER PORT_FILE [CERTIFICATE.pem]

FOLDER/files/ORG/NAME/... are the repositories, FOLDER/faults.json says what goes wrong; it is read for
every request: {"needs_token": "T", "gated": true, "busy": N, "drop": {"FILE": [bytes, ...]}, "corrupt":
{"FILE": N}, "no_range": true, "names": ["../evil"]}. Large files (*.safetensors) are sent by a second
server on another port, as a CDN would; FOLDER/log has a line of JSON for every request. With a certificate
(and its key, in one file) both speak HTTPS.
"""
import hashlib
import json
import pathlib
import ssl
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

root = pathlib.Path(sys.argv[1])
scheme = "https" if len(sys.argv) > 3 else "http"
lock = threading.Lock()
counts = {}
last = [""]


def faults():
    """What goes wrong now; what was counted begins anew when it changes."""
    path = root / "faults.json"
    text = path.read_text() if path.exists() else "{}"
    with lock:
        if text != last[0]:
            last[0] = text
            counts.clear()
    return json.loads(text)


def count(key):
    with lock:
        counts[key] = counts.get(key, 0) + 1
        return counts[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        names = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in names:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        with lock, open(root / "log", "a") as log:
            print(json.dumps({"server": self.server.name, "method": self.command, "path": self.path,
                              "token": self.headers.get("Authorization", ""),
                              "range": self.headers.get("Range", "")}), file=log)
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        (self.cdn if self.server.name == "cdn" else self.hub)(path, faults())

    def hub(self, path, wrong):
        if count("busy") <= wrong.get("busy", 0):
            return self.answer(429, b"", [("Retry-After", "0")])
        token = wrong.get("needs_token")
        if token and self.headers.get("Authorization") != "Bearer " + token:
            return self.answer(401, b"", [("X-Error-Message", "Invalid username or password.")])
        if wrong.get("gated"):
            return self.answer(403, b"", [("X-Error-Code", "GatedRepo")])
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 6:
            return self.repository("/".join(parts[2:4]), "/".join(parts[5:]), wrong)
        if len(parts) >= 5 and parts[2] == "resolve":
            return self.resolve("/".join(parts[:2]), "/".join(parts[4:]), wrong)
        self.answer(404)

    def repository(self, name, revision, wrong):
        folder = root / "files" / name
        if not folder.is_dir():
            return self.answer(404, b"", [("X-Error-Code", "RepoNotFound")])
        commit = hashlib.sha1(name.encode()).hexdigest()
        if revision not in ("main", "v1", commit):
            return self.answer(404, b"", [("X-Error-Code", "RevisionNotFound")])
        names = wrong.get("names") or [str(file.relative_to(folder))
                                       for file in folder.rglob("*") if file.is_file()]
        body = {"id": name, "sha": commit, "siblings": [{"rfilename": each} for each in names]}
        self.answer(200, json.dumps(body).encode(), [("Content-Type", "application/json")])

    def resolve(self, name, file, wrong):
        path = root / "files" / name / file
        if not path.is_file():
            return self.answer(404, b"", [("X-Error-Code", "EntryNotFound")])
        data = path.read_bytes()
        commit = ("X-Repo-Commit", hashlib.sha1(name.encode()).hexdigest())
        if file.endswith(".safetensors"):
            where = f"{scheme}://127.0.0.1:{self.server.other_port}/{name}/{file}?signed=1"
            etag = hashlib.sha256(data).hexdigest()
            return self.answer(302, b"", [commit, ("Location", where), ("X-Linked-Etag", f'"{etag}"'),
                                          ("X-Linked-Size", str(len(data)))])
        etag = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self.content(file, data, wrong, [commit, ("ETag", f'"{etag}"')])

    def cdn(self, path, wrong):
        name = path.strip("/")
        self.content(name.split("/", 2)[2], (root / "files" / name).read_bytes(), wrong, [])

    def content(self, file, data, wrong, headers):
        if self.command == "GET" and count("corrupt " + file) <= wrong.get("corrupt", {}).get(file, 0):
            data = bytes([data[0] ^ 1]) + data[1:]
        begin = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and not wrong.get("no_range"):
            begin = int(asked[6:].split("-")[0])
            if begin >= len(data):
                return self.answer(416, b"", [("Content-Range", f"bytes */{len(data)}")])
            headers = headers + [("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")]
        rest = data[begin:]
        drops = wrong.get("drop", {}).get(file, [])
        if self.command == "GET":
            number = count("drop " + file)
            if number <= len(drops):
                # The length of it all, and then only a part.
                self.send_response(206 if begin else 200)
                for name, value in headers + [("Content-Length", str(len(rest)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(rest[:drops[number - 1]])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
        self.answer(206 if begin else 200, rest, headers + [("Content-Length", str(len(rest)))])

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError, ValueError, OSError):
            pass  # a client may go away


servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
for server, name in zip(servers, ("hub", "cdn")):
    server.name = name
    server.daemon_threads = True
    if scheme == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[3])
        # The handshake is left to the thread of the connection.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
servers[0].other_port = servers[1].server_port
threading.Thread(target=servers[1].serve_forever, daemon=True).start()
port_file = pathlib.Path(sys.argv[2])
port_file.with_suffix(".new").write_text(str(servers[0].server_port))
port_file.with_suffix(".new").rename(port_file)
servers[0].serve_forever()
