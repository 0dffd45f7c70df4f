"""Plugins change under running containers: Go's to ours and back, by apply and rollback."""

from __future__ import annotations

import json
from typing import Any

from tests.vm.containers import Containers
from tests.vm.controller import command_line, on

OURS = json.dumps(
    {"cni_plugins": [{"name": "ours", "source": "builtin", "plugins": ["bridge", "host-local", "portmap"]}]}
)
MAPPED: dict[str, Any] = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
LEASES = "ls -p /var/lib/cni/networks/* | grep -v -e / -e lock -e last_ || true"
PORTS = "for bridge in cni0 cni1; do ip -br link show master $bridge; done"
LEFT = f"{LEASES}; {PORTS}; ls /var/lib/cni/results"
MAPS = "iptables-save -t nat; nft list ruleset"


def is_go(plugin: str) -> bool:
    return "Go build" in on("node-1", f"grep -c 'Go build' /opt/cni/bin/{plugin} >/dev/null && echo Go build || true")


def test_ours_take_over_from_gos_and_give_back(containers: Containers) -> None:
    assert is_go("bridge")
    with containers.attached("old", "pods", **MAPPED) as old, containers.attached("peer", "pods") as peer:
        old.serve()
        assert peer.reads(old)
        command_line("apply", "--yes", "-e", OURS)
        assert not is_go("bridge")
        assert peer.reads(old)
    # ours took off what Go's had made
    assert on("node-1", LEFT).split() == []
    assert "8080" not in on("node-1", MAPS)

    with containers.attached("new", "back", **MAPPED) as new, containers.attached("peer", "back") as peer:
        new.serve()
        assert peer.reads(new)
        command_line("rollback", "--yes")
        assert is_go("bridge")
        assert peer.reads(new)
    # and Go's what ours had made, but for rules that they cannot know
    assert on("node-1", LEFT).split() == []
    assert "nothing to change" in command_line("plan", "--exit-code")
