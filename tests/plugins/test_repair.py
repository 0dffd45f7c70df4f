"""Rules come back after somebody flushed them: real containers, real packets."""

from __future__ import annotations

import json
import sys

import pytest

from tests.plugins.conftest import ROOT

pytestmark = pytest.mark.root
REPAIR = (
    "import sys; sys.path.insert(0, {!r}); from cni_provision.node.repair import repair; print(*repair(), sep='\\n')"
)
FLUSHES = {
    "everything": ("flush", "ruleset"),
    "the rules of a chain": ("flush", "chain", "inet", "cni_masquerade", "postrouting"),
    "the jumps": ("flush", "chain", "inet", "cni_portmap", "networks"),
    "a table": ("delete", "table", "inet", "cni_portmap"),
    "the elements of a map": ("flush", "map", "inet", "cni_masquerade", "sources4"),
}


def repair(host) -> list[str]:
    return host.namespace.run(sys.executable, "-c", REPAIR.format(str(ROOT))).splitlines()


def attached(host, container, network: str, container_id: str, port: int) -> tuple[dict, dict, dict]:
    ipam = {"type": "host-local", "dataDir": str(host.state),
            "ranges": [[{"subnet": "10.42.0.0/24"}], [{"subnet": "fd42::/64"}]]}  # fmt: skip
    bridge = {"cniVersion": "1.0.0", "name": network, "type": "bridge", "bridge": "cni0", "isDefaultGateway": True,
              "ipMasq": True, "macspoofchk": True, "ipam": ipam}  # fmt: skip
    result = host.add(bridge, container, container_id=container_id)
    mappings = [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]
    portmap = {"cniVersion": "1.0.0", "name": network, "type": "portmap", "prevResult": result,
               "conditionsV4": ["ip saddr 0.0.0.0/0"], "runtimeConfig": {"portMappings": mappings}}  # fmt: skip
    host.add(portmap, container, container_id=container_id)
    return bridge, portmap, result


def rules(host) -> list:
    """The rule set without handles, and without an order where there is none."""
    listed = json.loads(host.namespace.run("nft", "-j", "list", "ruleset"))["nftables"]
    for each in listed:
        for kind in each.values():
            kind.pop("handle", None)
            if isinstance(kind.get("elem"), list):
                kind["elem"].sort(key=str)
    return sorted(map(str, listed))


@pytest.mark.parametrize("flush", FLUSHES.values(), ids=FLUSHES)
def test_what_was_flushed_comes_back(host, make_namespace, network: str, flush: tuple[str, ...]) -> None:
    containers = [make_namespace(), make_namespace()]
    made = [attached(host, one, network, f"c{number}", 8000 + number) for number, one in enumerate(containers)]
    before = rules(host)
    assert repair(host) == [""], "nothing was missing"
    assert rules(host) == before
    host.namespace.nft(*flush)

    def checked() -> set[str]:
        return {
            said(host.check(config, container, result, container_id=f"c{number}"))
            for number, (container, (*configs, result)) in enumerate(zip(containers, made))
            for config in configs
        }

    assert checked() != {""}
    assert "rebuilt" in repair(host)[0]
    assert checked() == {""}
    assert rules(host) == before
    assert repair(host) == [""]


def test_what_belongs_to_another_by_now_stays(host, make_namespace, network: str) -> None:
    """A record that outlived its attachment takes nothing from who has its address and port."""
    first, second = make_namespace(), make_namespace()
    bridge, portmap, _ = attached(host, first, network, "first", 8080)
    host.namespace.run("cp", "-a", "/run/cni-provision/attachments", "/run/kept")
    host.delete(portmap, first, container_id="first")
    host.delete(bridge, first, container_id="first")
    (host.state / network / "last_reserved_ip.0").unlink()
    (host.state / network / "last_reserved_ip.1").unlink()
    attached(host, second, network, "second", 8080)
    before = rules(host)
    host.namespace.run("sh", "-c", "cp -an /run/kept/* /run/cni-provision/attachments/")
    assert repair(host) == [""]
    assert rules(host) == before


def test_without_records_nothing_is_made(host) -> None:
    assert repair(host) == [""]
    assert host.namespace.nft() == ""


def said(outcome) -> str:
    return f"{outcome.result['msg']} {outcome.result.get('details', '')}" if outcome.code else ""
