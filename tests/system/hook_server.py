#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small web server for the tests of webhooks: hook_server.py FOLDER [CERTIFICATE KEY]

Listens on a free port of 127.0.0.1 (FOLDER/port says which), with TLS when it has a certificate. Each request is
FOLDER/N.json (path, headers) and FOLDER/N.body, N from 1, written before it is answered. The path says how:

    /ok                200
    /status/CODE       CODE, with a short text
    /first/CODE/N/...  CODE for the first N requests of that path, then 200
    /later/SECONDS     429 with Retry-After the first time, then 200
    /hang              nothing, until FOLDER/healed is there
    /redirect          302 to /ok
    /endless           200, and text without end
"""
import http.server
import json
import os
import ssl
import sys
import threading
import time

folder = sys.argv[1]
lock = threading.Lock()
count = 0
seen = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def note(self):
        global count
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            count += 1
            number = count
            nth = seen[self.path] = seen.get(self.path, 0) + 1
        with open(f"{folder}/{number}.body", "wb") as file:
            file.write(body)
        with open(f"{folder}/{number}.new", "w") as file:
            json.dump({"path": self.path, "at": time.time(), "headers": dict(self.headers)}, file)
        os.rename(f"{folder}/{number}.new", f"{folder}/{number}.json")
        return nth

    def say(self, code, headers=None, text=b"so be it\n"):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass
        self.close_connection = True

    def do_POST(self):
        nth = self.note()
        words = self.path.split("/")
        if words[1] == "status":
            self.say(int(words[2]), text=b"not \x1b[31m today\n")
        elif words[1] == "first":
            self.say(int(words[2]) if nth <= int(words[3]) else 200)
        elif words[1] == "later":
            self.say(*((429, {"Retry-After": words[2]}) if nth == 1 else (200,)))
        elif words[1] == "hang":
            while not os.path.exists(f"{folder}/healed"):
                time.sleep(0.02)
            self.say(200)
        elif words[1] == "redirect":
            self.say(302, {"Location": "/ok"})
        elif words[1] == "endless":
            self.endless()
        else:
            self.say(200)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        pass  # a client that went away


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open(f"{folder}/port.new", "w") as port:
    port.write(str(server.server_address[1]))
os.rename(f"{folder}/port.new", f"{folder}/port")
server.serve_forever()
