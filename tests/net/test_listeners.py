from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from cni_provision.net import listeners
from cni_provision.net.listeners import TCP, UDP, Listener

pytestmark = pytest.mark.root
OWN_NAME = Path("/proc/self/comm").read_text().strip()
KINDS = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize(
    ("address", "seen"), [("0.0.0.0", None), ("::", None), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")]
)
def test_who_listens(inside, protocol: int, address: str, seen: str | None) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    os.system("ip link set lo up")
    with socket.socket(family, KINDS[protocol]) as server:
        server.bind((address, 8080))
        if protocol == TCP:
            server.listen()
        inode = os.fstat(server.fileno()).st_ino
        wanted = Listener(protocol, 8080, ip_address(seen) if seen else None, inode)
        assert listeners.listening(protocol, 8080) == [wanted]
        assert wanted.local == (seen is not None)
        assert listeners.program_of(inode) == f"{OWN_NAME} (process {os.getpid()})"
        assert listeners.listening(protocol, 8081) == []
        assert listeners.listening(132, 8080) == []
    assert listeners.listening(protocol, 8080) == []
    assert listeners.program_of(inode) == ""


def test_ports_of_clients_do_not_count(inside) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("0.0.0.0", listeners.passing_ports()[5]))
        assert listeners.listening(UDP, client.getsockname()[1]) == []
