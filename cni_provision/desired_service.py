"""What systemd does for us on a node: the warm plugin server, recovery at boot, DHCP's daemon. Pure.

Only nodes with systemd get it: elsewhere plugins run without the server (somebody who wants it starts it by hand),
and the next run recovers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cni_provision import desired_dhcp, desired_recovery
from cni_provision.artifact import Artifact
from cni_provision.desired_recovery import FOLDER
from cni_provision.node.protocol import Reload
from cni_provision.plan import File, Live, State
from cni_provision.render import Conflist

PATH = "/usr/local/libexec/cni-provision/server"
SERVICE, SOCKET = "cni-provision-server.service", "cni-provision-server.socket"

# Capabilities: networks; namespaces; looking at callers; files of other owners in folders that configurations name.
SERVICE_TEXT = f"""\
# Written by cni-provision; changes here are undone by its next run
[Unit]
Description=CNI plugins, loaded once for all calls
Requires={SOCKET}
After={SOCKET}

[Service]
Type=notify
ExecStart={PATH}
Restart=on-failure
RestartSec=100ms
KillMode=mixed
TimeoutStopSec=30
OOMScoreAdjust=-500
LimitNOFILE=65536
UMask=0022
# It serves only callers in its own mount, network and process namespace and below its own root directory: nothing
# may stand here that gives it others (PrivateTmp=, ProtectSystem=, PrivateDevices= …).
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN CAP_SYS_PTRACE
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6 AF_PACKET
RestrictNamespaces=net
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""
SOCKET_TEXT = """\
# Written by cni-provision; changes here are undone by its next run
[Unit]
Description=CNI plugins, loaded once for all calls

[Socket]
ListenStream=/run/cni-provision/server/socket
SocketMode=0600
DirectoryMode=0700
Backlog=1024
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""
TEXTS = {f"{FOLDER}/{SERVICE}": SERVICE_TEXT, f"{FOLDER}/{SOCKET}": SOCKET_TEXT}
SYSTEMD = Reload("systemd", ("systemctl", "daemon-reload"), (*TEXTS, *desired_recovery.TEXTS))
# A pattern that matches what runs: where it was taken away there is nothing to restart, and no error.
RESTART = Reload("plugin-server", ("systemctl", "try-restart", f"{SERVICE[:-1]}[{SERVICE[-1]}]"), (PATH, *TEXTS))


@dataclass(frozen=True)
class Service:
    """What a node gets: the same everywhere, and executables by architecture."""

    states: Mapping[str, State] = field(default_factory=dict)
    variants: tuple[tuple[str, File], ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    reloads: tuple[Reload, ...] = ()


def service(servers: Iterable[Artifact]) -> Service:
    """For the executables of the server, by architecture (None: all others); nothing where there are none."""
    executables = [(each.architecture, _file(PATH, each.digest, 0o755)) for each in servers]
    if not executables:
        return Service()
    common: dict[str, State] = {f"file:{PATH}": file for architecture, file in executables if architecture is None}
    variants = tuple((architecture, file) for architecture, file in executables if architecture)
    units = {f"unit:{name}": Live("unit", name, "enabled active") for name in (SERVICE, SOCKET)}
    return Service({**common, **_texts(TEXTS), **units}, variants, _by_digest(TEXTS), (SYSTEMD, RESTART))


def recovery(program: str) -> Service:
    """For the digest of the program that recovers; nothing where there is none."""
    if not program:
        return Service()
    executable = _file(desired_recovery.PATH, program, 0o755)
    states: dict[str, State] = {f"file:{desired_recovery.PATH}": executable, **_texts(desired_recovery.TEXTS)}
    return Service(states, (), _by_digest(desired_recovery.TEXTS), (SYSTEMD,))


def leases(conflists: Iterable[Conflist], plugins: Iterable[str], bin_dir: str) -> Service:
    """The daemon of the `dhcp` plugin; nothing where no network takes addresses by DHCP."""
    if not desired_dhcp.wanted(conflists, plugins):
        return Service()
    texts = desired_dhcp.texts(bin_dir)
    units: dict[str, State] = {f"unit:{desired_dhcp.SOCKET}": Live("unit", desired_dhcp.SOCKET, "enabled active")}
    return Service({**_texts(texts), **units}, (), _by_digest(texts), desired_dhcp.reloads(bin_dir))


def _texts(texts: Mapping[str, str]) -> dict[str, State]:
    return {f"file:{path}": _file(path, _digest(text), 0o644) for path, text in texts.items()}


def _by_digest(texts: Mapping[str, str]) -> dict[str, str]:
    return {_digest(text): text for text in texts.values()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _file(path: str, digest: str, mode: int) -> File:
    return File(path, digest, mode, kind="service")
