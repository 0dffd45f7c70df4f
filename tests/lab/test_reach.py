"""The ProxyCommand of a lab, between two ends on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

from cni_provision.lab import reach

ARGV = [sys.executable, "-I", "-S", str(Path(reach.__file__))]


def test_passes_bytes_both_ways_and_the_end_of_stdin() -> None:
    sent = bytes(range(256)) * 8192

    def echo(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as file:
            connection.sendall(file.read()[::-1])

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=echo, args=(server,))
        thread.start()
        port = str(server.getsockname()[1])
        done = subprocess.run([*ARGV, "127.0.0.1", port], input=sent, capture_output=True, timeout=20, check=False)
        thread.join()
    assert done.returncode == 0
    assert done.stdout == sent[::-1]


def test_says_why_it_cannot_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    done = subprocess.run([*ARGV, "127.0.0.1", port], input=b"", capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr == f"connect to host 127.0.0.1 port {port}: Connection refused\n".encode()
