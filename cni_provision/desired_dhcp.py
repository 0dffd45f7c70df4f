"""The daemon that keeps DHCP leases, as units of a node whose networks take addresses by DHCP. Pure.

Its socket is there from the start; the first ADD begins the daemon, which is the `dhcp` plugin's own executable, ours
or the reference's: both have the same options.
"""

from __future__ import annotations

from collections.abc import Iterable

from cni_provision.desired_recovery import FOLDER
from cni_provision.node.protocol import Reload
from cni_provision.render import Conflist

PLUGIN = "dhcp"
SERVICE, SOCKET = "cni-dhcp.service", "cni-dhcp.socket"
SOCKET_PATH = "/run/cni/dhcp.sock"
HEAD = "# Written by cni-provision; changes here are undone by its next run"


def wanted(conflists: Iterable[Conflist], plugins: Iterable[str]) -> bool:
    """Whether a network of the node names the plugin, and the node gets it from us."""
    return PLUGIN in plugins and any(PLUGIN in conflist.types for conflist in conflists)


def texts(bin_dir: str) -> dict[str, str]:
    """Path → content. The daemon that is stopped gives back no lease: the next one goes on with them."""
    # Namespaces by their paths below /proc; packets below IP, from port 68; addresses that follow the server.
    capabilities = "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_OVERRIDE"
    unit = f"""\
{HEAD}
[Unit]
Description=DHCP leases of containers
Requires={SOCKET}
After={SOCKET}

[Service]
ExecStart={bin_dir}/{PLUGIN} daemon
Restart=on-failure
RestartSec=1s
LimitNOFILE=65536
CapabilityBoundingSet={capabilities}
NoNewPrivileges=yes
"""
    socket = f"""\
{HEAD}
[Unit]
Description=DHCP leases of containers

[Socket]
ListenStream={SOCKET_PATH}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""
    return {f"{FOLDER}/{SERVICE}": unit, f"{FOLDER}/{SOCKET}": socket}


def reloads(bin_dir: str) -> tuple[Reload, ...]:
    """A pattern that matches what runs: where it does not, there is nothing to restart, and no error."""
    paths = tuple(texts(bin_dir))
    restart = ("systemctl", "try-restart", f"{SERVICE[:-1]}[{SERVICE[-1]}]")
    return (
        Reload("systemd-dhcp", ("systemctl", "daemon-reload"), paths),
        Reload("dhcp-daemon", restart, (f"{bin_dir}/{PLUGIN}", *paths)),
    )
