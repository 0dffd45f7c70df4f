"""Runs on a machine, as the program of `tests.vm.containers`: attaches containers, sends their traffic.

add|del NETWORK CONTAINER CAPABILITIES    through the installed plugins; prints the result
serve TEXT                                answers every HTTP request at port 80
read ADDRESS                              prints what is served there
receive, send ADDRESS BYTES               how many seconds that many bytes take through port 9000
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

PORT = 9000
PATIENCE = 60  # seconds, on a machine that is emulated and busy


def attach(verb: str, network: str, name: str, capabilities: str) -> None:
    from cni_provision.cni import Attachment, Runtime, encode_result, find

    runtime, config = Runtime(["/opt/cni/bin"]), find("/etc/cni/net.d", network)
    attachment = Attachment(name, f"/run/netns/{name}", capabilities=json.loads(capabilities))
    if verb == "add":
        print(json.dumps(encode_result(runtime.add(config, attachment), "1.0.0")))
    else:
        runtime.delete(config, attachment)


def serve(text: str) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

    HTTPServer(("", 80), Page).serve_forever()


def read(address: str) -> None:
    with connected(address, 80):
        pass
    with urllib.request.urlopen(f"http://{address}/", timeout=PATIENCE) as page:
        print(page.read().decode())


def receive() -> None:
    with socket.create_server(("", PORT)) as listening, listening.accept()[0] as peer, peer.makefile("rb") as stream:
        stream.read()
        peer.sendall(b".")


def send(address: str, size: str) -> None:
    with connected(address, PORT) as peer:
        began = time.monotonic()
        peer.sendall(bytes(int(size)))
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)
        print(time.monotonic() - began)


def connected(address: str, port: int) -> socket.socket:
    """A connection to a server that may still be starting."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((address, port), timeout=PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


VERBS = {"serve": serve, "read": read, "receive": receive, "send": send}

if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb in VERBS:
        VERBS[verb](*words)
    else:
        attach(verb, *words)
